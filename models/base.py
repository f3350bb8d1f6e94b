"""What every table's module needs: ids that sort by time, fields, and the rules that Postgres would raise on."""

import os
import time
from typing import Any
from uuid import UUID

from peewee import Field, Model


def new_id() -> str:
    """A UUID of version 7 (RFC 9562): rows made together lie together in an index."""
    millis = time.time_ns() // 1_000_000
    rest = os.urandom(10)
    head = millis.to_bytes(6, "big") + bytes((0x70 | rest[0] & 0x0F, rest[1], 0x80 | rest[2] & 0x3F))
    return str(UUID(bytes=head + rest[3:]))


class UuidField(Field):  # type: ignore[misc]
    """A UUID as the string that goes over the wire, in Postgres's own type."""

    field_type = "UUID"

    def db_value(self, value: Any) -> str | None:
        return None if value is None else str(value)

    def python_value(self, value: Any) -> str | None:
        return None if value is None else str(value)


class Table(Model):  # type: ignore[misc]
    """Bound to no database: every query is told its own (`query.execute(sql.peewee)`)."""

    class Meta:
        legacy_table_names = False


def like(text: str) -> str:
    """`text` as part of a LIKE pattern, its wildcards meaning themselves."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
