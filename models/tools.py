"""Postgres's own tools, as processes: pg_dump, pg_restore, psql. The embedded ones where they are, else those in the PATH.

The address goes to them in the environment: a command line is seen by everybody on the machine.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from models.embedded import MAJOR
from models.embedded_account import find_programs
from models.embedded_host import EmbeddedError

# All but extensions, which belong to a superuser and stay.
ANEW = """
do $$ declare statement text; begin
    for statement in
        select format('drop table public.%I cascade', tablename) from pg_tables where schemaname = 'public'
        union all select format('drop function %s cascade', p.oid::regprocedure) from pg_proc p
            where p.pronamespace = 'public'::regnamespace
            and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
    loop execute statement; end loop;
end $$
"""


class ToolFailed(Exception):
    """It said no; the message is its last line."""


def dump(url: str, file: Path) -> None:
    _run(["pg_dump", "--format=custom", "--no-owner", "--no-privileges", "--file", str(file)], url)


def restore(url: str, file: Path) -> None:
    """In place of all that is in the schema `public`, in one transaction."""
    with tempfile.TemporaryDirectory(prefix="maru-restore-") as folder:
        script = Path(folder) / "restore.sql"
        script.touch(0o600)
        _run(["pg_restore", "--no-owner", "--no-privileges", "--no-comments", "--file", str(script), str(file)], url)
        once = ["psql", "-X", "-q", "-w", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-o", os.devnull]
        _run([*once, "-c", ANEW, "-f", str(script)], url)


def _program(name: str) -> str:
    try:
        found: str | None = str(find_programs(MAJOR) / "bin" / name)
    except EmbeddedError:
        found = shutil.which(name)
    if found is None:
        raise ToolFailed(f"{name} is missing: install Postgres's client tools.")
    return found


def _run(command: list[str], url: str) -> None:
    done = subprocess.run(
        [_program(command[0]), *command[1:]],
        env=_environment(url),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        worst = next((line for line in lines if "error" in line.lower() or "mismatch" in line), lines[-1])
        raise ToolFailed(f"{command[0]}: {worst.strip()}")


def _environment(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    given = {
        "PGHOST": query.get("host") or unquote(parts.hostname or ""),
        "PGPORT": query.get("port") or str(parts.port or ""),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
        "PGSSLMODE": query.get("sslmode", ""),
    }
    return {**os.environ, **{name: value for name, value in given.items() if value}}
