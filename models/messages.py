"""Messages: appending many at once, changing one, reading pages. Every change takes the room's next number.

The numbers come from the room's `room_heads` row, locked to commit: whoever sees number n has every number below it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from models import rooms
from models.base import new_id
from models.database import Sql
from models.direct import Steps


class MessageRow(NamedTuple):
    id: str
    room_id: str
    seq: int
    changed_seq: int
    user_id: str | None
    user_name: str
    role: str
    content: str
    created_at: datetime
    client_id: str | None = None
    reply_to: str | None = None
    status: str = "complete"
    attempt: int | None = None
    edited_at: datetime | None = None
    deleted: bool = False
    versions: int = 0
    provider: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    usage_estimated: bool | None = None
    reasoning: str | None = None
    reasoning_ms: int | None = None
    sources: list[dict[str, str]] | None = None
    stopped_by: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    asked_by: str | None = None


COLUMNS = (
    "m.id, m.room_id, m.seq, m.changed_seq, m.user_id, coalesce(u.name, m.bot_name, ''), m.role, m.content,"
    " m.created_at, m.client_id, m.reply_to, m.status, m.attempt, m.edited_at, m.deleted, m.versions, m.provider,"
    " m.model, m.input_tokens, m.output_tokens, m.usage_estimated, m.reasoning, m.reasoning_ms, m.sources,"
    " m.stopped_by, m.error_code, m.error_message, m.asked_by"
)
FROM = " from messages m left join users u on u.id = m.user_id"
SELECT = "select " + COLUMNS + FROM
# What a prompt is given of a room.
SAID = "not m.deleted and m.content <> '' and m.status in ('complete', 'stopped')"
SIZE = "octet_length(m.content) + octet_length(coalesce(m.reasoning, '')) + 300"

# -- appending


class NewMessage(NamedTuple):
    """client_id: never None; one that the server made is longer than any client's (65 characters or more)."""

    room_id: str
    user_id: str
    content: str
    client_id: str
    reply_to: str | None


class Appended(NamedTuple):
    """What became of one NewMessage: `refused` (an error code), or the row, with the answer queued beside it.

    duplicate: the row was there before, from an earlier send with the same client_id.
    stamp: the room's; while it is the same, this user may write there and the same bot answers.
    """

    message: MessageRow | None = None
    answer: MessageRow | None = None
    duplicate: bool = False
    refused: str | None = None
    room_name: str | None = None
    bot: str = "{}"
    stamp: int | None = None


# (bot settings of the room as JSON, text, whether it replies to a bot's message) -> who shall answer, or None
WhoAnswers = Callable[[str, str, bool], str | None]

# Prepared once a connection: planning these joins anew would cost Postgres more than running them. Arrays instead of
# VALUES, so that the text is the same whatever the size of a batch.
PREPARED = {
    "maru_lock": "(uuid[]) as select from room_heads where room_id = any($1) order by room_id for update",
    "maru_look_up": "(uuid[], uuid[], text[], uuid[]) as"
    " select v.i, h.head, h.last_seq, m.role, u.name, r.name, r.bot::text, k.id, k.seq,"
    " coalesce(k.first_changed, k.changed_seq), k.created_at,"
    " case when p.room_id = v.room_id and not p.deleted then p.role end, clock_timestamp()"
    " from unnest($1, $2, $3, $4) with ordinality v(room_id, user_id, client_id, reply_to, i)"
    " left join room_heads h on h.room_id = v.room_id left join rooms r on r.id = v.room_id"
    " left join members m on m.room_id = v.room_id and m.user_id = v.user_id left join users u on u.id = v.user_id"
    " left join messages k on k.room_id = v.room_id and k.user_id = v.user_id and k.client_id = v.client_id"
    " left join messages p on p.id = v.reply_to order by v.i",
    "maru_insert": "(uuid[], uuid[], bigint[], bigint[], uuid[], text[], text[], timestamptz[], text[], uuid[], text[],"
    " int[], text[], uuid[]) as insert into messages (id, room_id, seq, changed_seq, user_id, role, content, created_at,"
    " client_id, reply_to, status, attempt, bot_name, asked_by)"
    " select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    "maru_move": "(uuid[], bigint[], bigint[]) as update room_heads h set head = v.head, last_seq = v.last_seq"
    " from unnest($1, $2, $3) v(room_id, head, last_seq) where h.room_id = v.room_id",
    "maru_send": "(uuid[], uuid[], text[], text[], uuid[], uuid[], uuid[], bool[], text, text) as"
    " select fault, first_i, message_id, seq, changed_seq, created_at, user_name, answers, room_name, bot,"
    " (select stamp from room_heads where room_id = $1[ordinality])"
    " from maru_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) with ordinality order by ordinality",
    "maru_send_one": "(uuid, uuid, text, text, uuid, uuid, uuid, bool, text, text, uuid, float8, int) as"
    " select a.*, (select stamp from room_heads where room_id = $1)"
    " from maru_append_lone($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) a",
    # Where a room's stamp is what it was, only the client ids are left to ask for. What another commits while this waits
    # for a head is seen in the head alone, which is where the stamp is.
    "maru_known": "(uuid[], uuid[], uuid[], text[], text[], int[], uuid[], bigint[], int[]) as"
    " with sent as (select distinct k.room_id from unnest($2, $3, $5) m(room_id, user_id, client_id) join messages k"
    "   on k.room_id = m.room_id and k.user_id = m.user_id and k.client_id = m.client_id),"
    " moved as (update room_heads h set head = h.head + v.takes, last_seq = h.last_seq + v.takes"
    "   from unnest($7, $8, $9) v(room_id, stamp, takes) where h.room_id = v.room_id and h.stamp = v.stamp"
    "   and not exists (select from sent where sent.room_id = v.room_id)"
    "   returning h.room_id, h.head - v.takes as head, h.last_seq - v.takes as last_seq)"
    " insert into messages (id, room_id, seq, changed_seq, user_id, role, content, created_at, client_id, status)"
    " select m.id, m.room_id, h.last_seq + m.n, h.head + m.n, m.user_id, 'user', m.content, clock_timestamp(), m.client_id,"
    "   'complete' from unnest($1, $2, $3, $4, $5, $6) m(id, room_id, user_id, content, client_id, n)"
    "   join moved h on h.room_id = m.room_id"
    " returning id, seq, changed_seq, created_at, (select u.name from users u where u.id = user_id)",
    "maru_known_one": "(uuid, uuid, uuid, text, text, bigint) as"
    " with moved as (update room_heads set head = head + 1, last_seq = last_seq + 1 where room_id = $2 and stamp = $6"
    "   and not exists (select from messages k where k.room_id = $2 and k.user_id = $3 and k.client_id = $5)"
    "   returning head, last_seq)"
    " insert into messages (id, room_id, seq, changed_seq, user_id, role, content, created_at, client_id, status)"
    " select $1, $2, last_seq, head, $3, 'user', $4, clock_timestamp(), $5, 'complete' from moved"
    " returning id, seq, changed_seq, created_at, (select u.name from users u where u.id = user_id)",
}
# A plan is made once and kept: made for tables that are still small it would scan them, and go on so when they are not.
BEGIN = "begin; set local enable_seqscan = off; "
# These run on the loop's own connection (`models.direct`), where that is so for good.
LOOK = "begin; execute maru_lock(%s::uuid[]); execute maru_look_up(%s::uuid[], %s::uuid[], %s::text[], %s::uuid[])"
WRITE = (
    "execute maru_insert(%s::uuid[], %s::uuid[], %s, %s, %s::uuid[], %s, %s, %s, %s::text[], %s::uuid[], %s, %s::int[],"
    " %s::text[], %s::uuid[]); execute maru_move(%s::uuid[], %s, %s); "
)

AT_ONCE = "execute maru_send(%s::uuid[], %s::uuid[], %s, %s, %s::uuid[], %s::uuid[], %s::uuid[], %s, %s, %s)"
ONE_AT_ONCE = "execute maru_send_one(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
NO_WORKER = (None, None, None)
KNOWN = "execute maru_known(%s::uuid[], %s::uuid[], %s::uuid[], %s, %s, %s, %s::uuid[], %s, %s)"
KNOWN_ONE = "execute maru_known_one(%s, %s, %s, %s, %s, %s)"

# What is to happen in the same round trip as the commit: statements that hold it, and their parameters.
Ending = Callable[[list[Appended]], tuple[str, list[Any]] | None]


def append(
    batch: Sequence[NewMessage], who_answers: WhoAnswers, ending: Ending = lambda results: None
) -> Steps[tuple[list[Appended], list[Any]]]:
    """Append a batch in one transaction of two round trips, whatever its size.

    Returns what became of each, and the rows that the ending's last statement gave.

    1. lock the heads, in id order, so that two pods can't deadlock; then look up, in a new statement and so with a fresh
       snapshot, the heads, known client ids and memberships;
    2. insert what is new, the queued answers with it, move the heads, commit.
    An error means that the whole batch failed; after a lost connection it may have been committed all the same, and a
    repetition finds its own client ids.
    """
    room_ids = sorted({new.room_id for new in batch})
    rooms_of, users, _, client_ids, replies = (list(column) for column in zip(*batch, strict=True))
    found = yield LOOK, (room_ids, rooms_of, users, client_ids, replies)
    results, inserts, heads = _number(batch, found, who_answers)
    if not inserts:
        yield "commit", ()
        return results, []
    moved = [(room_id, *heads[room_id]) for room_id in room_ids if room_id in heads]
    values = [
        (
            *row[:5],
            *row[6:12],
            row.attempt,
            row.user_name if row.role == "bot" else None,
            row.asked_by,
        )
        for row in inserts
    ]
    columns = [list(column) for rows in (values, moved) for column in zip(*rows, strict=True)]
    statements, given = ending(results) or ("commit", [])
    last = yield WRITE + statements, columns + given
    return results, last


def append_at_once(
    batch: Sequence[NewMessage], may_mention: Sequence[bool], default_when: str, default_name: str
) -> Steps[list[Appended] | None]:
    """The same in one round trip; None, and nothing is written, where Python has to say whether a bot is mentioned.

    may_mention: whether a bot that answers mentions could be asked by this message. default_when, default_name: of a
    room's bot whose settings lack them.
    """
    ids, answer_ids = [new_id() for _ in batch], [new_id() for _ in batch]
    if len(batch) == 1:
        one = (*batch[0], ids[0], answer_ids[0], may_mention[0], default_when, default_name, *NO_WORKER)
        found = yield ONE_AT_ONCE, one
    else:
        columns = (list(column) for column in zip(*batch, strict=True))
        found = yield AT_ONCE, [*columns, ids, answer_ids, list(may_mention), default_when, default_name]
    if not found:
        return None
    results: list[Appended] = []
    for i, (new, row) in enumerate(zip(batch, found, strict=True)):
        fault, first_i, id_, seq, changed_seq, at, name, bot_name, room_name, bot, stamp = row
        if first_i is not None and first_i <= i:  # that one's place in the batch, counted from 1
            results.append(Appended(results[first_i - 1].message, duplicate=True))
        elif fault == "known":
            known = MessageRow(id_, new.room_id, seq, changed_seq, new.user_id, name, "user", "", at)
            results.append(Appended(known, duplicate=True))
        elif fault is not None:
            results.append(Appended(refused=fault))
        else:
            message = MessageRow(
                id_, new.room_id, seq, changed_seq, new.user_id, name, "user", new.content, at,
                new.client_id, new.reply_to,
            )  # fmt: skip
            answer = queued(answer_ids[i], message, bot_name) if bot_name is not None else None
            results.append(Appended(message, answer, room_name=room_name, bot=bot, stamp=stamp))
    return results


def append_known(batch: Sequence[NewMessage], stamps: Mapping[str, int]) -> Steps[list[Appended | None]]:
    """Append what nothing has to be asked for: of users who may write there, replies to nothing, for no bot to answer, as
    long as each room's stamp is the one given here (room -> stamp).

    None where it is not, or a client id is known: of that room nothing is written. A batch has a client id once. An error
    means that nothing was written at all; after a lost connection all may have been.
    """
    ids = [new_id() for _ in batch]
    if len(batch) == 1:
        new = batch[0]
        found = yield KNOWN_ONE, (ids[0], new.room_id, new.user_id, new.content, new.client_id, stamps[new.room_id])
    else:
        taken: dict[str, int] = {}
        numbers = []
        for new in batch:
            taken[new.room_id] = taken.get(new.room_id, 0) + 1
            numbers.append(taken[new.room_id])
        room_ids = sorted(taken)  # so that two pods can't deadlock
        rooms_of, users, texts, client_ids, _ = (list(column) for column in zip(*batch, strict=True))
        found = yield (
            KNOWN,
            (
                *(ids, rooms_of, users, texts, client_ids, numbers),
                *(room_ids, [stamps[room_id] for room_id in room_ids], [taken[room_id] for room_id in room_ids]),
            ),
        )
    rows = {row[0]: row for row in found}
    results: list[Appended | None] = []
    for id_, new in zip(ids, batch, strict=True):
        row = rows.get(id_)
        if row is None:
            results.append(None)
            continue
        _, seq, changed_seq, at, name = row
        results.append(
            Appended(
                MessageRow(
                    id_, new.room_id, seq, changed_seq, new.user_id, name, "user", new.content, at, new.client_id
                )
            )
        )
    return results


def queued(answer_id: str, question: MessageRow, bot_name: str) -> MessageRow:
    """The answer to a message, which takes the numbers after the message's own."""
    return MessageRow(
        answer_id, question.room_id, question.seq + 1, question.changed_seq + 1, None, bot_name, "bot", "", question.created_at,
        reply_to=question.id, status="queued", attempt=1, asked_by=question.user_id,
    )  # fmt: skip


def _number(
    batch: Sequence[NewMessage], found: list[Any], who_answers: WhoAnswers
) -> tuple[list[Appended], list[MessageRow], dict[str, list[int]]]:
    """(what becomes of each, rows to insert, heads as they will be)."""
    results: list[Appended] = []
    inserts: list[MessageRow] = []
    heads: dict[str, list[int]] = {}
    in_batch: dict[tuple[str, str, str], MessageRow] = {}
    for _, at_head, at_seq, role, name, room_name, bot, known_id, seq, changed_seq, at, reply_role, now in found:
        new = batch[len(results)]
        key = (new.room_id, new.user_id, new.client_id)
        if at_head is None or role is None:
            results.append(Appended(refused="room.not_found"))
            continue
        if known_id is not None:
            known = MessageRow(known_id, new.room_id, seq, changed_seq, new.user_id, name, "user", "", at)
            results.append(Appended(known, duplicate=True))
            continue
        if key in in_batch:
            results.append(Appended(in_batch[key], duplicate=True))
            continue
        if role == "reader":
            results.append(Appended(refused="room.read_only"))
            continue
        if new.reply_to is not None and reply_role is None:
            results.append(Appended(refused="message.reply_not_found"))
            continue
        head = heads.setdefault(new.room_id, [at_head, at_seq])
        head[0] += 1
        head[1] += 1
        row = MessageRow(
            new_id(), new.room_id, head[1], head[0], new.user_id, name, "user", new.content, now,
            new.client_id, new.reply_to,
        )  # fmt: skip
        inserts.append(row)
        in_batch[key] = row
        answer = None
        bot_name = who_answers(bot, new.content, reply_role == "bot")
        if bot_name is not None:
            head[0] += 1
            head[1] += 1
            answer = queued(new_id(), row, bot_name)
            inserts.append(answer)
        results.append(Appended(row, answer, room_name=room_name, bot=bot))
    return results, inserts, heads


def find_by_client(sql: Sql, room_id: str, user_id: str, client_id: str) -> MessageRow | None:
    """The message of an earlier send with the number that it had then, while its sender is a member."""
    row = sql.row(
        "select m.first_changed, "
        + COLUMNS
        + FROM
        + " join members x on x.room_id = m.room_id and x.user_id = m.user_id"
        " where m.room_id = %s and m.user_id = %s and m.client_id = %s",
        room_id,
        user_id,
        client_id,
    )
    if row is None:
        return None
    found = MessageRow(*row[1:])
    return found._replace(changed_seq=row[0] or found.changed_seq)


# -- changing one


def find(sql: Sql, message_id: str) -> MessageRow | None:
    row = sql.row(SELECT + " where m.id = %s", message_id)
    return MessageRow(*row) if row else None


def find_steps(message_id: str) -> Steps[MessageRow | None]:
    rows = yield SELECT + " where m.id = %s", (message_id,)
    return MessageRow(*rows[0]) if rows else None


def readable(sql: Sql, message_id: str, user_id: str) -> tuple[MessageRow, str] | None:
    """The message and the reader's role in its room; None for who may not see it."""
    row = sql.row(
        "select x.role, " + COLUMNS + FROM + " join members x on x.room_id = m.room_id and x.user_id = %s"
        " where m.id = %s",
        user_id,
        message_id,
    )
    return (MessageRow(*row[1:]), row[0]) if row else None


def readable_of(sql: Sql, user_id: str, ids: Sequence[str]) -> set[str]:
    """Which of these messages somebody may read, and which still say something."""
    found = sql.rows(
        "select m.id from messages m join members x on x.room_id = m.room_id and x.user_id = %s"
        " where m.id = any(%s::uuid[]) and not m.deleted",
        user_id,
        list(ids),
    )
    return {row[0] for row in found}


def lock(sql: Sql, message_id: str, user_id: str) -> tuple[MessageRow, str] | None:
    """Like `readable`, with the room's head held first, so that what is read stays true to the commit."""
    row = sql.row("select room_id from messages where id = %s", message_id)
    if row is None or rooms.lock(sql, row[0]) is None:
        return None
    return readable(sql, message_id, user_id)


def next_number(sql: Sql, room_id: str) -> int:
    row = sql.row("update room_heads set head = head + 1 where room_id = %s returning head", room_id)
    assert row is not None
    return int(row[0])


def keep_version(sql: Sql, message: MessageRow) -> None:
    """Its text as it is becomes an earlier version."""
    sql.run(
        "insert into message_versions (message_id, version, content, created_at, model)"
        " select id, versions + 1, content, coalesce(edited_at, created_at), model from messages where id = %s",
        message.id,
    )


def edit(sql: Sql, message: MessageRow, content: str) -> MessageRow:
    keep_version(sql, message)
    sql.run(
        "update messages set content = %s, edited_at = clock_timestamp(), versions = versions + 1, changed_seq = %s"
        " where id = %s",
        content,
        next_number(sql, message.room_id),
        message.id,
    )
    return _again(sql, message.id)


def delete(sql: Sql, message: MessageRow) -> MessageRow:
    """Nothing is left but the place; a running answer ends with it, since its worker's writes name a running one."""
    sql.run(
        "update messages set content = '', deleted = true, reasoning = null, reasoning_ms = null, sources = null,"
        " versions = 0, edited_at = null, error_code = null, error_message = null, lease_owner = null,"
        " lease_until = null, status = case when status in ('queued', 'streaming') then 'stopped' else status end,"
        " changed_seq = %s where id = %s",
        next_number(sql, message.room_id),
        message.id,
    )
    for table in ("message_versions", "message_pieces", "message_contexts"):
        sql.run(f"delete from {table} where message_id = %s", message.id)
    return _again(sql, message.id)


def _again(sql: Sql, message_id: str) -> MessageRow:
    row = find(sql, message_id)
    assert row is not None
    return row


# -- reading


class Page(NamedTuple):
    """messages: oldest first."""

    messages: list[MessageRow]
    more_before: bool
    more_after: bool


PAGE_BYTES = 512 * 1024


def _run(
    sql: Sql, where: str, params: tuple[Any, ...], order: str, limit: int, most: int = PAGE_BYTES
) -> list[MessageRow]:
    """At most `limit` rows and, past the first, about `most` bytes of text."""
    found = sql.rows(
        f"select {COLUMNS}, sum({SIZE}) over (order by m.{order}) - ({SIZE}) {FROM} where {where}"
        f" order by m.{order} limit %s",
        *params,
        limit,
    )
    return [MessageRow(*row[:-1]) for row in found if row[-1] <= most]


def page(
    sql: Sql,
    room_id: str,
    *,
    before: int | None = None,
    after: int | None = None,
    around: int | None = None,
    limit: int = 50,
) -> Page:
    """By seq. before and after are exclusive; around: half on each side with it; none: the newest."""
    # Places have no gaps, so both ends of a page are known: whatever the plan, no more is read.
    below = "m.room_id = %s and m.seq < %s and m.seq >= (select least(%s, last_seq + 1) - %s from room_heads where room_id = %s)"
    if around is not None:
        half = PAGE_BYTES // 2
        older = _run(sql, "m.room_id = %s and m.seq < %s", (room_id, around), "seq desc", limit // 2, half)
        newer = _run(sql, "m.room_id = %s and m.seq >= %s", (room_id, around), "seq", max(1, limit - limit // 2), half)
        found = older[::-1] + newer
    elif after is not None:
        found = _run(sql, "m.room_id = %s and m.seq > %s", (room_id, after), "seq", limit)
    elif before is not None:
        found = _run(sql, below, (room_id, before, before, limit, room_id), "seq desc", limit)[::-1]
    else:
        found = last(sql, room_id, limit, PAGE_BYTES)
    if found:
        low, high = found[0].seq, found[-1].seq
    elif after is not None:
        low, high = after + 1, after
    elif around is not None:
        low = high = around
    else:
        low = high = before if before is not None else 0
        high = low - 1 if before is not None else 0
    ends = sql.row(
        "select exists (select from messages where room_id = %s and seq < %s),"
        " exists (select from messages where room_id = %s and seq > %s)",
        room_id,
        low,
        room_id,
        high,
    )
    assert ends is not None
    return Page(found, bool(ends[0]), bool(ends[1]))


def last(sql: Sql, room_id: str, limit: int, most: int) -> list[MessageRow]:
    """The newest, oldest first, of about `most` bytes of text."""
    where = "m.room_id = %s and m.seq > (select last_seq - %s from room_heads where room_id = %s)"
    return _run(sql, where, (room_id, limit, room_id), "seq desc", limit, most)[::-1]


def said_last(sql: Sql, room_id: str, limit: int) -> list[MessageRow]:
    """What a prompt is given of a room: the newest finished messages, oldest first."""
    found = sql.rows(
        f"{SELECT} where m.room_id = %s and {SAID} order by m.seq desc limit %s",
        room_id,
        limit,
    )
    return [MessageRow(*row) for row in reversed(found)]


def changes(sql: Sql, room_id: str, after: int, limit: int) -> tuple[list[MessageRow], int, bool]:
    """(messages with a number above `after` in that order, head, whether there are more)."""
    found = _run(sql, "m.room_id = %s and m.changed_seq > %s", (room_id, after), "changed_seq", limit)
    row = sql.row("select head from room_heads where room_id = %s", room_id)
    head = int(row[0]) if row else 0
    more = False
    if found:
        rest = sql.row(
            "select exists (select from messages where room_id = %s and changed_seq > %s)",
            room_id,
            found[-1].changed_seq,
        )
        more = bool(rest and rest[0])
    return found, head, more


def heads(sql: Sql, room_ids: Sequence[str]) -> dict[str, int]:
    found = sql.rows("select room_id, head from room_heads where room_id = any(%s::uuid[])", list(room_ids))
    return dict(found)  # type: ignore[arg-type]


def newest(sql: Sql, room_ids: Sequence[str]) -> dict[str, MessageRow]:
    """The last message of each room that has one."""
    found = sql.rows(
        f"select {COLUMNS} from unnest(%s::uuid[]) r(id) cross join lateral"
        " (select * from messages x where x.room_id = r.id order by x.seq desc limit 1) m"
        " left join users u on u.id = m.user_id",
        list(room_ids),
    )
    return {row[1]: MessageRow(*row) for row in found}


def versions(sql: Sql, message_id: str) -> list[tuple[int, str, datetime, str | None]]:
    found = sql.rows(
        "select version, content, created_at, model from message_versions where message_id = %s order by version",
        message_id,
    )
    return [(row[0], row[1], row[2], row[3]) for row in found]


def every(sql: Sql, room_id: str, after: int, limit: int) -> list[MessageRow]:
    """For an export, in pieces: by seq above `after`."""
    found = sql.rows(SELECT + " where m.room_id = %s and m.seq > %s order by m.seq limit %s", room_id, after, limit)
    return [MessageRow(*row) for row in found]


def left_behind(sql: Sql, user_id: str, after: str, limit: int) -> list[MessageRow]:
    """What somebody said in rooms that he is not in any more, in pieces by id."""
    found = sql.rows(
        SELECT + " where m.user_id = %s and m.id > %s and not m.deleted"
        " and not exists (select from members x where x.room_id = m.room_id and x.user_id = m.user_id)"
        " order by m.id limit %s",
        user_id,
        after,
        limit,
    )
    return [MessageRow(*row) for row in found]
