"""The connections of this pod: letting them in, watching over them, sending them away.

Knows limits, expiry and the order of a drain; what a connection is made of is its door's.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from models.database import DatabaseUnavailable
from services.accounts import Identity
from services.errors import Limited
from services.realtime.closing import RESTARTING, RESYNC
from services.realtime.elsewhere import Elsewhere
from services.realtime.presence import Presences
from services.realtime.registry import Client, Registry
from services.tasks import Tasks

TICK_S = 1.0
DRAIN_BATCH = 100
DRAIN_PAUSE_S = 0.05


class Socket(Client, Protocol):
    door: str

    @property
    def unsent(self) -> int: ...
    def tick(self, now: float) -> None:
        """Once a second: heartbeat and expiry."""


class Sockets:
    def __init__(
        self,
        registry: Registry,
        presences: Presences,
        elsewhere: Elsewhere,
        tasks: Tasks,
        limit: int,
        still: Callable[[Identity], bool],
    ) -> None:
        """limit: connections a user; 0 is none. still: False of somebody who may have lost his access since he was asked."""
        self._registry = registry
        self._presences = presences
        self._elsewhere = elsewhere
        self._tasks = tasks
        self._limit = limit
        self._still = still
        self._opening: Counter[str] = Counter()
        self._all: dict[Socket, None] = {}
        self.draining = False
        self.on_drain: list[Callable[[], None]] = []
        self.opened: Counter[str] = Counter()
        self.refused = 0  # since the user had as many as he may

    def count(self, door: str) -> int:
        return sum(socket.door == door for socket in self._all)

    @property
    def unsent(self) -> int:
        """Bytes that wait in this process for slow clients."""
        return sum(socket.unsent for socket in self._all)

    def __len__(self) -> int:
        return len(self._all)

    async def elsewhere(self, user_id: str) -> int:
        """The user's connections to other pods."""
        return await self._elsewhere.connections(user_id) if self._limit else 0

    @contextmanager
    def opening(self, user_id: str, elsewhere: int) -> Iterator[None]:
        """Hold one of the user's places while a handshake is under way. Raises Limited when there is none."""
        taken = elsewhere + self._registry.count(user_id) + self._opening[user_id]
        if self._limit and taken >= self._limit:
            self.refused += 1
            raise Limited("limit.connections", f"You have {self._limit} connections open. Close one first.")
        self._opening[user_id] += 1
        try:
            yield
        finally:
            self._opening[user_id] -= 1
            if not self._opening[user_id]:
                del self._opening[user_id]

    def add(self, socket: Socket) -> None:
        """Have it served, or end it: it may have lost its access, or the pod begun to stop, while it was not here to be told."""
        if self.draining:
            socket.end(RESTARTING, "restarting")
            return
        if not self._still(socket.identity):
            socket.end(RESYNC, "access has changed")
            return
        self._all[socket] = None
        self.opened[socket.door] += 1
        first = self._registry.add(socket)
        self._elsewhere.changed(socket.user_id, self._registry.count(socket.user_id))
        if first:
            self._tasks.spawn(self._came(socket.user_id), "presence")

    async def _came(self, user_id: str) -> None:
        while self._registry.online(user_id):
            try:
                await self._registry.load_rooms(user_id)
                break
            except DatabaseUnavailable:
                await asyncio.sleep(TICK_S)
        if self._registry.online(user_id):
            self._presences.came(user_id)

    def remove(self, socket: Socket) -> None:
        if self._all.pop(socket, self) is self:
            return
        rooms = set(self._registry.rooms(socket.user_id))
        last = self._registry.remove(socket)
        self._elsewhere.changed(socket.user_id, self._registry.count(socket.user_id))
        if last:
            self._presences.went(socket.user_id, rooms)

    async def step(self) -> None:
        """Once a second: heartbeats and expiry of all, from one timer."""
        await asyncio.sleep(TICK_S)
        now = time.monotonic()
        for socket in list(self._all):
            socket.tick(now)

    async def breathe(self) -> None:
        """Let others have the loop for a moment."""
        await asyncio.sleep(0.005)

    async def drain(self, code: int, reason: str, pause: Callable[[], float] = random.random) -> None:
        """Send everybody away, in batches, so that they do not all knock at the next pod in the same moment."""
        self.draining = True
        for stop_accepting in self.on_drain:
            stop_accepting()
        everybody = list(self._all)
        for start in range(0, len(everybody), DRAIN_BATCH):
            for socket in everybody[start : start + DRAIN_BATCH]:
                socket.end(code, reason)
            await asyncio.sleep(DRAIN_PAUSE_S * pause())
