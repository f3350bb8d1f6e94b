"""Who is connected to the Socket.IO door. Who reads what is the hub's business: there are no rooms here."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from socketio.async_manager import AsyncManager

from handlers.engine import Session
from handlers.socketio_packets import EVENT, Packet


class Client:
    """What the Socket.IO layer remembers of one session."""

    __slots__ = ("joining", "limit", "partial", "session", "sids", "size")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.sids: dict[str, str] = {}  # namespace -> sid, of the namespaces that it has joined
        self.partial: Packet | None = None  # waits for attachments
        self.size = 0  # of the packet that is being received
        self.limit: asyncio.TimerHandle | None = None  # until it has joined a namespace
        self.joining: tuple[str, list[Packet]] | None = None  # a namespace, and what waits for its CONNECT reply


class Manager(AsyncManager):  # type: ignore[misc]
    """Knows who is connected. python-socketio's own looks through every room of the process at each disconnect."""

    server: Any  # the SocketIOServer; python-socketio sets it

    async def emit(
        self,
        event: str,
        data: Any,
        namespace: str,
        room: str | None = None,
        skip_sid: str | list[str] | None = None,
        callback: Callable[..., Any] | None = None,
        to: str | None = None,
        **options: Any,
    ) -> None:
        """Sent when this returns, in the order of the calls: python-socketio starts a task for each recipient."""
        args = list(data) if isinstance(data, tuple) else [] if data is None else [data]
        skipped = skip_sid if isinstance(skip_sid, list) else [skip_sid]
        for sid, eio_sid in self.get_participants(namespace, to or room):
            if sid not in skipped:
                ack_id = self._generate_ack_id(sid, callback) if callback else None
                packet = Packet(EVENT, namespace=namespace, id=ack_id, data=[event, *args])
                await self.server._send_packet(eio_sid, packet)

    async def pre_connect(self, eio_sid: str, namespace: str) -> str:
        sid: str = self.server.eio.generate_id()
        self.basic_enter_room(sid, namespace, None, eio_sid=eio_sid)
        self.pending_connect.setdefault(namespace, []).append(sid)
        return sid

    def basic_disconnect(self, sid: str, namespace: str, **options: Any) -> None:
        self.basic_leave_room(sid, namespace, None)
        self.callbacks.pop(sid, None)
        for pending in (self.pending_connect, self.pending_disconnect):
            if sid in pending.get(namespace, ()):
                pending[namespace].remove(sid)

    def get_participants(self, namespace: str, room: str | None) -> Iterator[tuple[str, str]]:
        everybody = self.rooms.get(namespace, {}).get(None, {})
        if room is None:
            yield from list(everybody.items())
        elif room in everybody:
            yield room, everybody[room]

    async def trigger_callback(self, sid: str, id: int, data: list[Any]) -> None:
        """An acknowledgement that nobody has asked for is ignored: python-socketio logs each. (Its 0 is a counter.)"""
        if id and id in self.callbacks.get(sid, ()):
            await super().trigger_callback(sid, id, data)

    async def enter_room(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("rooms are the hub's")
