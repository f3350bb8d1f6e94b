"""A real nginx with the repository's files over three pods and one Redis: what it must pass on, spread, hide and refuse."""

import asyncio
import collections
import contextlib
import io
import json
import random
import ssl
from contextlib import AsyncExitStack

import aiohttp
import psycopg2
import pytest
import socketio

from tests.contracts.redis_servers import Redis, free_port
from tests.nginx import FRONT_PROXY, Nginx
from tests.pods import Native, Person, Pod, Refused, SocketIO
from tests.scripted_model import Script
from tests.test_app import Process

BEHIND = {"trusted_proxies": "127.0.0.1"}
POLLING, UPGRADING = ["polling"], ["polling", "websocket"]
LOST = (aiohttp.ClientError, socketio.exceptions.SocketIOError, ConnectionError, TimeoutError)
SECURITY = (
    "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy",
    "Permissions-Policy", "Strict-Transport-Security",
)  # fmt: skip


@pytest.fixture
def redis():
    made = Redis().start()
    yield made
    made.close()


@pytest.fixture
def nginx():
    """Starts nginxes; they end with the test."""
    made = []

    def start(ports, **given):
        made.append(Nginx(ports, **given))
        return made[-1].start()

    yield start
    for one in made:
        one.close()


@pytest.fixture
def opened(io_loop):
    stack = AsyncExitStack()
    yield stack

    async def close():
        await stack.aclose()
        # A client whose polling was refused waits 30 s for what it might have to send.
        left = [t for t in asyncio.all_tasks() if "engineio/async_client" in t.get_coro().cr_code.co_filename]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    io_loop.run_sync(close)


async def three(pods, redis, **settings):
    made = [await pods.start(redis_url=redis.url, **BEHIND, **settings) for _ in range(3)]
    async with asyncio.timeout(10):
        while not all(pod.services.bus.healthy for pod in made):
            await asyncio.sleep(0.01)
    return made


def at(server, pod, url=None):
    """nginx, with all that tests know of a pod."""
    front = Pod(pod.services, server.port, pod.http, pod._stack)
    front.url = url or front.url
    return front


async def session(opened, address="127.0.0.1", **given):
    """An HTTP client with this address."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0), limit=0, **given)
    made = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    return await opened.enter_async_context(made)


async def dial(opened, url, token, transports, address):
    """A Socket.IO client with this address."""
    client = socketio.AsyncClient(reconnection=False, http_session=await session(opened, address))
    door = SocketIO(client)

    async def close():
        with contextlib.suppress(
            TimeoutError
        ):  # one that was refused in the middle waits for what it can't get any more
            await asyncio.wait_for(door.close(), 1)

    opened.push_async_callback(close)
    await client.connect(url, auth={"token": token}, transports=transports, wait_timeout=10)
    return door


def sockets(pods):
    return [len(pod.services.sockets) for pod in pods]


async def test_rest_and_websockets_work_through_nginx_and_websockets_go_where_the_fewest_are(pods, redis, nginx):
    made = await three(pods, redis)
    front = at(nginx([pod.port for pod in made]), made[0])
    ann, bob = await front.person("Ann"), await front.person("Bob")
    room = await ann.room(bob)
    doors = [await (ann, bob)[i % 2].native() for i in range(6)]
    assert sockets(made) == [2, 2, 2]
    for door in doors:
        await door.join(room)
    sent = await doors[0].send(room, "안녕")
    for door in doors:
        assert (await door.event("message", 3, id=sent["messageId"]))["text"] == "안녕"
    # What goes where the fewest are must not draw requests there as well.
    await asyncio.gather(*(door.close() for door in doors[:4]))
    page = await ann.get(f"/rooms/{room}/messages")
    assert [m["text"] for m in page["messages"]] == ["안녕"]
    assert (await front.call("GET", "/healthz")) == (200, {"status": "ok"})
    assert (await front.call("GET", "/readyz"))[0] == 200


async def test_polling_and_a_session_that_moves_to_a_websocket_stay_on_their_pod(pods, redis, nginx, opened):
    made = await three(pods, redis, max_connections_per_user=0)
    server = nginx([pod.port for pod in made])
    front = at(server, made[0])
    ann = await front.person()
    room = await ann.room()
    doors = []
    for i in range(16):
        transports = (POLLING, UPGRADING)[i % 2]
        doors.append(await dial(opened, front.url, ann.token, transports, f"127.0.1.{i + 1}"))
        assert doors[-1].client.transport() == transports[-1]
    assert sum(sockets(made)) == 16 and sockets(made).count(0) <= 1  # each on its own, not all on one
    for i, door in enumerate(doors):
        await door.join(room)
        await door.send(room, str(i))
    for door in doors:
        await door.event("message", 5, text="15")
    shown = server.log.read_text()
    assert '"path":"/socket.io/"' in shown and "sid" not in shown  # which is all that a polling client is known by


async def test_without_stickiness_polling_breaks(pods, redis, nginx, opened):
    """So the test above can fail."""
    made = await three(pods, redis)
    http = await session(opened)

    async def statuses(**given):
        url = f"http://127.0.0.1:{nginx([pod.port for pod in made], **given).port}/socket.io/?EIO=4&transport=polling"
        async with http.get(url) as answer:
            sid = json.loads((await answer.text())[1:])["sid"]
        found = set()
        for _ in range(6):
            async with http.post(f"{url}&sid={sid}", data="6") as answer:  # NOOP
                found.add(answer.status)
        return found

    assert await statuses() == {200}
    assert await statuses(rules=[("upstreams.conf", "hash $remote_addr;", "")]) == {200, 400}


async def test_pods_see_who_really_asks_and_nobody_can_claim_to_be_another(pods, redis, nginx, opened):
    made = await three(pods, redis)
    front = at(nginx([pod.port for pod in made]), made[0])
    ann = await front.person()
    claim = {"X-Forwarded-For": "198.51.100.9", "X-Real-IP": "198.51.100.8", "Forwarded": "for=198.51.100.7"}
    for client, seen in (("127.0.0.2", "127.0.0.2"), (FRONT_PROXY, "198.51.100.9")):
        http = await session(opened, client)
        body = {"email": ann.email, "password": ann.password}
        async with http.post(front.url + "/auth/login", json=body, headers=claim) as answer:
            token = (await answer.json())["token"]
        devices = (await front.call("GET", "/users/me/sessions", token=token))[1]["items"]
        assert [device["ip"] for device in devices if device["current"]] == [seen]


async def test_pieces_of_an_answer_come_through_at_once(pods, redis, nginx, opened, model):
    gate = asyncio.Event()
    model.scripts = [Script(("text", "하나 "), ("wait", gate), ("text", "둘"), ("usage", 1, 1))]
    made = await three(pods, redis, **model.openai)
    front = at(nginx([pod.port for pod in made]), made[0])
    ann = await front.person()
    room = await ann.room(when="always")
    doors = [await ann.native(), await dial(opened, front.url, ann.token, POLLING, "127.0.0.4")]
    for door in doors:
        await door.join(room)
    sent = await doors[0].send(room, "?")
    for door in doors:
        assert (await door.event("stream", 5))["token"] == "하나 "
    gate.set()
    for door in doors:
        assert (await door.answer_to(sent["messageId"]))["text"] == "하나 둘"


class Scripted:
    """A server in a pod's place that misbehaves: `answer(writer, method)` does what it likes with each request."""

    def __init__(self, answer):
        self.answer = answer
        self.got = collections.Counter()
        self._tasks = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self._tasks.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.got[head.split()[0]] += 1
            await self.answer(writer, head)


async def test_events_and_exports_are_passed_on_as_they_come(nginx, opened):
    gate = asyncio.Event()

    async def halting(writer, head):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await writer.drain()
        await gate.wait()
        writer.write(b"data: 2\n\n")
        await writer.drain()

    pod = await opened.enter_async_context(Scripted(halting))
    server = nginx([pod.port])
    http = await session(opened)
    answers = []
    for path in ("/admin/live", "/users/me/export", "/rooms/1/export?format=json"):
        answers.append(await http.get(f"http://127.0.0.1:{server.port}{path}"))
        assert await asyncio.wait_for(answers[-1].content.readany(), 5) == b"data: 1\n\n"

    async def elsewhere():
        async with http.get(f"http://127.0.0.1:{server.port}/rooms") as answer:
            return await answer.content.readany()

    with pytest.raises(TimeoutError):  # it is held back: the check can fail
        await asyncio.wait_for(elsewhere(), 0.5)
    gate.set()
    for answer in answers:
        assert await asyncio.wait_for(answer.content.read(), 5) == b"data: 2\n\n"


async def test_a_post_is_never_sent_twice_and_a_get_finds_a_pod_that_answers(nginx, opened, pods):
    async def hang_up(writer, head):
        pass

    broken = [await opened.enter_async_context(Scripted(hang_up)) for _ in range(2)]
    good = await pods.start(**BEHIND)
    http = await session(opened)
    url = f"http://127.0.0.1:{nginx([pod.port for pod in broken] + [good.port]).port}"
    for _ in range(4):
        async with http.get(url + "/login") as answer:
            assert answer.status == 200
    only = f"http://127.0.0.1:{nginx([pod.port for pod in broken]).port}"
    for pod in broken:
        pod.got.clear()
    async with http.post(only + "/rooms", json={}) as answer:
        assert answer.status == 503 and answer.headers["Retry-After"] == "1"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (await answer.json())["code"] == "unavailable"
    assert sum(pod.got["POST"] for pod in broken) == 1
    # A connection that is refused took nothing: the POST goes on to the next pod.
    mixed = f"http://127.0.0.1:{nginx([free_port(), free_port(), good.port]).port}"
    for _ in range(3):
        async with http.post(mixed + "/rooms", json={}) as answer:
            assert answer.status == 401


async def test_who_sends_too_much_hears_it_from_the_pod(pods, nginx):
    pod = await pods.start(**BEHIND)
    front = at(nginx([pod.port]), pod)
    for size, status, by_pod in (
        (500_000, 422, True),
        (600_000, 413, True),
        (1_900_000, 413, True),
        (3_000_000, 413, False),
    ):
        body = json.dumps({"email": "a@b.c", "password": "x" * size}).encode()
        headers = {"Content-Type": "application/json"}
        async with front.http.post(front.url + "/auth/login", data=io.BytesIO(body), headers=headers) as answer:
            assert answer.status == status
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert ("X-Request-Id" in answer.headers) == by_pod
            problem = await answer.json()
            assert problem["status"] == status and problem["requestId"]
            assert (problem["code"] == "request.too_large") == (status == 413)


async def heads(http, url, **given):
    """Header names with all their values, as they came."""
    async with http.get(url, allow_redirects=False, **given) as answer:
        found = collections.defaultdict(list)
        for name, value in answer.raw_headers:
            found[name.decode().title()].append(value.decode())
        return answer.status, found


async def test_security_headers_are_the_pods_and_come_once(pods, nginx):
    pod = await pods.start(**BEHIND)
    front = at(nginx([pod.port]), pod)
    for path in ("/login", "/docs", "/", "/static/mark.svg", "/users/me", "/nothing", "/openapi.json"):
        ours = await heads(front.http, front.url + path)
        theirs = await heads(front.http, pod.url + path)
        assert ours[0] == theirs[0]
        for name in SECURITY:
            assert ours[1][name.title()] == theirs[1][name.title()], (path, name)
            assert len(ours[1][name.title()]) <= 1
        assert ours[1]["Server"] == ["nginx"] and ours[1]["Strict-Transport-Security"] == []
    assert len((await heads(front.http, front.url + "/login"))[1]["Content-Security-Policy"]) == 1


async def test_figures_are_for_those_inside(pods, nginx):
    pod = await pods.start(**BEHIND)
    front = at(nginx([pod.port]), pod)
    assert (await pod.call("GET", "/metrics"))[0] == 200
    for path in ("/metrics", "/metrics?x=1", "/%6detrics", "//metrics", "/static/../metrics", "/./metrics"):
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = (await asyncio.wait_for(reader.read(), 5)).decode()
        writer.close()
        assert answer.startswith("HTTP/1.1 404") and "maru_" not in answer and '"code":"request.not_found"' in answer, (
            path
        )


async def test_behind_tls_cookies_are_secure_browsers_stay_and_sockets_work(pods, redis, nginx, opened):
    made = await three(pods, redis, secure_cookies=True)
    server = nginx([pod.port for pod in made], tls=True)
    trust = ssl.create_default_context(cafile=str(server.folder / "cert.pem"))
    http = await session(opened, ssl=trust)
    url = f"https://127.0.0.1:{server.tls_port}"
    body = {"email": "a@example.com", "name": "Ann", "password": "correct horse battery"}
    async with http.post(url + "/auth/register", json=body) as answer:
        assert answer.status == 201
        token, cookie = (await answer.json())["token"], answer.cookies["maru_session"]
        assert cookie["secure"] and cookie["httponly"]
    for path, status in (("/login", 200), ("/users/me", 401), ("/metrics", 404), ("/static/mark.svg", 200)):
        got, found = await heads(http, url + path)
        assert got == status and found["Strict-Transport-Security"] == ["max-age=31536000"], path
        assert all(len(found[name.title()]) <= 1 for name in SECURITY)
    async with http.post(url + "/auth/login", data=io.BytesIO(b"x" * 3_000_000)) as answer:
        assert answer.status == 413 and answer.headers.getall("Strict-Transport-Security") == ["max-age=31536000"]
    # As a page does it: the cookie, and the page's own origin.
    headers = {"Cookie": f"maru_session={cookie.value}", "Origin": url}
    door = Native(await http.ws_connect(url.replace("https", "wss") + "/ws", headers=headers))
    opened.push_async_callback(door.close)
    assert "ts" in await door.ask("ping", {})
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(
            url.replace("https", "wss") + "/ws", headers={**headers, "Origin": "https://evil.example"}
        )
    assert refused.value.status == 403
    client = socketio.AsyncClient(reconnection=False, http_session=http)
    other = SocketIO(client)
    opened.push_async_callback(other.close)
    await client.connect(url, auth={"token": token}, transports=UPGRADING, wait_timeout=10)
    assert "ts" in await other.ask("ping", {}) and client.transport() == "websocket"
    status, found = await heads(http, f"http://127.0.0.1:{server.port}/r/1?x=2")
    assert (status, found["Location"]) == (308, ["https://127.0.0.1/r/1?x=2"])
    assert (await heads(http, f"http://127.0.0.1:{server.port}/healthz"))[0] == 200


async def test_an_address_that_asks_too_often_waits_and_others_do_not(pods, nginx, opened):
    pod = await pods.start(**BEHIND)
    server = nginx([pod.port])
    url = f"http://127.0.0.1:{server.port}/static/mark.svg"

    async def ask(http, times):
        async def once():
            async with http.get(url) as answer:
                await answer.read()
                return answer.status, answer.headers.get("Retry-After"), answer.headers["Content-Type"]

        # In batches, since the sockets of a test are not without end.
        found = collections.Counter()
        for start in range(0, times, 100):
            found.update(await asyncio.gather(*(once() for _ in range(start, min(times, start + 100)))))
        return found

    usual = await ask(await session(opened, "127.0.0.5"), 480)
    assert {status for status, _, _ in usual} == {200}
    # More than the burst and what a second allows, however fast this machine is: what it took so far bounds the rest.
    eager = await session(opened, "127.0.0.6")
    began = asyncio.get_running_loop().time()
    much = collections.Counter()
    while not any(status == 429 for status, _, _ in much):
        much += await ask(eager, 1000)
        assert sum(much.values()) < 20_000
    took = asyncio.get_running_loop().time() - began
    passed = sum(count for (status, _, _), count in much.items() if status == 200)
    assert 500 <= passed <= 501 + 100 * (took + 1)
    assert {kind for kind in much if kind[0] == 429} == {(429, "1", "application/problem+json")}
    assert set(await ask(await session(opened, "127.0.0.7"), 50)) == {(200, None, "image/svg+xml")}


async def test_an_address_has_a_thousand_requests_open_and_no_more(pods, nginx, opened):
    pod = await pods.start(**BEHIND)
    server = nginx([pod.port], rules=[("maru.conf", "burst=500", "burst=5000")])  # this is about the other limit
    open_requests = []

    async def begin(address):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(address, 0))
        opened.callback(writer.close)
        writer.write(b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
        return reader, writer

    async def status(address="127.0.0.8"):
        http = await session(opened, address)
        async with http.get(f"http://127.0.0.1:{server.port}/login") as answer:
            return answer.status

    for _ in range(21):  # some more, since one that is asked in between takes a place too
        open_requests += await asyncio.gather(*(begin("127.0.0.8") for _ in range(50)))
        if len(open_requests) == 950:
            assert await status() == 200
    async with asyncio.timeout(10):
        while await status() != 429:
            await asyncio.sleep(0.05)
    assert await status("127.0.0.9") == 200
    for _, writer in open_requests[:100]:
        writer.close()
    async with asyncio.timeout(10):
        while await status() != 200:
            await asyncio.sleep(0.05)


async def test_a_pod_that_drains_is_passed_over(pods, redis, nginx, opened):
    made = await three(pods, redis, max_connections_per_user=0)
    front = at(nginx([pod.port for pod in made]), made[0])
    ann = await front.person()
    first = [await dial(opened, front.url, ann.token, POLLING, f"127.0.2.{i + 1}") for i in range(12)]
    leaving = max(made, key=lambda pod: len(pod.services.sockets))
    staying, going = [pod for pod in made if pod is not leaving], len(leaving.services.sockets)
    await leaving.services.sockets.drain(1012, "restarting", lambda: 0)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await ann.native(leaving)
    for _ in range(12):  # it has the fewest sockets, and would draw each of these
        assert "ts" in await (await ann.native()).ask("ping", {})
    async with asyncio.timeout(10):
        while sum(door.closed is not None for door in first) < going:
            await asyncio.sleep(0.02)
    for i, door in enumerate(first):
        if door.closed:
            again = await dial(opened, front.url, ann.token, UPGRADING, f"127.0.2.{i + 1}")
            assert "ts" in await again.ask("ping", {})
    assert len(leaving.services.sockets) == 0 and sum(sockets(staying)) >= 24


async def test_a_pod_that_is_back_gets_as_many_sockets_as_come(pods, redis, nginx):
    port = free_port()
    one = await pods.start(redis_url=redis.url, max_connections_per_user=0, **BEHIND)
    front = at(nginx([port, one.port]), one)
    ann = await front.person()
    for _ in range(4):  # the other is asked in vain
        await ann.native()
    other = await pods.start(redis_url=redis.url, max_connections_per_user=0, port=port, **BEHIND)
    await one.services.sockets.drain(1012, "restarting", lambda: 0)
    doors = await asyncio.gather(*(ann.native() for _ in range(10)))
    assert sockets([one, other]) == [0, 10] and len(doors) == 10


# -- real processes


@pytest.fixture
def running(io_loop, database_url, redis, nginx):
    """Three pods that are processes, behind nginx."""
    ports = [free_port() for _ in range(3)]
    env = {
        "REDIS_URL": redis.url, "TRUSTED_PROXIES": "127.0.0.1", "LOG_LEVEL": "warning", "DATABASE_THREADS": "3",
        "DRAIN_S": "0.5", "DEMO_TOKEN_MS": "40",
    }  # fmt: skip
    stage = Stage(database_url, env, ports)
    io_loop.run_sync(stage.start, timeout=60)
    stage.nginx = nginx(ports)
    yield stage
    io_loop.run_sync(stage.close, timeout=60)


class Stage:
    def __init__(self, database_url, env, ports):
        self.processes = [Process(database_url, **env) for _ in ports]
        self.ports = ports

    async def start(self):
        self.http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=30), cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=0),
        )  # fmt: skip
        self.stack = AsyncExitStack()
        await asyncio.gather(*(self.start_one(number) for number in range(len(self.ports))))

    async def start_one(self, number):
        process = self.processes[number]
        await process.start(str(self.ports[number]))
        async with asyncio.timeout(60):
            while True:
                async with self.http.get(process.url + "/readyz") as answer:
                    if answer.status == 200 and not (await answer.json())["degraded"]:
                        return
                await asyncio.sleep(0.05)

    @property
    def front(self):
        return Pod(None, self.nginx.port, self.http, self.stack)

    async def close(self):
        await self.stack.aclose()
        await self.http.close()
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                await process.end(9)


async def test_when_a_pod_is_killed_the_next_connection_goes_to_another(running):
    front = running.front
    ann = await front.person()
    doors = [await ann.native() for _ in range(3)]  # one on each
    await running.processes[1].end(9)
    async with asyncio.timeout(10):
        while not any(door.closed for door in doors):
            await asyncio.sleep(0.01)
    (gone,) = [door for door in doors if door.closed]
    assert gone.closed[0] == 1006
    for _ in range(5):
        assert "ts" in await (await ann.native()).ask("ping", {})
        await ann.get("/rooms")
        assert (await front.call("POST", "/rooms", {}, token=ann.token))[0] == 201


class Traveller:
    """A client that keeps PROTOCOL's three rules: retries with its clientId, comes back with its cursor, folds what it gets."""

    def __init__(self, person: Person, room: str, number: int, kind: str) -> None:
        self.person, self.room, self.number, self.kind = person, room, number, kind
        self.cursor: int | None = None
        self.seen: dict[str, dict] = {}
        self.waiting: dict[str, str] = {}
        self.acknowledged: dict[str, str] = {}
        self.ends: list[tuple[int, str]] = []
        self.connections = 0
        self.done = asyncio.Event()

    async def live(self, opened, url: str, pause_s: float) -> None:
        while True:
            door = None
            try:
                door = await self._open(opened, url)
                await self._come_back(door)
                await self._talk(door, pause_s)
                return
            except LOST:
                pass
            except Refused as refused:
                assert refused.error["retryable"], refused.error
            finally:
                if door is not None:
                    self._fold(door)
                    if door.closed:
                        self.ends.append(door.closed)
            await asyncio.sleep(random.uniform(0.05, 0.5))

    async def _open(self, opened, url):
        self.connections += 1
        if self.kind == "native":
            return await self.person.native()
        return await dial(opened, url, self.person.token, [self.kind], f"127.0.3.{self.number + 1}")

    async def _come_back(self, door):
        while True:
            after = {} if self.cursor is None else {"after": self.cursor}
            reply = await door.join(self.room, **after)
            for message in reply["messages"]:
                self._take(message)
            if not reply["more"]:
                self.cursor = max(self.cursor or 0, reply["head"])
                door.from_here = reply["head"]
                return
            self.cursor = max(message["changedSeq"] for message in reply["messages"])

    def _take(self, message):
        old = self.seen.get(message["id"])
        if old is None or old["changedSeq"] < message["changedSeq"]:
            self.seen[message["id"]] = message

    def _fold(self, door):
        numbers = [message["changedSeq"] for message in door.messages(self.room)]
        assert numbers == sorted(set(numbers)), "out of order on one connection"
        if not hasattr(door, "from_here"):
            return
        for message in door.messages(self.room):
            assert message["changedSeq"] > door.from_here, "in the snapshot and again behind it"
            self._take(message)
            self.cursor = max(self.cursor, message["changedSeq"])

    async def _talk(self, door, pause_s):
        while True:
            if not self.waiting:
                if self.done.is_set():
                    return
                text = f"{self.number}-{len(self.acknowledged)}"
                self.waiting[f"c{text}"] = text
            for client_id, text in list(self.waiting.items()):
                reply = await door.send(self.room, text, clientId=client_id)
                self.acknowledged[client_id] = reply["messageId"]
                del self.waiting[client_id]
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
            if door.closed:
                raise ConnectionError(str(door.closed))


async def test_a_rolling_restart_of_three_pods_under_load_loses_nothing_and_no_answer(running, opened, database_url):
    front = running.front
    people = [await front.person() for _ in range(4)]
    talk = await people[0].room(*people[1:])
    asked = [await person.room(when="always") for person in people]
    kinds = ["native"] * 5 + ["websocket", "websocket", "polling"]
    talkers = [Traveller(people[i % 4], talk, i, kind) for i, kind in enumerate(kinds)]
    askers = [Traveller(people[i], asked[i], 20 + i, "native") for i in range(4)]
    everybody = talkers + askers
    lives = [asyncio.create_task(one.live(opened, front.url, 0.1)) for one in talkers]
    lives += [asyncio.create_task(one.live(opened, front.url, 2.5)) for one in askers]
    async with asyncio.timeout(60):
        while not all(one.acknowledged for one in everybody):
            await asyncio.sleep(0.05)
    for number in range(3):
        before = sum(len(one.acknowledged) for one in everybody)
        assert await running.processes[number].end() == 0
        await running.start_one(number)
        assert sum(len(one.acknowledged) for one in everybody) > before + 10  # the others served in the meantime
    for one in everybody:
        one.done.set()
    await asyncio.wait_for(asyncio.gather(*lives), 60)

    connection = psycopg2.connect(database_url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            ask = "select count(*) from messages where role = 'bot' and status in ('queued', 'streaming')"
            async with asyncio.timeout(60):
                while cursor.execute(ask) or cursor.fetchone()[0]:
                    await asyncio.sleep(0.2)
            cursor.execute("select client_id, array_agg(id::text) from messages where role = 'user' group by 1")
            kept = dict(cursor.fetchall())
            cursor.execute("select count(*), count(distinct reply_to) from messages where role = 'bot'")
            answers, questions = cursor.fetchone()
            cursor.execute("select status, count(*) from messages where role = 'bot' group by 1")
            statuses = dict(cursor.fetchall())
    finally:
        connection.close()
    acknowledged = {key: value for one in everybody for key, value in one.acknowledged.items()}
    assert kept == {key: [value] for key, value in acknowledged.items()}  # none lost, none doubled
    assert answers == questions == sum(len(one.acknowledged) for one in askers)
    assert statuses == {"complete": answers}
    for one in everybody:
        changes = []
        while True:  # folded, what each of them got is what a newcomer gets
            after = changes[-1]["changedSeq"] if changes else 0
            page = await one.person.get(f"/rooms/{one.room}/changes?after={after}&limit=500")
            changes += page["messages"]
            if not page["more"]:
                break
        mine = {key: m for key, m in one.seen.items() if m["changedSeq"] <= one.cursor}
        want = {m["id"]: m for m in changes if m["changedSeq"] <= one.cursor}
        assert want.keys() <= mine.keys() and all(mine[key] == want[key] for key in want)
        # Each was on some pod that went, was told so, and came back.
        assert all(code == 1012 for code, _ in one.ends if one.kind == "native"), one.ends
    assert sum(len(one.ends) for one in everybody) >= 8
    # And was let in at once: what was open and not told to go is what was refused.
    assert sum(one.connections - 1 - len(one.ends) for one in everybody if one.kind != "polling") <= 2
