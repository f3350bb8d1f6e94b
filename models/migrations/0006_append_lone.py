"""Appending one message, and claiming its answer where this worker may make it at once: `maru_append_one` (0005) and more.

Of another name, since a pod of an older program beside this one still calls that by its ten parameters. What is decided
here stands in `maru_append` (0002) and in `models/messages.py` (`_number`) too; a test holds the three to each other.

worker: who makes the answer, if it may be made now (what `maru_claim` of `models/generations.py` decides), so that its
row is written once and not queued first; null: it waits for a claim.
"""

APPEND_LONE = """
create function maru_append_lone(
    to_room uuid, from_user uuid, text_said text, sent_as text, answers_to uuid, new_id uuid, answer_id uuid,
    mention boolean, default_when text, default_name text, worker uuid, lease_s float8, most int
) returns table (
    fault text, first_i bigint, message_id uuid, seq bigint, changed_seq bigint, created_at timestamptz, user_name text,
    answers text, room_name text, bot text
) language plpgsql volatile as $$
#variable_conflict use_column
declare
    at_head bigint;
    at_seq bigint;
    sender_role text;
    settings jsonb;
    bot_when text;
    takes int := 1; -- numbers of places
    claims int := 0; -- and one more of changes: it was queued, it streams
begin
    -- What follows is a new statement and so sees what the holder of the lock before us committed.
    select h.head, h.last_seq into at_head, at_seq from room_heads h where h.room_id = to_room for update;
    select m.role, u.name, r.name, r.bot, k.id, k.seq, k.changed_seq, k.created_at
        into sender_role, user_name, room_name, settings, message_id, seq, changed_seq, created_at
        from members m join users u on u.id = m.user_id join rooms r on r.id = m.room_id
        left join messages k on k.room_id = m.room_id and k.user_id = m.user_id and k.client_id = sent_as
        where m.room_id = to_room and m.user_id = from_user;
    bot := settings::text;
    bot_when := coalesce(settings ->> 'when', default_when);
    fault := case
        when at_head is null or sender_role is null then 'room.not_found'
        when message_id is not null then 'known'
        when sender_role = 'reader' then 'room.read_only'
        when answers_to is not null
            and not exists (select from messages p where p.id = answers_to and p.room_id = to_room and not p.deleted)
            then 'message.reply_not_found'
    end;
    if fault is not null then
        return next;
        return;
    end if;
    if bot_when = 'mention' and mention then
        return; -- who is asked is Python's to say
    end if;
    message_id := new_id;
    seq := at_seq + 1;
    changed_seq := at_head + 1;
    created_at := clock_timestamp();
    insert into messages (id, room_id, seq, changed_seq, user_id, role, content, created_at, client_id, reply_to, status)
        values (new_id, to_room, seq, changed_seq, from_user, 'user', text_said, created_at, sent_as, answers_to, 'complete');
    if bot_when = 'always' then
        answers := coalesce(settings ->> 'name', default_name);
        takes := 2;
        if worker is not null then
            -- One asker's claims take turns, or two pods would both see room for one more.
            perform pg_advisory_xact_lock(hashtextextended(from_user::text, 7));
            claims := (
                not exists (select from messages r where r.room_id = to_room and r.status in ('queued', 'streaming'))
                and (most = 0 or most > (
                    select count(*) from messages r where r.status = 'streaming' and r.asked_by = from_user
                ))
            )::int;
        end if;
        insert into messages (id, room_id, seq, changed_seq, role, content, created_at, reply_to, status, attempt, bot_name,
            asked_by, lease_owner, lease_until)
            values (answer_id, to_room, seq + 1, changed_seq + 1 + claims, 'bot', '', created_at, new_id,
                case claims when 1 then 'streaming' else 'queued' end, 1, answers, from_user,
                case claims when 1 then worker end,
                case claims when 1 then clock_timestamp() + make_interval(secs => lease_s) end);
    end if;
    update room_heads h set head = at_head + takes + claims, last_seq = at_seq + takes where h.room_id = to_room;
    return next;
end
$$;
"""


def up(migrator, db):  # type: ignore[no-untyped-def]
    db.execute_sql(APPEND_LONE)
