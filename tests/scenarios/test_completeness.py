"""Whatever happens to connections, what a client has folded equals a fresh fetch, in order, without doubles."""

import asyncio
import random

import pytest

from tests.pods import Refused


class Device:
    """A client as PROTOCOL describes it: folds what it gets, keeps a cursor, comes back with it."""

    def __init__(self, person, room, kind):
        self.person, self.room, self.kind = person, room, kind
        self.state = {}
        self.cursor = None
        self.door = None
        self.seen = 0
        self.streams = {}

    async def connect(self):
        self.door = await self.person.door(self.kind)
        self.seen = 0
        self.last = 0
        while True:
            given = {} if self.cursor is None else {"after": self.cursor}
            joined = await self.door.join(self.room, **given)
            numbers = [m["changedSeq"] for m in joined["messages"]]
            if given:
                assert numbers == sorted(set(numbers)) and all(n > self.cursor for n in numbers)
            self.fold(joined["messages"])
            self.streams = {s["messageId"]: (s["attempt"], s["next"], s["text"]) for s in joined["streams"]}
            if not joined["more"]:
                self.cursor = self.last = joined["head"]
                return
            self.cursor = numbers[-1]

    def fold(self, messages):
        for message in messages:
            if message["changedSeq"] > self.state.get(message["id"], {"changedSeq": 0})["changedSeq"]:
                self.state[message["id"]] = message

    def take(self):
        """Fold what has come since; check what PROTOCOL promises of it."""
        for name, data in self.door.events[self.seen :]:
            if name == "message" and data["roomId"] == self.room:
                assert data["changedSeq"] > self.last, "numbers rise on one connection"
                self.last = self.cursor = data["changedSeq"]
                self.fold([data])
                if data["status"] in ("complete", "stopped", "failed"):
                    attempt, _, text = self.streams.pop(data["id"], (None, 0, ""))
                    if attempt == data.get("attempt") and attempt is not None and not data.get("deleted"):
                        assert text == data["text"], "the text is the pieces joined"
            elif name == "stream":
                attempt, following, text = self.streams.get(data["messageId"], (data["attempt"], 0, ""))
                if data["attempt"] > attempt:
                    attempt, following, text = data["attempt"], 0, ""
                assert data["n"] == following, "no hole and no overlap among pieces"
                text += data["token"]
                self.streams[data["messageId"]] = (attempt, data["next"], text)
        self.seen = len(self.door.events)

    async def drop(self):
        self.take()
        await self.door.close()
        self.door = None


@pytest.mark.parametrize("seed", range(6))
async def test_the_folded_state_of_every_client_equals_a_fresh_fetch(pods, seed):
    chance = random.Random(seed)
    pod = await pods.start(sends_per_10s=0, max_connections_per_user=0, demo_token_ms=1)
    people = [await pod.person() for _ in range(3)]
    room = await people[0].room(*people[1:], when="always" if seed % 2 else "off")
    devices = [Device(p, room, chance.choice(["native", "websocket", "polling"])) for p in people for _ in range(2)]
    for device in devices:
        await device.connect()
    said = {p.id: [] for p in people}
    expected = 0

    async def writer(person, turns):
        nonlocal expected
        for turn in range(turns):
            act = chance.random()
            mine = said[person.id]
            try:
                if act < 0.6 or not mine:
                    sent = await person.post(f"/rooms/{room}/messages", {"text": f"{person.name} {turn}"})
                    mine.append(sent["messageId"])
                    expected += 1
                elif act < 0.85:
                    await person.call("PATCH", f"/messages/{chance.choice(mine)}", {"text": f"edited {turn}"})
                else:
                    await person.call("DELETE", f"/messages/{chance.choice(mine)}")
            except Refused:
                raise
            await asyncio.sleep(chance.random() * 0.01)

    async def troublemaker():
        for _ in range(25):
            device = chance.choice(devices)
            if device.door is not None:
                await device.drop()
                await asyncio.sleep(chance.random() * 0.05)
                await device.connect()

    await asyncio.gather(*(writer(person, 40) for person in people), troublemaker())
    fresh, after = {}, 0
    async with asyncio.timeout(120):
        while True:  # until every answer has ended
            page = await people[0].get(f"/rooms/{room}/changes?after={after}&limit=500")
            fresh |= {m["id"]: m for m in page["messages"]}
            after = max([after, *(m["changedSeq"] for m in page["messages"])])
            if not page["more"] and not any(m["status"] in ("queued", "streaming") for m in fresh.values()):
                break
            await asyncio.sleep(0.05)
    head = (await people[0].get(f"/rooms/{room}"))["head"]
    assert after == head
    assert sum(m["role"] == "user" for m in fresh.values()) == expected
    assert sorted(m["seq"] for m in fresh.values()) == list(range(1, len(fresh) + 1))
    if seed % 2:
        answered = [m["replyTo"] for m in fresh.values() if m["role"] == "bot"]
        assert sorted(answered) == sorted(m["id"] for m in fresh.values() if m["role"] == "user")
    for device in devices:
        await device.door.wait(lambda d, device=device: device.take() or device.cursor == head, 10)
        assert device.state == fresh
