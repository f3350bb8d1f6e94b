"""The two ways out of a session: a queue for the next poll, and a WebSocket.

Both are synchronous: a packet is on its way, in order, when the call returns. So there is no writer task, and an
acknowledgement can't overtake an event or be overtaken.
"""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from handlers.engine.packets import CLOSE, NOOP, Outgoing, binary_frame, encode_payload
from handlers.wire import FrameWriter, text_frame

# A GET that a client has sent at the same moment as its CLOSE may arrive behind it, and is still owed its NOOP.
AFTER_CLOSE_S = 0.2

# python-engineio's client throws away a payload of more packets, and its connection with it.
PACKETS_PER_POLL = 16


class Transport(Protocol):
    name: ClassVar[str]

    def send(self, packet: Outgoing) -> None: ...

    def send_text(self, frame: bytes, text: str | bytes) -> None: ...

    @property
    def unsent(self) -> int:
        """Bytes that wait in this process."""

    def finish(self, code: int, linger_s: float) -> None:
        """Send what waits, then close; give up after linger_s."""

    def abort(self) -> None:
        """Close at once."""

    def ended_by_client(self) -> None:
        """The client sent a CLOSE packet."""


class PollRefused(Exception):
    """This GET can't be served; the answer is 400."""


class ClientGone(Exception):
    """The TCP connection of a waiting GET broke: there is nobody to answer."""


class Polling:
    """Packets wait here for the client's next GET. One GET may wait for packets.

    on_end: called when no GET will be answered any more; may be called again.
    """

    name: ClassVar[str] = "polling"
    __slots__ = ("_final", "_on_end", "_queue", "_timer", "_unsent", "_waiter")

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._queue: list[Outgoing] = []
        self._unsent = 0
        self._waiter: asyncio.Future[bytes | None] | None = None
        self._final: bytes | None = None  # the answer to the last GET, behind the queue
        self._timer: asyncio.TimerHandle | None = None

    def send(self, packet: Outgoing) -> None:
        self._queue.append(packet)
        self._unsent += len(packet.data)
        self._release(None)

    def send_text(self, frame: bytes, text: str | bytes) -> None:
        self.send(Outgoing(text.encode() if isinstance(text, str) else text))

    @property
    def unsent(self) -> int:
        return self._unsent

    @property
    def waiting(self) -> bool:
        return self._waiter is not None

    async def poll(self) -> bytes:
        """The body of the answer to one GET. Raises PollRefused or ClientGone."""
        if not self._queue and self._final is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                answer = await self._waiter
            finally:
                self._waiter = None
            if answer is not None:
                return answer
        return self._take()

    def take_all(self) -> list[Outgoing]:
        """What waits moves to another transport. A GET that still waits for it is refused."""
        queue, self._queue, self._unsent = self._queue, [], 0
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(PollRefused())
        self._cancel_timer()
        return queue

    def release(self) -> None:
        """End a waiting GET with a NOOP, so that the client can go on to its WebSocket."""
        self._release(NOOP.encode())

    def client_gone(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ClientGone())

    def finish(self, code: int, linger_s: float) -> None:
        # Not in one payload with the last events: socket.io-client takes the CLOSE first,
        # and hands such events out after its next connect.
        self._finish(CLOSE, linger_s)

    def abort(self) -> None:
        self._queue, self._unsent = [], 0
        if self._waiter is None:
            self._end()
        else:
            self._finish(CLOSE, 0)

    def ended_by_client(self) -> None:
        self._queue, self._unsent = [], 0
        self._finish(NOOP, AFTER_CLOSE_S)

    def _finish(self, final: str, linger_s: float) -> None:
        self._final = final.encode()
        self._timer = asyncio.get_running_loop().call_later(linger_s, self._end)
        self._release(None)

    def _release(self, answer: bytes | None) -> None:
        """Wake a waiting GET: None makes it take the queue, together with what is sent in this turn of the loop."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(answer)

    def _take(self) -> bytes:
        if not self._queue and self._final is not None:
            self._end()
            return self._final
        packets, self._queue = self._queue[:PACKETS_PER_POLL], self._queue[PACKETS_PER_POLL:]
        self._unsent -= sum(len(packet.data) for packet in packets)
        return encode_payload(packets)

    def _end(self) -> None:
        self._cancel_timer()
        self._on_end()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Socket:
    """An open WebSocket. handler: Tornado's WebSocketHandler, its handshake done."""

    name: ClassVar[str] = "websocket"
    __slots__ = ("_connection", "_writer", "handler")

    def __init__(self, handler: Any) -> None:
        self.handler = handler
        self._connection = handler.ws_connection
        self._writer = FrameWriter(self._connection.stream, self._connection)

    def send(self, packet: Outgoing) -> None:
        self._writer.write(binary_frame(packet.data) if packet.binary else text_frame(packet.data))

    def send_text(self, frame: bytes, text: str | bytes) -> None:
        self._writer.write(frame)

    def direct(self, frame: bytes) -> bool:
        """Send at once; False when something waits."""
        return self._writer.direct(frame)

    @property
    def unsent(self) -> int:
        return self._writer.unsent

    def finish(self, code: int, linger_s: float) -> None:
        # Through the stream, so behind what waits there. Tornado aborts after 5 s without the client's answer;
        # but a client that does not read its socket must not keep us longer than the others.
        if not self._writer.closed:
            self._connection.close(code)
            asyncio.get_running_loop().call_later(linger_s, self._give_up)

    def abort(self) -> None:
        self._connection._abort()

    def ended_by_client(self) -> None:
        self.finish(1000, 1.0)

    def _give_up(self) -> None:
        if not self._connection.stream.closed():
            self.abort()
