"""Clients as cheap as they can be: blocking sockets and hand-made frames, so that the driver is not what is measured."""

import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
)


def masked(payload: bytes) -> bytes:
    """A client's text frame; the mask is zero, so nothing has to be computed."""
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


def http(port: int, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    call = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method)
    with urllib.request.urlopen(call, timeout=30) as answer:
        text = answer.read()
        return json.loads(text) if text else None


class Socket:
    """A WebSocket. `frames` gives (opcode, payload) of what is in the buffer."""

    def __init__(self, port: int, path: str, headers: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(HANDSHAKE.format(path=path, port=port, headers=headers).encode())
        self._buffer = b""
        self._calls = 0
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += self._more()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(head.decode(errors="replace"))

    def _more(self) -> bytes:
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("closed")
        return data

    def wait(self) -> None:
        """Reads more, waiting for it."""
        self._buffer += self._more()

    def take(self) -> bool:
        """Reads what is there; False when the server has gone."""
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return True
        self._buffer += data
        return bool(data)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            size, start = buffer[at + 1] & 127, at + 2
            if size > 125:
                width = 2 if size == 126 else 8
                size, start = int.from_bytes(buffer[start : start + width], "big"), start + width
            if len(buffer) < start + size:
                break
            opcode, at = buffer[at] & 15, start + size
            yield opcode, buffer[start:at]
        self._buffer = buffer[at:]


class Native(Socket):
    def __init__(self, port: int, token: str) -> None:
        super().__init__(port, "/ws", f"Authorization: Bearer {token}\r\n")

    def call(self, event: str, data: dict[str, Any]) -> int:
        self._calls += 1
        self.socket.sendall(masked(json.dumps({"id": self._calls, "event": event, "data": data}).encode()))
        return self._calls

    def read(self) -> Iterator[tuple[int | None, str, Any]]:
        """(id, "", reply) or (None, name, data) of what is in the buffer."""
        for opcode, payload in self.frames():
            if opcode == 9:
                self.socket.send(b"\x8a\x80\0\0\0\0")
            elif opcode == 1:
                found = json.loads(payload)
                if "ok" in found:
                    yield found.get("id"), "", found
                else:
                    yield None, found["event"], found["data"]

    def skim(self) -> Iterator[tuple[int, bytes]]:
        """(id, or 0 of an event; undecoded payload): for drivers that must be cheaper than the server."""
        for opcode, payload in self.frames():
            if opcode == 9:
                self.socket.send(b"\x8a\x80\0\0\0\0")
            elif payload.startswith(b'{"id":'):
                yield int(payload[6 : payload.index(b",")]), payload
            elif opcode == 1:
                yield 0, payload

    def ask(self, event: str, data: dict[str, Any], limit_s: float = 30) -> dict[str, Any]:
        """The reply; for set-up, events before it are forgotten."""
        called, ends = self.call(event, data), time.monotonic() + limit_s
        while time.monotonic() < ends:
            for answered, _, body in list(self.read()):
                if answered == called:
                    if not body["ok"]:
                        raise RuntimeError(body["error"])
                    reply: dict[str, Any] = body["data"]
                    return reply
            self.wait()
        raise TimeoutError(event)


class SocketIO(Native):
    def __init__(self, port: int, token: str) -> None:
        Socket.__init__(self, port, "/socket.io/?EIO=4&transport=websocket")
        self.socket.sendall(masked(b"40" + json.dumps({"token": token}).encode()))
        while not any(payload.startswith(b"40") for _, payload in list(self.frames())):
            self._buffer += self._more()

    def call(self, event: str, data: dict[str, Any]) -> int:
        self._calls += 1
        self.socket.sendall(masked(b"42%d" % self._calls + json.dumps([event, data]).encode()))
        return self._calls

    def read(self) -> Iterator[tuple[int | None, str, Any]]:
        for _, payload in self.frames():
            if payload == b"2":
                self.socket.send(masked(b"3"))
            elif payload.startswith(b"43"):
                start = payload.index(b"[")
                yield int(payload[2:start]), "", json.loads(payload[start:])[0]
            elif payload.startswith(b"42"):
                name, data = json.loads(payload[2:])
                yield None, name, data

    def skim(self) -> Iterator[tuple[int, bytes]]:
        for _, payload in self.frames():
            if payload == b"2":
                self.socket.send(masked(b"3"))
            elif payload.startswith(b"43"):
                yield int(payload[2 : payload.index(b"[")]), payload
            else:
                yield 0, payload


DOORS: dict[str, type[Native]] = {"native": Native, "socketio": SocketIO}
