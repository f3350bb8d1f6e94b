"""A model behind OpenAI's streaming format that answers at many paces and fails in many ways.

usage: python -m chaos.model SEED. Says {"port": N}; then takes {"do": "cut"}: every running answer loses its connection.
"""

import asyncio
import json
import os
import random
import re
import sys
from typing import Any

import uvloop

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FATES = {"whole": 88, "cut": 4, "hang": 2, "busy": 3, "broken": 3}


def chunk(data: bytes) -> bytes:
    body = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(body), body)


def choice(delta: dict[str, str], reason: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
    return chunk(json.dumps({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": choices}).encode())


USAGE = b'{"id":"c","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":9}}'


class Call(asyncio.Protocol):
    running: "set[Call]" = set()
    chance = random.Random()

    def __init__(self) -> None:
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()
        self.running.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, split, body = self._buffer.partition(b"\r\n\r\n")
        size = re.search(rb"(?i)content-length: *(\d+)", head)
        if split and (not size or len(body) >= int(size[1])):
            self._buffer = b""
            self._task = asyncio.create_task(self._answer())

    async def _answer(self) -> None:
        fate = self.chance.choices([*FATES], [*FATES.values()])[0]
        if fate in ("busy", "broken"):
            code = b"429 Too Many Requests" if fate == "busy" else b"500 Internal Server Error"
            self.transport.write(b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" % code)
            return
        self.running.add(self)
        pace_s, tokens = self.chance.choice((0.002, 0.01, 0.03, 0.06)), self.chance.randrange(1, 60)
        fails_at = self.chance.randrange(tokens) if fate != "whole" else tokens
        self.transport.write(HEAD)
        for n in range(tokens):
            if n == fails_at and fate == "cut":
                self.transport.abort()
                return
            if n == fails_at and fate == "hang":
                await asyncio.sleep(3600)
            self.transport.write(choice({"content": f"말{n} "}))
            await asyncio.sleep(pace_s)
        self.transport.write(choice({}, "stop") + chunk(USAGE) + chunk(b"[DONE]") + b"0\r\n\r\n")
        self.running.discard(self)


def told() -> None:
    if not os.read(0, 1 << 16):
        os._exit(0)
    for call in list(Call.running):
        call.transport.abort()


async def main(seed: str) -> None:
    Call.chance.seed(seed)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Call, "127.0.0.1", 0, backlog=512)
    loop.add_reader(0, told)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
