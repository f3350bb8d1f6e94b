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
