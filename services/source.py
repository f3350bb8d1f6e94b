"""Rows for the hub: what changed in a room since a number, and where the heads stand."""

from models import messages
from models.database import Database
from services.messages import view
from services.realtime.events import Message


class Rows:
    def __init__(self, db: Database) -> None:
        self._db = db

    async def changes(self, room_id: str, after: int) -> tuple[list[Message], int, bool]:
        rows, head, more = await self._db.run_snapshot(messages.changes, room_id, after, 500)
        return [view(row) for row in rows], head, more

    async def heads(self, room_ids: list[str]) -> dict[str, int]:
        return await self._db.run_bare(messages.heads, room_ids)
