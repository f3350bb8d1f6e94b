"""People at real browsers in front of a real pod, for tests. Everything here runs in the browser's own thread."""

import itertools
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import requests
import socketio
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

ROOT = Path(__file__).parent.parent.parent
PASSWORD = "correct horse battery"
SECRET = "a browser test's secret of more than thirty-two bytes"
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
# Told to the console, so that one listener hears of it.
TELL_VIOLATIONS = """document.addEventListener("securitypolicyviolation",
    (event) => console.error("VIOLATION", event.violatedDirective, event.blockedURI, event.sample));"""
# Behind a question: the demo model quotes it word by word, so its answer takes two seconds longer.
AT_LENGTH = " 응" * 80
numbers = itertools.count(1)


def until(what: Callable[[], Any], page: Page, limit_s: float = 10) -> Any:
    """What `what` gives, as soon as it gives something. The page's events go on meanwhile."""
    ends = time.monotonic() + limit_s
    while not (found := what()):
        assert time.monotonic() < ends, "it did not come"
        page.wait_for_timeout(20)
    return found


class Site:
    """A pod in a process of its own, on a port that stays the same."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        environment = {
            **os.environ, "PORT": str(self.port), "DATABASE_URL": self.database_url, "JWT_SECRET": SECRET, "REDIS_URL": "",
            "REGISTRATIONS_PER_HOUR": "0", "SENDS_PER_10S": "0", "DEMO_TOKEN_MS": "25", "LEASE_S": "2", "DRAIN_S": "0",
            "LOG_LEVEL": "error",
        }  # fmt: skip
        command = [sys.executable, "app.py"]
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], 20)[0], "the pod said nothing"
        line = self._process.stdout.readline()
        assert line.startswith("Maru is at "), line
        self.port = int(line.rsplit(":", 1)[1])

    def kill(self) -> None:
        """As a lost machine: no goodbye."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.wait(20)
        assert process.stdout is not None
        process.stdout.close()


class Person:
    """Somebody with a page open, who can also ask the API."""

    def __init__(self, site: Site, context: BrowserContext, name: str) -> None:
        self.site = site
        self.context = context
        self.name = name
        self.email = f"b{os.getpid()}-{next(numbers)}@example.com"
        self.faults: list[str] = []
        context.add_init_script(TELL_VIOLATIONS)
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self._heard(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))

    def _heard(self, text: str) -> None:
        if any(word in text for word in ("VIOLATION", "Content Security", "Trusted")):
            self.faults.append(text)

    def register(self) -> "Person":
        body = {"email": self.email, "name": self.name, "password": PASSWORD}
        answer = self.context.request.post(self.site.url + "/auth/register", data=body)
        assert answer.status == 201, answer.text()
        signed_in = answer.json()
        self.token, self.id = signed_in["token"], signed_in["user"]["id"]
        return self

    def api(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = requests.request(method, self.site.url + path, json=body, headers=headers, timeout=10)
        assert answer.status_code < 300, (path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def room(self, *others: "Person", when: str = "off", name: str = "시험 방") -> str:
        room = self.api("POST", "/rooms", {"name": name, "bot": {"when": when, "name": "마루"}})
        for other in others:
            self.api("POST", f"/rooms/{room['id']}/members", {"userId": other.id})
        return str(room["id"])

    def say(self, room_id: str, text: str, **fields: Any) -> Any:
        return self.api("POST", f"/rooms/{room_id}/messages", {"text": text, **fields})

    def messages(self, room_id: str) -> list[dict[str, Any]]:
        return list(self.api("GET", f"/rooms/{room_id}/messages?limit=200")["messages"])

    def socketio(self) -> socketio.Client:
        client = socketio.Client(reconnection=False)
        client.connect(self.site.url, auth={"token": self.token}, transports=["websocket"], wait_timeout=5)
        return client

    # -- at the page

    def open(self, path: str = "/") -> "Person":
        self.page.goto(self.site.url + path)
        return self

    def enter(self, room_id: str) -> "Person":
        self.open(f"/r/{room_id}")
        self.connected()
        expect(self.page.locator("#bones")).to_be_hidden()
        return self

    def connected(self, limit_s: float = 10) -> None:
        expect(self.page.locator("html[data-net=open]")).to_be_attached(timeout=limit_s * 1000)

    def cut_off(self) -> None:
        """Without network, and the page knows; `context.set_offline(False)` brings it back."""
        self.context.set_offline(True)
        lost = "html[data-net=offline], html[data-net=connecting], html[data-net=waiting]"
        expect(self.page.locator(lost)).to_be_attached()

    @property
    def field(self) -> Locator:
        return self.page.locator("#text")

    @property
    def bodies(self) -> Locator:
        return self.page.locator("#messages .message__body")

    @property
    def answer(self) -> Locator:
        return self.page.locator("#messages .message--answer").last

    def write(self, text: str) -> None:
        self.field.fill(text)
        self.field.press("Enter")

    def sees(self, text: str, limit_s: float = 5) -> None:
        expect(self.page.locator("#messages")).to_contain_text(text, timeout=limit_s * 1000)

    def width_over(self) -> int:
        """By how much the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


class People:
    def __init__(self, site: Site, browser: Browser) -> None:
        self.site = site
        self._browser = browser
        self._all: list[Person] = []

    def stranger(self, name: str = "한지수", *, locale: str = "ko-KR", phone: bool = False) -> Person:
        context = self._browser.new_context(
            viewport=PHONE if phone else DESK, locale=locale, has_touch=phone, is_mobile=phone, reduced_motion="reduce"
        )
        context.set_default_timeout(8000)
        person = Person(self.site, context, name)
        self._all.append(person)
        return person

    def person(self, name: str = "한지수", **how: Any) -> Person:
        return self.stranger(name, **how).register()

    def administrator(self, name: str = "관리자", **how: Any) -> Person:
        """Somebody whom the first administrator, who is nobody's test's, would have made another one."""
        person = self.person(name, **how)
        self.change("update users set role = 'admin' where id = %s", person.id)
        return person

    def change(self, statement: str, *values: Any) -> None:
        """In the rows themselves: what no interface does, as making something old."""
        with psycopg2.connect(self.site.database_url) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)

    def close(self) -> list[str]:
        """Ends all, and gives what was wrong with their pages."""
        faults = [f"{person.name}: {fault}" for person in self._all for fault in person.faults]
        for person in self._all:
            person.context.close()
        self._all.clear()
        return faults
