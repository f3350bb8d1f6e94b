"""Devices: they connect through either door, fold what comes, come back with their cursors, and write everything down.

What a client does is what PROTOCOL tells clients to do; nothing is used of the server's code.
"""

import asyncio
import contextlib
import json
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from chaos.journal import Journal, compact

REPLY_S = 10.0
BACK_S = (0.05, 0.6)

Arrived = tuple[Any, str, Any]  # (id, "", reply) or (None, event, data)


class Native:
    """The native door."""

    path = "/ws"

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str) -> None:
        self._http, self._url, self._token = http, url, token

    async def open(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        self._socket = await self._http.ws_connect(
            self._url + self.path, headers=headers, max_msg_size=0, autoping=True
        )

    async def call(self, number: int, event: str, data: Any) -> None:
        await self._socket.send_str(json.dumps({"id": number, "event": event, "data": data}))

    async def frames(self, may_read: asyncio.Event) -> AsyncIterator[str]:
        while True:
            await may_read.wait()
            frame = await self._socket.receive()
            if frame.type is not aiohttp.WSMsgType.TEXT:
                return
            yield frame.data

    async def arrivals(self, may_read: asyncio.Event) -> AsyncIterator[Arrived]:
        async for text in self.frames(may_read):
            data = json.loads(text)
            yield (data["id"], "", data) if "ok" in data and "id" in data else (None, data["event"], data["data"])

    def shrink(self) -> None:
        """A small window, so that what is not read is felt by the server."""
        found = self._socket.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def cut(self) -> None:
        """As a network does it: without a word."""
        transport = self._socket.get_extra_info("socket")
        response = self._socket._response
        if response.connection is not None and response.connection.transport is not None:
            response.connection.transport.abort()
        elif transport is not None:
            transport.close()

    async def close(self) -> None:
        await self._socket.close()


class SocketIO(Native):
    """Socket.IO over its websocket transport."""

    path = "/socket.io/?EIO=4&transport=websocket"

    async def open(self) -> None:
        self._socket = await self._http.ws_connect(self._url + self.path, max_msg_size=0)
        await self._socket.send_str("40" + json.dumps({"token": self._token}))
        async with asyncio.timeout(REPLY_S):
            async for frame in self._socket:
                if frame.type is not aiohttp.WSMsgType.TEXT or frame.data.startswith("44"):
                    break
                if frame.data.startswith("40"):
                    return
        raise ConnectionError("not let in")

    async def call(self, number: int, event: str, data: Any) -> None:
        await self._socket.send_str(f"42{number}" + json.dumps([event, data]))

    async def arrivals(self, may_read: asyncio.Event) -> AsyncIterator[Arrived]:
        async for text in self.frames(may_read):
            if text == "2":
                await self._socket.send_str("3")
            elif (found := packet(text)) is not None:
                yield found
            elif text.startswith("41"):
                return


class Polling(Native):
    """Socket.IO over long-polling only."""

    path = "/socket.io/?EIO=4&transport=polling"

    async def open(self) -> None:
        self._poll: asyncio.Task[str] | None = None
        first = await self._get(self._url + self.path)
        self._at = f"{self._url}{self.path}&sid={json.loads(first[1:])['sid']}"
        await self._post("40" + json.dumps({"token": self._token}))
        self._early: list[str] = []
        async with asyncio.timeout(REPLY_S):
            while not any(text.startswith("40") for text in self._early):
                self._early += (await self._get(self._at)).split("\x1e")
        if any(text.startswith("44") for text in self._early):
            raise ConnectionError("not let in")

    async def _get(self, url: str) -> str:
        async with self._http.get(url) as answer:
            if answer.status != 200:
                raise ConnectionError(f"poll {answer.status}")
            return await answer.text()

    async def _post(self, text: str) -> None:
        async with self._http.post(self._at, data=text, timeout=aiohttp.ClientTimeout(total=REPLY_S)) as answer:
            if answer.status != 200:
                raise ConnectionError(f"post {answer.status}")

    async def call(self, number: int, event: str, data: Any) -> None:
        await self._post(f"42{number}" + json.dumps([event, data]))

    async def frames(self, may_read: asyncio.Event) -> AsyncIterator[str]:
        for text in self._early:
            yield text
        while True:
            await may_read.wait()
            self._poll = asyncio.create_task(self._get(self._at))
            await asyncio.wait({self._poll})
            if self._poll.cancelled() or self._poll.exception() is not None:
                return
            texts = self._poll.result().split("\x1e")
            for text in texts:
                yield text

    async def arrivals(self, may_read: asyncio.Event) -> AsyncIterator[Arrived]:
        async for text in self.frames(may_read):
            if text == "2":
                await self._post("3")
            elif (found := packet(text)) is not None:
                yield found
            elif text.startswith("41") or text == "1":
                return

    def shrink(self) -> None:
        pass

    def cut(self) -> None:
        if self._poll is not None:
            self._poll.cancel()

    async def close(self) -> None:
        self.cut()


def packet(text: str) -> Arrived | None:
    if text.startswith("43"):
        start = text.index("[")
        return int(text[2:start]), "", json.loads(text[start:])[0]
    if text.startswith("42"):
        name, data = json.loads(text[2:])
        return None, name, data
    return None


DOORS: dict[str, type[Native]] = {"native": Native, "socketio": SocketIO, "polling": Polling}
FAULTS = (aiohttp.ClientError, ConnectionError, OSError, TimeoutError, ValueError)


class Device:
    """One device of a user.

    rooms: what it reads now. seen: told of every message event.
    """

    def __init__(
        self,
        journal: Journal,
        http: aiohttp.ClientSession,
        front: str,
        user: dict[str, Any],
        name: str,
        door: str,
        seed: int,
    ) -> None:
        self.name = name
        self.user_id: str = user["id"]
        self.number = 0
        self.rooms: set[str] = set()
        self.running: dict[str, str] = {}  # answers as last seen: message -> status
        self.seen: Callable[[dict[str, Any]], None] = lambda message: None
        self._journal, self._http, self._front, self._token, self._door = journal, http, front, user["token"], door
        self._chance = random.Random(seed)
        self._cursors: dict[str, int] = {}
        self._calls = 0
        self._waiting: dict[int, tuple[asyncio.Future[dict[str, Any]], str, Any]] = {}
        self._link: Native | None = None
        self._online = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._wanted: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def online(self) -> bool:
        return self._online.is_set()

    # -- a life: connect, read, come back

    async def live(self) -> None:
        while True:
            with contextlib.suppress(*FAULTS):
                await self._connection()
            await asyncio.sleep(self._chance.uniform(*BACK_S))

    async def _connection(self) -> None:
        link = DOORS[self._door](self._http, self._front, self._token)
        async with asyncio.timeout(REPLY_S):
            await link.open()
        self.number += 1
        self._link = link
        self._journal.write("open", device=self.name, conn=self.number, user=self.user_id, door=self._door)
        self._online.set()
        joining = asyncio.create_task(self._join_own())
        try:
            async for number, event, data in link.arrivals(self._may_read):
                if event:
                    self._event(event, data)
                else:
                    self._reply(number, data)
        finally:
            self._online.clear()
            self._link = None
            joining.cancel()
            self.rooms.clear()
            self._wanted.clear()
            self._journal.write("closed", device=self.name, conn=self.number)
            for future, _, _ in self._waiting.values():
                if not future.done():
                    future.set_exception(ConnectionError("closed"))
            self._waiting.clear()
            link.cut()

    def _event(self, event: str, data: Any) -> None:
        where = {"device": self.name, "conn": self.number}
        if event == "message":
            self._journal.write("message", **where, m=compact(data))
            self._cursors[data["roomId"]] = max(self._cursors.get(data["roomId"], 0), data["changedSeq"])
            if data["role"] == "bot":
                self.running[data["id"]] = data["status"]
            self.seen(data)
        elif event == "stream":
            self._journal.write("stream", **where, s=data)
        elif event == "removed":
            self._journal.write("removed", **where, room=data["roomId"])
            self.rooms.discard(data["roomId"])
        elif event == "room" and data["id"] not in self.rooms:
            self._want(data["id"])

    def _reply(self, number: int, reply: dict[str, Any]) -> None:
        future, event, about = self._waiting.pop(number, (None, "", None))
        if event == "join" and reply["ok"]:
            data = reply["data"]
            self._journal.write(
                "joined", device=self.name, conn=self.number, room=about["roomId"], after=about.get("after"),
                head=data["head"], more=data["more"], messages=[compact(m) for m in data["messages"]], streams=data["streams"],
            )  # fmt: skip
            numbers = [m["changedSeq"] for m in data["messages"]]
            self._cursors[about["roomId"]] = numbers[-1] if data["more"] else data["head"]
            for message in data["messages"]:
                if message["role"] == "bot":
                    self.running[message["id"]] = message["status"]
                self.seen(message)
            if not data["more"]:
                self.rooms.add(about["roomId"])
        if future is not None and not future.done():
            future.set_result(reply)

    # -- rooms

    def _want(self, room: str) -> None:
        if room not in self._wanted and self.online:
            self._wanted.add(room)
            task = asyncio.create_task(self._join(room))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _join_own(self) -> None:
        rooms: list[str] = []
        while not rooms:
            try:
                headers = {"Authorization": f"Bearer {self._token}"}
                limit = aiohttp.ClientTimeout(total=REPLY_S)
                async with self._http.get(f"{self._front}/rooms?limit=200", headers=headers, timeout=limit) as answer:
                    rooms = [room["id"] for room in (await answer.json())["items"]]
            except (*FAULTS, KeyError):
                await asyncio.sleep(self._chance.uniform(*BACK_S))
        for room in rooms:
            self._want(room)

    async def _join(self, room: str) -> None:
        try:
            while self.online and room not in self.rooms:
                after = {"after": self._cursors[room]} if room in self._cursors else {}
                reply = await self.call("join", {"roomId": room, **after})
                if not reply["ok"]:
                    if not reply["error"]["retryable"]:
                        return
                    await asyncio.sleep(self._chance.uniform(*BACK_S))
        except FAULTS:
            self.cut()  # what was asked and not answered in time: come back anew
        finally:
            self._wanted.discard(room)

    # -- commands and faults

    async def call(self, event: str, data: Any) -> dict[str, Any]:
        """The reply. Raises ConnectionError or TimeoutError: then nobody knows."""
        if self._link is None:
            raise ConnectionError("offline")
        self._calls += 1
        number = self._calls
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (future, event, data)
        try:
            async with asyncio.timeout(REPLY_S):
                await self._link.call(number, event, data)
                return await future
        finally:
            self._waiting.pop(number, None)
            if future.done() and not future.cancelled():
                future.exception()

    async def is_online(self) -> None:
        await self._online.wait()

    def cut(self) -> None:
        if self._link is not None:
            self._link.cut()

    async def leave(self) -> None:
        """Close in good order; `live` comes back."""
        if self._link is not None:
            await self._link.close()

    async def stall(self, seconds: float) -> None:
        """Read nothing for a while."""
        if self._link is None:
            return
        self._journal.write("stalled", device=self.name, conn=self.number)
        self._link.shrink()
        self._may_read.clear()
        await asyncio.sleep(seconds)
        self._may_read.set()

    def settled(self, heads: dict[str, int]) -> bool:
        """It reads all these rooms and has reached their heads."""
        return all(room in self.rooms and self._cursors.get(room, 0) >= head for room, head in heads.items())

    def write_settled(self) -> None:
        self._journal.write("settled", device=self.name, rooms=sorted(self.rooms))


class Person:
    """Speaks through whichever of his devices is there; says it again, under the same number, until he knows."""

    def __init__(self, journal: Journal, user: dict[str, Any], devices: list[Device], seed: int) -> None:
        self.id: str = user["id"]
        self.devices = devices
        self.mine: dict[str, str] = {}  # own messages -> mark
        self._journal = journal
        self._chance = random.Random(seed)
        self._number = 0

    async def _device(self) -> Device:
        while True:
            ready = [device for device in self.devices if device.online]
            if ready:
                return self._chance.choice(ready)
            await asyncio.wait(
                [asyncio.create_task(device.is_online()) for device in self.devices],
                return_when=asyncio.FIRST_COMPLETED,
            )

    async def insist(self, do: str, journal: dict[str, Any], data: dict[str, Any]) -> dict[str, Any] | None:
        """Ask until there is an answer. None: refused for good."""
        began = time.time()
        while True:
            device = await self._device()
            self._journal.write("call", do=do, user=self.id, device=device.name, began=began, **journal)
            try:
                reply = await device.call(do, data)
            except TimeoutError:
                device.cut()
                continue
            except FAULTS:
                await asyncio.sleep(self._chance.uniform(*BACK_S))
                continue
            if reply["ok"]:
                done: dict[str, Any] = reply["data"]
                self._journal.write("done", do=do, user=self.id, began=began, **{**journal, **done})
                return done
            if not reply["error"]["retryable"]:
                return None
            await asyncio.sleep(max(reply["error"].get("retryAfterMs", 0) / 1000, self._chance.uniform(*BACK_S)))

    async def say(self, room: str, words: str) -> str | None:
        """The mark under which it can be recognised, once it is acknowledged."""
        self._number += 1
        mark = f"{self.id}/{self._number}"
        text = f"{mark} {words}"
        about = {"room": room, "clientId": mark, "text": text}
        done = await self.insist("send", about, {"roomId": room, "clientId": mark, "text": text})
        if done is not None:
            self.mine[done["messageId"]] = mark
        return mark if done is not None else None

    async def edit(self) -> None:
        if self.mine:
            message, mark = self._chance.choice(list(self.mine.items()))
            self._number += 1
            text = f"{mark} edited {self._number}"
            await self.insist("edit", {"messageId": message, "text": text}, {"messageId": message, "text": text})

    async def delete(self) -> None:
        if self.mine:
            message = self._chance.choice(list(self.mine))
            del self.mine[message]
            await self.insist("delete", {"messageId": message}, {"messageId": message})

    async def stop(self) -> None:
        device = await self._device()
        running = [message for message, status in device.running.items() if status in ("queued", "streaming")]
        if running:
            message = self._chance.choice(running)
            await self.insist("stop", {"messageId": message}, {"messageId": message})

    async def regenerate(self) -> None:
        device = await self._device()
        ended = [message for message, status in device.running.items() if status in ("complete", "failed", "stopped")]
        if ended:
            message = self._chance.choice(ended[-20:])
            await self.insist("regenerate", {"messageId": message}, {"messageId": message})
