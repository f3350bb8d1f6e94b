"""The first schema. SQL as it was on that day: migrations do not import the application."""

SCHEMA = """
create table users (
    id uuid primary key,
    email text not null,
    email_key text unique,
    name text not null,
    role text not null default 'user' check (role in ('admin', 'user')),
    password_hash text,
    created_at timestamptz not null default now(),
    disabled boolean not null default false,
    deleted_at timestamptz
);

create table sessions (
    id uuid primary key,
    user_id uuid not null references users on delete cascade,
    cookie_hash bytea not null unique,
    created_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    expires_at timestamptz not null,
    ended_at timestamptz,
    user_agent text not null default '',
    ip text not null default '',
    generation integer not null default 0
);
create index sessions_user on sessions (user_id);

create table refresh_tokens (
    hash bytea primary key,
    session_id uuid not null references sessions on delete cascade,
    generation integer not null,
    used_at timestamptz,
    void boolean not null default false
);
create index refresh_tokens_session on refresh_tokens (session_id);

create table api_keys (
    id uuid primary key,
    user_id uuid not null references users on delete cascade,
    name text not null,
    hash bytea not null unique,
    created_at timestamptz not null default now(),
    expires_at timestamptz
);
create index api_keys_user on api_keys (user_id);

create table rooms (
    id uuid primary key,
    name text,
    created_at timestamptz not null default now(),
    created_by uuid references users,
    bot jsonb not null default '{}'
);

-- Narrow and hot: every durable change of a room locks and moves its row.
create table room_heads (
    room_id uuid primary key references rooms on delete cascade,
    head bigint not null default 0,
    last_seq bigint not null default 0
) with (fillfactor = 50);

create table members (
    room_id uuid not null references rooms on delete cascade,
    user_id uuid not null references users,
    role text not null check (role in ('owner', 'member', 'reader')),
    joined_at timestamptz not null default now(),
    read_seq bigint not null default 0,
    primary key (room_id, user_id)
);
create index members_user on members (user_id);

create table invites (
    code text primary key,
    room_id uuid not null references rooms on delete cascade,
    created_by uuid references users,
    role text not null check (role in ('owner', 'member', 'reader')),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    max_uses integer not null,
    uses integer not null default 0
);
create index invites_room on invites (room_id);

-- A bot's queued message is the job: lease_* belong to the worker that makes the answer.
create table messages (
    id uuid primary key,
    room_id uuid not null references rooms on delete cascade,
    seq bigint not null,
    changed_seq bigint not null,
    user_id uuid references users,
    role text not null check (role in ('user', 'bot', 'system')),
    content text not null,
    created_at timestamptz not null default now(),
    client_id text,
    reply_to uuid,
    status text not null default 'complete'
        check (status in ('complete', 'queued', 'streaming', 'stopped', 'failed')),
    attempt integer,
    edited_at timestamptz,
    deleted boolean not null default false,
    versions integer not null default 0,
    bot_name text,
    asked_by uuid,
    provider text,
    model text,
    input_tokens integer,
    output_tokens integer,
    usage_estimated boolean,
    reasoning text,
    reasoning_ms integer,
    sources jsonb,
    stopped_by uuid,
    error_code text,
    error_message text,
    lease_owner uuid,
    lease_until timestamptz
);
create unique index messages_seq on messages (room_id, seq);
create unique index messages_changed on messages (room_id, changed_seq);
create unique index messages_client on messages (room_id, user_id, client_id) where client_id is not null;
create unique index messages_running on messages (room_id) where status = 'streaming';
create index messages_jobs on messages (room_id, seq) where status in ('queued', 'streaming');
create index messages_user on messages (user_id, created_at);

create table message_versions (
    message_id uuid not null references messages on delete cascade,
    version integer not null,
    content text not null,
    created_at timestamptz not null default now(),
    model text,
    primary key (message_id, version)
);

-- Text of a running answer, appended about once a second: any pod can go on from here.
create table message_pieces (
    message_id uuid not null references messages on delete cascade,
    attempt integer not null,
    from_n integer not null,
    next_n integer not null,
    content text not null,
    kind text not null default 'text',
    primary key (message_id, attempt, from_n)
);

-- Exactly what the model was given for an answer.
create table message_contexts (
    message_id uuid primary key references messages on delete cascade,
    attempt integer not null,
    prompt jsonb not null
);

-- One locked row numbers every change of access; a reader asks for n above its own.
create table access_head (one boolean primary key default true check (one), n bigint not null);
insert into access_head values (true, 0);
create table access_log (
    n bigint primary key,
    at timestamptz not null default now(),
    kind text not null,
    user_id uuid,
    session_id uuid,
    room_id uuid
);

create table usage (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    user_id uuid,
    room_id uuid,
    message_id uuid,
    provider text not null,
    model text not null,
    input_tokens integer not null,
    output_tokens integer not null,
    estimated boolean not null
);
create index usage_user on usage (user_id, at);
create index usage_at on usage (at);

create table errors (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    kind text not null,
    detail text not null,
    request_id text
);
create index errors_at on errors (at);

create table audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    user_id uuid,
    action text not null,
    target text not null
);
"""


def up(migrator, db):  # type: ignore[no-untyped-def]
    db.execute_sql(SCHEMA)
