"""Every view for everybody: axe finds nothing, the keyboard reaches all in order, zoom loses nothing, nothing moves unasked.

Source: axe-core (Deque), run in the page by the browser's own debugger, so that the CSP need not know.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import AT_LENGTH, PASSWORD, ROOT, People, Person

pytestmark = pytest.mark.browser

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
TEXT = """여기에 **순서**가 있어요.

1. 옛 파드를 비우고
2. 새 파드를 올리고

- [x] 색인 만들기
- [ ] 알리기

| 단계 | 맡은 사람 | 걸린 시간 |
|---|---|--:|
| 이미지 | 박민준 | 4분 |

```sql
create index concurrently message_changed on message (room_id, changed_seq); -- 아주 긴 줄이라도 안에서만 옆으로 움직여요
```

> 인용한 말

[링크](https://example.com)와 `코드`, 그림 ![표](https://example.com/a.png)"""


def faults_of(page: Page) -> list[str]:
    """What axe finds, in one line each."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text("utf-8"))
    result = page.evaluate(
        "async (tags) => { const { violations } = await axe.run(document, { runOnly: tags });"
        " return violations.map(({ id, help, nodes }) =>"
        " `${id}: ${help}: ${nodes.map(({ html, any }) => html.slice(0, 160) + ' ' + (any[0]?.message ?? '')).join(' | ')}`); }",
        TAGS,
    )
    return list(result)


@pytest.fixture(scope="module", autouse=True)
def axe() -> None:
    assert AXE.exists(), "axe-core is not there: scripts/test fetches it."


def furnish(people: People, phone: bool) -> tuple[Person, dict[str, str]]:
    """Somebody in rooms with something of everything."""
    minjun = people.person("박민준", phone=phone)
    sofia = people.person("Sofia Reyes")
    room_id = minjun.room(sofia, when="mention", name="출시 준비")
    minjun.room(name="점심")
    first = minjun.say(room_id, TEXT)["messageId"]
    gone = sofia.say(room_id, "잘못 썼어요")["messageId"]
    sofia.api("DELETE", f"/messages/{gone}")
    edited = sofia.say(room_id, "좋네요", replyTo=first)["messageId"]
    sofia.api("PATCH", f"/messages/{edited}", {"text": "아주 좋네요"})
    minjun.say(room_id, "@마루 언제 올리기로 했지?")
    answer = next(message for message in minjun.messages(room_id) if message["role"] == "bot")
    minjun.api("POST", "/users/me/keys", {"name": "배포 알림"})
    code = minjun.api("POST", f"/rooms/{room_id}/invites")["code"]
    empty = minjun.api("POST", "/rooms", {"bot": {"name": "마루"}})["id"]
    return minjun, {"room": room_id, "empty": str(empty), "code": code, "answer": answer["id"]}


Arrive = Callable[[Person, dict[str, str]], Any]


def in_room(person: Person, place: dict[str, str]) -> None:
    person.enter(place["room"])
    expect(person.answer.locator(".message__foot")).to_contain_text("demo", timeout=15_000)


def with_tools(person: Person, place: dict[str, str]) -> None:
    """A message in focus shows what one may do with it."""
    in_room(person, place)
    person.page.locator("#log").focus()
    person.page.keyboard.press("k")
    person.page.keyboard.press("k")
    expect(person.page.get_by_role("toolbar")).to_be_visible()


def at_panel(part: str) -> Arrive:
    def arrive(person: Person, place: dict[str, str]) -> None:
        in_room(person, place)
        person.page.locator("#settings").click()
        person.page.locator(f"#panel input[value={part}]").check(force=True)
        if part == "people":
            expect(person.page.locator(".links li")).to_have_count(1)

    return arrive


def at_account(part: str) -> Arrive:
    def arrive(person: Person, place: dict[str, str]) -> None:
        person.open()
        if person.page.viewport_size == {"width": 1280, "height": 800}:
            expect(person.page.locator("#bones")).to_be_hidden()
        person.connected()
        person.page.locator("#account").click()
        person.page.locator(f".account input[value={part}]").check(force=True)
        expect(person.page.locator(".account .laying")).to_have_count(0)

    return arrive


def deleting(person: Person, place: dict[str, str]) -> None:
    at_account("data")(person, place)
    person.page.locator(".account .button--fault").click()


def found(person: Person, place: dict[str, str]) -> None:
    person.open()
    person.connected()
    person.page.locator("#find").fill("순서")
    expect(person.page.locator("a.hit")).to_have_count(1)


def keys(person: Person, place: dict[str, str]) -> None:
    in_room(person, place)
    person.page.locator("#log").focus()
    person.page.keyboard.press("?")
    expect(person.page.get_by_role("dialog", name="단축키")).to_be_visible()


def asked(person: Person, place: dict[str, str]) -> None:
    at_panel("room")(person, place)
    person.page.get_by_role("button", name="방 지우기").click()
    expect(person.page.get_by_role("dialog")).to_be_visible()


def at(path: str) -> Arrive:
    return lambda person, place: person.open(path.format(**place))


SIGNED_IN: list[tuple[str, Arrive]] = [
    ("rooms", at("/")),
    ("room", in_room),
    ("tools", with_tools),
    ("empty room", lambda person, place: person.enter(place["empty"])),
    *((f"panel {part}", at_panel(part)) for part in ("people", "bot", "room")),
    *((f"account {part}", at_account(part)) for part in ("me", "devices", "keys", "usage", "data")),
    ("deleting", deleting),
    ("found", found),
    ("keys", keys),
    ("a question", asked),
    ("context", at("/m/{answer}")),
    ("no context", at("/m/none")),
    ("entering", at("/i/{code}")),
]


def looked_after(view: str, heading: str) -> Arrive:
    def arrive(person: Person, place: dict[str, str]) -> None:
        person.open(f"/admin#{view.format(**place)}")
        expect(person.page.get_by_role("heading", level=1)).to_have_text(heading)
        expect(person.page.locator(".hall .laying:not(.told__state *)")).to_have_count(0)

    return arrive


def table_of_a_chart(person: Person, place: dict[str, str]) -> None:
    looked_after("overview", "한눈에")(person, place)
    person.page.locator(".chart__table summary").first.click()
    expect(person.page.locator(".chart__table table").first).to_be_visible()


def leaving_for_somebody(person: Person, place: dict[str, str]) -> None:
    looked_after("people/{person}", "박민준")(person, place)
    person.page.get_by_role("button", name="계정 지우기").click()
    expect(person.page.get_by_role("dialog")).to_be_visible()


ADMINISTRATORS: list[tuple[str, Arrive]] = [
    ("overview", looked_after("overview", "한눈에")),
    ("a chart's table", table_of_a_chart),
    ("administered people", looked_after("people", "사람")),
    ("administered person", looked_after("people/{person}", "박민준")),
    ("somebody's deletion", leaving_for_somebody),
    ("administered rooms", looked_after("rooms", "방")),
    ("administered room", looked_after("rooms/{room}", "출시 준비")),
    ("live", looked_after("live", "지금 오가는 대화")),
    ("usage", looked_after("usage", "사용량")),
    ("errors", looked_after("errors", "오류")),
    ("settings", looked_after("settings", "설정")),
    ("audit", looked_after("audit", "기록")),
]
AT_THE_DOOR: list[tuple[str, Arrive]] = [
    ("sign-in", at("/login#login")),
    ("a new password", at("/login#reset=none")),
    ("register", at("/login#register")),
    ("with an invitation", at("/login#invite")),
    ("invited", at("/i/{code}")),
    ("an invitation that is over", at("/i/none")),
    ("reference", at("/docs")),
]


def test_lists_count_on_boxes_are_boxes_and_figures_stand_at_the_end(people: People) -> None:
    """What is cleaned of markup keeps the attributes whose words are no addresses."""
    minjun = people.person("박민준")
    room_id = minjun.room()
    minjun.say(room_id, "3. 셋\n\n- [x] 함\n\n| 단계 | 분 |\n|---|--:|\n| 색인 | 40 |")
    minjun.enter(room_id)
    expect(minjun.bodies.locator("ol")).to_have_attribute("start", "3")
    expect(minjun.bodies.get_by_role("checkbox")).to_be_checked()
    expect(minjun.bodies.locator("td").last).to_have_css("text-align", "end")


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_axe_finds_nothing_in_any_view_and_either_theme(people: People, phone: bool) -> None:
    somebody, place = furnish(people, phone)
    newcomer = people.person("Eve", phone=phone)
    stranger = people.stranger(phone=phone)
    keeper = people.administrator(phone=phone)
    place["person"] = somebody.id
    somebody.api("POST", "/auth/login", {"email": somebody.email, "password": PASSWORD})
    views = itertools.chain(
        ((stranger, *view) for view in AT_THE_DOOR),
        [(newcomer, "no room yet", at("/")), (newcomer, "no administrator", at("/admin"))],
        ((somebody, *view) for view in SIGNED_IN),
        ((keeper, *view) for view in ADMINISTRATORS),
    )
    faults: list[str] = []
    for person, name, arrive in views:
        arrive(person, place)
        person.page.wait_for_load_state("networkidle")
        for scheme in ("light", "dark"):
            person.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            faults += [f"{name}, {scheme}: {fault}" for fault in faults_of(person.page)]
        if person.width_over() > 0:
            faults.append(f"{name}: {person.width_over()} px too wide")
    assert not faults, "\n".join(faults)


def stops(page: Page) -> Iterator[str]:
    """Where Tab stops, in order, until it leaves the page: id or class, with a fault where no focus is seen."""
    while True:
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => {
              const node = document.activeElement;
              if (!node || node === document.body) return null;
              const seen = [node, ...ancestors(node)].some((one) => {
                const style = getComputedStyle(one);
                return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2) || style.boxShadow !== "none";
              });
              const box = node.getBoundingClientRect();
              const name = node.id || [...node.classList].join(".") || node.name || node.tagName;
              return name + (seen ? "" : " UNSEEN") + (box.width > 1 || node.matches("input") ? "" : " HIDDEN");
              function* ancestors(of) {
                for (let up = of.parentElement, n = 0; up && n < 2; up = up.parentElement, n++) yield up;
              }
            }"""
        )
        if stop is None:
            return
        yield stop


def test_the_keyboard_goes_from_the_list_through_the_room_to_the_composer(people: People) -> None:
    somebody, place = furnish(people, phone=False)
    in_room(somebody, place)
    page = somebody.page
    page.locator(".skip").focus()  # the page itself begins in the composer
    order = list(itertools.islice(stops(page), 80))
    assert not [stop for stop in order if stop.endswith(("UNSEEN", "HIDDEN"))], order
    wanted = ["new-chat", "find", "room", "account", "sign-out", "invite", "settings", "log", "text"]
    names = [stop.split(".")[0] for stop in order]
    assert set(wanted) <= set(names), order
    places = [names.index(want) for want in wanted]
    assert places == sorted(places), order


def test_the_skip_link_is_seen_and_leads_to_the_conversation(people: People) -> None:
    somebody, place = furnish(people, phone=False)
    in_room(somebody, place)
    page = somebody.page
    page.locator("#new-chat").focus()
    page.keyboard.press("Shift+Tab")
    skip = page.get_by_role("link", name="대화로 건너뛰기")
    expect(skip).to_be_focused()
    box = skip.bounding_box()
    assert box is not None and box["width"] > 50
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#log, #foot') !== null")


def test_at_twice_the_size_nothing_is_lost(people: People) -> None:
    """200 % on a window of 1280: as wide as 640, half as high."""
    somebody, place = furnish(people, phone=False)
    page = somebody.page
    page.set_viewport_size({"width": 640, "height": 400})
    in_room(somebody, place)
    for locator in ("#settings", "#text", "#send", "#room-name"):
        expect(page.locator(locator)).to_be_in_viewport(ratio=1)
    assert somebody.width_over() <= 0
    log = page.locator("#log").bounding_box()
    assert log is not None and log["height"] > 120
    page.get_by_role("link", name="방 목록").click()
    for locator in ("#find", "#account", "#sign-out", "#new-chat"):
        expect(page.locator(locator)).to_be_in_viewport(ratio=1)
    page.locator("#account").click()
    for part in ("me", "devices", "keys", "usage", "data"):
        page.locator(f".account input[value={part}]").check(force=True)
        assert page.locator(".account__body").evaluate("node => node.scrollWidth <= node.clientWidth"), part
    page.locator(".account .button--fault").scroll_into_view_if_needed()
    expect(page.locator(".account .button--fault")).to_be_in_viewport(ratio=1)
    page.keyboard.press("Escape")
    somebody.enter(place["room"])
    page.locator("#settings").click()
    for part in ("people", "bot", "room"):
        page.locator(f"#panel input[value={part}]").check(force=True)
        assert page.locator(".panel__body").evaluate("node => node.scrollWidth <= node.clientWidth"), part
    assert somebody.width_over() <= 0


def test_nothing_moves_for_who_asked_for_stillness(people: People) -> None:
    """People in these tests prefer reduced motion; without that wish the three boards do move."""
    somebody, place = furnish(people, phone=False)
    somebody.enter(place["room"])
    somebody.write("@마루 길게 말해 줘" + AT_LENGTH)
    expect(somebody.page.locator(".message--streaming")).to_have_count(1)
    moving = "document.getAnimations().filter(({ playState }) => playState === 'running').length"
    assert somebody.page.evaluate(moving) == 0
    somebody.page.emulate_media(reduced_motion="no-preference")
    somebody.write("@마루 한 번 더" + AT_LENGTH)
    expect(somebody.page.locator(".message--streaming")).not_to_have_count(0)
    assert somebody.page.evaluate(moving) > 0


def test_the_browser_would_install_it(people: People) -> None:
    somebody = people.person("박민준").open()
    somebody.connected()
    answer = somebody.context.request.get(somebody.site.url + "/static/manifest.webmanifest")
    assert answer.headers["content-type"].startswith("application/manifest+json")
    for icon in answer.json()["icons"]:
        drawn = somebody.context.request.get(somebody.site.url + icon["src"])
        assert (drawn.status, drawn.headers["content-type"]) == (200, icon["type"])
    client = somebody.context.new_cdp_session(somebody.page)
    manifest = client.send("Page.getAppManifest")
    assert manifest["url"].endswith("/static/manifest.webmanifest")
    assert manifest["errors"] == []
    errors = [error["errorId"] for error in client.send("Page.getInstallabilityErrors")["installabilityErrors"]]
    assert set(errors) <= {"in-incognito"}  # a test's context always is
    touch = somebody.page.locator("link[rel=apple-touch-icon]").get_attribute("href")
    assert Path(ROOT / str(touch).lstrip("/")).exists()
