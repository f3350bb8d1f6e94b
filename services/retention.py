"""What is old goes, and what somebody who left wants gone. Knows when; `models.retention` knows how.

Every pod looks now and then; a room's head is held while something is removed, so two pods take turns and find nothing
left. What was removed is out of search, of the model's memory and of people's views at once.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from config.settings import Settings
from models import retention, rooms, search
from models.database import Database, DatabaseUnavailable
from models.messages import MessageRow
from services.messages import title

log = logging.getLogger("maru.retention")

EVERY_S = 600.0
FIRST_S = 30.0
BATCH = 500
KEEP_DAYS = 7
ROOMS = 200


@contextlib.contextmanager
def going_on(failed: str, **about: str) -> Iterator[None]:
    """One room's or account's failure is logged: the others, and what comes after them, have their turn."""
    try:
        yield
    except DatabaseUnavailable as error:
        log.warning(failed, extra={**about, "error": str(error)})
    except Exception:
        log.exception(failed, extra=about)


class Retention:
    def __init__(
        self,
        db: Database,
        settings: Settings,
        *,
        changed: Callable[[], None],
        publish: Callable[[MessageRow], None],
    ) -> None:
        """changed: the access log has grown. publish: a message is another now."""
        self._db = db
        self._settings = settings
        self._changed = changed
        self._publish = publish
        self._wait_s = FIRST_S
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """Somebody has changed how long messages are kept."""
        self._nudged.set()

    async def step(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s):
                await self._nudged.wait()
        self._nudged.clear()
        self._wait_s = EVERY_S
        for room_id in await self._db.run_bare(rooms.gone):
            with going_on("a room can't be emptied", room=room_id):
                await self.empty(room_id)
        for user_id in await self._db.run_bare(retention.erasing):
            with going_on("what somebody has said can't be removed", user=user_id):
                await self.erase(user_id)
        await self.purge()
        await self.prune()

    async def prune(self) -> None:
        """Forget what was kept for programs only: changes of access that every pod has applied, sessions that are over."""
        for table in retention.PASSING:
            more = True
            while more:
                more = await self._db.run(retention.prune, table, KEEP_DAYS, BATCH) == BATCH

    async def purge(self, told: Callable[[str, int], None] = lambda room_id, removed: None) -> int:
        """Remove what is past its time, everywhere. told: (room, how many more) as it goes on. Returns how many."""
        days, zone, total = self._settings.retention_days, self._settings.time_zone, 0
        while due := await self._db.run_bare(retention.due, days, ROOMS):
            before = total
            for room_id in due:
                more = True
                with going_on("old messages can't be removed", room=room_id):
                    while more:
                        cut = await self._db.run(retention.cut, room_id, days, zone, BATCH, title)
                        more = cut.more
                        total += cut.removed
                        if cut.removed:
                            await self._db.run(search.uncount, cut.gone)
                            told(room_id, cut.removed)
                            self._changed()
                            await asyncio.sleep(0)
            if total == before:
                break  # an answer that runs holds the rest, or a fault does
        if total:
            log.info("old messages removed", extra={"count": total})
        return total

    async def empty(self, room_id: str) -> None:
        """Remove what is left of a room that was deleted."""
        more = True
        while more:
            cut = await self._db.run(retention.empty, room_id, BATCH)
            more = cut.more
            await self._db.run(search.uncount, cut.gone)

    async def erase(self, user_id: str) -> int:
        """Delete all that somebody who left has said. Goes on where it was broken off. Returns how many."""
        total = 0
        for room_id in await self._db.run_bare(retention.rooms_written_in, user_id):
            more = True
            while more:
                done = await self._db.run(retention.erase, room_id, user_id, BATCH, title)
                more = done.more
                total += len(done.changed)
                for row in done.changed:
                    self._publish(row)
                await self._db.run(search.uncount, done.gone)
            self._changed()
        await self._db.run(retention.mark_erasing, user_id, False)
        return total
