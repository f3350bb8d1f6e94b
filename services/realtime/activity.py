"""`activity`: once a second, to each connection, which of its user's rooms that it has not joined have moved.

A hint that makes a room list live; `GET /rooms` is the truth.
"""

import asyncio
import time
from collections.abc import Callable, Iterator

import msgspec

from services.realtime.events import Event, RoomActivity, encode
from services.realtime.registry import Registry
from services.tasks import Tasks

EVERY_S = 1.0
# A hint is not worth more than this of a pod's time: with many to tell, they are told less often.
TOLD_PER_S, MOST_S = 500, 5.0
# A thousand connections told in one go would hold up every send of that moment.
CHUNK = 40
PAUSE_S = 0.005
NAME_CHARS = 80

decode = msgspec.json.Decoder(list[tuple[str, int, str]]).decode


def add(moved: dict[str, tuple[int, str]], room_id: str, last_seq: int, mentions: str) -> None:
    before = moved.get(room_id, (0, ""))
    moved[room_id] = (max(before[0], last_seq), f"{before[1]}\n{mentions}" if mentions else before[1])


class Activities:
    def __init__(self, registry: Registry, tasks: Tasks, announce: Callable[[str], None]) -> None:
        """announce: tell the other pods, in words that `heard` understands."""
        self._registry = registry
        self._tasks = tasks
        self._announce = announce
        self._moved: dict[str, tuple[int, str]] = {}  # room -> last seq, lower-case text of whom it mentions
        self._own: dict[str, tuple[int, str]] = {}  # of these, what was committed here
        self._telling = False
        self._due = 0.0  # when this pod's own may be told again

    def note(self, room_id: str, last_seq: int, text: str) -> None:
        """A message was committed in the room."""
        # Only what may be a name: whom it mentions is for those to say who know their users' names.
        mentions = "\n".join(part[:NAME_CHARS].lower() for part in text.split("@")[1:])
        add(self._own, room_id, last_seq, mentions)
        self._note(room_id, last_seq, mentions)

    def heard(self, words: str) -> None:
        """Another pod announces what moved there."""
        for room_id, last_seq, mentions in decode(words):
            if self._registry.users_in(room_id):
                self._note(room_id, last_seq, mentions)

    def _note(self, room_id: str, last_seq: int, mentions: str) -> None:
        add(self._moved, room_id, last_seq, mentions)
        if not self._telling:
            self._telling = True
            self._tasks.spawn(self._tell(), "activity")

    async def _tell(self) -> None:
        try:
            while self._moved:
                await asyncio.sleep(EVERY_S)
                own, self._own = self._own, {}
                if own:
                    self._announce(encode([(room_id, *what) for room_id, what in own.items()]).decode())
                if time.monotonic() < self._due:
                    continue
                moved, self._moved = self._moved, {}
                told = 0
                for told, (deliver, event) in enumerate(self._events(moved), 1):
                    deliver(event)
                    if told % CHUNK == 0:
                        await asyncio.sleep(PAUSE_S)
                self._due = time.monotonic() + min(MOST_S, told / TOLD_PER_S)
        finally:
            self._telling = False

    def _events(self, moved: dict[str, tuple[int, str]]) -> Iterator[tuple[Callable[[Event], None], Event]]:
        users = {user_id for room_id in moved for user_id in self._registry.users_in(room_id)}
        # A room's entry is the same for nearly everybody, and so is what is told to those who have joined the same rooms.
        plain = {room_id: encode(RoomActivity(room_id, last, False)) for room_id, (last, _) in moved.items()}
        shared: dict[frozenset[str], Event] = {}
        for user_id in users:
            rooms = self._registry.rooms(user_id) & moved.keys()
            mentioned = {room_id for room_id in rooms if self._is_mentioned(user_id, moved[room_id][1])}
            entries, events = plain, shared
            if mentioned:
                entries = plain | {
                    room_id: encode(RoomActivity(room_id, moved[room_id][0], True)) for room_id in mentioned
                }
                events = {}
            for client in self._registry.clients(user_id):
                # Looked at anew: while we paused, a removal may have taken a room away.
                unread = frozenset((rooms & self._registry.rooms(user_id)) - client.joined)
                if not unread:
                    continue
                if unread not in events:
                    body = b",".join([entries[room_id] for room_id in unread])
                    events[unread] = Event("activity", b'{"rooms":[' + body + b"]}")
                yield client.deliver, events[unread]

    def _is_mentioned(self, user_id: str, mentions: str) -> bool:
        if not mentions:
            return False
        names = {client.identity.name.lower() for client in self._registry.clients(user_id)}
        return any(part.startswith(name) for part in mentions.split("\n") for name in names)
