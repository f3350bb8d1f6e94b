"""What pods say of themselves in a real Redis, and what the others make of it."""

import asyncio
import json

import pytest

from models.database import DatabaseUnavailable
from services.realtime import elsewhere, presence
from services.realtime.bus import MemoryBus
from services.realtime.elsewhere import Elsewhere
from services.realtime.presence import Presences
from services.realtime.redis_bus import RedisBus
from services.realtime.redis_node import RedisDown
from services.realtime.registry import Registry
from services.tasks import Tasks
from tests.contracts.redis_servers import Redis


@pytest.fixture(scope="module")
def redis():
    made = Redis()
    yield made.start()
    made.close()


class Lossy:
    """A pod's Redis that may lose what is told without an answer, as it does while it counts as away."""

    def __init__(self, bus):
        self._bus = bus
        self.pod = bus.pod
        self.ask = bus.ask
        self.loses = False

    def tell(self, key, *command):
        if not self.loses:
            self._bus.tell(key, *command)


class Pod:
    def __init__(self, bus, tasks):
        self.tasks = tasks
        self.store = Lossy(bus)
        self.rooms = {}
        self.gone = []
        self.elsewhere = Elsewhere(self.store, self._died, lambda least: self.rooms)
        self.presences = None

    async def written(self):
        """What it has told is in Redis."""
        await self.store.ask("", "PING")

    def _died(self, user_ids):
        self.gone.append(user_ids)
        if self.presences is not None:
            self.presences.died(user_ids)


@pytest.fixture
def make(io_loop, redis, monkeypatch):
    """Pods that look at the others when they are told to."""
    monkeypatch.setattr(elsewhere, "EVERY_S", 0)
    redis.cli("flushall")
    tasks, made = Tasks(), []

    async def pod():
        bus = RedisBus(redis.url, tasks)
        await bus.open()
        made.append(bus)
        async with asyncio.timeout(10):
            while not bus.healthy:
                await asyncio.sleep(0.01)
        return Pod(bus, tasks)

    yield pod

    async def close():
        await tasks.close()
        for bus in made:
            await bus.close()

    io_loop.run_sync(close)


async def look(*pods):
    for pod in pods:
        await pod.elsewhere.step()


async def test_a_going_that_was_lost_on_its_way_is_said_again(make):
    a, b = await make(), await make()
    a.elsewhere.changed("ann", 3)
    a.elsewhere.changed("bob", 1)
    a.rooms = {"one": 10, "two": 10}
    await look(a, b)
    assert await b.elsewhere.connections("ann") == 3 and b.elsewhere.present("two", set()) == 10
    a.store.loses = True
    a.elsewhere.changed("ann", 0)
    a.store.loses = False
    a.rooms = {"one": 10}
    await look(a, b)
    assert await b.elsewhere.connections("ann") == 0 and not b.elsewhere.online("ann")
    assert b.elsewhere.online("bob")
    assert b.elsewhere.present("two", set()) == 0 and b.elsewhere.present("one", set()) == 10


async def test_a_coming_that_was_lost_on_its_way_is_said_again(make):
    a, b = await make(), await make()
    a.elsewhere.changed("ann", 1)
    await look(a, b)
    a.store.loses = True
    a.elsewhere.changed("ann", 2)
    a.elsewhere.changed("bob", 1)
    a.store.loses = False
    await look(a, b)
    assert await b.elsewhere.connections("ann") == 2 and b.elsewhere.online("bob")


async def test_a_redis_that_has_forgotten_everything_is_told_again(make, redis):
    a, b = await make(), await make()
    a.elsewhere.changed("ann", 1)
    a.rooms = {"one": 10}
    await look(a, b)
    redis.cli("flushall")
    await look(a, b)
    assert await b.elsewhere.connections("ann") == 1 and b.elsewhere.present("one", set()) == 10


async def test_a_pod_that_everybody_has_left_is_not_a_dead_one(make):
    a, b = await make(), await make()
    a.elsewhere.changed("ann", 1)
    await look(a, b)
    a.elsewhere.changed("ann", 0)
    for _ in range(elsewhere.MISSES + 1):
        await look(a, b)
    assert b.gone == [] and not b.elsewhere.online("ann")
    assert b.elsewhere.everybody(set(), 0) == (0, 0, 2)


async def test_a_pod_is_not_dead_until_several_looks_in_a_row_have_missed_it(make, redis):
    a, b = await make(), await make()
    a.elsewhere.changed("ann", 1)
    a.elsewhere.changed("bob", 1)
    b.elsewhere.changed("bob", 1)
    await look(a, b)
    redis.cli("flushall")
    for _ in range(3):
        await look(b)
    assert b.elsewhere.online("ann")
    await look(a)  # it has found Redis again
    for _ in range(elsewhere.MISSES):
        await look(b)
    assert b.gone == [] and b.elsewhere.online("ann")
    redis.cli("zrem", elsewhere.PODS, a.store.pod)
    for _ in range(elsewhere.MISSES):
        await look(b)
    assert b.gone == [{"ann"}] and not b.elsewhere.online("ann")
    await look(b)
    assert len(b.gone) == 1


async def test_what_a_pod_says_outlives_its_name_among_the_living(make, redis):
    a = await make()
    a.elsewhere.changed("ann", 1)
    await look(a)
    score = float(redis.cli("zscore", elsewhere.PODS, a.store.pod))
    assert int(redis.cli("expiretime", elsewhere.key_of(a.store.pod))) > score + 2


async def test_a_pod_that_gets_no_answer_in_time_says_all_the_same_that_it_lives(make, redis):
    a, b = await make(), await make()

    async def late(*command):
        raise RedisDown

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(a.store, "ask", late)
        await look(a)
    await a.written()
    await look(b)
    assert b.elsewhere.everybody(set(), 0) == (0, 0, 2)


class Client:
    def __init__(self, user_id):
        self.user_id = user_id


async def no_rooms(user_id):
    return []


class Told(MemoryBus):
    """What a pod's readers of the room `one` are told of presence."""

    def __init__(self):
        super().__init__()
        self.told = []
        self.listen(lambda room_id, event: self.told.append(json.loads(event.data)), lambda what: None)

    async def until(self, count):
        async with asyncio.timeout(5):
            while len(self.told) < count:
                await asyncio.sleep(0.005)


async def test_those_of_a_dead_pod_are_told_once_rows_can_be_read_if_they_are_still_away(make, monkeypatch):
    monkeypatch.setattr(presence, "DEAD_AT_ONCE", 3)
    monkeypatch.setattr(presence, "RETRY_S", 0.01)
    a, b, c = await make(), await make(), await make()
    bus, registry, asked = Told(), Registry(no_rooms), []
    await bus.subscribe("one")

    async def rooms_of(user_ids):
        asked.append("".join(user_ids))
        if len(asked) == 2:  # while the rows are out of reach two return, one of them to another pod
            registry.add(Client("d"))
            c.elsewhere.changed("e", 1)
            await c.written()
            raise DatabaseUnavailable("gone")
        return {user_id: ["one"] for user_id in user_ids}

    b.presences = Presences(bus, registry, b.elsewhere, b.tasks, rooms_of)
    for user_id in "abcdef":
        a.elsewhere.changed(user_id, 1)
    await look(a, c, b)
    await a.elsewhere.leave()
    for _ in range(elsewhere.MISSES):
        await look(c, b)
    assert bus.told == []  # nobody has waited for it
    await bus.until(4)
    assert asked == ["abc", "def", "def"]
    assert [(one["userId"], one["online"]) for one in bus.told] == [(user_id, False) for user_id in "abcf"]


async def test_who_has_come_to_another_pod_since_it_was_looked_at_is_not_told_offline(make, monkeypatch):
    monkeypatch.setattr(presence, "OFFLINE_AFTER_S", 0.01)
    a, b = await make(), await make()
    bus = Told()
    await bus.subscribe("one")
    presences = Presences(bus, Registry(no_rooms), b.elsewhere, b.tasks, no_rooms)
    await look(a, b)
    a.elsewhere.changed("ann", 1)
    await a.written()
    for user_id in ("ann", "bob"):
        presences.went(user_id, {"one"})
    await bus.until(1)
    assert [(one["userId"], one["online"]) for one in bus.told] == [("bob", False)]
    assert not presences.online("bob")


async def test_who_comes_back_while_the_other_pods_are_asked_has_not_gone(make, monkeypatch):
    monkeypatch.setattr(presence, "OFFLINE_AFTER_S", 0.01)
    a, b = await make(), await make()
    bus, asked, ask = Told(), asyncio.Event(), b.store.ask
    await bus.subscribe("one")
    presences = Presences(bus, Registry(no_rooms), b.elsewhere, b.tasks, no_rooms)
    await look(a, b)

    async def slow(*command):
        asked.set()
        await asyncio.sleep(0.02)
        return await ask(*command)

    b.store.ask = slow
    presences.went("ann", {"one"})
    await asked.wait()
    presences.came("ann")
    presences.went("bob", {"one"})
    await bus.until(1)
    assert [(one["userId"], one["online"]) for one in bus.told] == [("bob", False)] and b.tasks.failures == 0
