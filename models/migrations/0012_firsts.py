"""The number that a message had at first, kept once it changes: a send that is repeated gets the result of the first one.

Kept by Postgres, so that an older pod's change counts as well. The functions that append look sends up by their client id;
they are made again with this number in it, whatever else is in them."""

TRIES = 300
# Nobody waits long behind us, and a vacuum that Postgres began by itself gives way.
FIRSTS = f"""
do $$
begin
    for attempt in 1..{TRIES} loop
        begin
            perform set_config('lock_timeout', case attempt when 1 then '1500ms' else '100ms' end, true);
            lock table messages in access exclusive mode;
            exit;
        exception when lock_not_available then
            if attempt = {TRIES} then
                raise lock_not_available using message = 'messages are read all the time (a backup?); try again later';
            end if;
            perform pg_sleep(0.05 + random() * 0.1);
        end;
    end loop;
    perform set_config('lock_timeout', '0', true);
end
$$;
alter table messages add column first_changed bigint;

create function maru_first_changed() returns trigger language plpgsql as $$
begin
    new.first_changed := old.changed_seq;
    return new;
end
$$;
create trigger messages_first before update of changed_seq on messages
    for each row when (old.first_changed is null and old.client_id is not null) execute function maru_first_changed();

do $$
declare
    name text;
begin
    foreach name in array array['maru_append', 'maru_append_one', 'maru_append_lone'] loop
        execute replace(
            pg_get_functiondef(name::regproc), 'k.changed_seq', 'coalesce(k.first_changed, k.changed_seq)'
        );
    end loop;
end
$$;
"""


def up(migrator, db):  # type: ignore[no-untyped-def]
    db.execute_sql(FIRSTS)
