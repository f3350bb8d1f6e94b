"""The Socket.IO door: the same commands and events as the native one, in Socket.IO's wrapping.

Knows sessions and packets of one client; from `Connection` inwards nothing differs. Events for many readers do not go
through python-socketio's emit: their packet is encoded once and written straight to each session.
"""

import asyncio
from contextlib import ExitStack
from typing import Any

from socketio.exceptions import ConnectionRefusedError as Refused

from handlers import protocol
from handlers.connection import Connection, Dispatch, Request
from handlers.door import bearer_of, origin_allowed
from handlers.engine import Session
from handlers.socketio_server import Event as SocketEvent
from handlers.socketio_server import SocketIOServer
from handlers.wire import text_frame
from models.database import DatabaseUnavailable
from services.accounts import Identity
from services.container import Services
from services.errors import ChatError, Invalid, Limited, unavailable
from services.realtime.closing import STAY_AWAY
from services.realtime.events import Error, Event, encode


def socketio_frame(event: Event) -> tuple[bytes, bytes]:
    """(WebSocket frame, Engine.IO packet) of an event."""
    packet = protocol.socketio_event(event)
    return text_frame(packet), packet


class SocketIOWire:
    """A Socket.IO session as a connection's transport."""

    __slots__ = ("_server", "_session")

    def __init__(self, server: SocketIOServer, session: Session) -> None:
        self._server = server
        self._session = session

    @property
    def unsent(self) -> int:
        return self._session.unsent

    def event(self, event: Event) -> bool:
        return self._session.direct(*(event.frames.get(socketio_frame) or event.frame(socketio_frame)))

    def queue(self, event: Event) -> None:
        self._session.send_text(*event.frame(socketio_frame))

    def reply(self, command_id: Any, data: protocol.Reply) -> None:
        self._ack(command_id, b'{"ok":true,"data":' + encode(data) + b"}")

    def error(self, command_id: Any, error: Error) -> None:
        self._ack(command_id, b'{"ok":false,"error":' + encode(error) + b"}")

    def _ack(self, ack_id: int, body: bytes) -> None:
        packet = b"43%d[%b]" % (ack_id, body)
        self._session.send_text(text_frame(packet), packet)

    def close(self, code: int, reason: str) -> None:
        """Below 4500 the transport closes and clients come back; from there a DISCONNECT packet tells them not to."""
        closing = {"code": code, "reason": reason}
        self._server.end(self._session, "closing", closing, stay_away=code >= STAY_AWAY)

    def tick(self, now: float, alive_at: float) -> bool:
        return True  # Engine.IO has a heartbeat of its own

    async def drained(self, limit: int) -> None:
        while self._session.unsent > limit and self._session.open:  # noqa: ASYNC110 nobody signals it
            await asyncio.sleep(0.01)


class SocketIODoor:
    """Lets clients in and hands their commands on."""

    def __init__(self, services: Services, dispatch: Dispatch) -> None:
        self._services = services
        self._dispatch = dispatch
        settings = services.settings
        self.server = SocketIOServer(
            on_event=self._event,
            on_event_at_once=self._event_at_once,
            on_joined=self._joined,
            on_left=self._left,
            ping_interval=settings.ping_interval_s,
            ping_timeout=settings.ping_timeout_s,
            max_payload=4 * settings.max_frame_bytes if settings.max_frame_bytes else 1 << 30,
            max_unsent=4 * settings.max_unsent_bytes,
            origin_allowed=lambda request: origin_allowed(request, settings),
            spawn=lambda work: services.tasks.spawn(work, "socket.io"),
        )
        self.server.on("connect", self._connect)
        services.sockets.on_drain.append(self._stop_accepting)

    def _stop_accepting(self) -> None:
        self.server.eio.accepting = False

    async def _connect(self, sid: str, session: Session, auth: Any) -> None:
        """Who is it? Raises Refused, which becomes CONNECT_ERROR."""
        held = ExitStack()
        try:
            token = auth.get("token") if isinstance(auth, dict) else None
            if token is not None and not isinstance(token, str):
                raise Invalid("auth.invalid", "The token is a string.")
            identity = await bearer_of(session.request, self._services, token, opens_socket=True)
            elsewhere = await self._services.sockets.elsewhere(identity.user_id)
            held.enter_context(self._services.sockets.opening(identity.user_id, elsewhere))
        except Limited as error:
            raise Refused("limit.connections", {"code": error.code}) from None
        except ChatError as error:
            raise Refused("unauthorized", {"code": error.code}) from None
        except DatabaseUnavailable:
            raise Refused("unavailable", {"code": unavailable().code}) from None
        session.data = (identity, held)
        session.on_close = lambda reason: held.close()
        if not session.open:  # it went meanwhile, and its end was told to nobody
            held.close()

    def _joined(self, session: Session, namespace: str, sid: str) -> None:
        identity: Identity
        identity, held = session.data
        wire = SocketIOWire(self.server, session)
        connection = Connection(self._services, identity, wire, "socketio", self._dispatch)
        session.data = connection
        session.on_close = lambda reason: connection.close()
        self._services.sockets.add(connection)
        held.close()

    def _left(self, session: Session, namespace: str, sid: str) -> None:
        """By a DISCONNECT, after which the session may join anew."""
        if isinstance(session.data, Connection):
            session.data.close()

    async def _event(self, event: SocketEvent) -> None:
        # Whoever went while he was asked for never had a connection.
        if isinstance(event.session.data, Connection) and not self._take(event):
            await event.session.data.ready()

    def _event_at_once(self, event: SocketEvent) -> bool:
        return bool(event.session.data.has_room and self._take(event))

    def _take(self, event: SocketEvent) -> bool:
        """False: taken, and the queue is full."""
        connection: Connection = event.session.data
        limit = self._services.settings.max_frame_bytes
        if limit and event.size > limit:
            error = Invalid("request.too_large", f"A frame has at most {limit:,} bytes.")
            # As an event, not an answer: natively such a frame is not even read.
            return connection.bad_frame(error, None, event.name)
        if len(event.args) > 1:
            fault = Invalid("request.invalid", "A command has one argument, an object.")
            return connection.submit(Request(event.ack_id, event.name, None, fault))
        return self._command(connection, event, event.args[0] if event.args else {})

    def _command(self, connection: Connection, event: SocketEvent, data: Any) -> bool:
        try:
            command = protocol.convert_command(event.name, data)
        except protocol.Unintelligible as fault:
            return connection.bad_frame(fault.error, event.ack_id, fault.event)
        except protocol.BadCommand as fault:
            return connection.submit(Request(event.ack_id, event.name, None, fault.error, fault.client_id))
        return connection.submit(Request(event.ack_id, event.name, command))
