"""Answers as jobs: the bot's queued message is claimed with a lease, streamed, finished.

Every write of a worker names the message, its attempt and itself: one that was paused past its lease, and whose answer
another took over, touches no row any more. Leases run by Postgres's clock.
"""

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from models import messages, rooms
from models.base import new_id
from models.database import Sql, flat, placeholders
from models.direct import Steps
from models.messages import (
    BEGIN,
    COLUMNS,
    FROM,
    ONE_AT_ONCE,
    SAID,
    Appended,
    MessageRow,
    NewMessage,
    WhoAnswers,
    find,
    keep_version,
    next_number,
    queued,
)

FENCE = " id = %s and attempt = %s and lease_owner = %s and status = 'streaming'"
# Past the lease by this share of it before another may take over: after a pause of Postgres every lease has run out at
# once, and their owners, who are alive, get to renew first.
GRACE = 0.2

ContextOf = Callable[[dict[str, Any]], int]


class Job(NamedTuple):
    """A claimed answer, and what its prompt is made of. question: None when it was deleted meanwhile.

    people: names of some members and how many there are, where they were read on the way.
    """

    message: MessageRow
    room_name: str | None
    bot: dict[str, Any]
    taken_over: bool
    history: list[MessageRow]
    question: MessageRow | None
    people: tuple[list[str], int] | None = None


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


# The head first, as for every change; then one asker's claims take turns on his own number, or two pods would both see
# room for one more. An answer taken from a dead worker gets a higher attempt.
PREPARED = {
    "maru_lock_room": "(uuid) as select from room_heads where room_id = $1 for update",
    "maru_lock_asker": "(uuid) as select pg_advisory_xact_lock(hashtextextended(asked_by::text, 7)) from messages where id = $1",
    "maru_claim": "(uuid, uuid, float8, int, float8) as"
    " with taken as (update messages m set status = 'streaming', attempt = m.attempt + (m.status = 'streaming')::int,"
    "   lease_owner = $2, lease_until = clock_timestamp() + make_interval(secs => $3), changed_seq = h.head + 1"
    "   from room_heads h where h.room_id = m.room_id and m.id = $1"
    "   and not exists (select from messages r where r.room_id = m.room_id and r.status = 'streaming' and r.id <> m.id)"
    "   and ((m.status = 'queued'"
    "     and not exists (select from messages r where r.room_id = m.room_id and r.status = 'queued' and r.seq < m.seq)"
    "     and ($4 = 0 or $4 > (select count(*) from messages r where r.status = 'streaming'"
    "       and r.asked_by is not distinct from m.asked_by)))"
    "     or (m.status = 'streaming' and m.lease_until < clock_timestamp() - make_interval(secs => $5)))"
    "   returning m.*),"
    " moved as (update room_heads set head = head + 1 where room_id in (select room_id from taken))"
    f" select r.name, r.bot, {COLUMNS} from taken m join rooms r on r.id = m.room_id left join users u on u.id = m.user_id",
    "maru_history": "(uuid, uuid, int) as select * from (select "
    + COLUMNS
    + FROM
    + f" where m.room_id = $1 and m.seq < (select seq from messages where id = $2) and {SAID}"
    " order by m.seq desc limit $3) earlier"
    " union all select " + COLUMNS + FROM + " where m.id = $2 and not m.deleted",
}
PREPARED["maru_job"] = (
    PREPARED["maru_history"].replace("(uuid, uuid, int)", "(uuid, uuid, int, uuid, uuid)", 1)
    + " union all select "
    + COLUMNS
    + FROM
    + " where m.id = $4 and m.lease_owner = $5 and m.status = 'streaming'"
)
# What is true of the room is worked out once (`offset 0`: by itself), not once a message.
PREPARED["maru_asked"] = (
    "(uuid, uuid, int, uuid, uuid) as select r.name, r.settings, r.names, r.people, x.* from"
    f" (select r.name, r.bot, r.bot::text, {rooms.NAMES} from rooms r where r.id = $1 offset 0)"
    " r(name, bot, settings, names, people) cross join lateral ((select false, "
    + COLUMNS
    + FROM
    + f" where m.room_id = $1 and m.seq < (select seq from messages where id = $2) and {SAID}"
    " order by m.seq desc limit coalesce((r.bot ->> 'contextMessages')::int, $3))"
    " union all select coalesce(m.lease_owner = $5 and m.status = 'streaming', false), "
    + COLUMNS
    + FROM
    + " where m.id in ($2, $4)) x"
)
CLAIM = (
    BEGIN + "execute maru_lock_room(%(room)s); execute maru_lock_asker(%(id)s);"
    " execute maru_claim(%(id)s, %(owner)s, %(lease)s, %(most)s, %(grace)s)"
)
CLAIM_AT_ONCE = (
    "execute maru_lock_asker(%s); execute maru_claim(%s, %s, %s, %s, %s); commit; execute maru_job(%s, %s, %s, %s, %s)"
)
# A lone question, from the look-up of who asks to what the prompt needs, in one round trip.
ASK = "begin; " + ONE_AT_ONCE + "; commit; execute maru_asked(%s, %s, %s, %s, %s)"
# What is committed first is seen by what follows, and one round trip is saved.
HISTORY = "commit; execute maru_history(%(room)s, %(question)s, %(limit)s)"


def claim(
    sql: Sql, message_id: str, room_id: str, owner: str, lease_s: float, per_user: int, context_of: ContextOf
) -> Job | None:
    """Take the answer, if it still is to be had, and read what its prompt needs. Run it bare: it begins and commits.

    context_of: how many earlier messages a room's bot is given, from the room's settings.
    """
    cursor = sql.raw()
    sql.prepare(cursor, PREPARED)
    given = {
        "id": message_id,
        "room": room_id,
        "owner": owner,
        "lease": lease_s,
        "grace": lease_s * GRACE,
        "most": per_user,
    }
    try:
        cursor.execute(CLAIM, given)
        row = cursor.fetchone()
        if row is None:
            cursor.execute("rollback")
            return None
        name, bot, message = row[0], row[1], MessageRow(*row[2:])
        taken_over = (message.attempt or 1) > 1 and forget_pieces(cursor, message)
        asked = {"room": room_id, "question": message.reply_to, "limit": context_of(bot)}
        cursor.execute(HISTORY, asked)
    except BaseException:
        if not cursor.connection.closed:
            cursor.execute("rollback")
        raise
    rows = sorted((MessageRow(*row) for row in cursor.fetchall()), key=lambda row: row.seq)
    question = rows.pop() if rows and rows[-1].id == message.reply_to else None
    return Job(message, name, bot, taken_over, rows if question else [], question)


class Claimer(NamedTuple):
    """A worker with room for one more answer."""

    owner: str
    lease_s: float
    per_user: int
    context_of: ContextOf


def append(
    batch: Sequence[NewMessage], who_answers: WhoAnswers, claimer: Claimer | None
) -> Steps[tuple[list[Appended], Job | None]]:
    """`messages.append`; where it queues exactly one answer, that is claimed in the same transaction, if it can be.

    A lone question's answer begins one transaction earlier. Whether it may be claimed is asked as ever.
    """
    asked: list[Appended] = []

    def ending(results: list[Appended]) -> tuple[str, list[Any]] | None:
        asked.extend(done for done in results if done.answer is not None)
        if claimer is None or len(asked) != 1 or asked[0].message is None or asked[0].answer is None:
            return None
        question, answer = asked[0].message, asked[0].answer
        limit = claimer.context_of(json.loads(asked[0].bot))
        return CLAIM_AT_ONCE, [
            *(answer.id, answer.id, claimer.owner, claimer.lease_s, claimer.per_user, claimer.lease_s * GRACE),
            *(question.room_id, question.id, limit, answer.id, claimer.owner),
        ]

    results, rows = yield from messages.append(batch, who_answers, ending)
    if not rows:
        return results, None
    question, answer = asked[0].message, asked[0].answer
    assert question is not None and answer is not None
    found = sorted((MessageRow(*row) for row in rows), key=lambda row: row.seq)
    if found[-1].id != answer.id:
        return results, None
    history = [row for row in found if row.seq < question.seq]
    bot = json.loads(asked[0].bot)
    return results, Job(found[-1], asked[0].room_name, bot, False, history, question)


def ask(
    new: NewMessage, may_mention: bool, default_when: str, default_name: str, claimer: Claimer
) -> Steps[tuple[Appended, Job | None] | None]:
    """`append` of one message whose answer this worker would make, in one round trip.

    None where nothing was written: it was sent before, is refused, or Python has to say whether the bot is mentioned;
    the other ways find out which. An answer that another one goes before is queued and left.
    """
    question_id, answer_id = new_id(), new_id()
    rows = yield (
        ASK,
        [
            *(*new, question_id, answer_id, may_mention, default_when, default_name),
            *(claimer.owner, claimer.lease_s, claimer.per_user),
            *(new.room_id, question_id, claimer.context_of({}), answer_id, claimer.owner),
        ],
    )
    found = sorted(((row[4], MessageRow(*row[5:])) for row in rows), key=lambda pair: pair[1].seq)
    question = next((message for _, message in found if message.id == question_id), None)
    if question is None:
        return None
    room_name, bot = rows[0][0], rows[0][1]
    claimed, answer = next(((mine, message) for mine, message in found if message.id == answer_id), (False, None))
    if answer is None:
        return Appended(question, None, room_name=room_name, bot=bot), None
    # Read after the commit: the question may have been edited already, and then its number is no longer beside the answer's.
    told = queued(answer_id, question, answer.user_name)._replace(changed_seq=answer.changed_seq - claimed)
    done = Appended(question, told, room_name=room_name, bot=bot)
    if not claimed:
        return done, None
    history = [message for _, message in found if message.seq < question.seq]
    people = (rows[0][2], rows[0][3])
    return done, Job(answer, room_name, json.loads(bot), False, history, None if question.deleted else question, people)


def forget_pieces(cursor: Any, message: MessageRow) -> bool:
    """Of an earlier attempt. True when there were some: its worker has died."""
    cursor.execute("delete from message_pieces where message_id = %s and attempt < %s", (message.id, message.attempt))
    return bool(cursor.rowcount)


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
    cost: Decimal | None = None
    first_ms: int | None = None
    total_ms: int | None = None


def spend(
    sql: Sql,
    user_id: str | None,
    room_id: str,
    provider: str,
    model: str,
    input_tokens: int,
    output_tokens: int,
    estimated: bool,
    cost: Decimal | None,
    *,
    message_id: str | None = None,
    status: str | None = None,
    first_ms: int | None = None,
    total_ms: int | None = None,
) -> None:
    """What a call of a model cost; also when its message, or the room, is not there any more.

    status: how an answer ended; "" for one that another worker makes, or that nobody waits for. None: no answer.
    """
    sql.run(
        "insert into usage (user_id, room_id, message_id, provider, model, input_tokens, output_tokens, estimated, cost,"
        " status, first_ms, total_ms) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        *(user_id, room_id, message_id, provider, model, input_tokens, output_tokens, estimated, cost),
        *(status, first_ms, total_ms),
    )


def spend_answer(sql: Sql, fence: Fence, room_id: str, asked_by: str | None, end: Ending, status: str) -> None:
    spent = (end.provider, end.model, end.input_tokens, end.output_tokens, end.estimated, end.cost)
    spend(
        sql, asked_by, room_id, *spent,
        message_id=fence.message_id, status=status, first_ms=end.first_ms, total_ms=end.total_ms,
    )  # fmt: skip


def finish(sql: Sql, fence: Fence, room_id: str, asked_by: str | None, end: Ending) -> MessageRow | None:
    """Write the end of an answer; None when it is not this worker's any more. What it cost is counted either way."""
    locked = rooms.lock(sql, room_id) is not None
    mine = locked and bool(sql.run("update messages set lease_until = lease_until where" + FENCE, *fence))
    spent = end.input_tokens + end.output_tokens > 0
    if spent or mine:
        spend_answer(sql, fence, room_id, asked_by, end, end.status if mine else "")
    if not mine:
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


def counted(sql: Sql, fence: Fence, end: Ending) -> bool:
    """This end's cost is there already, from a try whose COMMIT was never answered."""
    row = sql.row(
        "select 1 from usage where at > now() - interval '1 hour' and message_id = %s and total_ms = %s"
        " and input_tokens = %s and output_tokens = %s limit 1",
        fence.message_id,
        end.total_ms,
        end.input_tokens,
        end.output_tokens,
    )
    return row is not None


def ended(sql: Sql, fence: Fence, end: Ending) -> MessageRow | None:
    """The row, if it is still as this end left it."""
    row = find(sql, fence.message_id)
    same = row is not None and (row.attempt, row.status) == (fence.attempt, end.status) and not row.deleted
    return row if same else None


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


def keep_context(sql: Sql, message_id: str, attempt: int, prompt: Any, quoted: Sequence[str]) -> None:
    """quoted: the messages whose text stands in it. It is not kept when one of them was taken away meanwhile."""
    ids = list(quoted)
    sql.run(
        "insert into message_contexts (message_id, attempt, prompt, about) select id, %s, %s,"
        " array(select unnest(%s::uuid[]) union"
        "  select x.user_id from messages x where x.id = any(%s::uuid[]) and x.user_id is not null) from messages"
        " where id = %s and attempt = %s and not deleted and not exists (select from unnest(%s::uuid[]) q(id)"
        "  where not exists (select from messages x where x.id = q.id and not x.deleted))"
        " on conflict (message_id) do update set attempt = excluded.attempt, prompt = excluded.prompt, about = excluded.about",
        attempt,
        json.dumps(prompt),
        ids,
        ids,
        message_id,
        attempt,
        ids,
    )


def context(sql: Sql, message_id: str) -> tuple[int, Any] | None:
    row = sql.row("select attempt, prompt from message_contexts where message_id = %s", message_id)
    return (row[0], row[1]) if row else None


def depth(sql: Sql) -> tuple[int, int, float]:
    """(queued, streaming, age of the oldest queued one in seconds)

    One that is made again has waited since its last text became a version.
    """
    row = sql.row(
        "select count(*) filter (where status = 'queued'), count(*) filter (where status = 'streaming'),"
        " coalesce(extract(epoch from clock_timestamp() - min(case when m.status = 'queued' then greatest(m.created_at,"
        "   (select max(v.created_at) from message_versions v where v.message_id = m.id)) end)), 0)::float8"
        " from messages m where m.status in ('queued', 'streaming')"
    )
    assert row is not None
    return int(row[0]), int(row[1]), max(0.0, float(row[2]))
