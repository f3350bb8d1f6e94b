"""All that is said over the native door, by both sides, is as the served reference describes it."""

import copy
import json

import pytest
from jsonschema import Draft202012Validator

from tests.pods import Refused
from tests.scripted_model import Script

FACT = "냉장고 비밀번호는 4817번이에요"


class Reference:
    """`/asyncapi.json`, read strictly: no field that it does not name."""

    def __init__(self, served):
        self.names = set(served["components"]["messages"])
        self.schemas = copy.deepcopy(served["components"]["schemas"])
        for name, schema in self.schemas.items():
            schema["additionalProperties"] = False
            for field in set(schema["properties"]) - set(schema["required"]) if name != "Bot" else ():
                assert "null" not in json.dumps(schema["properties"][field]), (name, field)  # it is left out
        self._served = {**served, "components": {**served["components"], "schemas": self.schemas}}
        self.seen = set()
        self.given = {}

    def check(self, name, frame):
        root = {**self._served, "$ref": f"#/components/messages/{name}/payload"}
        faults = [fault.message for fault in Draft202012Validator(root).iter_errors(frame)]
        assert name in self.names and not faults, (name, frame, faults)
        self.seen.add(name)
        self.given.setdefault(name, set()).update(frame.get("data", frame.get("error")))


def written_down(door):
    """The commands of this door by their ids, for its replies."""
    commands, send = {}, door.socket.send_str

    async def send_str(text):
        command = json.loads(text)
        commands[command.get("id")] = command
        await send(text)

    door.socket.send_str = send_str
    door.commands = commands
    return door


async def test_every_command_reply_and_event_is_what_the_reference_says(pods, model, monkeypatch):
    monkeypatch.setattr("services.realtime.presence.OFFLINE_AFTER_S", 0.2)
    pod = await pods.start(**model.openai, provider_retries=0, sends_per_10s=17)
    reference = Reference((await pod.call("GET", "/asyncapi.json"))[1])
    ann, bob, cho = [await pod.person(name) for name in ("Ann", "Bob", "Cho")]
    room = await ann.room(bob, bot={"when": "mention", "contextMessages": 2})
    doors = [written_down(await who.native()) for who in (ann, bob, ann)]
    a, b, phone = doors
    await a.join(room)
    await b.join(room)

    # What people say
    for text in ("냉장고 열쇠 어디 있지?", FACT, "고마워!", "하나", "둘", "셋"):
        sent = await b.send(room, text, clientId=f"c {text}")
    assert (await b.send(room, "셋", clientId="c 셋"))["duplicate"] is True
    reply = await b.send(room, "답장", replyTo=sent["messageId"])
    await b.ask("edit", {"messageId": sent["messageId"], "text": "셋!"})
    await b.ask("delete", {"messageId": reply["messageId"]})
    await a.event("message", id=reply["messageId"], deleted=True)
    await phone.event("activity")
    await b.ask("typing", {"roomId": room, "on": True})
    await a.event("typing", on=True)
    await b.ask("read", {"roomId": room, "seq": 2})
    await a.event("read", userId=bob.id)

    # What a model says: with thoughts and sources, stopped, made again, failed
    model.scripts = [
        Script(("think", "음."), ("text", "4817번이에요 [1]"), ("usage", 30, 9)),
        Script(("text", "반쯤 "), ("hang",)),
        Script(("text", "다시"), ("usage", 1, 1)),
        Script(("text", "거의 "), ("cut",)),
    ]
    told = await a.answer_to((await a.send(room, "@Maru 냉장고 비밀번호가 뭐였지?"))["messageId"])
    assert told["sources"] and told["reasoning"] and told["usage"]
    question = await a.send(room, "@Maru 더")
    running = (await a.event("stream", token="반쯤 "))["messageId"]
    assert (await phone.join(room))["streams"][0]["messageId"] == running
    await a.ask("stop", {"messageId": running})
    assert (await a.answer_to(question["messageId"]))["stoppedBy"] == ann.id
    await a.ask("regenerate", {"messageId": running})
    await a.event("message", id=running, attempt=2, status="complete")
    failed = await a.answer_to((await a.send(room, "@Maru 또"))["messageId"])
    assert failed["error"]

    # Rooms and who is in them
    await ann.patch(f"/rooms/{room}", {"name": "새 이름", "retentionDays": 30})
    await ann.post(f"/rooms/{room}/members", {"userId": cho.id})
    await a.event("room", membersChanged=True)
    for _ in range(2):
        door = written_down(await cho.native())
        doors.append(door)
        joined = await door.join(room, after=9999)
        assert joined["reset"] is True and joined["room"]["lastMessage"]["error"]
        await door.close()
        await a.event("presence", userId=cho.id, online=False)
    await cho.call("DELETE", f"/rooms/{room}/members/{cho.id}")
    for _ in range(2):
        await b.ask("leave", {"roomId": room})
    await ann.call("DELETE", f"/rooms/{room}/members/{bob.id}")
    await b.event("removed", reason="removed")

    # What goes wrong
    for event, data in (
        ("join", {}), ("leave", {"roomId": room}), ("edit", {"messageId": sent["messageId"], "text": "x"}), ("stop", {}),
        ("delete", {"messageId": None}), ("regenerate", {"messageId": "x"}), ("typing", {}), ("read", {}), ("auth", {"token": "x"}),
    ):  # fmt: skip
        with pytest.raises(Refused):
            await b.ask(event, data)
    mine = await ann.room()
    with pytest.raises(Refused, match=r"rate\.limited"):
        for n in range(30):
            await a.send(mine, str(n))
    await a.tell("send", {"roomId": mine, "text": "x"})
    await a.event("error", code="rate.limited")
    await a.tell("send", {"roomId": mine, "text": "", "clientId": "c9"})
    await a.event("error", code="message.invalid")
    await a.tell("nonsense", {})
    await a.event("error", event="nonsense")
    await a.ask("auth", {"token": ann.token})
    await a.ask("ping", {})
    await ann.call("DELETE", f"/rooms/{room}")
    await phone.event("removed", reason="deleted")

    for door in doors:
        for frame in door.frames:
            if "event" in frame:
                reference.check(f"{frame['event']}Event", frame)
                continue
            command = door.commands[frame["id"]]
            reference.check(f"{command['event']}Reply", frame)
            if frame["ok"]:
                reference.check(f"{command['event']}Command", command)
    assert reference.names - reference.seen == {"closingEvent"}  # which only Socket.IO has
    for name in ("Message", "Stream", "Error"):
        assert reference.given[f"{name.lower()}Event"] == set(reference.schemas[name]["properties"]), name
    assert reference.given["joinReply"] >= set(reference.schemas["Joined"]["properties"])
