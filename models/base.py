"""What every table's module needs: ids that sort by time, fields, and the rules that Postgres would raise on."""

import os
import time
from typing import Any

from peewee import Field, Model

# Bits of a UUID that are not its version's and its variant's (RFC 9562, section 5.7), and those two.
FREE = ~(0xF << 76 | 0x3 << 62)
VERSION_7 = 0x7 << 76 | 0x2 << 62


def new_id() -> str:
    """A UUID of version 7 (RFC 9562): rows made together lie together in an index."""
    rest = int.from_bytes(os.urandom(10))
    text = f"{(time.time_ns() // 1_000_000 << 80 | rest) & FREE | VERSION_7:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


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
