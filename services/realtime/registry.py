"""Who is connected to this pod: users, their connections, the rooms they are members of.

Knows clients and ids. The rooms are read at connect and kept true by the access log, so that presence, `activity` and
`room` events find their connections without asking the database.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Protocol

from services.accounts import Identity
from services.realtime.events import Event


class Client(Protocol):
    """A connection, as far as services know it. Nothing here waits or raises."""

    id: str
    identity: Identity
    joined: set[str]

    @property
    def user_id(self) -> str: ...
    def deliver(self, event: Event) -> None: ...
    def forget_room(self, room_id: str) -> None: ...
    def end(self, code: int, reason: str) -> None: ...


class _User:
    __slots__ = ("clients", "rooms")

    def __init__(self) -> None:
        self.clients: dict[Client, None] = {}
        self.rooms: set[str] = set()


class Registry:
    def __init__(self, rooms_of: Callable[[str], Awaitable[list[str]]]) -> None:
        self._rooms_of = rooms_of
        self._users: dict[str, _User] = {}
        self._members: dict[str, set[str]] = {}  # room -> connected users
        self._changes = 0

    def count(self, user_id: str) -> int:
        user = self._users.get(user_id)
        return len(user.clients) if user else 0

    def add(self, client: Client) -> bool:
        """True when it is the user's first connection here."""
        user = self._users.get(client.user_id)
        if user is None:
            user = self._users[client.user_id] = _User()
        user.clients[client] = None
        return len(user.clients) == 1

    async def load_rooms(self, user_id: str) -> None:
        """Read the user's rooms. Read again when the access log moved meanwhile: the answer may be of before."""
        while user_id in self._users:
            seen = self._changes
            found = await self._rooms_of(user_id)
            if seen == self._changes:
                for room_id in found:
                    self.enter(user_id, room_id)
                return

    def remove(self, client: Client) -> bool:
        """True when it was the user's last connection here."""
        user = self._users.get(client.user_id)
        if user is None or client not in user.clients:
            return False
        del user.clients[client]
        if user.clients:
            return False
        for room_id in list(user.rooms):
            self._part(client.user_id, room_id)
        del self._users[client.user_id]
        return True

    def enter(self, user_id: str, room_id: str) -> None:
        user = self._users.get(user_id)
        if user is not None:
            user.rooms.add(room_id)
            self._members.setdefault(room_id, set()).add(user_id)

    def exit(self, user_id: str, room_id: str) -> None:
        user = self._users.get(user_id)
        if user is not None:
            user.rooms.discard(room_id)
            self._part(user_id, room_id)

    def _part(self, user_id: str, room_id: str) -> None:
        members = self._members.get(room_id)
        if members is not None:
            members.discard(user_id)
            if not members:
                del self._members[room_id]

    def changed(self) -> None:
        """Somebody's rooms have changed."""
        self._changes += 1

    def rooms(self, user_id: str) -> set[str]:
        user = self._users.get(user_id)
        return user.rooms if user else set()

    def users_in(self, room_id: str) -> set[str]:
        """Connected users who are members of the room, joined or not."""
        return self._members.get(room_id, set())

    def crowds(self, least: int) -> dict[str, int]:
        """Rooms with at least so many connected members, and how many."""
        return {room_id: len(users) for room_id, users in self._members.items() if len(users) >= least}

    def clients(self, user_id: str) -> list[Client]:
        user = self._users.get(user_id)
        return list(user.clients) if user else []

    def online(self, user_id: str) -> bool:
        return user_id in self._users

    def users(self) -> Iterable[str]:
        return self._users.keys()

    @property
    def connections(self) -> int:
        return sum(len(user.clients) for user in self._users.values())

    def all(self) -> Iterator[Client]:
        for user in list(self._users.values()):
            yield from list(user.clients)

    def tell(self, user_ids: Iterable[str], event: Event) -> None:
        for user_id in user_ids:
            for client in self.clients(user_id):
                client.deliver(event)
