"""People who talk while things break: who is in which room, what they do, and how it comes to rest."""

import asyncio
import random
import time
from typing import Any

import aiohttp
import psycopg2

from chaos.clients import FAULTS, Device, Person
from chaos.journal import Journal
from chaos.stage import Stage

PASSWORD = "correct horse battery 9"
DOORS = ("native", "native", "socketio", "socketio", "socketio", "polling")
WORDS = ["하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉", "열", "one", "two", "three", "four", "five"]
SETTLE_S = 60.0
PROBE_EVERY_S = 0.3


class Play:
    """people: two devices each. probes: pairs whose messages tell how long an outage lasts."""

    def __init__(
        self,
        stage: Stage,
        journal: Journal,
        clients: int,
        seed: int,
        sends_per_s: float,
        sessions: list[aiohttp.ClientSession],
    ) -> None:
        """sessions: one for each address that clients come from, so that nginx spreads those that stick."""
        self._stage, self._journal, self._sessions = stage, journal, sessions
        self._chance = random.Random(seed)
        self._clients = clients
        self._pause_s = max(1, clients // 2) / sends_per_s
        self.people: list[Person] = []
        self.probes: list[tuple[Person, Device, str]] = []
        self.members: dict[str, set[str]] = {}
        self.bots: dict[str, str] = {}
        self._rooms_of: dict[str, list[str]] = {}
        self._owner: dict[str, dict[str, Any]] = {}
        self._lives: list[asyncio.Task[None]] = []
        self._over = asyncio.Event()

    @property
    def devices(self) -> list[Device]:
        return [device for person in self.people for device in person.devices]

    # -- who is there

    async def set_up(self) -> None:
        """Accounts and rooms, made before anything breaks."""
        count = max(4, self._clients // 2)
        limit = asyncio.Semaphore(4)

        async def register(number: int) -> dict[str, Any]:
            async with limit:
                body = {"email": f"p{number}@example.com", "name": f"사람{number}", "password": PASSWORD}
                made = await self._rest("POST", "/auth/register", body)
                return {"id": made["user"]["id"], "token": made["token"]}

        probes = 4
        users = await asyncio.gather(*(register(number) for number in range(count + 2 * probes)))
        people, others = users[:count], users[count:]
        for number in range(max(3, count // 6)):
            when = ("always", "off", "off")[number % 3]
            inside = self._chance.sample(people, min(count, self._chance.randrange(6, 16)))
            await self._room(inside, when)
        for user in people:
            if not any(user["id"] in members for members in self.members.values()):
                await self._room([user, *self._chance.sample([one for one in people if one is not user], 3)], "always")
        for user in people:
            self._rooms_of[user["id"]] = [room for room, members in self.members.items() if user["id"] in members]
            self.people.append(self._person(user, 2))
        for number in range(probes):
            one, other = others[2 * number : 2 * number + 2]
            room = await self._room([one, other], "off")
            speaker, listener = self._person(one, 1), self._person(other, 1)
            self.probes.append((speaker, listener.devices[0], room))

    def _person(self, user: dict[str, Any], count: int) -> Person:
        devices = []
        for number in range(count):
            http = self._chance.choice(self._sessions)
            name, seed = f"{user['id']}/{number}", self._chance.getrandbits(32)
            door = self._chance.choice(DOORS) if count > 1 else "native"
            devices.append(Device(self._journal, http, self._stage.front, user, name, door, seed))
        return Person(self._journal, user, devices, self._chance.getrandbits(32))

    async def _room(self, inside: list[dict[str, Any]], when: str) -> str:
        owner = inside[0]
        room = (await self._rest("POST", "/rooms", {"name": "방", "bot": {"when": when}}, owner["token"]))["id"]
        self.members[room], self.bots[room], self._owner[room] = set(), when, owner
        for user in inside:
            if user is not owner:
                await self._rest("POST", f"/rooms/{room}/members", {"userId": user["id"]}, owner["token"])
            self._joined(room, user["id"], True, time.time())
        return str(room)

    def _joined(self, room: str, user: str, on: bool, began: float) -> None:
        (self.members[room].add if on else self.members[room].discard)(user)
        self._journal.write("member", room=room, user=user, on=on, began=began)

    async def _rest(self, method: str, path: str, body: Any = None, token: str = "", fine: tuple[int, ...] = ()) -> Any:
        """Until it has been done. fine: refusals that say that it was done before."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        while True:
            try:
                limit = aiohttp.ClientTimeout(total=10)
                call = self._sessions[0].request(
                    method, self._stage.front + path, json=body, headers=headers, timeout=limit
                )
                async with call as answer:
                    if answer.status < 300 or answer.status in fine:
                        return await answer.json() if answer.status not in (204, *fine) else None
                    if answer.status < 500 and answer.status != 429:
                        raise RuntimeError(f"{method} {path}: {answer.status} {await answer.text()}")
            except FAULTS:
                pass
            await asyncio.sleep(0.3)

    # -- what they do

    async def begin(self) -> None:
        for device in [
            *self.devices,
            *(d for speaker, listener, _ in self.probes for d in (*speaker.devices, listener)),
        ]:
            self._lives.append(asyncio.create_task(device.live()))
        async with asyncio.timeout(SETTLE_S):
            while not all(device.settled(dict.fromkeys(self._rooms_of[device.user_id], 0)) for device in self.devices):
                await asyncio.sleep(0.1)

    async def go_on(self) -> None:
        """Until `end`: then each ends what he began."""
        doing = [self._live(person) for person in self.people]
        await asyncio.gather(*doing, *(self._probe(*probe) for probe in self.probes), self._warden())

    def end(self) -> None:
        self._over.set()

    async def _live(self, person: Person) -> None:
        acts = {"say": 74, "edit": 7, "delete": 3, "stop": 5, "regenerate": 1, "leave": 5, "cut": 5}
        while not await self._over_in(self._chance.expovariate(1 / self._pause_s)):
            act = self._chance.choices([*acts], [*acts.values()])[0]
            if act == "say":
                words = " ".join(self._chance.choices(WORDS, k=self._chance.choice((3, 8, 20, 20, 800))))
                rooms = self._rooms_of[person.id]
                # Answers come one after the other: where each utterance asks for one, people leave it time.
                likely = [1 if self.bots[room] == "always" else 4 for room in rooms]
                await person.say(self._chance.choices(rooms, likely)[0], words)
            elif act == "leave":
                await self._chance.choice(person.devices).leave()
            elif act == "cut":
                self._chance.choice(person.devices).cut()
            else:
                await getattr(person, act)()

    async def _over_in(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return False
        return True

    async def _probe(self, speaker: Person, listener: Device, room: str) -> None:
        """One message after the other, each until it was committed and seen elsewhere."""
        seen: set[str] = set()
        news = asyncio.Event()

        def note(message: dict[str, Any]) -> None:
            seen.add(message["text"].split(" ", 1)[0])
            news.set()

        listener.seen = note
        while not await self._over_in(PROBE_EVERY_S):
            began = time.time()
            mark = await speaker.say(room, "probe")
            while mark not in seen:
                news.clear()
                await news.wait()
            self._journal.write("probe", who=speaker.id, began=began)

    async def _warden(self) -> None:
        """Now and then somebody is put out of a room, and let in again."""
        while not await self._over_in(self._chance.uniform(1, 4)):
            room = self._chance.choice([room for room, members in self.members.items() if len(members) > 4])
            owner = self._owner[room]
            user = self._chance.choice(sorted(self.members[room] - {owner["id"]}))
            began = time.time()
            await self._rest("DELETE", f"/rooms/{room}/members/{user}", None, owner["token"], (404,))
            self._joined(room, user, False, began)
            await self._over_in(self._chance.uniform(2, 8))
            began = time.time()
            await self._rest("POST", f"/rooms/{room}/members", {"userId": user}, owner["token"], (409,))
            self._joined(room, user, True, began)

    # -- how it ends

    async def settle(self) -> None:
        """Every answer has ended, every device is there and has caught up; or time is over, and the checker says what
        is missing."""
        until, before = time.monotonic() + SETTLE_S, 0
        while time.monotonic() < until:
            heads, running = await asyncio.to_thread(self._heads)
            if running < before:  # answers in turn take their time
                until = time.monotonic() + SETTLE_S
            before = running
            mine = {device: {room: heads[room] for room in self._rooms_of[device.user_id]} for device in self.devices}
            if not running and all(device.settled(rooms) for device, rooms in mine.items()):
                break
            await asyncio.sleep(0.25)
        await asyncio.sleep(1)  # what should not come would come now
        for device in self.devices:
            device.write_settled()
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)

    def _heads(self) -> tuple[dict[str, int], int]:
        connection = psycopg2.connect(self._stage.direct_url)
        try:
            with connection.cursor() as cursor:
                cursor.execute("select room_id::text, head from room_heads")
                heads = dict(cursor.fetchall())
                cursor.execute("select count(*) from messages where status in ('queued', 'streaming')")
                return heads, int(cursor.fetchone()[0])  # type: ignore[index]
        finally:
            connection.close()

    def rows(self) -> dict[str, Any]:
        """What is in the database, in the words of the contract."""
        names = (
            "id",
            "roomId",
            "seq",
            "changedSeq",
            "userId",
            "role",
            "text",
            "status",
            "attempt",
            "replyTo",
            "clientId",
        )
        connection = psycopg2.connect(self._stage.direct_url)
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "select id::text, room_id::text, seq, changed_seq, user_id::text, role, content, status, attempt,"
                    " reply_to::text, client_id, deleted from messages"
                )
                messages = []
                for *values, deleted in cursor.fetchall():
                    messages.append(dict(zip(names, values, strict=True)) | ({"deleted": True} if deleted else {}))
                cursor.execute("select room_id::text, user_id::text from members")
                members: dict[str, list[str]] = {}
                for room, user in cursor.fetchall():
                    members.setdefault(room, []).append(user)
        finally:
            connection.close()
        return {"messages": messages, "members": members, "bots": self.bots}
