"""Rooms that are deleted and too large to go in one transaction: nobody is in them, and they are emptied bit by bit."""

SCHEMA = """
alter table rooms add column gone boolean not null default false;
create index rooms_gone on rooms (id) where gone;
"""


def up(migrator, db):  # type: ignore[no-untyped-def]
    db.execute_sql(SCHEMA)
