"""scripts/migrate.py as a process, on databases of its own."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

from models.embedded import EmbeddedPostgres
from tests.contracts.redis_servers import free_port
from tests.pods import SECRET

ROOT = Path(__file__).resolve().parents[2]
MIGRATIONS = sorted(path.stem for path in (ROOT / "models" / "migrations").glob("[0-9]*.py"))


def start(**env):
    clean = {
        name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "JWT_SECRET", "DATA_DIR")
    }
    return subprocess.Popen(
        [sys.executable, "scripts/migrate.py"], cwd=ROOT, env=clean | env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def end(process):
    said, wrong = process.communicate(timeout=60)
    return process.returncode, said, wrong


@pytest.fixture
def empty(tmp_path):
    """URL of a database without a table."""
    embedded = EmbeddedPostgres(tmp_path / "data")
    yield embedded.start()
    embedded.stop()


def applied(said):
    return [line.removeprefix("Applied ") for line in said.splitlines() if line.startswith("Applied ")]


def test_it_says_what_it_applied_and_does_nothing_the_second_time(empty):
    code, said, wrong = end(start(DATABASE_URL=empty, JWT_SECRET=SECRET))
    assert (code, wrong) == (0, "") and applied(said) == MIGRATIONS
    connection = psycopg2.connect(empty)
    try:
        with connection.cursor() as cursor:
            cursor.execute("select name from schema_migration order by 1")
            assert [name for (name,) in cursor.fetchall()] == MIGRATIONS
    finally:
        connection.close()
    assert end(start(DATABASE_URL=empty, JWT_SECRET=SECRET)) == (0, "The schema was up to date.\n", "")


def test_several_at_once_apply_each_migration_once(empty):
    ends = [end(process) for process in [start(DATABASE_URL=empty, JWT_SECRET=SECRET) for _ in range(3)]]
    assert [code for code, _, _ in ends] == [0, 0, 0]
    assert sorted(name for _, said, _ in ends for name in applied(said)) == MIGRATIONS


def test_without_a_url_the_embedded_database_is_meant(tmp_path):
    code, said, wrong = end(start(DATA_DIR=str(tmp_path / "data")))
    assert (code, wrong) == (0, "") and applied(said) == MIGRATIONS
    assert not (tmp_path / "data" / "postgres" / "postmaster.pid").exists()
    assert end(start(DATA_DIR=str(tmp_path / "data")))[0] == 0


def test_what_is_wrong_is_said_in_a_line_without_the_password():
    code, said, wrong = end(start(DATABASE_URL="postgresql://maru@127.0.0.1/maru", MAX_BODY_BYTES="x"))
    assert (code, said) == (2, "") and wrong.startswith("MAX_BODY_BYTES: ")
    code, said, wrong = end(
        start(DATABASE_URL=f"postgresql://maru:hush-hush@127.0.0.1:{free_port()}/maru", JWT_SECRET=SECRET)
    )
    assert (code, said) == (1, "") and len(wrong.splitlines()) == 1 and "hush" not in wrong
