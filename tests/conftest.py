"""A real Postgres for the whole run, and pods on real sockets for each test."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from models.database import Database
from models.embedded import EmbeddedPostgres
from tests.pods import Pods
from tests.scripted_model import ScriptedModel

ROOT = Path(__file__).resolve().parent.parent
# The contract lies beside the checkout where this is developed; a clone elsewhere has the served reference only.
CONTRACT = ROOT.parent / "shared" / "PROTOCOL.md"
TABLES = (
    "users, sessions, refresh_tokens, api_keys, rooms, room_heads, members, invites, messages, message_versions,"
    " message_pieces, message_contexts, access_log, usage, errors, audit, search_rooms, search_messages, search_terms,"
    " embedding_models, embedding_rooms, message_vectors, tallies, paces,"
    " tallied_rooms, budgets, spending, budget_marks, password_resets"
)
ZEROED = "update access_head set n = 0; update search_totals set messages = 0, length = 0"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a Postgres with the schema."""
    with tempfile.TemporaryDirectory(prefix="maru-test-") as folder:
        embedded = EmbeddedPostgres(Path(folder) / "data")
        url = embedded.start()
        try:
            Database(url, threads=1).migrate()
            yield url
        finally:
            embedded.stop()


@pytest.fixture
def database_url(postgres: str) -> str:
    """The same Postgres, emptied."""
    while True:
        connection = psycopg2.connect(postgres)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(
                    f"truncate {TABLES} cascade; update access_head set n = 0; update search_totals set messages = 0, length = 0"
                )
            return postgres
        except psycopg2.errors.DeadlockDetected:
            continue  # a thread of the last test's pod was still in a query
        finally:
            connection.close()


@pytest.fixture
def pods(io_loop, database_url: str) -> Iterator[Pods]:  # type: ignore[no-untyped-def]
    """Starts pods, and closes everything that was opened through them."""
    made = Pods(database_url)
    yield made
    io_loop.run_sync(lambda: asyncio.wait_for(made.close(), 30))


@pytest.fixture
def model(io_loop) -> Iterator[ScriptedModel]:  # type: ignore[no-untyped-def]
    """A scripted model behind OpenAI's and Anthropic's wire formats."""
    made = ScriptedModel()
    io_loop.add_callback(made.start)
    yield made
    io_loop.run_sync(made.close)
