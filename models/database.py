"""Connections, threads and transactions. Knows Postgres; knows nothing of what is asked.

`await db.run(fn, ...)` is one thread hop and one transaction. psycopg2 blocks, so a query on the event loop's thread
would stop every socket of the pod: it is refused. What needs no thread is `models.direct`.
"""

import asyncio
import contextlib
import functools
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import psycopg2
from peewee import DataError, InterfaceError, OperationalError, PostgresqlDatabase, ProgrammingError
from playhouse.db_url import parse
from playhouse.migrations import Runner
from psycopg2 import extensions
from psycopg2.errors import ReadOnlySqlTransaction

P = ParamSpec("P")
T = TypeVar("T")
Row = tuple[Any, ...]

MIGRATION_LOCK = 0x6D617275  # "maru"
CONNECT_S = 10
EXTENSION = "vector"
EXTENSION_LEAST = (0, 8)  # iterative scans of an index
# A plan is made once and kept: made for tables that are still small it would read them whole, and go on so when they are
# not. Left are nested loops over indexes.
UNFIT_TO_KEEP = ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin", "jit")
# What no row can hold: U+0000 in a text, a number beyond its column.
UNWRITABLE = (ValueError, DataError, psycopg2.DataError)
LOST = (OperationalError, InterfaceError, psycopg2.OperationalError, psycopg2.InterfaceError)


# Ids stay the strings that go over the wire; peewee would have objects made of them.
UUID_TEXT = extensions.new_type((2950,), "UUID_TEXT", lambda value, cursor: value)
UUID_TEXTS = extensions.new_array_type((2951,), "UUID_TEXTS", UUID_TEXT)


class Postgres(PostgresqlDatabase):  # type: ignore[misc,unused-ignore]
    def _connect(self) -> Any:
        connection = super()._connect()  # type: ignore[misc]
        register_types(connection)
        return connection


def register_types(connection: Any) -> None:
    extensions.register_type(UUID_TEXT, connection)
    extensions.register_type(UUID_TEXTS, connection)


class DatabaseUnavailable(Exception):
    """Postgres can't be reached, or gave up on the statement. Whether it took effect may be unknown."""


class DatabaseUnfit(DatabaseUnavailable):
    """Postgres is there and lacks what Maru needs; the message says what to do."""


def unavailable(error: BaseException) -> DatabaseUnavailable:
    return DatabaseUnavailable(str(error).split("\n")[0])


def is_lost(error: BaseException) -> bool:
    """Postgres is away, or stands in for another that is: after a failover a standby refuses to write, and the next connection
    may find the new primary."""
    told = getattr(error, "orig", error)  # peewee's are around psycopg2's
    return isinstance(error, LOST) or isinstance(told, ReadOnlySqlTransaction)


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
            parsed.pop("database"), connect_timeout=CONNECT_S, options=options, application_name="maru", **parsed
        )
        self.statement_timeout_s = statement_timeout_s
        self._sql = Sql(self._peewee)
        self.threads = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sql")
        self._loop_thread: int | None = None
        self._at_work: set[int] = set()
        self.on_wait: Callable[[float], None] = lambda seconds: (
            None
        )  # told on the loop how long a call waited for a thread

    async def run(self, fn: Callable[Concatenate[Sql, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(sql, ...)` in a thread inside one transaction, which commits when it returns.

        Raises DatabaseUnavailable when Postgres is out of reach; a retry is safe only when `fn` may run twice.
        """
        done: T = await self._hop(functools.partial(self._transaction, fn, args, kwargs))
        return done

    async def run_snapshot(self, fn: Callable[Concatenate[Sql, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like `run`, for several reads that must agree: all see the same moment (REPEATABLE READ, read only)."""
        done: T = await self._hop(functools.partial(self._snapshot, fn, args, kwargs))
        return done

    async def run_bare(self, fn: Callable[Concatenate[Sql, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like `run`, without a transaction around it: for one statement, or for code with its own BEGIN."""
        done: T = await self._hop(functools.partial(self._bare, fn, args, kwargs))
        return done

    async def connect_direct(self, setup: str) -> Any:
        """A connection of its own for the loop to drive (`models.direct`): psycopg2's asynchronous kind, ready, with the
        settings of all others, and `setup` done on it.

        Raises DatabaseUnavailable.
        """
        return await self._hop(functools.partial(self._open_direct, setup))

    async def _hop(self, work: Callable[[], Any]) -> Any:
        self._loop_thread = threading.get_ident()
        asked = began = time.perf_counter()

        def timed() -> Any:
            nonlocal began
            began = time.perf_counter()
            thread = threading.get_ident()
            self._at_work.add(thread)
            try:
                return work()
            finally:
                self._at_work.discard(thread)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, timed)
        finally:
            self.on_wait(began - asked)

    @property
    def busy(self) -> int:
        """Threads that run something now, also what nobody waits for any more."""
        return len(self._at_work)

    @property
    def waiting(self) -> int:
        """Calls that wait for a thread."""
        return self._threads._work_queue.qsize()

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

    def _open_direct(self, setup: str) -> Any:
        """In a thread: libpq asks for the address of a host where it is called, and waits for it."""
        given = dict(self._peewee.connect_params)
        given["options"] += "".join(f" -c {what}=off" for what in UNFIT_TO_KEEP)
        until = time.monotonic() + CONNECT_S
        try:
            connection = psycopg2.connect(dbname=self._peewee.database, **given, async_=1)
            _wait(connection, until)
            register_types(connection)
            with connection.cursor() as cursor:
                cursor.execute(setup)
                _wait(connection, until)
        except LOST as error:
            raise unavailable(error) from error
        return connection

    @contextlib.contextmanager
    def _connection(self) -> Iterator[None]:
        if threading.get_ident() == self._loop_thread:
            raise RuntimeError("SQL on the event loop's thread: use `await db.run(...)`")
        try:
            if self._peewee.is_closed():
                self._peewee.connect()
            yield
        except BaseException as error:
            if is_lost(error):
                # The connection may be half dead: a new one costs milliseconds, a wrong state costs data.
                with contextlib.suppress(Exception):
                    self._peewee.close()
                raise unavailable(error) from error
            if not self._peewee.is_closed() and self._peewee.connection().closed:
                self._peewee.close()
            raise

    def migrate(self) -> list[str]:
        """Bring the schema up to date. Pods that start together wait for one another. Returns what was applied."""
        with self._connection():
            # Whoever waits here waits as long as another's migration takes.
            self._sql.run("set statement_timeout = 0")
            self._sql.rows("select pg_advisory_lock(%s)", MIGRATION_LOCK)
            try:
                self._extend()
                runner = Runner(self._peewee, str(Path(__file__).parent / "migrations"))
                return list(runner.up())
            finally:
                self._sql.rows("select pg_advisory_unlock(%s)", MIGRATION_LOCK)
                self._sql.run("reset statement_timeout")

    def _extend(self) -> None:
        """Raises DatabaseUnfit."""
        found = self._sql.row(
            "select default_version, installed_version from pg_available_extensions where name = %s", EXTENSION
        )
        needed = ".".join(map(str, EXTENSION_LEAST))
        if found is None:
            raise DatabaseUnfit(
                f"Postgres lacks the extension {EXTENSION}: install pgvector {needed} or newer on its machine."
            )
        if tuple(map(int, (found[1] or found[0]).split(".")[:2])) < EXTENSION_LEAST:
            do = f"run ALTER EXTENSION {EXTENSION} UPDATE as its owner" if found[1] else "install a newer one"
            raise DatabaseUnfit(f"Postgres has pgvector {found[1] or found[0]}, and {needed} is needed: {do}.")
        if found[1] is None:
            try:
                self._peewee.execute_sql(f"create extension if not exists {EXTENSION}")
            except ProgrammingError as error:
                raise DatabaseUnfit(
                    f"Run CREATE EXTENSION {EXTENSION} in the database as a superuser: {error}"
                ) from error

    def unapplied(self, sql: Sql) -> list[str]:
        """Migrations of this program that the database lacks; raises when it does not answer."""
        runner = Runner(self._peewee, str(Path(__file__).parent / "migrations"))
        done = {name for (name,) in sql.rows("select name from schema_migration")}
        return [migration.name for migration in runner.migrations() if migration.name not in done]

    def close(self) -> None:
        """Close what is idle and wait for no thread: one that hangs in a stopped Postgres may never return."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _wait(connection: Any, until: float) -> None:
    """Until what an asynchronous connection does is done."""
    while (state := connection.poll()) != extensions.POLL_OK:
        # Not `select`, which knows descriptors below 1,024 only.
        ready = select.poll()
        ready.register(connection.fileno(), select.POLLOUT if state == extensions.POLL_WRITE else select.POLLIN)
        if not ready.poll(max(0.0, until - time.monotonic()) * 1000):
            connection.close()
            raise psycopg2.OperationalError("Postgres does not answer")


def placeholders(count: int, width: int) -> str:
    """`(%s,%s),(%s,%s)` for a multi-row VALUES."""
    one = "(" + ",".join(["%s"] * width) + ")"
    return ",".join([one] * count)


def flat(rows: Sequence[Sequence[Any]]) -> list[Any]:
    return [value for row in rows for value in row]
