"""`activity`: once a second, to each connection, which of its user's rooms that it has not joined have moved.

A hint that makes a room list live; `GET /rooms` is the truth.
"""

import asyncio
from collections.abc import Callable, Iterator

from services.realtime.events import Event, RoomActivity, encode
from services.realtime.registry import Registry
from services.tasks import Tasks

EVERY_S = 1.0
# A thousand connections told in one go would hold up every send of that moment.
CHUNK = 40
PAUSE_S = 0.005


class Activities:
    def __init__(self, registry: Registry, tasks: Tasks) -> None:
        self._registry = registry
        self._tasks = tasks
        self._moved: dict[str, tuple[int, str]] = {}  # room -> last seq, lower-case text of what mentions anybody
        self._telling = False

    def note(self, room_id: str, last_seq: int, text: str) -> None:
        """A message was committed in the room."""
        before = self._moved.get(room_id, (0, ""))
        mentions = before[1] + "\n" + text.lower() if "@" in text else before[1]
        self._moved[room_id] = (max(before[0], last_seq), mentions)
        if not self._telling:
            self._telling = True
            self._tasks.spawn(self._tell(), "activity")

    async def _tell(self) -> None:
        try:
            while self._moved:
                await asyncio.sleep(EVERY_S)
                moved, self._moved = self._moved, {}
                for told, (deliver, event) in enumerate(self._events(moved), 1):
                    deliver(event)
                    if told % CHUNK == 0:
                        await asyncio.sleep(PAUSE_S)
        finally:
            self._telling = False

    def _events(self, moved: dict[str, tuple[int, str]]) -> Iterator[tuple[Callable[[Event], None], Event]]:
        users = {user_id for room_id in moved for user_id in self._registry.users_in(room_id)}
        # A room's entry is the same for nearly everybody: encoded once, not once a connection.
        plain = {room_id: encode(RoomActivity(room_id, last, False)) for room_id, (last, _) in moved.items()}
        for user_id in users:
            rooms = self._registry.rooms(user_id) & moved.keys()
            entries = {room_id: self._entry(user_id, room_id, moved[room_id], plain) for room_id in rooms}
            events: dict[frozenset[str], Event] = {}  # devices that read the same rooms are told the same
            for client in self._registry.clients(user_id):
                # Looked at anew: while we paused, a removal may have taken a room away.
                unread = frozenset((rooms & self._registry.rooms(user_id)) - client.joined)
                if not unread:
                    continue
                if unread not in events:
                    body = b",".join([entries[room_id] for room_id in unread])
                    events[unread] = Event("activity", b'{"rooms":[' + body + b"]}")
                yield client.deliver, events[unread]

    def _entry(self, user_id: str, room_id: str, what: tuple[int, str], plain: dict[str, bytes]) -> bytes:
        last_seq, mentions = what
        if mentions:
            names = {client.identity.name.lower() for client in self._registry.clients(user_id)}
            if any("@" + name in mentions for name in names):
                return encode(RoomActivity(room_id, last_seq, True))
        return plain[room_id]
