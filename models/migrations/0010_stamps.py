"""A room's stamp: it moves with whatever decides who may write there and who answers, in the row that a send locks anyway.

A pod that has seen a send of somebody in a room need not ask again whether he may, as long as the stamp is the same. Moved
by Postgres, so that no program can forget to: also an older pod's change counts, and one made by hand."""

STAMPS = """
alter table room_heads add column stamp bigint not null default 0;

-- Who comes into a room has not been seen to write there, and moves nothing.
create function maru_members_gone() returns trigger language plpgsql as $$
begin
    update room_heads set stamp = stamp + 1 where room_id in (select room_id from gone);
    return null;
end
$$;
create trigger members_gone after delete on members referencing old table as gone
    for each statement execute function maru_members_gone();

create function maru_room_moved() returns trigger language plpgsql as $$
begin
    if tg_table_name = 'rooms' then
        update room_heads set stamp = stamp + 1 where room_id = old.id;
    else
        update room_heads set stamp = stamp + 1 where room_id = old.room_id;
    end if;
    return null;
end
$$;
create trigger members_moved after update of room_id, user_id, role on members
    for each row execute function maru_room_moved();
create trigger rooms_moved after update of bot, gone on rooms
    for each row execute function maru_room_moved();
"""


def up(migrator, db):  # type: ignore[no-untyped-def]
    db.execute_sql(STAMPS)
