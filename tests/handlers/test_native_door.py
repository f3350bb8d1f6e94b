"""The native door with raw sockets: what is refused before the upgrade, what frames do, who is sent away."""

import asyncio
import base64
import contextlib
import json
import os
import struct

import aiohttp
import psycopg2
import pytest

from handlers import protocol
from handlers.connection import QUEUE_MOST, Request
from handlers.protocol import Send
from tests.pods import Refused


class Raw:
    """A WebSocket by hand: any byte may be sent."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, pod, headers, path="/ws"):
        reader, writer = await asyncio.open_connection("127.0.0.1", pod.port, limit=1 << 22)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = {"Host": f"127.0.0.1:{pod.port}", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": key,
                 "Sec-WebSocket-Version": "13", **headers}  # fmt: skip
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        raw = cls(reader, writer)
        raw.status = int(answer.split()[1])
        raw.head = answer
        pod.at_close(raw.gone)
        return raw

    def frame(self, payload, opcode=1, fin=True, masked=True, rsv=0):
        first = (0x80 if fin else 0) | rsv << 4 | opcode
        bit = 0x80 if masked else 0
        if len(payload) < 126:
            head = bytes((first, bit | len(payload)))
        elif len(payload) < 65536:
            head = bytes((first, bit | 126)) + struct.pack(">H", len(payload))
        else:
            head = bytes((first, bit | 127)) + struct.pack(">Q", len(payload))
        mask = os.urandom(4)
        body = bytes(b ^ mask[i % 4] for i, b in enumerate(payload)) if masked else payload
        self.writer.write(head + (mask if masked else b"") + body)

    async def read(self):
        """(opcode, payload); (None, b"") at the end."""
        try:
            first, second = await self.reader.readexactly(2)
            size = second & 127
            if size == 126:
                (size,) = struct.unpack(">H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
            return first & 15, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None, b""

    async def json(self):
        opcode, payload = await asyncio.wait_for(self.read(), 10)
        assert opcode == 1, (opcode, payload)
        return json.loads(payload)

    async def join(self, room):
        """Joins; events on the way (one's own presence, say) may come before the reply."""
        self.frame(json.dumps({"id": 1, "event": "join", "data": {"roomId": room}}).encode())
        while (reply := await self.json()).get("id") != 1:
            pass
        assert reply["ok"], reply

    async def close_code(self):
        while True:
            opcode, payload = await asyncio.wait_for(self.read(), 10)
            if opcode is None:
                return None
            if opcode == 8:
                return struct.unpack(">H", payload[:2])[0]

    async def gone(self):
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def opened(pods, **settings):
    pod = await pods.start(**settings)
    ann = await pod.person()
    raw = await Raw.open(pod, {"Authorization": f"Bearer {ann.token}"})
    assert raw.status == 101
    return pod, ann, raw


def ping(raw, key=1):
    raw.frame(json.dumps({"id": key, "event": "ping", "data": {}}).encode())


async def test_who_is_refused_before_the_upgrade(pods):
    pod = await pods.start(allowed_origins=("https://app.example",))
    ann = await pod.person()
    good = {"Authorization": f"Bearer {ann.token}"}
    for headers, status in (
        (good, 101),
        (good | {"Origin": pod.url}, 101),
        (good | {"Origin": "https://app.example"}, 101),
        (good | {"Origin": "https://evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        (good | {"Origin": "null"}, 403),
        ({}, 401),
        ({"Authorization": "Bearer nonsense"}, 401),
        ({"Authorization": "Basic abc"}, 401),
        ({"Sec-WebSocket-Protocol": f"maru.v1, bearer.{ann.token}"}, 101),
        ({"Sec-WebSocket-Protocol": "maru.v1, bearer.nonsense"}, 401),
    ):
        raw = await Raw.open(pod, headers)
        assert raw.status == status, (headers, raw.head)
        if "Sec-WebSocket-Protocol" in headers and status == 101:
            assert "sec-websocket-protocol: maru.v1\r\n" in raw.head.lower()
        assert "permessage-deflate" not in raw.head.lower()
        await raw.gone()
    status, problem = await pod.call(
        "GET", f"/ws?token={ann.token}", headers={"Upgrade": "websocket", "Connection": "Upgrade"}
    )
    assert (status, problem["code"]) == (401, "auth.missing")


async def test_a_client_that_goes_while_it_is_let_in_is_not_there(pods, monkeypatch):
    pod = await pods.start(max_connections_per_user=1)
    ann = await pod.person()
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(user_id):
        asked.set()
        await go_on.wait()
        return 0

    with monkeypatch.context() as patch:
        patch.setattr(pod.services.sockets, "elsewhere", slow)
        reader, writer = await asyncio.open_connection("127.0.0.1", pod.port)
        lines = ["GET /ws HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", f"Authorization: Bearer {ann.token}", "", ""]  # fmt: skip
        writer.write("\r\n".join(lines).encode())
        await asked.wait()
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.1)
        go_on.set()
        await asyncio.sleep(0.1)
    assert len(pod.services.sockets) == 0
    door = await ann.native()  # his only place is free
    assert (await door.ask("ping", {}))["ts"]


async def test_what_opens_no_websocket_is_a_problem_like_any_other(pods):
    pod = await pods.start()
    ann = await pod.person()
    upgrade = {"Upgrade": "websocket", "Connection": "keep-alive, Upgrade"}
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    for method, headers, status in (
        ("GET", {}, 400),
        ("GET", {"Upgrade": "h2c", "Connection": "Upgrade"}, 400),
        ("GET", {"Upgrade": "websocket"}, 400),
        ("GET", upgrade | {"Sec-WebSocket-Version": "13"}, 400),
        ("GET", upgrade | key | {"Sec-WebSocket-Version": "99"}, 400),
        ("POST", {}, 405),
        ("NONSENSE", {}, 405),
    ):
        headers = headers | {"Authorization": f"Bearer {ann.token}"}
        async with pod.http.request(method, pod.url + "/ws", headers=headers) as answer:
            assert answer.headers["Content-Type"] == "application/problem+json", (method, headers)
            problem = await answer.json(content_type=None)
            assert (answer.status, problem["status"], problem["code"]) == (status, status, "request.invalid")
            assert answer.headers.get("Allow") == ("GET" if status == 405 else None)
    assert (await pod.call("GET", "/ws"))[0] == 401
    assert await ann.native()


async def test_so_many_connections_a_user_and_no_more(pods):
    pod = await pods.start(max_connections_per_user=3)
    ann = await pod.person()
    doors = [await ann.native() for _ in range(2)] + [await ann.socketio()]
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await ann.native()
    assert refused.value.status == 429
    await doors[0].close()
    async with asyncio.timeout(5):
        while pod.services.registry.count(ann.id) > 2:
            await asyncio.sleep(0.01)
    await ann.native()


async def test_racing_handshakes_do_not_pass_the_limit(pods):
    pod = await pods.start(max_connections_per_user=5)
    ann = await pod.person()
    results = await asyncio.gather(*(ann.native() for _ in range(12)), return_exceptions=True)
    assert sum(not isinstance(r, Exception) for r in results) == 5


async def test_a_message_in_fragments_with_a_ping_between_them(pods):
    _, _, raw = await opened(pods)
    body = json.dumps({"id": 1, "event": "ping", "data": {}}).encode()
    raw.frame(body[:5], fin=False)
    raw.frame(b"beat", opcode=9)
    raw.frame(body[5:9], opcode=0, fin=False)
    raw.frame(body[9:], opcode=0)
    assert await raw.read() == (10, b"beat")
    assert (await raw.json())["ok"] is True


async def test_many_frames_in_one_packet_and_one_frame_in_many(pods):
    _, _, raw = await opened(pods)
    for key in range(100):
        ping(raw, key)
    assert [(await raw.json())["id"] for _ in range(100)] == list(range(100))
    body = json.dumps({"id": "x", "event": "ping", "data": {"pad": "y" * 70_000}}).encode()
    sent = []
    whole = Raw(None, type("W", (), {"write": lambda self, data: sent.append(data)})())
    whole.frame(body)
    for at in range(0, len(sent[0]), 9_999):
        raw.writer.write(sent[0][at : at + 9_999])
        await raw.writer.drain()
    assert (await raw.json())["id"] == "x"


@pytest.mark.parametrize(
    ("payload", "given", "code"),
    [
        (b"\xff\xfe{}", {}, 1007),
        (b'{"event":"ping","data":{"x":"\xed\xa0\x80"}}', {}, 1007),
        (b"\x03\xe8\xff", {"opcode": 8}, 1007),
        (b"\x03", {"opcode": 8}, 1002),
        *[(code.to_bytes(2, "big"), {"opcode": 8}, 1002) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000)],
        *[(code.to_bytes(2, "big"), {"opcode": 8}, code) for code in (1000, 1003, 1007, 1014, 3000, 4999)],
        (b"x", {"masked": False}, 1002),
        (b"x", {"rsv": 4}, 1002),
        (b"x", {"opcode": 3}, 1002),
        (b"x", {"opcode": 0}, 1002),
        (b"x" * 126, {"opcode": 9}, 1002),
        (b"x" * 1_048_577, {}, 1009),
    ],
)
async def test_frames_that_end_the_connection(pods, payload, given, code):
    pod, ann, raw = await opened(pods)
    raw.frame(payload, **given)
    assert await raw.close_code() == code
    assert (await ann.native()).closed is None


NOT_COMMANDS = [
    b"", b"{", b"[]", b"null", b"1", b'"x"', b"{}", b'{"event":1}', b'{"event":"ping","id":null}', b'{"event":"ping","id":{}}',
    b'{"event":"ping","id":[1]}', b'{"id":1,"event":"p\\u0000ing"}', b'{"event":"ping","data":{},}', b"nan",
    b'{"event":"x","data":NaN}',
    b"[" * 100_000, b'{"event":"ping","data":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    b'{"event":"send","data":{"roomId":"\\ud800"}}', b'{"event":"' + b"e" * 101 + b'"}',
]  # fmt: skip


async def test_what_is_no_command_is_answered_by_an_error_event_and_the_connection_lives(pods):
    pod, ann, raw = await opened(pods)
    for body in NOT_COMMANDS:
        raw.frame(body)
        answer = await raw.json()
        error = answer["data"] if answer.get("event") == "error" else answer["error"]
        assert error["code"] in ("request.invalid", "request.unknown_event"), body[:60]
    raw.frame(b"\x00\x01", opcode=2)
    assert (await raw.json())["event"] == "error"
    ping(raw)
    assert (await raw.json())["ok"] is True
    status, _ = await ann.call("GET", "/users/me")
    assert status == 200


async def test_success_without_an_id_says_nothing(pods):
    pod, ann, raw = await opened(pods)
    raw.frame(b'{"event":"ping"}')
    ping(raw, 5)
    assert (await raw.json())["id"] == 5
    for key in (1.5, "s", 0, -3):
        raw.frame(json.dumps({"id": key, "event": "ping"}).encode())
        assert (await raw.json())["id"] == key


async def test_a_client_that_reads_nothing_is_closed_and_nobody_waits_for_it(pods):
    pod = await pods.start(sends_per_10s=0, max_unsent_bytes=262_144)
    ann, bob = await pod.person(), await pod.person()
    room = await ann.room(bob)
    raw = await Raw.open(pod, {"Authorization": f"Bearer {bob.token}"})
    await raw.join(room)
    raw.writer.transport.pause_reading()
    door = await ann.native()
    await door.join(room)
    for i in range(400):
        await door.send(room, f"{i} " + "가" * 19_000)
        if pod.services.counts.slow_closes:
            break
    assert pod.services.counts.slow_closes == 1
    sent = await door.send(room, "weiter")
    await door.event("message", id=sent["messageId"])
    assert pod.services.registry.count(bob.id) == 0
    # It comes back with its cursor and has lost nothing.
    again = await bob.native()
    after, got = 0, []
    while True:
        joined = await again.join(room, after=after)
        got += [m["seq"] for m in joined["messages"]]
        if not joined["more"]:
            break
        after = joined["messages"][-1]["changedSeq"]
    assert got == list(range(1, sent["seq"] + 1))


async def test_pieces_are_left_out_for_a_slow_reader_before_it_is_closed(pods, model):
    from tests.scripted_model import Script

    model.scripts = [Script(*[("text", "가" * 3000)] * 200, ("usage", 1, 1))]
    pod = await pods.start(**model.openai, max_unsent_bytes=4_000_000, piece_ms=5, max_text_chars=0)
    ann = await pod.person()
    room = await ann.room(when="always")
    raw = await Raw.open(pod, {"Authorization": f"Bearer {ann.token}"})
    await raw.join(room)
    raw.writer.transport.pause_reading()
    sent = await ann.post(f"/rooms/{room}/messages", {"text": "?"})
    fast = await ann.native()
    await fast.join(room)
    await fast.answer_to(sent["messageId"], 30)
    raw.writer.transport.resume_reading()
    frames = []
    while not frames or frames[-1]["data"].get("status") != "complete" or frames[-1]["data"]["role"] != "bot":
        frames.append(await raw.json())
    assert frames[-1]["data"]["text"] == "가" * 600_000
    pieces = [f["data"] for f in frames if f["event"] == "stream"]
    assert len(pieces) < 200


async def test_who_is_still_taking_a_long_reply_is_not_slow_until_more_waits_than_may(pods):
    pod = await pods.start(sends_per_10s=0, max_unsent_bytes=400_000, max_text_chars=0)
    ann = await pod.person()
    room = await ann.room()
    for _ in range(50):
        await ann.post(f"/rooms/{room}/messages", {"text": "가" * 40_000})
    raw = await Raw.open(pod, {"Authorization": f"Bearer {ann.token}"})
    (connection,) = pod.services.sockets._all

    async def join_and_take_nothing():
        raw.writer.transport.pause_reading()
        raw.frame(json.dumps({"id": 1, "event": "join", "data": {"roomId": room}}).encode())
        async with asyncio.timeout(10):
            while connection.unsent < 500_000:  # what the kernel does not take
                await asyncio.sleep(0.01)

    await join_and_take_nothing()
    said = await ann.post(f"/rooms/{room}/messages", {"text": "뒤"})
    raw.writer.transport.resume_reading()
    while (frame := await raw.json()).get("id") != 1:
        pass
    assert len(frame["data"]["messages"]) == 50
    while (frame := await raw.json())["event"] != "message":
        pass
    assert frame["data"]["id"] == said["messageId"]
    await join_and_take_nothing()
    for _ in range(3):  # half of what may wait, each
        await ann.post(f"/rooms/{room}/messages", {"text": "가" * 70_000})
    assert connection.closed and pod.services.counts.slow_closes == 1


async def test_who_does_not_answer_pings_is_sent_away_to_come_back(pods):
    pod = await pods.start(ping_interval_s=1, ping_timeout_s=1)
    ann = await pod.person()
    raw = await Raw.open(pod, {"Authorization": f"Bearer {ann.token}"})
    assert (await asyncio.wait_for(raw.read(), 5))[0] == 9
    assert await raw.close_code() == 4000
    lively = await ann.native()  # aiohttp answers pings
    await asyncio.sleep(3.5)
    assert (await lively.ask("ping", {}))["ts"]


async def test_a_flood_is_held_back_and_answered_in_full(pods):
    pod, ann, raw = await opened(pods)
    other = await (await pod.person()).native()

    async def write():
        for key in range(5_000):
            ping(raw, key)
            if key % 100 == 0:
                await raw.writer.drain()

    writing = asyncio.create_task(write())
    for key in range(5_000):
        assert (await raw.json())["id"] == key
        if key % 1000 == 0:
            async with asyncio.timeout(2):
                await other.ask("ping", {})
    await writing


async def test_a_drain_sends_everybody_away_to_come_back(pods):
    pod = await pods.start()
    ann = await pod.person()
    native, sio = await ann.native(), await ann.socketio()
    await pod.services.drain()
    assert (await native.end())[0] == 1012
    assert (await sio.end())[0] == 1012
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await ann.native()
    assert refused.value.status == 503
    pod.services.draining = True
    assert (await pod.call("GET", "/readyz"))[0] == 503


@pytest.mark.parametrize("door", ["native", "socketio"])
async def test_who_is_let_in_while_a_drain_begins_is_sent_away_like_the_others(pods, monkeypatch, door):
    pod = await pods.start()
    ann = await pod.person()

    async def drained_meanwhile(user_id):
        await pod.services.drain()
        return 0

    monkeypatch.setattr(pod.services.sockets, "elsewhere", drained_meanwhile)
    there = await getattr(ann, door)()
    assert (await there.end(2))[0] == 1012
    assert len(pod.services.sockets) == 0


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_socketio_refuses_like_the_native_door(pods, transport):
    import socketio

    pod = await pods.start(max_connections_per_user=1)
    ann = await pod.person()
    for token, message, code in ((None, "unauthorized", "auth.missing"), ("nonsense", "unauthorized", "auth.invalid")):
        seen = []
        client = socketio.AsyncClient(reconnection=False)
        client.on("connect_error", seen.append)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(
                pod.url, auth={"token": token} if token else None, transports=[transport], wait_timeout=3
            )
        assert seen[0] == {"message": message, "data": {"code": code}}
    await ann.native()
    seen = []
    client = socketio.AsyncClient(reconnection=False)
    client.on("connect_error", seen.append)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(pod.url, auth={"token": ann.token}, transports=[transport], wait_timeout=3)
    assert seen[0] == {"message": "limit.connections", "data": {"code": "limit.connections"}}
    query = f"/socket.io/?EIO=4&transport={transport}"
    headers = {"Origin": "https://evil.example"}
    if transport == "websocket":
        headers |= {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "x" * 22 + "==",
            "Sec-WebSocket-Version": "13",
        }
    assert (await pod.call("GET", query, headers=headers))[0] == 403


async def test_commands_behind_a_send_wait_for_their_turn(pods):
    """A send that waits for Postgres makes no task; what the client says meanwhile is answered behind it."""
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room(when="off")
    raw = await Raw.open(pod, {"Authorization": f"Bearer {ann.token}"})
    await raw.join(room)
    for text in ("first", "second"):  # from then on it is known that she may write here
        await ann.call("POST", f"/rooms/{room}/messages", {"text": text})
    blocker = await asyncio.to_thread(psycopg2.connect, pod.services.settings.database_url.get_secret_value())
    try:
        with blocker.cursor() as cursor:
            cursor.execute("select * from room_heads where room_id = %s for update", (room,))
            commands = [
                ("send", {"roomId": room, "text": "third"}),
                ("ping", {}),
                ("send", {"roomId": room, "text": " "}),
                ("send", {"roomId": room, "text": "fourth"}),
                ("send", {"roomId": "nowhere", "text": "x"}),
                ("ping", {}),
            ]
            for number, (event, data) in enumerate(commands, 10):
                raw.frame(json.dumps({"id": number, "event": event, "data": data}).encode())
            raw.frame(b"no command")
            await asyncio.sleep(0.2)
            blocker.rollback()
    finally:
        blocker.close()
    replies, texts = [], []
    while len(replies) < len(commands) + 1:
        said = await raw.json()
        if "ok" in said:
            replies.append((said["id"], said["ok"] or said["error"]["code"]))
        elif said["event"] == "error":
            replies.append((None, said["data"]["code"]))
        elif said["event"] == "message":
            texts.append(said["data"]["text"])
    assert replies == [
        (10, True), (11, True), (12, "message.invalid"), (13, True), (14, "room.not_found"), (15, True),
        (None, "request.invalid"),
    ]  # fmt: skip
    while len(texts) < 4:
        said = await raw.json()
        if said.get("event") == "message":
            texts.append(said["data"]["text"])
    assert texts == ["first", "second", "third", "fourth"]


async def test_a_fault_of_ours_in_a_send_is_an_internal_error_and_the_next_goes_on(pods, monkeypatch, caplog):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room(when="off")
    door = await ann.native()
    await door.join(room)
    await door.send(room, "before")
    messages = pod.services.messages
    real, wrong = messages._outcome, iter([True])

    def outcome(*given):
        if next(wrong, False):
            raise ZeroDivisionError("ours")
        return real(*given)

    monkeypatch.setattr(messages, "_outcome", outcome)
    with pytest.raises(Refused) as refused:
        await door.send(room, "told wrongly")
    assert refused.value.code == "internal"
    [line] = [record for record in caplog.records if record.getMessage() == "command failed"]
    assert line.connection and line.reference in refused.value.error["message"]
    assert (await door.send(room, "after"))["seq"] == 3
    await door.wait(lambda d: [m["text"] for m in d.messages()] == ["before", "told wrongly", "after"])


@pytest.mark.parametrize("door", ["native", "socketio"])
async def test_a_reply_that_cannot_be_written_is_an_internal_error_too(pods, monkeypatch, caplog, door):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room(when="off")
    door = await getattr(ann, door)()
    await door.join(room)
    await door.send(room, "before")
    told, unwritten = protocol.Sent, object()
    with monkeypatch.context() as patch:
        patch.setattr(protocol, "Sent", lambda *given: told(unwritten, *given[1:]))
        patch.setattr("handlers.dispatch.utc", lambda seconds: unwritten)
        for command, data in (("send", {"roomId": room, "text": "told wrongly", "clientId": "c"}), ("ping", {})):
            with pytest.raises(Refused) as refused:
                await door.ask(command, data)
            assert refused.value.code == "internal"
    assert [record.command for record in caplog.records if record.getMessage() == "command failed"] == ["send", "ping"]
    again = await door.ask("send", {"roomId": room, "text": "told wrongly", "clientId": "c"})
    assert (again["duplicate"], again["seq"]) == (True, 2)


@pytest.mark.parametrize("kind", ["native", "socketio", "polling"])
async def test_half_an_emoji_is_no_text_and_the_connection_stays(pods, kind):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room()
    door = await ann.door(kind)
    await door.join(room)
    with pytest.raises(Refused) as refused:
        await door.ask("send", {"roomId": room, "text": "x\ud83dy", "clientId": "c"})
    assert refused.value.code == "message.invalid"
    assert (await door.send(room, "뒤", clientId="c"))["seq"] == 1
    body = b'{"text": "x\\ud83dy"}'
    headers = {"Authorization": f"Bearer {ann.token}", "Content-Type": "application/json"}
    async with pod.http.post(f"{pod.url}/rooms/{room}/messages", data=body, headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (422, "message.invalid")
    async with pod.http.post(f"{pod.url}/rooms", data=b'{"name": "\\udc00"}', headers=headers) as answer:
        assert (answer.status, (await answer.json())["field"]) == (422, "name")


async def test_the_newest_fifty_come_whole_with_the_last_message_in_the_room(pods):
    pod = await pods.start(sends_per_10s=0)
    ann = await pod.person()
    room = await ann.room()
    door = await ann.native()
    for _n in range(51):
        last = await door.send(room, "가" * 20_000)
    joined = await door.join(room)
    assert [message["seq"] for message in joined["messages"]] == list(range(2, 52))
    assert joined["room"]["lastMessage"]["id"] == last["messageId"]
    again = await door.ask("join", {"roomId": room, "after": joined["head"]})
    assert again["messages"] == [] and again["room"]["lastMessage"]["seq"] == 51


async def test_a_read_mark_reaches_ones_devices_that_have_not_joined_the_room(pods):
    pod = await pods.start()
    ann, bob = await pod.person(), await pod.person()
    room = await ann.room(bob)
    here, there, other = await ann.native(), await ann.socketio(), await bob.native()
    await here.join(room)
    sent = await here.send(room, "하나")
    await here.ask("read", {"roomId": room, "seq": sent["seq"]})
    await there.event("read", roomId=room, userId=ann.id, seq=sent["seq"])
    await here.event("read", roomId=room, userId=ann.id)
    await other.ask("ping", {})
    assert other.named("read") == []


async def test_a_flood_of_refused_sends_fills_the_queue_like_any_other(pods):
    pod = await pods.start()
    ann = await pod.person()
    door = await ann.native()
    await door.ask("ping", {})
    (connection,) = pod.services.sockets._all
    refused = Request(None, "send", Send(room_id="nowhere", text="x"))
    taken = 1
    while connection.submit(refused):
        taken += 1
        assert taken <= QUEUE_MOST
    await asyncio.wait_for(connection.ready(), 5)
    assert connection.has_room
