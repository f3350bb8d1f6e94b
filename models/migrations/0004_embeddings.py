"""Vectors of meaning, by model: one serves, another may be filled meanwhile."""

SCHEMA = """
-- serving: the one that searches ask. requested: the latest that a pod's settings named; what is filled becomes serving.
create table embedding_models (
    id smallint generated always as identity primary key,
    name text not null unique,
    dimensions integer,
    korean real,
    serving boolean not null default false,
    requested timestamptz not null default now(),
    lease_owner uuid,
    lease_until timestamptz
);
create unique index embedding_models_serving on embedding_models (serving) where serving;

-- How far a room's log of changes has its vectors.
create table embedding_rooms (
    model_id smallint not null references embedding_models on delete cascade,
    room_id uuid not null references rooms on delete cascade,
    done bigint not null default 0,
    primary key (model_id, room_id)
) with (fillfactor = 50);

-- Rows go when their message does (`models.embeddings`); of any dimension, so each model's index names its own.
create table message_vectors (
    model_id smallint not null,
    room_id uuid not null,
    seq bigint not null,
    user_id uuid,
    created_at timestamptz not null,
    vector halfvec not null,
    primary key (model_id, room_id, seq)
);
alter table message_vectors alter column vector set storage main;
"""


def up(migrator, db):  # type: ignore[no-untyped-def]
    db.execute_sql(SCHEMA)
