"""Long polling: what comes back, the heartbeat, and every way to end."""

import asyncio

import pytest
from tornado.web import Application

from handlers.engine import EngineHandler, EngineServer, Reason, Session
from handlers.wire import text_frame
from tests.handlers.engine.serving import Door, Poller, until

PATH = "/engine.io/"


class App:
    """Echoes, and remembers who came and why they went."""

    def __init__(self, serve, **options) -> None:
        self.engine = EngineServer(**options)
        self.sessions: list[Session] = []
        self.ended: dict[str, str] = {}
        self.engine.on("connect", self.connect)
        self.engine.on("message", self.engine.send)
        self.engine.on("disconnect", self.disconnect)
        self.door: Door = serve(Application([(PATH, EngineHandler, {"engine": self.engine})]), PATH)

    async def connect(self, sid: str, session: Session) -> None:
        self.sessions.append(session)

    async def disconnect(self, sid: str, reason: str) -> None:
        self.ended[sid] = reason

    async def waiting(self, poller: Poller) -> "asyncio.Future[tuple[int, str]]":
        """A GET that has reached the server and waits there."""
        get = asyncio.ensure_future(poller.get())
        polling = self.engine.sessions[poller.sid].polling
        assert polling is not None
        await until(lambda: polling.waiting)
        return get


@pytest.fixture
def app(serve) -> App:
    return App(serve)


async def test_several_packets_of_both_kinds_come_back_in_one_payload(io_loop, app: App) -> None:
    poller = await app.door.poller()
    payload = "4hello\x1ebAQIDBA==\x1e4\x1e4안녕"
    assert await poller.post(payload) == (200, "ok")
    assert await poller.get() == (200, payload)


async def test_two_hundred_events_in_one_post_all_arrive(io_loop, app: App) -> None:
    poller = await app.door.poller()
    payload = "\x1e".join(f"4{i}" for i in range(200))
    assert await poller.post(payload) == (200, "ok")
    assert await poller.texts(200) == [f"4{i}" for i in range(200)]


async def test_a_poll_brings_no_more_packets_than_the_python_client_takes(io_loop, app: App) -> None:
    poller = await app.door.poller()
    for i in range(17):
        app.sessions[0].send(str(i))
    assert await poller.get() == (200, "\x1e".join(f"4{i}" for i in range(16)))
    assert app.sessions[0].unsent == 3
    assert await poller.get() == (200, "416")


@pytest.mark.parametrize("body", ["abc", "", "4a\x1e9", "4a\x1ebA", b"4\xff", "5", "0{}", "2"])
async def test_an_undecodable_payload_ends_the_session_at_once(io_loop, app: App, body) -> None:
    poller = await app.door.poller()
    waiting = await app.waiting(poller)
    assert (await poller.post(body))[0] == 400
    assert await waiting == (200, "1")
    assert (await poller.get())[0] == 400
    assert app.ended[poller.sid] == Reason.TRANSPORT_ERROR


async def test_after_an_undecodable_payload_not_even_one_more_get_is_served(io_loop, app: App) -> None:
    poller = await app.door.poller()
    app.sessions[0].send("unread")
    assert (await poller.post("abc"))[0] == 400
    assert (await poller.get())[0] == 400


async def test_a_second_get_ends_the_session_and_the_first_gets_a_close(io_loop, app: App) -> None:
    poller = await app.door.poller()
    waiting = await app.waiting(poller)
    assert (await poller.get())[0] == 400
    assert await waiting == (200, "1")
    assert (await poller.get())[0] == 400


async def test_a_get_whose_client_went_away_does_not_count_as_waiting(io_loop, app: App) -> None:
    poller = await app.door.poller()
    _, writer = await app.door.tcp()
    writer.write(f"GET {PATH}?EIO=4&transport=polling&sid={poller.sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    polling = app.sessions[0].polling
    assert polling is not None
    await until(lambda: polling.waiting)
    writer.close()
    await until(lambda: not polling.waiting)
    await poller.post("4hello")
    assert await poller.get() == (200, "4hello")


async def test_pings_come_and_pongs_keep_the_session(io_loop, serve) -> None:
    app = App(serve, ping_interval=0.1, ping_timeout=2)
    poller = await app.door.poller()
    for _ in range(4):
        assert await poller.get() == (200, "2")
        assert await poller.post("3") == (200, "ok")


async def test_a_silent_client_is_gone_exactly_when_its_pong_is_due(io_loop, serve) -> None:
    app = App(serve, ping_interval=0.15, ping_timeout=0.1)
    poller = await app.door.poller()
    await asyncio.sleep(0.25)  # what this client does, not a wait for the server
    assert (await poller.get())[0] == 400
    assert app.ended[poller.sid] == Reason.PING_TIMEOUT
    assert not app.engine.sessions


async def test_a_client_that_polls_but_never_answers_pings_is_told_that_it_is_over(io_loop, serve) -> None:
    app = App(serve, ping_interval=0.05, ping_timeout=1)
    poller = await app.door.poller()
    assert await poller.get() == (200, "2")
    assert await poller.get() == (200, "1")
    assert (await poller.get())[0] == 400


async def test_an_unasked_pong_does_not_put_off_the_next_ping(io_loop, serve) -> None:
    app = App(serve, ping_interval=0.2, ping_timeout=0.1)
    poller = await app.door.poller()
    due = app.sessions[0]._due
    await poller.post("3")
    assert app.sessions[0]._due == due


async def test_the_deadline_is_looked_at_when_a_request_comes_though_no_timer_has_fired(io_loop, serve) -> None:
    now = 0.0
    app = App(serve, clock=lambda: now)
    poller = await app.door.poller()
    now = 44.9
    assert await poller.post("4in time") == (200, "ok")
    now = 45.0
    assert (await poller.post("4late"))[0] == 400
    assert app.ended[poller.sid] == Reason.PING_TIMEOUT


async def test_a_close_packet_releases_the_waiting_get_with_a_noop(io_loop, app: App) -> None:
    poller = await app.door.poller()
    waiting = await app.waiting(poller)
    assert await poller.post("1") == (200, "ok")
    assert await waiting == (200, "6")
    assert (await poller.get())[0] == 400
    assert app.ended[poller.sid] == Reason.CLIENT_DISCONNECT


async def test_a_get_that_crosses_the_close_packet_gets_its_noop_too(io_loop, app: App) -> None:
    poller = await app.door.poller()
    assert await poller.post("1") == (200, "ok")
    assert await poller.get() == (200, "6")
    assert (await poller.get())[0] == 400


async def test_what_was_sent_before_a_close_packet_is_still_handled(io_loop, app: App) -> None:
    heard: list[str] = []

    async def hear(sid: str, data: str) -> None:
        await asyncio.sleep(0)
        assert sid not in app.ended
        heard.append(data)

    app.engine.on("message", hear)
    poller = await app.door.poller()
    await poller.post("4one\x1e4two\x1e1\x1e4three")
    await until(lambda: poller.sid in app.ended)
    assert heard == ["one", "two"]


async def test_a_session_closed_by_the_server_hands_its_last_packets_to_the_waiting_get(io_loop, app: App) -> None:
    poller = await app.door.poller()
    waiting = await app.waiting(poller)
    session = app.sessions[0]
    session.send("last words")
    session.close()
    assert await waiting == (200, "4last words")
    assert await poller.get() == (200, "1")
    assert (await poller.get())[0] == 400


async def test_a_session_closed_by_the_server_waits_a_little_for_the_get_that_takes_its_last_packets(
    io_loop, serve
) -> None:
    app = App(serve, linger=0.5)
    poller = await app.door.poller()
    app.sessions[0].send("last words")
    app.sessions[0].close()
    assert await poller.post("4ignored") == (200, "ok")
    assert await poller.get() == (200, "4last words")
    await until(lambda: not app.engine.sessions)
    assert (await poller.get())[0] == 400


async def test_closing_never_waits_for_unread_packets(io_loop, app: App) -> None:
    poller = await app.door.poller()
    app.sessions[0].send("unread")
    await app.engine.disconnect(poller.sid)
    await until(lambda: app.ended.get(poller.sid) == Reason.SERVER_DISCONNECT)


async def test_encoded_packets_keep_their_place_among_the_others(io_loop, app: App) -> None:
    poller = await app.door.poller()
    session = app.sessions[0]
    session.send("one")
    assert session.send_text(text_frame(b"4two"), "4two")
    assert session.send_text(text_frame("4셋".encode()), "4셋".encode())
    session.send(b"\x01")
    assert session.unsent == len("4one") + len("4two") + len("4셋".encode()) + 1
    assert await poller.get() == (200, "4one\x1e4two\x1e4셋\x1ebAQ==")
    assert session.unsent == 0


async def test_droppable_packets_are_left_out_for_a_client_that_is_behind(io_loop, serve) -> None:
    app = App(serve, drop_above=10)
    await app.door.poller()
    session = app.sessions[0]
    assert session.send_text(text_frame(b"4twelve bytes"), "4twelve bytes", droppable=True)
    assert not session.send_text(text_frame(b"4token"), "4token", droppable=True)
    assert session.send_text(text_frame(b"4message"), "4message")
    assert session.unsent == len("4twelve bytes4message")


async def test_a_client_that_never_reads_is_closed_before_it_fills_the_memory(io_loop, serve) -> None:
    app = App(serve, max_unsent=1000)
    await app.door.poller()
    session = app.sessions[0]
    for _ in range(11):
        session.send("x" * 100)
    assert not session.open
    assert not app.engine.sessions
    assert session.unsent <= 1100


async def test_the_application_hears_of_the_end_at_once_and_once(io_loop, app: App) -> None:
    await app.door.poller()
    reasons: list[str] = []
    session = app.sessions[0]
    session.on_close = reasons.append
    session.close()
    session.close()
    assert reasons == [Reason.SERVER_DISCONNECT]
    assert not session.send_text(text_frame(b"4late"), "4late")


async def test_a_handler_that_fails_closes_its_session_only(io_loop, app: App, caplog) -> None:
    async def fail(sid: str, data: str) -> None:
        raise LookupError("bug")

    app.engine.on("message", fail)
    poller, other = await app.door.poller(), await app.door.poller()
    await poller.post("4x")
    await until(lambda: poller.sid in app.ended)
    assert await other.post("3") == (200, "ok")
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_a_slow_handler_does_not_hold_up_the_pongs(io_loop, serve) -> None:
    app = App(serve, ping_interval=0.05, ping_timeout=2)
    gate = asyncio.Event()

    async def wait(sid: str, data: str) -> None:
        await gate.wait()
        await app.engine.send(sid, data)

    app.engine.on("message", wait)
    poller = await app.door.poller()
    assert await poller.post("4slow") == (200, "ok")
    for _ in range(4):
        assert await poller.get() == (200, "2")
        await poller.post("3")
    gate.set()
    assert await poller.texts(1) == ["4slow"]
