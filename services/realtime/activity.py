"""`activity`: once a second, to each connection, which of its user's rooms that it has not joined have moved.

A hint that makes a room list live; `GET /rooms` is the truth.
"""

import asyncio
from collections import defaultdict

from services.realtime.events import Activity, Event, RoomActivity
from services.realtime.registry import Client, Registry

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
        told: defaultdict[Client, list[RoomActivity]] = defaultdict(list)
        for room_id, (last_seq, mentions) in moved.items():
            for user_id in self._registry.users_in(room_id):
                for client in self._registry.clients(user_id):
                    if room_id not in client.joined:
                        mentioned = bool(mentions) and "@" + client.identity.name.lower() in mentions
                        told[client].append(RoomActivity(room_id, last_seq, mentioned))
        for client, rooms in told.items():
            client.deliver(Event("activity", Activity(rooms)))

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
