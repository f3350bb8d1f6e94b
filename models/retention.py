"""Taking away what is old, and what somebody has said. Knows rows that hold text; knows nothing of who decides.

Whatever holds a text goes with it in one transaction: the message, its earlier texts, what the model was given, its words
in the index, its vector. How common words are is counted down by the caller (`search.uncount`), under locks of its own.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from models import access, embeddings, rooms, search, tallies
from models.database import Sql
from models.messages import COLUMNS, FROM, MessageRow
from models.search import Gone

# Answers so near behind what was taken away may have been given it, where it was not written down what they were given.
CONTEXT_REACH = 400
# A room is named after its first exchange.
NAMED_BY, NAMED_BY_CHARS = 20, 4_000


class Cut(NamedTuple):
    """removed: how many messages. more: there are further ones to remove."""

    removed: int
    more: bool
    gone: Gone


def due(sql: Sql, default_days: int, limit: int) -> list[str]:
    """Rooms whose oldest message is past its time. default_days: for rooms that say nothing; 0: for ever."""
    found = sql.rows(
        "select r.id from rooms r join messages m on m.room_id = r.id and m.seq = r.first_seq"
        " where not r.gone and coalesce(r.retention_days, nullif(%s, 0)) is not null"
        " and m.created_at < now() - make_interval(days => coalesce(r.retention_days, nullif(%s, 0)))"
        " and m.status not in ('queued', 'streaming') limit %s",
        default_days,
        default_days,
        limit,
    )
    return [row[0] for row in found]


def cut(
    sql: Sql, room_id: str, default_days: int, zone: str, limit: int, title: Callable[[str], str] = lambda text: ""
) -> Cut:
    """Remove the oldest messages of a room as far as they are past their time and stand together.

    title: what a room is named after a message.
    """
    nothing = Cut(0, False, Gone(0, search.no_counts()))
    if rooms.lock(sql, room_id) is None:
        return nothing
    found = sql.rows(
        "select m.seq, m.id, m.created_at < now() - make_interval(days => coalesce(r.retention_days, nullif(%s, 0)))"
        " and m.status not in ('queued', 'streaming') from rooms r join messages m on m.room_id = r.id and m.seq >= r.first_seq"
        " where r.id = %s order by m.seq limit %s",
        default_days,
        room_id,
        limit,
    )
    past = list(itertools.takewhile(lambda row: row[2], found))
    if not past:
        return nothing
    seqs = [row[0] for row in past]
    tallies.take_rooms(sql, [room_id], zone)
    forget_name(sql, room_id, seqs, title)
    # Whoever writes words of this room ends first, and who writes vectors waits for the messages: what goes then is all.
    sql.rows("select from search_rooms where room_id = %s for update", room_id)
    sql.run("delete from messages where room_id = %s and seq between %s and %s", room_id, seqs[0], seqs[-1])
    gone = forget(sql, room_id, seqs)
    sql.run("update rooms set first_seq = %s where id = %s", seqs[-1] + 1, room_id)
    forget_old_contexts(sql, room_id, seqs[-1] + CONTEXT_REACH)
    forget_contexts(sql, [row[1] for row in past])
    access.append(sql, "room_changed", room_id=room_id)
    return Cut(len(seqs), len(seqs) == limit, gone)


def forget(sql: Sql, room_id: str, seqs: Sequence[int]) -> Gone:
    """Words and vectors of these places."""
    embeddings.forget(sql, room_id, *seqs)
    return search.forget(sql, room_id, seqs)


def forget_name(sql: Sql, room_id: str, seqs: Sequence[int], title: Callable[[str], str]) -> None:
    """A room that was named after one of these messages has no name any more, until it is named anew."""
    row = sql.row("select name from rooms where id = %s", room_id)
    texts = sql.rows(
        "select left(content, %s) from messages where room_id = %s and seq = any(%s) and seq <= %s and role = 'user'",
        NAMED_BY_CHARS,
        room_id,
        list(seqs),
        NAMED_BY,
    )
    if row and row[0] and any(text and title(text) == row[0] for (text,) in texts):
        sql.run("update rooms set name = null where id = %s", room_id)


def forget_contexts(sql: Sql, ids: Sequence[str]) -> None:
    """What models were given of these messages or people, wherever."""
    sql.run("delete from message_contexts where about && %s::uuid[]", list(ids))


def forget_old_contexts(sql: Sql, room_id: str, until: int) -> None:
    """Those of before it was written down whose words stand in them: of answers up to a place."""
    sql.run(
        "delete from message_contexts where about = '{}' and message_id in (select id from messages where room_id = %s"
        " and role = 'bot' and seq <= %s)",
        room_id,
        until,
    )


def empty(sql: Sql, room_id: str, limit: int) -> Cut:
    """Remove the next messages of a room that is gone, and with the last of them the room."""
    nothing = Cut(0, False, Gone(0, search.no_counts()))
    if rooms.lock(sql, room_id) is None:
        return nothing
    found = sql.rows("select seq, id from messages where room_id = %s order by seq limit %s", room_id, limit)
    if not found:
        sql.run(
            "update rooms set first_seq = (select last_seq + 1 from room_heads where room_id = id) where id = %s",
            room_id,
        )
        rooms.wipe(sql, room_id)
        return nothing
    seqs = [row[0] for row in found]
    sql.rows("select from search_rooms where room_id = %s for update", room_id)
    sql.run("delete from messages where room_id = %s and seq = any(%s)", room_id, seqs)
    gone = forget(sql, room_id, seqs)
    forget_contexts(sql, [row[1] for row in found])
    return Cut(len(seqs), True, gone)


# -- what somebody has said


def rooms_written_in(sql: Sql, user_id: str) -> list[str]:
    found = sql.rows("select distinct room_id from messages where user_id = %s order by 1", user_id)
    return [row[0] for row in found]


def forget_given(sql: Sql, user_id: str, room_ids: Sequence[str]) -> None:
    """What models were given in these rooms, where his name may stand among the members', and of him anywhere."""
    forget_contexts(sql, [user_id])
    sql.run(
        "delete from message_contexts where message_id in (select m.id from messages m where m.role = 'bot'"
        " and m.room_id = any(%s::uuid[]))",
        list(room_ids),
    )


class Erased(NamedTuple):
    """changed: the messages as they are now."""

    changed: list[MessageRow]
    more: bool
    gone: Gone


def erase(sql: Sql, room_id: str, user_id: str, limit: int, title: Callable[[str], str] = lambda text: "") -> Erased:
    """Delete what a user has said in a room, so many at once: each takes a number of the room's, as any deletion does.

    title: what a room is named after a message.
    """
    locked = rooms.lock(sql, room_id)
    found = (
        sql.rows(
            "select seq, id from messages where room_id = %s and user_id = %s and not deleted order by seq limit %s",
            room_id,
            user_id,
            limit,
        )
        if locked
        else []
    )
    seqs = [row[0] for row in found]
    if not seqs or locked is None:
        return Erased([], False, Gone(0, search.no_counts()))
    head = locked[0]
    forget_name(sql, room_id, seqs, title)
    sql.run(
        "update messages m set content = '', deleted = true, versions = 0, edited_at = null, changed_seq = %s + v.i"
        " from unnest(%s::bigint[]) with ordinality v(seq, i) where m.room_id = %s and m.seq = v.seq",
        head,
        seqs,
        room_id,
    )
    sql.run("update room_heads set head = %s where room_id = %s", head + len(seqs), room_id)
    sql.run(
        "delete from message_versions where message_id in (select id from messages where room_id = %s and seq = any(%s))",
        room_id,
        seqs,
    )
    gone = forget(sql, room_id, seqs)
    forget_contexts(sql, [row[1] for row in found])
    access.append(sql, "room_changed", room_id=room_id)
    rows = sql.rows(
        f"select {COLUMNS}{FROM} where m.room_id = %s and m.changed_seq > %s order by m.changed_seq", room_id, head
    )
    return Erased([MessageRow(*row) for row in rows], len(seqs) == limit, gone)


def erasing(sql: Sql) -> list[str]:
    """Accounts that were left for good and whose words are still to be removed."""
    return [row[0] for row in sql.rows("select id from users where erasing")]


def mark_erasing(sql: Sql, user_id: str, yes: bool) -> None:
    sql.run("update users set erasing = %s where id = %s", yes, user_id)


# What programs keep for themselves: table -> (its key, when it was over).
PASSING = {
    "access_log": ("n", "at"),  # every live pod has read it long ago
    "sessions": ("id", "least(ended_at, expires_at)"),  # with the device and the address that it was opened from
    "password_resets": ("hash", "expires_at"),
}


def prune(sql: Sql, table: str, keep_days: int, most: int) -> int:
    """Forget rows of one of `PASSING` that were over so many days ago, at most `most`. Returns how many."""
    key, over_at = PASSING[table]
    return sql.run(
        f"delete from {table} where {key} in (select {key} from {table}"
        f" where {over_at} < now() - make_interval(days => %s) limit %s for update skip locked)",
        keep_days,
        most,
    )
