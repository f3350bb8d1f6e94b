"""What a room's bot is given of the past: who is there, and passages that search finds for a question.

Knows rooms, rows and search; knows nothing of prompts' wording. A passage comes only from where every reader of the
question's room may read, since the answer is for all of them; that is asked in the search's own snapshot.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from config.settings import Settings
from models import rooms, search
from models.database import DatabaseUnavailable, Sql
from models.messages import MessageRow
from models.search import Where
from services import terms
from services.prompts import Line, Passage, People
from services.search import Ranked, Search
from services.vectors import Query, Vectors

log = logging.getLogger("maru.retrieval")

# An answer does not wait longer for its past.
MOST_S = 2.0
ASKED_MOST = 1_000
FOUND_MOST = 20
PASSAGES_MOST = 8
# Messages beside one that was found: what was asked before it, what was answered.
BESIDE = (-1, 0, 1)
# What has less than this share of the question's words, or of the best's score, says nothing about it.
SCORE_LEAST, SHARE_LEAST = 0.15, 0.4
ALONE_S = 10.0
ALONE_KEPT = 5_000


class Source(NamedTuple):
    """messages: all that its passage quotes."""

    message_id: str
    room_id: str
    messages: list[str]


class Found(NamedTuple):
    """sources: the message that each passage was found by."""

    passages: list[Passage]
    sources: list[Source]


NOTHING = Found([], [])


class Retrieval:
    def __init__(self, settings: Settings, searching: Search, vectors: Vectors) -> None:
        self._settings = settings
        self._search = searching
        self._vectors = vectors
        self._alone: OrderedDict[str, float] = OrderedDict()

    async def gather(
        self, question: MessageRow, history: Sequence[MessageRow], least: int, people: tuple[list[str], int] | None,
        remember: bool,
    ) -> tuple[People, Found]:  # fmt: skip
        """Who is there, and the best passages without what `history` (oldest first) has.

        least: how many messages history could have had; what has fewer is all of its room. people: as they were read on
        the way, if they were. Never raises: an answer without its past is still one.
        """
        history_is_all = len(history) < least
        alone = history_is_all and self._alone.get(question.room_id, 0.0) > time.monotonic()
        search_too = remember and not alone
        found = NOTHING
        try:
            if search_too or people is None:
                async with asyncio.timeout(MOST_S):
                    text = question.content[:ASKED_MOST]
                    meaning = await self._vectors.query(text) if search_too else None
                    people, found = await self._search.snapshot(
                        self._gather, question, history, text, meaning, people, search_too, history_is_all
                    )
        except (DatabaseUnavailable, TimeoutError) as error:
            log.warning("an answer goes without its past", extra={"error": str(error)[:200] or "timeout"})
        except Exception:
            log.exception("an answer goes without its past")
        names, members = people or ([], 0)
        return People(names, max(0, members - len(names))), found

    def _gather(
        self, sql: Sql, question: MessageRow, history: Sequence[MessageRow], text: str, meaning: Query | None,
        people: tuple[list[str], int] | None, search_too: bool, history_is_all: bool,
    ) -> tuple[tuple[list[str], int], Found]:  # fmt: skip
        if people is None:
            people = rooms.names(sql, question.room_id)
        return people, self._find(sql, question, history, text, meaning, history_is_all) if search_too else NOTHING

    def _find(
        self, sql: Sql, question: MessageRow, history: Sequence[MessageRow], text: str, meaning: Query | None,
        history_is_all: bool,
    ) -> Found:  # fmt: skip
        here = question.room_id
        scope = [
            room for room in search.shared(sql, here) if room.id == here or self._settings.retrieval_scope == "readers"
        ]
        if len(scope) <= 1 and history_is_all:
            self._is_alone(here)
            return NOTHING
        asked = terms.query(text.replace('"', " "))  # a question's quotes do not rule anything out
        if not asked.terms and meaning is None:
            return NOTHING
        ranked = self._search.rank(sql, scope, Where(), asked, text, 0, FOUND_MOST, meaning, at_once=FOUND_MOST)
        given = {(row.room_id, row.seq) for row in history}
        # What stands after the question was said to somebody else; the answer to it is being written.
        found = [
            one for one in ranked
            if one.row.status in ("complete", "stopped") and (one.row.room_id, one.row.seq) not in given
            and not (one.row.room_id == here and one.row.seq >= question.seq)
        ]  # fmt: skip
        found = [one for one in found if one.score >= max(SCORE_LEAST, SHARE_LEAST * found[0].score)]
        return self._together(sql, found, question, given, asked)

    def _is_alone(self, room_id: str) -> None:
        """For a moment it is not asked again whether a room has others beside it; what may be read is, each time."""
        self._alone[room_id] = time.monotonic() + ALONE_S
        while len(self._alone) > ALONE_KEPT:
            self._alone.popitem(last=False)

    @staticmethod
    def _together(
        sql: Sql, found: Sequence[Ranked], question: MessageRow, given: set[tuple[str, int]], asked: terms.Query
    ) -> Found:
        """Each with what stands beside it; what meets becomes one passage, at the place of the best."""
        found = found[: 2 * PASSAGES_MOST]
        wanted = [(one.row.room_id, one.row.seq + step) for one in found[:PASSAGES_MOST] for step in BESIDE]
        hits = {(one.row.room_id, one.row.seq) for one in found}
        rows: dict[str, dict[int, MessageRow]] = {}
        for one in found:
            rows.setdefault(one.row.room_id, {})[one.row.seq] = one.row
        for (room_id, seq), row in search.read(sql, list(set(wanted) - given - hits)).items():
            ended = row.status in ("complete", "stopped")
            if ended and not (room_id == question.room_id and seq >= question.seq):
                rows.setdefault(room_id, {})[seq] = row
        names = rooms.names_of(sql, [room_id for room_id in rows if room_id != question.room_id])
        passages: list[Passage] = []
        sources: list[Source] = []
        taken: set[tuple[str, int]] = set()
        for one in found:
            room_id, seq = one.row.room_id, one.row.seq
            if (room_id, seq) in taken or len(passages) == PASSAGES_MOST:
                continue
            first = last = seq
            there = rows[room_id]
            while first - 1 in there and (seq - first < 1 or (room_id, first) in hits or (room_id, first - 1) in hits):
                first -= 1
            while last + 1 in there and (last - seq < 1 or (room_id, last) in hits or (room_id, last + 1) in hits):
                last += 1
            lines, quoted = [], []
            for at in range(first, last + 1):
                if (room_id, at) not in taken:
                    taken.add((room_id, at))
                    row = there[at]
                    quoted.append(row.id)
                    spans = terms.spans(asked, row.content) if (room_id, at) in hits else []
                    lines.append(Line(row.user_name, row.created_at, row.content, spans[0][0] if spans else 0))
            passages.append(Passage(names.get(room_id, ""), lines))
            sources.append(Source(one.row.id, room_id, quoted))
        return Found(passages, sources)
