"""Postgres as it fails in production: backends killed in the middle of a commit, a database that stands still."""

import asyncio
import os
import random
import signal
import time

import psycopg2
import pytest

from models import direct
from models.database import Database, DatabaseUnavailable
from services import container
from services.errors import Unavailable
from tests.pods import Refused


def kill_backends(url):
    """All connections of the pod's but this one, whatever they are doing."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where pid <> pg_backend_pid() and usename = current_user"
        )
        (count,) = cursor.fetchone()
    connection.close()
    return count


async def insist(db, fn):
    """Threads whose connection was killed learn of it at the next question."""
    while True:
        try:
            return await db.run_bare(fn)
        except DatabaseUnavailable:
            continue


@pytest.mark.parametrize("seed", range(3))
async def test_backends_killed_in_commit_lose_and_double_nothing(pods, seed):
    chance = random.Random(seed)
    pod = await pods.start(sends_per_10s=0)
    ann = await pod.person()
    room = await ann.room(when="mention")
    door = await ann.native()
    await door.join(room)
    who = await pod.services.accounts.by_token(ann.token)
    acked = {}

    async def writer(name):
        for i in range(40):
            client_id = f"{name}-{i}"
            text = f"@maru {client_id}" if i % 10 == 0 else client_id
            while client_id not in acked:
                try:
                    if i % 2:  # the door's way makes no task
                        acked[client_id] = (await door.send(room, text, clientId=client_id))["messageId"]
                    else:
                        acked[client_id] = (await pod.services.messages.send(who, room, text, client_id)).message_id
                except Unavailable as error:
                    assert error.retryable
                except Refused as refused:
                    assert refused.code == "unavailable" and refused.error["retryable"]
                    await asyncio.sleep(0.01)

    async def killer():
        killed = 0
        for _ in range(12):
            await asyncio.sleep(chance.random() * 0.03)
            killed += await asyncio.to_thread(kill_backends, pod.services.settings.database_url.get_secret_value())
        return killed

    killed, *_ = await asyncio.gather(killer(), *(writer(f"w{i}") for i in range(6)))
    assert killed > 0
    rows = await insist(
        pod.services.db,
        lambda sql: sql.rows("select client_id, id, seq from messages where user_id is not null order by seq"),
    )
    assert {row[0]: row[1] for row in rows} == acked
    assert len(rows) == 240
    bots = await insist(
        pod.services.db,
        lambda sql: sql.rows("select reply_to, count(*) from messages where user_id is null group by 1"),
    )
    assert len(bots) == 24 and all(count == 1 for _, count in bots)
    # And every reader gets them all, those too whose COMMIT was answered by nobody.
    await door.wait(lambda d: len({m["id"] for m in d.messages() if m["role"] == "user"}) == 240, 15)
    numbers = [m["changedSeq"] for m in door.messages()]
    assert numbers == sorted(set(numbers))


async def test_a_statement_that_stands_still_is_given_up_and_the_loop_goes_on(pods):
    pod = await pods.start(statement_timeout_s=2)
    ann = await pod.person()
    room = await ann.room()
    url = pod.services.settings.database_url.get_secret_value()
    blocker = await asyncio.to_thread(psycopg2.connect, url)
    try:
        with blocker.cursor() as cursor:
            cursor.execute("select * from room_heads where room_id = %s for update", (room,))
            sending = asyncio.create_task(ann.call("POST", f"/rooms/{room}/messages", {"text": "x", "clientId": "c"}))
            slowest = 0.0
            while not sending.done():
                began = time.monotonic()
                await asyncio.sleep(0.01)
                slowest = max(slowest, time.monotonic() - began)
            status, problem = sending.result()
            assert (status, problem["code"]) == (503, "unavailable")
            assert slowest < 1.5
            blocker.rollback()
    finally:
        blocker.close()
    assert (await ann.call("POST", f"/rooms/{room}/messages", {"text": "x", "clientId": "c"}))[0] == 201


async def test_a_backend_that_stops_in_a_send_delays_it_and_doubles_nothing(pods, monkeypatch):
    monkeypatch.setattr(direct, "GRACE_S", 0.1)
    pod = await pods.start(statement_timeout_s=0.5)
    ann = await pod.person()
    room = await ann.room(when="off")
    door = await ann.native()
    await door.join(room)
    for text in ("first", "second"):  # the first, of a room not seen yet, may go the longer way
        await door.send(room, text)
    db = pod.services.db
    senders = "select pid from pg_stat_activity where query like %s and pid <> pg_backend_pid()"
    [(pid,)] = await db.run_bare(lambda sql: sql.rows(senders, "%execute maru_send%"))
    os.kill(pid, signal.SIGSTOP)
    try:
        sent = {"text": "third", "clientId": "c"}
        status, answer = await ann.call("POST", f"/rooms/{room}/messages", sent)
        assert status == 201
    finally:
        os.kill(pid, signal.SIGCONT)
    # It finds the send in its socket when it wakes, and the client id in its table.
    async with asyncio.timeout(20):
        while await db.run_bare(lambda sql: sql.row("select from pg_stat_activity where pid = %s", pid)) is not None:
            await asyncio.sleep(0.01)
    rows = await db.run_bare(lambda sql: sql.rows("select seq, content, client_id from messages order by seq"))
    assert [row[:2] for row in rows] == [(1, "first"), (2, "second"), (3, "third")] and rows[2][2] == "c"
    await door.send(room, "fourth")
    await door.wait(lambda d: [m["text"] for m in d.messages()] == ["first", "second", "third", "fourth"])


async def test_sql_on_the_loops_thread_is_refused(pods):
    pod = await pods.start()
    with pytest.raises(RuntimeError, match="event loop"):
        pod.services.db.call(lambda sql: sql.row("select 1"))


async def test_a_standby_that_answers_in_the_primarys_place_refuses_writes_as_unavailable(pods, database_url):
    """What a pod sees between a failover and the move of the address."""
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room()
    door = await ann.native()
    await door.join(room)
    who = await pod.services.accounts.by_token(ann.token)

    def standby(switch):
        connection = psycopg2.connect(database_url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("set default_transaction_read_only = off")
            cursor.execute("select current_database()")
            cursor.execute(f'alter database "{cursor.fetchone()[0]}" set default_transaction_read_only = {switch}')
        connection.close()
        kill_backends(database_url)

    standby("on")
    try:
        await insist(pod.services.db, lambda sql: sql.row("select 1"))
        for _ in range(3):
            with pytest.raises(Refused) as refused:
                await door.send(room, "x", clientId="one")
            assert refused.value.code == "unavailable" and refused.value.error["retryable"]
            status, problem = await ann.call("PATCH", f"/rooms/{room}", {"name": "y"})
            assert (status, problem["code"]) == (503, "unavailable")
        with pytest.raises(Unavailable):
            await pod.services.messages.send(who, room, "x")
    finally:
        standby("off")
    await insist(pod.services.db, lambda sql: sql.row("select 1"))
    async with asyncio.timeout(20):
        while True:
            try:
                sent = await door.send(room, "x", clientId="one")
                break
            except Refused:
                await asyncio.sleep(0.05)
    assert sent["seq"] == 1


async def test_an_unreachable_database_is_said_so(pods):
    pod = await pods.start()
    ann = await pod.person()

    def broken(sql):
        raise psycopg2.OperationalError("server closed the connection unexpectedly")

    with pytest.raises(DatabaseUnavailable):
        await pod.services.db.run(broken)
    assert (await ann.get("/users/me"))["id"] == ann.id


async def test_a_pod_that_starts_while_postgres_recovers_waits_for_it(database_url, monkeypatch):
    refusals = ["the database system is starting up", "the database system is in recovery mode"]
    real = Database.migrate

    def migrate(self):
        if refusals:
            raise DatabaseUnavailable("connection failed: FATAL:  " + refusals.pop(0))
        return real(self)

    monkeypatch.setattr(Database, "migrate", migrate)
    database = Database(database_url, threads=1)
    await container.migrate(database)
    assert refusals == []
    refusals.append("password authentication failed")
    with pytest.raises(DatabaseUnavailable, match="password"):
        await container.migrate(database)
    refusals.append("the database system is starting up")
    monkeypatch.setattr(container, "RECOVERY_S", 0.0)
    with pytest.raises(DatabaseUnavailable, match="starting up"):
        await container.migrate(database)
    database.close()


async def test_answers_on_a_pod_are_bounded(pods, model):
    from tests.scripted_model import Script

    gate = asyncio.Event()
    model.default = lambda body: Script(("text", "x"), ("wait", gate))
    pod = await pods.start(**model.openai, max_answers_per_pod=1)
    doors = []
    for _ in range(3):
        person = await pod.person()
        room = await person.room(when="always")
        door = await person.native()
        await door.join(room)
        doors.append((door, (await door.send(room, "?"))["messageId"]))
    await model.calls_are(1)
    assert pod.services.generation.running == 1 and len(model.calls) == 1
    gate.set()
    for door, message_id in doors:
        assert (await door.answer_to(message_id))["status"] == "complete"


async def test_a_fault_of_ours_in_a_group_commit_is_told_and_the_next_goes_on(pods, monkeypatch):
    pod = await pods.start(sends_per_10s=0)
    ann = await pod.person()
    room = await ann.room()
    door = await ann.native()
    await door.join(room)
    for text in ("one", "known from here on"):
        await door.send(room, text)
    service = pod.services.messages
    stamps, on_batch = service._stamps, service.on_batch

    def fail(*what):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(service, "_stamps", fail)
    with pytest.raises(Refused) as refused:
        await door.send(room, "one", clientId="one")
    assert refused.value.error["retryable"]
    monkeypatch.setattr(service, "_stamps", stamps)
    monkeypatch.setattr(service, "on_batch", fail)
    sent = await asyncio.gather(*(door.send(room, f"{n}", clientId=f"{n}") for n in range(5)))
    monkeypatch.setattr(service, "on_batch", on_batch)
    assert [one["seq"] for one in sent] == [3, 4, 5, 6, 7]
    assert (await door.send(room, "one", clientId="one"))["seq"] == 8


async def test_what_is_under_way_when_a_pod_closes_is_told_at_once_and_starts_nothing(pods, database_url):
    pod = await pods.start(sends_per_10s=0)
    ann = await pod.person()
    room = await ann.room()
    who = await pod.services.accounts.by_token(ann.token)
    service = pod.services.messages
    for text in ("one", "known from here on"):
        await service.send(who, room, text)
    holder = psycopg2.connect(database_url)
    with holder.cursor() as cursor:
        cursor.execute("select from room_heads where room_id = %s for update", (room,))
    async with asyncio.timeout(20):
        while service._committing or not service._direct.connected:
            await asyncio.sleep(0.005)
    ended = []
    for key in ("under way", "waiting"):
        assert service.start(who, room, key, key, lambda sent, error: ended.append((sent, error)))
    tasks = len(pod.services.tasks._tasks)
    service.close()
    assert len(ended) == 2
    for sent, error in ended:
        assert sent is None and isinstance(error, Unavailable) and error.retryable
    assert len(pod.services.tasks._tasks) == tasks
    with pytest.raises(Unavailable):
        await asyncio.wait_for(service.send(who, room, "behind the end"), 5)
    holder.close()
