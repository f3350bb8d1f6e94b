"""Messages that hold all of some terms, newest first, in rooms that the asker may read: permission is part of the query."""

from datetime import datetime
from typing import Any, NamedTuple

from models.base import like
from models.database import Sql
from models.messages import COLUMNS, FROM, MessageRow


class Where(NamedTuple):
    room_id: str | None = None
    user_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def find(
    sql: Sql, asker_id: str, terms: list[str], where: Where, before: tuple[datetime, str] | None, limit: int
) -> list[MessageRow]:
    """terms: lower-case, none empty. before: time and id of the last one of the page before."""
    conditions = ["x.user_id = %s", "not m.deleted", "m.content <> ''"]
    params: list[Any] = [asker_id]
    for term in terms:
        conditions.append("lower(m.content) like %s")
        params.append(f"%{like(term)}%")
    for column, value in (
        ("m.room_id = %s", where.room_id),
        ("m.user_id = %s", where.user_id),
        ("m.created_at >= %s", where.since),
        ("m.created_at < %s", where.until),
    ):
        if value is not None:
            conditions.append(column)
            params.append(value)
    if before is not None:
        conditions.append("(m.created_at, m.id) < (%s, %s)")
        params += before
    found = sql.rows(
        f"select {COLUMNS} {FROM} join members x on x.room_id = m.room_id where "
        + " and ".join(conditions)
        + " order by m.created_at desc, m.id desc limit %s",
        *params,
        limit,
    )
    return [MessageRow(*row) for row in found]
