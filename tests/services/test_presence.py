"""Presence alone: who comes back faster than his rooms can be read is still one person."""

import asyncio
import json

from models.database import DatabaseUnavailable
from services.realtime import presence
from services.realtime.bus import MemoryBus
from services.realtime.elsewhere import Elsewhere
from services.realtime.presence import Presences
from services.realtime.registry import Registry
from services.tasks import Tasks


async def no_rooms(user_id):
    return []


async def test_a_second_going_before_the_coming_was_noticed_is_one_going(monkeypatch):
    monkeypatch.setattr(presence, "OFFLINE_AFTER_S", 0.02)
    told, faults = [], []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))

    bus = MemoryBus()
    bus.listen(lambda room_id, event: told.append((room_id, json.loads(event.data)["online"])), lambda what: None)
    await bus.subscribe("a")
    await bus.subscribe("b")
    presences = Presences(bus, Registry(no_rooms), Elsewhere(None, print), Tasks(), no_rooms)
    presences.went("u", {"a"})
    presences.went("u", {"b"})
    await asyncio.sleep(0.1)
    assert sorted(told) == [("a", False), ("b", False)] and faults == []
    assert not presences.online("u")


async def test_who_was_told_to_type_is_told_to_have_stopped_however_many_have_come(monkeypatch):
    monkeypatch.setattr(presence, "CROWD", 2)
    monkeypatch.setattr(presence, "EVERY_S", 0.0)

    class Socket:
        def __init__(self, user_id):
            self.user_id = user_id

    told = []
    bus = MemoryBus()
    bus.listen(lambda room_id, event: told.append(json.loads(event.data)), lambda what: None)
    await bus.subscribe("room")
    registry = Registry(no_rooms)
    presences = Presences(bus, registry, Elsewhere(None, print), Tasks(), no_rooms)
    presences.typing("room", "ann", "c1", True)
    for user_id in ("ann", "bob", "cy"):
        registry.add(Socket(user_id))
        registry.enter(user_id, "room")
    presences.typing("room", "bob", "c2", True)
    presences.typing("room", "ann", "c1", True)
    presences.typing("room", "bob", "c2", False)
    presences.typing("room", "ann", "c1", False)
    assert [(one["userId"], one["on"]) for one in told] == [("ann", True), ("ann", False)]
    assert not presences._typing


async def test_a_thousand_who_come_back_to_one_room_are_told_to_a_hundred_at_most():
    class Socket:
        def __init__(self, user_id):
            self.user_id = user_id

    async def rooms_of(user_id):
        return ["room"]

    told = []
    bus = MemoryBus()
    bus.listen(lambda room_id, event: told.append(event), lambda what: None)
    await bus.subscribe("room")
    registry = Registry(rooms_of)
    presences = Presences(bus, registry, Elsewhere(None, print), Tasks(), no_rooms)
    for n in range(1000):
        user_id = f"u{n}"
        registry.add(Socket(user_id))
        await registry.load_rooms(user_id)
        presences.came(user_id)
    assert len(told) == 100


async def test_rooms_that_were_read_before_somebody_lost_one_are_read_again():
    class Socket:
        user_id = "u"

    answers = [["a", "b"], ["b"]]
    registry = Registry(None)

    async def rooms_of(user_id):
        found = answers.pop(0)
        if answers:
            registry.exit(user_id, "a")
            registry.changed()
        return found

    registry._rooms_of = rooms_of
    registry.add(Socket())
    await registry.load_rooms("u")
    assert registry.rooms("u") == {"b"} and registry.users_in("a") == set()


async def test_who_comes_while_the_database_is_away_has_his_rooms_when_it_is_back(pods, monkeypatch):
    pod = await pods.start()
    ann, bob = await pod.person(), await pod.person()
    room = await ann.room(bob)
    rooms_of, away = pod.services.registry._rooms_of, [True]

    async def reading(user_id):
        if away:
            raise DatabaseUnavailable("away")
        return await rooms_of(user_id)

    monkeypatch.setattr(pod.services.registry, "_rooms_of", reading)
    door = await bob.native()
    await door.ask("ping", {})
    away.clear()
    async with asyncio.timeout(10):
        while room not in pod.services.registry.rooms(bob.id):
            await asyncio.sleep(0.02)
    await ann.patch(f"/rooms/{room}", {"name": "neu"})
    await door.event("room", name="neu")


async def test_a_long_telling_holds_up_no_revocation(pods, monkeypatch):
    pod = await pods.start()
    ann, bob = await pod.person(), await pod.person()
    room = await ann.room(bob)
    a, b = await ann.native(), await bob.native()
    await b.join(room)
    telling, go_on = asyncio.Event(), asyncio.Event()
    tell = pod.services.access._tell

    async def long(moved):
        telling.set()
        await go_on.wait()
        await tell(moved)

    monkeypatch.setattr(pod.services.access, "_tell", long)
    await ann.patch(f"/rooms/{room}", {"name": "neu"})
    await telling.wait()
    await ann.call("DELETE", f"/rooms/{room}/members/{bob.id}")
    await b.event("removed", 1, roomId=room)
    go_on.set()
    await a.event("room", name="neu")
    assert b.named("room") == []
