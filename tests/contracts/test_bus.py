"""The same cases on the bus inside one process, on a real Redis, and on a real Redis Cluster."""

import asyncio
import contextlib
import time
from uuid import uuid4

import pytest
from redis.crc import key_slot

from services.realtime.bus import MemoryBus
from services.realtime.events import Event, Message, Stream, Typing
from services.realtime.redis_bus import RedisBus, channel_of
from services.realtime.redis_node import RedisDown
from services.tasks import Tasks
from tests.contracts.redis_servers import Cluster, Redis


@pytest.fixture(scope="module", params=["memory", "redis", "cluster"])
def server(request):
    if request.param == "memory":
        yield None
        return
    made = Redis() if request.param == "redis" else Cluster()
    try:
        yield made.start()
    finally:
        made.close()


class Ear:
    """A pod's bus and what it heard."""

    def __init__(self, bus):
        self.bus = bus
        self.events, self.nudges, self.joined = [], [], 0
        bus.listen(lambda room, event: self.events.append((room, event)), self.nudges.append, self._joined)

    def _joined(self):
        self.joined += 1

    async def until(self, what, limit_s=10):
        async with asyncio.timeout(limit_s):
            while not (found := what(self)):
                await asyncio.sleep(0.002)
            return found


@pytest.fixture
def ears(io_loop, server):
    """Makes pods on one bus: on MemoryBus they are one and the same."""
    tasks, made = Tasks(), []
    memory = MemoryBus()

    async def make():
        if server is None:
            if not made:
                made.append(Ear(memory))
            return made[0]
        bus = RedisBus(server.url, tasks)
        ear = Ear(bus)
        await bus.open()
        await ear.until(lambda e: bus.healthy)
        made.append(ear)
        return ear

    yield make

    async def close():
        await tasks.close()
        for ear in made:
            await ear.bus.close()

    io_loop.run_sync(close)


def message(room, number, text="안녕"):
    return Event("message", Message(str(uuid4()), room, number, number, None, "Ann", "user", text, "t", "complete"))


def piece(room, mid, n, token, attempt=1, kind=None):
    return Stream(room, mid, attempt, n, n + 1, token, kind)


async def test_what_one_publishes_all_hear_once_in_order_with_the_same_bytes(ears):
    a, b = await ears(), await ears()
    room = str(uuid4())
    for ear in {a, b}:
        await ear.bus.subscribe(room)
    sent = [message(room, n, f"말 {n} \u2028") for n in range(1, 301)]
    for event in sent:
        a.bus.publish(room, event)
    for ear in {a, b}:
        await ear.until(lambda e: len(e.events) >= 300)
        assert [event.data for _, event in ear.events] == [event.data for event in sent]
        assert [event.message for _, event in ear.events] == [event.message for event in sent]
        assert {where for where, _ in ear.events} == {room}


async def test_only_subscribed_rooms_are_heard(ears):
    a, b = await ears(), await ears()
    room, other = str(uuid4()), str(uuid4())
    await b.bus.subscribe(room)
    a.bus.publish(other, message(other, 1))
    a.bus.publish(room, message(room, 1))
    await b.until(lambda e: e.events)
    b.bus.unsubscribe(room)
    await asyncio.sleep(0.1)
    a.bus.publish(room, message(room, 2))
    await b.bus.subscribe(other)
    a.bus.publish(other, message(other, 2))
    await b.until(lambda e: len(e.events) >= 2)
    assert [(where, event.changed_seq) for where, event in b.events] == [(room, 1), (other, 2)]


async def test_hints_keep_their_origin_and_their_one_user(ears):
    a, b = await ears(), await ears()
    room = str(uuid4())
    await b.bus.subscribe(room)
    a.bus.publish(room, Event("typing", Typing(room, "u", True), origin="c1", only_user="u"))
    await b.until(lambda e: e.events)
    event = b.events[0][1]
    assert (event.name, event.origin, event.only_user, event.changed_seq) == ("typing", "c1", "u", 0)


async def test_pieces_are_kept_and_told_in_one_step(ears):
    a, b = await ears(), await ears()
    room, mid = str(uuid4()), str(uuid4())
    await b.bus.subscribe(room)
    tokens = ["하나 ", "둘 ", "셋\n", "넷"]
    for n, token in enumerate(tokens):
        a.bus.publish_piece(piece(room, mid, n, token))
    a.bus.publish_piece(piece(room, mid, 4, "음", kind="reasoning"))
    await b.until(lambda e: len(e.events) >= 5)
    assert [event.stream for _, event in b.events] == [
        *(piece(room, mid, n, token) for n, token in enumerate(tokens)), piece(room, mid, 4, "음", kind="reasoning"),
    ]  # fmt: skip
    for ear in {a, b}:
        (answer,) = await ear.bus.running(room)
        assert (answer.message_id, answer.attempt, answer.next, answer.text) == (mid, 1, 5, "".join(tokens))
    a.bus.publish_piece(piece(room, mid, 0, "neu", attempt=2))
    await b.until(lambda e: len(e.events) >= 6)
    a.bus.publish_piece(piece(room, mid, 5, "ghost", attempt=1))
    (answer,) = await b.bus.running(room)
    assert (answer.attempt, answer.next, answer.text) == (2, 1, "neu")
    a.bus.ended(room, mid, 1)  # the same worker, when it wakes up
    a.bus.publish_piece(piece(room, mid, 1, " text", attempt=2))
    (answer,) = await b.bus.running(room)
    assert (answer.attempt, answer.next, answer.text) == (2, 2, "neu text")
    a.bus.ended(room, mid, 2)
    async with asyncio.timeout(5):
        while await b.bus.running(room):
            await asyncio.sleep(0.005)


async def test_nudges_reach_every_pod(ears):
    a, b = await ears(), await ears()
    a.bus.nudge("stop:x")
    for ear in {a, b}:
        await ear.until(lambda e: e.nudges == ["stop:x"])


async def test_foreign_and_broken_payloads_are_counted_and_dropped(ears, server):
    if server is None:
        pytest.skip("nobody else writes into a process")
    a = await ears()
    room = str(uuid4())
    await a.bus.subscribe(room)
    node = a.bus._of(channel_of(room))
    for payload in (
        b"",
        b"\x01",
        b"hello",
        b"\x02\x01" + b"x" * 30,
        b"\x01\x09" + b"x" * 30,
        b"\x01\x01" + b"x" * 30,
        b"\x01\x02short",
    ):
        node.send(a.bus._publish_word, channel_of(room), payload)
    a.bus.publish(room, message(room, 1))
    await a.until(lambda e: e.bus.foreign == 7)
    assert len(a.events) == 1


async def test_killed_it_is_said_to_be_away_and_comes_back_by_itself(ears, server):
    if server is None:
        pytest.skip("a process does not lose itself")
    a, b = await ears(), await ears()
    room = str(uuid4())
    for ear in (a, b):
        await ear.bus.subscribe(room)
    slot = key_slot(channel_of(room).encode())
    victim = (
        server
        if isinstance(server, Redis)
        else next(n for n in server.nodes if server._owns(n, slot, n.cli("cluster", "myid")))
    )
    victim.kill()
    await a.until(lambda e: not e.bus.healthy)
    a.bus.publish(room, message(room, 1))  # heard here, lost there
    assert [event.changed_seq for _, event in a.events] == [1]
    began = b.joined
    victim.start()
    await b.until(lambda e: e.bus.healthy and e.joined > began, 20)
    await a.until(lambda e: e.bus.healthy, 20)
    await a.until(lambda e: e.bus.publish(room, message(room, 2)) or any(x.changed_seq == 2 for _, x in b.events), 10)


async def test_stopped_it_holds_up_nobody(ears, server):
    if not isinstance(server, Redis):
        pytest.skip("shown on one server")
    a = await ears()
    room = str(uuid4())
    await a.bus.subscribe(room)
    server.pause()
    try:
        loop = asyncio.get_running_loop()
        slowest = 0.0
        for n in range(1, 200):
            began = loop.time()
            a.bus.publish(room, message(room, n))
            await a.bus.running(room)
            slowest = max(slowest, loop.time() - began)
            await asyncio.sleep(0.01)
        assert slowest < 1.5  # it waits 0.3 s for who answers an answer's text, and 2 s for a reply at large
        assert not a.bus.reachable
    finally:
        server.resume()
    await a.until(lambda e: e.bus.healthy, 15)


async def test_an_answer_that_comes_in_the_turn_of_its_limit_switches_nothing_off(ears, server):
    if not isinstance(server, Redis):
        pytest.skip("shown on one server")
    a = await ears()
    node = a.bus._of("nothing")
    loop = asyncio.get_running_loop()
    for n in range(3):
        loop.call_later(0.05, time.sleep, 0.2)  # a busy loop finds both at once: the answer, and its limit passed
        with contextlib.suppress(RedisDown):
            await node.call("BLPOP", "nothing", 0.1, limit_s=0.15)
        await a.until(lambda e: e.bus.reachable, 2)
        sent = node.dropped
        node.send("SET", "maru:test", n)
        assert await node.call("GET", "maru:test", limit_s=1) == b"%d" % n and node.dropped == sent


async def test_a_slot_that_moves_takes_its_channel_along(ears, server):
    if not isinstance(server, Cluster):
        pytest.skip("only a cluster has slots")
    a, b = await ears(), await ears()
    room = str(uuid4())
    for ear in (a, b):
        await ear.bus.subscribe(room)
    server.move_slot(key_slot(channel_of(room).encode()))
    number = 0

    def heard(ear):
        nonlocal number
        number += 1
        a.bus.publish(room, message(room, number))
        return b.events and b.events[-1][1].changed_seq > 5

    await b.until(heard, 15)


async def test_a_long_answer_costs_redis_a_small_multiple_of_its_text(ears, server):
    if not isinstance(server, Redis):
        pytest.skip("measured on one server")
    a = await ears()
    room, mid = str(uuid4()), str(uuid4())
    token = "word and more words to fill a piece of thirty milliseconds " * 2
    before = int(server.cli("info", "stats").split("total_net_input_bytes:")[1].split()[0])
    for n in range(1000):
        a.bus.publish_piece(piece(room, mid, n, token))
    await a.bus._of(channel_of(room)).call("PING", limit_s=5)
    async with asyncio.timeout(5):
        while (await a.bus.running(room))[0].next < 1000:
            await asyncio.sleep(0.01)
    after = int(server.cli("info", "stats").split("total_net_input_bytes:")[1].split()[0])
    assert after - before < 3 * 1000 * len(token)
