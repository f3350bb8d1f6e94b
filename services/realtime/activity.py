"""`activity`: once a second, to each connection, which of its user's rooms that it has not joined have moved.

A hint that makes a room list live; `GET /rooms` is the truth.
"""

import asyncio

from services.realtime.events import Event, RoomActivity, encode
from services.realtime.registry import Registry

EVERY_S = 1.0


class Activities:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._moved: dict[str, tuple[int, str]] = {}  # room -> last seq, lower-case text of what mentions anybody
        self._timer: asyncio.TimerHandle | None = None

    def note(self, room_id: str, last_seq: int, text: str) -> None:
        """A message was committed in the room."""
        before = self._moved.get(room_id, (0, ""))
        mentions = before[1] + "\n" + text.lower() if "@" in text else before[1]
        self._moved[room_id] = (max(before[0], last_seq), mentions)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._flush)

    def _flush(self) -> None:
        self._timer = None
        moved, self._moved = self._moved, {}
        users = {user_id for room_id in moved for user_id in self._registry.users_in(room_id)}
        # A room's entry is the same for nearly everybody: encoded once, not once a connection.
        plain = {room_id: encode(RoomActivity(room_id, last, False)) for room_id, (last, _) in moved.items()}
        for user_id in users:
            rooms = self._registry.rooms(user_id) & moved.keys()
            entries = {room_id: self._entry(user_id, room_id, moved[room_id], plain) for room_id in rooms}
            events: dict[frozenset[str], Event] = {}  # devices that read the same rooms are told the same
            for client in self._registry.clients(user_id):
                unread = frozenset(rooms - client.joined)
                if not unread:
                    continue
                if unread not in events:
                    body = b",".join([entries[room_id] for room_id in unread])
                    events[unread] = Event("activity", b'{"rooms":[' + body + b"]}")
                client.deliver(events[unread])

    def _entry(self, user_id: str, room_id: str, what: tuple[int, str], plain: dict[str, bytes]) -> bytes:
        last_seq, mentions = what
        if mentions:
            names = {client.identity.name.lower() for client in self._registry.clients(user_id)}
            if any("@" + name in mentions for name in names):
                return encode(RoomActivity(room_id, last_seq, True))
        return plain[room_id]

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
