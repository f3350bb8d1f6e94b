"""Connections, threads and transactions. Knows Postgres; knows nothing of what is asked.

`await db.run(fn, ...)` is one thread hop and one transaction. psycopg2 blocks, so a query on the event loop's thread
would stop every socket of the pod: it is refused.
"""

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import psycopg2
from peewee import InterfaceError, OperationalError, PostgresqlDatabase
from playhouse.db_url import parse
from playhouse.migrations import Runner
from psycopg2 import extensions

P = ParamSpec("P")
T = TypeVar("T")
Row = tuple[Any, ...]

MIGRATION_LOCK = 0x6D617275  # "maru"
LOST = (OperationalError, InterfaceError, psycopg2.OperationalError, psycopg2.InterfaceError)


# Ids stay the strings that go over the wire; peewee would have objects made of them.
UUID_TEXT = extensions.new_type((2950,), "UUID_TEXT", lambda value, cursor: value)
UUID_TEXTS = extensions.new_array_type((2951,), "UUID_TEXTS", UUID_TEXT)


class Postgres(PostgresqlDatabase):  # type: ignore[misc,unused-ignore]
    def _connect(self) -> Any:
        connection = super()._connect()  # type: ignore[misc]
        extensions.register_type(UUID_TEXT, connection)
        extensions.register_type(UUID_TEXTS, connection)
        return connection


class DatabaseUnavailable(Exception):
    """Postgres can't be reached, or gave up on the statement. Whether it took effect may be unknown."""


class Sql:
    """What a function of `models` works with: a transaction on the calling thread's connection.

    peewee: the database, for queries made of models (`Model.select().bind(sql.peewee)`).
    """

    def __init__(self, database: Any) -> None:
        self.peewee = database
        self._prepared: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()

    def rows(self, statement: str, *params: Any) -> list[Row]:
        return list(self.peewee.execute_sql(statement, params).fetchall())

    def row(self, statement: str, *params: Any) -> Row | None:
        found: Row | None = self.peewee.execute_sql(statement, params).fetchone()
        return found

    def run(self, statement: str, *params: Any) -> int:
        """Rows that the statement touched."""
        return int(self.peewee.execute_sql(statement, params).rowcount)

    def prepare(self, cursor: Any, statements: dict[str, str]) -> None:
        """Prepare these once a connection (name -> `(types) as statement`), before a transaction begins."""
        done = self._prepared.setdefault(cursor.connection, set())
        for name, statement in statements.items():
            if name not in done:
                cursor.execute(f"prepare {name} {statement}")
                done.add(name)

    def raw(self) -> Any:
        """psycopg2's cursor in autocommit, for code that writes BEGIN and COMMIT into its own statements."""
        return self.peewee.connection().cursor()


class Database:
    def __init__(self, url: str, threads: int = 8, statement_timeout_s: float = 15.0) -> None:
        options = f"-c timezone=UTC -c statement_timeout={int(statement_timeout_s * 1000)}"
        # What is prepared is prepared to be planned once: left to itself Postgres plans the joins of a send each time.
        options += " -c plan_cache_mode=force_generic_plan"
        parsed = parse(url, unquote_password=True, unquote_user=True)
        self._peewee: Any = Postgres(
            parsed.pop("database"), connect_timeout=10, options=options, application_name="maru", **parsed
        )
        self._sql = Sql(self._peewee)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sql")
        self._loop_thread: int | None = None
        self.waiting = 0

    async def run(self, fn: Callable[Concatenate[Sql, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(sql, ...)` in a thread inside one transaction, which commits when it returns.

        Raises DatabaseUnavailable when Postgres is out of reach; a retry is safe only when `fn` may run twice.
        """
        done: T = await self._hop(self._transaction, fn, args, kwargs)
        return done

    async def run_snapshot(self, fn: Callable[Concatenate[Sql, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like `run`, for several reads that must agree: all see the same moment (REPEATABLE READ, read only)."""
        done: T = await self._hop(self._snapshot, fn, args, kwargs)
        return done

    async def run_bare(self, fn: Callable[Concatenate[Sql, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like `run`, without a transaction around it: for one statement, or for code with its own BEGIN."""
        done: T = await self._hop(self._bare, fn, args, kwargs)
        return done

    async def _hop(self, how: Callable[..., Any], fn: Any, args: Any, kwargs: Any) -> Any:
        self._loop_thread = threading.get_ident()
        self.waiting += 1
        try:
            work = functools.partial(how, fn, args, kwargs)
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self.waiting -= 1

    def call(self, fn: Callable[Concatenate[Sql, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same on the calling thread, for scripts and start-up. Refused on the event loop's thread."""
        done: T = self._transaction(fn, args, kwargs)
        return done

    def _transaction(self, fn: Any, args: Any, kwargs: Any) -> Any:
        with self._connection(), self._peewee.atomic():
            return fn(self._sql, *args, **kwargs)

    def _snapshot(self, fn: Any, args: Any, kwargs: Any) -> Any:
        with self._connection(), self._peewee.atomic():
            self._peewee.execute_sql("set transaction isolation level repeatable read read only")
            return fn(self._sql, *args, **kwargs)

    def _bare(self, fn: Any, args: Any, kwargs: Any) -> Any:
        with self._connection():
            return fn(self._sql, *args, **kwargs)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[None]:
        if threading.get_ident() == self._loop_thread:
            raise RuntimeError("SQL on the event loop's thread: use `await db.run(...)`")
        try:
            if self._peewee.is_closed():
                self._peewee.connect()
            yield
        except LOST as error:
            # The connection may be half dead: a new one costs milliseconds, a wrong state costs data.
            with contextlib.suppress(Exception):
                self._peewee.close()
            raise DatabaseUnavailable(str(error).split("\n")[0]) from error
        except BaseException:
            if not self._peewee.is_closed() and self._peewee.connection().closed:
                self._peewee.close()
            raise

    def migrate(self) -> list[str]:
        """Bring the schema up to date. Pods that start together wait for one another. Returns what was applied."""
        with self._connection():
            self._sql.rows("select pg_advisory_lock(%s)", MIGRATION_LOCK)
            try:
                self._peewee.execute_sql("create extension if not exists vector")
                runner = Runner(self._peewee, str(Path(__file__).parent / "migrations"))
                return list(runner.up())
            finally:
                self._sql.rows("select pg_advisory_unlock(%s)", MIGRATION_LOCK)

    def unapplied(self, sql: Sql) -> list[str]:
        """Migrations of this program that the database lacks; raises when it does not answer."""
        runner = Runner(self._peewee, str(Path(__file__).parent / "migrations"))
        done = {name for (name,) in sql.rows("select name from schema_migration")}
        return [migration.name for migration in runner.migrations() if migration.name not in done]

    def close(self) -> None:
        """Close what is idle and wait for no thread: one that hangs in a stopped Postgres may never return."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def placeholders(count: int, width: int) -> str:
    """`(%s,%s),(%s,%s)` for a multi-row VALUES."""
    one = "(" + ",".join(["%s"] * width) + ")"
    return ",".join([one] * count)


def flat(rows: Sequence[Sequence[Any]]) -> list[Any]:
    return [value for row in rows for value in row]
