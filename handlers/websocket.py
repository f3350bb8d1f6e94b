"""The native door: `/ws`. Everything that can be refused is refused before the upgrade."""

import asyncio
import time
from contextlib import ExitStack
from typing import Any

from handlers import protocol
from handlers.api.problems import Answering, BadRequest, write_problem
from handlers.connection import Connection, Dispatch, Request
from handlers.dispatch import or_none
from handlers.door import bearer_of, origin_allowed
from handlers.frames import FrameSocket
from handlers.wire import FrameWriter, text_frame
from models.database import DatabaseUnavailable
from services.accounts import Identity
from services.container import Services
from services.errors import ChatError, Forbidden, Invalid, Unavailable, unavailable
from services.realtime.events import Error, Event

PING = b"\x89\x00"


def native_frame(event: Event) -> bytes:
    return text_frame(protocol.native_event(event))


class NativeWire:
    """A WebSocket as a connection's transport."""

    __slots__ = ("_handler", "_pinged_at", "_writer")

    def __init__(self, handler: "NativeSocket", writer: FrameWriter) -> None:
        self._handler = handler
        self._writer = writer
        self._pinged_at = 0.0

    @property
    def unsent(self) -> int:
        return self._writer.unsent

    def event(self, event: Event) -> bool:
        return self._writer.direct(event.frames.get(native_frame) or event.frame(native_frame))

    def queue(self, event: Event) -> None:
        self._writer.write(event.frame(native_frame))

    def reply(self, command_id: Any, data: protocol.Reply) -> None:
        self._writer.write(text_frame(protocol.native_reply(command_id, data)))

    def error(self, command_id: Any, error: Error) -> None:
        self._writer.write(text_frame(protocol.native_error(command_id, error)))

    def close(self, code: int, reason: str) -> None:
        self._handler.close(code, reason)

    def tick(self, now: float, alive_at: float) -> bool:
        """One timer pings all. Tornado's own timer closes with 1000, after which clients stay away."""
        settings = self._handler.services.settings
        if self._pinged_at > alive_at:
            return now - self._pinged_at <= settings.ping_timeout_s
        if now - alive_at >= settings.ping_interval_s:
            self._pinged_at = now
            self._writer.write(PING)
        return True

    async def drained(self, limit: int) -> None:
        while self._writer.unsent > limit and not self._writer.closed:  # noqa: ASYNC110 nobody signals it
            await asyncio.sleep(0.01)


class NativeSocket(Answering, FrameSocket):
    connection: Connection | None = None

    def initialize(self, services: Services, dispatch: Dispatch) -> None:
        self.services = services
        self._dispatch = dispatch
        self._held = ExitStack()
        self._identity: Identity | None = None

    async def prepare(self) -> None:
        if self.request.method != "GET":
            self.send_error(405)
            return
        try:
            if not origin_allowed(self.request, self.services.settings):
                raise Forbidden("auth.forbidden", "This origin may not connect.")
            self._identity = await bearer_of(self.request, self.services, opens_socket=True)
            self._check_handshake()
            if self.services.sockets.draining:
                raise Unavailable("unavailable", "This server is restarting.", retryable=True)
            elsewhere = await self.services.sockets.elsewhere(self._identity.user_id)
            self._held.enter_context(self.services.sockets.opening(self._identity.user_id, elsewhere))
        except ChatError as error:
            write_problem(self, error)
        except DatabaseUnavailable:
            write_problem(self, unavailable())

    def _check_handshake(self) -> None:
        """What Tornado answers with a line of text, or with nothing. RFC 6455, section 4.2.1."""
        headers = self.request.headers
        words = [word.strip().lower() for word in headers.get("Connection", "").split(",")]
        if headers.get("Upgrade", "").lower() != "websocket" or "upgrade" not in words:
            raise BadRequest("A WebSocket is opened here: `Upgrade: websocket` and `Connection: Upgrade` are needed.")
        if not headers.get("Sec-WebSocket-Key") or headers.get("Sec-WebSocket-Version") != "13":
            self.set_header("Sec-WebSocket-Version", "13")
            raise BadRequest("A WebSocket's handshake needs a Sec-WebSocket-Key and version 13.")

    def check_origin(self, origin: str) -> bool:
        return True  # settled in `prepare`, by our own rule

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return "maru.v1" if "maru.v1" in subprotocols else None

    def get_compression_options(self) -> None:
        return None  # 161 KB a connection; nginx or nobody

    def open(self, *args: str, **kwargs: str) -> None:
        assert self._identity is not None and self.ws_connection is not None
        self.set_nodelay(True)
        stream = self.ws_connection.stream
        assert stream is not None
        if stream.closed():  # while we asked who it is; `on_close` has been called, and is not again
            self._held.close()
            return
        wire = NativeWire(self, FrameWriter(stream, self.ws_connection))
        self.connection = Connection(self.services, self._identity, wire, "native", self._dispatch)
        self.services.sockets.add(self.connection)
        self._held.close()

    def on_text(self, data: bytes) -> Any:
        connection = self.connection
        if connection is None or connection.closed:
            return None
        connection.alive_at = time.monotonic()
        limit = self.services.settings.max_frame_bytes
        if limit and len(data) > limit:
            taken = connection.bad_frame(Invalid("request.too_large", f"A frame has at most {limit:,} bytes."))
            return None if taken else connection.ready()
        try:
            command_id, event, command = protocol.decode_frame(data)
        except protocol.Unintelligible as fault:
            taken = connection.bad_frame(fault.error, or_none(fault.command_id), fault.event)
        except protocol.BadCommand as fault:
            request = Request(or_none(fault.command_id), fault.event, None, fault.error, fault.client_id)
            taken = connection.submit(request)
        else:
            taken = connection.submit(Request(or_none(command_id), event, command))
        return None if taken else connection.ready()

    def on_binary(self, data: bytes) -> None:
        if self.connection is not None:
            self.connection.bad_frame(Invalid("request.invalid", "Commands are text frames."))

    def on_message(self, message: str | bytes) -> None:
        raise NotImplementedError  # `FrameReader` calls on_text and on_binary

    def on_pong(self, data: bytes) -> None:
        if self.connection is not None:
            self.connection.alive_at = time.monotonic()

    def on_close(self) -> None:
        self._held.close()
        if self.connection is not None:
            self.connection.close()

    def on_finish(self) -> None:
        if self.connection is None and self.get_status() != 101:
            self._held.close()
