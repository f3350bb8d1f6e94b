"""The hub alone, against a bus that loses, doubles and reorders: readers still get everything, once, in order."""

import asyncio
import itertools
import random

import pytest

from services.realtime import hub as hub_module
from services.realtime.bus import MemoryBus
from services.realtime.events import Event, Message, RunningAnswer, Stream
from services.realtime.hub import Hub
from services.tasks import Tasks

ROOM = "room"


class Log:
    """A room's rows, and the bus between: `say` changes a row and publishes as the test likes."""

    def __init__(self):
        self.rows = {}
        self.head = 0
        self.text = {}

    def change(self, key, role="user", status="complete", attempt=None):
        self.head += 1
        row = Message(key, ROOM, 1, self.head, None, "", role, self.text.get(key, ""), "", status, attempt=attempt)
        self.rows[key] = row
        return Event("message", row)

    async def changes(self, room_id, after):
        await asyncio.sleep(0)
        found = sorted((r for r in self.rows.values() if r.changed_seq > after), key=lambda r: r.changed_seq)
        return found[:3], self.head, len(found) > 3

    async def running(self, room_id):
        return []

    async def heads(self, room_ids):
        return {ROOM: self.head}


class Snapshot:
    def __init__(self, log, after, more=False):
        self.head = log.head
        self.more = more
        self.rows = [r for r in log.rows.values() if r.changed_seq > after]
        self.streaming = [
            RunningAnswer(r.id, r.attempt, 0, "")
            for r in log.rows.values()
            if r.role == "bot" and r.status == "streaming"
        ]


class Reader:
    ids = itertools.count()

    def __init__(self):
        self.id = str(next(self.ids))
        self.user_id = "u" + self.id
        self.state, self.numbers, self.pieces, self.hints = {}, [], {}, []
        self.order = []

    def deliver(self, event):
        if event.message is not None:
            self.numbers.append(event.changed_seq)
            self.state[event.message.id] = event.message
            self.order.append((event.message.id, event.message.status))
        elif event.stream is not None:
            piece = event.stream
            attempt, following, text = self.pieces.get(piece.message_id, (piece.attempt, 0, ""))
            if piece.attempt > attempt:
                attempt, following, text = piece.attempt, 0, ""
            assert piece.attempt == attempt and piece.n == following, (piece, attempt, following)
            self.pieces[piece.message_id] = (attempt, piece.next, text + piece.token)
            self.order.append((piece.message_id, "piece"))
        else:
            self.hints.append(event)

    def entered(self, snapshot, streams):
        self.cursor = snapshot.head
        self.numbers = [snapshot.head]
        self.state |= {r.id: r for r in snapshot.rows}
        self.pieces = {s.message_id: (s.attempt, s.next, s.text) for s in streams}


async def enter(hub, log, reader, after=0, pause=0.0):
    async def read():
        snapshot = Snapshot(log, after)
        await asyncio.sleep(pause)
        return snapshot

    assert await hub.join(reader, ROOM, read, reader.entered)


async def caught_up(hub, log):
    """Until nothing is looked for any more, and one look at the heads has brought what was lost without a trace."""
    async with asyncio.timeout(5):
        while hub._tasks._tasks or hub._rooms[ROOM].timer is not None:
            await asyncio.sleep(0.001)
        await hub.check_heads()
        assert hub._rooms[ROOM].cursor == log.head


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.setattr(hub_module, "HOLE_WAIT_S", 0.005)
    log, bus, tasks = Log(), MemoryBus(), Tasks()
    hub = Hub(bus, log, tasks)
    bus.listen(hub.publish_local, lambda what: None)
    return log, bus, hub


@pytest.mark.parametrize("seed", range(40))
async def test_readers_get_everything_once_and_in_order_whatever_the_bus_does(parts, seed):
    log, bus, hub = parts
    chance = random.Random(seed)
    readers, joining = [], []
    flying = []
    for _ in range(120):
        act = chance.random()
        if act < 0.55:
            flying.append(log.change(f"m{chance.randrange(30)}"))
        elif act < 0.8 and flying:
            event = flying.pop(chance.randrange(len(flying)))
            if chance.random() < 0.8:  # else lost
                bus.publish(ROOM, event)
                if chance.random() < 0.1:
                    bus.publish(ROOM, event)
        elif act < 0.9:
            reader = Reader()
            readers.append(reader)
            joining.append(asyncio.create_task(enter(hub, log, reader, pause=chance.random() * 0.003)))
        elif act < 0.93:
            entered = [r for r in readers if r.numbers]
            if entered:
                gone = chance.choice(entered)
                readers.remove(gone)
                hub.leave(gone, ROOM)
        else:
            await asyncio.sleep(chance.random() * 0.004)
    await asyncio.gather(*joining)
    if not readers:
        readers.append(Reader())
        await enter(hub, log, readers[0])
    await caught_up(hub, log)
    for reader in readers:
        assert reader.numbers == sorted(set(reader.numbers)), "rising, nothing twice"
        assert {k: v.changed_seq for k, v in reader.state.items()} == {k: v.changed_seq for k, v in log.rows.items()}


@pytest.mark.parametrize("seed", range(30))
async def test_pieces_have_no_hole_and_no_overlap_for_whoever_joins_when(parts, seed):
    log, bus, hub = parts
    chance = random.Random(seed)
    readers, joining = [], []
    said, begun_late = {}, set()

    async def maybe_join():
        if chance.random() < 0.25:
            reader = Reader()
            readers.append(reader)
            joining.append(asyncio.create_task(enter(hub, log, reader, pause=chance.random() * 0.002)))

    async def answer(key):
        late = []
        for status in ("queued", "streaming"):
            event = log.change(key, "bot", status, 1)
            if chance.random() < 0.5:
                bus.publish(ROOM, event)
            else:
                late.append(event)
            await maybe_join()
        said[key] = ""
        for n in range(chance.randrange(1, 12)):
            token = f"{key}:{n} "
            said[key] += token
            bus.publish_piece(Stream(ROOM, key, 1, n, n + 1, token))
            if late and chance.random() < 0.5:
                bus.publish(ROOM, late.pop(0))
            await maybe_join()
            if chance.random() < 0.3:
                await asyncio.sleep(chance.random() * 0.004)
        log.text[key] = said[key]
        if late:
            begun_late.add(key)  # its beginning was lost, and so may be pieces
        await asyncio.sleep(0.01)
        event = log.change(key, "bot", "complete", 1)
        if chance.random() < 0.7:
            bus.publish(ROOM, event)
        bus.ended(ROOM, key, 9)

    await asyncio.gather(*(answer(f"a{i}") for i in range(3)))
    await asyncio.gather(*joining)
    await caught_up(hub, log)
    for reader in readers:
        for key, (_, _, text) in reader.pieces.items():
            assert text == said[key] or (key in begun_late and said[key].startswith(text))
            assert reader.state[key].text == said[key]
        for key in said:
            told = [what for name, what in reader.order if name == key]
            if "complete" in told:
                assert told.index("complete") == len(told) - 1, "nothing after the end"
            if "streaming" in told and "piece" in told:
                assert told.index("streaming") < told.index("piece")


async def test_a_lower_attempt_is_dropped_and_a_higher_one_starts_anew(parts):
    log, bus, hub = parts
    reader = Reader()
    await enter(hub, log, reader)
    bus.publish(ROOM, log.change("a", "bot", "streaming", 1))
    bus.publish_piece(Stream(ROOM, "a", 1, 0, 1, "old"))
    bus.publish(ROOM, log.change("a", "bot", "streaming", 2))
    bus.publish_piece(Stream(ROOM, "a", 2, 0, 1, "new"))
    bus.publish(ROOM, Event("stream", Stream(ROOM, "a", 1, 1, 2, "ghost")))
    assert reader.pieces["a"] == (2, 1, "new")


async def test_a_reader_who_leaves_in_the_middle_of_joining_gets_nothing(parts):
    log, bus, hub = parts
    reader = Reader()

    async def read():
        snapshot = Snapshot(log, 0)
        hub.leave(reader, ROOM)
        return snapshot

    assert not await hub.join(reader, ROOM, read, reader.entered)
    bus.publish(ROOM, log.change("m"))
    assert reader.numbers == [] and not hub._rooms


async def test_a_failed_join_leaves_nothing_behind(parts):
    log, bus, hub = parts

    async def read():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await hub.join(Reader(), ROOM, read, lambda *args: None)
    assert not hub._rooms and not bus._rooms


async def test_lost_pieces_are_made_up_for_from_what_the_bus_kept(parts):
    log, bus, hub = parts
    reader = Reader()
    await enter(hub, log, reader)
    bus.publish(ROOM, log.change("a", "bot", "streaming", 1))
    bus.publish_piece(Stream(ROOM, "a", 1, 0, 1, "one "))
    deaf, bus._on_room = bus._on_room, lambda room_id, event: None
    bus.publish_piece(Stream(ROOM, "a", 1, 1, 2, "two "))
    bus._on_room = deaf
    bus.publish_piece(Stream(ROOM, "a", 1, 2, 3, "three"))
    async with asyncio.timeout(2):
        while reader.pieces["a"][1] < 3:
            await asyncio.sleep(0.001)
    assert reader.pieces["a"] == (1, 3, "one two three")


async def test_an_end_that_overtakes_its_last_pieces_brings_them_along(parts):
    log, bus, hub = parts
    reader = Reader()
    await enter(hub, log, reader)
    bus.publish(ROOM, log.change("a", "bot", "queued", 1))
    bus.publish(ROOM, log.change("a", "bot", "streaming", 1))
    bus.publish(ROOM, Event("stream", Stream(ROOM, "a", 1, 0, 1, "하나 ")))
    log.text["a"] = "하나 둘 셋"  # their pieces are lost
    bus.publish(ROOM, log.change("a", "bot", "complete", 1))
    assert reader.pieces["a"][2] == "하나 둘 셋"
    assert reader.order == [("a", "queued"), ("a", "streaming"), ("a", "piece"), ("a", "piece"), ("a", "complete")]


async def test_of_two_who_come_first_the_slower_misses_nothing_of_what_the_faster_began_behind(parts):
    """The first has not read his rows when numbers come; the second's snapshot has them, and the room begins there."""
    log, bus, hub = parts
    log.change("a")
    slow, fast, read = Reader(), Reader(), asyncio.Event()

    async def slowly():
        snapshot = Snapshot(log, 0)
        await read.wait()
        return snapshot

    coming = asyncio.ensure_future(hub.join(slow, ROOM, slowly, slow.entered))
    await asyncio.sleep(0.01)
    for key in "bc":
        bus.publish(ROOM, log.change(key))
    await enter(hub, log, fast)
    bus.publish(ROOM, log.change("d"))
    read.set()
    assert await coming
    bus.publish(ROOM, log.change("e"))
    await caught_up(hub, log)
    for reader in (slow, fast):
        assert reader.state == log.rows


async def test_who_is_put_out_while_the_room_is_subscribed_is_told_so(parts):
    log, bus, hub = parts
    subscribed = asyncio.Event()

    async def subscribe(room_id):
        await subscribed.wait()

    bus.subscribe = subscribe
    reader = Reader()

    async def read():
        raise AssertionError("nobody reads")

    coming = asyncio.ensure_future(hub.join(reader, ROOM, read, reader.entered))
    await asyncio.sleep(0.01)
    hub.leave(reader, ROOM)
    assert await asyncio.wait_for(coming, 2) is False
    assert not hub._rooms
