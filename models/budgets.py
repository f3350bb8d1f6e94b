"""Budgets: how much a user or a room may spend on models in a day or a month, what is spent, what running answers hold.

Knows limits and sums; knows nothing of models or prices. Who checks and reserves holds a lock for the user and one for
the room, so that pods take turns and the last of a budget is not given away twice.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple

from models import tallies
from models.database import Sql, flat, placeholders

Kind = Literal["user", "room"]
Span = Literal["day", "month"]
Unit = Literal["tokens", "money"]

EVERYONE = "00000000-0000-0000-0000-000000000000"


class Limit(NamedTuple):
    """key: whose, or EVERYONE: who has no line of his own. At least one of soft and hard is set."""

    kind: Kind
    key: str
    span: Span
    unit: Unit
    soft: Decimal | None
    hard: Decimal | None


class Standing(NamedTuple):
    """A limit that holds for somebody, what is spent of it, and what running answers hold of it beside."""

    limit: Limit
    spent: Decimal
    held: Decimal


class Line(NamedTuple):
    """A limit as administrators see it. spent: None for EVERYONE's."""

    limit: Limit
    name: str
    spent: Decimal | None


def some(sql: Sql) -> bool:
    """Is there any limit at all?"""
    row = sql.row("select exists (select from budgets)")
    return bool(row and row[0])


def put(sql: Sql, limit: Limit) -> None:
    """Set it; without soft and hard it goes, and everyone's holds again."""
    if limit.soft is None and limit.hard is None:
        sql.run("delete from budgets where kind = %s and key = %s and span = %s and unit = %s", *limit[:4])
        return
    sql.run(
        "insert into budgets (kind, key, span, unit, soft, hard) values (%s, %s, %s, %s, %s, %s)"
        " on conflict (kind, key, span, unit) do update set soft = excluded.soft, hard = excluded.hard",
        *limit,
    )
    # What was told of the old limit is not true of the new one.
    sql.run("delete from budget_marks where kind = %s and span = %s and unit = %s and %s in (key, %s)",
            limit.kind, limit.span, limit.unit, limit.key, EVERYONE)  # fmt: skip


def limits_of(sql: Sql, kind: Kind, key: str) -> list[Limit]:
    """Those that hold: one's own, else everyone's."""
    found = sql.rows(
        "select distinct on (span, unit) kind, key, span, unit, soft, hard from budgets"
        " where kind = %s and key in (%s, %s) order by span, unit, key = %s",
        kind,
        key,
        EVERYONE,
        EVERYONE,
    )
    return [Limit(*row) for row in found]


def standings(sql: Sql, kind: Kind, key: str, zone: str) -> list[Standing]:
    """Of one user or room."""
    limits = limits_of(sql, kind, key)
    if not limits:
        return []
    # What is held before what is spent: an answer that ends in between is seen twice, and not never.
    row = sql.row(
        "select coalesce(sum(s.tokens), 0), coalesce(sum(s.cost), 0) from spending s"
        f" join messages m on m.id = s.message_id and m.status = 'streaming' where s.{kind}_id = %s",
        key,
    )
    assert row is not None
    own = tallies.own(sql, kind, key, zone)
    held = {"tokens": Decimal(row[0]), "money": Decimal(row[1])}
    return [Standing(one, _spent(own, one), held[one.unit]) for one in limits]


def _spent(own: tallies.Own, limit: Limit) -> Decimal:
    figures = own.day if limit.span == "day" else own.month
    return figures.cost if limit.unit == "money" else Decimal(figures.input_tokens + figures.output_tokens)


def lock(sql: Sql, user_id: str | None, room_id: str) -> None:
    """Until the transaction ends. Always the user before the room: so nobody waits in a circle."""
    if user_id is not None:
        sql.row("select pg_advisory_xact_lock(hashtextextended(%s, 11))", user_id)
    sql.row("select pg_advisory_xact_lock(hashtextextended(%s, 12))", room_id)


class Held(NamedTuple):
    """What a running answer has cost so far."""

    message_id: str
    user_id: str | None
    room_id: str
    tokens: int
    cost: Decimal


def hold(sql: Sql, held: Sequence[Held]) -> None:
    """For the eyes of the others, on whichever pod. In the order of ids."""
    rows = sorted(held, key=lambda one: one.message_id)
    if rows:
        sql.run(
            "insert into spending (message_id, user_id, room_id, tokens, cost)"
            " select v.id::uuid, v.user_id::uuid, v.room_id::uuid, v.tokens::bigint, v.cost::numeric from (values "
            + placeholders(len(rows), 5)
            + ") v(id, user_id, room_id, tokens, cost) where exists (select from messages m where m.id = v.id::uuid)"
            " on conflict (message_id) do update set tokens = excluded.tokens, cost = excluded.cost",
            *flat(rows),
        )


def let_go(sql: Sql, message_id: str) -> None:
    """It has ended: what it cost is written as spent, in this transaction."""
    sql.run("delete from spending where message_id = %s", message_id)


def mark(sql: Sql, key: str, limit: Limit, zone: str) -> bool:
    """True the first time that this soft limit is passed in its day or month. Several in the order of their keys."""
    return bool(
        sql.run(
            "insert into budget_marks (kind, key, span, unit, bucket)"
            " values (%s, %s, %s, %s, date_trunc(%s, now() at time zone %s)) on conflict do nothing",
            limit.kind,
            key,
            limit.span,
            limit.unit,
            limit.span,
            zone,
        )
    )


def ends_at(sql: Sql, span: Span, zone: str) -> datetime:
    """When the day or month that runs ends."""
    row = sql.row(
        "select (date_trunc(%s, now() at time zone %s) + ('1 ' || %s)::interval) at time zone %s",
        span,
        zone,
        span,
        zone,
    )
    assert row is not None
    at: datetime = row[0]
    return at


def lines(sql: Sql, zone: str) -> list[Line]:
    """All that is set: everyone's first, then by name."""
    found = sql.rows(
        "select b.kind, b.key, b.span, b.unit, b.soft, b.hard, coalesce(u.name, r.name, '') from budgets b"
        " left join users u on b.kind = 'user' and u.id = b.key left join rooms r on b.kind = 'room' and r.id = b.key"
        " order by b.key <> %s, b.kind, 7, b.key, b.span, b.unit limit 1000",
        EVERYONE,
    )
    owns: dict[tuple[str, str], tallies.Own] = {}
    made: list[Line] = []
    for *limit, name in found:
        one = Limit(*limit)
        if one.key == EVERYONE:
            made.append(Line(one, "", None))
            continue
        if (one.kind, one.key) not in owns:
            owns[one.kind, one.key] = tallies.own(sql, one.kind, one.key, zone)
        made.append(Line(one, name, _spent(owns[one.kind, one.key], one)))
    return made


def sweep(sql: Sql) -> int:
    """Holds that nobody let go: of answers that ended while their holder was renewing."""
    return sql.run(
        "delete from spending s using messages m where m.id = s.message_id and m.status not in ('queued', 'streaming')"
    )
