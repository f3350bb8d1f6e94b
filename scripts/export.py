"""Writes rooms with their people and messages as lines of JSON, for `scripts/import.py` or anything else.

    .venv/bin/python scripts/export.py --all -o all.jsonl
    .venv/bin/python scripts/export.py --room 0199f7a0-0000-7000-8000-000000000001 -o - | gzip > room.jsonl.gz

The first line is {"maru": 1}; each other is {"user" | "room" | "head" | "member" | "message" | "version": {column: value}}.
It is one moment of the database. No password, session or key is in it.
Exit codes: 0 done, 1 it could not be done, 2 wrong use, 130 stopped.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TextIO

import operators
from models import transfer
from models.database import Sql
from services.accounts import is_uuid


def main() -> int:
    parser = operators.parser(__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="every room and every account")
    which.add_argument("--room", action="append", metavar="ID", help="this room; may be said again")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="`-` for stdout")
    given = parser.parse_args()
    if given.room and not all(map(is_uuid, given.room)):
        parser.error("--room: that is no id of a room")
    return operators.run(lambda settings, database: database.call(export, given))


def export(sql: Sql, given: argparse.Namespace) -> None:
    sql.run("set transaction isolation level repeatable read read only")
    rooms = None if given.all else [room.lower() for room in given.room]
    if rooms is not None and len(sql.rows("select from rooms where id = any(%s::uuid[])", rooms)) < len(set(rooms)):
        raise operators.Failed("There is no such room.")
    if given.output == "-":
        write(sql, rooms, sys.stdout)
        return
    path = Path(given.output)
    draft = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            write(sql, rooms, file)
        draft.replace(path)
    except OSError as error:
        raise operators.Failed(f"{path}: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)


def write(sql: Sql, rooms: list[str] | None, file: TextIO) -> None:
    with operators.progress() as bars:
        task = bars.add_task("lines", total=transfer.count(sql, rooms) + 1)
        for line in transfer.lines(sql, rooms):
            file.write(line + "\n")
            bars.advance(task)


if __name__ == "__main__":
    sys.exit(main())
