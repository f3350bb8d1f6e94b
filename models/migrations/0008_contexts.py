"""Whose words stand in what a model was given: so that it goes with them, in whichever room and however far off it is."""

SCHEMA = """
-- Ids of the messages that are quoted, and of their authors. Empty: from before, when nobody wrote it down.
alter table message_contexts add column about uuid[] not null default '{}';
create index message_contexts_about on message_contexts using gin (about);
"""


def up(migrator, db):  # type: ignore[no-untyped-def]
    db.execute_sql(SCHEMA)
