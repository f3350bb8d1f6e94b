"""What operators need: tallies kept as things are written, budgets, one-time links for passwords, retention.

Only adds, with defaults: pods of the version before go on working on it while they are replaced one by one.
"""

SCHEMA = """
-- What an answer cost and how long it took; `counted`: it is in the tallies.
alter table usage
    add column status text,
    add column cost numeric,
    add column first_ms integer,
    add column total_ms integer,
    add column counted boolean not null default false;
create index usage_uncounted on usage (id) where not counted;

-- Sums by hour and day, and by day of a user, a room and a model. bucket: wall-clock time of the server's zone.
create table tallies (
    kind text not null check (kind in ('hour', 'day', 'user', 'room', 'model')),
    bucket timestamp not null,
    key text not null default '',
    messages bigint not null default 0,
    answers bigint not null default 0,
    failed bigint not null default 0,
    stopped bigint not null default 0,
    input_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    cost numeric not null default 0,
    primary key (kind, bucket, key)
);
create index tallies_key on tallies (kind, key, bucket);

-- How many answers took about 1.1^step ms to their first token.
create table paces (
    kind text not null check (kind in ('hour', 'day')),
    bucket timestamp not null,
    step smallint not null,
    times bigint not null,
    primary key (kind, bucket, step)
);

-- How far each room's messages are tallied: a place in its own count, which has no gaps.
create table tallied_rooms (
    room_id uuid primary key references rooms on delete cascade,
    seq bigint not null default 0
);

-- key: a user's or room's id; all zeros stand for everyone who has no line of their own.
create table budgets (
    kind text not null check (kind in ('user', 'room')),
    key uuid not null,
    span text not null check (span in ('day', 'month')),
    unit text not null check (unit in ('tokens', 'money')),
    soft numeric,
    hard numeric,
    primary key (kind, key, span, unit)
);

-- What running answers have cost so far, on whichever pod; only while there are budgets.
create table spending (
    message_id uuid primary key references messages on delete cascade,
    user_id uuid,
    room_id uuid not null,
    tokens bigint not null,
    cost numeric not null
);
create index spending_user on spending (user_id);
create index spending_room on spending (room_id);

-- A soft limit is told of once when it is passed, not with each answer after it.
create table budget_marks (
    kind text not null,
    key uuid not null,
    span text not null,
    unit text not null,
    bucket timestamp not null,
    primary key (kind, key, span, unit, bucket)
);

create table password_resets (
    hash bytea primary key,
    user_id uuid not null references users on delete cascade,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index password_resets_user on password_resets (user_id);

-- retention_days null: the server's. first_seq: what is below was removed by retention.
alter table rooms add column retention_days integer check (retention_days > 0);
-- Left for good, and what was said is still to be removed.
alter table users add column erasing boolean not null default false;
alter table rooms add column first_seq bigint not null default 1;

create index errors_kind on errors (kind, at);
"""


def up(migrator, db):  # type: ignore[no-untyped-def]
    db.execute_sql(SCHEMA)
