"""A connection to Postgres that the event loop drives itself, for the one path where a thread hop is felt: a send.

Knows Postgres and the loop; knows nothing of what is asked. What it is asked is written as `Steps`: a generator yields a
statement with its parameters and is handed the rows.
"""

import asyncio
import os
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar, cast

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_WRITE, TRANSACTION_STATUS_IDLE

from models.database import Database, DatabaseUnavailable, Row, is_lost, unavailable

T = TypeVar("T")
# They write BEGIN and COMMIT into their own statements. An error ends them, whatever it was, and is not theirs to handle.
Steps = Generator[tuple[str, Sequence[Any]], list[Row], T]
# Called once with what the steps return, or with the error that ended them.
Done = Callable[[T | None, Exception | None], None]

# Beyond Postgres's own limit on a statement: it may be stopped itself, and then says nothing at all.
GRACE_S = 1.0
# One that can't be reached is not tried again at once: those who queue for it would each wait as long as the first.
REST_S = 0.5
# A statement of so many bytes finds room in any socket's empty buffer, so `execute` has sent it whole.
SENT_AT_ONCE = 8192


class Direct:
    """Opened at the first use and again after a loss. For one caller at a time, who takes care of turns himself."""

    def __init__(self, db: Database, prepared: dict[str, str]) -> None:
        """prepared: name -> `(types) as statement`, what is asked again and again."""
        self._db = db
        self._setup = "; ".join(f"prepare {name} {statement}" for name, statement in prepared.items())
        self._connection: Any = None
        self._cursor: Any = None
        self._fd = -1
        self._writing = False
        self._steps: Steps[Any] | None = None  # under way
        self._done: Done[Any] | None = None
        self._failed: Exception | None = None  # what is being rolled back
        self._asked_at: float | None = None  # while Postgres has the word
        self._watch: asyncio.TimerHandle | None = None
        self._busy = False
        self._closed = False
        self._not_before = 0.0

    @property
    def connected(self) -> bool:
        return self._connection is not None

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def busy(self) -> bool:
        """Somebody's steps are under way."""
        return self._busy

    async def run(self, steps: Steps[T]) -> T:
        """What `steps` return.

        Raises DatabaseUnavailable when Postgres can't be reached or does not answer in time, and then whether it took
        effect may be unknown; other errors of Postgres or of `steps` after a rollback.
        """
        if self._busy:
            raise RuntimeError("a direct connection does one thing at a time")
        if self._connection is None:
            self._busy = True
            try:
                await self._connect()
            except BaseException:
                steps.close()
                raise
            finally:
                self._busy = False
        ended: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(result: T | None, error: Exception | None) -> None:
            if ended.done():
                return
            if error is not None:
                ended.set_exception(error)
            else:
                ended.set_result(cast(T, result))

        self.start(steps, done)
        try:
            return await ended
        except asyncio.CancelledError:
            # Whatever Postgres still answers must not be taken for the answer to the next question.
            if self._done is done:
                self._drop()
                self._end(None, DatabaseUnavailable("cancelled"))
            raise

    def start(self, steps: Steps[T], done: Done[T]) -> None:
        """Like `run`, without a task, for a connection that is open and idle. `done` may be called before this returns, and
        may start the next steps."""
        if self._busy or self._connection is None:
            raise RuntimeError("a direct connection does one thing at a time")
        self._busy = True
        self._steps, self._done = steps, done
        self._go_on_with(None)

    def close(self) -> None:
        self._closed = True
        self._lose(DatabaseUnavailable("closed"))
        if self._watch is not None:
            self._watch.cancel()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        if self._closed or loop.time() < self._not_before:
            raise DatabaseUnavailable("closed" if self._closed else "Postgres could not be reached a moment ago")
        try:
            connection = await self._db.connect_direct(self._setup)
        except DatabaseUnavailable:
            self._not_before = loop.time() + REST_S
            raise
        if self._closed:
            connection.close()
            raise DatabaseUnavailable("closed")
        self._connection = connection
        self._cursor = connection.cursor()
        # libpq closes its descriptor when the connection breaks, and the number is at once some other socket's. The loop
        # watches one that only we close.
        self._fd = os.dup(connection.fileno())
        self._writing = False
        loop.add_reader(self._fd, self._go_on)

    # -- what is under way

    def _go_on_with(self, rows: list[Row] | None) -> None:
        """Hand the steps what they asked for, and ask what they ask for next."""
        assert self._steps is not None
        try:
            asked = self._steps.send(rows)  # type: ignore[arg-type]  # a generator begins with None
        except StopIteration as end:
            self._end(end.value, None)
        except Exception as error:
            self._fail(error)
        else:
            self._ask(*asked)

    def _ask(self, statement: str, params: Sequence[Any]) -> None:
        loop = asyncio.get_running_loop()
        self._asked_at = loop.time()
        if self._watch is None:
            self._watch = loop.call_later(self._patience_s, self._look)
        try:
            self._cursor.execute(statement, params)
        except Exception as error:
            self._asked_at = None
            self._fail(error)
        else:
            if len(self._cursor.query) > SENT_AT_ONCE:
                self._go_on()

    def _go_on(self) -> None:
        """As far as the socket lets what is under way. Idle, it can only be a connection that ends."""
        asked = self._asked_at is not None
        try:
            state = self._connection.poll()
        except Exception as error:
            if not asked or is_lost(error) or not isinstance(error, psycopg2.Error):
                self._lose(error)
            else:
                self._asked_at = None
                self._fail(error)
            return
        if (state == POLL_WRITE) != self._writing:
            self._writing = not self._writing
            loop = asyncio.get_running_loop()
            if self._writing:
                loop.add_writer(self._fd, self._go_on)
            else:
                loop.remove_writer(self._fd)
        if state == POLL_OK and asked:
            self._asked_at = None
            if self._failed is not None:
                self._end(None, self._failed)
            else:
                self._go_on_with_rows()

    def _go_on_with_rows(self) -> None:
        try:
            rows = self._cursor.fetchall() if self._cursor.description else []
        except Exception as error:  # what Python can't make values of
            self._fail(error)
        else:
            self._go_on_with(rows)

    def _fail(self, error: Exception) -> None:
        """The steps have failed, or Postgres at one of them."""
        if is_lost(error):
            self._lose(error)
        elif self._failed is not None:  # the rollback itself
            self._drop()
            self._end(None, self._failed)
        elif self._connection is None or self._connection.get_transaction_status() == TRANSACTION_STATUS_IDLE:
            self._end(None, error)
        else:
            self._failed = error
            self._ask("rollback", ())

    def _end(self, result: Any, error: Exception | None) -> None:
        steps, done = self._steps, self._done
        self._steps = self._done = self._failed = self._asked_at = None
        self._busy = False
        if steps is not None:
            steps.close()
        if done is not None:
            done(result, error)

    @property
    def _patience_s(self) -> float:
        return self._db.statement_timeout_s + GRACE_S

    def _look(self) -> None:
        """One timer looks after all questions; most are answered long before it rings."""
        self._watch = None
        if self._asked_at is None:
            return
        loop = asyncio.get_running_loop()
        left = self._asked_at + self._patience_s - loop.time()
        if left > 0:
            self._watch = loop.call_later(left, self._look)
        else:
            self._lose(DatabaseUnavailable("Postgres does not answer"))

    def _lose(self, error: Exception) -> None:
        self._drop()
        if self._steps is None:
            return
        if self._failed is not None:
            error = self._failed
        elif not isinstance(error, DatabaseUnavailable):
            lost = unavailable(error)
            lost.__cause__ = error
            error = lost
        self._end(None, error)

    def _drop(self) -> None:
        if self._connection is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._fd)
        if self._writing:
            loop.remove_writer(self._fd)
        self._connection.close()
        os.close(self._fd)
        self._connection = self._cursor = None
