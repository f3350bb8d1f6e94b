"""What administrators look at: rooms and their volume, and the audit log of what they did themselves."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple

from models.base import like
from models.database import Sql

RoomSort = Literal["made", "messages", "members"]


class RoomLine(NamedTuple):
    id: str
    name: str
    created_at: datetime
    members: int
    messages: int
    retention_days: int | None


class AuditLine(NamedTuple):
    id: int
    at: datetime
    user_id: str | None
    action: str
    target: str
    user_name: str


ROOM = (
    "select r.id, coalesce(r.name, ''), r.created_at, (select count(*) from members m where m.room_id = r.id) as members,"
    " h.last_seq - r.first_seq + 1 as messages, r.retention_days from rooms r join room_heads h on h.room_id = r.id"
    " where not r.gone"
)
ROOM_ORDER = {"made": "r.id", "messages": "h.last_seq - r.first_seq desc, r.id", "members": "members desc, r.id"}


def rooms(sql: Sql, q: str, sort: RoomSort, offset: int, limit: int) -> list[RoomLine]:
    """Those whose name has `q`, in the order of their making or the largest first."""
    where, params = ("", []) if not q else (" and lower(r.name) like %s", [f"%{like(q.lower())}%"])
    found = sql.rows(f"{ROOM}{where} order by {ROOM_ORDER[sort]} limit %s offset %s", *params, limit, offset)
    return [RoomLine(*row) for row in found]


def room(sql: Sql, room_id: str) -> RoomLine | None:
    row = sql.row(f"{ROOM} and r.id = %s", room_id)
    return RoomLine(*row) if row else None


def spend_embedding(sql: Sql, model: str, spent: Sequence[tuple[str, int]], price: Decimal | None) -> None:
    """Tokens that a model of meaning cost, by room. price: of one token, where it is known."""
    sql.run(
        "insert into usage (room_id, provider, model, input_tokens, output_tokens, estimated, cost)"
        " select v.room, 'embedding', %s, v.tokens, 0, false, v.tokens * %s::numeric"
        " from unnest(%s::uuid[], %s::int[]) v(room, tokens)",
        model,
        price,
        [room_id for room_id, _ in spent],
        [tokens for _, tokens in spent],
    )


def audit(sql: Sql, user_id: str | None, action: str, target: str) -> None:
    sql.run("insert into audit (user_id, action, target) values (%s, %s, %s)", user_id, action, target)


def audits(sql: Sql, before: int | None, limit: int) -> list[AuditLine]:
    """Newest first."""
    found = sql.rows(
        "select a.id, a.at, a.user_id, a.action, a.target, coalesce(u.name, '') from audit a"
        " left join users u on u.id = a.user_id where %s::bigint is null or a.id < %s order by a.id desc limit %s",
        before,
        before,
        limit,
    )
    return [AuditLine(*row) for row in found]
