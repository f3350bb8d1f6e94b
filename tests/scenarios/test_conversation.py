"""One story, told through every door: the events are the same."""

import asyncio
import time
from uuid import uuid4

import pytest

from models.database import DatabaseUnavailable
from tests.pods import Refused
from tests.scripted_model import Script

DOORS = ["native", "websocket", "polling"]


@pytest.fixture(params=DOORS)
def kind(request):
    return request.param


async def two(pods, kind, **settings):
    pod = await pods.start(**settings)
    ann, bob = await pod.person("Ann"), await pod.person("Bob")
    room = await ann.room(bob)
    a, b = await ann.door(kind), await bob.door(kind)
    await a.join(room)
    await b.join(room)
    return pod, ann, bob, room, a, b


async def test_what_one_says_all_devices_hear_the_senders_own_too(pods, kind):
    pod, ann, bob, room, a, b = await two(pods, kind)
    phone = await bob.native()
    await phone.join(room)
    sent = await a.send(room, "안녕 👋 \u2028 <b>", clientId="c-1")
    assert sent["seq"] == 1 and sent["changedSeq"] == 1 and sent["duplicate"] is False
    events = [await door.event("message", id=sent["messageId"]) for door in (a, b, phone)]
    assert events[0] == events[1] == events[2] == {
        "id": sent["messageId"], "roomId": room, "seq": 1, "changedSeq": 1, "userId": ann.id, "userName": "Ann", "role": "user",
        "text": "안녕 👋 \u2028 <b>", "ts": sent["ts"], "clientId": "c-1", "status": "complete",
    }  # fmt: skip
    assert await bob.get(f"/messages/{sent['messageId']}") == events[0]


async def test_the_same_story_gives_the_same_events_through_every_door_and_rest(pods):
    """Send, repeat, edit, delete: told in turn through each door and through REST, the readers hear the same."""
    pod = await pods.start()
    ann, bob = await pod.person("Ann"), await pod.person("Bob")
    heard = {}
    for kind in [*DOORS, "rest"]:
        room = await ann.room(bob)
        reader = await bob.native()
        await reader.join(room)
        replies = []
        if kind == "rest":
            for method, path, body in (
                ("POST", f"/rooms/{room}/messages", {"text": "하나", "clientId": "k"}),
                ("POST", f"/rooms/{room}/messages", {"text": "또", "clientId": "k"}),
                ("PATCH", "/messages/{}", {"text": "둘"}),
                ("DELETE", "/messages/{}", None),
            ):
                path = path.format(replies[0]["messageId"] if replies else "")
                replies.append((await ann.call(method, path, body))[1])
        else:
            door = await ann.door(kind)
            replies.append(await door.send(room, "하나", clientId="k"))
            replies.append(await door.send(room, "또", clientId="k"))
            replies.append(await door.ask("edit", {"messageId": replies[0]["messageId"], "text": "둘"}))
            replies.append(await door.ask("delete", {"messageId": replies[0]["messageId"]}))
            await door.close()
        await reader.event("message", deleted=True)
        for thing in (*replies, *reader.messages()):
            for key in ("id", "messageId", "roomId", "ts", "editedAt"):
                thing.pop(key, None)
        heard[kind] = (replies, reader.messages())
        await reader.close()
    assert heard["native"] == heard["websocket"] == heard["polling"] == heard["rest"]
    assert [m["changedSeq"] for m in heard["native"][1]] == [1, 2, 3]


async def test_an_answer_streams_through_every_door(pods, kind):
    pod = await pods.start(demo_token_ms=12)
    ann = await pod.person()
    room = await ann.room(when="always")
    door = await ann.door(kind)
    await door.join(room)
    sent = await door.send(room, "안녕")
    answer = await door.answer_to(sent["messageId"])
    pieces = door.named("stream")
    assert len(pieces) > 5 and "".join(p["token"] for p in pieces) == answer["text"]
    assert [p["n"] for p in pieces] == list(range(len(pieces)))


async def test_coming_back_with_a_cursor_has_no_hole_and_no_overlap(pods, kind):
    pod, ann, bob, room, a, b = await two(pods, kind)
    first = await a.send(room, "1")
    await b.event("message", changedSeq=1)
    await b.close()
    second = await a.send(room, "2")
    await a.ask("edit", {"messageId": first["messageId"], "text": "1!"})
    again = await bob.door(kind)
    joined = await again.join(room, after=1)
    assert [(m["changedSeq"], m["text"]) for m in joined["messages"]] == [(2, "2"), (3, "1!")]
    assert (joined["head"], joined["more"]) == (3, False) and "reset" not in joined
    third = await a.send(room, "3")
    await again.event("message", id=third["messageId"])
    assert [m["changedSeq"] for m in again.messages()] == [4]
    assert second["seq"] == 2


async def test_a_cursor_above_the_head_starts_anew(pods, kind):
    pod, ann, bob, room, a, b = await two(pods, kind)
    await a.send(room, "1")
    joined = await b.join(room, after=77)
    assert joined["reset"] is True and [m["text"] for m in joined["messages"]] == ["1"]
    assert [m["userId"] for m in joined["members"]] == [ann.id, bob.id] and joined["members"][0]["online"] is True


async def test_left_means_no_more_events_but_membership_stays(pods, kind):
    pod, ann, bob, room, a, b = await two(pods, kind)
    assert await b.ask("leave", {"roomId": room}) == {}
    await a.send(room, "x")
    hint = await b.event("activity")
    assert hint["rooms"] == [{"roomId": room, "lastSeq": 1, "mentioned": False}]
    assert b.messages() == []
    await b.send(room, "still a member")


async def test_activity_tells_once_a_second_of_rooms_not_joined_and_of_mentions(pods, kind):
    pod = await pods.start(sends_per_10s=0)
    ann, bob = await pod.person("Ann"), await pod.person("Bob")
    room = await ann.room(bob)
    b = await bob.door(kind)
    await b.ask("ping", {})
    a = await ann.native()
    began = time.monotonic()
    for i in range(10):
        await a.send(room, f"{i} @bob" if i == 3 else str(i))
    await b.event("activity", 3)
    await b.wait(lambda d: any(r["lastSeq"] == 10 for e in d.named("activity") for r in e["rooms"]), 3)
    assert len(b.named("activity")) <= 2 + int(time.monotonic() - began)
    assert any(r["mentioned"] for e in b.named("activity") for r in e["rooms"])


async def test_typing_is_told_to_the_others_and_ends_by_itself(pods, kind, monkeypatch):
    monkeypatch.setattr("services.realtime.presence.TYPING_S", 2.5)
    pod, ann, bob, room, a, b = await two(pods, kind)
    await a.ask("typing", {"roomId": room, "on": True})
    assert await b.event("typing", 2) == {"roomId": room, "userId": ann.id, "on": True}
    await b.event("typing", 5, on=False)
    assert a.named("typing") == []
    with pytest.raises(Refused):
        await a.ask("leave", {"roomId": room})
        await a.ask("typing", {"roomId": room, "on": True})


async def test_typing_ends_with_the_connection(pods, kind):
    pod, ann, bob, room, a, b = await two(pods, kind)
    await a.ask("typing", {"roomId": room, "on": True})
    await b.event("typing", on=True)
    await a.close()
    await b.event("typing", 4, on=False)


async def test_read_marks_move_forward_only_and_are_told(pods, kind):
    pod, ann, bob, room, a, b = await two(pods, kind)
    for text in "123":
        await a.send(room, text)
    await b.ask("read", {"roomId": room, "seq": 2})
    assert await a.event("read", 2) == {"roomId": room, "userId": bob.id, "seq": 2}
    await b.ask("read", {"roomId": room, "seq": 1})
    await b.ask("read", {"roomId": room, "seq": 99})
    await a.event("read", 4, seq=3)
    assert (await bob.get(f"/rooms/{room}"))["readSeq"] == 3


async def test_presence_comes_and_goes(pods, kind, monkeypatch):
    monkeypatch.setattr("services.realtime.presence.OFFLINE_AFTER_S", 2.2)
    pod = await pods.start()
    ann, bob = await pod.person("Ann"), await pod.person("Bob")
    room = await ann.room(bob)
    a = await ann.door(kind)
    assert [m["online"] for m in (await a.join(room))["members"]] == [True, False]
    b = await bob.door(kind)
    await a.event("presence", 2, userId=bob.id, online=True)
    await b.close()
    await a.event("presence", 6, userId=bob.id, online=False)
    members = (await ann.get(f"/rooms/{room}/members"))["items"]
    assert [m["online"] for m in members] == [True, False]


async def test_commands_are_answered_in_the_order_sent(pods, kind):
    pod, ann, bob, room, a, b = await two(pods, kind, sends_per_10s=0)
    done = []

    async def one(event, data, label):
        try:
            await a.ask(event, data)
        except Refused as refused:
            label = (label, refused.code)
        done.append(label)

    work = []
    for i in range(20):
        work.append(one("send", {"roomId": room, "text": str(i)}, i))
        work.append(one("send", {"roomId": room, "text": ""}, f"empty {i}"))
        work.append(one("nonsense", {}, f"what {i}"))
    await asyncio.gather(*work)
    assert done == [
        x for i in range(20) for x in (i, (f"empty {i}", "message.invalid"), (f"what {i}", "request.unknown_event"))
    ]
    await b.event("message", text="19")
    assert [m["text"] for m in b.messages()] == [str(i) for i in range(20)]


BAD = [
    ("send", {}, "request.invalid", "roomId"),
    ("send", {"roomId": None, "text": "x"}, "request.invalid", "roomId"),
    ("send", {"roomId": 7, "text": "x"}, "request.invalid", "roomId"),
    ("send", {"roomId": "ROOM"}, "request.invalid", "text"),
    ("send", {"roomId": "ROOM", "text": None}, "request.invalid", "text"),
    ("send", {"roomId": "ROOM", "text": ["x"]}, "request.invalid", "text"),
    ("send", {"roomId": "ROOM", "text": ""}, "message.invalid", "text"),
    ("send", {"roomId": "ROOM", "text": " \n\t\u3000"}, "message.invalid", "text"),
    ("send", {"roomId": "ROOM", "text": "a\0b"}, "message.invalid", "text"),
    ("send", {"roomId": "ROOM", "text": "x" * 20_001}, "message.too_long", "text"),
    ("send", {"roomId": "ROOM", "text": "x", "clientId": ""}, "request.invalid", "clientId"),
    ("send", {"roomId": "ROOM", "text": "x", "clientId": "c" * 65}, "request.invalid", "clientId"),
    ("send", {"roomId": "ROOM", "text": "x", "clientId": None}, "request.invalid", "clientId"),
    ("send", {"roomId": "ROOM", "text": "x", "clientId": "a\0"}, "request.invalid", "clientId"),
    ("send", {"roomId": "ROOM", "text": "x", "replyTo": 4}, "request.invalid", "replyTo"),
    ("send", {"roomId": "ROOM", "text": "x", "replyTo": "zzz"}, "message.reply_not_found", "replyTo"),
    ("send", {"roomId": "0198c0de-0000-7000-8000-000000000000", "text": "x"}, "room.not_found", None),
    ("send", {"roomId": "OTHER", "text": "x"}, "room.not_found", None),
    ("send", {"roomId": "no-uuid", "text": "x"}, "room.not_found", None),
    ("send", [], "request.invalid", None),
    ("send", "x", "request.invalid", None),
    ("send", None, "request.invalid", None),
    ("join", {"roomId": "OTHER"}, "room.not_found", None),
    ("join", {"roomId": "ROOM", "after": -1}, "request.invalid", "after"),
    ("join", {"roomId": "ROOM", "after": 2**63}, "request.invalid", "after"),
    ("join", {"roomId": "ROOM", "after": 1.5}, "request.invalid", "after"),
    ("join", {"roomId": "ROOM", "after": None}, "request.invalid", "after"),
    ("edit", {"messageId": "MINE"}, "request.invalid", "text"),
    ("edit", {"messageId": "MINE", "text": ""}, "message.invalid", "text"),
    ("edit", {"messageId": "MINE", "text": "x" * 20_001}, "message.too_long", "text"),
    ("edit", {"messageId": "THEIRS", "text": "x"}, "message.not_yours", None),
    ("edit", {"messageId": "HIDDEN", "text": "x"}, "message.not_found", None),
    ("edit", {"messageId": "zzz", "text": "x"}, "message.not_found", None),
    ("delete", {"messageId": "THEIRS"}, "message.not_yours", None),
    ("delete", {"messageId": "HIDDEN"}, "message.not_found", None),
    ("delete", {}, "request.invalid", "messageId"),
    ("stop", {"messageId": "MINE"}, "message.not_an_answer", None),
    ("stop", {"messageId": "HIDDEN"}, "message.not_found", None),
    ("regenerate", {"messageId": "MINE"}, "message.not_an_answer", None),
    ("typing", {"roomId": "ROOM"}, "request.invalid", "on"),
    ("typing", {"roomId": "ROOM", "on": "yes"}, "request.invalid", "on"),
    ("typing", {"roomId": "OTHER", "on": True}, "room.not_found", None),
    ("read", {"roomId": "ROOM", "seq": -1}, "request.invalid", "seq"),
    ("read", {"roomId": "ROOM", "seq": "1"}, "request.invalid", "seq"),
    ("read", {"roomId": "OTHER", "seq": 1}, "room.not_found", None),
    ("leave", {"roomId": "OTHER"}, "room.not_found", None),
    ("auth", {}, "request.invalid", "token"),
    ("auth", {"token": "nonsense"}, "auth.invalid", None),
    ("whatever", {}, "request.unknown_event", "event"),
    ("connect", {}, "request.unknown_event", "event"),
    ("edit", {"messageId": "MINE", "text": None}, "request.invalid", "text"),
    ("edit", {"messageId": "MINE", "text": 5}, "request.invalid", "text"),
    ("edit", {"messageId": "MINE", "text": " \n\t\u3000"}, "message.invalid", "text"),
    ("edit", {"messageId": "MINE", "text": "a\0b"}, "message.invalid", "text"),
    ("stop", {"messageId": "THEIRS"}, "message.not_an_answer", None),
    ("regenerate", {"messageId": "THEIRS"}, "message.not_an_answer", None),
    ("regenerate", {"messageId": "HIDDEN"}, "message.not_found", None),
    ("edit", {"messageId": "ANSWER", "text": "x"}, "message.not_yours", None),
    ("delete", {"messageId": "ANSWER"}, "message.not_yours", None),
    ("typing", {"roomId": "ROOM", "on": None}, "request.invalid", "on"),
    ("read", {"roomId": "ROOM"}, "request.invalid", "seq"),
    ("read", {"roomId": "ROOM", "seq": None}, "request.invalid", "seq"),
]

# What every command that names a room or a message is asked with.
NAMING = {
    "join": ("roomId", {}), "leave": ("roomId", {}), "typing": ("roomId", {"on": True}), "read": ("roomId", {"seq": 1}),
    "edit": ("messageId", {"text": "x"}), "delete": ("messageId", {}), "stop": ("messageId", {}), "regenerate": ("messageId", {}),
}  # fmt: skip
NO_ID = (None, 7, True, ["ROOM"], {"id": "ROOM"})
UNKNOWN = (
    "",
    "no-uuid",
    "a\0b",
    "x" * 1000,
    "0198c0de-0000-7000-8000-000000000000",
    "0198c0de-0000-7000-8000-000000000000 ",
)
BAD += [
    row
    for event, (field, rest) in NAMING.items()
    for row in (
        (event, rest, "request.invalid", field),
        *((event, {**rest, field: given}, "request.invalid", field) for given in NO_ID),
        *((event, {**rest, field: given}, field[:-2] + ".not_found", None) for given in UNKNOWN),
        *((event, given, "request.invalid", None) for given in ([], "x", 7, None)),
    )
]


async def test_bad_commands_get_the_right_error_write_nothing_and_leave_the_connection_alive(pods, kind):
    pod, ann, bob, room, a, b = await two(pods, kind, sends_per_10s=0)
    eve = await pod.person("Eve")
    other = await eve.room()
    ids = {"ROOM": room, "OTHER": other}
    ids["MINE"] = (await b.send(room, "mine"))["messageId"]
    ids["THEIRS"] = (await a.send(room, "theirs"))["messageId"]
    await ann.patch(f"/rooms/{room}", {"bot": {"when": "mention"}})
    ids["ANSWER"] = (await b.answer_to((await a.send(room, "@maru?"))["messageId"]))["id"]
    before = (await ann.get(f"/rooms/{room}/export"))["messages"]
    ids["HIDDEN"] = (await eve.post(f"/rooms/{other}/messages", {"text": "hidden"}))["messageId"]
    for event, data, code, field in BAD:
        if kind != "native" and (event == "connect" or data is None):
            continue  # a reserved name closes the connection (SOCKETIO.md 17); no argument stands for {}
        given = (
            {k: ids.get(v, v) if isinstance(v, str) else v for k, v in data.items()} if isinstance(data, dict) else data
        )
        with pytest.raises(Refused) as refused:
            await b.ask(event, given)
        error = refused.value.error
        assert (error["code"], error.get("field")) == (code, field), (event, data, error)
        assert error["retryable"] is False and len(error["message"]) > 5
    assert (await b.ask("ping", {}))["ts"]
    assert (await ann.get(f"/rooms/{room}/export"))["messages"] == before
    assert (await eve.get(f"/rooms/{other}"))["head"] == 1
    assert a.named("typing") == a.named("read") == []


async def test_a_reader_changes_nothing_and_goes_on_reading(pods, kind, model):
    """Also what he said before he became one: the role of now counts, on a socket that was open before."""
    model.scripts = [Script(("text", "끝난 답")), Script(("text", "반쯤 "), ("hang",))]
    pod = await pods.start(**model.openai)
    ann, bob = await pod.person("Ann"), await pod.person("Bob")
    room = await ann.room(bob, when="mention")
    a, b = await ann.door(kind), await bob.door(kind)
    await a.join(room)
    await b.join(room)
    mine, theirs = (await b.send(room, "mine"))["messageId"], (await a.send(room, "theirs"))["messageId"]
    ended = (await b.answer_to((await b.send(room, "@maru 하나"))["messageId"]))["id"]
    await b.send(room, "@maru 둘")
    running = (await b.event("stream", token="반쯤 "))["messageId"]
    await ann.patch(f"/rooms/{room}/members/{bob.id}", {"role": "reader"})
    await b.event("room", role="reader")
    before = (await ann.get(f"/rooms/{room}/export"))["messages"]
    for event, data, code in (
        ("send", {"roomId": room, "text": "x"}, "room.read_only"),
        ("edit", {"messageId": mine, "text": "x"}, "room.read_only"),
        ("edit", {"messageId": theirs, "text": "x"}, "message.not_yours"),
        ("delete", {"messageId": mine}, "room.read_only"),
        ("delete", {"messageId": theirs}, "message.not_yours"),
        ("delete", {"messageId": ended}, "message.not_yours"),
        ("stop", {"messageId": running}, "room.read_only"),
        ("stop", {"messageId": ended}, "room.read_only"),
        ("regenerate", {"messageId": ended}, "room.read_only"),
        ("regenerate", {"messageId": running}, "room.read_only"),
        ("typing", {"roomId": room, "on": True}, "room.read_only"),
        ("typing", {"roomId": room, "on": False}, "room.read_only"),
    ):
        with pytest.raises(Refused) as refused:
            await b.ask(event, data)
        assert (refused.value.code, refused.value.error["retryable"]) == (code, False), (event, data)
    assert (await ann.get(f"/rooms/{room}/export"))["messages"] == before
    assert len(model.calls) == 2 and model.open == 1
    assert await b.ask("read", {"roomId": room, "seq": 1}) == {}
    await a.event("read", userId=bob.id, seq=1)
    assert a.named("typing") == []
    said = await a.send(room, "weiter")
    await b.event("message", id=said["messageId"])


async def test_a_failing_command_without_an_id_is_answered_by_an_error_event(pods, kind):
    pod, ann, bob, room, a, b = await two(pods, kind)
    await a.tell("send", {"roomId": room, "text": "", "clientId": "c9"})
    error = await a.event("error")
    assert (error["code"], error["event"], error["clientId"]) == ("message.invalid", "send", "c9")
    await a.tell("send", {"roomId": room, "text": "ok"})
    await b.event("message", text="ok")


async def test_limits_hold_from_both_sides(pods, kind):
    pod, ann, bob, room, a, b = await two(pods, kind, max_rooms_per_connection=2)
    longest = "가" * 19_999 + "😀"
    assert (await a.send(room, longest))["seq"] == 1
    assert (await b.event("message"))["text"] == longest
    others = [await ann.room() for _ in range(2)]
    await a.join(others[0])
    await a.join(room)  # again: no further room
    with pytest.raises(Refused, match=r"limit\.rooms"):
        await a.join(others[1])
    await a.ask("leave", {"roomId": room})
    await a.join(others[1])
    assert (await a.send(room, "x" * 10, clientId="c" * 64))["seq"] == 2


async def test_ids_in_capitals_mean_the_same_and_are_told_in_small_letters(pods, kind):
    pod, ann, bob, room, a, b = await two(pods, kind)
    first = await a.send(room, "first")
    reply = await a.send(room.upper(), "second", replyTo=first["messageId"].upper())
    told = await b.event("message", id=reply["messageId"])
    assert (told["roomId"], told["replyTo"]) == (room, first["messageId"])
    assert await bob.get(f"/messages/{reply['messageId'].upper()}") == told
    found = await bob.get(f"/search?q=second&mode=text&userId={ann.id.upper()}&roomId={room.upper()}")
    assert [hit["message"]["id"] for hit in found["items"]] == [reply["messageId"]]


async def test_a_send_without_an_id_that_fails_here_is_told_by_its_client_id(pods, kind, monkeypatch):
    pod, ann, bob, room, a, b = await two(pods, kind)
    for fault, code in ((DatabaseUnavailable("away"), "unavailable"), (LookupError("bug"), "internal")):

        def broken(*given, fault=fault):
            raise fault

        for way in ("start", "send"):
            monkeypatch.setattr(pod.services.messages, way, broken)
        await a.tell("send", {"roomId": room, "text": "x", "clientId": code})
        error = await a.event("error", code=code)
        assert (error["event"], error["clientId"], error["retryable"]) == ("send", code, True)


async def test_twenty_sends_in_ten_seconds_over_all_doors_and_repeats_cost_nothing(pods, kind):
    pod, ann, bob, room, a, b = await two(pods, kind)
    first = await a.send(room, "0", clientId="first")
    for i in range(19):
        if i % 2:
            await ann.post(f"/rooms/{room}/messages", {"text": str(i)})
        else:
            await a.send(room, str(i))
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            await a.send(room, "too many")
    error = refused.value.error
    assert error["code"] == "rate.limited" and error["retryable"] is True and 0 < error["retryAfterMs"] <= 10_000
    assert (await ann.call("POST", f"/rooms/{room}/messages", {"text": "x"}))[0] == 429
    repeat = await a.send(room, "0", clientId="first")
    assert repeat["duplicate"] is True and repeat["messageId"] == first["messageId"]
    await b.send(room, "others may")
    await asyncio.sleep(error["retryAfterMs"] / 1000)
    await a.send(room, "now")


async def test_a_repeat_has_the_first_result_whatever_is_wrong_with_it_and_became_of_the_message(pods, kind):
    pod, ann, bob, room, a, b = await two(pods, kind, sends_per_10s=2)
    firsts = {key: await a.send(room, "@maru " + key, clientId=key) for key in ("edited", "deleted")}
    with pytest.raises(Refused, match=r"rate\.limited"):
        await a.send(room, "one more")
    await a.ask("edit", {"messageId": firsts["edited"]["messageId"], "text": "other"})
    await a.ask("edit", {"messageId": firsts["edited"]["messageId"], "text": "another"})
    await a.ask("delete", {"messageId": firsts["deleted"]["messageId"]})

    async def repeats():
        for key, first in firsts.items():
            expected = first | {"duplicate": True}
            for text in ("other", "", " ", "x" * 20_001, "\0", "@maru"):
                assert await a.send(room, text, clientId=key) == expected, text[:10]
            for reply_to in ("no id", str(uuid4()), firsts["deleted"]["messageId"]):
                assert await a.send(room, "x", clientId=key, replyTo=reply_to) == expected, reply_to
            both = await asyncio.gather(*(a.send(room, "x", clientId=key) for _ in range(2)))
            assert both == [expected, expected]
            status, told = await ann.call("POST", f"/rooms/{room}/messages", {"text": "", "clientId": key})
            assert (status, told) == (200, expected)

    await repeats()  # while no send is allowed
    pod.services.messages.limits[0]._window.clear(ann.id)
    await repeats()  # and while they are
    for data in ({"text": ""}, {"text": "x", "replyTo": "no id"}):
        with pytest.raises(Refused, match=r"message\.(invalid|reply_not_found)"):
            await a.ask("send", {"roomId": room, "clientId": "new", **data})
        with pytest.raises(Refused):  # another's
            await b.ask("send", {"roomId": room, "clientId": "edited", **data})


@pytest.mark.filterwarnings("ignore:Sending a large body directly")  # the polling client's aiohttp
async def test_a_big_frame_is_refused_and_a_huge_one_closes(pods, kind):
    pod, ann, bob, room, a, b = await two(pods, kind)
    await a.tell("send", {"roomId": room, "text": "x" * 262_144})
    assert (await a.event("error"))["code"] == "request.too_large"
    assert (await a.ask("ping", {}))["ts"]
    await a.tell("send", {"roomId": room, "text": "x" * 1_100_000})
    code, _ = await a.end()
    assert code in (1009, -1, 1006)
    assert b.messages() == []


async def test_a_hundred_malformed_commands_end_the_connection(pods, kind):
    pod, ann, bob, room, a, b = await two(pods, kind, sends_per_10s=0)
    for _ in range(120):  # well-formed ones that fail don't count
        await a.tell("send", {"roomId": room, "text": ""})
    await a.ask("ping", {})
    for _ in range(101):
        await a.tell("nonsense", {})
    code, _ = await a.end()
    assert code == 4502
