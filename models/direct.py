"""A connection to Postgres that the event loop drives itself, for the one path where a thread hop is felt: a send.

Knows Postgres and the loop; knows nothing of what is asked. What it is asked is written as `Steps`: a generator yields a
statement with its parameters and is handed the rows.
"""

import asyncio
import os
from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_WRITE, TRANSACTION_STATUS_IDLE

from models.database import LOST, Database, DatabaseUnavailable, Row, unavailable

T = TypeVar("T")
# They write BEGIN and COMMIT into their own statements. An error ends them, whatever it was, and is not theirs to handle.
Steps = Generator[tuple[str, Sequence[Any]], list[Row], T]

# Beyond Postgres's own limit on a statement: it may be stopped itself, and then says nothing at all.
GRACE_S = 1.0
# One that can't be reached is not tried again at once: those who queue for it would each wait as long as the first.
REST_S = 0.5


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
        self._answer: asyncio.Future[None] | None = None
        self._busy = False
        self._closed = False
        self._not_before = 0.0

    @property
    def connected(self) -> bool:
        return self._connection is not None

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
        self._busy = True
        try:
            if self._connection is None:
                await self._connect()
            asked = next(steps)
            while True:
                asked = steps.send(await self._ask(*asked))
        except StopIteration as end:
            done: T = end.value
            return done
        except LOST as error:
            self._drop()
            raise unavailable(error) from error
        except Exception:
            await self._roll_back()
            raise
        except BaseException:
            # Cancelled: whatever Postgres still answers must not be taken for the answer to the next question.
            self._drop()
            raise
        finally:
            steps.close()
            self._busy = False

    def close(self) -> None:
        self._closed = True
        self._lose(DatabaseUnavailable("closed"))

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

    async def _ask(self, statement: str, params: Sequence[Any]) -> list[Row]:
        loop = asyncio.get_running_loop()
        answer = self._answer = loop.create_future()
        timer = loop.call_later(
            self._db.statement_timeout_s + GRACE_S, self._lose, DatabaseUnavailable("Postgres does not answer")
        )
        try:
            self._cursor.execute(statement, params)
            self._go_on()
            await answer
            return list(self._cursor.fetchall()) if self._cursor.description else []
        finally:
            timer.cancel()
            self._answer = None

    def _go_on(self) -> None:
        """As far as the socket lets what is under way. Idle, it can only be a connection that ends."""
        answer = self._answer
        try:
            state = self._connection.poll()
        except psycopg2.Error as error:
            if answer is None or isinstance(error, LOST):
                self._lose(error)
            elif not answer.done():
                answer.set_exception(error)
            return
        if (state == POLL_WRITE) != self._writing:
            self._writing = not self._writing
            loop = asyncio.get_running_loop()
            if self._writing:
                loop.add_writer(self._fd, self._go_on)
            else:
                loop.remove_writer(self._fd)
        if state == POLL_OK and answer is not None and not answer.done():
            answer.set_result(None)

    def _lose(self, error: Exception) -> None:
        self._drop()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

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

    async def _roll_back(self) -> None:
        connection = self._connection
        if connection is None or connection.get_transaction_status() == TRANSACTION_STATUS_IDLE:
            return
        try:
            await self._ask("rollback", ())
        except BaseException as error:
            self._drop()
            if not isinstance(error, (*LOST, DatabaseUnavailable)):
                raise
