"""What the HTTP handler refuses, and that it does so before any upgrade."""

import asyncio
import gc
import json
import sys
import weakref
from pathlib import Path

import pytest
from tornado.httpclient import HTTPClientError
from tornado.testing import bind_unused_port
from tornado.web import Application

from handlers.engine import EngineHandler, EngineServer
from scripts.conformance_server import engine_app
from tests.handlers.engine.serving import Door, until

PATH = "/engine.io/"


@pytest.fixture
def engine() -> EngineServer:
    """A slow heartbeat: whatever a test sees closed, the heartbeat did not close."""
    return EngineServer(max_payload=1000, origin_allowed=lambda r: r.headers.get("Origin") != "http://evil.example")


@pytest.fixture
def door(serve, engine: EngineServer) -> Door:
    async def echo(sid: str, data: str | bytes) -> None:
        await engine.send(sid, data)

    engine.on("message", echo)
    return serve(Application([(PATH, EngineHandler, {"engine": engine})], xsrf_cookies=True), PATH)


async def refused(door: Door, query: str, **headers: str) -> int:
    with pytest.raises(HTTPClientError) as caught:
        await door.websocket(query.partition("sid=")[2], **headers)
    return caught.value.code


async def test_the_handshake_has_exactly_five_keys_in_milliseconds(io_loop, serve) -> None:
    door = serve(engine_app(), PATH)
    handshake = await door.handshake()
    assert len(handshake.pop("sid")) >= 20
    assert handshake == {"upgrades": ["websocket"], "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000}
    ws = await door.websocket()
    opening = json.loads((await ws.read())[1:])
    assert opening["upgrades"] == []
    ws.connection.close()


@pytest.mark.parametrize(
    "query",
    [
        "transport=polling",
        "EIO=3&transport=polling",
        "EIO=abc&transport=polling",
        "EIO=4",
        "EIO=4&transport=abc",
        "EIO=4&transport=websocket",
        "EIO=4&transport=polling&j=0",
        "EIO=4&transport=polling&sid=unknown",
        "EIO=4&transport=polling&sid=%ff",
    ],
)
async def test_a_wrong_query_is_answered_400(io_loop, door: Door, query: str) -> None:
    assert (await door.request("GET", query)).code == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD"])
async def test_a_session_begins_with_get_and_nothing_else(io_loop, door: Door, method: str) -> None:
    assert (await door.request(method, "EIO=4&transport=polling", None if method == "HEAD" else "")).code == 400


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_a_session_takes_get_and_post_only(io_loop, door: Door, method: str) -> None:
    poller = await door.poller()
    assert (await door.request(method, f"EIO=4&transport=polling&sid={poller.sid}", "")).code == 400
    assert await poller.post("4still here") == (200, "ok")


async def test_a_websocket_with_an_unknown_sid_is_refused_before_the_upgrade(io_loop, door: Door) -> None:
    assert await refused(door, "sid=unknown") == 400


async def test_a_foreign_origin_is_refused_by_both_transports_before_anything_else(io_loop, door, engine) -> None:
    answer = await door.request("GET", "EIO=4&transport=polling", headers={"Origin": "http://evil.example"})
    assert answer.code == 403
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert await refused(door, "", Origin="http://evil.example") == 403
    assert not engine.sessions


async def test_an_allowed_origin_may_read_answers_with_credentials(io_loop, door: Door) -> None:
    answer = await door.request("GET", "EIO=4&transport=polling", headers={"Origin": "http://good.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "http://good.example"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Vary"] == "Origin"
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method, status", [("GET", 500), ("NONSENSE", 405)])
async def test_an_allowed_origin_may_read_faults_too(io_loop, door: Door, engine, method: str, status: int) -> None:
    async def fail(sid: str, session: object) -> None:
        raise LookupError("bug")

    engine.on("connect", fail)
    for origin, allowed in (("http://good.example", "http://good.example"), ("http://evil.example", None)):
        answer = await door.request(method, "EIO=4&transport=polling", headers={"Origin": origin})
        assert answer.code in (status, 403) and answer.headers.get("Access-Control-Allow-Origin") == allowed
        assert json.loads(answer.body)["code"] in (3, 4)
    assert not engine.sessions


async def test_a_preflight_is_answered(io_loop, door: Door) -> None:
    headers = {"Origin": "http://good.example", "Access-Control-Request-Headers": "content-type"}
    answer = await door.request("OPTIONS", "EIO=4&transport=polling", headers=headers)
    assert answer.code == 204
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "content-type"
    assert answer.headers["Access-Control-Allow-Origin"] == "http://good.example"


async def test_while_draining_nobody_new_comes_in_and_who_is_in_stays(io_loop, door: Door, engine) -> None:
    poller = await door.poller()
    engine.accepting = False
    assert (await door.request("GET", "EIO=4&transport=polling")).code == 503
    assert await refused(door, "") == 503
    assert await poller.post("4hello") == (200, "ok")


async def test_a_post_over_the_limit_is_answered_413_and_ends_the_session(io_loop, door: Door, engine) -> None:
    ended: list[str] = []

    async def gone(sid: str, reason: str) -> None:
        ended.append(reason)

    engine.on("disconnect", gone)
    poller = await door.poller()
    assert await poller.post("4" + "x" * 999) == (200, "ok")
    assert await poller.get() == (200, "4" + "x" * 999)
    waiting = asyncio.ensure_future(poller.get())
    polling = engine.sessions[poller.sid].polling
    await until(lambda: polling.waiting)
    assert (await poller.post("4" + "x" * 1000))[0] == 413
    assert await waiting == (200, "1")
    assert (await poller.get())[0] == 400
    await until(lambda: bool(ended))

    ws = await door.opened()
    ws.send("4" + "x" * 1000)
    await ws.closed()
    await until(lambda: len(ended) == 2)
    assert ended[0] == ended[1]


async def test_a_huge_post_is_refused_by_its_announcement(io_loop, door: Door) -> None:
    """Its body is never sent: were it waited for, there would be no answer."""
    poller = await door.poller()
    reader, writer = await door.tcp()
    query = f"{PATH}?EIO=4&transport=polling&sid={poller.sid}"
    writer.write(f"POST {query} HTTP/1.1\r\nHost: x\r\nContent-Length: 99000000\r\n\r\n".encode())
    assert b" 413 " in await reader.readline()
    assert b"HTTP/1.1" not in await reader.read()  # one answer, then the end of the connection
    writer.close()
    assert (await poller.get())[0] == 400


async def test_a_post_that_breaks_off_leaves_nothing_behind(io_loop, door: Door, monkeypatch, caplog) -> None:
    handlers: weakref.WeakSet[EngineHandler] = weakref.WeakSet()
    monkeypatch.setattr(EngineHandler, "data_received", lambda self, chunk: handlers.add(self))
    poller = await door.poller()
    _, writer = await door.tcp()
    query = f"{PATH}?EIO=4&transport=polling&sid={poller.sid}"
    writer.write(f"POST {query} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n4half".encode())
    await until(lambda: len(handlers) == 1)
    writer.close()
    await until(lambda: gc.collect() >= 0 and not handlers)
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


async def test_polling_with_an_upgrade_header_is_refused(io_loop, door: Door) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    assert (await door.request("GET", "EIO=4&transport=polling", headers=headers)).code == 400


@pytest.mark.parametrize("size, code", [(900, b"200"), (1001, b"413")])
async def test_a_post_in_chunks_is_read_and_measured(io_loop, door: Door, size: int, code: bytes) -> None:
    poller = await door.poller()
    reader, writer = await door.tcp()
    query = f"{PATH}?EIO=4&transport=polling&sid={poller.sid}"
    body = b"4" + b"y" * (size - 1)
    writer.write(f"POST {query} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    for part in (body[:500], body[500:]):
        writer.write(b"%x\r\n%s\r\n" % (len(part), part))
    writer.write(b"0\r\n\r\n")
    assert code in await reader.readline()
    if code == b"200":
        assert await poller.get() == (200, body.decode())
    writer.close()


async def test_a_websocket_message_over_the_limit_closes_with_1009(io_loop, door: Door) -> None:
    ws = await door.opened()
    ws.send("4" + "x" * 999)
    assert len(await ws.read()) == 1000
    ws.send("4" + "x" * 1000)
    await ws.closed()
    assert ws.connection.close_code == 1009


async def test_no_compression_is_agreed(io_loop, door: Door) -> None:
    ws = await door.websocket(Sec_WebSocket_Extensions="permessage-deflate")
    assert "Sec-WebSocket-Extensions" not in ws.connection.headers
    ws.connection.close()


async def test_a_malformed_websocket_request_leaves_no_session(io_loop, door: Door, engine) -> None:
    answer = await door.request(
        "GET", "EIO=4&transport=websocket", headers={"Upgrade": "websocket", "Connection": "Upgrade"}
    )
    assert answer.code in (400, 426)
    assert not engine.sessions


async def test_the_session_knows_the_handshake_request(io_loop, door: Door, engine) -> None:
    ws = await door.websocket(Cookie="maru_session=abc", User_Agent="tests", Authorization="Bearer x")
    session = next(iter(engine.sessions.values()))
    assert session.request.cookies["maru_session"].value == "abc"
    assert session.request.headers["User-Agent"] == "tests"
    assert session.request.headers["Authorization"] == "Bearer x"
    assert session.remote_ip == "127.0.0.1"
    ws.connection.close()
    await until(lambda: not engine.sessions)


async def test_the_conformance_script_serves(io_loop) -> None:
    socket, port = bind_unused_port()
    socket.close()
    script = Path(__file__).parents[3] / "scripts" / "conformance_server.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), "--port", str(port), "--engine", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert b"listening" in await process.stdout.readline()
        door = Door(port, PATH)
        assert (await door.handshake())["pingInterval"] == 300
        await door.close()
    finally:
        process.terminate()
        await process.wait()
