"""Two pods over a real Redis: one conversation, also while Redis is killed, stopped or comes back."""

import asyncio
import time

import aiohttp
import pytest

from tests.contracts.redis_servers import Redis
from tests.pods import Refused
from tests.scripted_model import Script


@pytest.fixture
def redis():
    made = Redis().start()
    yield made
    made.close()


async def two(pods, redis, **settings):
    a = await pods.start(redis_url=redis.url, **settings)
    b = await pods.start(redis_url=redis.url, **settings)
    for pod in (a, b):
        async with asyncio.timeout(10):
            while not pod.services.bus.healthy:
                await asyncio.sleep(0.01)
    return a, b


async def away(*pods):
    """Returns once they know that Redis is out of reach."""
    async with asyncio.timeout(10):
        while any(pod.services.bus.reachable for pod in pods):
            await asyncio.sleep(0.02)


async def meet(a, b, when="off"):
    ann = await a.person("Ann")
    bob = await a.person("Bob")
    room = await ann.room(bob, when=when)
    here, there = await ann.native(a), await bob.native(b)
    await here.join(room)
    await there.join(room)
    return ann, bob, room, here, there


async def test_what_is_said_on_one_pod_is_heard_on_the_other_at_once(pods, redis):
    a, b = await two(pods, redis)
    ann, bob, room, here, there = await meet(a, b)
    sent = await here.send(room, "안녕")
    assert (await there.event("message", 1, id=sent["messageId"]))["text"] == "안녕"
    back = await there.send(room, "응")
    await here.event("message", 1, id=back["messageId"])
    await here.ask("typing", {"roomId": room, "on": True})
    await there.event("typing", 1, userId=ann.id, on=True)
    await there.ask("read", {"roomId": room, "seq": 2})
    await here.event("read", 1, userId=bob.id, seq=2)


async def test_an_answer_streams_on_every_pod_and_is_stopped_from_any(pods, redis, model):
    gate = asyncio.Event()
    model.scripts = [Script(("text", "하나 "), ("text", "둘 "), ("wait", gate), ("text", "셋 "), ("hang",))]
    a, b = await two(pods, redis, **model.openai)
    ann, bob, room, here, there = await meet(a, b, when="always")
    await here.send(room, "?")
    for door in (here, there):
        await door.wait(lambda d: "".join(p["token"] for p in d.named("stream")) == "하나 둘 ")
    late = [await ann.native(pod) for pod in (a, b)]
    for door in late:
        (running,) = (await door.join(room))["streams"]
        assert running["text"] == "하나 둘 "
        door.start = running
    gate.set()
    for door in late:
        await door.wait(lambda d: d.named("stream"))
        assert door.named("stream")[0]["n"] == door.start["next"] and door.named("stream")[0]["token"] == "셋 "
    await late[1].ask("stop", {"messageId": running["messageId"]})
    for door in (here, there, *late):
        final = await door.final(running["messageId"], 1.5)
        assert (final["status"], final["text"], final["stoppedBy"]) == ("stopped", "하나 둘 셋 ", ann.id)


async def test_a_read_mark_reaches_ones_devices_on_other_pods_that_have_not_joined(pods, redis):
    a, b = await two(pods, redis)
    ann, bob, room, here, there = await meet(a, b)
    second = await ann.native(b)
    async with asyncio.timeout(10):  # each pod looks at the other every two seconds
        while not a.services.presences._elsewhere.online(ann.id):
            await asyncio.sleep(0.05)
    sent = await here.send(room, "하나")
    await here.ask("read", {"roomId": room, "seq": sent["seq"]})
    await second.event("read", 2, roomId=room, userId=ann.id, seq=sent["seq"])


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_with_redis_gone_chat_goes_on_from_rows_and_nothing_is_missing_when_it_is_back(pods, redis, how):
    a, b = await two(pods, redis, sends_per_10s=0)
    ann, bob, room, here, there = await meet(a, b)
    await here.send(room, "0")
    await there.event("message", 1, text="0")
    getattr(redis, how)()
    async with asyncio.timeout(10):
        while a.services.bus.reachable or b.services.bus.reachable:
            began = time.monotonic()
            await here.send(room, "while it goes")
            assert time.monotonic() - began < 1.5  # a reply of Redis is waited for for two seconds
    waits = []
    for i in range(10):
        began = time.monotonic()
        await here.send(room, f"down {i}")
        waits.append(time.monotonic() - began)
        await there.event("message", 1.5, text=f"down {i}")
    assert sorted(waits)[5] < 0.3 and max(waits) < 1.5
    status, ready = await b.call("GET", "/readyz")
    assert (status, ready["degraded"]) == (200, ["redis"])
    if how == "kill":
        redis.start()
    else:
        redis.resume()
    for pod in (a, b):
        async with asyncio.timeout(15):
            while not pod.services.bus.healthy:
                await asyncio.sleep(0.02)
    sent = await here.send(room, "back")
    await there.event("message", 1, id=sent["messageId"])
    assert (await b.call("GET", "/readyz"))[1]["degraded"] == []
    numbers = [m["changedSeq"] for m in there.messages()]
    assert numbers == list(range(1, sent["changedSeq"] + 1))


async def test_streams_go_on_from_rows_while_redis_is_down(pods, redis, model):
    gate = asyncio.Event()
    model.scripts = [
        Script(("text", "하나 "), ("wait", gate), ("text", "둘 "), ("pause", 2.5), ("text", "셋"), ("usage", 1, 1))
    ]
    a, b = await two(pods, redis, **model.openai)
    ann, bob, room, here, there = await meet(a, b, when="always")
    sent = await here.send(room, "?")
    for door in (here, there):
        await door.event("stream", 3)
    redis.kill()
    gate.set()
    for door in (here, there):
        await door.wait(lambda d: "".join(p["token"] for p in d.named("stream")) == "하나 둘 ", 4)
    for door in (here, there):
        answer = await door.answer_to(sent["messageId"])
        assert answer["text"] == "하나 둘 셋"
        pieces = door.named("stream")
        assert [p["n"] for p in pieces] == [0, *(p["next"] for p in pieces[:-1])]


@pytest.mark.parametrize("down", [False, True])
async def test_revocation_holds_on_every_pod(pods, redis, down):
    a, b = await two(pods, redis)
    ann, bob, room, here, there = await meet(a, b)
    limit = 2.0 if down else 1.0
    sio = await bob.socketio(b)
    await sio.join(room)
    if down:
        redis.kill()
        await away(a, b)
    assert (await ann.call("DELETE", f"/rooms/{room}/members/{bob.id}"))[0] == 204
    for door in (there, sio):
        await door.event("removed", limit, roomId=room)
    await here.send(room, "비밀")
    await asyncio.sleep(0.5)
    assert there.messages() == [] and sio.messages() == []
    await bob.call("POST", "/auth/logout")
    assert (await there.end(limit))[0] == 4500
    assert (await sio.end(limit))[0] == 4500
    assert (await bob.call("GET", "/users/me", pod=b))[0] == 401


@pytest.mark.parametrize("down", [False, True], ids=["redis up", "redis down"])
@pytest.mark.parametrize("what", ["disabled", "reader", "deleted"])
async def test_whatever_takes_rights_away_holds_on_both_doors_of_another_pod_while_events_flow(pods, redis, what, down):
    a, b = await two(pods, redis, sends_per_10s=0)
    ann, bob, room, here, there = await meet(a, b)
    sio = await bob.socketio(b)
    await sio.join(room)
    if down:
        redis.kill()
        await away(a, b)
    limit = 2.0 if down else 1.0
    over = asyncio.Event()

    async def chatter():
        said = []
        while not over.is_set():
            said.append((time.monotonic(), (await here.send(room, "chatter"))["messageId"]))
            await asyncio.sleep(0.02)
        return said

    flow = asyncio.create_task(chatter())
    await asyncio.sleep(0.2)
    if what == "disabled":
        assert (await ann.call("PATCH", f"/admin/users/{bob.id}", {"disabled": True}))[0] == 200
        for door in (there, sio):
            assert (await door.end(limit))[0] == 4503
    elif what == "reader":
        assert (await ann.call("PATCH", f"/rooms/{room}/members/{bob.id}", {"role": "reader"}))[0] == 200
        for door in (there, sio):
            with pytest.raises(Refused, match=r"room\.read_only"):
                await door.send(room, "x")
            await door.event("room", limit, id=room, role="reader")
    else:
        over.set()
        await flow
        assert (await ann.call("DELETE", f"/rooms/{room}"))[0] == 204
        for door in (there, sio):
            assert (await door.event("removed", limit, roomId=room))["reason"] == "deleted"
    done = time.monotonic()
    await asyncio.sleep(0.3)
    over.set()
    said = await flow
    if what in ("disabled", "deleted"):
        late = {message_id for at, message_id in said if at > done}
        for door in (there, sio):
            assert not late & {m["id"] for m in door.messages()}


async def test_a_changed_password_ends_the_other_devices_on_every_pod(pods, redis):
    a, b = await two(pods, redis)
    bob = await a.person("Bob")
    status, other = await b.call("POST", "/auth/login", {"email": bob.email, "password": bob.password})
    assert status == 200
    mine, native, sio = await bob.native(b), await b.native(other["token"]), await b.socketio(other["token"])
    await bob.post("/auth/password", {"oldPassword": bob.password, "newPassword": "another horse"})
    for door in (native, sio):
        assert (await door.end(1.0))[0] == 4500
    assert mine.closed is None


async def test_an_answer_is_made_again_and_a_message_edited_from_another_pod(pods, redis, model):
    a, b = await two(pods, redis, **model.openai)
    ann, bob, room, here, there = await meet(a, b, when="always")
    sent = await here.send(room, "?")
    first = await there.answer_to(sent["messageId"])
    await there.ask("regenerate", {"messageId": first["id"]})
    for door in (here, there):
        await door.event("message", 5, id=first["id"], status="complete", attempt=2)
    mine = await ann.native(b)
    await mine.ask("edit", {"messageId": sent["messageId"], "text": "!"})
    for door in (here, there):
        await door.event("message", 1, id=sent["messageId"], text="!")


async def test_limits_count_over_all_pods_and_each_for_itself_while_redis_is_away(pods, redis):
    a, b = await two(pods, redis, sends_per_10s=6, max_connections_per_user=4, login_failures_per_15min=4)
    ann, bob, room, here, there = await meet(a, b)
    mine = await ann.native(b)
    for i in range(6):
        await (here if i % 2 else mine).send(room, str(i))
    for door in (here, mine):
        with pytest.raises(Refused, match=r"rate\.limited") as refused:
            await door.send(room, "x")
    assert 0 < refused.value.error["retryAfterMs"] <= 10_001
    for i in range(5):
        pod = (a, b)[i % 2]
        status, _ = await pod.call("POST", "/auth/login", {"email": bob.email, "password": "wrong wrong"})
        assert status == (401 if i < 4 else 429)
    async with asyncio.timeout(8):  # the mirror is read every other second
        while not (a.services.presences._elsewhere.online(ann.id) and b.services.presences._elsewhere.online(ann.id)):
            await asyncio.sleep(0.05)
    await ann.native(a)
    await ann.native(b)
    for pod in (a, b):
        with pytest.raises(aiohttp.WSServerHandshakeError) as full:
            await ann.native(pod)
        assert full.value.status == 429
    redis.kill()
    await away(a)
    with pytest.raises(Refused, match=r"rate\.limited"):
        for i in range(7):  # this pod goes on from what it has counted itself
            await here.send(room, str(i))


async def test_presence_is_of_all_pods_and_ends_with_a_dead_one(pods, redis, monkeypatch):
    monkeypatch.setattr("services.realtime.presence.OFFLINE_AFTER_S", 0.2)
    monkeypatch.setattr("services.realtime.elsewhere.LIFE_S", 3)
    a, b = await two(pods, redis)
    ann, bob, room, here, there = await meet(a, b)
    async with asyncio.timeout(8):
        while True:
            status, members = await ann.call("GET", f"/rooms/{room}/members", pod=a)
            if [m["online"] for m in members["items"]] == [True, True]:
                break
            await asyncio.sleep(0.1)
    second = await bob.native(a)
    await second.close()
    await asyncio.sleep(1)
    assert not [p for p in here.named("presence") if p["userId"] == bob.id and not p["online"]]  # he is still on b
    # b dies: nothing of it says that its people are gone.
    for task in list(b.services.tasks._tasks):
        task.cancel()
    await here.event("presence", 20, userId=bob.id, online=False)


async def test_activity_tells_of_rooms_that_moved_on_another_pod(pods, redis):
    a, b = await two(pods, redis)
    ann, bob, room, here, there = await meet(a, b)
    other = await ann.room(bob)
    idle = await bob.native(b)
    await idle.ask("ping", {})
    await here.send(other, "hey @BOB, look")
    hint = await idle.event("activity", 3)
    assert hint["rooms"] == [{"roomId": other, "lastSeq": 1, "mentioned": True}]
    assert here.named("activity") == [] or here.named("activity")[0]["rooms"][0]["mentioned"] is False


async def present(a, b, room, people):
    """Each pod has heard from the other who is in the room: they look every two seconds."""
    async with asyncio.timeout(15):
        for pod in (a, b):
            presences = pod.services.presences
            while True:
                here = presences._registry.users_in(room)
                if len(here) + presences._elsewhere.present(room, here) == people:
                    break
                await asyncio.sleep(0.05)


async def test_a_crowd_is_one_over_all_pods_and_is_told_nothing_of_hints(pods, redis, monkeypatch):
    monkeypatch.setattr("services.realtime.presence.CROWD", 4)
    monkeypatch.setattr("services.realtime.elsewhere.MANY", 1)
    a, b = await two(pods, redis)
    ann, bob, room, here, there = await meet(a, b)
    dan, eve, fay = [await b.person() for _ in range(3)]
    for person in (dan, eve, fay):
        await ann.post(f"/rooms/{room}/members", {"userId": person.id})
    for person in (dan, eve):
        await (await person.native(b)).join(room)
    await (await bob.native(a)).join(room)  # he is on both pods, and one person
    await present(a, b, room, 4)
    await here.ask("typing", {"roomId": room, "on": True})
    await there.event("typing", 2, userId=ann.id, on=True)
    await here.ask("typing", {"roomId": room, "on": False})
    await there.event("typing", 4, userId=ann.id, on=False)
    await (await fay.native(b)).join(room)  # the fifth
    await present(a, b, room, 5)
    async with asyncio.timeout(10):  # else it is his last hint that holds this one back
        while a.services.presences._pace._last:
            await asyncio.sleep(0.05)
    before = len(there.named("typing"))
    await here.ask("typing", {"roomId": room, "on": True})
    sent = await here.send(room, "still heard")
    await there.event("message", 2, id=sent["messageId"])
    await asyncio.sleep(0.3)
    assert len(there.named("typing")) == before
