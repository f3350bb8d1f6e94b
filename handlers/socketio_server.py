"""Socket.IO on top of our Engine.IO: python-socketio's AsyncServer, made strict, ordered and quiet.

What stays python-socketio's: namespaces, packets, acknowledgements, `emit` to one client, `connect` and `disconnect`
handlers. What it does too kindly is done here: garbage closes the connection with one log line, one client's events
are handled in the order sent, each event that asks for an acknowledgement gets one, and a connection without CONNECT
ends. Rooms are not kept: who reads what is the hub's business, and its frames go straight to `Session.send_text`.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import socketio
from socketio.exceptions import ConnectionRefusedError as Refused

from handlers import socketio_packets as packets
from handlers.engine import EngineServer, PacketError, Reason, Session
from handlers.socketio_clients import Client, Manager
from handlers.socketio_packets import Packet

log = logging.getLogger(__name__)

# python-socketio logs each packet at info, and would add a handler of its own to a logger without a level.
_library_log = logging.getLogger("socketio.server")
_library_log.setLevel(logging.WARNING)

EVENT_MARK = str(packets.EVENT)


class Event:
    """One event from a client. It is to be answered once with `reply` when `ack_id` is not None.

    size: bytes that it took on the wire, attachments included.
    """

    __slots__ = ("_server", "ack_id", "args", "name", "namespace", "session", "sid", "size")

    def __init__(self, server: "SocketIOServer", session: Session, sid: str, packet: Packet, size: int) -> None:
        self._server = server
        self.session = session
        self.sid = sid
        self.namespace: str = packet.namespace
        self.name: str = packet.data[0]
        self.args: list[Any] = packet.data[1:]
        self.ack_id: int | None = packet.id
        self.size = size

    def reply(self, *args: Any) -> None:
        """Acknowledge with these arguments; without an ack id nothing is sent."""
        if self.ack_id is not None:
            packet = Packet(packets.ACK, namespace=self.namespace, id=self.ack_id, data=list(args))
            self._server.send_to(self.session, packet)


class SocketIOServer(socketio.AsyncServer):  # type: ignore[misc]
    """namespaces: those that exist; CONNECT to another one is refused.
    on_event: gets every event of every namespace, in each client's order, and answers it. Without one, the handlers
        given to `on` are called as python-socketio does, and what they return is the acknowledgement.
    on_event_at_once: asked first, of an event with nothing before it: handled without waiting? False: nothing was done.
    on_joined: called with (session, namespace, sid) as soon as the CONNECT reply is sent, so before anything that
        comes later: the place to begin writing to the session, and to set its `on_close`. Not called for a session
        that has closed meanwhile.
    on_left: called with the same when the client leaves the namespace, or its session has ended.
    connect_limit: seconds in which a session must have joined a namespace.
    refused_limit: seconds that a refused client without a namespace is given to leave by itself, or to try again.
    engine: the options of EngineServer.

    The `connect` handler gets (sid, session, auth): auth is the client's object or None. It refuses by raising
    socketio.exceptions.ConnectionRefusedError(message, data). What it emits goes out behind the CONNECT reply.
    """

    def __init__(
        self,
        *,
        namespaces: Iterable[str] = ("/",),
        on_event: Callable[[Event], Awaitable[None]] | None = None,
        on_event_at_once: Callable[[Event], bool] | None = None,
        on_joined: Callable[[Session, str, str], None] | None = None,
        on_left: Callable[[Session, str, str], None] | None = None,
        connect_limit: float = 10.0,
        refused_limit: float = 1.0,
        **engine: Any,
    ) -> None:
        super().__init__(
            client_manager=Manager(),
            serializer=Packet,
            async_handlers=False,
            namespaces=list(namespaces),
            logger=_library_log,
            **engine,
        )
        self._on_event = on_event or self._call_handler
        if on_event_at_once is not None:
            self._on_event_at_once = on_event_at_once
            self.eio.at_once = self._at_once
        self._on_joined = on_joined
        self._on_left = on_left
        self._connect_limit = connect_limit
        self._refused_limit = refused_limit
        self._clients: dict[str, Client] = {}

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    # What the application uses

    def session_of(self, sid: str, namespace: str = "/") -> Session | None:
        eio_sid = self.manager.eio_sid_from_sid(sid, namespace)
        client = self._clients.get(eio_sid)
        return client.session if client else None

    def send_to(self, session: Session, packet: Packet) -> None:
        """Send one Socket.IO packet, its attachments behind it, before the call returns.

        What the `connect` handler sends is held until the CONNECT reply has gone: clients drop events before it.
        """
        client = self._clients.get(session.sid)
        if (
            client is not None
            and client.joining is not None
            and packet.packet_type in (packets.EVENT, packets.BINARY_EVENT)
        ):
            namespace, held = client.joining
            if packet.namespace == namespace:
                held.append(packet)
                return
        encoded = packet.encode()
        for part in encoded if isinstance(encoded, list) else [encoded]:
            session.send(part)

    def emit_to(self, session: Session, event: str, *args: Any, namespace: str = "/") -> None:
        """`emit` to one client without a task and without waiting."""
        self.send_to(session, Packet(packets.EVENT, namespace=namespace, data=[event, *args]))

    def end(self, session: Session, event: str, *args: Any, stay_away: bool, code: int = 1000) -> None:
        """Close a session with a last event.

        stay_away: send a DISCONNECT packet too; a client that gets one does not come back by itself, one whose
            transport is closed does.
        """
        client = self._clients.get(session.sid)
        for namespace in client.sids if client else ():
            self.emit_to(session, event, *args, namespace=namespace)
            if stay_away:
                self.send_to(session, Packet(packets.DISCONNECT, namespace=namespace))
        session.close(code)

    # Engine.IO's three events

    async def _handle_eio_connect(self, eio_sid: str, session: Session) -> None:
        await super()._handle_eio_connect(eio_sid, session)  # `environ` of the handlers is the session itself
        self._clients[eio_sid] = client = Client(session)
        self._limit(client, self._connect_limit)

    async def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> None:
        """Raises PacketError for whatever is not to be understood; the session logs it and closes."""
        client = self._clients[eio_sid]
        packet = self._receive(client, data)
        if packet is None:
            return
        kind, namespace = packet.packet_type, packet.namespace
        if kind == packets.CONNECT:
            await self._join(client, namespace, packet.data)
            return
        sid = client.sids.get(namespace)
        if sid is None:
            raise PacketError("a packet for a namespace that was not joined")
        if kind == packets.DISCONNECT:
            await self._handle_disconnect(eio_sid, namespace, Reason.CLIENT_DISCONNECT)
        elif kind in (packets.ACK, packets.BINARY_ACK):
            await self.manager.trigger_callback(sid, packet.id, packet.data)
        else:
            await self._on_event(Event(self, client.session, sid, packet, client.size))

    def _at_once(self, session: Session, data: str | bytes) -> bool:
        """An event without attachments. Raises like `_handle_eio_message`."""
        client = self._clients.get(session.sid)
        if client is None or client.partial is not None or not isinstance(data, str) or data[:1] != EVENT_MARK:
            return False
        packet = self._receive(client, data)
        if packet is None:
            return True
        sid = client.sids.get(packet.namespace)
        if sid is None:
            raise PacketError("a packet for a namespace that was not joined")
        return self._on_event_at_once(Event(self, session, sid, packet, client.size))

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        client = self._clients.pop(eio_sid)
        if client.limit is not None:
            client.limit.cancel()
        for namespace in list(client.sids):
            await self._leave(client, namespace, reason)
        self.environ.pop(eio_sid, None)

    # Packets

    def _receive(self, client: Client, data: str | bytes) -> Packet | None:
        """The packet that is complete with this message, if one is."""
        if client.partial is not None:
            client.size += _bytes_of(data)
            if client.size > self.eio.max_payload:
                raise PacketError("attachments are too large")
            if not client.partial.add_attachment(data):
                return None
            packet, client.partial = client.partial, None
            return packet
        if isinstance(data, bytes):
            raise PacketError("an attachment without its packet")
        client.size = _bytes_of(data)
        packet = Packet.read(data)
        if packet.attachment_count:
            if packet.namespace not in client.sids:
                raise PacketError("a packet for a namespace that was not joined")
            client.partial = packet
            return None
        return packet

    async def _send_packet(self, eio_sid: str, packet: Packet) -> None:
        if client := self._clients.get(eio_sid):
            self.send_to(client.session, packet)

    # Namespaces

    async def _join(self, client: Client, namespace: str, auth: dict[str, Any] | None) -> None:
        if namespace in client.sids:
            raise PacketError("a second CONNECT")
        if namespace not in self.namespaces:
            self._refuse(client, namespace, {"message": "Invalid namespace"})
            return
        session = client.session
        sid: str = await self.manager.pre_connect(session.sid, namespace)
        held: list[Packet] = []
        client.joining = (namespace, held)  # its packets are handled one after another, so there is one at a time
        try:
            refusal = await self._ask(session, namespace, sid, auth)
        except BaseException:
            await self.manager.disconnect(sid, namespace)
            raise
        finally:
            client.joining = None
        if refusal is not None:
            await self.manager.disconnect(sid, namespace)
            self._refuse(client, namespace, refusal)
            return
        await self.manager.connect(sid, namespace)
        client.sids[namespace] = sid
        self._limit(client, None)
        self.send_to(session, Packet(packets.CONNECT, {"sid": sid}, namespace=namespace))
        for packet in held:
            self.send_to(session, packet)
        if self._on_joined is not None and session.open:
            self._on_joined(session, namespace, sid)

    async def _ask(
        self, session: Session, namespace: str, sid: str, auth: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """Ask the application's `connect` handler. Returns the error to refuse with, None to accept."""
        try:
            accepted = await self._trigger_event("connect", namespace, sid, session, auth)
        except Refused as refusal:
            error: dict[str, Any] = refusal.error_args
            return error
        return {"message": "Connection refused"} if accepted is False else None

    def _refuse(self, client: Client, namespace: str, error: dict[str, Any]) -> None:
        self.send_to(client.session, Packet(packets.CONNECT_ERROR, error, namespace=namespace))
        if not client.sids:
            # Not at once: the CONNECT of another namespace may be on its way behind this one.
            self._limit(client, self._refused_limit)

    async def _handle_disconnect(self, eio_sid: str, namespace: str, reason: str | None = None) -> None:
        client = self._clients[eio_sid]
        await self._leave(client, namespace, reason or Reason.CLIENT_DISCONNECT)
        if not client.sids:
            self._limit(client, self._connect_limit)

    async def _leave(self, client: Client, namespace: str, reason: str) -> None:
        sid = client.sids.pop(namespace)
        client.partial = None
        if self._on_left is not None:
            self._on_left(client.session, namespace, sid)
        self.manager.pre_disconnect(sid, namespace)
        try:
            await self._trigger_event("disconnect", namespace, sid, reason)
        except Exception:
            log.exception("socket.io disconnect handler failed")
        finally:
            await self.manager.disconnect(sid, namespace)

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Take one client out of a namespace: it is told so, and stays away from it."""
        namespace = namespace or "/"
        client = self._clients.get(self.manager.eio_sid_from_sid(sid, namespace))
        if client is None or client.sids.get(namespace) != sid:
            return
        self.send_to(client.session, Packet(packets.DISCONNECT, namespace=namespace))
        await self._leave(client, namespace, Reason.SERVER_DISCONNECT)
        if not client.sids:
            self._limit(client, self._refused_limit)

    def _limit(self, client: Client, seconds: float | None) -> None:
        """Close the session after so many seconds, or when it was to be closed before that; None: never mind."""
        loop = asyncio.get_running_loop()
        if client.limit is not None:
            if seconds is not None and client.limit.when() <= loop.time() + seconds:
                return  # else who is refused again and again would stay
            client.limit.cancel()
            client.limit = None
        if seconds is not None and client.session.open:
            client.limit = loop.call_later(seconds, client.session.close)

    # Events, where the application gave handlers to `on`

    async def _call_handler(self, event: Event) -> None:
        handler, args = self._get_event_handler(event.name, event.namespace, (event.sid, *event.args))
        if handler is None:
            event.reply(_failed("request.unknown_event", f"There is no event {event.name[:80]!r}."))
            return
        try:
            inspect.signature(handler).bind(*args)
        except TypeError:
            event.reply(_failed("request.invalid", "The number of arguments is wrong."))
            return
        try:
            result = await self._trigger_event(event.name, event.namespace, event.sid, *event.args)
        except Exception:
            log.exception("socket.io event handler failed")
            event.reply(_failed("internal", "Something went wrong on our side."))
            return
        event.reply(*(() if result is None else result if isinstance(result, tuple) else (result,)))


def _bytes_of(data: str | bytes) -> int:
    return len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())


def _failed(code: str, message: str) -> dict[str, Any]:
    return {"ok": False, "error": {"code": code, "message": message, "retryable": False}}
