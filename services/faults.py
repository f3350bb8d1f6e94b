"""Faults of the program, kept for administrators with the number that the person was given.

Where it happened and its type; never its text, which may hold what people wrote.
"""

import contextlib
import traceback
from pathlib import Path

from models import errors
from models.database import Database, DatabaseUnavailable
from services.limits import Window
from services.tasks import Tasks

PER_MINUTE = 30
ROOT = Path(__file__).parent.parent


class Faults:
    def __init__(self, db: Database, tasks: Tasks) -> None:
        self._db = db
        self._tasks = tasks
        self._window = Window(PER_MINUTE, 60)

    def note(self, where: str, error: BaseException, reference: str) -> None:
        """Never waits, never raises. Beyond so many a minute they are counted only."""
        if self._window.wait_s("") == 0:
            self._window.take("")
            self._tasks.spawn(self._write(f"{where}: {described(error)}", reference), "note a fault")

    async def _write(self, detail: str, reference: str) -> None:
        with contextlib.suppress(DatabaseUnavailable):
            await self._db.run(errors.note, "internal", detail, reference)


def described(error: BaseException) -> str:
    """`KeyError in services/rooms.py:12 snapshot`: the innermost place that is ours."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT) and ".venv" not in frame.filename]
    if not ours:
        return type(error).__name__
    last = ours[-1]
    return f"{type(error).__name__} in {Path(last.filename).relative_to(ROOT)}:{last.lineno} {last.name}"
