"""Rows for the hub: what changed in a room since a number, and where the heads stand."""

from models import generations, messages
from models.database import Database, Sql
from services.messages import view
from services.realtime.events import Message, RunningAnswer


class Rows:
    def __init__(self, db: Database) -> None:
        self._db = db

    async def changes(self, room_id: str, after: int) -> tuple[list[Message], int, bool]:
        rows, head, more = await self._db.run_snapshot(messages.changes, room_id, after, 500)
        return [view(row) for row in rows], head, more

    async def running(self, room_id: str) -> list[RunningAnswer]:
        """Answers that run in the room, with their text as far as rows have it."""
        return await self._db.run_snapshot(running_answers, room_id)

    async def heads(self, room_ids: list[str]) -> dict[str, int]:
        return await self._db.run_bare(messages.heads, room_ids)


def running_answers(sql: Sql, room_id: str) -> list[RunningAnswer]:
    return [
        RunningAnswer(message_id, attempt, *generations.running_text(sql, message_id, attempt))
        for message_id, attempt in generations.running(sql, room_id)
    ]
