"""Appending messages in one round trip. What it decides stands in `models/messages.py` too (`_number`), and a test holds
the two to each other; a later rule gets a function of another name, since pods of both ages run side by side."""

APPEND = """
create function maru_append(
    room_ids uuid[], user_ids uuid[], contents text[], client_ids text[], replies uuid[], new_ids uuid[],
    answer_ids uuid[], mentions boolean[], default_when text, default_name text
) returns table (
    fault text, first_i bigint, message_id uuid, seq bigint, changed_seq bigint, created_at timestamptz, user_name text,
    answers text, room_name text, bot text
) language plpgsql volatile as $$
#variable_conflict use_column
begin
    -- In id order, so that two pods can't deadlock; what follows is a new statement and so sees what they committed.
    perform from room_heads where room_id = any(room_ids) order by room_id for update;
    return query
    with found as (
        select v.*, h.head, h.last_seq, u.name as user_name, r.name as room_name, r.bot,
            coalesce(r.bot ->> 'when', default_when) as bot_when, coalesce(r.bot ->> 'name', default_name) as bot_name,
            k.id as known_id, k.seq as known_seq, k.changed_seq as known_changed_seq, k.created_at as known_at,
            case
                when h.room_id is null or m.role is null then 'room.not_found'
                when k.id is not null then 'known'
                when m.role = 'reader' then 'room.read_only'
                when v.reply_to is not null and (p.room_id is distinct from v.room_id or p.deleted) then 'message.reply_not_found'
            end as fault
        from unnest(room_ids, user_ids, contents, client_ids, replies, new_ids, answer_ids, mentions)
            with ordinality v (room_id, user_id, content, client_id, reply_to, id, answer_id, mention, i)
        left join room_heads h on h.room_id = v.room_id
        left join rooms r on r.id = v.room_id
        left join members m on m.room_id = v.room_id and m.user_id = v.user_id
        left join users u on u.id = v.user_id
        left join messages k on k.room_id = v.room_id and k.user_id = v.user_id and k.client_id = v.client_id
        left join messages p on p.id = v.reply_to
    ), first as (
        select *, min(i) filter (where fault is null) over (partition by room_id, user_id, client_id) as first_i
        from found
    ), counted as (
        select *, case when fault is null and i = first_i then 1 + (bot_when = 'always')::int else 0 end as takes
        from first
    ), numbered as (
        select *, sum(takes) over (partition by room_id order by i) - takes + 1 as n,
            bool_or(takes > 0 and bot_when = 'mention' and mention) over () as undecided, clock_timestamp() as at
        from counted
    ), kept as (
        insert into messages (id, room_id, seq, changed_seq, user_id, role, content, created_at, client_id, reply_to,
            status, attempt, bot_name, asked_by)
        select id, room_id, last_seq + n, head + n, user_id, 'user', content, at, client_id, reply_to, 'complete',
            null::int, null, null::uuid
        from numbered where takes > 0 and not undecided
        union all
        select answer_id, room_id, last_seq + n + 1, head + n + 1, null, 'bot', '', at, null, id, 'queued', 1, bot_name,
            user_id
        from numbered where takes = 2 and not undecided
    ), moved as (
        update room_heads h set head = h.head + v.takes, last_seq = h.last_seq + v.takes
        from (select room_id, sum(takes) as takes from numbered where takes > 0 and not undecided group by room_id) v
        where h.room_id = v.room_id
    )
    select v.fault, v.first_i, coalesce(v.known_id, v.id), coalesce(v.known_seq, v.last_seq + v.n)::bigint,
        coalesce(v.known_changed_seq, v.head + v.n)::bigint, coalesce(v.known_at, v.at), v.user_name,
        case when v.takes = 2 then v.bot_name end, v.room_name, v.bot::text
    from numbered v where not v.undecided order by v.i;
end
$$;
"""


def up(migrator, db):  # type: ignore[no-untyped-def]
    db.execute_sql(APPEND)
