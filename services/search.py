"""Search over what one may read: every term, as text. Meaning is not asked yet, so all modes answer alike."""

import re
from datetime import datetime
from typing import NamedTuple

from models import search
from models.database import Database, Sql
from models.messages import MessageRow
from models.search import Where
from services.accounts import Identity
from services.messages import check_member, view
from services.realtime.events import Message

TERM = re.compile(r'"([^"]+)"|(\S+)')
TERMS_MOST = 16


class Hit(NamedTuple):
    message: Message
    score: float
    ranges: list[tuple[int, int]]


class Search:
    def __init__(self, db: Database) -> None:
        self._db = db

    async def find(
        self, who: Identity, query: str, where: Where, before: tuple[datetime, str] | None, limit: int
    ) -> tuple[list[Hit], tuple[datetime, str] | None]:
        """(hits, newest first; where the next page begins). Raises NotFound for a room that one may not read."""
        terms = terms_of(query)

        def read(sql: Sql) -> list[MessageRow]:
            if where.room_id is not None:
                check_member(sql, where.room_id, who.user_id)
            return search.find(sql, who.user_id, terms, where, before, limit + 1) if terms else []

        rows = await self._db.run_snapshot(read)
        more = (rows[limit - 1].created_at, rows[limit - 1].id) if len(rows) > limit else None
        return [hit(row, terms) for row in rows[:limit]], more


def terms_of(query: str) -> list[str]:
    """Words, and what stands in quotes as one; lower-case, each once."""
    found = [(phrase or word).strip().lower() for phrase, word in TERM.findall(query)]
    return list(dict.fromkeys(term for term in found if term))[:TERMS_MOST]


def hit(row: MessageRow, terms: list[str]) -> Hit:
    """ranges: code points, in order, without overlap. score: the share of the text that was asked for."""
    spans = sorted(match.span() for term in terms for match in re.finditer(re.escape(term), row.content, re.IGNORECASE))
    ranges: list[tuple[int, int]] = []
    for start, end in spans:
        if ranges and start <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(end, ranges[-1][1]))
        else:
            ranges.append((start, end))
    covered = sum(end - start for start, end in ranges)
    return Hit(view(row), round(covered / max(1, len(row.content)), 4), ranges)
