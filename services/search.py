"""Search over what one may read: the index of words, what was said since it was kept, and what was edited behind its back.

Everything is read in one snapshot that begins with the asker's rooms: whoever was removed finds nothing from the next
query on, and a message is found as soon as its send was acknowledged.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo
from typing import Any, Concatenate, Literal, NamedTuple, ParamSpec, TypeVar

from models import embeddings, search
from models.base import like
from models.database import Database, Sql
from models.messages import MessageRow
from models.search import Found, Room, Where
from services import ranking, terms
from services.accounts import Identity
from services.messages import check_member, view
from services.realtime.events import Message
from services.vectors import Query, Vectors

# The index is asked for the rarest terms first, until about so many messages have one of them; the best so many are
# kept for further pages; as many are read at once.
CANDIDATES = 4_000
PAGES_MOST = KEPT = 400
READ = 50
# Beyond so many rooms the index is asked for words only, and the rooms are told apart afterwards.
ROOMS_MOST = 200
# Rooms of so many messages are looked at whole.
SMALL = 8_000
NOT_INDEXED_MOST = 500
# Long texts and long queries together could hold a thread for minutes: what is known by then is the answer.
SCORING_MOST_S, RANKING_MOST_S = 2.0, 5.0
LITERAL_AMONG = 20_000
TERMS_ASKED = 64
# What has none of the words as they were typed is a hit only with this share of the best one's score and, by words
# alone, of all that was asked for.
WEAK, WEAK_MEANING = 0.35, 0.15
LEAST = 0.2


# So many of the nearest are looked at.
NEAR = 200

P = ParamSpec("P")
T = TypeVar("T")
Mode = Literal["hybrid", "text", "semantic"]


class Hit(NamedTuple):
    message: Message
    score: float
    ranges: list[tuple[int, int]]


Place = tuple[str, int]  # room, seq


class Ranked(NamedTuple):
    """typed: the share of what was asked for that the text has just as it was typed."""

    row: MessageRow
    score: float
    typed: float


class Search:
    def __init__(self, db: Database, vectors: Vectors, zone: tzinfo = UTC, threads: int = 8) -> None:
        self._db = db
        self._vectors = vectors
        self._zone = zone
        # Of the database's threads, which all else needs too, half.
        self._turns = asyncio.Semaphore(max(1, threads // 2))

    async def find(
        self, who: Identity, query: str, where: Where, mode: Mode, offset: int, limit: int
    ) -> tuple[list[Hit], int | None]:
        """(hits, best first; the offset of the next page). Raises NotFound for a room that one may not read.

        Where no model of meaning serves, or it does not answer, every mode goes by the words.
        """
        meaning = await self._vectors.query(query) if mode != "text" else None

        # All in the thread: taking a long query apart, and marking it in long texts, would hold up the loop.
        def read(sql: Sql) -> tuple[list[Hit], bool]:
            asked = terms.query(query)
            if where.room_id is not None:
                check_member(sql, where.room_id, who.user_id)
            rooms = search.scope(sql, who.user_id, where.room_id)
            found = self.rank(sql, rooms, where, asked, query, offset, limit + 1, meaning, alone=mode == "semantic")
            hits = [
                Hit(view(one.row), round(min(1.0, one.score), 4), terms.spans(asked, one.row.content))
                for one in found[:limit]
            ]
            return hits, len(found) > limit

        hits, more = await self.snapshot(read)
        return hits, offset + limit if more and offset + limit < PAGES_MOST else None

    async def snapshot(self, fn: Callable[Concatenate[Sql, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`Database.run_snapshot` for what ranks: so many at a time, also of those that nobody waits for any more."""
        await self._turns.acquire()
        work = asyncio.ensure_future(self._db.run_snapshot(fn, *args, **kwargs))
        work.add_done_callback(self._ended)
        return await asyncio.shield(work)

    def _ended(self, work: asyncio.Future[Any]) -> None:
        self._turns.release()
        if not work.cancelled():
            work.exception()  # whoever still waits has it too

    def rank(
        self, sql: Sql, rooms: Sequence[Room], where: Where, asked: terms.Query, query: str, offset: int, limit: int,
        meaning: Query | None = None, *, alone: bool = False, at_once: int = READ,
    ) -> list[Ranked]:  # fmt: skip
        """alone: by meaning only, where it is given. at_once: so many of the best are read and compared by their texts."""
        if not rooms:
            return []
        if not asked.terms and meaning is None:
            return self._literal(sql, rooms, where, query)[offset : offset + limit]
        started = time.monotonic()
        wanted = self._weigh(sql, asked)
        rows: dict[Place, MessageRow] = {}
        known: dict[Place, float] = {}
        if not (alone and meaning):
            whole = sum(wanted.weights.values()) or 1.0
            stale = search.stale(sql, rooms)
            known = {(one.room_id, one.seq): one.score / whole for one in self._candidates(sql, rooms, where, wanted)}
            known = {place: score for place, score in known.items() if place not in stale}
            rows = {(row.room_id, row.seq): row for row in self._not_indexed(sql, rooms, where, wanted)}
            ends = time.monotonic() + SCORING_MOST_S
            for place, row in rows.items():
                known[place] = self._score(row, wanted)
                if time.monotonic() > ends:
                    break
        if meaning is not None:
            known = self._fuse(sql, rooms, where, known, meaning, 1.0 if alone else meaning.weight)
        ordered = sorted(known.items(), key=lambda one: (-one[1], -one[0][1]))
        ranked: list[Ranked] = []
        for start in range(0, min(len(ordered), PAGES_MOST), at_once):
            batch = self._reread(sql, ordered[start : start + at_once], rows, where, wanted)
            ranked += batch
            if len(ranked) >= offset + limit or time.monotonic() > started + RANKING_MOST_S:
                break
        if ranked and not alone:
            best = ranked[0].score
            least = max(LEAST, WEAK * best) if meaning is None else WEAK_MEANING * best
            ranked = [one for one in ranked if one.typed or one.score >= least]
        return ranked[offset : offset + limit]

    @staticmethod
    def _fuse(
        sql: Sql, rooms: Sequence[Room], where: Where, known: dict[Place, float], meaning: Query, share: float
    ) -> dict[Place, float]:
        """Both scores between 0 and 1, the best of each being 1, weighted: not by rank, so that a model which has no
        idea of a query, and so finds everything as near, changes little."""
        near = {
            (f.room_id, f.seq): f.score
            for f in embeddings.nearest(sql, meaning.model, rooms, where, meaning.vector, NEAR)
        }
        if not near:
            return known
        low, high = min(near.values()), max(near.values())
        low -= (high - low) / 10 + 0.01  # the last of them is still one of the nearest
        unknown = [place for place in sorted(known, key=lambda place: -known[place])[:NEAR] if place not in near]
        near.update(
            ((f.room_id, f.seq), f.score) for f in embeddings.similar(sql, meaning.model, unknown, meaning.vector)
        )
        best = max(known.values(), default=0.0) or 1.0
        means = {place: max(0.0, (score - low) / ((high - low) or 1.0)) for place, score in near.items()}
        if not where.user_id:
            means = ranking.with_beside(means)
        return {
            place: (1 - share) * known.get(place, 0.0) / best + share * means.get(place, 0.0)
            for place in known.keys() | means.keys()
        }

    def _weigh(self, sql: Sql, asked: terms.Query) -> ranking.Wanted:
        totals, having = search.frequencies(sql, ranking.numbers(asked))
        instead = {}
        for word in ranking.unknown_words(asked, having)[:8]:
            shorter = terms.deletions(word, 2 if len(word) > 4 else 1)
            instead[word] = ranking.mended(word, search.alike(sql, map(terms.number, shorter)))
        return ranking.weigh(asked, totals, having, instead)

    def _candidates(self, sql: Sql, rooms: Sequence[Room], where: Where, wanted: ranking.Wanted) -> list[Found]:
        messages = sum(room.messages for room in rooms)
        any_of: list[int] = []
        if messages > SMALL:
            totals = max(messages, wanted.messages)
            expected = 0.0
            for term, count in wanted.rarest:
                any_of.append(term)
                expected += count * messages / totals
                if expected >= CANDIDATES or len(any_of) >= TERMS_ASKED:
                    break
            if not any_of:
                return []
        keys = [ranking.room_key(room.id) for room in rooms] if len(rooms) <= ROOMS_MOST else []
        author = ranking.author_key(where.user_id) if where.user_id else None
        beside = {} if where.user_id or wanted.asked.phrases else ranking.BESIDE
        phrases = [f"%{like(phrase.lower())}%" for phrase in wanted.asked.phrases]
        return search.best(sql, rooms, keys, where, author, any_of, wanted.weights, phrases, beside, KEPT)

    def _not_indexed(self, sql: Sql, rooms: Sequence[Room], where: Where, wanted: ranking.Wanted) -> list[MessageRow]:
        pattern = "|".join(terms.probes(wanted.asked))
        days = [_day_pattern(term[2:]) for term in wanted.asked.terms if term.startswith("t:")]
        found = search.not_indexed(sql, rooms, where, pattern, days, str(self._zone), NOT_INDEXED_MOST)
        return [row for row in found if self._has_phrases(row, wanted)]

    def _score(self, row: MessageRow, wanted: ranking.Wanted) -> float:
        """As a share of all that was asked for."""
        own = ranking.score(wanted.weights, ranking.entry(row, search.Totals(0, 0), self._zone).weights)
        return own / (sum(wanted.weights.values()) or 1.0)

    def _reread(
        self, sql: Sql, found: Sequence[tuple[Place, float]], rows: dict[Place, MessageRow], where: Where,
        wanted: ranking.Wanted,
    ) -> list[Ranked]:  # fmt: skip
        """The messages as they are now, those that have what was typed a little before the others."""
        rows = {**rows, **search.read(sql, [place for place, _ in found if place not in rows])}
        ranked = []
        for place, score in found:
            row = rows.get(place)
            if row is None or score <= 0 or not _fits(row, where) or not self._has_phrases(row, wanted):
                continue
            typed = ranking.as_typed(wanted, row)
            ranked.append(Ranked(row, score * (1 + ranking.AS_TYPED * typed), typed))
        return sorted(ranked, key=lambda one: -one.score)

    @staticmethod
    def _has_phrases(row: MessageRow, wanted: ranking.Wanted) -> bool:
        if not wanted.asked.phrases:
            return True
        text = row.content.lower()
        return all(phrase.lower() in text for phrase in wanted.asked.phrases)

    @staticmethod
    def _literal(sql: Sql, rooms: Sequence[Room], where: Where, query: str) -> list[Ranked]:
        """For what has no words, as `=>` or `%`: the latest messages that hold it as it is."""
        texts = [f"%{like(word)}%" for word in query.split()[:16]]
        found = search.containing(sql, rooms, where, texts, LITERAL_AMONG) if texts else []
        return [Ranked(row, 1.0, 1.0) for row in found]


def _day_pattern(day: str) -> str:
    """Of `2026-09-01`, `2026-09`, `09-01` or `09`, for a whole date."""
    return "^" + day if len(day) > 5 else f"-{day}$" if len(day) == 5 else f"-{day}-"


def _fits(row: MessageRow, where: Where) -> bool:
    return (
        (where.user_id is None or row.user_id == where.user_id)
        and (where.since is None or row.created_at >= where.since)
        and (where.until is None or row.created_at < where.until)
    )
