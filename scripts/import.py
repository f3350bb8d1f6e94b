"""Takes in what `scripts/export.py` wrote: all of it, or nothing.

    .venv/bin/python scripts/import.py all.jsonl
    zcat room.jsonl.gz | .venv/bin/python scripts/import.py - --dry-run

Ids stay. Who has an account here already, by id or address, is that account; a room that is here already is left as it is, so the
same file twice changes nothing the second time. People get no password: set one, or send a link (`scripts/set_password.py`).
Pods index what was taken in by themselves.
Exit codes: 0 done, 1 it could not be done (a bad line is named), 2 wrong use, 130 stopped.
"""

import argparse
import sys
from pathlib import Path
from typing import TextIO

from peewee import DataError, IntegrityError, ProgrammingError

import operators
from models import transfer
from models.database import Sql


class Tried(Exception):
    """A dry run ends here, and nothing is kept."""


def main() -> int:
    parser = operators.parser(__doc__)
    parser.add_argument("file", help="`-` for stdin")
    parser.add_argument("--dry-run", action="store_true", help="take all of it in, say what that was, and keep nothing")
    given = parser.parse_args()

    def work(sql: Sql) -> None:
        if given.file == "-":
            take(sql, sys.stdin, given)
            return
        try:
            with Path(given.file).open(encoding="utf-8") as file:
                take(sql, file, given)
        except OSError as error:
            raise operators.Failed(f"{given.file}: {error.strerror}") from None

    def kept(settings: object, database: object) -> None:
        try:
            database.call(work)  # type: ignore[attr-defined]
        except Tried:
            print("Nothing was kept.")

    return operators.run(kept)


def take(sql: Sql, file: TextIO, given: argparse.Namespace) -> None:
    taking = transfer.Import(sql)
    number = 0  # of the last line that was read
    with operators.progress() as bars:
        task = bars.add_task("lines", total=None)
        try:
            for line in file:
                number += 1
                taking.take(line)
                bars.advance(task)
        except UnicodeDecodeError:
            raise operators.Failed(f"line {number + 1}: not UTF-8; nothing was taken in") from None
        except (transfer.Unreadable, DataError, IntegrityError, ProgrammingError) as error:
            why = str(error).split("\n")[0]
            raise operators.Failed(f"line {number}: {why}; nothing was taken in") from None
    if not number:
        raise operators.Failed("The file is empty.")
    print(
        ", ".join(f"{count:,} {name}s" for name, count in taking.added.items())
        + f"; {taking.left:,} lines were here already"
    )
    if given.dry_run:
        raise Tried


if __name__ == "__main__":
    sys.exit(main())
