"""Sessions that have run out and were not ended yet are found without reading those that live."""


def up(migrator, db):  # type: ignore[no-untyped-def]
    db.execute_sql("create index sessions_over on sessions (expires_at) where ended_at is null")
