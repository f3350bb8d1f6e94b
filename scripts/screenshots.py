"""Pictures of each view with demo content: `.venv/bin/python scripts/screenshots.py [FOLDER] [--only WORDS] [--keep]`.

Starts a pod of its own on an embedded Postgres, with a model that answers from a script, in Korean and English, light
and dark, at 1280x800 and 360x740. `--only "account ko dark"` takes those whose names hold all these words. `--keep`
also writes those that the README shows to static/img.
"""

import argparse
import asyncio
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import requests
import socketio
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models.embedded import running_url  # noqa: E402
from tests.scripted_model import Script, ScriptedModel  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PASSWORD = "correct horse"
SIZES: Any = {"desk": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 740}}
KEPT = {
    "chat-ko-light-desk": "shot-chat-light.png",
    "chat-en-dark-desk": "shot-chat-dark.png",
    "chat-ko-light-phone": "shot-phone.png",
    "sign-in-en-light-desk": "shot-sign-in.png",
    "admin-overview-en-light-desk": "shot-admin.png",
}

PRICES = """currency = "USD"
[models."openai:claude-sonnet-5"]
input = 3.0
output = 15.0
"""
AGENTS = [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 "
    "Whale/4.29.282.14 Safari/537.36",
]
RECORD = """0.8 배포 기록 (11월 3일, 모두 52분)
- 이미지 올리기 4분
- 색인 만들기 40분. 표를 잠근 채로 만들어서 쓰기가 밀렸어요.
- 파드 여섯 개 바꾸기 8분"""
MORNING = "Staging has run 0.9 since Friday. First token at p95 went from 1.9 s to 1.1 s, and not one reconnect storm."
ROLLBACK_KO = """되돌리기는 **세 단계**이고 길어도 6분입니다. 지난번에는 색인을 잠근 채로 만들어 40분이 걸렸으니, \
이번에는 배포 전에 미리 만들어 둡니다.

```sql
-- 쓰기를 막지 않는다. 배포 30분 전에 한 번.
create index concurrently if not exists message_changed
    on message (room_id, changed_seq);
```

1. 새 파드 두 대를 `drain`으로 비웁니다. 연결은 옛 파드로 옮겨 갑니다.
2. 이미지를 0.8.4로 되돌리고 `/readyz`가 200이 될 때까지 기다"""
TABLE_KO = """11월 3일 기록을 기준으로 모두 52분이었고, 그중 40분이 색인이었습니다[1].

| 단계 | 맡은 사람 | 걸린 시간 |
|---|---|--:|
| 이미지 올리기 | 박민준 | 4분 |
| 색인 만들기 (잠금) | 이서연 | 40분 |
| 파드 여섯 개 바꾸기 | 박민준 | 8분 |"""
ROLLBACK_EN = """Rolling back is **three steps** and takes six minutes at most. \
Last time the index was built under a lock; this time it is there beforehand.

```sql
-- Does not block writers. Once, 30 minutes before.
create index concurrently if not exists message_changed
    on message (room_id, changed_seq);
```

1. Empty two of the new pods with `drain`. Their connections move to the old ones.
2. Put the image back to 0.8.4 and wait until `/readyz` says 2"""


class Model(threading.Thread):
    """The scripted model on a loop of its own."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ready = threading.Event()

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self.model = ScriptedModel()
        self.model.start()
        self.model.default = self._answer
        self.ready.set()
        await asyncio.Event().wait()

    def _answer(self, body: dict[str, Any]) -> Script:
        """What is asked for a table ends; the others go on for ever, as seen while they run."""
        asked = str(body["messages"][-1]["content"])
        korean = "절차" in asked
        if "표로" in asked and not korean:  # what was found and added may hold either
            return Script(("text", TABLE_KO), ("usage", 812, 164))
        thought = "금요일 기록에서 색인 잠금이 40분…" if korean else "Friday's record…"
        return Script(("think", thought), ("text", ROLLBACK_KO if korean else ROLLBACK_EN), ("hang",))


class Pod:
    def __init__(self, folder: Path, model: ScriptedModel) -> None:
        self.folder = folder
        (folder / "prices.toml").write_text(PRICES)
        environment = {
            **os.environ, "PORT": "0", "DATA_DIR": str(folder), "REGISTRATIONS_PER_HOUR": "0", "LOG_LEVEL": "error", "DATABASE_URL": "",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{model.port}/v1", "OPENAI_API_KEY": "none", "OPENAI_MODEL": "claude-sonnet-5",
            "FIRST_TOKEN_TIMEOUT_S": "600", "STALL_TIMEOUT_S": "600", "DRAIN_S": "0",
            "PRICES_FILE": str(folder / "prices.toml"),
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("Maru is at "):
                self.url = line.split()[-1]
                return
        raise SystemExit("The pod did not start.")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


class Person:
    def __init__(self, pod: Pod, name: str, called: str) -> None:
        self.pod = pod
        self.email = f"{called}@maru.example"
        body = {"email": self.email, "name": name, "password": PASSWORD}
        answer = requests.post(
            pod.url + "/auth/register", json=body, headers={"User-Agent": AGENTS[0]}, timeout=20
        ).json()
        self.id, self.token = answer["user"]["id"], answer["token"]

    def api(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(
            method, self.pod.url + path, json=body, headers={"Authorization": f"Bearer {self.token}"}, timeout=20
        )
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def come(self) -> None:
        """Be here, as the green corner of a stamp says."""
        self.client = socketio.Client()
        self.client.connect(self.pod.url, auth={"token": self.token}, transports=["websocket"], wait_timeout=10)

    def room(self, name: str, *others: "Person", when: str = "mention", bot: str = "마루", reads: int = 20) -> str:
        settings = {"name": bot, "when": when, "contextMessages": reads}
        room_id = self.api("POST", "/rooms", {"name": name, "bot": settings})["id"]
        for other in others:
            self.api("POST", f"/rooms/{room_id}/members", {"userId": other.id})
        return str(room_id)

    def say(self, room_id: str, text: str, reply_to: str | None = None) -> str:
        body = {"text": text, **({"replyTo": reply_to} if reply_to else {})}
        return str(self.api("POST", f"/rooms/{room_id}/messages", body)["messageId"])


def furnish(pod: Pod) -> tuple[Person, dict[str, str]]:
    """Rooms that look lived in. Returns who looks at them, and the rooms."""
    jisu, minjun, sofia, seoyeon = (
        Person(pod, *who)
        for who in (("한지수", "jisu"), ("박민준", "minjun"), ("Sofia Reyes", "sofia"), ("이서연", "seoyeon"))
    )
    jisu.say(jisu.room("주간 회고 초안", when="off"), "다음 주에는 회고를 목요일로 옮깁니다.")
    jisu.say(jisu.room("제주 가족 여행 일정, 3박 4일", when="off"), "비행기는 금요일 저녁")
    jisu.say(jisu.room("Rewrite: release notes 0.9", when="off"), "Shorter, please.")
    for name in ("신규 입사자 안내", "Incident 2026-11-18", "점심"):
        jisu.say(jisu.room(name, minjun, when="off"), "확인했어요.")
    support = jisu.room("Support, EU hours", sofia, when="off")
    for n in range(12):
        sofia.say(support, f"Ticket {n + 1} is answered.")
    design = jisu.room("디자인 이야기", seoyeon, minjun, when="off")
    for text in (
        "아이콘 두께를 1.5로 맞췄어요.",
        "@한지수 어두운 바탕에서 봐 줄래요?",
        "급하지 않아요.",
        "저녁에 올릴게요.",
    ):
        seoyeon.say(design, text)
    english = sofia.room("Release 0.9", jisu, minjun, bot="Maru")
    minjun.say(
        english,
        MORNING,
    )
    sofia.say(english, "Good. Then let us go at 10:30, two pods at a time.")
    jisu.say(english, "@Maru write the roll-back down shortly, with the SQL for the index.")
    ready = jisu.room("출시 준비", minjun, sofia, seoyeon, reads=2)
    minjun.say(ready, RECORD)
    seoyeon.say(ready, "다음에는 색인을 미리, 잠그지 않고 만들어 두면 좋겠어요.")
    sofia.say(ready, "The 0.9 image is on staging. I will watch the graphs over the weekend.")
    known(jisu, ready, "색인")
    seoyeon.say(ready, "월요일 아침에 0.9 올려도 될까요? 마이그레이션이 하나 들어 있어요.")
    jisu.say(ready, "@마루 0.8 배포 때 단계마다 얼마나 걸렸는지 표로 보여 줘.")
    answer = ended(jisu, ready)
    morning = sofia.say(
        ready,
        "Morning! " + MORNING,
    )
    minjun.say(ready, "좋네요. 그럼 10시 30분에 두 대씩 나눠 올립시다.", morning)
    jisu.say(ready, "@마루 지난번에 배운 것까지 넣어서 되돌리는 절차를 짧게 정리해 줘. 색인 만드는 SQL도.")
    empty = jisu.api("POST", "/rooms", {"bot": {"name": "마루"}})["id"]
    invite = jisu.api("POST", f"/rooms/{ready}/invites")["code"]
    jisu.api("POST", f"/rooms/{ready}/invites", {"role": "reader", "maxUses": 5})
    jisu.api("POST", "/users/me/keys", {"name": "배포 알림 봇"})
    jisu.api("POST", "/users/me/keys", {"name": "밤마다 내려받기", "expiresAt": "2030-03-01T00:00:00Z"})
    for agent in AGENTS[1:]:
        body = {"email": jisu.email, "password": PASSWORD}
        requests.post(pod.url + "/auth/login", json=body, headers={"User-Agent": agent}, timeout=20)
    for other in (minjun, sofia):
        other.come()
    looked_after(pod, jisu, [minjun, sofia, seoyeon], ready)
    rooms = {"ready": ready, "english": english, "empty": str(empty), "invite": invite, "answer": answer}
    return jisu, {**rooms, "person": minjun.id}


def looked_after(pod: Pod, person: Person, others: list[Person], room_id: str) -> None:
    """Three months of figures before today, some faults, a budget that is nearly used up."""
    chance = random.Random(11)
    with psycopg2.connect(running_url(pod.folder)) as connection, connection.cursor() as cursor:
        rows: list[tuple[Any, ...]] = []
        for kind, unit, count in (("day", "days", 90), ("hour", "hours", 24)):
            for back in range(1, count):
                said = int(
                    (150 + 60 * chance.random()) * (0.3 if back % 7 in (3, 4) else 1) / (1 if kind == "day" else 12)
                )
                figures = (
                    said,
                    said // 3,
                    chance.randint(0, 3),
                    chance.randint(0, 4),
                    said * 700,
                    said * 130,
                    said * 0.004,
                )
                rows.append((kind, unit, back, "", *figures))
                cursor.execute(
                    "insert into paces select %s, date_trunc(%s, now() at time zone 'UTC') - %s::interval, s, n"
                    " from (values (67, 9), (72 + random() * 3, 4), (77 + random() * 4, 2)) p(s, n) on conflict do nothing",
                    (kind, kind, f"{back} {unit}"),
                )
        for at, one in enumerate([person, *others]):
            rows += [
                ("user", "days", back, one.id, 30 - 6 * at, 9 - at, at % 2, 0, 42_000 - 8_000 * at, 7_800, 0.24)
                for back in range(1, 20)
            ]
        rows += [
            ("model", "days", back, "openai:claude-sonnet-5", 0, 60, 1, 2, 80_000, 15_000, 0.46)
            for back in range(1, 20)
        ]
        rows += [("room", "days", back, room_id, 60, 20, 1, 0, 40_000, 8_000, 0.24) for back in range(1, 20)]
        for kind, unit, back, *rest in rows:
            cursor.execute(
                "insert into tallies values (%s, date_trunc(%s, now() at time zone 'UTC') - %s::interval,"
                " %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
                (kind, "hour" if kind == "hour" else "day", f"{back} {unit}", *rest),
            )
        for kind, back, detail in (
            ("generation.timeout", 2, "No token for 30 s."),
            ("generation.timeout", 30, "No token for 30 s."),
            ("bot.provider_unavailable", 9, "openai answered 503."),
        ):
            cursor.execute(
                "insert into errors (kind, detail, at) values (%s, %s, now() - %s::interval)",
                (kind, detail, f"{back} hours"),
            )
    for who, unit, soft, hard in (
        (others[0], "tokens", 700_000, 900_000),
        (person, "money", 1, 5),
        (None, "tokens", None, 2_000_000),
    ):
        one = {"id": who.id} if who else {}
        person.api(
            "POST", "/admin/budgets", {"kind": "user", **one, "span": "month", "unit": unit, "soft": soft, "hard": hard}
        )


def wait_for(what: Callable[[], Any]) -> Any:
    ends = time.monotonic() + 20
    while not (found := what()):
        if time.monotonic() > ends:
            raise SystemExit("The demo content did not come about.")
        time.sleep(0.1)
    return found


def known(person: Person, room_id: str, word: str) -> None:
    """Until search has taken note, so that the bot is given it too."""
    wait_for(lambda: person.api("GET", f"/search?q={word}&roomId={room_id}")["items"])


def ended(person: Person, room_id: str) -> str:
    """The id of the room's first answer, once it is whole."""

    def whole() -> Any:
        found = person.api("GET", f"/rooms/{room_id}/messages")["messages"]
        return next((one["id"] for one in found if one["role"] == "bot" and one["status"] == "complete"), None)

    return str(wait_for(whole))


ADMIN = ["overview", "people", "rooms", "usage", "errors", "settings", "audit", "live"]
View = tuple[str, Callable[[Page], Any]]


def shoot(page: Page, folder: Path, name: str) -> None:
    page.wait_for_load_state("networkidle")
    page.screenshot(path=folder / f"{name}.png")
    print(folder / f"{name}.png", flush=True)


def take(browser: Browser, pod: Pod, person: Person, rooms: dict[str, str], folder: Path, only: str) -> None:
    """only: words, each of which a picture's name must hold."""
    signed_in: Any = None
    for language, theme, size in itertools.product(("ko", "en"), ("light", "dark"), SIZES):
        tail, phone = f"{language}-{theme}-{size}", size == "phone"
        doors, views = [
            [(f"{name}-{tail}", arrive) for name, arrive in group]
            for group in (at_the_door(pod, rooms), inside(pod, rooms, language, phone))
        ]
        wanted = [[view for view in group if all(word in view[0] for word in only.split())] for group in (doors, views)]
        if not any(wanted):
            continue
        context = browser.new_context(
            viewport=SIZES[size], locale="ko-KR" if language == "ko" else "en-US", color_scheme=theme, is_mobile=phone,
            has_touch=phone, reduced_motion="reduce", device_scale_factor=2 if phone else 1,
        )  # fmt: skip
        page = context.new_page()
        for group in wanted:
            for name, arrive in group:
                arrive(page)
                shoot(page, folder, name)
            if signed_in is None:  # once, so that the list of devices stays short
                context.request.post(pod.url + "/auth/login", data={"email": person.email, "password": PASSWORD})
                signed_in = [one for one in context.cookies() if one["name"] == "maru_session"]
            context.add_cookies(signed_in)
        context.close()


def at_the_door(pod: Pod, rooms: dict[str, str]) -> list[View]:
    return [
        ("sign-in", lambda page: page.goto(pod.url + "/login")),
        ("register", lambda page: page.goto(pod.url + "/login#register")),
        ("reset", lambda page: page.goto(pod.url + "/login#reset=once")),
        ("invite", lambda page: page.goto(pod.url + f"/i/{rooms['invite']}")),
        ("docs", lambda page: page.goto(pod.url + "/docs")),
    ]


def inside(pod: Pod, rooms: dict[str, str], language: str, phone: bool) -> list[View]:
    """What somebody sees who is signed in: pages, and what opens over them."""
    wanted = {"ko": "색인", "en": "index"}[language]

    def room(page: Page, which: str = "ready") -> None:
        page.goto(pod.url + f"/r/{rooms[which]}")
        page.locator("html[data-net=open]").wait_for()
        page.locator("#bones").wait_for(state="hidden")

    def chat(page: Page) -> None:
        room(page, "ready" if language == "ko" else "english")
        page.locator(".message--streaming .message__body ol").wait_for()

    def table(page: Page) -> None:
        room(page)
        page.locator(".message--answer .sources, .message--answer .table").first.scroll_into_view_if_needed()
        page.locator(".message--answer .table").scroll_into_view_if_needed()

    def empty(page: Page) -> None:
        room(page, "empty")
        page.locator(".empty h2").first.wait_for()

    def panel(part: str) -> Callable[[Page], None]:
        def arrive(page: Page) -> None:
            room(page)
            page.locator("#settings").click()
            page.locator(f"#panel input[value={part}]").check(force=True)

        return arrive

    def account(part: str) -> Callable[[Page], None]:
        def arrive(page: Page) -> None:
            page.goto(pod.url if phone else pod.url + f"/r/{rooms['ready']}")
            page.locator("html[data-net=open]").wait_for()
            page.locator("#account").click()
            page.locator(f".account input[value={part}]").check(force=True)
            page.locator(".account .laying").wait_for(state="hidden")

        return arrive

    def leaving(page: Page) -> None:
        account("data")(page)
        page.locator(".account .button--fault").click()

    def question(page: Page) -> None:
        panel("room")(page)
        page.locator("#panel .button--fault").click()

    def keys(page: Page) -> None:
        room(page)
        page.locator("#log").focus()
        page.keyboard.press("?")

    def administered(view: str) -> Callable[[Page], None]:
        def arrive(page: Page) -> None:
            page.goto("about:blank")
            page.goto(pod.url + "/admin#" + view.format(**rooms))
            page.locator(".hall h1").wait_for()
            page.locator(".hall .laying:not(.told__state *)").first.wait_for(state="hidden")
            page.wait_for_timeout(300)  # a chart is drawn once its place has a size

        return arrive

    def rooms_list(page: Page) -> None:
        page.goto(pod.url)
        page.locator("a.room").first.wait_for()

    def found(page: Page) -> None:
        rooms_list(page)
        page.locator("#find").fill(wanted)
        page.locator("a.hit").first.wait_for()

    return [
        ("chat", chat),
        ("table", table),
        ("empty", empty),
        *((part, panel(part)) for part in ("people", "bot", "room")),
        ("rooms", rooms_list),
        ("found", found),
        *((f"account-{part}", account(part)) for part in ("me", "devices", "keys", "usage", "data")),
        ("leaving", leaving),
        ("question", question),
        *([] if phone else [("keys", keys)]),
        ("context", lambda page: page.goto(pod.url + f"/m/{rooms['answer']}")),
        ("enter", lambda page: page.goto(pod.url + f"/i/{rooms['invite']}")),
        *((f"admin-{view}", administered(view)) for view in ADMIN),
        ("admin-person", administered("people/{person}")),
        ("admin-room", administered("rooms/{ready}")),
    ]


def keep(folder: Path) -> None:
    """Those of the README, with fewer colours so that each is small."""
    place = ROOT / "static" / "img"
    place.mkdir(exist_ok=True)
    for name, kept in KEPT.items():
        shutil.copyfile(folder / f"{name}.png", place / kept)
        if shutil.which("pngquant"):
            subprocess.run(["pngquant", "--force", "--ext", ".png", "--strip", str(place / kept)], check=True)
        print(place / kept, (place / kept).stat().st_size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(tempfile.gettempdir()) / "maru-shots")
    parser.add_argument("--only", default="", help="words that a picture's name must hold")
    parser.add_argument("--keep", action="store_true", help="also write the README's pictures")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    model = Model()
    model.start()
    model.ready.wait()
    with tempfile.TemporaryDirectory(prefix="maru-shots-") as data, sync_playwright() as playwright:
        pod = Pod(Path(data), model.model)
        try:
            person, rooms = furnish(pod)
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            take(browser, pod, person, rooms, given.folder, given.only)
            browser.close()
        finally:
            pod.stop()
    if given.keep:
        keep(given.folder)


if __name__ == "__main__":
    main()
