"""Faults that administrators look at: kind and a short text, never content or secrets."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from models.database import Sql


class Group(NamedTuple):
    kind: str
    times: int
    first_at: datetime
    last_at: datetime
    example: str
    request_id: str | None


def note(sql: Sql, kind: str, detail: str, request_id: str | None = None) -> None:
    sql.run("insert into errors (kind, detail, request_id) values (%s, %s, %s)", kind, detail[:500], request_id)


def between(sql: Sql, since: datetime, until: datetime) -> list[Group]:
    """Those of a span, the ones that came last first."""
    found = sql.rows(
        "select kind, count(*), min(at), max(at), (array_agg(detail order by id desc))[1],"
        " (array_agg(request_id order by id desc) filter (where request_id is not null))[1] from errors"
        " where at >= %s and at < %s group by kind order by max(at) desc",
        since,
        until,
    )
    return [Group(*row) for row in found]


def grouped(sql: Sql, days: int = 30) -> list[Group]:
    """Those of the last days."""
    now = datetime.now(UTC)
    return between(sql, now - timedelta(days=days), now + timedelta(days=1))
