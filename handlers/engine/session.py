"""One Engine.IO client, whatever it is connected by: what comes in, what goes out, the heartbeat, the end."""

import asyncio
import logging
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tornado.httputil import HTTPServerRequest

from handlers.engine.inbox import Inbox
from handlers.engine.packets import (
    CLOSE,
    MESSAGE,
    NOOP,
    PING,
    PONG,
    Outgoing,
    Packet,
    PacketError,
    decode_packet,
    decode_payload,
    open_packet,
)
from handlers.engine.transports import Polling, PollRefused, Socket, Transport
from handlers.engine.upgrade import Upgrade

if TYPE_CHECKING:
    from handlers.engine.server import EngineServer

log = logging.getLogger(__name__)


class Reason(StrEnum):
    """Why a session ended; the words of python-engineio, which applications compare with."""

    SERVER_DISCONNECT = "server disconnect"
    CLIENT_DISCONNECT = "client disconnect"
    PING_TIMEOUT = "ping timeout"
    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"


# The client went by itself: what it had sent before is still handled. After any other end it is not.
_CLIENT_WENT = (Reason.CLIENT_DISCONNECT, Reason.TRANSPORT_CLOSE)


class Session:
    """Made by the handler of the first request. All methods but `poll` are synchronous.

    request: the handshake's; its headers, cookies and remote_ip stay readable.
    data: a place for the application.
    on_close: called at once, with the reason, when the session stops taking packets. The server's `disconnect`
        handler comes later, behind the messages that are still to be handled.
    """

    __slots__ = (
        "__weakref__",
        "_due",
        "_engine",
        "_inbox",
        "_pinged",
        "_timer",
        "_transport",
        "_upgrade",
        "data",
        "on_close",
        "open",
        "request",
        "sid",
        "store",
    )

    def __init__(self, engine: "EngineServer", sid: str, request: HTTPServerRequest) -> None:
        self._engine = engine
        self.sid = sid
        self.request = request
        self.data: Any = None
        self.store: dict[str, Any] | None = None  # python-socketio's get_session/save_session
        self.on_close: Callable[[str], None] | None = None
        self.open = True
        self._inbox = Inbox(self._handle, engine.spawn, self._handle_at_once)
        self._transport: Transport = Polling(self._forget)
        self._upgrade: Upgrade | None = None
        # Absolute times: a late timer must not move what comes after it.
        self._due = engine.clock() + engine.ping_interval  # of the next PING, or of the one not yet answered
        self._pinged = False
        self._timer: asyncio.TimerHandle | None = None
        self._call_at(self._due, self._ping)

    # What the application uses

    @property
    def transport(self) -> str:
        """`polling` or `websocket`."""
        return self._transport.name

    @property
    def remote_ip(self) -> str:
        return self.request.remote_ip or ""

    @property
    def unsent(self) -> int:
        """Bytes that wait in this process for a slow client."""
        return self._transport.unsent

    def send(self, message: str | bytes) -> None:
        """Send one message: text as text, bytes as binary."""
        if isinstance(message, bytes):
            self._send(Outgoing(message, binary=True))
        else:
            self._send(Outgoing((MESSAGE + message).encode()))

    def send_text(self, frame: bytes, packet: str | bytes, droppable: bool = False) -> bool:
        """Send an encoded packet that goes to many readers.

        frame: the complete WebSocket text frame (`handlers.wire.text_frame`), made once for all of them.
        packet: the same Engine.IO packet as text (`42[...]`), for a client that polls.
        droppable: leave it out when the client is behind.
        Returns whether it was sent or queued.
        """
        if not self.open or (droppable and self._transport.unsent > self._engine.drop_above):
            return False
        self._transport.send_text(frame, packet)
        self._close_when_slow()
        return True

    def direct(self, frame: bytes, packet: bytes) -> bool:
        """`send_text` on the path that every event takes to every reader. False, and nothing is sent: something waits."""
        if not self.open:
            return True
        transport = self._transport
        if isinstance(transport, Socket):
            return transport.direct(frame)
        if transport.unsent:
            return False
        transport.send_text(frame, packet)
        return True

    def close(self, code: int = 1000, reason: str = Reason.SERVER_DISCONNECT, *, abort: bool = False) -> None:
        """End the session. What was sent before goes out first, unless abort.

        code: of the WebSocket's CLOSE frame. A polling client gets a CLOSE packet behind what waits for it.
        """
        if not self._stop(reason):
            return
        if abort:
            if self._upgrade is not None:
                self._upgrade.fail()
            self._transport.abort()
        else:
            self._transport.finish(code, self._engine.linger)

    # What the handler of its requests uses

    def handshake(self, upgrades: list[str]) -> None:
        engine = self._engine
        opening = open_packet(self.sid, upgrades, engine.ping_interval, engine.ping_timeout, engine.max_payload)
        self._transport.send(Outgoing(opening))

    def use(self, handler: Any) -> None:
        """The session's first request was a WebSocket."""
        self._transport = Socket(handler)

    def is_socket_of(self, handler: Any) -> bool:
        return isinstance(self._transport, Socket) and self._transport.handler is handler

    @property
    def polling(self) -> Polling | None:
        return self._transport if isinstance(self._transport, Polling) else None

    def expired(self) -> bool:
        """Whether the client has missed its PONG. Asked at each request too: a timer may be late."""
        return self.open and self._engine.clock() >= self._due + self._engine.ping_timeout

    async def poll(self) -> bytes:
        """The body of the answer to a GET. Raises PollRefused, ClientGone."""
        polling = self.polling
        if polling is None:
            raise PollRefused()
        if polling.waiting:
            # Two GETs would share the packets between them, in no order. The reference ends such a session.
            self.close(reason=Reason.TRANSPORT_ERROR)
            raise PollRefused()
        if self._upgrade is not None:
            self._upgrade.poll_began()
        return await polling.poll()

    def receive_payload(self, body: bytes) -> "asyncio.Future[None] | None":
        """The packets of one POST. Returns what to wait for before the answer; raises PacketError, session closed."""
        try:
            packets = decode_payload(body)
            for packet in packets:
                self._receive(packet)
        except PacketError as error:
            self._garbage(error, abort=True)
            raise
        return self._inbox.room() if self._inbox.full else None

    def receive_frame(self, encoded: str | bytes) -> "asyncio.Future[None] | None":
        """One WebSocket message. Returns what to wait for before the next is read."""
        try:
            self._receive(decode_packet(encoded))
        except PacketError as error:
            self._garbage(error)
        return self._inbox.room() if self._inbox.full else None

    def socket_closed(self, handler: Any) -> None:
        """The TCP connection of the session's WebSocket, or of one that wanted to become it, is gone."""
        if self.is_socket_of(handler):
            self._stop(Reason.TRANSPORT_CLOSE)
            self._forget()
        elif self._upgrade is not None and self._upgrade.handler is handler:
            self._upgrade.fail()

    # Upgrade

    @property
    def can_upgrade(self) -> bool:
        return self.open and self._upgrade is None and self.polling is not None

    def begin_upgrade(self, handler: Any) -> None:
        assert isinstance(self._transport, Polling)
        self._upgrade = Upgrade(handler, self._transport, self._upgraded, self._abandoned)

    @property
    def upgrade(self) -> Upgrade | None:
        return self._upgrade

    def _upgraded(self, socket: Socket) -> None:
        self._upgrade = None
        polling = self._transport
        assert isinstance(polling, Polling)
        self._transport = socket
        for packet in polling.take_all():
            socket.send(packet)
        if not self.open:  # closed in mid-upgrade: the client no longer polled for its last packets
            socket.finish(1000, self._engine.linger)

    def _abandoned(self) -> None:
        self._upgrade = None

    # Inside

    def _send(self, packet: Outgoing) -> None:
        if self.open:
            self._transport.send(packet)
            self._close_when_slow()

    def _close_when_slow(self) -> None:
        if self._transport.unsent > self._engine.max_unsent:
            log.info("engine.io session closed: slow reader", extra={"remote_ip": self.remote_ip})
            self.close(reason=Reason.TRANSPORT_ERROR, abort=True)

    def _receive(self, packet: Packet) -> None:
        if not self.open:
            return
        if packet.kind == MESSAGE:
            self._inbox.put(packet.data)
        elif packet.kind == PONG:
            self._pong()
        elif packet.kind == CLOSE:
            self._stop(Reason.CLIENT_DISCONNECT)
            self._transport.ended_by_client()
        elif packet.kind != NOOP:
            raise PacketError("a packet that clients don't send here")

    def _garbage(self, error: PacketError, *, abort: bool = False) -> None:
        # Not aborted as a rule: a moment ago it may have been sent what tells why, say a refused CONNECT.
        if self.open:
            log.info("engine.io session closed: %s", error, extra={"remote_ip": self.remote_ip})
            self.close(1002, Reason.TRANSPORT_ERROR, abort=abort)

    def _ping(self) -> None:
        self._pinged = True
        self._send(Outgoing(PING.encode()))
        if self.open:
            self._call_at(self._due + self._engine.ping_timeout, self.time_out)

    def _pong(self) -> None:
        if self._pinged:  # an unasked PONG must not move the heartbeat
            self._pinged = False
            self._due = self._engine.clock() + self._engine.ping_interval
            self._call_at(self._due, self._ping)

    def _call_at(self, when: float, call: Callable[[], None]) -> None:
        """The one timer of a session."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(when - self._engine.clock(), call)

    def time_out(self) -> None:
        if self._inbox.full and self.polling is None:
            # We don't read its socket at present; the PONG may be in there.
            self._call_at(self._engine.clock() + self._engine.ping_timeout, self.time_out)
        else:
            self.close(reason=Reason.PING_TIMEOUT, abort=True)

    async def _handle(self, message: str | bytes) -> None:
        try:
            await self._engine.message(self, message)
        except Exception as error:
            self._failed(error)

    def _handle_at_once(self, message: str | bytes) -> bool:
        try:
            return self._engine.at_once(self, message)
        except Exception as error:
            self._failed(error)
            return True

    def _failed(self, error: Exception) -> None:
        if isinstance(error, PacketError):
            self._garbage(error)
        else:
            log.error("engine.io message handler failed", exc_info=error)
            self.close(1011)

    def _stop(self, reason: str) -> bool:
        """Take and send no more packets. Returns False when that was so already."""
        if not self.open:
            return False
        self.open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._inbox.finish(lambda: self._disconnected(reason), drop=reason not in _CLIENT_WENT)
        if self.on_close is not None:
            on_close, self.on_close = self.on_close, None
            on_close(reason)
        return True

    async def _disconnected(self, reason: str) -> None:
        try:
            await self._engine.disconnected(self, reason)
        except Exception:
            log.exception("engine.io disconnect handler failed")

    def _forget(self) -> None:
        self._engine.forget(self)
