"""Answers as jobs: the bot's queued message is claimed with a lease, streamed, finished.

Every write of a worker names the message, its attempt and itself: one that was paused past its lease, and whose answer
another took over, touches no row any more. Leases run by Postgres's clock.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from models import rooms
from models.database import Sql, flat, placeholders
from models.messages import COLUMNS, FROM, MessageRow, find, keep_version, next_number

FENCE = " id = %s and attempt = %s and lease_owner = %s and status = 'streaming'"
# Past the lease by this share of it before another may take over: after a pause of Postgres every lease has run out at
# once, and their owners, who are alive, get to renew first.
GRACE = 0.2


class Job(NamedTuple):
    message: MessageRow
    room_name: str | None
    bot: dict[str, Any]
    taken_over: bool


def candidates(sql: Sql, lease_s: float, per_user: int, limit: int) -> list[tuple[str, str]]:
    """(message, room) that could be claimed now, oldest first: one a room, and within each asker's bound."""
    found = sql.rows(
        "select m.id, m.room_id from messages m where (m.status = 'queued'"
        "   and not exists (select from messages r where r.room_id = m.room_id and r.status in ('queued', 'streaming')"
        "     and (r.status = 'streaming' or r.seq < m.seq))"
        "   and (%s = 0 or (select count(*) from messages r where r.status = 'streaming' and r.asked_by = m.asked_by) < %s))"
        " or (m.status = 'streaming' and m.lease_until < clock_timestamp() - make_interval(secs => %s))"
        " order by m.created_at limit %s",
        per_user,
        per_user,
        lease_s * GRACE,
        limit,
    )
    return [(row[0], row[1]) for row in found]


def claim(sql: Sql, message_id: str, room_id: str, owner: str, lease_s: float, per_user: int) -> Job | None:
    """Take the answer, if it still is to be had. An answer taken from a dead worker gets a higher attempt."""
    if rooms.lock(sql, room_id) is None:
        return None
    row = sql.row(
        "select m.status, m.lease_until < clock_timestamp() - make_interval(secs => %s), m.asked_by,"
        " exists (select from messages r where r.room_id = m.room_id and r.status = 'streaming' and r.id <> m.id)"
        " from messages m where m.id = %s for update",
        lease_s * GRACE,
        message_id,
    )
    if row is None or row[3] or not (row[0] == "queued" or (row[0] == "streaming" and row[1])):
        return None
    taken_over = row[0] == "streaming"
    if not taken_over and per_user:
        # One asker's claims take turns on his own number, or two pods would both see room for one more.
        sql.rows("select pg_advisory_xact_lock(hashtextextended(%s, 7))", str(row[2]))
        running = sql.row(
            "select count(*) from messages where status = 'streaming' and asked_by is not distinct from %s", row[2]
        )
        if running and running[0] >= per_user:
            return None
    sql.run(
        "update messages set status = 'streaming', attempt = attempt + %s, lease_owner = %s, changed_seq = %s,"
        " lease_until = clock_timestamp() + make_interval(secs => %s) where id = %s",
        int(taken_over),
        owner,
        next_number(sql, room_id),
        lease_s,
        message_id,
    )
    if taken_over:
        sql.run("delete from message_pieces where message_id = %s", message_id)
    found = sql.row(
        f"select r.name, r.bot, {COLUMNS} {FROM} join rooms r on r.id = m.room_id where m.id = %s", message_id
    )
    assert found is not None
    return Job(MessageRow(*found[2:]), found[0], found[1], taken_over)


class Fence(NamedTuple):
    """What a worker names itself by in every write."""

    message_id: str
    attempt: int
    owner: str


class Lease(NamedTuple):
    """held: the answer is still this worker's. stopped_by: somebody asked for a stop."""

    held: bool
    stopped_by: str | None = None


def renew_all(sql: Sql, work: Sequence[tuple[Fence, int, int, str]], lease_s: float) -> list[Lease]:
    """Keep these leases, also those that ran out and that nobody took; keep the new pieces' text with them.

    work: (fence, from_n, next_n, text) each. Two statements, however many answers run.
    """
    values = [(*fence, from_n, next_n, content) for fence, from_n, next_n, content in work]
    # Locked in the order of ids: two pods may name the same row in the moment of a take-over.
    found = sql.rows(
        "with work (id, attempt, owner, from_n, next_n, content) as (values " + placeholders(len(values), 6) + "),"
        " held as (select m.id, w.from_n::int, w.next_n::int, w.content, m.attempt, m.stopped_by from work w"
        "   join messages m on m.id = w.id::uuid and m.attempt = w.attempt::int and m.lease_owner = w.owner::uuid"
        "   and m.status = 'streaming' order by m.id for update of m),"
        " renewed as (update messages m set lease_until = clock_timestamp() + make_interval(secs => %s)"
        "   from held where m.id = held.id returning m.id),"
        " kept as (insert into message_pieces (message_id, attempt, from_n, next_n, content)"
        "   select id, attempt, from_n, next_n, content from held where next_n > from_n on conflict do nothing)"
        " select id, stopped_by from held",
        *flat(values),
        lease_s,
    )
    held: dict[str, str | None] = {row[0]: row[1] for row in found}
    return [Lease(fence.message_id in held, held.get(fence.message_id)) for fence, *_ in work]


def running(sql: Sql, room_id: str) -> list[tuple[str, int]]:
    """(message, attempt) of the answers that run in a room."""
    found = sql.rows("select id, attempt from messages where room_id = %s and status = 'streaming'", room_id)
    return [(row[0], row[1]) for row in found]


def running_text(sql: Sql, message_id: str, attempt: int) -> tuple[int, str]:
    """(next, text) of an answer as far as rows have it."""
    found = sql.rows(
        "select next_n, content from message_pieces where message_id = %s and attempt = %s order by from_n",
        message_id,
        attempt,
    )
    return (found[-1][0] if found else 0), "".join(row[1] for row in found)


class Ending(NamedTuple):
    status: str
    content: str
    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    estimated: bool
    reasoning: str | None
    reasoning_ms: int | None
    sources: list[dict[str, str]] | None
    stopped_by: str | None
    error_code: str | None
    error_message: str | None


def finish(sql: Sql, fence: Fence, room_id: str, end: Ending) -> MessageRow | None:
    """Write the end of an answer; None when it is not this worker's any more. Its tokens are counted either way."""
    locked = rooms.lock(sql, room_id) is not None
    spent = end.input_tokens + end.output_tokens > 0
    if spent and locked:
        sql.run(
            "insert into usage (user_id, room_id, message_id, provider, model, input_tokens, output_tokens, estimated)"
            " select asked_by, room_id, id, %s, %s, %s, %s, %s from messages where id = %s",
            end.provider,
            end.model,
            end.input_tokens,
            end.output_tokens,
            end.estimated,
            fence.message_id,
        )
    if not locked or not sql.run("update messages set lease_until = lease_until where" + FENCE, *fence):
        return None
    sql.run(
        "update messages set status = %s, content = %s, provider = %s, model = %s, input_tokens = %s,"
        " output_tokens = %s, usage_estimated = %s, reasoning = %s, reasoning_ms = %s, sources = %s,"
        " stopped_by = case when %s = 'stopped' then coalesce(stopped_by, %s) end, error_code = %s, error_message = %s,"
        " lease_owner = null, lease_until = null, changed_seq = %s where id = %s",
        end.status,
        end.content,
        end.provider,
        end.model,
        end.input_tokens if spent else None,
        end.output_tokens if spent else None,
        end.estimated if spent else None,
        end.reasoning,
        end.reasoning_ms,
        json.dumps(end.sources) if end.sources else None,
        end.status,
        end.stopped_by,
        end.error_code,
        end.error_message,
        next_number(sql, room_id),
        fence.message_id,
    )
    sql.run("delete from message_pieces where message_id = %s", fence.message_id)
    return find(sql, fence.message_id)


def stop(sql: Sql, message: MessageRow, user_id: str) -> MessageRow | None:
    """End a queued answer in place (the row comes back), or ask the worker of a running one to end it (None).

    The caller holds the room's head. One that has ended already is left alone.
    """
    if message.status == "streaming":
        sql.run("update messages set stopped_by = coalesce(stopped_by, %s) where id = %s", user_id, message.id)
        return None
    if message.status != "queued":
        return None
    sql.run(
        "update messages set status = 'stopped', content = '', stopped_by = %s, changed_seq = %s where id = %s",
        user_id,
        next_number(sql, message.room_id),
        message.id,
    )
    return find(sql, message.id)


def regenerate(sql: Sql, message: MessageRow, user_id: str) -> MessageRow | None:
    """Queue an ended answer again, under a higher attempt; its text becomes a version. The caller holds the head."""
    keep_version(sql, message)
    sql.run(
        "update messages set status = 'queued', content = '', attempt = attempt + 1, versions = versions + 1,"
        " asked_by = %s, provider = null, model = null, input_tokens = null, output_tokens = null,"
        " usage_estimated = null, reasoning = null, reasoning_ms = null, sources = null, stopped_by = null,"
        " error_code = null, error_message = null, changed_seq = %s where id = %s",
        user_id,
        next_number(sql, message.room_id),
        message.id,
    )
    return find(sql, message.id)


def release(sql: Sql, owner: str) -> int:
    """Hand every lease of this worker back at once, so that another need not wait for it to run out."""
    return sql.run(
        "update messages set lease_until = clock_timestamp() - interval '1 hour'"
        " where lease_owner = %s and status = 'streaming'",
        owner,
    )


def history(sql: Sql, room_id: str, before_seq: int, limit: int) -> list[MessageRow]:
    """The last messages below `before_seq` that a prompt may hold, oldest first."""
    found = sql.rows(
        f"select {COLUMNS} {FROM} where m.room_id = %s and m.seq < %s and not m.deleted and m.content <> ''"
        " and m.status in ('complete', 'stopped') order by m.seq desc limit %s",
        room_id,
        before_seq,
        limit,
    )
    return [MessageRow(*row) for row in found][::-1]


def keep_context(sql: Sql, message_id: str, attempt: int, prompt: Any) -> None:
    sql.run(
        "insert into message_contexts (message_id, attempt, prompt) select id, %s, %s from messages"
        " where id = %s and attempt = %s and not deleted"
        " on conflict (message_id) do update set attempt = excluded.attempt, prompt = excluded.prompt",
        attempt,
        json.dumps(prompt),
        message_id,
        attempt,
    )


def context(sql: Sql, message_id: str) -> tuple[int, Any] | None:
    row = sql.row("select attempt, prompt from message_contexts where message_id = %s", message_id)
    return (row[0], row[1]) if row else None


def depth(sql: Sql) -> tuple[int, int]:
    """(queued, streaming)"""
    row = sql.row(
        "select count(*) filter (where status = 'queued'), count(*) filter (where status = 'streaming')"
        " from messages where status in ('queued', 'streaming')"
    )
    assert row is not None
    return int(row[0]), int(row[1])
