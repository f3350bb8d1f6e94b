"""A model's provider that does as told: OpenAI's streaming format, every token a time stamp.

usage: python -m bench.provider. A prompt that ends in `tokens=250 every_ms=20` is answered by so many tokens at that
pace. The first token is "ARRIVED:SENT " (when the whole call was there, when this was written), further ones "SENT ";
nanoseconds of the monotonic clock, which all processes of a machine share.
"""

import asyncio
import json
import re
import time

import uvloop

ORDER = re.compile(r"tokens=(\d+) every_ms=(\d+)")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    body = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(body), body)


def token(text: str) -> bytes:
    return chunk(b'{"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"%b"},'
                 b'"finish_reason":null}]}' % text.encode())  # fmt: skip


END = (
    chunk(b'{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
    + chunk(b'{"id":"c","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":9}}')
    + chunk(b"[DONE]")
    + b"0\r\n\r\n"
)


class Call(asyncio.Protocol):
    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        arrived = time.monotonic_ns()
        self._buffer += data
        head, split, body = self._buffer.partition(b"\r\n\r\n")
        size = re.search(rb"(?i)content-length: *(\d+)", head)
        if not split or (size and len(body) < int(size[1])):
            return
        self._buffer = b""
        orders = ORDER.findall(json.loads(body)["messages"][-1]["content"])
        tokens, every_ms = (int(orders[-1][0]), int(orders[-1][1])) if orders else (1, 1)
        self._transport.write(HEAD + token(f"{arrived}:{time.monotonic_ns()} "))
        asyncio.get_running_loop().call_later(every_ms / 1000, self._next, time.monotonic(), 1, tokens, every_ms / 1000)

    def _next(self, began: float, number: int, tokens: int, every_s: float) -> None:
        if self._transport.is_closing():
            return
        if number >= tokens:
            self._transport.write(END)
            return
        self._transport.write(token(f"{time.monotonic_ns()} "))
        due = began + (number + 1) * every_s - time.monotonic()
        asyncio.get_running_loop().call_later(max(0.0, due), self._next, began, number + 1, tokens, every_s)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Call, "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
