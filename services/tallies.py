"""Keeps the sums behind what is said and spent: a moment later, in one statement for all rooms that moved here."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence

from models import budgets, tallies
from models.database import Database

log = logging.getLogger("maru.tallies")

EVERY_S = 1.0
# All rooms are looked through so often, for what other pods or earlier lives of this one have left.
SWEEP_S = 30.0
SWEEP_ROOMS = 1_000
ROOMS_AT_ONCE = 50
CALLS = 2_000


class Tallies:
    def __init__(self, db: Database, zone: str) -> None:
        self._db = db
        self._zone = zone
        self._rooms: set[str] = set()
        self._nudged = asyncio.Event()
        self._swept = -SWEEP_S

    def changed(self, room_id: str) -> None:
        """Something in this room was committed here."""
        self._rooms.add(room_id)
        self._nudged.set()

    async def step(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SWEEP_S):
                await self._nudged.wait()
        await asyncio.sleep(EVERY_S)
        self._nudged.clear()
        rooms, self._rooms = self._rooms, set()
        try:
            await self.take_calls()
            if time.monotonic() - self._swept >= SWEEP_S:
                rooms.update(await self._db.run_bare(tallies.behind, SWEEP_ROOMS))
                await self._db.run(budgets.sweep)
                self._swept = time.monotonic()
            while rooms:
                chunk = list(rooms)[:ROOMS_AT_ONCE]
                await self.take_messages(chunk)
                rooms.difference_update(chunk)
        except BaseException:
            self._rooms |= rooms
            self._nudged.set()
            raise

    async def take_calls(self) -> None:
        """All calls of models that wait, so many a statement that it is short."""
        more = True
        while more:
            more = await self._db.run(tallies.take_calls, self._zone, CALLS) >= CALLS

    async def take_messages(self, room_ids: Sequence[str]) -> None:
        """All that waits in a few rooms."""
        more = True
        while more:
            more = await self._db.run(tallies.take_messages, room_ids, self._zone)
