"""Activity alone: who is told what, how often, and what it costs to tell many."""

import asyncio
import json
import time
from types import SimpleNamespace

from services.realtime import activity
from services.realtime.activity import Activities
from services.realtime.registry import Registry
from services.tasks import Tasks


class Client:
    def __init__(self, user_id, name="name", joined=()):
        self.user_id = user_id
        self.identity = SimpleNamespace(name=name)
        self.joined = set(joined)
        self.heard = []

    def deliver(self, event):
        self.heard.append(event)

    @property
    def rooms(self):
        return [{room["roomId"]: room["mentioned"] for room in json.loads(event.data)["rooms"]} for event in self.heard]


async def world(*clients, announce=lambda words: None):
    async def rooms_of(user_id):
        return ["a", "b", "c"]

    registry = Registry(rooms_of)
    for client in clients:
        if registry.add(client):
            await registry.load_rooms(client.user_id)
    return Activities(registry, Tasks(), announce)


async def test_all_who_have_joined_the_same_rooms_are_told_in_one_event(monkeypatch):
    monkeypatch.setattr(activity, "EVERY_S", 0.02)
    clients = [Client(f"u{n}", f"name{n}", ["c"]) for n in range(3)]
    other = Client("u0", "name0", ["a"])
    called = Client("u9", "Bo", ["c"])
    activities = await world(*clients, other, called)
    activities.note("a", 4, "hi @bo")
    activities.note("b", 2, "hi")
    activities.note("c", 7, "hi")
    async with asyncio.timeout(5):
        while not all(client.heard for client in (*clients, other, called)):
            await asyncio.sleep(0.01)
    assert [client.rooms for client in clients] == [[{"a": False, "b": False}]] * 3
    assert len({id(client.heard[0]) for client in clients}) == 1
    assert other.rooms == [{"b": False, "c": False}]
    assert called.rooms == [{"a": True, "b": False}]


async def test_many_are_told_less_often_and_nothing_is_forgotten(monkeypatch):
    monkeypatch.setattr(activity, "EVERY_S", 0.02)
    monkeypatch.setattr(activity, "TOLD_PER_S", 10)
    monkeypatch.setattr(activity, "MOST_S", 0.3)
    clients = [Client(f"u{n}") for n in range(50)]
    activities = await world(*clients)
    began = time.monotonic()
    for n in range(1, 40):
        activities.note("a", n, "hi")
        await asyncio.sleep(0.01)

    def seen(client):
        return [json.loads(event.data)["rooms"][0]["lastSeq"] for event in client.heard]

    async with asyncio.timeout(5):
        while not all(seen(client)[-1:] == [39] for client in clients):
            await asyncio.sleep(0.01)
    most = 2 + (time.monotonic() - began) / 0.3
    for client in clients:
        assert seen(client) == sorted(seen(client)) and 2 <= len(client.heard) <= most


async def test_other_pods_are_told_each_time_however_many_are_told_here(monkeypatch):
    monkeypatch.setattr(activity, "EVERY_S", 0.02)
    monkeypatch.setattr(activity, "TOLD_PER_S", 10)
    announced = []
    client, *_ = clients = [Client(f"u{n}") for n in range(50)]
    activities = await world(*clients, announce=announced.append)
    for n in range(1, 10):
        activities.note("a", n, "hi")
        async with asyncio.timeout(5):
            while len(announced) < n:
                await asyncio.sleep(0.01)
    assert len(announced) == 9 and len(client.heard) == 1
