"""Administration: what is looked at, done and followed, and that all of it can be seen by the other administrators."""

import asyncio
import json

import aiohttp
import pytest


class Followed:
    """A stream of server-sent events, read as they come."""

    def __init__(self, answer):
        self._answer = answer
        self.events = []
        self.ended = False
        self._task = asyncio.create_task(self._read())

    async def _read(self):
        name = ""
        try:
            async for line in self._answer.content:
                text = line.decode().rstrip("\n")
                if text.startswith("event: "):
                    name = text[7:]
                elif text.startswith("data: "):
                    self.events.append((name, json.loads(text[6:])))
        except aiohttp.ClientError:
            pass
        self.ended = True

    async def wait(self, what):
        async with asyncio.timeout(8):
            while not (found := next((data for name, data in self.events if name == "message" and what(data)), None)):
                await asyncio.sleep(0.05)
        return found

    async def close(self):
        self._task.cancel()
        self._answer.close()


async def follow(pod, who, query=""):
    answer = await pod.http.get(
        f"{pod.url}/admin/live{query}",
        headers={"Authorization": f"Bearer {who.token}"},
        timeout=aiohttp.ClientTimeout(total=None),
    )
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/event-stream")
    followed = Followed(answer)
    pod.at_close(followed.close)
    return followed


async def test_all_that_is_said_can_be_followed_and_reading_it_is_in_the_log(pods, model):
    pod = await pods.start(**model.openai, sends_per_10s=0)
    far = await pods.start(**model.openai, sends_per_10s=0)
    admin, ann = await pod.person("Admin"), await pod.person("Ann")
    room = await ann.room(when="always", name="비밀 방")
    await ann.post(f"/rooms/{room}/messages", {"text": "전에"})
    seen = await follow(pod, admin)
    assert (await seen.wait(lambda m: m["chars"] == 2))["roomName"] == "비밀 방"
    assert (await admin.get("/admin/audit"))["items"] == []
    reads = await follow(pod, admin, "?text=true")
    door = await ann.native(pod=far)
    await door.join(room)
    sent = await door.send(room, "아무도 모르게")
    answer = await door.answer_to(sent["messageId"])
    blind = await seen.wait(lambda m: m["id"] == answer["id"] and m["status"] == "complete")
    assert "text" not in blind and blind["usage"] == {"inputTokens": 11, "outputTokens": 5} and blind["model"] == "m1"
    assert all("text" not in data for name, data in seen.events if name == "message")
    assert (await reads.wait(lambda m: m["id"] == sent["messageId"]))["text"] == "아무도 모르게"
    assert (await reads.wait(lambda m: m["id"] == answer["id"] and m["status"] == "complete"))["text"] == answer["text"]
    await ann.patch(f"/messages/{sent['messageId']}", {"text": "고친 말"})
    await reads.wait(lambda m: m.get("text") == "고친 말")
    entries = (await admin.get("/admin/audit"))["items"]
    assert [(e["action"], e["target"], e["userName"]) for e in entries] == [("read live", "all rooms", "Admin")]
    assert reads.events[0] == ("open", {"text": True})


async def test_one_room_can_be_followed_alone(pods):
    pod = await pods.start(sends_per_10s=0)
    admin, ann = await pod.person("Admin"), await pod.person("Ann")
    one, two = await ann.room(), await ann.room()
    seen = await follow(pod, admin, f"?roomId={one}&text=true")
    assert (await admin.get("/admin/audit"))["items"][0]["target"] == f"room {one}"
    await ann.post(f"/rooms/{two}/messages", {"text": "anders"})
    await ann.post(f"/rooms/{one}/messages", {"text": "hier"})
    await seen.wait(lambda m: m["text"] == "hier")
    assert [data["text"] for name, data in seen.events if name == "message"] == ["hier"]
    status, problem = await admin.call("GET", f"/admin/live?roomId={ann.id}&text=true")
    assert (status, problem["code"]) == (404, "room.not_found")
    assert len((await admin.get("/admin/audit"))["items"]) == 1  # what was not opened is not in the log


async def test_who_follows_misses_nothing_also_when_more_comes_than_is_told_at_once(pods, monkeypatch):
    monkeypatch.setattr("services.administration.FOLLOW_AT_ONCE", 4)
    pod = await pods.start(sends_per_10s=0)
    admin, ann = await pod.person("Admin"), await pod.person("Ann")
    rooms = [await ann.room() for _ in range(3)]
    seen = await follow(pod, admin)
    said = await asyncio.gather(
        *(ann.post(f"/rooms/{room}/messages", {"text": str(i)}) for i in range(9) for room in rooms)
    )
    await asyncio.gather(*(seen.wait(lambda m, one=one: m["id"] == one["messageId"]) for one in said))
    told = [data["id"] for name, data in seen.events if name == "message"]
    assert sorted(told) == sorted(one["messageId"] for one in said)


async def test_who_loses_the_right_hears_no_more(pods, monkeypatch):
    monkeypatch.setattr("handlers.api.admin.RIGHTS_S", 0.2)
    pod = await pods.start(sends_per_10s=0)
    admin, ann = await pod.person("Admin"), await pod.person("Ann")
    await admin.patch(f"/admin/users/{ann.id}", {"role": "admin"})
    seen = await follow(pod, ann)
    await admin.patch(f"/admin/users/{ann.id}", {"role": "user"})
    async with asyncio.timeout(5):
        while not seen.ended:
            await asyncio.sleep(0.05)
    assert (await ann.call("GET", "/admin/live"))[0] == 403


async def test_followers_are_bounded_and_let_go_of_their_place(pods, monkeypatch):
    monkeypatch.setattr("services.administration.FOLLOWERS_MOST", 1)
    pod = await pods.start()
    admin = await pod.person("Admin")
    first = await follow(pod, admin)
    status, problem = await admin.call("GET", "/admin/live")
    assert (status, problem["code"]) == (429, "limit.connections")
    await first.close()
    async with asyncio.timeout(20):
        while True:
            answer = await pod.http.get(f"{pod.url}/admin/live", headers={"Authorization": f"Bearer {admin.token}"})
            answer.close()
            if answer.status == 200:
                break
            await asyncio.sleep(0.2)
            await admin.post("/rooms", {})


async def test_a_drain_ends_the_streams(pods):
    pod = await pods.start()
    admin = await pod.person("Admin")
    seen = await follow(pod, admin)
    pod.services.draining = True
    async with asyncio.timeout(5):
        while not seen.ended:
            await asyncio.sleep(0.05)


async def test_settings_in_force_show_no_secret(pods, model):
    pod = await pods.start(**model.openai, redis_url=None)
    admin = await pod.person("Admin")
    text = json.dumps(await admin.get("/admin/settings"))
    assert "sk-secret-of-a-test" not in text and pods.database_url not in text
    found = {line["name"]: line for line in json.loads(text)["items"]}
    assert found["OPENAI_API_KEY"]["value"] == "set" and found["OPENAI_API_KEY"]["isSecret"]
    assert found["ANTHROPIC_API_KEY"]["value"] == ""
    assert found["OPENAI_MODEL"] == {
        "name": "OPENAI_MODEL", "value": "m1", "isDefault": False, "isSecret": False,
        "description": "Default model there.",
    }  # fmt: skip
    assert found["RETRIEVAL"]["value"] == "true" and found["RETRIEVAL"]["isDefault"]


async def test_sessions_of_somebody_are_seen_and_ended(pods):
    pod = await pods.start()
    admin, ann = await pod.person("Admin"), await pod.person("Ann")
    door = await ann.native()
    login = {"email": ann.email, "password": "correct horse battery"}
    await pod.call("POST", "/auth/login", login, headers={"User-Agent": "phone"})
    found = (await admin.get(f"/admin/users/{ann.id}/sessions"))["items"]
    assert found[0]["userAgent"] == "phone" and len(found) == 2
    assert not any(one["current"] for one in found)
    path = f"/admin/users/{ann.id}/sessions"
    assert (await admin.call("DELETE", f"{path}/{found[0]['id']}"))[0] == 204
    assert (await admin.call("DELETE", f"{path}/{found[0]['id']}"))[0] == 404
    assert door.closed is None
    assert (await admin.call("DELETE", path))[0] == 204
    assert (await door.end(2))[0] == 4500
    assert (await ann.call("GET", "/users/me"))[0] == 401
    assert (await admin.get(path))["items"] == []
    assert [e["action"] for e in (await admin.get("/admin/audit"))["items"]] == ["end sessions", "end session"]
    nobody = (await ann.pod.person()).id[:-4] + "0000"
    assert (await admin.call("GET", f"/admin/users/{nobody}/sessions"))[0] == 404


@pytest.mark.parametrize("sort", ["made", "messages", "members"])
async def test_rooms_are_found_and_sorted(pods, sort):
    pod = await pods.start(sends_per_10s=0)
    admin, ann = await pod.person("Admin"), await pod.person("Ann")
    a, b, c = [await admin.room(name=name) for name in ("가 방", "나_방", "다 방")]
    await admin.post(f"/rooms/{b}/messages", {"text": "x"})
    await admin.post(f"/rooms/{c}/members", {"userId": ann.id})
    order = {"made": [a, b, c], "messages": [b, a, c], "members": [c, a, b]}[sort]
    found, cursor = [], ""
    while cursor is not None:
        page = await admin.get(f"/admin/rooms?sort={sort}&limit=2&cursor={cursor}")
        found += [line["id"] for line in page["items"]]
        cursor = page["next"]
    assert found == order
    assert [line["id"] for line in (await admin.get("/admin/rooms?q=_"))["items"]] == [b]
    kept = await admin.patch(f"/admin/rooms/{a}", {"retentionDays": 7})
    assert kept["retentionDays"] == 7 and (await admin.get(f"/rooms/{a}"))["retentionDays"] == 7


async def test_the_overview_knows_who_is_here(pods):
    pod = await pods.start()
    admin, ann = await pod.person("Admin"), await pod.person("Ann")
    for who in (admin, ann, ann):
        await who.native()
    overview = await admin.get("/admin/overview?span=90d")
    assert overview["now"] == {"people": 2, "connections": 3, "pods": 1, "queued": 0, "streaming": 0}
    assert len(overview["buckets"]) == 90 and overview["timeZone"] == "UTC"
    assert (await admin.call("GET", "/admin/overview?span=1y"))[0] == 400
