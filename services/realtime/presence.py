"""Hints: who is here, who is typing, who has read how far. They take no numbers and may be lost.

At most one a user, room and 2 s: an `off` or a later read mark waits for its turn, it is never dropped. In a room with
over 100 present nobody is told but one's own devices of their read mark (a thousand who come back would be a million
deliveries).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from models.database import DatabaseUnavailable
from services.realtime.bus import Bus
from services.realtime.elsewhere import Elsewhere
from services.realtime.events import Event, Presence, Read, Typing
from services.realtime.registry import Registry
from services.tasks import Tasks

EVERY_S = 2.0
TYPING_S = 6.0
OFFLINE_AFTER_S = 10.0
CROWD = 100
DEAD_AT_ONCE = 100
RETRY_S = 1.0


class Pace:
    """Runs the latest act of each key, at most one in EVERY_S; the first at once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: dict[tuple[str, ...], float] = {}
        self._next: dict[tuple[str, ...], Callable[[], None]] = {}

    def run(self, key: tuple[str, ...], act: Callable[[], None]) -> None:
        wait = self._last.get(key, -EVERY_S) + EVERY_S - self._clock()
        if wait <= 0:
            self._act(key, act)
        elif key in self._next:
            self._next[key] = act
        else:
            self._next[key] = act
            asyncio.get_running_loop().call_later(wait, self._due, key)

    def cancel(self, key: tuple[str, ...]) -> bool:
        """The act that waits is no longer wanted. True when there was one."""
        if key in self._next:
            self._next[key] = lambda: None
            return True
        return False

    def _due(self, key: tuple[str, ...]) -> None:
        self._act(key, self._next.pop(key))

    def _act(self, key: tuple[str, ...], act: Callable[[], None]) -> None:
        self._last[key] = self._clock()
        asyncio.get_running_loop().call_later(EVERY_S * 2, self._forget, key)
        act()

    def _forget(self, key: tuple[str, ...]) -> None:
        if self._last.get(key, self._clock()) + EVERY_S <= self._clock():
            self._last.pop(key, None)


class Presences:
    def __init__(
        self,
        bus: Bus,
        registry: Registry,
        elsewhere: Elsewhere,
        tasks: Tasks,
        rooms_of: Callable[[Sequence[str]], Awaitable[dict[str, list[str]]]],
    ) -> None:
        """rooms_of: the rooms of many users, by user."""
        self._bus = bus
        self._registry = registry
        self._elsewhere = elsewhere
        self._tasks = tasks
        self._rooms_of = rooms_of
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._pace = Pace(loop.time)
        self._typing: dict[tuple[str, str], tuple[str, asyncio.TimerHandle]] = {}
        self._leaving: dict[str, tuple[asyncio.Task[None], set[str]]] = {}

    def online(self, user_id: str) -> bool:
        return self._registry.online(user_id) or user_id in self._leaving or self._elsewhere.online(user_id)

    def _crowded(self, room_id: str) -> bool:
        here = self._registry.users_in(room_id)
        return len(here) > CROWD or len(here) + self._elsewhere.present(room_id, here) > CROWD

    # -- here or not

    def came(self, user_id: str) -> None:
        """The user's first connection is open and his rooms are known."""
        leaving = self._leaving.pop(user_id, None)
        if leaving is not None:
            leaving[0].cancel()
            return
        if self._elsewhere.online(user_id):
            return
        for room_id in self._registry.rooms(user_id):
            self._tell(room_id, user_id, True)

    def went(self, user_id: str, rooms: set[str]) -> None:
        """The user's last connection has closed; he may be back in a moment."""
        before = self._leaving.get(user_id)
        if before is not None:  # he was back for less than it takes to read his rooms
            before[0].cancel()
            rooms = rooms | before[1]
        self._leaving[user_id] = (self._tasks.spawn(self._go(user_id, rooms), "presence"), rooms)

    async def _go(self, user_id: str, rooms: set[str]) -> None:
        """Tell that he is offline, unless he comes back before this ends."""
        await asyncio.sleep(OFFLINE_AFTER_S)
        # Asked: another pod may have told that he is online since this one looked, and the later word is believed.
        elsewhere = await self._elsewhere.among([user_id])
        del self._leaving[user_id]
        if not elsewhere:
            for room_id in rooms:
                self._tell(room_id, user_id, False)

    def died(self, user_ids: set[str]) -> None:
        """These were on a pod that has vanished. Each pod finds that out and tells its own readers."""
        self._tasks.spawn(self._tell_of_dead(sorted(user_ids)), "presence of a dead pod")

    async def _tell_of_dead(self, user_ids: list[str]) -> None:
        while user_ids:
            some = user_ids[:DEAD_AT_ONCE]
            try:
                rooms = await self._rooms_of(some)
            except DatabaseUnavailable:
                await asyncio.sleep(RETRY_S)
                continue
            back = await self._elsewhere.among(some)
            for user_id in some:
                if user_id not in back and not self._registry.online(user_id) and user_id not in self._leaving:
                    for room_id in rooms.get(user_id, ()):
                        if not self._crowded(room_id):
                            self._bus.tell_here(room_id, Event("presence", Presence(room_id, user_id, False)))
            del user_ids[: len(some)]

    def _tell(self, room_id: str, user_id: str, online: bool) -> None:
        if not self._crowded(room_id):
            event = Event("presence", Presence(room_id, user_id, online))
            self._pace.run(("presence", room_id, user_id), lambda: self._bus.publish(room_id, event))

    # -- typing

    def typing(self, room_id: str, user_id: str, connection_id: str, on: bool) -> None:
        key = (room_id, user_id)
        before = self._typing.pop(key, None)
        if before is not None:
            before[1].cancel()
        elif on and self._crowded(room_id):
            return  # nobody is told, so there is nothing to take back; an `off` after an `on` is told to any crowd
        if on:
            timer = asyncio.get_running_loop().call_later(TYPING_S, self.typing, room_id, user_id, connection_id, False)
            self._typing[key] = (connection_id, timer)
        if on == (before is not None):
            return  # nothing new
        pace_key = ("typing", room_id, user_id)
        if on and self._pace.cancel(pace_key):
            return  # an `off` was still waiting: the others have not seen it, so he types on
        event = Event("typing", Typing(room_id, user_id, on), origin=connection_id)
        self._pace.run(pace_key, lambda: self._bus.publish(room_id, event))

    def stopped_typing(self, room_id: str, user_id: str, connection_id: str) -> None:
        """The connection has left the room, or closed."""
        kept = self._typing.get((room_id, user_id))
        if kept is not None and kept[0] == connection_id:
            self.typing(room_id, user_id, connection_id, False)

    # -- read

    def read(self, room_id: str, user_id: str, seq: int) -> None:
        event = Event("read", Read(room_id, user_id, seq), only_user=user_id if self._crowded(room_id) else None)

        def tell() -> None:
            self._bus.publish(room_id, event)
            self.read_by_oneself(room_id, user_id, seq)
            if self._elsewhere.online(user_id):
                self._bus.tell_others(f"read:{room_id}:{user_id}:{seq}")

        self._pace.run(("read", room_id, user_id), tell)

    def read_by_oneself(self, room_id: str, user_id: str, seq: int) -> None:
        """Tell the user's devices here that have not joined the room, and count what is unread there."""
        event = Event("read", Read(room_id, user_id, seq))
        for client in self._registry.clients(user_id):
            if room_id not in client.joined:
                client.deliver(event)

    def close(self) -> None:
        for _, timer in self._typing.values():
            timer.cancel()
        for going, _ in self._leaving.values():
            going.cancel()
