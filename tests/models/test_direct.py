"""A connection that the loop drives, with a Postgres that errs, is killed, stands still and comes back."""

import asyncio
import os
import signal
import socket
import time

import psycopg2
import pytest

from models import database as database_module
from models import direct as direct_module
from models.database import Database, DatabaseUnavailable
from models.direct import Direct

LOOK = {"twice": "(int) as select $1 * 2"}


@pytest.fixture
def database(database_url):
    made = Database(database_url, threads=2, statement_timeout_s=10)
    yield made
    made.close()


@pytest.fixture
def direct(io_loop, database):
    made = Direct(database, LOOK)
    yield made

    async def close():
        made.close()

    io_loop.run_sync(close)


def ask(statement, *params):
    rows = yield statement, params
    return rows


async def backend(direct):
    return (await direct.run(ask("select pg_backend_pid()")))[0][0]


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def running(database, pid, words):
    """The backend is at it."""
    async with asyncio.timeout(5):
        while not await database.run_bare(
            lambda sql: sql.row("select 1 from pg_stat_activity where pid = %s and query like %s", pid, words)
        ):
            await asyncio.sleep(0.005)


async def test_steps_are_handed_the_rows_of_each_statement(direct):
    def steps():
        (one,) = yield "execute twice(%s)", (4,)
        (two,) = yield "begin; execute twice(%s)", one
        nothing = yield "commit", ()
        return one, two, nothing

    assert await direct.run(steps()) == ((8,), (16,), [])
    assert await backend(direct) == await backend(direct)


async def test_ids_stay_strings_and_a_long_statement_is_sent_whole(direct):
    id_ = "00000000-0000-7000-8000-000000000001"
    text = "한" * 8_000_000
    assert await direct.run(ask("select %s::uuid, array[%s::uuid], %s", id_, id_, text)) == [(id_, [id_], text)]
    assert await direct.run(ask("select 1")) == [(1,)]


async def test_after_an_error_the_transaction_is_rolled_back_and_the_connection_goes_on(direct):
    pid = await backend(direct)

    def steps(fail):
        yield "begin; insert into users (id, email, name) values (gen_random_uuid(), 'x', 'x')", ()
        if fail == "postgres":
            yield "select 1 / 0", ()
        raise ValueError("ours")

    with pytest.raises(psycopg2.errors.DivisionByZero):
        await direct.run(steps("postgres"))
    with pytest.raises(ValueError, match="ours"):
        await direct.run(steps("python"))
    assert await direct.run(ask("select count(*), pg_backend_pid() from users")) == [(0, pid)]


async def test_one_killed_while_idle_is_replaced_before_it_is_missed(database, direct):
    pid = await backend(direct)
    await database.run_bare(lambda sql: sql.row("select pg_terminate_backend(%s)", pid))
    await until(lambda: not direct.connected)
    assert await backend(direct) != pid


async def test_one_killed_at_work_is_unavailable_and_then_replaced(database, direct):
    pid = await backend(direct)
    asked = asyncio.create_task(direct.run(ask("begin; select pg_sleep(20)")))
    await running(database, pid, "%pg_sleep%")
    await database.run_bare(lambda sql: sql.row("select pg_terminate_backend(%s)", pid))
    with pytest.raises(DatabaseUnavailable):
        await asked
    assert await backend(direct) != pid


async def test_one_that_stands_still_is_given_up_and_the_loop_goes_on(database_url, monkeypatch):
    monkeypatch.setattr(direct_module, "GRACE_S", 0.1)
    database = Database(database_url, threads=2, statement_timeout_s=1.5)
    direct = Direct(database, LOOK)
    pid = await backend(direct)
    os.kill(pid, signal.SIGSTOP)
    try:
        asked = asyncio.create_task(direct.run(ask("select 1")))
        began, slowest = time.monotonic(), 0.0
        while not asked.done():
            before = time.monotonic()
            await asyncio.sleep(0.01)
            slowest = max(slowest, time.monotonic() - before)
        with pytest.raises(DatabaseUnavailable, match="does not answer"):
            await asked
        assert 1.5 < time.monotonic() - began < 10 and slowest < 1.2
        assert await backend(direct) != pid
    finally:
        os.kill(pid, signal.SIGCONT)
        direct.close()
        database.close()


async def test_a_postgres_that_accepts_and_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(database_module, "CONNECT_S", 0.3)
    monkeypatch.setattr(direct_module, "REST_S", 0.2)
    silent = socket.create_server(("127.0.0.1", 0))
    database = Database(f"postgresql://a:b@127.0.0.1:{silent.getsockname()[1]}/c", threads=1)
    direct = Direct(database, LOOK)
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        await direct.run(ask("select 1"))
    # Who waits behind is told at once.
    with pytest.raises(DatabaseUnavailable, match="a moment ago"):
        await direct.run(ask("select 1"))
    silent.close()

    async def refused():
        with pytest.raises(DatabaseUnavailable) as raised:
            await direct.run(ask("select 1"))
        return "refused" in str(raised.value)

    async with asyncio.timeout(5):
        while not await refused():
            await asyncio.sleep(0.01)
    direct.close()
    database.close()


async def test_a_cancelled_question_leaves_no_answer_to_the_next(direct):
    pid = await backend(direct)
    asked = asyncio.create_task(direct.run(ask("select 'late' from pg_sleep(20)")))
    await until(lambda: direct.busy)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert await direct.run(ask("select 'next', pg_backend_pid() <> %s", pid)) == [("next", True)]


async def test_it_does_one_thing_at_a_time(direct):
    await backend(direct)
    asked = asyncio.create_task(direct.run(ask("select 1 from pg_sleep(0.5)")))
    await until(lambda: direct.busy)
    with pytest.raises(RuntimeError, match="one thing"):
        await direct.run(ask("select 2"))
    assert await asked == [(1,)]


async def test_closed_it_lets_nobody_wait(direct):
    await backend(direct)
    asked = asyncio.create_task(direct.run(ask("select pg_sleep(20)")))
    await until(lambda: direct.busy)
    direct.close()
    with pytest.raises(DatabaseUnavailable, match="closed"):
        await asked
    with pytest.raises(DatabaseUnavailable, match="closed"):
        await direct.run(ask("select 1"))


async def test_steps_begun_without_a_task_end_in_one_call_which_may_begin_the_next(direct):
    await backend(direct)
    ends = asyncio.Queue()

    def steps(divisor):
        rows = yield "begin; select 6 / %s", (divisor,)
        yield "commit", ()
        if divisor == 3:
            raise ValueError("ours")
        return rows

    def ended(result, error):
        if ends.empty() and result == [(3,)]:
            direct.start(steps(0), ended)
        elif isinstance(error, psycopg2.errors.DivisionByZero):
            direct.start(steps(3), ended)
        ends.put_nowait((result, error))

    direct.start(steps(2), ended)
    with pytest.raises(RuntimeError, match="one thing"):
        direct.start(steps(2), ended)
    async with asyncio.timeout(5):
        found = [await ends.get() for _ in range(3)]
    assert found[0] == ([(3,)], None)
    assert [type(error) for _, error in found[1:]] == [psycopg2.errors.DivisionByZero, ValueError]
    assert not direct.busy and await direct.run(ask("select 1")) == [(1,)] and ends.empty()


async def test_steps_begun_without_a_task_are_told_of_a_loss_once(database, direct):
    with pytest.raises(RuntimeError, match="one thing"):
        direct.start(ask("select 1"), lambda result, error: None)  # nobody has opened it
    pid = await backend(direct)
    ends = []
    direct.start(ask("select pg_sleep(20)"), lambda *end: ends.append(end))
    await running(database, pid, "%pg_sleep%")
    await database.run_bare(lambda sql: sql.row("select pg_terminate_backend(%s)", pid))
    await until(lambda: ends)
    [(result, error)] = ends
    assert result is None and isinstance(error, DatabaseUnavailable) and not direct.connected
    assert await backend(direct) != pid and len(ends) == 1


@pytest.mark.parametrize("size", [direct_module.SENT_AT_ONCE - 200, direct_module.SENT_AT_ONCE + 200])
async def test_statements_around_the_size_that_is_sent_at_once_are_answered(direct, size):
    assert await direct.run(ask("select length(%s)", "x" * size)) == [(size,)]


async def test_rows_that_python_can_not_hold_are_an_error_and_the_next_question_is_answered(direct):
    for statement in ("select '20000-01-01'::timestamptz", "begin; select '20000-01-01'::timestamptz"):
        with pytest.raises(ValueError):
            await direct.run(ask(statement))
        assert not direct.busy
        assert await direct.run(ask("execute twice(21)")) == [(42,)]
