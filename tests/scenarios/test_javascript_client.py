"""The newest JavaScript client of Socket.IO, through each transport, against a pod."""

import asyncio
import json
import shutil

import pytest

from tests.conftest import ROOT


class Script:
    def __init__(self, process):
        self.process = process
        self.seen = []

    async def until(self, what):
        async with asyncio.timeout(20):
            while True:
                line = await self.process.stdout.readline()
                assert line, (what, self.seen)
                self.seen.append(json.loads(line))
                if self.seen[-1][0] == what:
                    return self.seen[-1][1] if len(self.seen[-1]) > 1 else None

    def of(self, what):
        return [entry[1] for entry in self.seen if entry[0] == what]


async def start(pod, token, room, transports):
    node = shutil.which("node")
    assert node is not None, "node is needed; scripts/test installs it"
    process = await asyncio.create_subprocess_exec(
        node, str(ROOT / "tests" / "scenarios" / "socketio_client.mjs"), pod.url, token, room, transports, cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    pod.at_close(lambda: end(process))
    return Script(process)


async def end(process):
    if process.returncode is None:
        process.kill()
    await process.communicate()


@pytest.mark.parametrize("transports", ["websocket", "polling", "polling,websocket"])
async def test_the_story(pods, transports):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room(when="always")
    script = await start(pod, ann.token, room, transports)
    assert await script.until("connected") in transports.split(",")  # an upgrade may be quicker than the CONNECT
    joined = await script.until("joined")
    assert joined["ok"] is True and joined["data"]["room"]["id"] == room
    sent = await script.until("sent")
    assert sent["ok"] is True and sent["data"]["seq"] == 1
    assert (await script.until("refused"))["error"]["code"] == "message.invalid"
    assert (await script.until("unknown"))["error"]["code"] == "request.unknown_event"
    assert await script.until("pings") is True
    assert await script.until("transport") == transports.split(",")[-1]
    while not any(m["role"] == "bot" and m["status"] == "complete" for m in script.of("message")):
        await script.until("message")
    text = next(m["text"] for m in script.of("message") if m["status"] == "complete" and m["role"] == "bot")
    assert "".join(p["token"] for p in script.of("stream")) == text
    assert script.of("message")[0]["clientId"] == "js-1"


async def test_a_refusal_tells_why(pods):
    pod = await pods.start()
    script = await start(pod, "nonsense", "x", "websocket")
    assert await script.until("connect_error") == {"message": "unauthorized", "data": {"code": "auth.invalid"}}


async def test_it_comes_back_after_a_restart_and_stays_away_after_the_end_of_its_session(pods):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room()
    script = await start(pod, ann.token, room, "websocket")
    await script.until("transport")
    for client in pod.services.registry.clients(ann.id):
        client.end(1012, "restarting")
    assert await script.until("closing") == {"code": 1012, "reason": "restarting"}
    await script.until("reconnected")
    await script.until("transport")
    await ann.call("POST", "/auth/logout")
    assert (await script.until("closing"))["code"] == 4500
    assert await script.until("disconnected") == "io server disconnect"
    await asyncio.sleep(1.5)  # longer than its first tries to come back would take
    assert pod.services.registry.count(ann.id) == 0
