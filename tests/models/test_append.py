"""The ways of appending, decided in Python, in Postgres, or by what is known already, held to each other on random batches."""

import asyncio
import json
import random
from itertools import count

import pytest

from models import generations, messages, rooms
from models.base import new_id
from models.database import Database
from models.direct import Direct
from models.messages import NewMessage
from services.messages import DEFAULT, AtOnce, who_answers
from tests.pods import Refused

BOTS = [{}, {"when": "always", "name": "Bo"}, {"when": "off"}, {"when": "mention"}, {"when": "mention", "name": "Bo"}]
ROLES = ["owner", "member", "reader", None]
TEXTS = ["hi", "hi all", "@maru hi", "ask @BO", "a@b"]
NOWHERE = len(BOTS)  # a room that is not there


@pytest.fixture
def database(database_url):
    made = Database(database_url, threads=2)
    yield made
    made.close()


@pytest.fixture
def direct(io_loop, database):
    made = Direct(database, {**messages.PREPARED, **generations.PREPARED})
    yield made

    async def close():
        made.close()

    io_loop.run_sync(close)


class World:
    """Rooms and people, the same in each copy but for their ids; `names` says what an id stands for."""

    def __init__(self, direct):
        self.direct = direct
        self.rooms = [new_id() for _ in [*BOTS, "nowhere"]]
        self.users = [new_id() for _ in ROLES]
        self.messages = []
        self.names = {id_: f"{kind} {n}" for kind in ("rooms", "users") for n, id_ in enumerate(getattr(self, kind))}

    def make(self, sql):
        for n, user_id in enumerate(self.users):
            sql.run("insert into users (id, email, name) values (%s, %s, %s)", user_id, user_id, f"name {n}")
        for room_id, bot in zip(self.rooms, BOTS, strict=False):
            name = None if bot else "a name"
            sql.run("insert into rooms (id, name, bot) values (%s, %s, %s)", room_id, name, json.dumps(bot))
            sql.run("insert into room_heads (room_id) values (%s)", room_id)
            for user_id, role in zip(self.users, ROLES, strict=True):
                if role is not None:
                    rooms.add_member(sql, room_id, user_id, role)

    def batch(self, drawn):
        """drawn: (room, user, text, client id, number of an earlier message, -1 for one that never was, or None) each."""
        return [
            NewMessage(
                self.rooms[room], self.users[user], text, client_id,
                None if reply is None else new_id() if reply < 0 else self.messages[reply],
            )
            for room, user, text, client_id, reply in drawn
        ]  # fmt: skip

    async def two_trips(self, batch):
        results, job = await self.direct.run(generations.append(batch, who_answers, None))
        assert job is None
        return results

    async def one_trip(self, batch):
        may_mention = ["@" in new.content or new.reply_to is not None for new in batch]
        return await self.direct.run(messages.append_at_once(batch, may_mention, DEFAULT.when, DEFAULT.name))

    async def learn(self, results):
        """Name the new messages, and see that what was returned is what is kept."""
        for done in results:
            for row in (done.message, done.answer):
                if row is not None and not done.duplicate:
                    self.names[row.id] = f"message {len(self.messages)}"
                    self.messages.append(row.id)
                    assert await self.direct.run(messages.find_steps(row.id)) == row

    def plain(self, results):
        """Without what differs between copies or ways: ids by their names, no times, no stamps."""

        def row(kept):
            if kept is None:
                return None
            return {key: self.names.get(value, value) for key, value in kept._asdict().items() if key != "created_at"}

        return [done._replace(message=row(done.message), answer=row(done.answer), stamp=None) for done in results]

    def rows(self, sql):
        kept = sql.rows(
            "select room_id, seq, changed_seq, id, user_id, role, content, client_id, reply_to, status, attempt, bot_name,"
            " asked_by, deleted from messages where room_id = any(%s::uuid[]) order by room_id, seq",
            self.rooms,
        )
        heads = sql.rows("select room_id, head, last_seq from room_heads where room_id = any(%s::uuid[])", self.rooms)
        return sorted([tuple(self.names.get(value, value) for value in row) for row in kept + heads], key=repr)


def draw(chance, client_ids, known):
    """A batch; of few client ids, so that many were sent before."""
    size = chance.choice([1, 1, 1, 2, 3, 6, 12])
    drawn = []
    for _ in range(size):
        reply = chance.choice([None, None, None, -1, *([chance.randrange(known)] * 2 if known else [])])
        room, user = chance.randrange(len(BOTS) + (chance.random() < 0.2)), chance.choice([0, 0, 1, 1, 2, 3])
        client_id = f"c{next(client_ids) if chance.random() < 0.6 else chance.randrange(8)}"
        drawn.append((room, user, chance.choice(TEXTS), client_id, reply))
    return drawn


@pytest.mark.parametrize("seed", range(8))
async def test_both_ways_of_appending_do_the_same(database, direct, seed):
    chance, client_ids = random.Random(seed), count(100)
    one, two = World(direct), World(direct)
    await database.run(one.make)
    await database.run(two.make)
    at_once, left, seen = 0, 0, set()
    for _ in range(60):
        drawn = draw(chance, client_ids, len(one.messages))
        first = one.batch(drawn)
        before = await database.run_bare(one.rows)
        results = await one.one_trip(first)
        if results is None:
            left += 1
            undecided = [draft for draft in drawn if draft[0] < NOWHERE and "mention" in BOTS[draft[0]].values()]
            assert any("@" in text or reply is not None for _, _, text, _, reply in undecided)
            assert await database.run_bare(one.rows) == before
            results = await one.two_trips(first)
        else:
            at_once += 1
        expected = await two.two_trips(two.batch(drawn))
        await one.learn(results)
        await two.learn(expected)
        assert one.plain(results) == two.plain(expected)
        assert await database.run_bare(one.rows) == await database.run_bare(two.rows)
        seen |= {
            done.refused or ("duplicate" if done.duplicate else "new", done.answer is not None) for done in results
        }
        if chance.random() < 0.2 and one.messages:
            n = chance.randrange(len(one.messages))
            for world in (one, two):
                await database.run(lambda sql, id_: messages.delete(sql, messages.find(sql, id_)), world.messages[n])
    assert at_once > 20 and left > 5
    refusals = {"room.not_found", "room.read_only", "message.reply_not_found"}
    assert seen == {*refusals, ("new", True), ("new", False), ("duplicate", False)}


async def test_a_send_is_planned_over_indexes_though_the_tables_are_empty(direct):
    def steps():
        rows = yield (
            "explain execute maru_look_up(%s::uuid[], %s::uuid[], %s::text[], %s::uuid[])",
            ([new_id()], [new_id()], ["c"], [None]),
        )
        return "\n".join(row[0] for row in rows)

    plan = await direct.run(steps())
    assert "messages_client" in plan and "messages_pkey" in plan
    assert not any(word in plan for word in ("Seq Scan", "Bitmap", "Hash", "Merge"))


def finish_all(world):
    """Running answers end, some without a word."""

    def run(sql):
        sql.run(
            "update messages set status = 'complete', content = case when mod(seq, 4) = 0 then '' else 'said' end,"
            " lease_owner = null, lease_until = null where room_id = any(%s::uuid[]) and status = 'streaming'",
            world.rooms,
        )

    return run


def plain_job(world, job):
    if job is None:
        return None
    name = world.names.get
    history = [(name(row.id), row.content) for row in job.history]
    message = (name(job.message.id), job.message.status, job.message.attempt, job.message.changed_seq)
    return message, job.room_name, job.bot, job.taken_over, history, name(job.question.id)


@pytest.mark.parametrize("seed", range(4))
async def test_a_lone_question_asked_in_one_trip_is_as_in_two(database, direct, seed):
    chance, client_ids = random.Random(seed), count(100)
    one, two = World(direct), World(direct)
    await database.run(one.make)
    await database.run(two.make)
    owners = [new_id(), new_id()]
    claimers = [generations.Claimer(owner, 10.0, 2, lambda bot: bot.get("contextMessages", 3)) for owner in owners]
    for world in (one, two):
        await database.run(lambda sql, room=world.rooms[0]: sql.run(
            "update rooms set bot = %s where id = %s", json.dumps({"when": "always", "contextMessages": 5}), room
        ))  # fmt: skip
    claimed = left = waiting = 0
    for _ in range(80):
        (drawn,) = draw(chance, client_ids, len(one.messages))[:1]
        if chance.random() < 0.5:  # what this way is for
            drawn = (chance.choice([0, 1]), chance.choice([0, 1]), drawn[2], f"c{next(client_ids)}", None)
        (new,) = one.batch([drawn])
        may_mention = "@" in new.content or new.reply_to is not None
        before = await database.run_bare(one.rows)
        done = await direct.run(generations.ask(new, may_mention, DEFAULT.when, DEFAULT.name, claimers[0]))
        if done is None:
            left += 1
            assert await database.run_bare(one.rows) == before
            results, job = await direct.run(generations.append([new], who_answers, claimers[0]))
        else:
            results, job = [done[0]], done[1]
        others, other_job = await direct.run(generations.append(two.batch([drawn]), who_answers, claimers[1]))
        for world, found in ((one, results), (two, others)):
            for row in (found[0].message, found[0].answer):
                if row is not None and not found[0].duplicate:
                    world.names[row.id] = f"message {len(world.messages)}"
                    world.messages.append(row.id)
        assert one.plain(results) == two.plain(others)
        assert plain_job(one, job) == plain_job(two, other_job)
        assert await database.run_bare(one.rows) == await database.run_bare(two.rows)
        claimed += job is not None
        waiting += job is None and results[0].answer is not None
        if chance.random() < 0.5:
            for world in (one, two):
                await database.run(finish_all(world))
    assert claimed > 2 and left > 2 and waiting > 2


def change(chance, worlds):
    """Something of a room, the same in each: much of it decides who may write there."""
    room, user = chance.randrange(NOWHERE), chance.choice([0, 1, 1, 2])
    what, role = chance.randrange(6), chance.choice(["owner", "member", "reader"])
    bot = chance.choice([bot for bot in BOTS if bot.get("when") in ("off", "mention")])

    def work(sql):
        for world in worlds:
            room_id, user_id = world.rooms[room], world.users[user]
            rooms.lock(sql, room_id)
            if what < 2:
                rooms.set_role(sql, room_id, user_id, role)
            elif what == 2:
                rooms.remove_member(sql, room_id, user_id, left=True)
            elif what == 3:
                rooms.add_member(sql, room_id, user_id, role)
            elif what == 4:
                rooms.change(sql, room_id, None, bot)
            else:
                sql.run("update users set name = name || '!' where id = %s", user_id)

    return work


def append(service, new, doors):
    """What becomes of it, told either to a future or at once, as doors do."""
    future = asyncio.get_running_loop().create_future()
    at_once = AtOnce(lambda done, error: future.set_exception(error) if error else future.set_result(done))
    service._append(new, doors.choice([future, at_once]))
    return future


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_known_of_a_room_saves_asking_and_is_never_wrong(pods, database, direct, monkeypatch, seed):
    """Through the service, which goes by what it has seen, and by the way that asks for everything."""
    chance, client_ids = random.Random(seed), count(100)
    pod = await pods.start()
    asked, served = World(direct), World(direct)
    silent = {n: {"when": chance.choice(["off", "mention"])} for n in range(NOWHERE)}
    for world in (asked, served):
        await database.run(world.make)
        for room, bot in silent.items():
            await database.run(rooms.change, world.rooms[room], None, bot)
    doors = random.Random(0)
    written, stale = 0, 0
    append_known = messages.append_known

    def counted(batch, stamps):
        nonlocal written, stale
        found = yield from append_known(batch, stamps)
        written += sum(done is not None for done in found)
        stale += sum(done is None for done in found)
        return found

    monkeypatch.setattr(messages, "append_known", counted)
    for _ in range(150):
        if chance.random() < 0.2:
            await database.run(change(chance, (asked, served)))
        drawn = []
        for room, user, _, client_id, reply in draw(chance, client_ids, len(asked.messages)):
            rarely = chance.random() < 0.1
            text = "a@b" if rarely else "hi"
            drawn.append(
                (room % 3, user, text, client_id if rarely else f"d{next(client_ids)}", reply if rarely else None)
            )
        expected = await asked.two_trips(asked.batch(drawn))
        results = await asyncio.gather(*(append(pod.services.messages, new, doors) for new in served.batch(drawn)))
        await asked.learn(expected)
        await served.learn(results)
        bare = [done._replace(bot="{}", room_name=None) for done in asked.plain(expected)]
        assert [done._replace(bot="{}", room_name=None) for done in served.plain(results)] == bare
        assert await database.run_bare(served.rows) == await database.run_bare(asked.rows)
    assert written > 80 and stale > 2, (written, stale)


async def test_pods_that_write_in_the_same_known_rooms_wait_for_one_another_and_double_nothing(pods, database):
    first, second = await pods.start(sends_per_10s=0), await pods.start(sends_per_10s=0)
    ann = await first.person()
    where = [await ann.room(when="off") for _ in range(12)]
    who = await first.services.accounts.by_token(ann.token)
    for pod in (first, second):
        for _ in range(2):
            for room in where:
                await pod.services.messages.send(who, room, "seen")
    chance = random.Random(0)

    async def write(pod):
        for _ in range(40):
            some = chance.sample(where, 6)
            await asyncio.gather(*(pod.services.messages.send(who, room, "beside") for room in some))

    async def retry(pod):
        """One client id by both ways at the same time."""
        for n in range(40):
            await pod.services.messages.send(who, where[n % 12], "once", f"c{n}")

    await asyncio.gather(write(first), write(second), retry(first), retry(second))
    for room in where:
        rows = await database.run_bare(
            lambda sql, room=room: sql.rows(
                "select seq, changed_seq, client_id from messages where room_id = %s order by seq", room
            )
        )
        assert [row[:2] for row in rows] == [(n, n) for n in range(1, len(rows) + 1)]
        ids = [row[2] for row in rows]
        assert len(set(ids)) == len(ids)
    said = await database.run_bare(lambda sql: sql.row("select count(*) from messages where content = 'once'"))
    assert said == (40,)


async def test_what_another_pod_changes_holds_for_the_next_send_here(pods):
    first, second = await pods.start(), await pods.start()
    ann, bob = await first.person(), await first.person()
    room = await ann.room(bob, when="off")
    door = await bob.native()
    await door.join(room)

    async def known():
        for _ in range(3):
            await door.send(room, "hi")
        assert first.services.messages._writers.stamp(room, bob.id, False) is not None

    await known()
    await ann.call("PATCH", f"/rooms/{room}", {"bot": {"when": "always"}}, pod=second)
    sent = await door.send(room, "?")
    assert (await door.answer_to(sent["messageId"]))["status"] == "complete"
    await ann.call("PATCH", f"/rooms/{room}", {"bot": {"when": "off"}}, pod=second)
    await known()
    await ann.call("PATCH", f"/rooms/{room}/members/{bob.id}", {"role": "reader"}, pod=second)
    with pytest.raises(Refused, match="read_only"):
        await door.send(room, "hi")
    await ann.call("PATCH", f"/rooms/{room}/members/{bob.id}", {"role": "member"}, pod=second)
    await known()
    await ann.call("DELETE", f"/rooms/{room}/members/{bob.id}", pod=second)
    assert (await bob.call("POST", f"/rooms/{room}/messages", {"text": "hi"}))[1]["code"] == "room.not_found"
