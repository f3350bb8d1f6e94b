"""A server on a free loopback port, and clients that do exactly what a test tells them."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port
from tornado.web import Application
from tornado.websocket import WebSocketClientConnection, websocket_connect

SOON = 2.0  # the public suites' limit for whatever has to happen


class Door:
    """One running application, and requests to it."""

    def __init__(self, port: int, path: str) -> None:
        self.port = port
        self.path = path
        self._sockets: list[WebSocketClientConnection] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._client = AsyncHTTPClient(force_instance=True, defaults={"request_timeout": 10})

    def url(self, query: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{self.path}?{query}"

    async def request(self, method: str, query: str, body: bytes | str | None = None, **options: Any) -> HTTPResponse:
        request = HTTPRequest(self.url(query), method, body=body, allow_nonstandard_methods=True, **options)
        return await self._client.fetch(request, raise_error=False)

    async def handshake(self) -> dict[str, Any]:
        answer = await self.request("GET", "EIO=4&transport=polling")
        assert answer.code == 200, answer.body
        return dict(json.loads(answer.body[1:]))

    async def poller(self) -> "Poller":
        return Poller(self, (await self.handshake())["sid"])

    async def websocket(self, sid: str = "", **headers: str) -> "Ws":
        query = "EIO=4&transport=websocket" + (f"&sid={sid}" if sid else "")
        request = HTTPRequest(self.url(query, "ws"), headers={name.replace("_", "-"): v for name, v in headers.items()})
        self._sockets.append(await websocket_connect(request))
        return Ws(self._sockets[-1])

    async def opened(self) -> "Ws":
        """A WebSocket whose handshake packet is read."""
        ws = await self.websocket()
        assert (await ws.read())[0] == "0"
        return ws

    async def tcp(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection: no client library answers anything here."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        for connection in self._sockets:
            connection.close()
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self._client.close()


class Poller:
    def __init__(self, door: Door, sid: str) -> None:
        self.door = door
        self.sid = sid
        self._query = f"EIO=4&transport=polling&sid={sid}"

    async def get(self) -> tuple[int, str]:
        answer = await self.door.request("GET", self._query)
        return answer.code, answer.body.decode()

    async def post(self, body: bytes | str) -> tuple[int, str]:
        answer = await self.door.request("POST", self._query, body)
        return answer.code, answer.body.decode()

    async def texts(self, count: int) -> list[str]:
        """The next packets, however many GETs they come in."""
        found: list[str] = []
        while len(found) < count:
            code, body = await self.get()
            assert code == 200, body
            found += [packet for packet in body.split("\x1e") if packet != "2"]
        return found


class Ws:
    """answers: send a PONG for each PING, and don't show it."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection = connection
        self.answers = False

    def send(self, *packets: str | bytes) -> None:
        for packet in packets:
            self.connection.write_message(packet, binary=isinstance(packet, bytes))

    async def read(self) -> Any:
        """The next packet; None when the connection is closed."""
        async with asyncio.timeout(SOON):
            while True:
                packet = await self.connection.read_message()
                if packet == "2" and self.answers:
                    self.send("3")
                else:
                    return packet

    async def closed(self) -> list[Any]:
        """What still came before the connection was closed. Fails when it is not closed in time."""
        rest = []
        async with asyncio.timeout(SOON):
            while (packet := await self.read()) is not None:
                rest.append(packet)
        return rest


@pytest.fixture
def serve(io_loop: IOLoop) -> Iterator[Callable[..., Door]]:
    """serve(app, path) listens and returns the Door."""
    running: list[tuple[HTTPServer, Door]] = []

    def start(app: Application, path: str) -> Door:
        app.settings["log_function"] = lambda handler: None
        socket, port = bind_unused_port()
        server = HTTPServer(app)
        server.add_socket(socket)
        running.append((server, Door(port, path)))
        return running[-1][1]

    yield start
    for server, door in running:
        io_loop.run_sync(door.close)
        server.stop()
        io_loop.run_sync(server.close_all_connections)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what has no event of its own, one turn of the loop after another."""
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0)
