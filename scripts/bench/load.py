"""Load on the way of a message, from a process of its own: many connections, sends at a steady pace.

usage: python -m bench.load; then commands as lines of JSON, each answered by a line.

Every message carries its number and the time it was sent, so that each connection knows what is missing or came twice.
Sends keep their pace whatever the server does: one that is slow is not asked less.
"""

import json
import random
import select
import sys
import time
from typing import Any

from bench.clients import DOORS, Native, http
from bench.figures import latencies

PADDING = "x" * 80
PATIENCE_S = 5.0
PASSWORD = "correct horse battery 9"


class Client:
    """pod: which of the servers it is connected to."""

    __slots__ = ("door", "pod", "room", "seen", "sent", "twice")

    def __init__(self, door: Native, room: str, pod: int) -> None:
        self.door = door
        self.room = room
        self.pod = pod
        self.sent: dict[int, float] = {}
        self.seen: set[bytes] = set()
        self.twice = 0


class Load:
    def __init__(self) -> None:
        self._tokens: list[str] = []
        self._rooms: list[str] = []
        self._clients: dict[int, Client] = {}
        self._poll = select.epoll()
        self._sends = 0

    def set_up(self, port: int, users: int, rooms: int) -> dict[str, Any]:
        """People who are all members of all rooms."""
        ids = []
        stamp = time.time_ns()
        for n in range(users):
            body = {"email": f"u{n}-{stamp}@example.com", "name": f"u{n}", "password": PASSWORD}
            made = http(port, "POST", "/auth/register", body)
            self._tokens.append(made["token"])
            ids.append(made["user"]["id"])
        for n in range(rooms):
            made = http(port, "POST", "/rooms", {"name": f"r{n}", "bot": {"when": "off"}}, self._tokens[0])
            self._rooms.append(made["id"])
            for user in ids[1:]:
                http(port, "POST", f"/rooms/{made['id']}/members", {"userId": user}, self._tokens[0])
        return {}

    def open(self, ports: list[int], door: str, count: int) -> dict[str, Any]:
        """In place of those that were open: connections, each in one room, every room's over all ports in turn."""
        for client in self._clients.values():
            client.door.socket.close()
        self._clients.clear()
        self._poll.close()
        self._poll = select.epoll()
        for n in range(count):
            pod = n // len(self._rooms) % len(ports)
            made = DOORS[door](ports[pod], self._tokens[n % len(self._tokens)])
            room = self._rooms[n % len(self._rooms)]
            made.ask("join", {"roomId": room})
            made.socket.setblocking(False)
            self._clients[made.socket.fileno()] = Client(made, room, pod)
            self._poll.register(made.socket, select.EPOLLIN)
        return {}

    def run(self, rate: float, seconds: float) -> dict[str, Any]:
        """Sends at `rate` in all for so long, then waits for what is on its way. far: deliveries from pod to pod."""
        clients = list(self._clients.values())
        readers: dict[str, int] = {}
        for client in clients:
            client.sent, client.seen, client.twice = {}, set(), 0
            readers[client.room] = readers.get(client.room, 0) + 1
        acks: list[float] = []
        ways: list[float] = []
        far: list[float] = []
        refused = sent = expected = 0
        pick = random.Random(1)
        began = due = last = time.monotonic()
        ends = began + seconds
        while True:
            now = time.monotonic()
            while rate and now >= due and due < ends:
                client = pick.choice(clients)
                sent += 1
                self._sends += 1
                expected += readers[client.room]
                text = f"#{sent} {client.pod} {time.monotonic():.6f} {PADDING}"
                data = {"roomId": client.room, "text": text, "clientId": f"{began:.0f}-{self._sends}"}
                client.sent[client.door.call("send", data)] = time.monotonic()
                due += 1 / rate
            wait = min(due, ends) - time.monotonic() if rate and due < ends else 0.1
            for descriptor, _ in self._poll.poll(max(0, wait)):
                client = self._clients[descriptor]
                if not client.door.take():
                    self._poll.unregister(descriptor)
                    refused += len(client.sent)
                    continue
                now = time.monotonic()
                for answered, payload in client.door.skim():
                    if answered:
                        if b'"ok":true' in payload:
                            acks.append(now - client.sent.pop(answered))
                        else:
                            refused += 1
                    elif (at := payload.find(b'"text":"#')) >= 0:
                        number, pod, sent_at, _ = payload[at + 9 :].split(b" ", 3)
                        if number in client.seen:
                            client.twice += 1
                        else:
                            client.seen.add(number)
                            ways.append(now - float(sent_at))
                            if int(pod) != client.pod:
                                far.append(ways[-1])
                            last = now
            now = time.monotonic()
            if now > ends and (
                (len(ways) >= expected and len(acks) + refused >= sent) or now > max(last, ends) + PATIENCE_S
            ):
                break
        return {
            "sent": sent,
            "acked": len(acks),
            "refused": refused,
            "expected": expected,
            "missing": expected - len(ways),
            "doubled": sum(client.twice for client in clients),
            "wall": max(last, ends) - began,
            "ack": latencies(acks),
            "delivery": latencies(ways),
            "far": latencies(far),
        }

    def serve(self) -> None:
        self._say({"ready": True})
        for line in sys.stdin:
            command = json.loads(line)
            self._say({"set_up": self.set_up, "open": self.open, "run": self.run}[command.pop("do")](**command))

    @staticmethod
    def _say(what: dict[str, Any]) -> None:
        print(json.dumps(what), flush=True)


if __name__ == "__main__":
    Load().serve()
