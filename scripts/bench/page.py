"""What the chat page costs a browser: its weight, its start, answers that stream, a long room, a crowd that writes."""

import asyncio
import gzip
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg2
import requests
from playwright.sync_api import Browser, Page, sync_playwright

from bench.figures import Figure, median
from bench.processes import ROOT, Postgres, pod
from tests.scripted_model import Script, ScriptedModel

SHAPES = (ROOT / "scripts" / "bench" / "shapes.js").read_text("utf-8")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--enable-precise-memory-info"]  # fmt: skip
DESK: Any = {"width": 1280, "height": 800}
LISTEN = """globalThis.long = [];
new PerformanceObserver((list) => long.push(...list.getEntries().map(({ startTime, duration }) => [startTime, duration])))
  .observe({ type: "longtask", buffered: true });"""
# Milliseconds of main thread a piece, script and the layout that the log asks for, where an answer begins, in its middle
# and at its end. Between these the text comes in large pieces.
PIECES = """async (name) => {
  const { Prose } = await import("/static/js/markdown.js");
  const text = shapes[name]();
  const node = document.getElementById("messages").appendChild(document.createElement("li"));
  node.className = "message message--answer";
  node.append(document.createElement("span"), document.createElement("div"));
  const body = node.lastElementChild.appendChild(document.createElement("div"));
  body.className = "message__body";
  const scroller = document.getElementById("log");
  const prose = new Prose(body);
  const later = setTimeout;
  const pause = (ms) => new Promise((done) => later(done, ms));
  let spent = 0;
  let longest = 0;
  const timed = (work) => {
    const began = performance.now();
    work();
    scroller.scrollTop = scroller.scrollHeight;
    spent += performance.now() - began;
    longest = Math.max(longest, performance.now() - began);
  };
  globalThis.setTimeout = (work, ms) => later(() => timed(work), ms); // what Prose put off
  const windows = [];
  let end = 0;
  try {
    for (const share of [0.02, 0.5, 0.97]) {
      const from = Math.floor(text.length * share);
      for (; end < from; end += 500) {
        prose.show(text.slice(0, end), false);
        await pause(5);
      }
      await pause(500);
      spent = longest = 0;
      for (let n = 0; n < 60; n++) {
        end += 20;
        timed(() => prose.show(text.slice(0, end), false));
        await pause(50);
      }
      windows.push([spent / 60, longest]);
    }
    await pause(500);
    spent = 0;
    timed(() => prose.show(text, true));
    windows.push([spent, spent]);
  } finally {
    globalThis.setTimeout = later;
    node.remove();
  }
  return windows;
}"""


class Member(NamedTuple):
    id: str
    token: str

    def api(self, url: str, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = requests.request(method, url + path, json=body, headers=headers, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None


class Place:
    """A pod with a model that streams by script, and a browser in front of it."""

    def __init__(self, url: str, browser: Browser, database: str) -> None:
        self.url = url
        self.database = database
        self._browser = browser
        self._count = 0

    def member(self) -> Member:
        self._count += 1
        body = {
            "email": f"p{time.time_ns()}@example.com",
            "name": f"Ada {self._count}",
            "password": "correct horse battery",
        }
        answer = requests.post(self.url + "/auth/register", json=body, timeout=30).json()
        return Member(answer["user"]["id"], answer["token"])

    def room(self, who: Member, when: str = "off") -> str:
        return str(who.api(self.url, "POST", "/rooms", {"name": "A room", "bot": {"when": when, "name": "Maru"}})["id"])

    @contextmanager
    def page(self) -> Iterator[tuple[Page, Member]]:
        context = self._browser.new_context(viewport=DESK, locale="en-US", reduced_motion="reduce")
        context.add_init_script(LISTEN)
        try:
            body = {"email": f"p{time.time_ns()}@example.com", "name": "Reader", "password": "correct horse battery"}
            answer = context.request.post(self.url + "/auth/register", data=body).json()
            yield context.new_page(), Member(answer["user"]["id"], answer["token"])
        finally:
            context.close()

    def enter(self, page: Page, room_id: str, text: str | None = None) -> float:
        """Milliseconds from the navigation until the newest message is in the log, or the room is there."""
        page.goto(f"{self.url}/r/{room_id}", wait_until="commit")
        page.wait_for_function(
            "(text) => document.documentElement.dataset.net === 'open' && document.getElementById('bones').hidden &&"
            " (!text || document.getElementById('messages').lastElementChild?.textContent.includes(text))",
            arg=text,
            polling="raf",
        )
        return float(page.evaluate("performance.now()"))


def weight(place: Place) -> list[Figure]:
    """All that the page loads for an opened room without code and formulas, as sent, and as gzip would make it."""
    with place.page() as (page, me):
        room_id = place.room(me)
        me.api(place.url, "POST", f"/rooms/{room_id}/messages", {"text": "the newest"})
        found: list[Any] = []
        page.on("requestfinished", lambda request: found.append(request))
        place.enter(page, room_id, "the newest")
        page.wait_for_timeout(300)
        files = {}
        for request in found:
            path = request.url.removeprefix(place.url).partition("?")[0]
            if path.startswith(("/static", "/r/", "/favicon")):
                body = request.response().body()
                sizes = request.sizes()
                files[path] = (sizes["responseBodySize"], len(gzip.compress(body, 6)), sizes["responseHeadersSize"])
    sent, packed, heads = (sum(sizes[n] for sizes in files.values()) for n in range(3))
    detail = {"files": {path: sizes[0] for path, sizes in sorted(files.items())}}
    return [
        Figure("weight", "bodies as sent", sent / 1000, "KB", 150, detail),
        Figure("weight", "bodies by gzip", packed / 1000, "KB", 150),
        Figure("weight", "heads of the answers", heads / 1000, "KB"),
        Figure("weight", "requests", len(files), ""),
    ]


def start(place: Place) -> list[Figure]:
    paints, usable = [], []
    with place.page() as (page, me):
        room_id = place.room(me)
        for n in range(100):
            me.api(
                place.url, "POST", f"/rooms/{room_id}/messages", {"text": f"Message {n} of the room, with **bold**."}
            )
        for _ in range(5):
            usable.append(place.enter(page, room_id, "Message 99"))
            paint = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
            paints.append(page.wait_for_function(paint).json_value())
            page.goto("about:blank")
    return [
        Figure("start", "first paint", median(paints), "ms", 1000, {"rounds": paints}),
        Figure("start", "the room's newest messages", median(usable), "ms", 1000, {"rounds": usable}),
    ]


def stream(place: Place) -> list[Figure]:
    """3,000 tokens, 100 a second, through pod and socket, in a page that follows."""
    with place.page() as (page, me):
        room_id = place.room(me, "always")
        place.enter(page, room_id)
        page.evaluate("long.length = 0; globalThis.began = performance.now()")
        me.api(place.url, "POST", f"/rooms/{room_id}/messages", {"text": "tokens=3000"})
        page.wait_for_selector(".message--streaming", timeout=20_000)
        page.wait_for_function("() => !document.querySelector('.message--streaming')", timeout=90_000, polling=500)
        page.wait_for_timeout(500)
        began, found = page.evaluate("[began, long]")
        tasks = [duration for _, duration in found]
        when = [round(start - began) for start, _ in found]
        signs = int(page.evaluate("document.querySelector('.message--answer .message__body').textContent.length"))
    return [
        Figure("stream", "tasks over 50 ms", len(tasks), "", 0, {"tasks": tasks, "when": when, "characters": signs}),
        Figure("stream", "longest such task", max(tasks, default=0), "ms", 50),
    ]


def pieces(place: Place) -> list[Figure]:
    """A piece of 20 characters each 50 ms, as 100 tokens a second are."""
    figures = []
    with place.page() as (page, me):
        place.enter(page, place.room(me))
        page.evaluate(SHAPES)
        page.evaluate(
            "import('/static/js/markdown.js').then(({ Prose }) => new Prose(document.createElement('p')).show('$x$'))"
        )
        for shape in page.evaluate("Object.keys(shapes)"):
            found = page.evaluate(PIECES, shape)
            for name, (each, _) in zip(("begin", "middle", "end"), found[:3], strict=True):
                figures.append(Figure("pieces", f"{shape}: {name}", each, "ms"))
            figures.append(Figure("pieces", f"{shape}: longest", max(one[1] for one in found[:3]), "ms", 50))
            figures.append(Figure("pieces", f"{shape}: the last", found[3][0], "ms", 50))
            figures.append(Figure("pieces", f"{shape}: end / begin", found[2][0] / found[0][0], "x"))
    return figures


FILL = """insert into messages (id, room_id, seq, changed_seq, user_id, role, content, created_at)
select gen_random_uuid(), %s, n, n, %s, 'user', 'Message ' || n || ': ' || repeat('some words of it ', 1 + n %% 9),
now() - (100001 - n) * interval '20 seconds' from generate_series(1, 100000) n"""


def history(place: Place) -> list[Figure]:
    """A room of 100,000 messages: opened at its end, then read upwards for 5,000."""
    with place.page() as (page, me):
        room_id = place.room(me)
        with psycopg2.connect(place.database) as connection, connection.cursor() as cursor:
            cursor.execute(FILL, (room_id, me.id))
            cursor.execute("update room_heads set head = 100000, last_seq = 100000 where room_id = %s", (room_id,))
            cursor.execute("update members set read_seq = 100000 where room_id = %s", (room_id,))
        connection.close()
        opened = place.enter(page, room_id, "Message 100000:")
        page.evaluate("long.length = 0")
        began = time.monotonic()
        first = "Number(/Message (\\d+):/.exec(document.querySelector('#messages .message')?.textContent)?.[1])"
        most = 0
        while page.evaluate(first) > 95_000 and time.monotonic() - began < 180:
            page.evaluate("document.getElementById('log').scrollBy(0, -2000)")
            page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))")
            most = max(most, int(page.evaluate("document.querySelectorAll('#messages > *').length")))
        took = time.monotonic() - began
        reached = int(page.evaluate(first))
        tasks = [duration for _, duration in page.evaluate("long")]
        nodes = int(page.evaluate("document.querySelectorAll('*').length"))
        heap = float(page.evaluate("performance.memory.usedJSHeapSize"))
    return [
        Figure("history", "opened", opened, "ms", 1000),
        Figure("history", "messages read upwards", 100_000 - reached, ""),
        Figure("history", "that took", took, "s"),
        Figure("history", "tasks over 50 ms", len(tasks), "", 0, {"tasks": tasks}),
        Figure("history", "longest such task", max(tasks, default=0), "ms"),
        Figure("history", "rows in the page at most", most, ""),
        Figure("history", "elements at the end", nodes, "", 10_000),
        Figure("history", "heap at the end", heap / 1e6, "MB"),
    ]


def crowd(place: Place) -> list[Figure]:
    """2,000 messages of another member within 10 s."""
    with place.page() as (page, me):
        room_id, other = place.room(me), place.member()
        me.api(place.url, "POST", f"/rooms/{room_id}/members", {"userId": other.id})
        place.enter(page, room_id)
        page.evaluate("long.length = 0")
        began = time.monotonic()

        def send() -> None:
            session = requests.Session()
            session.headers["Authorization"] = f"Bearer {other.token}"
            for n in range(1, 2001):
                time.sleep(max(0, began + n / 200 - time.monotonic()))
                text = f"Message {n}: a line that **somebody** wrote"
                session.post(
                    f"{place.url}/rooms/{room_id}/messages", json={"text": text}, timeout=30
                ).raise_for_status()

        sender = threading.Thread(target=send)
        sender.start()
        last = "() => document.getElementById('messages').lastElementChild?.textContent.includes('Message 2000:')"
        page.wait_for_function(last, timeout=120_000, polling=200)
        took = time.monotonic() - began
        sender.join()
        tasks = [duration for _, duration in page.evaluate("long")]
        rows = int(page.evaluate("document.querySelectorAll('#messages > .message').length"))
    return [
        Figure("crowd", "until the last was shown", took, "s"),
        Figure("crowd", "tasks over 50 ms", len(tasks), "", 0, {"tasks": tasks}),
        Figure("crowd", "longest such task", max(tasks, default=0), "ms"),
        Figure("crowd", "rows in the page", rows, ""),
    ]


BENCHES: dict[str, Callable[[Place], list[Figure]]] = {
    "weight": weight, "start": start, "stream": stream, "pieces": pieces, "history": history, "crowd": crowd,
}  # fmt: skip


class Model:
    """An answer of markdown, a token each 10 ms."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True).start()
        self._ready.wait(10)

    async def _serve(self) -> None:
        model = ScriptedModel()
        model.default = self._answer
        model.start()
        self.port = model.port
        self._ready.set()
        await asyncio.Event().wait()

    def _answer(self, body: dict[str, Any]) -> Script:
        asked = str(body["messages"][-1]["content"])
        words = [f"{word} " for word in ANSWER.split(" ")]
        count = 3000 if "tokens=3000" in asked else 10
        steps: list[Any] = []
        for n in range(count):
            steps += [("text", words[n % len(words)]), ("pause", 0.01)]
        return Script(*steps, ("usage", 10, count))


ANSWER = """## A part of the answer

Some words that **explain** a thing, with `code` and a formula $x^2 + y^2 = z^2$ in the middle of them. More words.

1. First an item of a list that has some words in it
2. and another item

```js
const value = compute(1, 2); // a comment
for (let n = 0; n < value; n++) console.log(n);
```

| Name | Value |
|---|--:|
| one | 1 |
| two | 2 |

"""


@contextmanager
def place(postgres: Postgres) -> Iterator[Place]:
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        raise SystemExit("There is no Chromium here: apt-get install chromium.")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    model = Model()
    settings = {"OPENAI_BASE_URL": f"http://127.0.0.1:{model.port}/v1", "OPENAI_API_KEY": "none", "OPENAI_MODEL": "m1"}
    with pod(postgres.url, port, **settings), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        try:
            yield Place(f"http://127.0.0.1:{port}", browser, postgres.url)
        finally:
            browser.close()
