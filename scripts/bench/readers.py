"""The other end of `fanout` and `memory`: opens connections and reads them to nowhere, in a process of its own.

usage: python -m bench.readers; then commands as lines of JSON, each answered by a line.
"""

import json
import os
import select
import socket
import time
from typing import Any

from bench.clients import DOORS, Socket


class Readers:
    def __init__(self) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._buffer = bytearray(1 << 20)
        self._bytes = 0
        self._poll.register(0, select.EPOLLIN)

    def open(self, door: str, port: int, count: int, token: str, room: str | None) -> dict[str, Any]:
        for _ in range(count):
            if door == "bare":
                made = socket.create_connection(("127.0.0.1", port))
            elif door == "plain":
                made = Socket(port, "/ws").socket
            else:
                client = DOORS[door](port, token)
                if room is not None:
                    client.ask("join", {"roomId": room})
                made = client.socket
            made.setblocking(False)
            self._sockets[made.fileno()] = made
            self._poll.register(made, select.EPOLLIN)
        self._drain(until=time.monotonic() + 0.3)
        self._bytes = 0
        return {"open": len(self._sockets)}

    def reach(self, total: int, limit_s: float = 30) -> dict[str, Any]:
        """Answers once so many bytes have come in all since the last `open`."""
        ends = time.monotonic() + limit_s
        while self._bytes < total and time.monotonic() < ends:
            self.read(1)
        return {"bytes": self._bytes}

    def _drain(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            self.read(left)

    def read(self, limit_s: float) -> bool:
        """Read what is there; True when a command waits."""
        command = False
        for descriptor, _ in self._poll.poll(limit_s):
            if descriptor == 0:
                command = True
            else:
                try:
                    size = self._sockets[descriptor].recv_into(self._buffer)
                except BlockingIOError:
                    continue
                if not size:
                    self._poll.unregister(descriptor)
                self._bytes += size
        return command

    def serve(self) -> None:
        say({"ready": True})
        while True:
            if not self.read(1):
                continue
            line = os.read(0, 1 << 16)
            if not line:
                return
            command = json.loads(line)
            say({"open": self.open, "reach": self.reach}[command.pop("do")](**command))


def say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    Readers().serve()
