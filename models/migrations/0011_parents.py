"""What held each message to its room and its user is asked of the room and the user when they go, not of every send.

A send moves the room's head, which is there only while the room is, by somebody who is a member; the constraints looked both
up again for every row, and locked them. With the two checks, which Postgres parses and plans anew in each statement, they
were an eighth of what a lone send costs Postgres, and a fifth of a batch of twenty."""

TRIES = 300
# Whoever reads rooms and messages may hold one and wait for the other: nobody is made to fail for us, and nobody waits long. A
# vacuum that Postgres began by itself gives way to the first lock after a second, which holds up nobody else.
LOCK = f"""
do $$
begin
    begin
        perform set_config('lock_timeout', '60s', true);
        lock table messages, rooms, users in share update exclusive mode;
    exception when lock_not_available then
        raise lock_not_available using message = 'messages, rooms or users are being vacuumed; try again later';
    end;
    for attempt in 1..{TRIES} loop
        begin
            perform set_config('lock_timeout', '100ms', true);
            lock table messages, rooms, users in access exclusive mode;
            return;
        exception when lock_not_available then
            perform pg_sleep(0.05 + random() * 0.1);
        end;
    end loop;
    raise lock_not_available using message = 'messages, rooms or users are read all the time (a backup?); try again later';
end
$$;
"""
PARENTS = """
alter table messages drop constraint messages_room_id_fkey, drop constraint messages_user_id_fkey,
    drop constraint messages_role_check, drop constraint messages_status_check;

create function maru_room_goes() returns trigger language plpgsql as $$
begin
    -- Whoever appends holds the head: what he wrote is there now, or he finds no head.
    perform from room_heads where room_id = old.id for update;
    delete from messages where room_id = old.id;
    return old;
end
$$;
create trigger rooms_go before delete on rooms for each row execute function maru_room_goes();

create function maru_user_goes() returns trigger language plpgsql as $$
begin
    if exists (select from messages where user_id = old.id) then
        raise foreign_key_violation using message = 'there are messages of this user';
    end if;
    return old;
end
$$;
create trigger users_go before delete on users for each row execute function maru_user_goes();
set local lock_timeout = 0;
"""


def up(migrator, db):  # type: ignore[no-untyped-def]
    db.execute_sql(LOCK)
    db.execute_sql(PARENTS)
