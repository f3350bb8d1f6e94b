"""Answers, with the real SDKs talking to a scripted model."""

import asyncio
import itertools
import time
from datetime import UTC, datetime
from uuid import uuid4

import psycopg2
import pytest

from config.settings import Settings
from models import generations
from models.database import DatabaseUnavailable
from models.generations import Job
from models.messages import MessageRow
from services.generation import Answer
from services.llm.base import Delta
from tests.pods import Refused
from tests.scripted_model import Script

THINKING = Script(("think", "음, "), ("think", "보자."), ("text", "네, "), ("text", "좋아요."), ("usage", 20, 9))


async def ask(pods, model, provider="openai", text="질문", **settings):
    pod = await pods.start(**getattr(model, provider), **settings)
    ann = await pod.person("Ann")
    room = await ann.room(when="always")
    door = await ann.native()
    await door.join(room)
    sent = await door.send(room, text)
    return ann, room, door, sent


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_an_answer_streams_piece_by_piece_and_ends_with_its_usage(pods, model, provider):
    model.scripts = [THINKING]
    _, room, door, sent = await ask(pods, model, provider)
    answer = await door.answer_to(sent["messageId"])
    assert answer["text"] == "네, 좋아요."
    assert answer["status"] == "complete" and answer["attempt"] == 1
    assert answer["reasoning"]["text"] == "음, 보자."
    assert answer["usage"]["outputTokens"] == 9 and answer["usage"]["inputTokens"] in (11, 20)
    assert "estimated" not in answer["usage"]
    pieces = [p for p in door.named("stream") if p["messageId"] == answer["id"]]
    assert [p["n"] for p in pieces] == [0, *(p["next"] for p in pieces[:-1])]
    assert "".join(p["token"] for p in pieces if "kind" not in p) == answer["text"]
    assert "".join(p["token"] for p in pieces if p.get("kind") == "reasoning") == "음, 보자."
    # none before the first event of the message, none after its final one
    names = [(name, d.get("status")) for name, d in door.events if answer["id"] in (d.get("id"), d.get("messageId"))]
    kinds = [name for name, _ in names]
    assert kinds[0] == "message" and kinds[-1] == "message" and names[-1][1] == "complete"
    assert [status for name, status in names if name == "message"] == ["queued", "streaming", "complete"]


async def test_a_model_that_answers_at_once_is_still_told_of_first(pods):
    """The demo model says its first word without a moment's wait, and nothing is asked of the past of a young room."""
    pod = await pods.start(demo_token_ms=1, retrieval=False)
    ann = await pod.person("Ann")
    room = await ann.room(when="always")
    door = await ann.native()
    await door.join(room)
    for n in range(3):
        sent = await door.send(room, f"q {n}")
        answer = await door.answer_to(sent["messageId"])
        told = [(name, d.get("status")) for name, d in door.events if answer["id"] in (d.get("id"), d.get("messageId"))]
        assert told[:3] == [("message", "queued"), ("message", "streaming"), ("stream", None)]
        assert told[-1] == ("message", "complete")


class Clock:
    """A loop's time, as a test lets it pass."""

    def __init__(self):
        self.now = 0.0
        self.timers = []

    def time(self):
        return self.now

    def call_later(self, wait, call):
        timer = Timer(self, self.now + wait, call)
        self.timers.append(timer)
        return timer

    def pass_to(self, then):
        for timer in sorted((one for one in self.timers if one.due <= then), key=lambda one: one.due):
            self.now = timer.due
            timer.call()
        self.now = then


class Timer:
    def __init__(self, clock, due, call):
        self.clock, self.due, self.call = clock, due, call

    def cancel(self):
        self.clock.timers.remove(self)


def test_pieces_hold_25_to_50_ms_and_a_lone_token_goes_out_without_a_next_one(monkeypatch):
    clock, told = Clock(), []

    class Bus:
        def publish_piece(self, piece):
            told.append((clock.now, piece))

    monkeypatch.setattr("asyncio.get_running_loop", lambda: clock)
    row = MessageRow("answer", "room", 2, 2, None, "Maru", "bot", "", datetime.now(UTC), attempt=1)
    piece_s = Settings.model_fields["piece_ms"].default / 1000
    answer = Answer(Job(row, None, {}, False, [], None), "owner", Bus(), piece_s)
    tokens = [f"{n} " for n in range(500)]
    for n, token in enumerate(tokens):
        clock.pass_to(1 + n * 0.002)
        answer.add(Delta("text", token))
    clock.pass_to(3)
    times, pieces = [at for at, _ in told], [piece for _, piece in told]
    assert times[0] == 1 and all(0.025 <= b - a <= 0.05 for a, b in itertools.pairwise(times))
    assert "".join(piece.token for piece in pieces) == "".join(tokens)
    assert [(piece.n, piece.next) for piece in pieces] == [(n, n + 1) for n in range(len(pieces))]
    told.clear()
    for at, token in ((5, "alone"), (5.01, "soon after"), (7, "alone again")):
        clock.pass_to(at)
        answer.add(Delta("text", token))
    (one, two, three) = [(at, piece.token) for at, piece in told]
    assert one == (5, "alone") and three == (7, "alone again")
    assert two[1] == "soon after" and 5.025 <= two[0] <= 5.05


async def test_a_model_that_speaks_fast_gives_far_fewer_pieces_than_tokens(pods, model):
    model.scripts = [Script(*(("text", "말 "), ("pause", 0.002)) * 200)]
    pod = await pods.start(**model.openai)
    ann = await pod.person()
    room = await ann.room(when="always")
    door = await ann.native()
    await door.join(room)
    began = time.monotonic()
    answer = await door.answer_to((await door.send(room, "?"))["messageId"])
    took = time.monotonic() - began
    pieces = door.named("stream")
    assert len(pieces) <= took / 0.025 + 2
    assert "".join(piece["token"] for piece in pieces) == answer["text"]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_answers_in_turn_use_one_connection_to_the_provider(pods, model, provider):
    _, room, door, sent = await ask(pods, model, provider)
    await door.answer_to(sent["messageId"])
    for n in range(3):
        sent = await door.send(room, f"질문 {n}")
        await door.answer_to(sent["messageId"])
    assert len(model.peers) == 4 and len(set(model.peers)) == 1


async def test_a_provider_that_does_not_hang_up_after_its_last_word_holds_nobody_up(pods, model):
    model.scripts = [Script(("text", "다 했어요."), ("raw", b"data: [DONE]\n\n"), ("hang",))]
    _, _, door, sent = await ask(pods, model)
    async with asyncio.timeout(3):
        answer = await door.answer_to(sent["messageId"])
    assert (answer["text"], answer["status"]) == ("다 했어요.", "complete")
    async with asyncio.timeout(3):
        while model.open:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_the_model_is_given_the_last_messages_with_names_and_never_thoughts(pods, model, provider):
    model.scripts = [THINKING]
    ann, room, door, sent = await ask(pods, model, provider, text="첫 질문")
    await door.answer_to(sent["messageId"])
    second = await door.send(room, "둘째 질문")
    answer = await door.answer_to(second["messageId"])
    body = model.calls[1]
    turns = [m for m in body["messages"] if m["role"] != "system"]
    assert [t["role"] for t in turns] == ["user", "assistant", "user"]
    assert (
        turns[0]["content"] == "Ann: 첫 질문"
        and turns[1]["content"] == "네, 좋아요."
        and turns[2]["content"] == "Ann: 둘째 질문"
    )
    assert "보자" not in str(body)
    context = await ann.context(answer["id"])
    assert [m["text"] for m in context["messages"]] == [t["content"] for t in turns]


async def test_the_rooms_own_settings_reach_the_model(pods, model):
    pod = await pods.start(**model.openai)
    ann = await pod.person("Ann")
    bot = {
        "when": "always",
        "systemPrompt": "너는 해적이다.",
        "temperature": 0.25,
        "model": "other",
        "contextMessages": 1,
    }
    room = await ann.room(bot=bot)
    await ann.patch(f"/rooms/{room}", {"bot": {"when": "always"}})
    door = await ann.native()
    await door.join(room)
    for text in ("하나", "둘", "셋"):
        answer = await door.answer_to((await door.send(room, text))["messageId"])
    body = model.calls[-1]
    assert body["model"] == "other" and body["temperature"] == 0.25
    assert body["messages"][0] == {"role": "system", "content": "너는 해적이다."}
    assert [m["content"] for m in body["messages"][1:]] == ["Ann: 셋"]  # a leading answer is no beginning
    assert answer["model"] == "other"


async def test_stop_ends_a_running_answer_within_a_second_with_the_text_so_far(pods, model):
    model.scripts = [Script(("text", "하나 "), ("text", "둘 "), ("hang",))]
    ann, room, door, sent = await ask(pods, model)
    piece = await door.event("stream", n=0)
    await door.wait(lambda d: "".join(p["token"] for p in d.named("stream")) == "하나 둘 ")
    await door.ask("stop", {"messageId": piece["messageId"]})
    answer = await door.final(piece["messageId"], limit_s=1.5)
    assert answer["status"] == "stopped" and answer["text"] == "하나 둘 " and answer["stoppedBy"] == ann.id
    assert answer["usage"]["estimated"] is True and answer["usage"]["outputTokens"] > 0
    await door.ask("stop", {"messageId": piece["messageId"]})  # ended already: ok, nothing happens
    async with asyncio.timeout(5):
        while model.open:
            await asyncio.sleep(0.01)


async def test_stopping_a_queued_answer_ends_it_in_place(pods, model):
    model.scripts = [Script(("text", "첫"), ("hang",)), Script(("text", "never"))]
    ann, room, door, sent = await ask(pods, model)
    await door.event("stream", n=0)
    second = await door.send(room, "둘째")
    queued = await door.event("message", replyTo=second["messageId"], status="queued")
    await door.ask("stop", {"messageId": queued["id"]})
    answer = await door.final(queued["id"])
    assert (answer["status"], answer["text"], answer["stoppedBy"]) == ("stopped", "", ann.id)
    assert len(model.calls) == 1


async def test_answers_take_turns_in_a_room_and_run_side_by_side_in_many(pods, model):
    gate = asyncio.Event()
    model.default = lambda body: Script(("text", "x"), ("wait", gate), ("text", "y"))
    pod = await pods.start(**model.openai)
    ann = await pod.person("Ann")
    rooms = [await ann.room(when="always") for _ in range(4)]
    door = await ann.native()
    firsts, seconds = [], []
    for room in rooms:
        await door.join(room)
        firsts.append((await door.send(room, "1"))["messageId"])
        seconds.append((await door.send(room, "2"))["messageId"])
    await model.calls_are(4)
    assert len(model.calls) == 4  # one a room
    gate.set()
    for first, second in zip(firsts, seconds, strict=True):
        one, two = await door.answer_to(first), await door.answer_to(second)
        assert one["text"] == two["text"] == "xy" and one["changedSeq"] < two["changedSeq"]


async def test_a_user_has_so_many_answers_at_once_and_the_rest_wait(pods, model):
    gate = asyncio.Event()
    model.default = lambda body: Script(("text", "x"), ("wait", gate))
    pod = await pods.start(**model.openai, max_answers_per_user=2)
    ann = await pod.person("Ann")
    door = await ann.native()
    sent = []
    for _ in range(4):
        room = await ann.room(when="always")
        await door.join(room)
        sent.append((await door.send(room, "?"))["messageId"])
    await model.calls_are(2)
    await asyncio.sleep(1.3)  # a scan and more: nothing else may begin
    assert len(model.calls) == 2
    gate.set()
    for one in sent:
        assert (await door.answer_to(one))["status"] == "complete"


async def test_regenerate_makes_the_same_message_again_and_keeps_the_old_text(pods, model):
    model.scripts = [Script(("text", "헌 답"), ("usage", 5, 3)), Script(("text", "새 답"), ("usage", 5, 4))]
    ann, room, door, sent = await ask(pods, model)
    old = await door.answer_to(sent["messageId"])
    assert (await door.ask("regenerate", {"messageId": old["id"]}))["messageId"] == old["id"]
    queued = await door.event("message", id=old["id"], status="queued", attempt=2)
    assert queued["text"] == "" and "usage" not in queued
    new = await door.event("message", id=old["id"], status="complete", attempt=2)
    assert new["text"] == "새 답" and new["versions"] == 1 and new["seq"] == old["seq"]
    versions = await ann.get(f"/messages/{old['id']}/versions")
    assert [v["text"] for v in versions["items"]] == ["헌 답"] and versions["items"][0]["model"] == "m1"
    assert {p["attempt"] for p in door.named("stream")} == {1, 2}


async def test_regenerate_and_stop_refuse_what_they_cannot_do(pods, model):
    model.scripts = [Script(("text", "x"), ("hang",))]
    ann, room, door, sent = await ask(pods, model)
    piece = await door.event("stream")
    with pytest.raises(Refused, match=r"generation\.running"):
        await door.ask("regenerate", {"messageId": piece["messageId"]})
    for command in ("stop", "regenerate"):
        with pytest.raises(Refused, match=r"message\.not_an_answer"):
            await door.ask(command, {"messageId": sent["messageId"]})


async def test_stop_and_regenerate_over_rest_are_accepted_and_refuse_like_their_commands(pods, model):
    model.scripts = [Script(("text", "헌 "), ("hang",)), Script(("text", "새 답"), ("usage", 1, 1))]
    ann, room, door, sent = await ask(pods, model)
    bob, reader, stranger = [await ann.pod.person(name) for name in ("Bob", "Read", "Str")]
    for who, role in ((bob, "member"), (reader, "reader")):
        await ann.post(f"/rooms/{room}/members", {"userId": who.id, "role": role})
    answer_id = (await door.event("stream", token="헌 "))["messageId"]

    async def refused(who, call, message_id=answer_id):
        status, problem = await who.call("POST", f"/messages/{message_id}/{call}")
        return status, problem["code"], problem["detail"]

    async def refuse_all():
        head = (await ann.get(f"/rooms/{room}"))["head"]
        for call in ("stop", "regenerate"):
            assert (await refused(reader, call))[:2] == (403, "room.read_only")
            unknown = await refused(ann, call, str(uuid4()))
            assert unknown[:2] == (404, "message.not_found")
            assert unknown == await refused(stranger, call) == await refused(stranger, call, sent["messageId"])
            assert unknown == await refused(ann, call, "no-uuid")
            assert (await refused(bob, call, sent["messageId"]))[:2] == (409, "message.not_an_answer")
            status, problem = await ann.pod.call("POST", f"/messages/{answer_id}/{call}")
            assert (status, problem["code"]) == (401, "auth.missing")
        assert (await ann.get(f"/rooms/{room}"))["head"] == head

    await refuse_all()
    assert (await refused(bob, "regenerate"))[:2] == (409, "generation.running")
    assert await bob.call("POST", f"/messages/{answer_id}/stop") == (202, {})
    stopped = await door.final(answer_id, 1.5)
    assert (stopped["status"], stopped["text"], stopped["stoppedBy"]) == ("stopped", "헌 ", bob.id)
    assert await ann.call("POST", f"/messages/{answer_id}/stop") == (202, {})  # ended already
    await refuse_all()
    assert await ann.get(f"/messages/{answer_id}") == stopped
    assert await bob.call("POST", f"/messages/{answer_id}/regenerate") == (202, {"messageId": answer_id})
    again = await door.event("message", id=answer_id, status="complete")
    assert (again["text"], again["attempt"], len(model.calls)) == ("새 답", 2, 2)


@pytest.fixture
def waits(monkeypatch):
    """For how long answers would wait between tries, which nobody does."""
    found = []

    async def nobody(seconds):
        found.append(seconds)

    monkeypatch.setattr("services.generation.between_tries", nobody)
    return found


NOTHING_YET = [
    *((("status", status),) for status in (429, 500, 502, 503, 529)),
    (("cut",),),
    (("raw", b": a comment\n\n"), ("cut",)),
]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("steps", NOTHING_YET)
async def test_a_provider_that_fails_before_the_first_token_is_asked_again(pods, model, waits, provider, steps):
    model.scripts = [Script(*steps), Script(("text", "이제 돼요"), ("usage", 1, 1))]
    _, _, door, sent = await ask(pods, model, provider)
    answer = await door.answer_to(sent["messageId"])
    assert (answer["status"], answer["text"], answer["attempt"]) == ("complete", "이제 돼요", 1)
    assert (len(model.calls), waits) == (2, [0.5])


async def test_a_provider_that_is_overloaded_in_its_stream_before_the_first_token_is_asked_again(pods, model, waits):
    overloaded = b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error"}}\n\n'
    model.scripts = [Script(("raw", overloaded)), Script(("text", "이제 돼요"))]
    _, _, door, sent = await ask(pods, model, "anthropic")
    assert (await door.answer_to(sent["messageId"]))["text"] == "이제 돼요"
    assert (len(model.calls), waits) == (2, [0.5])


async def test_each_try_waits_longer_than_the_last_and_as_long_as_the_provider_asks(pods, model, waits):
    busy = [("status", 429), ("cut",), ("status", 500), ("status", 503), ("cut",), ("status", 502)]
    asking = [("status", 429, {"Retry-After": after}) for after in ("7", "900", "nonsense")]
    model.scripts = [*(Script(step) for step in busy), Script(("text", "하나"))]
    _, room, door, sent = await ask(pods, model, provider_retries=6)
    assert (await door.answer_to(sent["messageId"]))["text"] == "하나"
    assert waits == [0.5, 1, 2, 4, 8, 8]
    waits.clear()
    model.scripts = [*(Script(step) for step in asking), Script(("text", "둘"))]
    assert (await door.answer_to((await door.send(room, "?"))["messageId"]))["text"] == "둘"
    assert waits == [7, 30, 2]


async def test_tries_come_to_an_end_and_the_last_is_not_waited_behind(pods, model, waits):
    model.default = lambda body: Script(("cut",))
    _, _, door, sent = await ask(pods, model, provider_retries=2)
    answer = await door.answer_to(sent["messageId"])
    assert (answer["status"], answer["text"], answer["error"]["code"]) == ("failed", "", "bot.provider_unavailable")
    assert (len(model.calls), waits) == (3, [0.5, 1])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_what_another_try_would_not_mend_is_not_tried_again(pods, model, waits, status):
    model.scripts = [Script(("status", status, {"Retry-After": "1"})), Script(("text", "never"))]
    _, _, door, sent = await ask(pods, model)
    assert (await door.answer_to(sent["messageId"]))["status"] == "failed"
    assert (len(model.calls), waits) == (1, [])


BROKEN = b'data: {"error": {"type": "server_error"}}\n\n'


@pytest.mark.parametrize(
    ("begun", "end"),
    [
        (("text", "반쯤 "), ("cut",)),
        (("think", "음, "), ("cut",)),
        (("text", "반쯤 "), ("raw", BROKEN)),
        (("text", "반쯤 "), ("hang",)),
    ],
)
async def test_after_the_first_token_nothing_is_tried_again_and_no_other_model(pods, model, waits, begun, end):
    model.scripts = [Script(begun, end), Script(("text", "never"))]
    _, _, door, sent = await ask(pods, model, fallback_models=("openai:m2",), stall_timeout_s=0.5)
    answer = await door.answer_to(sent["messageId"])
    assert (answer["status"], answer["text"]) == ("failed", "반쯤 " if begun[0] == "text" else "")
    assert answer["error"]["code"] in ("generation.failed", "generation.timeout", "bot.provider_unavailable")
    assert (len(model.calls), waits, answer["model"]) == (1, [], "m1")


async def test_a_fallback_model_answers_when_the_first_cannot(pods, model):
    model.scripts = [Script(("status", 401)), Script(("text", "대신 답해요"), ("usage", 1, 1))]
    _, _, door, sent = await ask(pods, model, provider="openai", fallback_models=("anthropic:c2",), **model.anthropic)
    answer = await door.answer_to(sent["messageId"])
    assert answer["text"] == "대신 답해요" and answer["model"] == "c2" and model.calls[1]["model"] == "c2"


async def test_fallback_models_are_tried_in_turn_until_one_answers(pods, model, waits):
    fallbacks = {"fallback_models": ("anthropic:c2", "openai:m3", "openai:m4"), "provider_retries": 1}
    model.scripts = [
        *(Script(step) for step in (("status", 500), ("cut",), ("status", 404))),
        Script(("text", "셋째예요"), ("usage", 1, 1)),
    ]
    _, room, door, sent = await ask(pods, model, **fallbacks, **model.anthropic)
    answer = await door.answer_to(sent["messageId"])
    assert (answer["status"], answer["text"], answer["model"]) == ("complete", "셋째예요", "m3")
    assert ([call["model"] for call in model.calls], waits) == (["m1", "m1", "c2", "m3"], [0.5])
    model.calls.clear()
    model.default = lambda body: Script(("status", 503))
    answer = await door.answer_to((await door.send(room, "다시"))["messageId"])
    assert (answer["status"], answer["text"], answer["error"]["code"]) == ("failed", "", "bot.provider_unavailable")
    assert [call["model"] for call in model.calls] == ["m1", "m1", "c2", "c2", "m3", "m3", "m4", "m4"]


@pytest.mark.parametrize(
    "steps", [(("status", 401),), (("status", 400),), (("raw", b"data: {nonsense\n\n"),), (("text", ""),)]
)
async def test_a_failure_tells_a_person_what_happened_and_no_secret(pods, model, steps):
    model.scripts = [Script(*steps)]
    ann, _, door, sent = await ask(pods, model, provider_retries=0)
    answer = await door.answer_to(sent["messageId"])
    assert answer["status"] == "failed" and answer["text"] == ""
    shown = str(answer)
    assert "sk-" not in shown and "Traceback" not in shown and "127.0.0.1" not in shown
    assert len(answer["error"]["message"]) > 10
    groups = await ann.get("/admin/errors")
    assert groups["items"][0]["kind"] == answer["error"]["code"] and "sk-" not in str(groups)


async def test_a_model_that_does_not_begin_or_falls_silent_times_out(pods, model):
    model.scripts = [Script(("hang",))]
    ann, room, door, sent = await ask(pods, model, first_token_timeout_s=0.3, stall_timeout_s=0.3, provider_retries=0)
    answer = await door.answer_to(sent["messageId"])
    assert (answer["status"], answer["error"]["code"]) == ("failed", "generation.timeout")
    model.scripts = [Script(("text", "시작은 "), ("hang",))]
    second = await door.send(room, "다시")
    answer = await door.answer_to(second["messageId"])
    assert (answer["status"], answer["text"], answer["error"]["code"]) == ("failed", "시작은 ", "generation.timeout")
    assert answer["usage"]["estimated"] is True


async def test_what_no_row_can_hold_ends_an_answer_all_the_same(pods, model):
    huge = b'data: {"choices": [], "usage": {"prompt_tokens": 1000000000000, "completion_tokens": 7}}\n\n'
    halves = b'data: {"choices": [{"index": 0, "delta": {"content": "\\ud83d"}}]}\n\n'
    model.scripts = [
        Script(("think", "a\0b"), ("text", "c\0d"), ("pause", 1.5), ("text", "e")),
        Script(("text", "x"), ("raw", huge)),
        Script(("raw", halves), ("text", "y")),
    ]
    _, room, door, sent = await ask(pods, model)
    answer = await door.answer_to(sent["messageId"])
    assert (answer["status"], answer["text"], answer["attempt"]) == ("complete", "c\ufffdde", 1)
    assert answer["reasoning"]["text"] == "a\ufffdb"
    pieces = [p for p in door.named("stream") if p["messageId"] == answer["id"] and "kind" not in p]
    assert "".join(p["token"] for p in pieces) == answer["text"]
    answer = await door.answer_to((await door.send(room, "둘"))["messageId"])
    assert (answer["status"], answer["text"], answer["usage"]["inputTokens"]) == ("complete", "x", 1_000_000_000)
    answer = await door.answer_to((await door.send(room, "셋"))["messageId"])
    assert (answer["status"], answer["text"]) == ("complete", "\ufffdy")


async def test_an_answer_that_cannot_be_written_ends_as_failed_and_holds_no_other_up(pods, model, monkeypatch):
    model.default = lambda body: Script(("text", "하나"), ("wait", go_on), ("text", " 둘"))
    go_on = asyncio.Event()
    pod = await pods.start(**model.openai)
    ann = await pod.person()
    rooms = [await ann.room(when="always") for _ in range(2)]
    door = await ann.native()
    bad, good = [(await door.join(room)) and (await door.send(room, "?"))["messageId"] for room in rooms]
    ids = [(await door.event("message", replyTo=sent, status="streaming"))["id"] for sent in (bad, good)]
    renew, finish = generations.renew_all, generations.finish

    def renew_all(sql, work, lease_s):
        if any(fence.message_id == ids[0] for fence, *_ in work):
            raise ValueError("no row holds this")
        return renew(sql, work, lease_s)

    def write(sql, fence, room_id, asked_by, end):
        if fence.message_id == ids[0] and end.content:
            raise ValueError("no row holds this")
        return finish(sql, fence, room_id, asked_by, end)

    monkeypatch.setattr(generations, "renew_all", renew_all)
    monkeypatch.setattr(generations, "finish", write)
    failed = await door.final(ids[0], 10)
    assert (failed["status"], failed["text"], failed["error"]["code"], failed["attempt"]) == (
        "failed",
        "",
        "internal",
        1,
    )
    go_on.set()
    assert (await door.final(ids[1], 5))["text"] == "하나 둘"


@pytest.mark.parametrize("end", ["stopped", "timed out", "refused"])
async def test_a_model_that_works_and_says_nothing_costs_what_it_was_given(pods, model, end):
    model.scripts = [Script(("status", 401)) if end == "refused" else Script(("hang",))]
    ann, room, door, sent = await ask(
        pods, model, first_token_timeout_s=1 if end == "timed out" else 30, provider_retries=0
    )
    await model.calls_are(1)
    queued = await door.event("message", replyTo=sent["messageId"], role="bot")
    if end == "stopped":
        await door.ask("stop", {"messageId": queued["id"]})
    answer = await door.final(queued["id"])
    assert answer["status"] == ("stopped" if end == "stopped" else "failed")
    month = (await ann.get("/users/me/usage"))["month"]
    if end == "refused":
        assert "usage" not in answer and month["inputTokens"] == 0
    else:
        assert answer["usage"]["estimated"] is True and answer["usage"]["outputTokens"] == 0
        assert month["inputTokens"] == answer["usage"]["inputTokens"] > 0


async def test_an_end_whose_commit_is_never_answered_is_counted_and_told_once(pods, model, monkeypatch):
    model.scripts = [Script(("text", "하나"), ("usage", 100, 7))]
    pod = await pods.start(**model.openai)
    run, lost = pod.services.db.run, []

    async def losing(fn, *given, **more):
        done = await run(fn, *given, **more)
        if fn.__name__ == "_write_end" and not lost:
            lost.append(fn)
            raise DatabaseUnavailable("the connection broke behind COMMIT")
        return done

    monkeypatch.setattr(pod.services.db, "run", losing)
    ann = await pod.person("Ann")
    room = (await ann.post("/rooms", {}))["id"]
    door = await ann.native()
    await door.join(room)
    answer = await door.answer_to((await door.send(room, "이름이 될 말"))["messageId"])
    assert lost and answer["status"] == "complete"
    assert (await ann.get("/users/me/usage"))["month"]["inputTokens"] == 100
    await door.event("room", name="이름이 될 말")


ODD = [
    b'data: {"choices":[{"delta":{"content":"\xeb\x84\xa4"},"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"delta":null,"finish_reason":"stop"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":12.0,"completion_tokens":3.0}}\n\n',
]
SAID = [
    b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"\xeb\x84\xa4"}}\n\n',
    b'data: {"type":"message_stop"}\n\n',
]


@pytest.mark.parametrize(
    ("provider", "raw", "end"),
    [
        ("openai", ODD, ("hang",)),
        ("openai", ODD, ("cut",)),
        ("anthropic", SAID, ("hang",)),
        ("anthropic", SAID, ("cut",)),
    ],
)
async def test_an_answer_that_is_finished_is_complete_whatever_becomes_of_its_connection(
    pods, model, monkeypatch, provider, raw, end
):
    monkeypatch.setattr("services.generation.AFTER_S", 0.2)
    model.scripts = [Script(*(("raw", one) for one in raw), end)]
    _, _, door, sent = await ask(pods, model, provider)
    answer = await door.answer_to(sent["messageId"], 10)
    assert (answer["status"], answer["text"]) == ("complete", "네")
    if provider == "openai":
        assert answer["usage"] == {"inputTokens": 12, "outputTokens": 3}


async def test_a_model_that_only_thinks_has_given_no_answer(pods, model):
    model.scripts = [Script(("think", "음, 음."), ("usage", 1, 1))]
    _, _, door, sent = await ask(pods, model)
    answer = await door.answer_to(sent["messageId"])
    assert (answer["status"], answer["text"], answer["reasoning"]["text"]) == ("failed", "", "음, 음.")


async def test_an_answer_to_what_was_deleted_is_not_made_again_and_names_no_room(pods, model):
    go_on = asyncio.Event()
    model.scripts = [Script(("text", "하나 "), ("wait", go_on), ("text", "둘"), ("usage", 1, 1))]
    pod = await pods.start(**model.openai)
    ann = await pod.person()
    room = (await ann.post("/rooms", {}))["id"]
    door = await ann.native()
    await door.join(room)
    sent = await door.send(room, "비밀이 될 말")
    await door.event("stream")
    await door.ask("delete", {"messageId": sent["messageId"]})
    go_on.set()
    answer = await door.answer_to(sent["messageId"])
    assert answer["text"] == "하나 둘" and (await ann.get(f"/rooms/{room}"))["name"] == ""
    with pytest.raises(Refused, match=r"message\.reply_not_found"):
        await door.ask("regenerate", {"messageId": answer["id"]})
    assert (await ann.get(f"/messages/{answer['id']}"))["text"] == "하나 둘"


async def test_a_room_that_is_locked_holds_up_no_other_rooms_answer(pods, model, database_url):
    pod = await pods.start(**model.openai)
    ann = await pod.person()
    door = await ann.native()
    rooms, answers = [await ann.room(when="always") for _ in range(2)], []
    for room in rooms:
        await door.join(room)
        answers.append((await door.answer_to((await door.send(room, "?"))["messageId"]))["id"])
    model.default = lambda body: Script(("text", "noch einmal"))
    again = "update messages set status = 'queued', content = '' where id = %s"
    held = psycopg2.connect(database_url)
    with held, held.cursor() as cursor:
        cursor.execute("select from room_heads where room_id = %s for update", (rooms[0],))
        for answer in answers:
            await pod.services.db.run(lambda sql, answer: sql.run(again, answer), answer)
            pod.services.generation.nudge()
            await pod.waits("%maru_lock_room%")
        await door.event("message", 5, id=answers[1], status="complete", text="noch einmal")
    held.close()
    await door.event("message", id=answers[0], status="complete", text="noch einmal")


async def test_a_room_is_named_after_its_first_exchange_also_when_it_failed(pods, model):
    model.scripts = [Script(("status", 401))]
    pod = await pods.start(**model.openai)
    ann = await pod.person()
    room = (await ann.post("/rooms", {}))["id"]
    door = await ann.native()
    await door.join(room)
    await door.answer_to((await door.send(room, "첫 이야기"))["messageId"])
    await door.event("room", name="첫 이야기")


async def test_a_model_that_only_counts_has_not_begun(pods, model):
    counted = b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 0}}\n\n'
    model.scripts = [Script(*(("raw", counted), ("pause", 0.1)) * 100, ("text", "이제야"))]
    _, _, door, sent = await ask(pods, model, first_token_timeout_s=0.5, provider_retries=0)
    answer = await door.answer_to(sent["messageId"], 5)
    assert (answer["status"], answer["error"]["code"]) == ("failed", "generation.timeout")


async def test_what_a_model_counted_that_failed_is_not_the_next_ones(pods, model):
    counted = b'data: {"choices": [], "usage": {"prompt_tokens": 90000, "completion_tokens": 7}}\n\n'
    model.scripts = [Script(("raw", counted), ("cut",)), Script(("text", "대신 답해요"))]
    _, _, door, sent = await ask(pods, model, provider_retries=0, fallback_models=("openai:m2",))
    answer = await door.answer_to(sent["messageId"])
    assert (answer["status"], answer["model"], answer["usage"]["estimated"]) == ("complete", "m2", True)
    assert answer["usage"]["inputTokens"] < 1000


async def test_a_room_with_a_provider_that_is_not_set_up_says_so(pods, model):
    pod = await pods.start(**model.openai)
    ann = await pod.person()
    room = await ann.room(when="always", bot={"provider": "anthropic"})
    door = await ann.native()
    await door.join(room)
    answer = await door.answer_to((await door.send(room, "?"))["messageId"])
    assert answer["error"]["code"] == "bot.provider_unavailable" and "usage" not in answer


@pytest.mark.parametrize(
    ("when", "text", "answered"),
    [
        ("always", "안녕", True),
        ("off", "@Maru 안녕", False),
        ("mention", "안녕", False),
        ("mention", "hey @mARU, 안녕", True),
    ],
)
async def test_who_is_answered(pods, when, text, answered):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room(when=when)
    door = await ann.native()
    await door.join(room)
    sent = await door.send(room, text)
    page = await ann.get(f"/rooms/{room}/messages")
    assert [m.get("replyTo") for m in page["messages"]] == ([None, sent["messageId"]] if answered else [None])


async def test_a_reply_to_the_bot_is_a_mention(pods):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room(when="mention")
    door = await ann.native()
    await door.join(room)
    first = await door.answer_to((await door.send(room, "@maru?"))["messageId"])
    sent = await door.send(room, "왜요?", replyTo=first["id"])
    assert (await door.answer_to(sent["messageId"]))["status"] == "complete"


async def test_edits_and_repeats_make_no_second_answer(pods, model):
    ann, room, door, sent = await ask(pods, model, text="하나")
    await door.answer_to(sent["messageId"])
    await door.ask("edit", {"messageId": sent["messageId"], "text": "하나 반"})
    again = await door.send(room, "둘", clientId="k")
    await door.answer_to(again["messageId"])
    repeat = await door.send(room, "다른 글", clientId="k")
    assert repeat["duplicate"] is True and repeat["messageId"] == again["messageId"]
    page = await ann.get(f"/rooms/{room}/messages")
    assert len(page["messages"]) == 4


async def test_deleting_a_running_answer_stops_it_first(pods, model):
    model.scripts = [Script(("text", "비밀"), ("hang",))]
    ann, room, door, sent = await ask(pods, model)
    piece = await door.event("stream")
    await door.ask("delete", {"messageId": piece["messageId"]})
    gone = await door.event("message", id=piece["messageId"], deleted=True)
    assert gone["text"] == "" and "reasoning" not in gone and "model" not in gone
    async with asyncio.timeout(3):
        while model.open:
            await asyncio.sleep(0.01)
    after = await door.send(room, "다음")
    assert (await door.answer_to(after["messageId"]))["status"] == "complete"
    assert (await ann.get(f"/messages/{piece['messageId']}"))["deleted"] is True


async def test_who_joins_in_mid_answer_gets_the_text_so_far_and_the_next_piece(pods, model):
    gate = asyncio.Event()
    model.scripts = [Script(("text", "하나 "), ("text", "둘 "), ("wait", gate), ("text", "셋"), ("usage", 1, 1))]
    ann, room, door, sent = await ask(pods, model)
    await door.wait(lambda d: "".join(p["token"] for p in d.named("stream")) == "하나 둘 ")
    late = await ann.native()
    joined = await late.join(room)
    (running,) = joined["streams"]
    assert running["text"] == "하나 둘 " and running["attempt"] == 1
    gate.set()
    answer = await late.final(running["messageId"])
    pieces = late.named("stream")
    assert pieces[0]["n"] == running["next"]
    assert running["text"] + "".join(p["token"] for p in pieces) == answer["text"] == "하나 둘 셋"


async def test_an_answer_of_a_dead_worker_is_made_by_another_under_a_higher_attempt(pods, model):
    model.scripts = [Script(("text", "헌 "), ("hang",)), Script(("text", "새 답"), ("usage", 1, 1))]
    ann, room, door, sent = await ask(pods, model, lease_s=1)
    piece = await door.event("stream")
    worker = ann.pod.services.generation
    (answer,) = worker._running.values()
    # As if the process had stopped: no heartbeat, no writes.
    worker._running.clear()
    other = await pods.start(**model.openai, lease_s=1)
    bob_door = await ann.native(other)
    await bob_door.join(room)
    final = await bob_door.final(piece["messageId"])
    assert (final["text"], final["attempt"]) == ("새 답", 2)
    # The one that was only paused wakes up: nothing that it writes counts.
    answer.halt()
    await asyncio.wait([answer.task], timeout=5)
    assert (await ann.get(f"/messages/{piece['messageId']}"))["text"] == "새 답"


async def test_a_drain_hands_the_lease_back_at_once(pods, model):
    model.scripts = [Script(("text", "헌 "), ("hang",)), Script(("text", "새 답"), ("usage", 1, 1))]
    ann, room, door, sent = await ask(pods, model, drain_s=0.1)
    piece = await door.event("stream")
    other = await pods.start(**model.openai)
    there = await ann.native(other)
    await there.join(room)
    await ann.pod.services.generation.drain(0.1)
    final = await there.final(piece["messageId"], limit_s=5)
    assert (final["text"], final["attempt"]) == ("새 답", 2)


async def test_a_drain_comes_to_its_end_though_the_database_is_away(pods, monkeypatch):
    pod = await pods.start()

    async def away(*given):
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(pod.services.db, "run", away)
        await asyncio.wait_for(pod.services.drain(), 10)


async def test_a_room_without_a_name_is_named_after_its_first_exchange(pods):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.post("/rooms", {})
    assert room["name"] == ""
    door = await ann.native()
    await door.join(room["id"])
    await door.send(room["id"], "제주 여행 일정 짜 줘\n3박 4일")
    await door.event("room", id=room["id"], name="제주 여행 일정 짜 줘")
