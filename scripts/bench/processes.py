"""The processes of a benchmark: what is measured runs in one of its own, and whatever drives it in others.

Figures of a process are the kernel's: CPU of all its threads, resident memory.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2

from config.settings import Settings
from models.database import Database
from models.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a benchmark's secret of more than thirty-two bytes"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def environment(**more: str) -> dict[str, str]:
    """What somebody has set for a pod of their own must not change what is measured."""
    kept = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    return {**kept, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "scripts"))), **more}


def cpu_s(pid: int) -> float:
    """CPU that a process has used, all threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def family(pid: int) -> list[int]:
    """A process and its children."""
    found = [pid]
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(entry.name))
    return found


class Helper:
    """A module of this package in a process of its own, asked in lines of JSON.

    ready: what it said first.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._name = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"bench.{module}", *arguments],
            env=environment(),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.pid = self._process.pid
        self.ready = self._answer()

    def ask(self, what: str, **given: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **given}) + "\n")
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> "Helper":
        return self

    def __exit__(self, *what: object) -> None:
        _end(self._process)


class Server:
    """A server as a user starts it. ready: how the line begins that says it is."""

    def __init__(self, command: list[str], ready: str, cwd: Path, **more: str) -> None:
        self._process = subprocess.Popen(
            command,
            env=environment(**more),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if re.match(ready, line):
                return
        raise RuntimeError(f"{Path(command[-1]).name} ended with {self._process.wait()}")

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *what: object) -> None:
        _end(self._process)


def pod(database_url: str, port: int, **more: str) -> Server:
    """A pod of Maru without limits, by the program that users start."""
    return Server(
        [sys.executable, "app.py"],
        "Maru is at ",
        ROOT,
        DATABASE_URL=database_url,
        JWT_SECRET=SECRET,
        HOST="127.0.0.1",
        PORT=str(port),
        LOG_LEVEL="warning",
        SENDS_PER_10S="0",
        MAX_CONNECTIONS_PER_USER="0",
        REGISTRATIONS_PER_HOUR="0",
        ACCESS_TOKEN_S="7200",
        **more,
    )


def _end(process: "subprocess.Popen[str]") -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


class Postgres:
    """One embedded Postgres for a whole run."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self._pid = pid
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True

    def transactions(self) -> int:
        """Writing transactions begun so far: exact at once, and looking costs none."""
        return int(self._one("select pg_snapshot_xmax(pg_current_snapshot())::text"))

    def committed(self) -> int:
        """All transactions, reading ones too. Backends tell theirs up to ten seconds late."""
        return int(self._one("select xact_commit from pg_stat_database where datname = current_database()"))

    def scans(self, table: str) -> int:
        """Sequential scans of a table so far."""
        self._one("select pg_stat_clear_snapshot()::text")
        return int(self._one(f"select seq_scan from pg_stat_user_tables where relname = '{table}'"))

    def cpu_s(self) -> float:
        spent = 0.0
        for pid in family(self._pid):
            with contextlib.suppress(OSError):
                spent += cpu_s(pid)
        return spent

    def version(self) -> str:
        return str(self._one("show server_version"))

    def commits_take(self, ms: float) -> None:
        """Let each flush of a commit wait so long, in place of a disk that does; 0: no longer than this disk needs."""
        settings = Path(f"/proc/{self._pid}/cwd/postgresql.auto.conf")
        settings.write_text(f"commit_delay = {round(1000 * ms)}\ncommit_siblings = 0\n" if ms else "")
        os.kill(self._pid, signal.SIGHUP)
        until = time.monotonic() + 10
        while int(self._one("show commit_delay")) != round(1000 * ms):
            if time.monotonic() > until:
                raise RuntimeError("Postgres does not take the delay of a commit")
            time.sleep(0.05)

    def _one(self, statement: str) -> Any:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone()
        assert row is not None
        return row[0]

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """An empty database with Maru's schema, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="maru-bench-") as folder:
        embedded = EmbeddedPostgres(Path(folder) / "data", log=lambda line: None)
        url = embedded.start()
        try:
            assert embedded.pid is not None
            made = Database(url, threads=1)
            made.migrate()
            made.close()
            running = Postgres(url, embedded.pid)
            try:
                yield running
            finally:
                running.close()
        finally:
            embedded.stop()
