"""Pods and people for tests: real sockets, real clients (aiohttp, python-socketio), nothing of the code under test."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import socketio

from app import serving
from config.settings import Settings
from services.container import Services, open_services

SECRET = "a test's secret of more than thirty-two bytes"
numbers = itertools.count(1)


class Refused(Exception):
    """A command was answered with an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error))
        self.error = error
        self.code = error["code"]


class Door:
    """A client's connection, whatever the door: what it got, and commands with their replies."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.closed: tuple[int, str] | None = None
        self._news = asyncio.Event()

    def got(self, name: str, data: dict[str, Any]) -> None:
        self.events.append((name, data))
        self._news.set()

    def ended(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)
        self._news.set()

    async def wait(self, what: Callable[["Door"], Any], limit_s: float = 10) -> Any:
        """Returns what `what` finds, once it finds something."""
        async with asyncio.timeout(limit_s):
            while not (found := what(self)):
                self._news.clear()
                await self._news.wait()
            return found

    async def event(self, name: str, limit_s: float = 10, /, **fields: Any) -> dict[str, Any]:
        """The first event of this name with these fields, come or to come."""

        def find(door: Door) -> Any:
            return next(
                (data for kind, data in door.events if kind == name and fields.items() <= data.items()),
                None,
            )

        try:
            found = await self.wait(find, limit_s)
        except TimeoutError:
            raise AssertionError(f"no {name} with {fields} among {self.events[-20:]}") from None
        return dict(found)

    async def final(self, message_id: str, limit_s: float = 15) -> dict[str, Any]:
        """The ended form of an answer."""

        def find(door: Door) -> Any:
            return next(
                (
                    m
                    for m in door.messages()
                    if m["id"] == message_id and m["status"] in ("complete", "stopped", "failed")
                ),
                None,
            )

        return dict(await self.wait(find, limit_s))

    async def answer_to(self, message_id: str, limit_s: float = 15) -> dict[str, Any]:
        """The ended answer to an utterance."""
        queued = await self.event("message", limit_s, replyTo=message_id, role="bot")
        return await self.final(queued["id"], limit_s)

    async def end(self, limit_s: float = 10) -> tuple[int, str]:
        """How the server closed the connection."""
        found = await self.wait(lambda door: door.closed, limit_s)
        return found[0], found[1]

    def messages(self, room_id: str | None = None) -> list[dict[str, Any]]:
        return [d for name, d in self.events if name == "message" and (room_id is None or d["roomId"] == room_id)]

    def named(self, name: str) -> list[dict[str, Any]]:
        return [data for kind, data in self.events if kind == name]

    async def ask(self, event: str, data: Any) -> dict[str, Any]:
        raise NotImplementedError

    async def tell(self, event: str, data: Any) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    async def join(self, room_id: str, **data: Any) -> dict[str, Any]:
        return await self.ask("join", {"roomId": room_id, **data})

    async def send(self, room_id: str, text: str, **data: Any) -> dict[str, Any]:
        return await self.ask("send", {"roomId": room_id, "text": text, **data})


class Native(Door):
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__()
        self.socket = socket
        self._replies: dict[Any, asyncio.Future[Any]] = {}
        self.frames: list[dict[str, Any]] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frame in self.socket:
            if frame.type is not aiohttp.WSMsgType.TEXT:
                break
            data = json.loads(frame.data)
            self.frames.append(data)
            if "ok" in data:
                reply = self._replies.pop(data.get("id"), None)
                if reply is not None and not reply.done():
                    reply.set_result(data)
                self._news.set()
            else:
                self.got(data["event"], data["data"])
        self.ended(self.socket.close_code or 0, "")
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(ConnectionError(f"closed {self.socket.close_code}"))

    async def ask(self, event: str, data: Any) -> dict[str, Any]:
        key = next(numbers)
        self._replies[key] = asyncio.get_running_loop().create_future()
        await self.socket.send_str(json.dumps({"id": key, "event": event, "data": data}))
        reply = await asyncio.wait_for(self._replies[key], 15)
        if not reply["ok"]:
            raise Refused(reply["error"])
        return dict(reply["data"])

    async def tell(self, event: str, data: Any) -> None:
        await self.socket.send_str(json.dumps({"event": event, "data": data}))

    async def close(self) -> None:
        self._reader.cancel()
        await self.socket.close()


class SocketIO(Door):
    def __init__(self, client: socketio.AsyncClient) -> None:
        super().__init__()
        self.client = client
        client.on("*", self._event)
        client.on("disconnect", self._gone)

    async def _event(self, name: str, data: Any) -> None:
        if name == "closing":
            self.ended(data["code"], data["reason"])
        self.got(name, data)

    async def _gone(self, reason: str = "") -> None:
        self.ended(-1, str(reason))

    async def ask(self, event: str, data: Any) -> dict[str, Any]:
        reply = await self.client.call(event, data, timeout=15)
        if not reply["ok"]:
            raise Refused(reply["error"])
        return dict(reply["data"])

    async def tell(self, event: str, data: Any) -> None:
        await self.client.emit(event, data)

    async def close(self) -> None:
        await self.client.disconnect()


class Person:
    """A registered user with a token."""

    def __init__(self, pod: "Pod", signed_in: dict[str, Any], password: str) -> None:
        self.pod = pod
        self.token = signed_in["token"]
        self.refresh_token = signed_in["refreshToken"]
        self.user = signed_in["user"]
        self.id = self.user["id"]
        self.name = self.user["name"]
        self.email = self.user["email"]
        self.password = password

    async def call(self, method: str, path: str, body: Any = None, *, pod: "Pod | None" = None) -> tuple[int, Any]:
        return await (pod or self.pod).call(method, path, body, token=self.token)

    async def get(self, path: str) -> Any:
        status, body = await self.call("GET", path)
        assert status == 200, (path, status, body)
        return body

    async def post(self, path: str, body: Any = None) -> Any:
        status, answer = await self.call("POST", path, body)
        assert status < 300, (path, status, answer)
        return answer

    async def patch(self, path: str, body: Any) -> Any:
        status, answer = await self.call("PATCH", path, body)
        assert status == 200, (path, status, answer)
        return answer

    async def context(self, message_id: str, limit_s: float = 10) -> Any:
        """What the model was given for an answer: written beside it, so perhaps a moment after its end."""
        async with asyncio.timeout(limit_s):
            while (found := await self.call("GET", f"/messages/{message_id}/context"))[0] != 200:
                await asyncio.sleep(0.05)
        return found[1]

    async def room(self, *others: "Person", when: str = "off", role: str = "member", **fields: Any) -> str:
        """A new room with these members; its bot is off unless told otherwise."""
        bot = {"when": when, **fields.pop("bot", {})}
        room = await self.post("/rooms", {"name": "방", "bot": bot, **fields})
        for other in others:
            await self.post(f"/rooms/{room['id']}/members", {"userId": other.id, "role": role})
        return str(room["id"])

    async def native(self, pod: "Pod | None" = None) -> Native:
        return await (pod or self.pod).native(self.token)

    async def socketio(self, pod: "Pod | None" = None, transports: list[str] | None = None) -> SocketIO:
        return await (pod or self.pod).socketio(self.token, transports)

    async def door(self, kind: str) -> Door:
        if kind == "native":
            return await self.native()
        return await self.socketio(transports=["polling"] if kind == "polling" else ["websocket"])


class Pod:
    def __init__(self, services: Services, port: int, http: aiohttp.ClientSession, stack: AsyncExitStack) -> None:
        self.services = services
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.http = http
        self._stack = stack

    def at_close(self, call: Callable[[], Awaitable[None]]) -> None:
        self._stack.push_async_callback(call)

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **given: Any
    ) -> tuple[int, Any]:
        """(status, body); the body is what JSON says, or text."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= given.pop("headers", {})
        if body is not None:
            given["json"] = body
        async with self.http.request(method, self.url + path, headers=headers, **given) as answer:
            text = await answer.text()
            is_json = "json" in answer.headers.get("Content-Type", "")
            return answer.status, json.loads(text) if is_json and text else text

    async def person(self, name: str | None = None, **fields: Any) -> Person:
        name = name or f"사람{next(numbers)}"
        password = "correct horse battery"
        body = {"email": f"p{next(numbers)}@example.com", "name": name, "password": password, **fields}
        status, answer = await self.call("POST", "/auth/register", body)
        assert status == 201, answer
        return Person(self, answer, password)

    async def waits(self, words: str, count: int = 1, limit_s: float = 10) -> None:
        """Returns once so many statements like this wait for a lock."""
        statement = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like %s and pid <> pg_backend_pid()"
        async with asyncio.timeout(limit_s):
            while len(await self.services.db.run_bare(lambda sql: sql.rows(statement, words))) < count:
                await asyncio.sleep(0.02)

    async def native(self, token: str, **given: Any) -> Native:
        headers = {"Authorization": f"Bearer {token}"}
        socket = await self.http.ws_connect(self.url + "/ws", headers=headers, max_msg_size=0, **given)
        door = Native(socket)
        self._stack.push_async_callback(door.close)
        return door

    async def socketio(self, token: str | None, transports: list[str] | None = None) -> SocketIO:
        client = socketio.AsyncClient(reconnection=False)
        door = SocketIO(client)
        self._stack.push_async_callback(door.close)
        auth = {"token": token} if token is not None else None
        await client.connect(self.url, auth=auth, transports=transports or ["websocket"], wait_timeout=5)
        return door


class Pods:
    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self._stack = AsyncExitStack()

    async def start(self, **overrides: Any) -> Pod:
        """One more pod, on a free port. overrides: settings by their names."""
        given = {
            "host": "127.0.0.1", "port": 0, "database_url": self.database_url, "jwt_secret": SECRET, "database_threads": 4,
            "demo_token_ms": 2, "registrations_per_hour": 0, **overrides,
        }  # fmt: skip
        settings = Settings(**given)
        services = await self._stack.enter_async_context(open_services(settings))
        port = await self._stack.enter_async_context(serving(settings, services))
        http = await self._stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30), cookie_jar=aiohttp.DummyCookieJar())
        )
        return Pod(services, port, http, self._stack)

    async def close(self) -> None:
        await self._stack.aclose()
