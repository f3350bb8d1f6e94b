"""The Socket.IO door with raw sockets: clients that go in the middle of something."""

import asyncio
import json

from tests.handlers.test_native_door import Raw

PATH = "/socket.io/?EIO=4&transport=websocket"


async def test_who_goes_while_he_is_asked_for_leaves_no_error_and_holds_no_place(pods, caplog) -> None:
    pod = await pods.start(max_connections_per_user=1)
    mina = await pod.person()
    connect = "40" + json.dumps({"token": mina.token})
    send = "42" + json.dumps(["send", {"roomId": "00000000-0000-4000-8000-000000000000", "text": "안녕"}])
    for _ in range(3):
        raw = await Raw.open(pod, {}, PATH)
        await raw.read()  # Engine.IO's open packet
        raw.frame(connect.encode())
        raw.frame(send.encode())
        raw.frame(b"\x03\xe8", opcode=8)
        assert await raw.close_code() == 1000
    async with asyncio.timeout(5):
        door = await pod.socketio(mina.token)
    await door.ask("ping", {})
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_who_leaves_the_namespace_and_joins_anew_has_one_connection(pods) -> None:
    pod = await pods.start(max_connections_per_user=2)
    mina = await pod.person()
    room = await mina.room()
    connect = ("40" + json.dumps({"token": mina.token})).encode()
    raw = await Raw.open(pod, {}, PATH)

    async def until(mark: bytes) -> bytes:
        while True:
            _, payload = await asyncio.wait_for(raw.read(), 10)
            if payload.startswith(mark):
                return payload

    for turn in range(4):
        raw.frame(connect)
        await until(b"40{")
        raw.frame(("421" + json.dumps(["join", {"roomId": room}])).encode())
        assert json.loads((await until(b"431"))[3:])[0]["ok"]
        assert len(pod.services.sockets._all) == 1, turn
        raw.frame(b"41")
    raw.frame(connect)
    await until(b"40{")
    assert len(pod.services.sockets._all) == 1
    door = await mina.native()
    await door.join(room)
    await door.send(room, "안녕")
    raw.frame(b"422" + json.dumps(["ping", {}]).encode())
    seen = []
    while not seen or not seen[-1].startswith(b"432"):
        seen.append((await asyncio.wait_for(raw.read(), 10))[1])
    assert not [one for one in seen if one.startswith(b'42["message"')]  # it has not joined the room again
