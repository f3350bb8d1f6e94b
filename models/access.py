"""The access log: who lost or gained what, in the order of commits.

One locked row hands out the numbers, held to commit, so whoever reads "n above mine" never finds a hole that fills later.
Every change of access takes a number *in its own transaction*; lock this row last, it serialises the whole system.
"""

from typing import Literal, NamedTuple

from models.database import Sql

Kind = Literal[
    "session_ended",
    "key_ended",
    "password_changed",
    "user_disabled",
    "user_changed",
    "member_added",
    "member_left",
    "member_removed",
    "member_changed",
    "room_changed",
    "room_deleted",
]


class Entry(NamedTuple):
    n: int
    kind: Kind
    user_id: str | None
    session_id: str | None
    room_id: str | None
    age_s: float  # since its transaction began, by Postgres's clock


def lock(sql: Sql) -> int:
    """Hold the log's head until the transaction ends. Returns the highest number so far."""
    row = sql.row("select n from access_head for update")
    assert row is not None
    return int(row[0])


def append(
    sql: Sql, kind: Kind, *, user_id: str | None = None, session_id: str | None = None, room_id: str | None = None
) -> int:
    row = sql.row(
        "with head as (update access_head set n = n + 1 returning n)"
        " insert into access_log (n, kind, user_id, session_id, room_id) select n, %s, %s, %s, %s from head returning n",
        kind,
        user_id,
        session_id,
        room_id,
    )
    assert row is not None
    return int(row[0])


def head(sql: Sql) -> int:
    row = sql.row("select n from access_head")
    assert row is not None
    return int(row[0])


def since(sql: Sql, n: int, limit: int) -> list[Entry]:
    found = sql.rows(
        "select n, kind, user_id, session_id, room_id, extract(epoch from clock_timestamp() - at)::float8"
        " from access_log where n > %s order by n limit %s",
        n,
        limit,
    )
    return [Entry(*row) for row in found]
