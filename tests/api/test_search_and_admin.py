"""Search finds what one may read, at once and never more; administrators see figures and what they did."""

import pytest


async def test_a_message_is_found_as_soon_as_its_send_is_acknowledged_and_by_nobody_else(pods):
    pod = await pods.start(sends_per_10s=0)
    ann, bob, eve = [await pod.person(n) for n in ("Ann", "Bob", "Eve")]
    room, other = await ann.room(bob), await ann.room()
    for text in ("내일 회의는 3시예요", "HTTP_PROXY=foo.bar()", "100% sure_thing", "Meeting at three"):
        await ann.post(f"/rooms/{room}/messages", {"text": text})
    await ann.post(f"/rooms/{other}/messages", {"text": "회의록은 비밀"})

    async def find(who, query):
        return [hit["message"]["text"] for hit in (await who.get(f"/search?{query}"))["items"]]

    assert await find(ann, "q=%ED%9A%8C%EC%9D%98") == ["회의록은 비밀", "내일 회의는 3시예요"]
    assert await find(bob, "q=%ED%9A%8C%EC%9D%98") == ["내일 회의는 3시예요"]
    assert await find(eve, "q=%ED%9A%8C%EC%9D%98") == []
    assert await find(ann, "q=http_proxy") == ["HTTP_PROXY=foo.bar()"]
    assert await find(ann, "q=100%25") == ["100% sure_thing"]
    assert await find(ann, "q=a_r") == []  # wildcards mean themselves
    assert await find(ann, "q=three+meeting") == ["Meeting at three"]
    assert await find(ann, "q=%22three+meeting%22") == []
    assert await find(ann, f"q=meeting&userId={bob.id}") == []
    assert await find(ann, f"q=%ED%9A%8C%EC%9D%98&roomId={room}") == ["내일 회의는 3시예요"]
    assert await find(ann, "q=meeting&since=2999-01-01T00:00:00Z") == []
    for query, status, code in (
        ("", 400, "request.invalid"),
        ("q=x&since=yesterday", 400, "request.invalid"),
        ("q=x&userId=zzz", 400, "request.invalid"),
        ("q=x&mode=magic", 400, "request.invalid"),
        (f"q=x&roomId={other}", 404, "room.not_found"),
    ):
        got, problem = await bob.call("GET", f"/search?{query}")
        assert (got, problem["code"]) == (status, code), query
    await ann.call("DELETE", f"/rooms/{room}/members/{bob.id}")
    assert await find(bob, "q=%ED%9A%8C%EC%9D%98") == []


async def test_edits_and_deletions_show_at_once_and_ranges_count_code_points(pods):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room()
    said = await ann.post(f"/rooms/{room}/messages", {"text": "😀 Apple, apple pie"})
    (hit,) = (await ann.get("/search?q=APPLE+pie"))["items"]
    assert hit["ranges"] == [[2, 7], [9, 14], [15, 18]] and 0 < hit["score"] <= 1
    assert hit["message"]["id"] == said["messageId"]
    await ann.patch(f"/messages/{said['messageId']}", {"text": "Birne"})
    assert (await ann.get("/search?q=apple"))["items"] == []
    assert len((await ann.get("/search?q=birne"))["items"]) == 1
    await ann.call("DELETE", f"/messages/{said['messageId']}")
    assert (await ann.get("/search?q=birne"))["items"] == []


async def test_hits_come_in_pages(pods):
    pod = await pods.start(sends_per_10s=0)
    ann = await pod.person()
    room = await ann.room()
    for i in range(7):
        await ann.post(f"/rooms/{room}/messages", {"text": f"needle {i}"})
    found, cursor = [], ""
    while cursor is not None:
        page = await ann.get(f"/search?q=needle&limit=3&cursor={cursor}")
        found += [hit["message"]["text"] for hit in page["items"]]
        cursor = page["next"]
    assert found == [f"needle {i}" for i in reversed(range(7))]


@pytest.mark.parametrize(
    "path", ["users", "rooms", "stats", "usage", "errors", "audit", "settings", "budgets", "embedding"]
)
async def test_only_administrators_see_administration(pods, path):
    pod = await pods.start()
    admin, ann = await pod.person(), await pod.person()
    status, problem = await ann.call("GET", f"/admin/{path}")
    assert (status, problem["code"]) == (403, "auth.forbidden")
    assert (await pod.call("GET", f"/admin/{path}"))[0] == 401
    assert set(await admin.get(f"/admin/{path}")) == {"items", "next"}


async def test_figures_add_up_by_user_room_model_and_day(pods, model):
    pod = await pods.start(**model.openai)
    admin, ann = await pod.person("Admin"), await pod.person("Ann")
    room = await ann.room(when="always", name="A")
    quiet = await admin.room(name="B")
    door = await ann.native()
    await door.join(room)
    for text in ("1", "2"):
        await door.answer_to((await door.send(room, text))["messageId"])
    await admin.post(f"/rooms/{quiet}/messages", {"text": "x"})

    async def lines(by):
        return {
            line["key"]: (line["name"], line["messages"], line["answers"], line["inputTokens"], line["outputTokens"])
            for line in (await admin.get(f"/admin/stats?by={by}"))["items"]
        }

    # answers count for whom they were made for
    assert await lines("user") == {ann.id: ("Ann", 2, 2, 22, 10), admin.id: ("Admin", 1, 0, 0, 0)}
    assert await lines("room") == {room: ("A", 2, 2, 22, 10), quiet: ("B", 1, 0, 0, 0)}
    assert await lines("model") == {"openai:m1": ("m1", 0, 2, 22, 10)}
    (day,) = (await lines("day")).values()
    assert day[1:] == (3, 2, 22, 10)
    for odd in ("until=2000-01-01T00:00:00Z", "until=0001-01-01T00:00:00Z", "since=5475-09-24T11:40:22%2B22:43"):
        assert (await admin.get(f"/admin/stats?by=day&{odd}"))["items"] == []
    rooms = (await admin.get("/admin/rooms?limit=1"))["items"]
    assert [(r["id"], r["memberCount"], r["messageCount"]) for r in rooms] == [(room, 1, 4)]


async def test_what_an_administrator_does_is_kept(pods):
    pod = await pods.start()
    admin, ann = await pod.person(), await pod.person()
    await admin.patch(f"/admin/users/{ann.id}", {"disabled": True, "role": "admin"})
    assert (await admin.call("DELETE", f"/admin/users/{ann.id}"))[0] == 204
    entries = (await admin.get("/admin/audit"))["items"]
    assert [(e["action"], e["target"], e["userId"]) for e in entries] == [
        ("delete", f"user {ann.id}", admin.id),
        ("disable", f"user {ann.id}", admin.id),
        ("role admin", f"user {ann.id}", admin.id),
    ]
    status, problem = await admin.call("PATCH", f"/admin/users/{admin.id}", {"disabled": True})
    assert (status, problem["code"]) == (409, "auth.forbidden")
