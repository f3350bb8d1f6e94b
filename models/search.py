"""The index of words: rows of terms and weights, how common each term is, and what is not in it yet.

Knows rows and numbers; knows no words (`services.terms` does). Permission is part of each query: everything begins with
`scope`, the rooms that the asker may read, in the same snapshot.
"""

from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple

from models.database import Sql
from models.messages import COLUMNS, FROM, MessageRow

DIMENSIONS = 1_000_000_000
LOOKED_AT_MOST = 20_000
# Of texts that are indexed at once: what 200 of the longest have is more than a statement may take.
CHARS_MOST = 200_000
# Of a message `m`: it says something, and has ended.
FINDABLE = "not m.deleted and m.content <> '' and m.status in ('complete', 'stopped', 'failed')"


class Where(NamedTuple):
    room_id: str | None = None
    user_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Room(NamedTuple):
    """head: its last change; done: the last one that is in the index. messages: about how many."""

    id: str
    head: int
    done: int
    messages: int


class Found(NamedTuple):
    """A message by its place, with its score."""

    room_id: str
    seq: int
    score: float


class Totals(NamedTuple):
    messages: int
    length: int


# -- asking


def scope(sql: Sql, asker_id: str, room_id: str | None) -> list[Room]:
    """The rooms that somebody may read; of these only `room_id`, if given."""
    return _rooms(
        sql, "x.user_id = %s" + (" and x.room_id = %s" if room_id else ""), asker_id, *filter(None, [room_id])
    )


def shared(sql: Sql, room_id: str) -> list[Room]:
    """The rooms that every reader of this one may read, itself among them; only those whose bot remembers."""
    return _rooms(
        sql,
        "x.user_id = (select user_id from members where room_id = %s order by joined_at, user_id limit 1)"
        " and (x.room_id = %s or coalesce((select (r.bot ->> 'retrieval')::boolean from rooms r where r.id = x.room_id), true)"
        " and not exists (select from members a where a.room_id = %s and not exists ("
        "  select from members b where b.room_id = x.room_id and b.user_id = a.user_id)))",
        room_id,
        room_id,
        room_id,
    )


def _rooms(sql: Sql, condition: str, *params: Any) -> list[Room]:
    found = sql.rows(
        "select x.room_id, h.head, coalesce(s.done, 0), h.last_seq from members x join room_heads h using (room_id)"
        " left join search_rooms s using (room_id) where " + condition,
        *params,
    )
    return [Room(*row) for row in found]


def frequencies(sql: Sql, numbers: Sequence[int]) -> tuple[Totals, dict[int, int]]:
    """How many messages there are, and how many of them have each term."""
    found = sql.rows(
        "select null::int, messages, length from search_totals"
        " union all select term, messages, 0 from search_terms where term = any(%s)",
        list(numbers),
    )
    totals = next(Totals(row[1], row[2]) for row in found if row[0] is None)
    return totals, {row[0]: row[1] for row in found if row[0] is not None}


def alike(sql: Sql, deletions: Iterable[int]) -> list[tuple[str, int]]:
    """(word, in how many messages) of the words that share a deletion."""
    found = sql.rows(
        "select word, messages from search_terms where deletions && %s and messages > 0 order by messages desc limit 200",
        list(deletions),
    )
    return [(row[0], row[1]) for row in found]


def best(
    sql: Sql,
    rooms: Sequence[Room],
    keys: Sequence[int],
    where: Where,
    author: int | None,
    any_of: Sequence[int],
    weights: dict[int, float],
    phrases: Sequence[str],
    beside: Mapping[int, float],
    limit: int,
) -> list[Found]:
    """The messages that have one of these terms, by the inner product of their weights with these, best first.

    keys: the terms of the rooms, in their order; none: the rooms are told apart afterwards. author: the term of
    `where.user_id`. any_of empty: all of the rooms. phrases: LIKE patterns of what the text must hold as it is.
    beside: by steps from a message, the share of the score there that it is given, less the better its own is.
    """
    conditions = ["s.room_id = any(%s::uuid[])"]
    params: list[Any] = [[room.id for room in rooms]]
    for numbers in (keys, any_of):
        if numbers:
            conditions.append("s.terms && %s::int[]")
            params.append(list(numbers))
    if author is not None:
        conditions.append("s.terms @> %s::int[]")
        params.append([author])
    narrowed, values = narrowing(where, "s")
    conditions += narrowed
    params += values
    table = "search_messages s"
    if phrases:
        table += " join messages m on m.room_id = s.room_id and m.seq = s.seq"
        for phrase in phrases:
            conditions.append("lower(m.content) like %s")
            params.append(phrase)
    shares = [
        f"{share} * coalesce(sum(score) over (w range between {abs(step)} {side} and {abs(step)} {side}), 0)"
        for step, share in beside.items()
        for side in ("preceding" if step < 0 else "following",)
    ]
    gain = f"(1 - score / max(score) over ()) * ({' + '.join(shares)})" if shares else "0"
    # Postgres thinks little of the work of comparing arrays and would read a table of tens of thousands whole.
    if any_of:
        sql.run("set local enable_seqscan = off")
    found = sql.rows(
        "select room_id::text, seq, score + gain from ("
        f" select room_id, seq, score, {gain} as gain from ("
        f"  select s.room_id, s.seq, -(s.weights <#> %s::sparsevec) as score from {table} where "
        + " and ".join(conditions)
        + "  offset 0) own where score > 0 window w as (partition by room_id order by seq)) total"
        " order by score + gain desc, seq desc limit %s",
        sparse(weights),
        *params,
        limit,
    )
    return [Found(*row) for row in found]


def not_indexed(
    sql: Sql, rooms: Sequence[Room], where: Where, pattern: str, days: Sequence[str], zone: str, limit: int
) -> list[MessageRow]:
    """What was written since the rooms were indexed and has something of this pattern, newest first.

    pattern: a regular expression for the text or the author's name; empty for all. days: others for `YYYY-MM-DD` in
    this zone. Of a room that is far behind only the latest changes are looked at.
    """
    behind = [room for room in rooms if room.head > room.done]
    if not behind:
        return []
    conditions, params = narrowing(where, "m")
    if pattern or days:
        conditions.append(
            "(m.content ~* %s or coalesce(u.name, m.bot_name) ~* %s or to_char(m.created_at at time zone %s, 'YYYY-MM-DD') ~ any(%s))"
        )
        params += [pattern or "$a", pattern or "$a", zone, list(days)]
    found = sql.rows(
        f"select {COLUMNS} from unnest(%s::uuid[], %s::bigint[]) v(room_id, done)"
        " join messages m on m.room_id = v.room_id and m.changed_seq > v.done left join users u on u.id = m.user_id"
        f" where {FINDABLE} and " + " and ".join(conditions) + " order by m.created_at desc limit %s",
        *_behind(behind),
        *params,
        limit,
    )
    return [MessageRow(*row) for row in found]


def containing(sql: Sql, rooms: Sequence[Room], where: Where, texts: Sequence[str], among: int) -> list[MessageRow]:
    """Messages that hold all of these texts as they are, newest first; of `among` ones, the latest of each room."""
    conditions, params = narrowing(where, "m")
    shares = _shares(rooms, among)
    found = sql.rows(
        f"select {COLUMNS} from unnest(%s::uuid[], %s::int[]) v(room_id, most) cross join lateral"
        " (select * from messages x where x.room_id = v.room_id order by x.seq desc limit v.most) m"
        " left join users u on u.id = m.user_id where m.content like all(%s) and " + " and ".join([FINDABLE, *conditions])
        + " order by m.created_at desc limit 1000",
        list(shares),
        list(shares.values()),
        list(texts),
        *params,
    )  # fmt: skip
    return [MessageRow(*row) for row in found]


def _shares(rooms: Sequence[Room], among: int) -> dict[str, int]:
    """So many of each room's messages: small rooms have all looked at, large ones equal parts of what is left."""
    shares: dict[str, int] = {}
    for n, room in enumerate(sorted(rooms, key=lambda room: room.messages)):
        shares[room.id] = min(room.messages, among // (len(rooms) - n))
        among -= shares[room.id]
    return shares


def stale(sql: Sql, rooms: Sequence[Room]) -> set[tuple[str, int]]:
    """Places, (room, seq), whose entries are of a text that was changed since."""
    behind = [room for room in rooms if room.head > room.done]
    if not behind:
        return set()
    found = sql.rows(
        "select s.room_id::text, s.seq from unnest(%s::uuid[], %s::bigint[]) v(room_id, done)"
        " join messages m on m.room_id = v.room_id and m.changed_seq > v.done"
        " join search_messages s on s.room_id = m.room_id and s.seq = m.seq",
        *_behind(behind),
    )
    return {(row[0], row[1]) for row in found}


def _behind(rooms: Sequence[Room]) -> tuple[list[str], list[int]]:
    """(their ids, the change from which on each is looked at row by row)"""
    return [room.id for room in rooms], [max(room.done, room.head - LOOKED_AT_MOST) for room in rooms]


def narrowing(where: Where, table: str) -> tuple[list[str], list[Any]]:
    """Conditions on author and time, and their values; the rooms are the scope's."""
    conditions: list[str] = []
    params: list[Any] = []
    for condition, value in (
        ("user_id = %s", where.user_id),
        ("created_at >= %s", where.since),
        ("created_at < %s", where.until),
    ):
        if value is not None:
            conditions.append(f"{table}.{condition}")
            params.append(value)
    return conditions, params


def read(sql: Sql, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], MessageRow]:
    """The messages at these places, (room, seq), as they are now; not those that can't be found any more."""
    found = sql.rows(
        f"select {COLUMNS} from unnest(%s::uuid[], %s::bigint[]) v(room_id, seq)"
        " join messages m on m.room_id = v.room_id and m.seq = v.seq left join users u on u.id = m.user_id"
        f" where {FINDABLE}",
        [place[0] for place in places],
        [place[1] for place in places],
    )
    return {(row.room_id, row.seq): row for row in (MessageRow(*row) for row in found)}


# -- indexing

# Of a head `h` and a cursor `s`: there is a change beyond it. Removed messages leave a head that no cursor reaches.
AHEAD = (
    "h.head > coalesce(s.done, 0)"
    " and exists (select from messages m where m.room_id = h.room_id and m.changed_seq > coalesce(s.done, 0))"
)


class Entry(NamedTuple):
    """A message as the index keeps it. terms: those of its room and author too. words: Latin word -> its deletions."""

    terms: list[int]
    weights: dict[int, float]
    length: int
    words: dict[int, tuple[str, list[int]]]


def behind(sql: Sql, limit: int) -> list[str]:
    """Rooms with changes that are not in the index, or with entries that are to be made again."""
    found = sql.rows(
        "select h.room_id from room_heads h left join search_rooms s using (room_id)"
        f" where {AHEAD} or s.redone is not null limit %s",
        limit,
    )
    return [row[0] for row in found]


def waiting_count(sql: Sql) -> int:
    """About how many changes are not in the index."""
    row = sql.row(
        f"select (coalesce(sum(h.head - coalesce(s.done, 0)) filter (where {AHEAD}), 0)"
        " + coalesce(sum(s.done - s.redone), 0))::bigint from room_heads h left join search_rooms s using (room_id)"
    )
    return int(row[0]) if row else 0


def forget_all(sql: Sql) -> None:
    """Make every entry again; what the index holds stays in use until it is replaced, row by row."""
    sql.run("update search_rooms set redone = 0")


def forget_author(sql: Sql, user_id: str) -> None:
    """Somebody's name is no word any more: make the entries of his rooms again."""
    sql.run(
        "update search_rooms set redone = 0 where room_id in (select distinct room_id from messages where user_id = %s)",
        user_id,
    )


def index(sql: Sql, room_id: str, limit: int, entry_of: Callable[[MessageRow, Totals], Entry]) -> tuple[int, bool]:
    """Take the next changes of a room into the index, in one transaction: (how many, whether there are more).

    limit: at most so many, and as many as have `CHARS_MOST` together, or one. (0, False) when another pod is at it, or
    there is nothing.
    """
    sql.run("insert into search_rooms (room_id) select id from rooms where id = %s on conflict do nothing", room_id)
    row = sql.row("select done, redone from search_rooms where room_id = %s for update skip locked", room_id)
    if row is None:
        return 0, False
    done, redone = row
    found = sql.rows(
        f"select {COLUMNS} {FROM} where m.room_id = %s and m.changed_seq > %s and (%s or m.changed_seq <= %s)"
        " order by m.changed_seq limit %s",
        room_id,
        done if redone is None else redone,
        redone is None,
        done,
        limit,
    )
    rows = [MessageRow(*row) for row in found]
    rows = rows[: max(1, bisect(list(accumulate(len(row.content) for row in rows)), CHARS_MOST))]
    more = len(found) == limit or len(rows) < len(found)
    if redone is not None and not more:
        sql.run("update search_rooms set redone = null where room_id = %s", room_id)
    if not rows:
        return 0, redone is not None
    totals = frequencies(sql, [])[0]
    entries = [(row, entry_of(row, totals)) for row in rows if worth_finding(row)]
    counts: Counter[int] = Counter()
    gone = forget(sql, room_id, [row.seq for row in rows])
    counts.subtract(gone.counts)
    words: dict[int, tuple[str, list[int]]] = {}
    for _, entry in entries:
        counts.update(entry.weights.keys())
        words.update(entry.words)
    if entries:
        sql.run(
            "insert into search_messages (room_id, seq, user_id, created_at, terms, weights)"
            " select %s, v.a, v.b, v.c, v.d::int[], v.e::sparsevec"
            " from unnest(%s::bigint[], %s::uuid[], %s::timestamptz[], %s::text[], %s::text[]) v(a, b, c, d, e)",
            room_id,
            [row.seq for row, _ in entries],
            [row.user_id for row, _ in entries],
            [row.created_at for row, _ in entries],
            ["{" + ",".join(map(str, entry.terms)) + "}" for _, entry in entries],
            [sparse(entry.weights) for _, entry in entries],
        )
    count(sql, counts, words)
    add = sum(entry.length for _, entry in entries)
    if gone.messages:
        _add(sql, -gone.messages, None)
    _add(sql, len(entries), add)
    if redone is None:
        sql.run("update search_rooms set done = %s where room_id = %s", rows[-1].changed_seq, room_id)
    elif more:
        sql.run("update search_rooms set redone = %s where room_id = %s", rows[-1].changed_seq, room_id)
    return len(rows), redone is not None or more


def worth_finding(row: MessageRow) -> bool:
    return not row.deleted and bool(row.content) and row.status not in ("queued", "streaming")


def count(sql: Sql, counts: dict[int, int], words: dict[int, tuple[str, list[int]]]) -> None:
    """Keep how common terms are. All in one pass in their order, so that two pods can't deadlock."""
    changed = sorted((term, by) for term, by in counts.items() if by)
    if not changed:
        return
    terms = [term for term, _ in changed]
    spelled = [words.get(term) for term in terms]
    sql.run(
        "insert into search_terms (term, messages, word, deletions)"
        " select v.term, v.by, v.word, v.deletions::int[] from unnest(%s::int[], %s::int[], %s::text[], %s::text[])"
        " v(term, by, word, deletions) where v.by > 0 or exists (select from search_terms t where t.term = v.term)"
        " order by v.term"
        " on conflict (term) do update set messages = greatest(0, search_terms.messages + excluded.messages)",
        terms,
        [by for _, by in changed],
        [word[0] if word else None for word in spelled],
        ["{" + ",".join(map(str, word[1])) + "}" if word else None for word in spelled],
    )
    # A word that nobody says any more is not kept.
    fewer = [term for term, by in changed if by < 0]
    if fewer:
        sql.run("delete from search_terms where term = any(%s) and messages <= 0", fewer)


class Gone(NamedTuple):
    """What left the index: how many messages, how many of them had each word."""

    messages: int
    counts: Counter[int]


def forget(sql: Sql, room_id: str, seqs: Sequence[int]) -> Gone:
    """Take messages out of the index. The caller sees to it that they are counted out (`uncount`)."""
    gone = sql.rows(
        "delete from search_messages where room_id = %s and seq = any(%s::bigint[]) returning weights::text",
        room_id,
        list(seqs),
    )
    had = Counter(int(pair.split(":")[0]) for row in gone for pair in row[0][1 : row[0].index("}")].split(",") if pair)
    return Gone(len(gone), had)


def no_counts() -> Counter[int]:
    return Counter()


def uncount(sql: Sql, gone: Gone) -> None:
    counts: Counter[int] = Counter()
    counts.subtract(gone.counts)
    count(sql, counts, {})
    _add(sql, -gone.messages, None)


def _add(sql: Sql, messages: int, length: int | None) -> None:
    """length None: that of as many average ones."""
    sql.run(
        "update search_totals set messages = greatest(0, messages + %s),"
        " length = greatest(0, length + coalesce(%s, length * %s / greatest(messages, 1)))",
        messages,
        length,
        messages,
    )


def sparse(weights: dict[int, float]) -> str:
    """pgvector's text for it."""
    return (
        "{"
        + ",".join([f"{term}:{weight:.4g}" for term, weight in sorted(weights.items()) if weight])
        + f"}}/{DIMENSIONS}"
    )
