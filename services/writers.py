"""What this pod has seen of who may write where, so that a send in a known room has nothing to ask.

Knows rooms' stamps and who wrote under them; knows nothing of rows. It may be wrong at any time: a stamp that Postgres has
moved since makes a send write nothing, and it is asked about anew.
"""

REMEMBERED = 100_000  # rooms and their writers in all; the rooms asked about longest ago go first


class _Room:
    __slots__ = ("stamp", "when", "writers")

    def __init__(self) -> None:
        self.when = ""
        self.stamp: int | None = None
        self.writers: set[str] = set()


class Writers:
    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._rooms: dict[str, _Room] = {}
        self.remembered = 0

    def when(self, room_id: str) -> str | None:
        """When the room's bot answered, as last seen; None for a room not seen yet."""
        room = self._rooms.get(room_id)
        return room.when if room is not None else None

    def saw(self, room_id: str, user_id: str, when: str, stamp: int | None) -> None:
        """A message of this user was committed. stamp: of before the commit, where it was read."""
        room = self._take(room_id) or _Room()
        room.when = when
        if stamp is not None:
            if stamp != room.stamp:
                room.stamp = stamp
                room.writers.clear()
            room.writers.add(user_id)
        self._rooms[room_id] = room
        self.remembered += 1 + len(room.writers)
        while self.remembered > self._most:
            self._take(next(iter(self._rooms)))

    def stamp(self, room_id: str, user_id: str, may_mention: bool) -> int | None:
        """The stamp under which this user wrote there, where no bot can be asked by what he says now."""
        room = self._rooms.get(room_id)
        if room is None or user_id not in room.writers or room.when == "always" or (may_mention and room.when != "off"):
            return None
        return room.stamp

    def forget(self, room_id: str) -> None:
        """Its stamp has moved."""
        self._take(room_id)

    def _take(self, room_id: str) -> _Room | None:
        room = self._rooms.pop(room_id, None)
        if room is not None:
            self.remembered -= 1 + len(room.writers)
        return room
