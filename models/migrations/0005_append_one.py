"""Appending one message in one round trip: what `maru_append` (0002) does for many, as plain steps.

Most messages come alone, and a plan that numbers many costs Postgres half as much again as these four statements. What
is decided here stands there and in `models/messages.py` (`_number`) too; a test holds the three to each other.
"""

APPEND_ONE = """
create function maru_append_one(
    to_room uuid, from_user uuid, text_said text, sent_as text, answers_to uuid, new_id uuid, answer_id uuid,
    mention boolean, default_when text, default_name text
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
    takes int := 1;
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
        insert into messages (id, room_id, seq, changed_seq, role, content, created_at, reply_to, status, attempt, bot_name,
            asked_by)
            values (answer_id, to_room, seq + 1, changed_seq + 1, 'bot', '', created_at, new_id, 'queued', 1, answers,
                from_user);
    end if;
    update room_heads h set head = at_head + takes, last_seq = at_seq + takes where h.room_id = to_room;
    return next;
end
$$;
"""


def up(migrator, db):  # type: ignore[no-untyped-def]
    db.execute_sql(APPEND_ONE)
