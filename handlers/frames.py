"""Reading WebSocket frames: everything that one `recv` brought, in the call in which the loop says that it is there.

Tornado's own loop awaits the header, the length, the mask and the payload of each frame one after another, which is most
of what a small command costs. The handshake, closing and control frames stay Tornado's, and so does the reading whenever
something must be waited for.
"""

import asyncio
from typing import Any, Protocol, cast

from tornado.iostream import IOStream, StreamClosedError
from tornado.util import _websocket_mask
from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from services.realtime import closing

READ_BYTES = 65536
YIELD_FRAMES = 32
# What a CLOSE frame may carry: RFC 6455, section 7.4, and what IANA has registered since.
CLOSE_CODES = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))
A_TURN = object()  # to wait for: the others' turn in the loop


def is_utf8(data: bytes) -> bool:
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            return False
    return True


class FrameHandler(Protocol):
    """What a WebSocket handler offers for `FrameReader`. An awaitable holds back further reading."""

    def on_text(self, data: bytes) -> Any: ...
    def on_binary(self, data: bytes) -> Any: ...


class FrameReader(WebSocketProtocol13):
    """RFC 6455 section 5, the receiving side of a server."""

    __slots__ = ("_rest",)  # one more in its dictionary, and no two connections would share the keys of theirs

    async def _receive_frame_loop(self) -> None:
        stream = self.stream
        self._rest = bytearray()  # what no frame has been made of yet
        plain = type(stream) is IOStream
        waiting: Any = None
        try:
            while not self.client_terminated:
                if waiting is not None:
                    # A client that floods must not keep the loop from the others.
                    await (asyncio.sleep(0) if waiting is A_TURN else waiting)
                    waiting = self._take(b"")
                elif plain and not stream._read_buffer_size:
                    waiting = await self._listen()
                else:
                    waiting = self._take(await stream.read_bytes(READ_BYTES, partial=True))
        except StreamClosedError:
            self._abort()
        finally:
            vars(stream).pop("_handle_read", None)
            self.handler.on_ws_connection_close(self.close_code, self.close_reason)

    def _listen(self) -> "asyncio.Future[Any]":
        """Handle frames as they come, with no task in between, until something must be waited for: that is the result.

        Tornado's stream goes on watching the socket, and ends this future when it closes, as it would end a read of its own.
        """
        stream = self.stream
        stream._check_closed()
        listening = stream._start_read()
        stream._handle_read = self._readable  # type: ignore[method-assign]
        stream._add_io_state(stream.io_loop.READ)
        return listening

    def _readable(self) -> None:
        stream = self.stream
        try:
            data = stream.socket.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            stream.close((type(error), error, error.__traceback__))
            return
        if not data:
            stream.close()
            return
        waiting = self._take(data)
        if waiting is not None or self.client_terminated:
            vars(stream).pop("_handle_read", None)
            listening, stream._read_future = stream._read_future, None
            if listening is not None and not listening.done():
                listening.set_result(waiting)

    def _take(self, data: bytes) -> Any:
        """Handle all frames that are there. Returns what must be waited for before going on, if anything."""
        buffer: bytes | bytearray = data
        if self._rest:
            self._rest += data
            buffer = self._rest
        start = handled = 0
        waiting = None
        while waiting is None and not self.client_terminated:
            end, waiting = self._frame(buffer, start)
            if end == start:
                break
            start = end
            handled += 1
            if handled >= YIELD_FRAMES and waiting is None:
                waiting = A_TURN
        if buffer is self._rest:
            del self._rest[:start]
        elif start < len(buffer):
            self._rest += buffer[start:]
        return waiting

    def _frame(self, buffer: bytes | bytearray, start: int) -> tuple[int, Any]:
        """Handle the frame that begins at `start`: (where it ends, what to wait for); `start` when it is not all there."""
        have = len(buffer) - start
        if have < 2:
            return start, None
        first, second = buffer[start], buffer[start + 1]
        opcode, final, size = first & 0x0F, first & 0x80, second & 0x7F
        control = opcode & 0x08
        if first & 0x70 or not second & 0x80 or (control and (size > 125 or not final)):
            # Reserved bits, an unmasked frame, a long or fragmented control frame: section 5.1, 5.2 and 5.5.
            return self._refuse(1002, "protocol error", start)
        at = start + 2
        if size == 126:
            if have < 4:
                return start, None
            size = int.from_bytes(buffer[at : at + 2], "big")
            at += 2
        elif size == 127:
            if have < 10:
                return start, None
            size = int.from_bytes(buffer[at : at + 8], "big")
            at += 8
        fragments = self._fragmented_message_buffer
        if size + (len(fragments) if fragments is not None and not control else 0) > self.params.max_message_size:
            return self._refuse(closing.TOO_BIG, "message too big", start)
        end = at + 4 + size
        if len(buffer) < end:
            return start, None
        data = _websocket_mask(bytes(buffer[at : at + 4]), bytes(buffer[at + 4 : end]))
        if control:
            if opcode == 8 and data:
                if int.from_bytes(data[:2], "big") not in CLOSE_CODES:  # half a code is below them all
                    return self._refuse(1002, "protocol error", start)
                if not is_utf8(data[2:]):  # the reason; Tornado's would raise
                    return self._refuse(closing.BAD_UTF8, "invalid UTF-8", start)
            return end, self._handle_message(opcode, data)
        if (opcode == 0) != (fragments is not None) or opcode > 2:
            return self._refuse(1002, "protocol error", start)
        if opcode:
            if not final:
                self._fragmented_message_opcode, self._fragmented_message_buffer = opcode, bytearray(data)  # type: ignore[assignment]
                return end, None
        else:
            assert fragments is not None
            fragments += data
            if not final:
                return end, None
            opcode, data = self._fragmented_message_opcode or 1, bytes(fragments)
            self._fragmented_message_buffer = None
        handler = cast(FrameHandler, self.handler)
        if opcode == 2:
            return end, self._run_callback(handler.on_binary, data)
        if not is_utf8(data):
            return self._refuse(closing.BAD_UTF8, "invalid UTF-8", start)
        return end, self._run_callback(handler.on_text, data)

    def _refuse(self, code: int, reason: str, start: int) -> tuple[int, Any]:
        """End the connection over the frame that begins at `start`, of which nothing is handled."""
        self.close(code, reason)
        self._abort()
        return start, None


class FrameSocket(WebSocketHandler):
    """A handler whose frames are read by `FrameReader`; it is a `FrameHandler`."""

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        made = super().get_websocket_protocol()
        return FrameReader(self, False, made.params) if made is not None else None  # type: ignore[attr-defined]
