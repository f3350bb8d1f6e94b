"""Sessions that begin as a WebSocket, and those that become one."""

import asyncio
import gc
import socket
import weakref

import pytest
from tornado.httpclient import HTTPClientError
from tornado.web import Application

from handlers.engine import EngineHandler, EngineServer, Reason, upgrade
from handlers.wire import text_frame
from tests.handlers.engine.serving import Poller, Ws, until
from tests.handlers.engine.test_polling import PATH, App


@pytest.fixture
def app(serve) -> App:
    return App(serve)


async def test_text_and_binary_come_back_as_they_were_sent_in_order(io_loop, app: App) -> None:
    ws = await app.door.opened()
    ws.send("4hello", b"\x01\x02", "4", "bAw==", "4" + "x" * 100_000)
    assert [await ws.read() for _ in range(5)] == ["4hello", b"\x01\x02", "4", b"\x03", "4" + "x" * 100_000]


@pytest.mark.parametrize("packet", ["abc", "", "7", "bA", "5", "0", "2", "2probe"])
async def test_what_is_no_packet_closes_a_client_that_answers_pings(io_loop, serve, packet: str, caplog) -> None:
    app = App(serve, ping_interval=0.05, ping_timeout=3)
    caplog.set_level("INFO")
    ws = await app.door.opened()
    ws.answers = True
    ws.send("4before", packet, "4after")
    assert await ws.closed() == ["4before"]
    assert list(app.ended.values()) == [Reason.TRANSPORT_ERROR]
    assert len(caplog.records) == 1
    await until(lambda: not app.engine.sessions)


async def test_pings_come_and_pongs_keep_the_connection(io_loop, serve) -> None:
    app = App(serve, ping_interval=0.05, ping_timeout=2)
    ws = await app.door.opened()
    for _ in range(4):
        assert await ws.read() == "2"
        ws.send("3")


async def test_a_client_that_does_not_answer_pings_is_closed(io_loop, serve) -> None:
    app = App(serve, ping_interval=0.05, ping_timeout=0.05)
    ws = await app.door.opened()
    assert await ws.closed() == ["2"]
    assert list(app.ended.values()) == [Reason.PING_TIMEOUT]


async def test_a_close_packet_closes_the_websocket(io_loop, app: App) -> None:
    ws = await app.door.opened()
    ws.send("1")
    assert await ws.closed() == []
    assert list(app.ended.values()) == [Reason.CLIENT_DISCONNECT]
    await until(lambda: not app.engine.sessions)


async def test_a_connection_that_breaks_ends_its_session(io_loop, app: App) -> None:
    ws = await app.door.opened()
    ws.connection.protocol.stream.close()
    await until(lambda: list(app.ended.values()) == [Reason.TRANSPORT_CLOSE])
    assert not app.engine.sessions


async def test_what_was_sent_before_a_close_by_the_server_arrives(io_loop, app: App) -> None:
    ws = await app.door.opened()
    session = app.sessions[0]
    session.send("x" * 1_000_000)  # more than the socket takes: the rest and the CLOSE frame go through the stream
    session.send("last words")
    session.close(1012)
    assert not session.send_text(text_frame(b"4late"), "4late")
    assert [packet[:12] for packet in await ws.closed()] == ["4" + "x" * 11, "4last words"]
    assert ws.connection.close_code == 1012


async def test_a_client_that_ignores_the_close_is_cut_off(io_loop, serve) -> None:
    app = App(serve, linger=0.05)
    reader, writer = await raw_websocket(app)
    app.sessions[0].close()
    await reader.read()  # to the end of the connection; this client sends no CLOSE frame
    await until(lambda: not app.engine.sessions)
    writer.close()


async def test_encoded_frames_and_own_packets_leave_in_the_order_of_the_calls(io_loop, app: App) -> None:
    ws = await app.door.opened()
    session = app.sessions[0]
    sent = []
    for i in range(300):
        text = f"4{i}-" + "x" * (i % 7) * 1000
        sent.append(text)
        if i % 3:
            session.send_text(text_frame(text.encode()), text)
        else:
            session.send(text[1:])
    assert [await ws.read() for _ in sent] == sent


async def test_a_client_that_stops_reading_is_closed_and_nobody_waits_for_it(io_loop, serve) -> None:
    app = App(serve, max_unsent=500_000, drop_above=1000)
    _, writer = await raw_websocket(app)
    writer.transport.pause_reading()
    session = app.sessions[0]
    frame = text_frame(b"4" + b"x" * 50_000)
    for _ in range(1000):
        if not session.send_text(frame, b"4"):
            break
    assert not session.open
    writer.close()


async def test_droppable_frames_are_left_out_first(io_loop, serve) -> None:
    app = App(serve, max_unsent=10_000_000, drop_above=1000)
    _, writer = await raw_websocket(app)
    writer.transport.pause_reading()
    session = app.sessions[0]
    frame = text_frame(b"4" + b"x" * 50_000)
    while session.unsent <= 1000:
        session.send_text(frame, b"4")
    assert not session.send_text(frame, b"4", droppable=True)
    assert session.send_text(frame, b"4")
    writer.close()


async def test_small_frames_are_not_held_back_by_nagle(io_loop, app: App) -> None:
    await app.door.opened()
    stream = app.sessions[0]._transport.handler.ws_connection.stream
    assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_reading_stops_while_the_inbox_is_full_and_the_heartbeat_knows(io_loop, app: App) -> None:
    gate = asyncio.Event()
    heard: list[str] = []

    async def wait(sid: str, data: str) -> None:
        await gate.wait()
        heard.append(data)

    app.engine.on("message", wait)
    ws = await app.door.opened()
    ws.send(*(f"4{i}" for i in range(1000)))
    session = app.sessions[0]
    await until(lambda: session._inbox.full)
    session.time_out()  # the PONG may lie behind what the server does not read
    assert session.open
    gate.set()
    await until(lambda: len(heard) == 1000)
    assert heard == [str(i) for i in range(1000)]
    session.time_out()
    assert not session.open


async def test_an_upgrade_request_that_is_none_leaves_the_session_as_it_was(io_loop, app: App) -> None:
    poller = await app.door.poller()
    query = f"EIO=4&transport=websocket&sid={poller.sid}"
    answer = await app.door.request("GET", query, headers={"Upgrade": "websocket", "Connection": "Upgrade"})
    assert answer.code in (400, 426)
    assert app.sessions[0].can_upgrade


async def test_a_connect_handler_that_fails_leaves_no_session(io_loop, app: App, caplog) -> None:
    async def fail(sid: str, session: object) -> None:
        raise LookupError("bug")

    app.engine.on("connect", fail)
    ws = await app.door.websocket()
    assert await ws.closed() == []
    assert (await app.door.request("GET", "EIO=4&transport=polling")).code == 500
    assert not app.engine.sessions


async def test_nothing_of_a_closed_session_stays(io_loop, app: App) -> None:
    ws = await app.door.opened()
    session = weakref.ref(app.sessions.pop())
    ws.connection.close()
    await until(lambda: not app.engine.sessions)
    await until(lambda: gc.collect() >= 0 and session() is None)


# Upgrade


async def probed(app: App, poller: Poller) -> Ws:
    ws = await app.door.websocket(poller.sid)
    ws.send("2probe")
    assert await ws.read() == "3probe"
    return ws


async def upgraded(app: App, poller: Poller) -> Ws:
    ws = await probed(app, poller)
    ws.send("5", "4hello")
    assert await ws.read() == "4hello"
    return ws


async def test_a_get_after_the_probe_is_released_and_no_noop_shows_on_the_websocket(io_loop, app: App) -> None:
    poller = await app.door.poller()
    ws = await probed(app, poller)
    async with asyncio.timeout(1):
        assert await poller.get() == (200, "6")
    ws.send("5", "4hello")
    assert await ws.read() == "4hello"
    assert app.sessions[0].transport == "websocket"


async def test_a_get_from_before_the_probe_is_released_at_once(io_loop, app: App, monkeypatch) -> None:
    monkeypatch.setattr(upgrade, "RELEASE_S", 1000)
    poller = await app.door.poller()
    waiting = await app.waiting(poller)
    await probed(app, poller)
    assert await waiting == (200, "6")


async def test_probe_and_upgrade_in_one_go_refuse_the_get(io_loop, app: App) -> None:
    poller = await app.door.poller()
    ws = await app.door.websocket(poller.sid)
    ws.send("2probe", "5")
    assert (await poller.get())[0] == 400
    assert await ws.read() == "3probe"
    ws.send("4hello")
    assert await ws.read() == "4hello"
    assert (await poller.get())[0] == 400
    assert (await poller.post("4x"))[0] == 400


async def test_what_waited_for_a_poll_comes_first_on_the_websocket(io_loop, app: App) -> None:
    poller = await app.door.poller()
    ws = await probed(app, poller)
    session = app.sessions[0]
    session.send("one")
    session.send(b"\x02")
    session.send_text(text_frame(b"4three"), "4three")
    ws.send("5", "4four")
    assert [await ws.read() for _ in range(4)] == ["4one", b"\x02", "4three", "4four"]


async def test_what_is_posted_during_an_upgrade_is_answered_once(io_loop, app: App) -> None:
    poller = await app.door.poller()
    ws = await probed(app, poller)
    assert await poller.post("4posted") == (200, "ok")
    ws.send("5", "4sent")
    assert [await ws.read(), await ws.read()] == ["4posted", "4sent"]


@pytest.mark.parametrize("before", [True, False], ids=["during", "after"])
async def test_a_second_websocket_of_a_session_is_closed_and_the_first_goes_on(io_loop, app: App, before) -> None:
    poller = await app.door.poller()
    first = await (probed if before else upgraded)(app, poller)
    second = await app.door.websocket(poller.sid)
    second.send("2probe")
    assert await second.closed() == []
    first.send(*(["5", "4on"] if before else ["4on"]))
    assert await first.read() == "4on"
    assert len(app.engine.sessions) == 1


@pytest.mark.parametrize("packets", [[], ["2probe"]], ids=["before the probe", "after the probe"])
async def test_an_abandoned_upgrade_leaves_polling_as_it_was(io_loop, app: App, packets: list[str]) -> None:
    poller = await app.door.poller()
    ws = await app.door.websocket(poller.sid)
    ws.send(*packets)
    for _ in packets:
        await ws.read()
    ws.connection.close()
    session = app.sessions[0]
    await until(lambda: session.can_upgrade)
    waiting = await app.waiting(poller)
    await poller.post("4hello")
    assert await waiting == (200, "4hello")
    await upgraded(app, poller)


@pytest.mark.parametrize("packets", [["4x"], ["abc"], ["2"], [b"\x00"], ["2probe", "4x"], ["2probe", "2probe"]])
async def test_a_wrong_packet_in_an_upgrade_closes_that_websocket_only(io_loop, app: App, packets) -> None:
    poller = await app.door.poller()
    ws = await app.door.websocket(poller.sid)
    ws.send(*packets)
    await ws.closed()
    await poller.post("4hello")
    assert await poller.get() == (200, "4hello")


async def test_an_upgrade_that_is_not_finished_in_time_is_abandoned(io_loop, app: App, monkeypatch) -> None:
    monkeypatch.setattr(upgrade, "LIMIT_S", 0.05)
    poller = await app.door.poller()
    ws = await app.door.websocket(poller.sid)
    assert await ws.closed() == []
    assert app.sessions[0].can_upgrade


async def test_a_session_closed_in_mid_upgrade_delivers_its_last_packets(io_loop, app: App) -> None:
    poller = await app.door.poller()
    ws = await probed(app, poller)
    app.sessions[0].send("last words")
    app.sessions[0].close()
    ws.send("5")
    assert await ws.closed() == ["4last words"]
    await until(lambda: not app.engine.sessions)


async def test_an_upgrade_with_a_foreign_origin_is_403(io_loop, serve) -> None:
    engine = EngineServer(origin_allowed=lambda request: "Origin" not in request.headers)
    door = serve(Application([(PATH, EngineHandler, {"engine": engine})]), PATH)
    poller = await door.poller()
    with pytest.raises(HTTPClientError) as caught:
        await door.websocket(poller.sid, Origin="http://evil.example")
    assert caught.value.code == 403
    assert engine.sessions[poller.sid].can_upgrade


async def raw_websocket(app: App) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket with no client library behind it: it answers nothing."""
    reader, writer = await app.door.tcp()
    writer.write(
        f"GET {PATH}?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    await until(lambda: len(app.sessions) == 1)
    return reader, writer
