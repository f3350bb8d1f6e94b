"""What a bot would answer: to its owner alone, kept nowhere, and counted."""

import asyncio

from tests.scripted_model import Script


async def ready(pods, model, **settings):
    pod = await pods.start(**model.openai, **settings)
    ann, bob = await pod.person("Ann"), await pod.person("Bob")
    room = await ann.room(bob, when="off")
    await ann.post(f"/rooms/{room}/messages", {"text": "출시는 금요일이에요."})
    return ann, bob, room


async def test_the_owner_hears_what_the_changed_bot_would_say(pods, model):
    ann, bob, room = await ready(pods, model)
    model.scripts = [Script(("think", "음."), ("text", "금요일"), ("text", "이요."), ("usage", 31, 7))]
    door = await bob.native()
    await door.join(room)
    patch = {"systemPrompt": "짧게.", "temperature": 0.2, "model": "m9", "contextMessages": 5}
    made = await ann.post(f"/rooms/{room}/preview", {"text": "언제 나가요?", "bot": patch})
    assert made == {"text": "금요일이요.", "provider": "openai", "model": "m9", "inputTokens": 31, "outputTokens": 7}
    (body,) = model.calls
    assert body["model"] == "m9" and body["temperature"] == 0.2
    assert [turn["content"] for turn in body["messages"] if turn["role"] != "system"] == [
        "Ann: 출시는 금요일이에요.\n\nAnn: 언제 나가요?"
    ]
    assert body["messages"][0]["content"].startswith("짧게.")
    # nothing was changed, nobody heard of it, and it is counted
    assert (await ann.get(f"/rooms/{room}"))["bot"]["systemPrompt"] == ""
    assert (await ann.get(f"/rooms/{room}"))["lastSeq"] == 1
    await asyncio.sleep(0.1)
    assert [name for name, _ in door.events if name in ("message", "stream")] == []
    assert (await ann.get("/users/me/usage"))["month"]["outputTokens"] == 7


async def test_an_absurd_figure_of_a_provider_takes_nothing_from_anybody(pods, model):
    ann, _, room = await ready(pods, model)
    model.scripts = [Script(("text", "네"), ("usage", 10**12, -5))]
    made = await ann.post(f"/rooms/{room}/preview", {"text": "?"})
    assert (made["text"], made["inputTokens"], made["outputTokens"]) == ("네", 10**9, 0)


async def test_only_owners_may_and_only_what_a_patch_may_hold(pods, model):
    ann, bob, room = await ready(pods, model)
    cho = await bob.pod.person("Cho")
    path = f"/rooms/{room}/preview"
    for who, status, code in [(bob, 403, "room.forbidden"), (cho, 404, "room.not_found")]:
        refused = await who.call("POST", path, {"text": "질문"})
        assert (refused[0], refused[1]["code"]) == (status, code)
    for body, field in [
        ({}, "text"), ({"text": ""}, "text"), ({"text": "a" * 4001}, "text"),
        ({"text": "질문", "bot": {"temperature": 3}}, "bot.temperature"),
    ]:  # fmt: skip
        status, problem = await ann.call("POST", path, body)
        assert (status, problem["field"]) == (422, field)
    nowhere = await ann.call("POST", path, {"text": "질문", "bot": {"provider": "anthropic"}})
    assert (nowhere[0], nowhere[1]["code"], nowhere[1]["field"]) == (422, "bot.provider_unavailable", "bot.provider")
    assert model.calls == []
    assert (await ann.post(path, {"text": "a" * 4000}))["text"]


async def test_a_provider_that_fails_is_told_in_words_and_what_it_cost_is_counted(pods, model):
    ann, _, room = await ready(pods, model)
    model.scripts = [Script(("status", 500)), Script(("text", "반쯤"), ("cut",))]
    for _ in range(2):
        status, problem = await ann.call("POST", f"/rooms/{room}/preview", {"text": "질문"})
        assert status == 503 and problem["code"] in ("bot.provider_unavailable", "generation.failed")
    assert (await ann.get("/users/me/usage"))["month"]["outputTokens"] > 0


async def test_ten_a_minute(pods, model):
    ann, _, room = await ready(pods, model, sends_per_10s=20)
    for _ in range(10):
        await ann.post(f"/rooms/{room}/preview", {"text": "질문"})
    status, problem = await ann.call("POST", f"/rooms/{room}/preview", {"text": "질문"})
    assert (status, problem["code"]) == (429, "rate.limited")
