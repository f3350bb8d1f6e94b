"""What is being said everywhere, for administrators who follow it. Knows rows; knows nothing of rights or streams.

A follower keeps the head of each room that it follows; what is above it is new. So it sees every change once, from
whichever pod, and misses none.
"""

from collections.abc import Mapping
from typing import NamedTuple

from models.database import Sql
from models.messages import COLUMNS, FROM, MessageRow


class Said(NamedTuple):
    room_name: str
    message: MessageRow


SELECT = f"select coalesce(r.name, ''), {COLUMNS}{FROM} join rooms r on r.id = m.room_id join room_heads h on h.room_id = r.id"


def heads(sql: Sql, room_id: str | None) -> dict[str, int]:
    found = sql.rows("select room_id, head from room_heads where %s::uuid is null or room_id = %s", room_id, room_id)
    return {row[0]: row[1] for row in found}


def latest(sql: Sql, room_id: str | None, limit: int) -> list[Said]:
    """What was said last, oldest first."""
    if room_id is None:
        found = sql.rows(
            f"select * from ({SELECT} order by m.id desc limit %s) x order by id", limit
        )  # ids sort by the time of their making
    else:
        found = sql.rows(
            f"select * from ({SELECT} where m.room_id = %s order by m.seq desc limit %s) x order by seq", room_id, limit
        )
    return [Said(row[0], MessageRow(*row[1:])) for row in found]


def moved(sql: Sql, room_id: str | None, seen: Mapping[str, int], limit: int) -> tuple[dict[str, int], list[Said]]:
    """(how far each room is read now, at most `limit` changes above what was seen)

    Of each room the oldest first; what is left over is there the next time.
    """
    now = heads(sql, room_id)
    risen = {key: head for key, head in now.items() if head > seen.get(key, 0)}
    if not risen:
        return {}, []
    found = sql.rows(
        f"{SELECT} join unnest(%s::uuid[], %s::bigint[], %s::bigint[]) v(room_id, low, high) on v.room_id = m.room_id"
        " and m.changed_seq > v.low and m.changed_seq <= v.high order by m.changed_seq - v.low, m.room_id limit %s",
        list(risen),
        [seen.get(key, 0) for key in risen],
        list(risen.values()),
        limit,
    )
    said = [Said(row[0], MessageRow(*row[1:])) for row in found]
    if len(said) == limit:
        risen = {}
        for _, message in said:
            risen[message.room_id] = max(message.changed_seq, risen.get(message.room_id, 0))
    return risen, sorted(said, key=lambda one: one.message.edited_at or one.message.created_at)
