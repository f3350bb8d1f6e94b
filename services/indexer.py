"""Keeps the index of words behind the rooms' changes: in batches, after the acknowledgement, and when there is time.

Knows which rooms changed and how far each is indexed (a cursor in its log of changes); a search looks at the rest
itself, so being late costs a little there and loses nothing.
"""

import asyncio
import contextlib
import logging
import time
from datetime import tzinfo

from models import search
from models.database import Database, DatabaseUnavailable
from models.messages import MessageRow
from models.search import Totals
from services import ranking

log = logging.getLogger("maru.indexer")

BATCH = 200
# All rooms are looked through so often, for what other pods or earlier lives of this one have left.
SWEEP_S = 30.0
SWEEP_ROOMS = 1_000
# While more messages than these a second are sent, the index waits, but not for longer, and not for more of them.
BUSY_SENDS = 50
LOOK_S = 1.0
WAIT_MOST_S = 45.0
WAITING_MOST = 20_000


class Indexer:
    def __init__(self, db: Database, zone: tzinfo) -> None:
        self._db = db
        self._zone = zone
        self._rooms: dict[str, None] = {}
        self._nudged = asyncio.Event()
        self._waiting = 0  # messages, about
        self._since = 0.0
        self._swept = -SWEEP_S
        self.indexed = 0

    def changed(self, room_id: str) -> None:
        """Something in this room was committed here."""
        self._waiting += 1
        self._rooms[room_id] = None
        if not self._nudged.is_set():
            self._since = time.monotonic()
            self._nudged.set()

    async def step(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SWEEP_S):
                await self._nudged.wait()
        await self._lull()
        self._nudged.clear()
        rooms, self._rooms, self._waiting = list(self._rooms), {}, 0
        if time.monotonic() - self._swept >= SWEEP_S:
            self._swept = time.monotonic()
            rooms += await self._db.run_bare(search.behind, SWEEP_ROOMS)
        waiting = list(dict.fromkeys(rooms))
        while waiting:
            try:
                await self.index(waiting[-1])
            except DatabaseUnavailable:
                # Perhaps only this one is too much for it: next time the others come before it.
                self._rooms = dict.fromkeys([waiting.pop(), *waiting, *self._rooms])
                self._nudged.set()
                raise
            except Exception:
                log.exception("a room can't be indexed")  # the others can
            waiting.pop()

    async def _lull(self) -> None:
        """Until fewer messages come, or enough have."""
        while self._nudged.is_set() and self._waiting < WAITING_MOST and time.monotonic() - self._since < WAIT_MOST_S:
            before = self._waiting
            await asyncio.sleep(LOOK_S)
            if self._waiting - before <= BUSY_SENDS * LOOK_S:
                return

    async def index(self, room_id: str) -> None:
        """All that waits in a room."""
        more = True
        while more:
            began = time.monotonic()
            done, more = await self._db.run(search.index, room_id, BATCH, self._entry)
            self.indexed += done
            if more:  # as long for others as for this
                await asyncio.sleep(time.monotonic() - began)

    def _entry(self, row: MessageRow, totals: Totals) -> search.Entry:
        try:
            return ranking.entry(row, totals, self._zone)
        except Exception:
            # One text must not keep its room out of the index.
            log.exception("a message can't be indexed", extra={"message_id": row.id})
            return ranking.entry(row._replace(content="", user_name=""), totals, self._zone)
