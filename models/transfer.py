"""Rows out of one database and into another, as lines of JSON. Knows columns; knows nothing of files or options.

A line is `{"<kind>": {column: value}}`. Secrets stay: no password, session or key is in it. Answers that run are given as stopped.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from models.database import Sql

VERSION = 1
AT_ONCE = 2000
SCOPE = "%(all)s or {room} = any(%(rooms)s::uuid[])"


class Kind(NamedTuple):
    """of: which rows belong to the rooms that are asked for."""

    name: str
    table: str
    columns: tuple[str, ...]
    order: str
    of: str


MESSAGE = (
    "id", "room_id", "seq", "changed_seq", "user_id", "role", "content", "created_at", "client_id", "reply_to", "status",
    "attempt", "edited_at", "deleted", "versions", "bot_name", "asked_by", "provider", "model", "input_tokens",
    "output_tokens", "usage_estimated", "reasoning", "reasoning_ms", "sources", "stopped_by", "error_code", "error_message",
    "first_changed",
)  # fmt: skip
KINDS = (
    Kind(
        "user", "users", ("id", "email", "name", "role", "created_at", "disabled", "deleted_at"), "id",
        "%(all)s or id in (select user_id from members where room_id = any(%(rooms)s::uuid[]) union"
        " select user_id from messages where room_id = any(%(rooms)s::uuid[]) union"
        " select created_by from rooms where id = any(%(rooms)s::uuid[]))",
    ),
    Kind(
        "room", "rooms", ("id", "name", "created_at", "created_by", "bot", "retention_days", "first_seq"), "id",
        SCOPE.format(room="id"),
    ),
    Kind("head", "room_heads", ("room_id", "head", "last_seq"), "room_id", SCOPE.format(room="room_id")),
    Kind(
        "member", "members", ("room_id", "user_id", "role", "joined_at", "read_seq"), "room_id, user_id",
        SCOPE.format(room="room_id"),
    ),
    Kind("message", "messages", MESSAGE, "room_id, seq", SCOPE.format(room="room_id")),
    Kind(
        "version", "message_versions", ("message_id", "version", "content", "created_at", "model"), "message_id, version",
        "%(all)s or message_id in (select id from messages where room_id = any(%(rooms)s::uuid[]))",
    ),
)  # fmt: skip
BY_NAME = {kind.name: kind for kind in KINDS}
# Columns that an earlier version of this one did not give.
LATER = {"first_changed"}
ROLES = ("user", "bot", "system")
STATUSES = ("complete", "stopped", "failed")
PEOPLE = ("user_id", "created_by", "asked_by", "stopped_by")
IDS = ("id", "room_id", "message_id", *PEOPLE)


class Unreadable(Exception):
    """A line that can't be taken; the message says why."""


def count(sql: Sql, rooms: Sequence[str] | None) -> int:
    """Lines that an export will have, but for its first."""
    given = {"all": rooms is None, "rooms": list(rooms or ())}
    total = 0
    for kind in KINDS:
        cursor = sql.raw()
        cursor.execute(f"select count(*) from {kind.table} where {kind.of}", given)
        total += cursor.fetchone()[0]
    return total


def lines(sql: Sql, rooms: Sequence[str] | None) -> Iterator[str]:
    """In an order that an import can follow. rooms: only these, with who is or wrote in them. In a transaction."""
    yield json.dumps({"maru": VERSION})
    given = {"all": rooms is None, "rooms": list(rooms or ())}
    for kind in KINDS:
        columns = ", ".join(
            "case when status in ('queued', 'streaming') then 'stopped' else status end as status"
            if c == "status"
            else c
            for c in kind.columns
        )
        cursor = sql.raw()
        cursor.execute(
            f"declare exported no scroll cursor for select row_to_json(t)::text from (select {columns} from {kind.table}"
            f" where {kind.of} order by {kind.order}) t",
            given,
        )
        while True:
            cursor.execute(f"fetch {AT_ONCE} from exported")
            rows = cursor.fetchall()
            if not rows:
                break
            for (row,) in rows:
                yield f'{{"{kind.name}":{row}}}'
        cursor.execute("close exported")


class Import:
    """Takes lines in their order, in the caller's transaction. Who is there already is matched, by id or address; a room
    that is there already is left as it is, with all that belongs to it."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self._begun = False
        self._people: dict[str, str] = {}  # id in the file -> id here
        self._rooms: set[str] = set()
        self._skipped: set[str] = set()
        self._messages: set[str] = set()
        self.added: dict[str, int] = {kind.name: 0 for kind in KINDS}
        self.left = 0

    def take(self, line: str) -> None:
        """Raises Unreadable, and the errors of Postgres."""
        name, row = self._read(line)
        if not self._begun:
            if name != "maru" or row != VERSION:
                raise Unreadable(f"this is no export of Maru, or of another version than {VERSION}")
            self._begun = True
            return
        kind = BY_NAME.get(name)
        if kind is None or not isinstance(row, dict) or not set(kind.columns) - LATER <= set(row) <= set(kind.columns):
            raise Unreadable("not a row that an export has")
        if any(not isinstance(row[column], str | None) for column in IDS if column in row):
            raise Unreadable("not a row that an export has: an id is a text")
        if getattr(self, f"_take_{name}", self._take_other)(kind, row):
            self.added[name] += 1
        else:
            self.left += 1

    def _read(self, line: str) -> tuple[str, Any]:
        try:
            ((name, row),) = json.loads(line).items()
        except (ValueError, AttributeError, RecursionError) as error:
            raise Unreadable(f"not a line of an export: {error}") from None
        return name, row

    def _take_user(self, kind: Kind, row: dict[str, Any]) -> bool:
        key = str(row["email"]).casefold() or None
        found = self._sql.row("select id from users where id::text = %s or email_key = %s", row["id"], key)
        self._people[row["id"]] = found[0] if found else row["id"]
        if found is None:
            self._insert(kind, row)
            self._sql.run("update users set email_key = %s where id = %s", key, row["id"])
        return found is None

    def _take_room(self, kind: Kind, row: dict[str, Any]) -> bool:
        if self._sql.row("select from rooms where id::text = %s", row["id"]) is not None:
            self._skipped.add(row["id"])
            return False
        self._rooms.add(row["id"])
        self._insert(kind, row)
        return True

    def _take_message(self, kind: Kind, row: dict[str, Any]) -> bool:
        """Nothing in Postgres holds a message to its room, its user and the words there are (migration 0011)."""
        if row["room_id"] in self._skipped:
            return False
        if row["room_id"] not in self._rooms:
            raise Unreadable("a message of a room that is not in the file")
        if row["user_id"] is not None and row["user_id"] not in self._people:
            raise Unreadable("a message of a user who is not in the file")
        if row["role"] not in ROLES or row["status"] not in STATUSES:
            raise Unreadable("a message has no such role or status")
        self._messages.add(row["id"])
        self._insert(kind, row)
        return True

    def _take_version(self, kind: Kind, row: dict[str, Any]) -> bool:
        if row["message_id"] not in self._messages:
            return False
        self._insert(kind, row)
        return True

    def _take_other(self, kind: Kind, row: dict[str, Any]) -> bool:
        if row["room_id"] in self._skipped:
            return False
        self._insert(kind, row)
        return True

    def _insert(self, kind: Kind, row: dict[str, Any]) -> None:
        for column in PEOPLE:
            if row.get(column) is not None:
                row[column] = self._people.get(row[column], row[column])
        names = ", ".join(kind.columns)
        self._sql.run(
            f"insert into {kind.table} ({names}) select {names} from jsonb_populate_record(null::{kind.table}, %s::jsonb)",
            json.dumps(row),
        )


def others(sql: Sql) -> int:
    """Connections of pods or scripts to this database, but this one."""
    row = sql.row(
        "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'maru'"
        " and pid <> pg_backend_pid()"
    )
    return int(row[0]) if row else 0


def is_empty(sql: Sql) -> bool:
    return sql.row("select from pg_tables where schemaname = 'public'") is None
