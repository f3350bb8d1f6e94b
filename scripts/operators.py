"""What the operators' scripts share: opening the database, tables in three formats, one way to fail.

Exit codes of all of them: 0 done, 1 it could not be done, 2 wrong use or settings, 130 stopped.
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from config.settings import Settings, SettingsError, load_settings
from models import transfer
from models.database import Database, DatabaseUnavailable
from models.embedded import EmbeddedError
from services.container import with_database

LONGEST_S = 24 * 3600.0


class Failed(Exception):
    """It could not be done; the message says why, in a line."""


def parser(doc: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def run(work: Callable[[Settings, Database], None]) -> int:
    """Do the work on the database of the settings, beside a running pod; its schema must be this version's."""
    try:
        settings = load_settings()
        with opened(settings) as (complete, database):
            if database.call(transfer.is_empty):
                raise Failed("The database is empty: run scripts/migrate.py first.")
            missing = database.call(database.unapplied)
            if missing:
                raise Failed(
                    f"The schema is older than this version ({', '.join(missing)}): run scripts/migrate.py first."
                )
            work(complete, database)
    except SettingsError as error:
        return told(error, 2)
    except (Failed, EmbeddedError, DatabaseUnavailable) as error:
        return told(error, 1)
    except KeyboardInterrupt:
        return 130
    return 0


@contextmanager
def opened(settings: Settings) -> Any:
    """(settings with the database's address, the database); migrates nothing."""
    with with_database(settings, beside=True) as (complete, _):
        assert complete.database_url is not None
        database = Database(complete.database_url.get_secret_value(), threads=1, statement_timeout_s=LONGEST_S)
        try:
            yield complete, database
        finally:
            database.close()


def told(error: object, code: int) -> int:
    print(error, file=sys.stderr)
    return code


def progress() -> Progress:
    """A bar on stderr, where that is a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip


def show(rows: Sequence[dict[str, Any]], columns: Sequence[str], form: str) -> None:
    """form: table, json or csv. On stdout; no colour but on a terminal."""
    if form == "json":
        print(json.dumps([{name: row[name] for name in columns} for row in rows], ensure_ascii=False, indent=1))
    elif form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows([row[name] for name in columns] for row in rows)
    else:
        table = Table(header_style="bold", box=None, pad_edge=False)
        for name in columns:
            is_number = all(isinstance(row[name], (int, float)) for row in rows)
            table.add_column(name, justify="right" if rows and is_number else "left", overflow="fold")
        for row in rows:
            table.add_row(
                *(f"{row[name]:,}" if isinstance(row[name], (int, float)) else str(row[name]) for name in columns)
            )
        console = Console()
        if not console.is_terminal:
            console = Console(width=200)
        console.print(table)


def secret_from(arguments: argparse.Namespace) -> str | None:
    """The password on stdin, where that was asked for."""
    return sys.stdin.readline().rstrip("\n") if arguments.password_stdin else None
