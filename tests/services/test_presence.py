"""Presence alone: who comes back faster than his rooms can be read is still one person."""

import asyncio
import json

from services.realtime import presence
from services.realtime.bus import MemoryBus
from services.realtime.elsewhere import Elsewhere
from services.realtime.presence import Presences
from services.realtime.registry import Registry


async def test_a_second_going_before_the_coming_was_noticed_is_one_going(monkeypatch):
    monkeypatch.setattr(presence, "OFFLINE_AFTER_S", 0.02)
    told, faults = [], []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))

    async def no_rooms(user_id):
        return []

    async def nobody(user_ids):
        pass

    bus = MemoryBus()
    bus.listen(lambda room_id, event: told.append((room_id, json.loads(event.data)["online"])), lambda what: None)
    await bus.subscribe("a")
    await bus.subscribe("b")
    presences = Presences(bus, Registry(no_rooms), Elsewhere(None, nobody))
    presences.went("u", {"a"})
    presences.went("u", {"b"})
    await asyncio.sleep(0.1)
    assert sorted(told) == [("a", False), ("b", False)] and faults == []
    assert not presences.online("u")


async def test_a_thousand_who_come_back_to_one_room_are_told_to_a_hundred_at_most():
    class Socket:
        def __init__(self, user_id):
            self.user_id = user_id

    async def rooms_of(user_id):
        return ["room"]

    async def nobody(user_ids):
        pass

    told = []
    bus = MemoryBus()
    bus.listen(lambda room_id, event: told.append(event), lambda what: None)
    await bus.subscribe("room")
    registry = Registry(rooms_of)
    presences = Presences(bus, registry, Elsewhere(None, nobody))
    for n in range(1000):
        user_id = f"u{n}"
        registry.add(Socket(user_id))
        await registry.load_rooms(user_id)
        presences.came(user_id)
    assert len(told) == 100
