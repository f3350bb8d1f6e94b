"""The Socket.IO layer over real sockets: what it lets in, in which order, and how it ends."""

import asyncio
import json
from typing import Any

import pytest
import socketio
from socketio.exceptions import ConnectionRefusedError as Refused
from tornado.web import Application

from handlers.engine import EngineHandler, Reason, Session
from handlers.socketio_server import Event, SocketIOServer
from handlers.wire import text_frame
from scripts.conformance_server import socket_app
from tests.handlers.engine.serving import Door, Ws, serve, until

__all__ = ["serve"]

PATH = "/socket.io/"


class App:
    """Token `good` or none is let in. Handlers are given to the server as python-socketio has it."""

    def __init__(self, serve, **options: Any) -> None:
        self.sio = SocketIOServer(namespaces=("/", "/custom"), **options)
        self.sids: list[str] = []
        self.ended: list[tuple[str, str]] = []
        self.sio.on("connect", self.connect)
        self.sio.on("disconnect", self.disconnect)
        self.sio.on("echo", self.echo)
        self.door: Door = serve(Application([(PATH, EngineHandler, {"engine": self.sio.eio})]), PATH)

    async def connect(self, sid: str, session: Session, auth: dict[str, Any] | None) -> None:
        if auth is not None and auth.get("token") != "good":
            raise Refused("unauthorized", {"code": "auth.invalid"})
        self.sids.append(sid)

    async def disconnect(self, sid: str, reason: str) -> None:
        self.ended.append((sid, reason))

    async def echo(self, sid: str, value: Any) -> Any:
        return value

    def session(self, index: int = 0) -> Session:
        session = self.sio.session_of(self.sids[index])
        assert session is not None
        return session

    async def joined(self) -> Ws:
        ws = await self.door.opened()
        ws.answers = True
        ws.send("40")
        assert (await ws.read()).startswith('40{"sid":"')
        return ws


@pytest.fixture
def app(serve) -> App:
    """A slow heartbeat: whatever a test sees closed, the heartbeat did not close."""
    return App(serve)


@pytest.fixture
def echo(serve) -> Door:
    """The application of the public test suite, with a slow heartbeat."""
    return serve(socket_app(ping_interval=25, ping_timeout=20), PATH)


async def greeted(door: Door, namespace: str = "") -> Ws:
    ws = await door.opened()
    ws.answers = True
    ws.send("40" + namespace)
    await ws.read()
    assert (await ws.read()).endswith('["auth",{}]')
    return ws


# The application of the public suite


@pytest.mark.parametrize("namespace", ["", "/custom,"])
@pytest.mark.parametrize("payload", ["", '{"token":"123"}'])
async def test_connect_is_answered_with_a_sid_and_then_with_auth(io_loop, echo: Door, namespace, payload) -> None:
    ws = await echo.opened()
    ws.send("40" + namespace + payload)
    reply = await ws.read()
    assert reply.startswith("40" + namespace)
    assert list(json.loads(reply[2 + len(namespace) :])) == ["sid"]
    assert await ws.read() == f'42{namespace}["auth",{payload or "{}"}]'


async def test_a_message_comes_back_with_the_same_arguments(io_loop, echo: Door) -> None:
    ws = await greeted(echo)
    ws.send('42["message",1,"2",{"3":[true]}]')
    assert await ws.read() == '42["message-back",1,"2",{"3":[true]}]'


async def test_binary_arguments_come_back_as_attachments_in_the_same_order(io_loop, echo: Door) -> None:
    ws = await greeted(echo)
    places = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
    ws.send(f'452-["message",{places}]', b"\x01\x02", b"\x03")
    assert [await ws.read() for _ in range(3)] == [f'452-["message-back",{places}]', b"\x01\x02", b"\x03"]
    ws.send(f'452-789["message-with-ack",{places}]', b"\x04", b"\x05")
    assert [await ws.read() for _ in range(3)] == [f"462-789[{places}]", b"\x04", b"\x05"]


async def test_an_acknowledgement_spreads_its_arguments(io_loop, echo: Door) -> None:
    ws = await greeted(echo, "/custom")
    ws.send('42/custom,456["message-with-ack",1,"2",{"3":[false]}]')
    assert await ws.read() == '43/custom,456[1,"2",{"3":[false]}]'


async def test_disconnect_of_a_namespace_leaves_the_others_and_the_connection(io_loop, echo: Door) -> None:
    ws = await greeted(echo)
    ws.send("40/custom")
    await ws.read()
    await ws.read()
    ws.send("41/custom", '42["message","still here"]')
    assert await ws.read() == '42["message-back","still here"]'


async def test_after_the_last_disconnect_nothing_is_sent_but_pings(io_loop, serve) -> None:
    door = serve(socket_app(), PATH)
    ws = await greeted(door)
    ws.answers = False
    ws.send("41")
    assert await ws.read() == "2"


# Garbage


@pytest.mark.parametrize(
    "packet",
    [
        *("4abc", "49", "4", "42{}", "42[]", "42", '42abc["message"]', '42["message"', "42[NaN]", '42["a",NaN]'),
        *('42["connect",{},{"token":"good"}]', '42["disconnect","x"]', "42[1]", '44"x"', "41{}"),
        *("43[1]", '499999999999-["x"]', '451-["connect",{"_placeholder":true,"num":0}]', '4511-["echo"]', b"\x00"),
        '42["echo",' + "[" * 5000 + "]" * 5000 + "]",
        "40",
        *("40/custom,[]", '42/custom,["echo",1]', "43/custom,1[]", "41/custom", '451-/custom,["echo"]'),
    ],
)
async def test_garbage_closes_a_client_that_answers_pings_with_one_log_line(
    io_loop, serve, packet: str | bytes, caplog
) -> None:
    app = App(serve, ping_interval=0.05, ping_timeout=0.5)
    caplog.set_level("INFO")
    ws = await app.joined()
    caplog.clear()
    ws.send(packet)
    assert await ws.closed() == []
    await until(lambda: app.ended == [(app.sids[0], Reason.TRANSPORT_ERROR)])
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("INFO", None)]


@pytest.mark.parametrize("packet", ['42["echo",1]', "431[1]", '451-["echo",{"_placeholder":true,"num":0}]', "41", "4x"])
async def test_what_comes_before_connect_closes(io_loop, app: App, packet: str) -> None:
    ws = await app.door.opened()
    ws.send(packet)
    assert await ws.closed() == []


@pytest.mark.parametrize("second", ["4x", '42["echo",1]', b""], ids=["text", "packet", "nothing"])
async def test_attachments_are_bytes_and_come_directly_behind_their_packet(io_loop, app: App, second) -> None:
    ws = await app.joined()
    ws.send('452-1["echo",[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]]', b"\x01", second)
    if second == b"":
        assert await ws.read() == '462-1[[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]]'
    else:
        assert await ws.closed() == []


async def test_attachments_together_are_limited_like_one_message(io_loop, serve) -> None:
    app = App(serve, max_payload=1000)
    ws = await app.joined()
    ws.send('453-["echo"]', b"x" * 500, b"x" * 500)
    assert await ws.closed() == []


async def test_garbage_by_polling_ends_the_session(io_loop, app: App) -> None:
    poller = await app.door.poller()
    await poller.post("40")
    await poller.texts(1)
    await poller.post("42{}")
    assert await poller.get() == (200, "1")
    assert (await poller.get())[0] == 400


async def test_a_client_cannot_call_the_connect_handler(io_loop, app: App) -> None:
    ws = await app.joined()
    ws.send('421["connect",{"forged":"session"},{"token":"good"}]')
    assert await ws.closed() == []
    assert len(app.sids) == 1


# Getting in


async def test_an_unknown_namespace_is_refused_with_an_object(io_loop, app: App) -> None:
    ws = await app.door.opened()
    ws.send("40/random")
    assert await ws.read() == '44/random,{"message":"Invalid namespace"}'
    ws.send("40")
    assert (await ws.read()).startswith('40{"sid"')


async def test_a_refused_client_is_told_why_and_then_closed(io_loop, serve) -> None:
    app = App(serve, refused_limit=0.05)
    ws = await app.door.opened()
    ws.send('40{"token":"bad"}')
    assert await ws.closed() == ['44{"message":"unauthorized","data":{"code":"auth.invalid"}}']
    assert not app.sio.environ
    assert not app.ended


async def test_a_refused_polling_client_gets_the_reason_and_then_the_close(io_loop, serve) -> None:
    app = App(serve, refused_limit=0.05)
    poller = await app.door.poller()
    await poller.post('40{"token":"bad"}')
    assert await poller.get() == (200, '44{"message":"unauthorized","data":{"code":"auth.invalid"}}')
    assert await poller.get() == (200, "1")


async def test_by_default_a_refused_client_is_gone_within_two_seconds(io_loop, app: App) -> None:
    ws = await app.door.opened()
    ws.send('40{"token":"bad"}')
    assert len(await ws.closed()) == 1


async def test_a_refused_client_may_try_again_at_once(io_loop, serve) -> None:
    app = App(serve, refused_limit=0.1)
    ws = await app.door.opened()
    ws.send('40{"token":"bad"}', '40{"token":"good"}')
    assert (await ws.read()).startswith("44")
    assert (await ws.read()).startswith("40")
    await asyncio.sleep(0.15)  # beyond the limit, which no longer counts
    ws.send('421["echo","here"]')
    assert await ws.read() == '431["here"]'


async def test_who_is_refused_again_and_again_is_closed_as_soon_as_who_is_refused_once(io_loop, serve) -> None:
    app = App(serve, refused_limit=0.3)
    ws = await app.door.opened()

    async def insist() -> None:
        while True:
            ws.send('40{"token":"bad"}')
            await asyncio.sleep(0.1)

    insisting = asyncio.create_task(insist())
    try:
        assert 1 <= len(await asyncio.wait_for(ws.closed(), 2)) <= 4
    finally:
        insisting.cancel()


async def test_who_never_connects_is_closed(io_loop, serve) -> None:
    app = App(serve, connect_limit=0.05)
    assert await (await app.door.opened()).closed() == []
    assert SocketIOServer()._connect_limit == 10


async def test_who_leaves_the_last_namespace_has_the_same_limit_again(io_loop, serve) -> None:
    app = App(serve, connect_limit=0.1)
    ws = await app.joined()
    await asyncio.sleep(0.15)  # the limit no longer counts
    ws.send("41")
    assert await ws.closed() == []
    assert app.ended == [(app.sids[0], Reason.CLIENT_DISCONNECT)]


async def test_what_the_connect_handler_emits_comes_behind_the_connect_reply(io_loop, app: App) -> None:
    async def connect(sid: str, session: Session, auth: object) -> None:
        await app.sio.emit("early", {"a": 1}, to=sid, namespace="/custom")

    app.sio.on("connect", connect, namespace="/custom")
    ws = await app.door.opened()
    ws.send("40/custom")
    assert (await ws.read()).startswith("40/custom,")
    assert await ws.read() == '42/custom,["early",{"a":1}]'


async def test_on_joined_may_write_directly_behind_the_connect_reply(io_loop, serve) -> None:
    def joined(session: Session, namespace: str, sid: str) -> None:
        session.send_text(text_frame(b'42["first"]'), '42["first"]')

    app = App(serve, on_joined=joined)
    ws = await app.joined()
    assert await ws.read() == '42["first"]'


async def test_the_connect_handler_sees_the_handshake_request(io_loop, app: App) -> None:
    seen: list[str] = []

    async def connect(sid: str, session: Session, auth: object) -> None:
        seen.append(session.request.headers["Cookie"])

    app.sio.on("connect", connect)
    ws = await app.door.websocket(Cookie="maru_session=abc")
    await ws.read()
    ws.send("40")
    await ws.read()
    assert seen == ["maru_session=abc"]


async def test_a_client_that_goes_while_it_is_asked_for_is_not_joined(io_loop, serve) -> None:
    joined: list[str] = []
    gate = asyncio.Event()
    app = App(serve, on_joined=lambda session, namespace, sid: joined.append(sid))

    async def connect(sid: str, session: Session, auth: object) -> None:
        app.sids.append(sid)
        await gate.wait()

    app.sio.on("connect", connect)
    ws = await app.door.opened()
    ws.send("40")
    await until(lambda: bool(app.sids))
    ws.connection.close()
    await until(lambda: not app.sio.eio.sessions)
    gate.set()
    await until(lambda: app.ended == [(app.sids[0], Reason.TRANSPORT_CLOSE)])
    assert not joined


# Events


async def test_events_of_one_client_are_handled_and_answered_in_the_order_sent(io_loop, app: App) -> None:
    running: list[int] = []

    async def slow_first(sid: str, i: int) -> int:
        running.append(i)
        assert len(running) == 1
        for _ in range(10 - i % 10):
            await asyncio.sleep(0)
        running.clear()
        return i

    app.sio.on("slow", slow_first)
    ws = await app.joined()
    ws.send(*(f'42{i}["slow",{i}]' for i in range(100)))
    assert [await ws.read() for _ in range(100)] == [f"43{i}[{i}]" for i in range(100)]


async def test_two_hundred_events_in_one_post_are_all_acknowledged_in_order(io_loop, app: App) -> None:
    poller = await app.door.poller()
    await poller.post("40")
    await poller.texts(1)
    await poller.post("\x1e".join(f'42{i}["echo",{i}]' for i in range(200)))
    assert await poller.texts(200) == [f"43{i}[{i}]" for i in range(200)]


@pytest.mark.parametrize(
    "packet, code",
    [
        ('["nonesuch",1]', "request.unknown_event"),
        ('["echo"]', "request.invalid"),
        ('["echo",1,2]', "request.invalid"),
        ('["fails",1]', "internal"),
    ],
)
async def test_an_event_that_can_not_be_handled_is_acknowledged_with_an_error(io_loop, app: App, packet, code) -> None:
    async def fails(sid: str, value: Any) -> None:
        raise TypeError("a secret")

    app.sio.on("fails", fails)
    ws = await app.joined()
    ws.send("425" + packet)
    reply = await ws.read()
    assert reply.startswith("435[")
    assert json.loads(reply[3:])[0]["error"]["code"] == code
    assert "secret" not in reply
    ws.send("42" + packet, '426["echo","fine"]')
    assert await ws.read() == '436["fine"]'


async def test_on_event_gets_every_event_and_answers_it(io_loop, serve) -> None:
    seen: list[tuple[Any, ...]] = []

    async def on_event(event: Event) -> None:
        seen.append((event.name, event.args, event.ack_id, event.size, event.session.sid == app.session().sid))
        event.reply({"ok": True})

    app = App(serve, on_event=on_event)
    ws = await app.joined()
    ws.send('42["anything",1,[2]]', '4212["",{}]')
    assert await ws.read() == '4312[{"ok":true}]'
    assert seen == [("anything", [1, [2]], None, 19, True), ("", [{}], 12, 10, True)]


async def test_acknowledgements_of_clients_reach_their_callback(io_loop, app: App, caplog) -> None:
    answers: list[Any] = []
    ws = await app.joined()
    await app.sio.emit("question", 1, to=app.sids[0], callback=lambda *args: answers.append(args))
    assert await ws.read() == '421["question",1]'
    ws.send('431["answer",2]', '431["once more"]', '439["never asked"]', '430["never asked"]')
    await until(lambda: bool(answers))
    assert answers == [("answer", 2)]
    ws.send('421["echo","still here"]')
    assert await ws.read() == '431["still here"]'
    assert answers == [("answer", 2)] and caplog.records == []
    await app.sio.emit("question", 2, to=app.sids[0], callback=answers.append)
    assert await ws.read() == '422["question",2]'


async def test_emits_leave_in_the_order_of_the_calls_between_direct_frames(io_loop, app: App) -> None:
    ws = await app.joined()
    session = app.session()
    await app.sio.emit("a", (1, 2), to=app.sids[0])
    session.send_text(text_frame(b'42["b"]'), '42["b"]')
    app.sio.emit_to(session, "c", b"\x01")
    session.send_text(text_frame(b'42["d"]'), '42["d"]')
    await app.sio.emit("e")
    assert [await ws.read() for _ in range(6)] == [
        '42["a",1,2]',
        '42["b"]',
        '451-["c",{"_placeholder":true,"num":0}]',
        b"\x01",
        '42["d"]',
        '42["e"]',
    ]


# Going


@pytest.mark.parametrize("stay_away", [False, True])
async def test_a_session_ends_with_a_last_event(io_loop, app: App, stay_away: bool) -> None:
    ws = await app.joined()
    app.sio.end(app.session(), "closing", {"code": 4500}, stay_away=stay_away, code=4500)
    assert await ws.closed() == ['42["closing",{"code":4500}]', *(["41"] if stay_away else [])]
    assert ws.connection.close_code == 4500
    assert app.ended == [(app.sids[0], Reason.SERVER_DISCONNECT)]
    assert not app.sio.environ
    assert not app.sio.manager.rooms.get("/")


async def test_sio_disconnect_sends_a_disconnect_and_then_closes(io_loop, serve) -> None:
    app = App(serve, refused_limit=0.05)
    ws = await app.joined()
    await app.sio.disconnect(app.sids[0])
    assert await ws.closed() == ["41"]
    assert app.ended == [(app.sids[0], Reason.SERVER_DISCONNECT)]


async def test_events_that_wait_are_dropped_when_the_server_ends_the_session(io_loop, app: App) -> None:
    heard: list[int] = []

    async def wait(sid: str, i: int) -> None:
        heard.append(i)
        await gate.wait()

    gate = asyncio.Event()
    app.sio.on("wait", wait)
    ws = await app.joined()
    ws.send('42["wait",1]', '42["wait",2]')
    await until(lambda: heard == [1])
    session = app.session()
    await until(lambda: bool(session._inbox._messages))
    session.close()
    gate.set()
    await until(lambda: bool(app.ended))
    assert heard == [1]


async def test_closed_connections_leave_nothing_behind(io_loop, app: App) -> None:
    for _ in range(50):
        ws = await app.joined()
        ws.send("42{}")
        await ws.closed()
    await until(lambda: len(app.ended) == 50 and not app.sio.eio.sessions)
    assert not app.sio._clients
    assert not app.sio.environ
    assert not app.sio.manager.rooms
    assert not any(app.sio.manager.pending_connect.values())
    assert not any(app.sio.manager.pending_disconnect.values())


# A real client


async def leave(client: socketio.AsyncClient) -> None:
    """Disconnect; the client's own loops would go on waiting for up to a heartbeat."""
    await client.disconnect()
    loops = [task for task in (client.eio.write_loop_task, client.eio.read_loop_task) if task is not None]
    for task in loops:
        task.cancel()
    await asyncio.gather(*loops, return_exceptions=True)


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
async def test_the_python_client_works(io_loop, app: App, transports: list[str]) -> None:
    client = socketio.AsyncClient(reconnection=False)
    pushed: asyncio.Queue[Any] = asyncio.Queue()
    gone = asyncio.Event()
    client.on("pushed", pushed.put)
    client.on("disconnect", gone.set)
    await client.connect(f"http://127.0.0.1:{app.door.port}", auth={"token": "good"}, transports=transports)
    try:
        assert await client.call("echo", {"text": "안녕", "binary": b"\x01"}) == {"text": "안녕", "binary": b"\x01"}
        assert await asyncio.gather(*(client.call("echo", i) for i in range(100))) == list(range(100))
        await app.sio.emit("pushed", {"n": 1}, to=app.sids[0])
        assert await pushed.get() == {"n": 1}
        assert app.sio.transport(app.sids[0]) == transports[-1]
        app.sio.end(app.session(), "pushed", "the end", stay_away=False)
        assert await pushed.get() == "the end"
        async with asyncio.timeout(5):
            await gone.wait()
    finally:
        await leave(client)


async def test_the_python_client_is_told_why_it_is_refused(io_loop, app: App) -> None:
    client = socketio.AsyncClient(reconnection=False)
    errors: asyncio.Queue[Any] = asyncio.Queue()
    client.on("connect_error", errors.put)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(f"http://127.0.0.1:{app.door.port}", auth={"token": "bad"}, transports=["websocket"])
    assert await errors.get() == {"message": "unauthorized", "data": {"code": "auth.invalid"}}
    await leave(client)
