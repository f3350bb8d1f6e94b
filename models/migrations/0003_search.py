"""The index of words. Rows of it go when their message does (`models.search`), not by a reference: that would lock and
so rewrite each message's row for the sake of its index."""

SCHEMA = """
-- How far a room's log of changes is in the index; what is beyond is looked at row by row. redone: how far the entries
-- up to there were made again, while that is going on.
create table search_rooms (
    room_id uuid primary key references rooms on delete cascade,
    done bigint not null default 0,
    redone bigint
) with (fillfactor = 50);

-- terms: numbers of the words, of the room and of the author. weights: the words' saturated counts (BM25 without idf).
create table search_messages (
    room_id uuid not null,
    seq bigint not null,
    user_id uuid,
    created_at timestamptz not null,
    terms integer[] not null,
    weights sparsevec not null,
    primary key (room_id, seq)
);
alter table search_messages set (toast_tuple_target = 8160);
alter table search_messages alter column weights set storage main;
alter table search_messages alter column terms set storage main;
-- Few may wait outside the index proper, since each query reads all of these.
create index search_messages_terms on search_messages using gin (terms) with (gin_pending_list_limit = 512);

-- In how many messages a word is. deletions: of Latin words, to mend typos by.
create table search_terms (
    term integer primary key,
    messages integer not null,
    word text,
    deletions integer[]
) with (fillfactor = 70);
create index search_terms_deletions on search_terms using gin (deletions) where deletions is not null;

create table search_totals (
    one boolean primary key default true check (one),
    messages bigint not null,
    length bigint not null
);
insert into search_totals values (true, 0, 0);
"""


def up(migrator, db):  # type: ignore[no-untyped-def]
    db.execute_sql(SCHEMA)
