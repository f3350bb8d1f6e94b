"""Rooms, members and roles, invitations, history: what members may, and what nobody else gets to know."""

import asyncio
import json
import re
import threading
from urllib.parse import quote
from uuid import uuid4

import aiohttp
import psycopg2
import pytest

from models.database import DatabaseUnavailable
from services.errors import NotFound
from tests.pods import Refused

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_a_room_as_its_maker_sees_it(pods):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.post("/rooms", {"name": "출시"})
    assert TIME.fullmatch(room["createdAt"])
    assert room == await ann.get(f"/rooms/{room['id']}")
    assert {k: room[k] for k in ("name", "head", "lastSeq", "role", "readSeq", "memberCount")} == {
        "name": "출시", "head": 0, "lastSeq": 0, "role": "owner", "readSeq": 0, "memberCount": 1,
    }  # fmt: skip
    assert "lastMessage" not in room
    assert room["bot"] == {
        "name": "Maru", "when": "always", "provider": None, "model": None, "systemPrompt": "", "temperature": 1.0,
        "contextMessages": 20, "retrieval": True,
    }  # fmt: skip


async def test_rooms_are_listed_by_newest_activity_and_in_pages(pods):
    pod = await pods.start()
    ann = await pod.person()
    rooms = [await ann.room() for _ in range(5)]
    await ann.post(f"/rooms/{rooms[1]}/messages", {"text": "x"})
    found, cursor = [], ""
    while cursor is not None:
        page = await ann.get(f"/rooms?limit=2&cursor={cursor}")
        found += page["items"]
        cursor = page["next"]
    assert [r["id"] for r in found] == [rooms[1], rooms[4], rooms[3], rooms[2], rooms[0]]
    assert found[0]["lastMessage"]["text"] == "x"


async def test_a_patch_changes_what_it_names_and_null_takes_it_back(pods):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room()
    path = f"/rooms/{room}"
    changed = await ann.patch(path, {"name": "새 이름", "bot": {"systemPrompt": "짧게", "temperature": 0.5}})
    assert changed["name"] == "새 이름" and changed["bot"]["systemPrompt"] == "짧게" and changed["bot"]["when"] == "off"
    changed = await ann.patch(path, {"bot": {"temperature": None, "when": None}})
    assert changed["bot"]["temperature"] == 1.0 and changed["bot"]["when"] == "always"
    assert changed["bot"]["systemPrompt"] == "짧게"
    assert (await ann.patch(path, {"bot": None}))["bot"]["systemPrompt"] == ""
    for body, field in (
        ({"name": None}, "name"), ({"name": ""}, "name"), ({"name": "   "}, "name"), ({"name": "x" * 101}, "name"),
        ({"bot": {"when": "never"}}, "bot.when"), ({"bot": {"temperature": 2.1}}, "bot.temperature"),
        ({"bot": {"contextMessages": 201}}, "bot.contextMessages"), ({"bot": {"systemPrompt": "x" * 8001}}, "bot.systemPrompt"),
        ({"bot": {"model": ""}}, "bot.model"), ({"bot": []}, "bot"),
    ):  # fmt: skip
        status, problem = await ann.call("PATCH", path, body)
        assert (status, problem["code"], problem["field"]) == (422, "request.invalid", field), body
    assert (await ann.patch(path, {"name": "x" * 100}))["name"] == "x" * 100


async def test_a_whole_number_may_be_written_with_a_fraction(pods):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.post("/rooms", {"name": "x", "bot": {"contextMessages": 7.0, "temperature": 1}})
    assert room["bot"]["contextMessages"] == 7 and room["bot"]["temperature"] == 1
    invite = await ann.post(f"/rooms/{room['id']}/invites", {"maxUses": 2.0, "expiresInS": 3600.0})
    assert invite["maxUses"] == 2
    for body, field in (
        ({"maxUses": 2.5}, "maxUses"),
        ({"maxUses": 0.0}, "maxUses"),
        ({"maxUses": 2.0, "role": 7}, "role"),
    ):
        status, problem = await ann.call("POST", f"/rooms/{room['id']}/invites", body)
        assert (status, problem["code"], problem["field"]) == (422, "request.invalid", field)


async def test_a_patch_may_call_itself_a_merge_patch(pods):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room()
    merge = {"Content-Type": "application/merge-patch+json; charset=utf-8"}
    for path in (f"/rooms/{room}", "/users/me"):
        status, changed = await pod.call("PATCH", path, token=ann.token, headers=merge, data='{"name": "새 이름"}')
        assert (status, changed["name"]) == (200, "새 이름")
    status, problem = await pod.call("POST", "/rooms", token=ann.token, headers=merge, data="{}")
    assert (status, problem["code"]) == (415, "request.unsupported_media")
    _, openapi = await pod.call("GET", "/openapi.json")
    for method, takes in (
        ("patch", {"application/json", "application/merge-patch+json"}),
        ("post", {"application/json"}),
    ):
        bodies = [
            methods[method]["requestBody"]
            for methods in openapi["paths"].values()
            if "requestBody" in methods.get(method, {})
        ]
        assert bodies and all(set(body["content"]) == takes for body in bodies)


async def test_the_models_are_those_that_a_room_may_be_given_and_no_secret(pods, model):
    fallbacks = ("openai:m2", "anthropic:c1", "openai:m1", "demo:demo")
    for settings, wanted in (
        ({}, [("demo", "demo", True)]),
        (model.openai, [("openai", "m1", True)]),
        ({**model.openai, "default_provider": "demo"}, [("openai", "m1", None), ("demo", "demo", True)]),
        ({**model.openai, "fallback_models": ("openai:m2", "anthropic:c2")}, [("openai", "m1", True), ("openai", "m2", None)]),
        ({**model.openai, **model.anthropic, "default_provider": "anthropic", "fallback_models": fallbacks},
         [("openai", "m1", None), ("anthropic", "c1", True), ("demo", "demo", None), ("openai", "m2", None)]),
    ):  # fmt: skip
        pod = await pods.start(**settings)
        assert (await pod.call("GET", "/models"))[0] == 401
        ann = await pod.person()
        found = await ann.get("/models")
        one = ("provider", "model", "default")
        wanted = [{k: v for k, v in zip(one, row, strict=True) if v is not None} for row in wanted]
        assert found == {"items": wanted, "next": None}
    room = await ann.room(when="always")
    door = await ann.native()
    await door.join(room)
    for item in found["items"]:
        await ann.patch(f"/rooms/{room}", {"bot": {"provider": item["provider"], "model": item["model"]}})
        answer = await door.answer_to((await door.send(room, "?"))["messageId"])
        assert (answer["status"], answer["model"]) == ("complete", item["model"])


async def test_roles_and_what_they_may(pods):
    pod = await pods.start()
    owner, member, reader, stranger = [await pod.person(n) for n in ("Own", "Mem", "Read", "Str")]
    room = await owner.room(member)
    await owner.post(f"/rooms/{room}/members", {"userId": reader.id, "role": "reader"})
    said = await owner.post(f"/rooms/{room}/messages", {"text": "x"})
    message = f"/messages/{said['messageId']}"
    yes, no = (200, 201, 204), None
    table = [
        ("GET", f"/rooms/{room}", no, yes, yes, yes),
        ("GET", f"/rooms/{room}/messages", no, yes, yes, yes),
        ("GET", f"/rooms/{room}/changes", no, yes, yes, yes),
        ("GET", f"/rooms/{room}/members", no, yes, yes, yes),
        ("GET", f"/rooms/{room}/export", no, yes, yes, yes),
        ("GET", message, no, yes, yes, yes),
        ("GET", message + "/versions", no, yes, yes, yes),
        ("POST", f"/rooms/{room}/messages", {"text": "y"}, yes, yes, (403, "room.read_only")),
        ("PATCH", f"/rooms/{room}", {"name": "z"}, yes, (403, "room.forbidden"), (403, "room.forbidden")),
        ("GET", f"/rooms/{room}/invites", no, yes, yes, (403, "room.forbidden")),
        ("POST", f"/rooms/{room}/invites", {"role": "member"}, yes, yes, (403, "room.forbidden")),
        ("POST", f"/rooms/{room}/invites", {"role": "owner"}, yes, (403, "room.forbidden"), (403, "room.forbidden")),
        ("POST", f"/rooms/{room}/members", {"userId": owner.id}, (409, "room.already_member"),
         (409, "room.already_member"), (403, "room.forbidden")),
        ("PATCH", f"/rooms/{room}/members/{reader.id}", {"role": "reader"}, yes, (403, "room.forbidden"), (403, "room.forbidden")),
        ("DELETE", f"/rooms/{room}/members/{owner.id}", no, (409, "room.last_owner"), (403, "room.forbidden"), (403, "room.forbidden")),
        ("PATCH", message, {"text": "q"}, yes, (403, "message.not_yours"), (403, "message.not_yours")),
        ("DELETE", f"/rooms/{room}", no, "skip", (403, "room.forbidden"), (403, "room.forbidden")),
    ]  # fmt: skip
    for method, path, body, *expected in table:
        for who, wanted in zip((owner, member, reader), expected, strict=True):
            if wanted == "skip":
                continue
            status, answer = await who.call(method, path, body)
            if wanted is yes:
                assert status in yes, (who.name, method, path, status, answer)
            else:
                assert (status, answer["code"]) == wanted, (who.name, method, path)
        status, answer = await stranger.call(method, path, body)
        code = "message.not_found" if path.startswith("/messages") else "room.not_found"
        assert (status, answer["code"]) == (404, code), (method, path)
        unknown = path.replace(room, str(uuid4())).replace(said["messageId"], str(uuid4()))
        status, problem = await stranger.call(method, unknown, body)
        assert (status, problem["code"], problem["detail"]) == (404, code, answer["detail"])


async def test_an_administrator_has_no_special_right_in_rooms(pods):
    pod = await pods.start()
    admin, ann = await pod.person(), await pod.person()
    room = await ann.room()
    assert admin.user["role"] == "admin"
    assert (await admin.call("GET", f"/rooms/{room}"))[0] == 404


async def test_a_removed_member_is_out_at_once_on_rest_and_live_sockets(pods):
    pod = await pods.start()
    ann, bob = await pod.person(), await pod.person()
    room = await ann.room(bob)
    door, idle = await bob.native(), await bob.native()
    await door.join(room)
    assert (await ann.call("DELETE", f"/rooms/{room}/members/{bob.id}"))[0] == 204
    for each in (door, idle):
        assert (await each.event("removed", 1))["reason"] == "removed"
    await ann.post(f"/rooms/{room}/messages", {"text": "비밀"})
    for command, data in (
        ("join", {}),
        ("send", {"text": "x"}),
        ("typing", {"on": True}),
        ("read", {"seq": 1}),
        ("leave", {}),
    ):
        with pytest.raises(Refused, match=r"room\.not_found"):
            await door.ask(command, {"roomId": room, **data})
    assert door.messages() == []
    assert (await bob.call("GET", f"/rooms/{room}/messages"))[0] == 404


async def test_a_changed_role_holds_on_a_live_socket(pods):
    pod = await pods.start()
    ann, bob = await pod.person(), await pod.person()
    room = await ann.room(bob)
    door = await bob.native()
    await door.join(room)
    await ann.patch(f"/rooms/{room}/members/{bob.id}", {"role": "reader"})
    seen = await door.event("room", 1, id=room, role="reader")
    assert seen["membersChanged"] is True
    with pytest.raises(Refused, match=r"room\.read_only"):
        await door.send(room, "x")


async def test_a_deleted_room_is_gone_for_everybody(pods):
    pod = await pods.start()
    ann, bob = await pod.person(), await pod.person()
    room = await ann.room(bob)
    door = await bob.native()
    await door.join(room)
    assert (await ann.call("DELETE", f"/rooms/{room}"))[0] == 204
    assert (await door.event("removed", 1, roomId=room))["reason"] == "deleted"
    assert (await bob.get("/rooms"))["items"] == []


async def test_the_last_owner_stays_while_others_are_there_and_takes_the_room_along_when_alone(pods):
    pod = await pods.start()
    ann, bob = await pod.person(), await pod.person()
    room = await ann.room(bob)
    for method, path, body in (
        ("DELETE", f"/rooms/{room}/members/{ann.id}", None),
        ("PATCH", f"/rooms/{room}/members/{ann.id}", {"role": "member"}),
    ):
        status, problem = await ann.call(method, path, body)
        assert (status, problem["code"]) == (409, "room.last_owner")
    assert (await bob.call("DELETE", f"/rooms/{room}/members/{bob.id}"))[0] == 204
    assert (await ann.call("DELETE", f"/rooms/{room}/members/{ann.id}"))[0] == 204
    assert (await ann.call("GET", f"/rooms/{room}"))[0] == 404


async def test_invitations_are_counted_end_and_let_the_same_person_in_once(pods):
    pod = await pods.start()
    ann, bob, eve = await pod.person(), await pod.person(), await pod.person()
    room = await ann.room()
    invite = await ann.post(f"/rooms/{room}/invites", {"role": "reader", "maxUses": 1, "expiresInS": 60})
    assert invite["url"].endswith(f"/i/{invite['code']}") and TIME.fullmatch(invite["expiresAt"])
    for _ in range(2):
        entered = await bob.post(f"/invites/{invite['code']}")
        assert (entered["id"], entered["role"]) == (room, "reader")
    for code in (invite["code"], "unknown"):
        status, problem = await eve.call("POST", f"/invites/{code}")
        assert (status, problem["code"]) == (404, "invite.invalid")
    assert (await ann.get(f"/rooms/{room}/invites"))["items"] == []
    second = await ann.post(f"/rooms/{room}/invites")
    assert [i["code"] for i in (await ann.get(f"/rooms/{room}/invites"))["items"]] == [second["code"]]
    assert (await ann.call("DELETE", f"/rooms/{room}/invites/{second['code']}"))[0] == 204
    assert (await eve.call("POST", f"/invites/{second['code']}"))[0] == 404


async def test_a_member_sees_and_ends_only_invitations_that_he_may_give(pods):
    pod = await pods.start()
    ann, bob, eve = await pod.person(), await pod.person(), await pod.person()
    room = await ann.room(bob)
    codes = {}
    for who, role in ((ann, "owner"), (ann, "member"), (bob, "reader")):
        codes[role] = (await who.post(f"/rooms/{room}/invites", {"role": role}))["code"]

    async def seen(who):
        return {invite["role"] for invite in (await who.get(f"/rooms/{room}/invites"))["items"]}

    assert await seen(ann) == {"owner", "member", "reader"} and await seen(bob) == {"member", "reader"}
    status, problem = await bob.call("DELETE", f"/rooms/{room}/invites/{codes['owner']}")
    assert (status, problem["code"]) == (404, "invite.invalid")
    assert (await bob.call("DELETE", f"/rooms/{room}/invites/{codes['member']}"))[0] == 204
    await ann.call("DELETE", f"/rooms/{room}/members/{bob.id}")  # and with him what he has made
    assert await seen(ann) == {"owner"}
    assert (await eve.call("POST", f"/invites/{codes['reader']}"))[0] == 404
    assert (await eve.post(f"/invites/{codes['owner']}"))["role"] == "owner"
    third = (await eve.post(f"/rooms/{room}/invites", {"role": "reader"}))["code"]
    await eve.call("DELETE", f"/rooms/{room}/members/{eve.id}")
    assert (await bob.post(f"/invites/{third}"))["role"] == "reader"  # who leaves by himself takes nothing along


async def test_who_accepts_twice_at_once_is_in_and_counted_once(pods, database_url):
    pod = await pods.start()
    ann, bob = await pod.person(), await pod.person()
    room = await ann.room()
    for most in (1, 5):
        code = (await ann.post(f"/rooms/{room}/invites", {"maxUses": most}))["code"]
        held = psycopg2.connect(database_url)
        with held, held.cursor() as cursor:
            cursor.execute("select from invites where code = %s for update", (code,))
            twice = [asyncio.ensure_future(bob.post(f"/invites/{code}")) for _ in range(2)]
            await pod.waits("%from invites%", 2)
        held.close()
        assert [entered["id"] for entered in await asyncio.gather(*twice)] == [room, room]
        await ann.call("DELETE", f"/rooms/{room}/members/{bob.id}")
        left = (await ann.get(f"/rooms/{room}/invites"))["items"]
        assert [invite["uses"] for invite in left if invite["code"] == code] == ([] if most == 1 else [1])


async def test_the_newcomers_devices_hear_of_the_room_and_the_others_of_the_newcomer(pods):
    pod = await pods.start()
    ann, bob = await pod.person(), await pod.person()
    room = await ann.room()
    here, there = await ann.native(), await bob.native()
    await ann.post(f"/rooms/{room}/members", {"userId": bob.id})
    assert (await there.event("room", 2, id=room))["role"] == "member"
    await here.event("room", 2, id=room, memberCount=2)  # the room's own making may be told to this device too


async def test_history_by_seq(pods):
    pod = await pods.start(sends_per_10s=0)
    ann = await pod.person()
    room = await ann.room()
    for i in range(1, 11):
        await ann.post(f"/rooms/{room}/messages", {"text": str(i)})

    async def page(query):
        got = await ann.get(f"/rooms/{room}/messages?{query}")
        return [m["seq"] for m in got["messages"]], got["moreBefore"], got["moreAfter"]

    assert await page("limit=3") == ([8, 9, 10], True, False)
    assert await page("before=4&limit=2") == ([2, 3], True, True)
    assert await page("before=3") == ([1, 2], False, True)
    assert await page("after=8") == ([9, 10], True, False)
    assert await page("after=2&limit=2") == ([3, 4], True, True)
    assert await page("around=5&limit=4") == ([3, 4, 5, 6], True, True)
    assert await page("around=1&limit=1") == ([1], False, True)
    assert await page("around=11&limit=1") == ([], True, False)
    assert await page("around=12&limit=2") == ([10], True, False)
    assert await page("after=10") == ([], True, False)
    assert await page("before=1") == ([], False, True)
    for query in ("before=1&after=2", "limit=0", "limit=201", "before=-1", "before=x", "after=9999999999999999999999"):
        status, problem = await ann.call("GET", f"/rooms/{room}/messages?{query}")
        assert (status, problem["code"]) == (400, "request.invalid"), query


async def test_pages_end_early_past_half_a_megabyte(pods):
    pod = await pods.start(sends_per_10s=0)
    ann = await pod.person()
    room = await ann.room()
    for _ in range(12):
        await ann.post(f"/rooms/{room}/messages", {"text": "가" * 20_000})
    got = await ann.get(f"/rooms/{room}/messages")
    assert 8 <= len(got["messages"]) <= 10 and got["moreBefore"] and got["messages"][-1]["seq"] == 12
    around = await ann.get(f"/rooms/{room}/messages?around=7")
    assert 8 <= len(around["messages"]) <= 11 and around["moreBefore"] and around["moreAfter"]
    changed = await ann.get(f"/rooms/{room}/changes?limit=500")
    assert changed["more"] is True and changed["messages"][0]["changedSeq"] == 1 and changed["head"] == 12
    door = await ann.native()
    joined = await door.join(room, after=0)
    assert joined["more"] is True
    await ann.post(f"/rooms/{room}/messages", {"text": "live"})
    rest = await door.join(room, after=joined["messages"][-1]["changedSeq"])
    assert rest["more"] is False
    assert [m["seq"] for m in joined["messages"] + rest["messages"]] == list(range(1, 14))
    assert door.messages() == []


async def test_changes_name_each_message_once_in_its_newest_form(pods):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room()
    ids = [(await ann.post(f"/rooms/{room}/messages", {"text": str(i)}))["messageId"] for i in range(3)]
    await ann.patch(f"/messages/{ids[0]}", {"text": "neu"})
    await ann.call("DELETE", f"/messages/{ids[1]}")
    got = await ann.get(f"/rooms/{room}/changes?after=0")
    assert [(m["changedSeq"], m["text"], m.get("deleted")) for m in got["messages"]] == [
        (3, "2", None),
        (4, "neu", None),
        (5, "", True),
    ]
    assert (got["head"], got["more"]) == (5, False)
    assert await ann.get(f"/rooms/{room}/changes?after=5") == {"messages": [], "head": 5, "more": False}


async def test_a_deleted_message_leaves_only_its_place(pods):
    pod = await pods.start()
    ann, bob = await pod.person(), await pod.person()
    room = await ann.room(bob)
    said = await bob.post(f"/rooms/{room}/messages", {"text": "비밀번호 1234", "clientId": "c"})
    path = f"/messages/{said['messageId']}"
    await bob.patch(path, {"text": "아니 4321"})
    assert [v["text"] for v in (await ann.get(path + "/versions"))["items"]] == ["비밀번호 1234"]
    assert (await ann.call("DELETE", path))[0] == 200  # an owner may
    gone = await ann.get(path)
    assert gone["deleted"] is True and gone["text"] == "" and gone["seq"] == 1
    assert not {"versions", "editedAt", "clientId"} & set(gone)
    assert (await ann.get(path + "/versions"))["items"] == []
    assert (await ann.call("DELETE", path))[1]["changedSeq"] == gone["changedSeq"]  # twice is ok
    assert (await bob.call("PATCH", path, {"text": "x"}))[1]["code"] == "message.not_found"
    found = await pod.services.db.run_bare(lambda sql: sql.rows("select m::text from messages m"))
    assert "1234" not in str(found) and "4321" not in str(found)
    again = await bob.call("POST", f"/rooms/{room}/messages", {"text": "neu", "clientId": "c"})
    assert again[0] == 200 and again[1]["messageId"] == said["messageId"] and again[1]["duplicate"] is True


async def test_replies_point_into_the_same_room(pods):
    pod = await pods.start()
    ann = await pod.person()
    room, other = await ann.room(), await ann.room()
    said = await ann.post(f"/rooms/{room}/messages", {"text": "x"})
    elsewhere = await ann.post(f"/rooms/{other}/messages", {"text": "y"})
    reply = await ann.post(f"/rooms/{room}/messages", {"text": "z", "replyTo": said["messageId"]})
    assert (await ann.get(f"/messages/{reply['messageId']}"))["replyTo"] == said["messageId"]
    for target in (elsewhere["messageId"], str(uuid4()), "no-uuid"):
        status, problem = await ann.call("POST", f"/rooms/{room}/messages", {"text": "z", "replyTo": target})
        assert (status, problem["code"], problem["field"]) == (404, "message.reply_not_found", "replyTo")


async def test_export_holds_everything_in_order(pods):
    pod = await pods.start(sends_per_10s=0)
    ann = await pod.person("Ann")
    room = await ann.room(name="기록")
    for i in range(30):
        await ann.post(f"/rooms/{room}/messages", {"text": f"말 {i}"})
    got = await ann.get(f"/rooms/{room}/export")
    assert got["room"]["name"] == "기록" and [m["text"] for m in got["messages"]] == [f"말 {i}" for i in range(30)]
    status, text = await ann.call("GET", f"/rooms/{room}/export?format=markdown")
    assert status == 200 and text.startswith("# 기록\n") and text.index("말 3\n") < text.index("말 29")
    mine = await ann.get("/users/me/export")
    assert mine["user"]["email"] == ann.email and len(mine["rooms"][0]["messages"]) == 30
    assert len(mine["sessions"]) == 1 and mine["keys"] == [] and mine["left"] == []
    bob = await pod.person("Bob")
    there = await ann.room(bob)
    await bob.post(f"/rooms/{there}/messages", {"text": "bleibt meins"})
    await bob.call("DELETE", f"/rooms/{there}/members/{bob.id}")
    his = await bob.get("/users/me/export")
    assert his["rooms"] == [] and [m["text"] for m in his["left"]] == ["bleibt meins"]
    assert (await ann.call("GET", f"/rooms/{room}/export?format=pdf"))[0] == 400


@pytest.mark.parametrize("fault", [NotFound("room.not_found", "gone"), DatabaseUnavailable("away"), LookupError("bug")])
async def test_an_export_that_ends_before_its_end_does_not_look_whole(pods, monkeypatch, fault):
    pod = await pods.start(sends_per_10s=0)
    ann = await pod.person()
    room = await ann.room()
    await ann.post(f"/rooms/{room}/messages", {"text": "x"})
    headers = {"Authorization": f"Bearer {ann.token}"}
    every, good = pod.services.messages.every, 0

    async def failing(*given):
        nonlocal good
        good -= 1
        if good < 0:
            raise fault
        return await every(*given)

    monkeypatch.setattr(pod.services.messages, "every", failing)
    statuses = {NotFound: 404, DatabaseUnavailable: 503, LookupError: 500}
    for form in ("json", "markdown"):
        good = 1  # a piece is out
        with pytest.raises(aiohttp.ClientError):
            async with pod.http.get(f"{pod.url}/rooms/{room}/export?format={form}", headers=headers) as answer:
                await answer.read()
        good = 0  # nothing is
        async with pod.http.get(f"{pod.url}/rooms/{room}/export?format={form}", headers=headers) as answer:
            assert answer.status == statuses[type(fault)] and "Content-Disposition" not in answer.headers
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert json.loads(await answer.read())["status"] == answer.status
    good = 1
    if isinstance(fault, NotFound):
        mine = await ann.get("/users/me/export")  # without what he has lost meanwhile, and whole
        assert [len(one["messages"]) for one in mine["rooms"]] == [1]
    else:
        with pytest.raises(aiohttp.ClientError):
            await ann.get("/users/me/export")


async def test_an_export_is_a_file_that_is_called_after_the_room(pods):
    pod = await pods.start()
    ann = await pod.person("Ann")
    headers = {"Authorization": f"Bearer {ann.token}"}
    for name, called in (("출시 준비", "출시 준비"), ("../a/b: c?", "a b c"), ("...", "room")):
        room = await ann.room(name=name)
        for kind, ending in (("markdown", "md"), ("json", "json")):
            async with pod.http.get(f"{pod.url}/rooms/{room}/export?format={kind}", headers=headers) as answer:
                given = answer.headers["Content-Disposition"]
            assert given == f"attachment; filename=\"room.{ending}\"; filename*=UTF-8''{quote(called)}.{ending}"


async def test_people_are_found_by_part_of_the_name_or_whole_email(pods):
    pod = await pods.start()
    ann = await pod.person("안지수")
    bob = await pod.person("Bob_%Lee")
    assert [p["id"] for p in (await ann.get("/users?q=b_%25"))["items"]] == [bob.id]
    assert [p["id"] for p in (await ann.get("/users?q=%EC%A7%80"))["items"]] == [ann.id]
    assert (await ann.get(f"/users?q={bob.email}"))["items"] == [{"id": bob.id, "name": "Bob_%Lee"}]
    assert (await ann.get("/users?q=" + bob.email[:-1]))["items"] == []
    assert (await ann.call("GET", "/users"))[0] == 400


async def test_sends_of_one_moment_share_a_transaction_and_a_lone_one_has_its_own(pods):
    pod = await pods.start(sends_per_10s=0)
    ann = await pod.person()
    room = await ann.room()
    sizes = []
    pod.services.messages.on_batch = lambda size, seconds: sizes.append(size)
    await ann.post(f"/rooms/{room}/messages", {"text": "lone"})
    assert sizes == [1]
    who = await pod.services.accounts.by_token(ann.token)
    results = await asyncio.gather(*(pod.services.messages.send(who, room, f"{i}") for i in range(200)))
    assert sum(sizes) == 201 and len(sizes) <= 4
    assert sorted(r.seq for r in results) == list(range(2, 202))


async def test_a_lone_send_waits_for_no_timer(pods, monkeypatch):
    """Sent while the loop's time stands still, so that no timer of whoever it be comes to its end, new or set before."""
    pod = await pods.start(sends_per_10s=0)
    ann = await pod.person()
    first, second = await ann.room(), await ann.room()
    native, polling = await ann.native(), await ann.socketio(transports=["polling"])
    who = await pod.services.accounts.by_token(ann.token)
    loop = asyncio.get_running_loop()

    async def frozen(sending):
        task = asyncio.ensure_future(sending)
        given_up = threading.Timer(5, loop.call_soon_threadsafe, [task.cancel])  # no clock of the loop's
        given_up.start()
        with monkeypatch.context() as patch:
            now = loop.time()
            patch.setattr(loop, "time", lambda: now)
            try:
                await task
            finally:
                given_up.cancel()

    for room in (first, second):
        await frozen(native.send(room, "the writer is not known yet"))
        await frozen(native.send(room, "now he is"))
        await frozen(polling.send(room, "by another door"))
        said = await ann.post(f"/rooms/{room}/messages", {"text": "x"})
        await frozen(native.send(room, "a reply", replyTo=said["messageId"]))
        await frozen(ann.post(f"/rooms/{room}/messages", {"text": "by REST"}))
        await frozen(pod.services.messages.send(who, room, "by none"))


async def test_one_bad_message_spoils_nobody_elses(pods):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room()
    who = await pod.services.accounts.by_token(ann.token)
    # A surrogate passes every check of ours when it comes from inside, and fails in the driver.
    results = await asyncio.gather(
        *(pod.services.messages.send(who, room, text) for text in ("one", "bad \ud800", "two")), return_exceptions=True
    )
    assert [getattr(r, "seq", None) for r in results] in ([1, None, 2], [2, None, 1])
    page = await ann.get(f"/rooms/{room}/messages")
    assert sorted(m["text"] for m in page["messages"]) == ["one", "two"]
