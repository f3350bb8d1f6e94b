"""Answers that stream: what we add to the first token, and what relaying costs."""

import select
import time
from typing import Any

from bench.clients import Native, http
from bench.figures import Figure, median, quantile, spread
from bench.processes import Helper, Postgres, cpu_s, pod
from bench.send import free_port

ANSWERS, EXTRA, ALONE = 100, 20, 30
EVERY_MS = 20
TARGET_MS = 5.0
MEMORY_TARGET_MS = 35.0
PASSWORD = "correct horse battery 9"


class Asker:
    """One connection in a room of its own, and the answer that it is given. Times in ns of the monotonic clock."""

    def __init__(self, port: int, token: str) -> None:
        bot = {"when": "always", "contextMessages": 0, "retrieval": False}
        self.room = http(port, "POST", "/rooms", {"name": "asked", "bot": bot}, token)["id"]
        self.remember = lambda: http(port, "PATCH", f"/rooms/{self.room}", {"bot": {"retrieval": True}}, token)
        self.door = Native(port, token)
        self.door.ask("join", {"roomId": self.room})
        self.door.socket.setblocking(False)
        self.asked_at = self.called_at = self.said_at = self.heard_at = 0
        self.tokens = self.pieces = 0
        self.over = False

    def ask(self, tokens: int) -> None:
        self.called_at = self.said_at = self.heard_at = 0
        self.over = False
        self.asked_at = time.monotonic_ns()
        self.door.call("send", {"roomId": self.room, "text": f"tokens={tokens} every_ms={EVERY_MS}"})

    def take(self) -> None:
        if not self.door.take():
            raise ConnectionError("closed")
        now = time.monotonic_ns()
        for _, name, data in self.door.read():
            if name == "stream":
                if not self.heard_at:
                    self.heard_at = now
                    called, said = data["token"].split(" ", 1)[0].split(":")
                    self.called_at, self.said_at = int(called), int(said)
                self.pieces += 1
                self.tokens += data["token"].count(" ")
            elif name == "message" and data["role"] == "bot" and data["status"] not in ("queued", "streaming"):
                if data["status"] != "complete":
                    raise RuntimeError(data)
                self.over = True

    @property
    def before_ms(self) -> float:
        return (self.called_at - self.asked_at) / 1e6

    @property
    def after_ms(self) -> float:
        return (self.heard_at - self.said_at) / 1e6


class Askers:
    def __init__(self, port: int, count: int) -> None:
        tokens = []
        for n in range(10):
            body = {"email": f"s{n}-{time.time_ns()}@example.com", "name": f"s{n}", "password": PASSWORD}
            tokens.append(http(port, "POST", "/auth/register", body)["token"])
        self.all = [Asker(port, tokens[n % len(tokens)]) for n in range(count)]
        self._poll = select.epoll()
        self._by_descriptor = {asker.door.socket.fileno(): asker for asker in self.all}
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, select.EPOLLIN)

    def read_until(self, true: Any, limit_s: float = 30.0) -> None:
        ends = time.monotonic() + limit_s
        while not true():
            left = ends - time.monotonic()
            if left < 0:
                raise TimeoutError("answers did not come")
            for descriptor, _ in self._poll.poll(min(left, 0.005)):
                self._by_descriptor[descriptor].take()

    def read_for(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        self.read_until(lambda: time.monotonic() >= ends, seconds + 30)


def stream(postgres: Postgres, quick: bool) -> list[Figure]:
    """100 answers at 50 tokens a second each, from a provider in its own process, to 100 native connections.

    What we add to a first token: from the client's `send` to the provider's being called, and from the provider's
    writing of it to the client's receipt; what the provider itself takes is left out. Without memory, but for "with
    memory", where what was said in all rooms is searched first. Asked alone (nothing else runs),
    one more beside 100 running ones, and 100 in one moment, which is a queue for one core. The client's and the
    provider's own wake-ups are in it.
    """
    seconds = 4.0 if quick else 8.0
    parts: dict[str, list[tuple[float, float]]] = {"alone": [], "beside 100": [], "100 at once": [], "with memory": []}
    costs: list[float] = []
    rates: list[float] = []
    pieces: list[float] = []
    with Helper("provider") as provider:
        port = free_port()
        openai = {"OPENAI_BASE_URL": f"http://127.0.0.1:{provider.ready['port']}/v1", "OPENAI_API_KEY": "sk-bench"}
        with pod(postgres.url, port, MAX_ANSWERS_PER_USER="0", **openai) as server:
            askers = Askers(port, ANSWERS + EXTRA)
            running, extra = askers.all[:ANSWERS], askers.all[ANSWERS:]
            for _ in range(1 if quick else 2):
                for turn, asker in enumerate([askers.all[0], *askers.all[: 10 if quick else ALONE]]):
                    asker.ask(3)
                    askers.read_until(lambda asked=asker: asked.over)
                    askers.read_for(0.03)
                    if turn:  # the very first one makes what later ones find
                        parts["alone"].append((asker.before_ms, asker.after_ms))
                for asker in running:
                    asker.ask(round(seconds * 1000 / EVERY_MS))
                askers.read_until(lambda: all(asker.heard_at for asker in running))
                parts["100 at once"] += [(asker.before_ms, asker.after_ms) for asker in running]

                counted = sum(asker.tokens for asker in askers.all), sum(asker.pieces for asker in askers.all)
                cpu, began = cpu_s(server.pid), time.monotonic()
                askers.read_for(seconds / 2.5)
                spent, wall = cpu_s(server.pid) - cpu, time.monotonic() - began
                tokens = sum(asker.tokens for asker in askers.all) - counted[0]
                costs.append(1e6 * spent / tokens)
                rates.append(tokens / wall)
                pieces.append((sum(asker.pieces for asker in askers.all) - counted[1]) / wall)

                for asker in extra:
                    asker.ask(3)
                    askers.read_for(0.06)
                    if any(other.over for other in running):
                        break
                    parts["beside 100"].append((asker.before_ms, asker.after_ms))
                askers.read_until(lambda: all(asker.over for asker in running))
                askers.read_for(0.5)
            for asker in running[:ALONE]:
                asker.remember()
                asker.ask(3)
                askers.read_until(lambda asked=asker: asked.over)
                askers.read_for(0.03)
                parts["with memory"].append((asker.before_ms, asker.after_ms))
    found = []
    for when, both in parts.items():
        ours = [before + after for before, after in both]
        target = {"100 at once": None, "with memory": MEMORY_TARGET_MS}.get(when, TARGET_MS)
        found += [
            Figure("stream", f"first token, {when}: ours, median", median(ours), "ms", target, spread(ours)),
            Figure("stream", f"first token, {when}: ours, p99", quantile(ours, 0.99), "ms"),
            Figure("stream", f"first token, {when}: before the call", median([b for b, _ in both]), "ms"),
            Figure("stream", f"first token, {when}: after its first byte", median([a for _, a in both]), "ms"),
        ]
    return [
        *found,
        Figure("stream", "100 answers: tokens relayed", median(rates), "a second"),
        Figure("stream", "100 answers: pieces delivered", median(pieces), "a second"),
        Figure("stream", "100 answers: CPU of the pod", median(costs), "µs a token"),
    ]
