"""What administrators count: rooms, messages, tokens; and the audit log of what they did themselves."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from models.database import Sql

By = Literal["user", "room", "model", "day"]


class RoomLine(NamedTuple):
    id: str
    name: str
    created_at: datetime
    members: int
    messages: int


class Line(NamedTuple):
    key: str
    name: str
    messages: int
    answers: int
    input_tokens: int
    output_tokens: int


class AuditLine(NamedTuple):
    id: int
    at: datetime
    user_id: str | None
    action: str
    target: str


def rooms(sql: Sql, after: str | None, limit: int) -> list[RoomLine]:
    """In the order of their ids, which is that of their making."""
    found = sql.rows(
        "select r.id, coalesce(r.name, ''), r.created_at, (select count(*) from members m where m.room_id = r.id),"
        " h.last_seq from rooms r join room_heads h on h.room_id = r.id where %s::uuid is null or r.id > %s"
        " order by r.id limit %s",
        after,
        after,
        limit,
    )
    return [RoomLine(*row) for row in found]


SAID = {
    "user": ("m.user_id::text", "m.role = 'user'"),
    "room": ("m.room_id::text", "true"),
    "model": ("m.model", "m.role = 'bot' and m.model is not null"),
    "day": ("to_char(m.created_at, 'YYYY-MM-DD')", "true"),
}
SPENT = {
    "user": "s.user_id::text",
    "room": "s.room_id::text",
    "model": "s.model",
    "day": "to_char(s.at, 'YYYY-MM-DD')",
}
NAMES = {
    "user": "(select u.name from users u where u.id::text = k.key)",
    "room": "(select r.name from rooms r where r.id::text = k.key)",
    "model": "k.key",
    "day": "k.key",
}


def by(sql: Sql, what: By, since: datetime, until: datetime, limit: int = 1000) -> list[Line]:
    """Messages of people, answers and tokens of a time, by user, room, model or day (UTC); the most tokens first."""
    key, which = SAID[what]
    found = sql.rows(
        f"with said as (select {key} as key, count(*) filter (where m.role = 'user') as messages,"
        " count(*) filter (where m.role = 'bot') as answers from messages m"
        f" where {which} and m.created_at >= %s and m.created_at < %s group by 1),"
        f" spent as (select {SPENT[what]} as key, sum(s.input_tokens) as i, sum(s.output_tokens) as o from usage s"
        " where s.at >= %s and s.at < %s group by 1)"
        f" select k.key, coalesce({NAMES[what]}, ''), coalesce(k.messages, 0), coalesce(k.answers, 0), coalesce(k.i, 0),"
        " coalesce(k.o, 0) from (select key, messages, answers, i, o from said full join spent using (key)) k"
        " where k.key is not null order by coalesce(k.i, 0) + coalesce(k.o, 0) desc, k.key limit %s",
        since,
        until,
        since,
        until,
        limit,
    )
    return [Line(row[0], row[1], int(row[2]), int(row[3]), int(row[4]), int(row[5])) for row in found]


def spend_embedding(sql: Sql, model: str, spent: Sequence[tuple[str, int]]) -> None:
    """Tokens that a model of meaning cost, by room."""
    sql.run(
        "insert into usage (room_id, provider, model, input_tokens, output_tokens, estimated)"
        " select v.room, 'embedding', %s, v.tokens, 0, false from unnest(%s::uuid[], %s::int[]) v(room, tokens)",
        model,
        [room_id for room_id, _ in spent],
        [tokens for _, tokens in spent],
    )


def audit(sql: Sql, user_id: str, action: str, target: str) -> None:
    sql.run("insert into audit (user_id, action, target) values (%s, %s, %s)", user_id, action, target)


def audits(sql: Sql, before: int | None, limit: int) -> list[AuditLine]:
    """Newest first."""
    found = sql.rows(
        "select id, at, user_id, action, target from audit where %s::bigint is null or id < %s order by id desc limit %s",
        before,
        before,
        limit,
    )
    return [AuditLine(*row) for row in found]
