"""Sums of what was said and spent, kept as it is written. Knows rows and days; knows nothing of who asks.

Messages are taken up by their place in the room, which has no gaps; calls of models by a mark on their row. Both happen a
moment later and in one transaction each, so that a send waits for nothing, nothing is counted twice, and whatever is not
taken up yet is counted at the look (`PENDING`). Buckets are wall-clock times of the server's zone.
"""

import operator
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple

from models.database import Sql

By = Literal["user", "room", "model", "day"]
Sort = Literal["name", "messages", "answers", "failed", "stopped", "tokens", "cost"]
Span = Literal["hour", "day"]

BATCH = 20_000
STEP = 1.1  # each step of a pace is longer than the one before by this factor


class Figures(NamedTuple):
    messages: int = 0
    answers: int = 0
    failed: int = 0
    stopped: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)


def add(one: Figures, other: Figures) -> Figures:
    return Figures(*map(operator.add, one, other))


class Line(NamedTuple):
    key: str
    name: str
    figures: Figures


SUMS = (
    "sum(messages)::bigint, sum(answers)::bigint, sum(failed)::bigint, sum(stopped)::bigint,"
    " sum(input_tokens)::bigint, sum(output_tokens)::bigint, sum(cost)"
)
COLUMNS = "kind, bucket, key, messages, answers, failed, stopped, input_tokens, output_tokens, cost"
ADD = (
    " on conflict (kind, bucket, key) do update set messages = tallies.messages + excluded.messages,"
    " answers = tallies.answers + excluded.answers, failed = tallies.failed + excluded.failed,"
    " stopped = tallies.stopped + excluded.stopped, input_tokens = tallies.input_tokens + excluded.input_tokens,"
    " output_tokens = tallies.output_tokens + excluded.output_tokens, cost = tallies.cost + excluded.cost"
)
# What one message adds, and one call: to each kind that it belongs to. `said` and `called` are named by the statement.
OF_SAID = (
    "select k.kind, date_trunc(case k.kind when 'hour' then 'hour' else 'day' end, at) as bucket, k.key,"
    " count(*) as messages, 0 as answers, 0 as failed, 0 as stopped, 0 as input_tokens, 0 as output_tokens, 0 as cost"
    " from said cross join lateral (values ('hour', ''), ('day', ''), ('user', user_id::text), ('room', room_id::text))"
    " k(kind, key) where k.key is not null group by 1, 2, 3"
)
OF_CALLED = (
    "select k.kind, date_trunc(case k.kind when 'hour' then 'hour' else 'day' end, at) as bucket, k.key, 0 as messages,"
    " count(status) as answers, count(*) filter (where status = 'failed') as failed,"
    " count(*) filter (where status = 'stopped') as stopped, sum(input_tokens) as input_tokens,"
    " sum(output_tokens) as output_tokens, coalesce(sum(cost), 0) as cost"
    " from called cross join lateral (values ('hour', ''), ('day', ''), ('user', user_id::text), ('room', room_id::text),"
    " ('model', nullif(provider || ':' || model, ':'))) k(kind, key) where k.key is not null group by 1, 2, 3"
)
SAID = "m.room_id, m.user_id, m.created_at at time zone %s as at from messages m"
# Empty: a call whose answer another worker made after all. A pod of the version before says no status; its answers are
# known by their message.
CALLED = (
    "u.user_id, u.room_id, u.provider, u.model, u.input_tokens, u.output_tokens, u.cost, u.first_ms,"
    " u.at at time zone %s as at,"
    " nullif(coalesce(u.status, (select m.status from messages m where m.id = u.message_id and m.role = 'bot')), '') as status"
)
PENDING = (
    "said as (select " + SAID + " join (select h.room_id, coalesce(t.seq, 0) as seq, h.last_seq from room_heads h"
    " left join tallied_rooms t using (room_id) where h.last_seq > coalesce(t.seq, 0)) d"
    " on d.room_id = m.room_id and m.seq > d.seq and m.seq <= d.last_seq where m.role = 'user'),"
    " called as (select " + CALLED + " from usage u where not u.counted)"
)


def pace_of(column: str) -> str:
    return f"ceil(ln(greatest({column}, 1)) / ln({STEP}))::smallint"


# -- taking up


def behind(sql: Sql, limit: int) -> list[str]:
    """Rooms with messages that are not taken up yet."""
    found = sql.rows(
        "select h.room_id from room_heads h left join tallied_rooms t using (room_id)"
        " where h.last_seq > coalesce(t.seq, 0) limit %s",
        limit,
    )
    return [row[0] for row in found]


def take_messages(sql: Sql, room_ids: Sequence[str], zone: str) -> bool:
    """Count what these rooms' people have said since the last time, about `BATCH` messages of all of them together.
    Returns whether there may be more.

    A room that another pod counts in this moment is left to it.
    """
    if not room_ids:
        return False
    ids = sorted(room_ids)
    share = max(1, BATCH // len(ids))
    sql.run(
        "insert into tallied_rooms (room_id) select r.id from unnest(%s::uuid[]) r(id)"
        " where exists (select from rooms x where x.id = r.id) on conflict do nothing",
        ids,
    )
    # Read by the snapshot of one statement: every place up to last_seq is there to be seen.
    row = sql.row(
        "with due as (select t.room_id, t.seq, least(h.last_seq, t.seq + %s) as until from tallied_rooms t"
        "   join room_heads h using (room_id) where t.room_id = any(%s::uuid[]) and h.last_seq > t.seq"
        "   for update of t skip locked),"
        " moved as (update tallied_rooms t set seq = d.until from due d where d.room_id = t.room_id),"
        f" said as (select {SAID} join due d on d.room_id = m.room_id and m.seq > d.seq and m.seq <= d.until"
        "   where m.role = 'user'),"
        f" added as (insert into tallies ({COLUMNS}) {OF_SAID} order by 1, 2, 3 {ADD})"
        " select coalesce(bool_or(until - seq >= %s), false) from due",
        share,
        ids,
        zone,
        share,
    )
    return bool(row and row[0])


def take_rooms(sql: Sql, room_ids: Sequence[str], zone: str) -> None:
    """All of these rooms, before they or a part of them go. The caller holds their heads, or needs no more than what is
    committed now. Together, since sums are locked in one order."""
    # Whoever counts one of them now ends first.
    sql.rows("select from tallied_rooms where room_id = any(%s::uuid[]) order by room_id for update", list(room_ids))
    while take_messages(sql, room_ids, zone):
        pass


def take_calls(sql: Sql, zone: str, limit: int = 2000) -> int:
    """Count calls of models. Returns how many."""
    row = sql.row(
        "with due as (select id from usage where not counted order by id limit %s for update skip locked),"
        " marked as (update usage u set counted = true from due where u.id = due.id),"
        f" called as (select {CALLED} from usage u join due on due.id = u.id),"
        f" added as (insert into tallies ({COLUMNS}) {OF_CALLED} order by 1, 2, 3 {ADD}),"
        " paced as (insert into paces (kind, bucket, step, times)"
        f"   select k, date_trunc(k, at), {pace_of('first_ms')}, count(*) from called cross join (values ('hour'), ('day')) v(k)"
        "   where first_ms is not null group by 1, 2, 3 order by 1, 2, 3"
        "   on conflict (kind, bucket, step) do update set times = paces.times + excluded.times)"
        " select count(*) from due",
        limit,
        zone,
    )
    return int(row[0]) if row else 0


def forget_user(sql: Sql, user_id: str, room_ids: Sequence[str], zone: str) -> None:
    """His own lines go; what he said and spent stays in the sums of days, rooms and models.

    room_ids: where he has written. First what could bring a line back: calls that are not taken up yet lose his name,
    messages are taken up. In the order in which `take_calls` locks: calls, then sums.
    """
    sql.run("update usage set user_id = null where user_id = %s", user_id)
    take_rooms(sql, room_ids, zone)
    sql.run("delete from tallies where kind = 'user' and key = %s", user_id)


# -- looking


KEYS = {"user": "key", "room": "key", "model": "key", "day": "to_char(bucket, 'YYYY-MM-DD')"}
NAMES = {
    "user": "coalesce((select u.name from users u where u.id = x.key::uuid), '')",
    "room": "coalesce((select r.name from rooms r where r.id = x.key::uuid), '')",
    "model": "substring(x.key from position(':' in x.key) + 1)",
    "day": "x.key",
}
SORTS = {
    "name": "name",
    "messages": "messages",
    "answers": "answers",
    "failed": "failed",
    "stopped": "stopped",
    "tokens": "input_tokens + output_tokens",
    "cost": "cost",
}


def by(
    sql: Sql,
    what: By,
    since: datetime,
    until: datetime,
    zone: str,
    sort: Sort,
    *,
    descending: bool,
    offset: int,
    limit: int,
) -> list[Line]:
    """Lines of whole days from the one of `since` to the last before `until`, sorted, those equal by key."""
    direction = "desc" if descending else "asc"
    named = f"select x.*, {NAMES[what]} as name from summed x"
    body = f"{named} order by {SORTS[sort]} {direction}, key limit %s offset %s"
    if sort != "name":  # names are looked up for the lines that are shown
        body = f"select x.*, {NAMES[what]} as name from (select * from summed order by {SORTS[sort]} {direction}, key"
        body += f" limit %s offset %s) x order by {SORTS[sort]} {direction}, key"
    found = sql.rows(
        f"with {PENDING},"
        f" together as (select {COLUMNS} from tallies where kind = %s union all {OF_SAID} union all {OF_CALLED}),"
        f" summed as (select {KEYS[what]} as key, sum(messages)::bigint as messages, sum(answers)::bigint as answers,"
        "   sum(failed)::bigint as failed, sum(stopped)::bigint as stopped, sum(input_tokens)::bigint as input_tokens,"
        "   sum(output_tokens)::bigint as output_tokens, sum(cost) as cost from together"
        "   where kind = %s and bucket >= date_trunc('day', %s at time zone %s) and bucket < %s at time zone %s group by 1) "
        + body,
        zone,
        zone,
        what,
        what,
        since,
        zone,
        until,
        zone,
        limit,
        offset,
    )
    return [Line(row[0], row[8], Figures(*row[1:8])) for row in found]


class Bucket(NamedTuple):
    """at: as it stands on the server's clock. paces: step -> times."""

    at: datetime
    figures: Figures
    errors: int
    paces: dict[int, int]


def buckets(sql: Sql, kind: Span, since: datetime, zone: str) -> list[Bucket]:
    """Hours or days from that of `since` to now, each of them, oldest first."""
    found = sql.rows(
        f"with {PENDING},"
        " spine as (select generate_series(date_trunc(%s, %s at time zone %s), now() at time zone %s, ('1 ' || %s)::interval) as b),"
        f" together as (select {COLUMNS} from tallies where kind = %s and bucket >= (select min(b) from spine)"
        f"   union all {OF_SAID} union all {OF_CALLED}),"
        f" summed as (select bucket, {SUMS} from together where kind = %s group by 1),"
        " faults as (select date_trunc(%s, at at time zone %s) as bucket, count(*) as n from errors"
        "   where at >= (select min(b) from spine) at time zone %s group by 1),"
        " paced as (select bucket, step, sum(times)::bigint as times from (select bucket, step, times from paces"
        "     where kind = %s and bucket >= (select min(b) from spine)"
        f"    union all select date_trunc(%s, at), {pace_of('first_ms')}, 1 from called where first_ms is not null) p group by 1, 2)"
        " select b, s.*, coalesce(f.n, 0), (select jsonb_object_agg(step, times) from paced where paced.bucket = b)"
        " from spine left join summed s on s.bucket = b left join faults f on f.bucket = b order by b",
        *(zone, zone),
        *(kind, since, zone, zone, kind),
        *(kind, kind),
        *(kind, zone, zone),
        *(kind, kind),
    )
    return [
        Bucket(
            row[0],
            Figures(*row[2:9]) if row[1] is not None else Figures(),
            int(row[9]),
            {int(step): int(times) for step, times in (row[10] or {}).items()},
        )
        for row in found
    ]


def pace(paces: dict[int, int], share: float) -> float | None:
    """The time, ms, within which this share of the answers began; None without any."""
    total = sum(paces.values())
    passed = 0
    for step in sorted(paces):
        passed += paces[step]
        if total and passed >= share * total:
            return float(STEP**step)
    return None


class Own(NamedTuple):
    """What one user or room has had of models: today and this month, on the server's clock."""

    day: Figures
    month: Figures


def own(sql: Sql, kind: Literal["user", "room"], key: str, zone: str) -> Own:
    """Tokens and money alone. What is not taken up yet is looked for by this key."""
    found = sql.rows(
        "with clock as (select now() at time zone %s as t), spent as ("
        "  select bucket, input_tokens, output_tokens, cost from tallies, clock"
        "    where kind = %s and key = %s and bucket >= date_trunc('month', t)"
        "  union all select u.at at time zone %s, u.input_tokens, u.output_tokens, coalesce(u.cost, 0) from usage u"
        f"    where not u.counted and u.{kind}_id = %s)"
        " select bucket >= date_trunc('day', t), sum(input_tokens)::bigint, sum(output_tokens)::bigint, sum(cost)"
        " from spent, clock where bucket >= date_trunc('month', t) group by 1",
        zone,
        kind,
        key,
        zone,
        key,
    )
    sums = {row[0]: Figures(input_tokens=row[1], output_tokens=row[2], cost=row[3]) for row in found}
    today, before = sums.get(True, Figures()), sums.get(False, Figures())
    return Own(today, add(today, before))


def used_models(sql: Sql, zone: str) -> list[str]:
    """Models that were used this month, as `provider:model`."""
    found = sql.rows(
        "select distinct key from tallies where kind = 'model' and input_tokens + output_tokens > 0"
        " and bucket >= date_trunc('month', now() at time zone %s) order by 1",
        zone,
    )
    return [row[0] for row in found]
