"""What the model is given of the past, through real rooms and a scripted model."""

import asyncio
import gc
import threading

from services import retrieval
from tests.services.test_search import indexed

FACT = "냉장고 비밀번호는 4817번이에요"


async def story(pods, model, *, when="always", context=2, others=0, **settings):
    pod = await pods.start(**model.openai, sends_per_10s=0, **settings)
    ann = await pod.person("Ann")
    people = [await pod.person(f"P{n}") for n in range(others)]
    room = await ann.room(*people, bot={"when": when, "contextMessages": context})
    door = await ann.native()
    await door.join(room)
    return pod, ann, people, room, door


async def say(who, room, *texts):
    return [(await who.post(f"/rooms/{room}/messages", {"text": text}))["messageId"] for text in texts]


async def asked(model, door, room, text):
    """(the last turn, the answer)"""
    answer = await door.answer_to((await door.send(room, text))["messageId"])
    return model.calls[-1]["messages"][-1]["content"], answer


async def test_what_was_said_long_ago_comes_back_with_its_neighbours_and_is_cited(pods, model):
    pod, ann, _, room, door = await story(pods, model, when="mention")
    ids = await say(ann, room, "냉장고 열쇠 어디 있지?", FACT, "고마워!", *(f"딴 얘기 {n}" for n in range(30)))
    for _ in range(2):
        turn, answer = await asked(model, door, room, "@Maru 냉장고 비밀번호가 뭐였지?")
        assert f"\n> {FACT}\n" in turn and turn.index("> 냉장고 열쇠") < turn.index(FACT) < turn.index("> 고마워!")
        assert turn.endswith("\n\nAnn: @Maru 냉장고 비밀번호가 뭐였지?") and "\n[1]\nAnn, 20" in turn
        assert answer["sources"][0] == {"messageId": ids[1], "roomId": room}
        context = await ann.context(answer["id"])
        assert context["messages"][-1]["text"] == turn and context["sources"] == answer["sources"]
        await indexed(pod)


async def test_what_the_last_messages_hold_is_not_given_twice(pods, model):
    _, ann, _, room, door = await story(pods, model, when="mention", context=20)
    await say(ann, room, FACT, "고마워!")
    turn, answer = await asked(model, door, room, "@Maru 냉장고 비밀번호가 뭐였지?")
    assert turn.count(FACT) == 1 and "[1]" not in turn and "sources" not in answer
    await say(ann, room, *(f"딴 얘기 {n}" for n in range(5)), "냉장고 비밀번호 바꾸자", *(f"또 {n}" for n in range(13)))
    turn, _ = await asked(model, door, room, "@Maru 냉장고 비밀번호가 뭐였지?")
    assert turn.count("냉장고 비밀번호 바꾸자") == 1 and turn.count(FACT) == 1


async def test_only_what_every_reader_may_read_is_given(pods, model):
    _, ann, (bob,), shared, door = await story(pods, model, others=1)
    private, third = await ann.room(when="always"), await ann.room(bob, when="off")
    await say(ann, private, FACT)
    await say(bob, third, "공용 프린터 비밀번호는 9921")
    await asyncio.sleep(0)
    turn, answer = await asked(model, door, shared, "냉장고 비밀번호 알려줘")
    assert "4817" not in str(model.calls[-1]) and "9921" in turn  # the printer's is everybody's
    assert answer["sources"] == [{"messageId": answer["sources"][0]["messageId"], "roomId": third}]
    await door.join(private)
    turn, answer = await asked(model, door, private, "냉장고 비밀번호 알려줘")
    assert FACT in str(model.calls[-1])  # she alone reads here
    await ann.call("DELETE", f"/rooms/{third}/members/{bob.id}")
    turn, answer = await asked(model, door, shared, "프린터 비밀번호 알려줘")
    assert "9921" not in str(model.calls[-1]["messages"][-1])


async def test_who_joins_later_does_not_see_what_came_from_elsewhere(pods, model):
    pod, ann, _, room, door = await story(pods, model)
    other = await ann.room(when="off")
    await say(ann, other, FACT)
    turn, answer = await asked(model, door, room, "냉장고 비밀번호 알려줘")
    assert FACT in turn
    bob = await pod.person("Bob")
    await ann.post(f"/rooms/{room}/members", {"userId": bob.id})
    theirs, hers = [await who.context(answer["id"]) for who in (bob, ann)]
    assert hers["messages"][-1]["text"] == turn
    assert "4817" not in str(theirs) and "[1] (not for you to read, or deleted since)" in theirs["messages"][-1]["text"]
    assert "sources" not in theirs
    eve = await pod.person("Eve")
    assert (await eve.call("GET", f"/messages/{answer['id']}/context"))[0] == 404


async def test_what_is_deleted_later_is_not_kept_in_what_the_model_was_given(pods, model):
    _, ann, _, room, door = await story(pods, model)
    other = await ann.room(when="off")
    ids = await say(ann, other, "앞", FACT, "뒤")
    _, answer = await asked(model, door, room, "냉장고 비밀번호 알려줘")
    assert answer["sources"][0]["messageId"] == ids[1]
    assert "4817" in str(await ann.context(answer["id"]))
    await ann.call("DELETE", f"/messages/{ids[2]}")
    context = await ann.get(f"/messages/{answer['id']}/context")
    assert "4817" not in str(context) and "deleted since" in context["messages"][-1]["text"]


async def test_a_room_with_memory_off_neither_takes_nor_gives(pods, model):
    _, ann, _, room, door = await story(pods, model)
    other = await ann.room(when="off")
    await say(ann, other, FACT)
    await ann.patch(f"/rooms/{other}", {"bot": {"retrieval": False}})
    turn, _ = await asked(model, door, room, "냉장고 비밀번호 알려줘")
    assert turn == "Ann: 냉장고 비밀번호 알려줘"
    await ann.patch(f"/rooms/{other}", {"bot": {"retrieval": True}})
    await ann.patch(f"/rooms/{room}", {"bot": {"retrieval": False}})
    turn, _ = await asked(model, door, room, "냉장고 비밀번호 알려줘요")
    assert turn == "Ann: 냉장고 비밀번호 알려줘요"


async def test_the_server_may_keep_memory_to_the_room_or_off(pods, model):
    for given in ({"retrieval_scope": "room"}, {"retrieval": False}):
        _, ann, _, room, door = await story(pods, model, **given)
        other = await ann.room(when="off")
        await say(ann, other, FACT)
        turn, _ = await asked(model, door, room, "냉장고 비밀번호 알려줘")
        assert turn == "Ann: 냉장고 비밀번호 알려줘"


async def test_deleted_and_edited_messages_are_given_as_they_are_now(pods, model):
    pod, ann, _, room, door = await story(pods, model, when="mention")
    ids = await say(ann, room, FACT, "현관 비밀번호는 1111", *(f"딴 얘기 {n}" for n in range(10)))
    await indexed(pod)
    await ann.call("DELETE", f"/messages/{ids[0]}")
    await ann.patch(f"/messages/{ids[1]}", {"text": "현관 비밀번호는 2222"})
    turn, _ = await asked(model, door, room, "@Maru 냉장고와 현관 비밀번호는?")
    assert "4817" not in turn and "1111" not in turn and "2222" in turn


async def test_an_answer_does_not_wait_for_a_search_that_hangs(pods, model, monkeypatch):
    monkeypatch.setattr(retrieval, "MOST_S", 0.3)
    pod, ann, _, room, door = await story(pods, model, when="mention")
    await say(ann, room, FACT, *(f"딴 얘기 {n}" for n in range(10)))
    run = pod.services.retrieval._find

    def hang(sql, *rest):
        sql.rows("select pg_sleep(1)")
        return run(sql, *rest)

    monkeypatch.setattr(pod.services.retrieval, "_find", hang)
    turn, answer = await asked(model, door, room, "@Maru 냉장고 비밀번호?")
    assert turn.endswith("Ann: @Maru 냉장고 비밀번호?") and "4817" not in turn and answer["status"] == "complete"


async def test_searches_that_nobody_waits_for_any_more_hold_half_of_the_threads_at_most(
    pods, model, monkeypatch, caplog
):
    monkeypatch.setattr(retrieval, "MOST_S", 0.2)
    pod, ann, _, room, door = await story(pods, model, when="mention", database_threads=4)
    await say(ann, room, *(f"딴 얘기 {n}" for n in range(5)))
    go, at_once, most = threading.Event(), 0, 0

    def hang(sql, *rest):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        go.wait(10)
        at_once -= 1
        sql.rows("select no_such_column")

    monkeypatch.setattr(pod.services.retrieval, "_find", hang)
    try:
        for _ in range(5):
            await asked(model, door, room, "@Maru 냉장고 비밀번호?")
        assert most == 2
    finally:
        go.set()
    async with asyncio.timeout(5):  # the turns come back
        assert await asyncio.gather(*(pod.services.search.snapshot(lambda sql: 1) for _ in range(2))) == [1, 1]
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_an_answer_comes_without_its_past_when_the_search_fails(pods, model, monkeypatch):
    pod, ann, _, room, door = await story(pods, model, when="mention")
    await say(ann, room, FACT, *(f"딴 얘기 {n}" for n in range(10)))
    monkeypatch.setattr(pod.services.retrieval, "_find", lambda sql, *rest: sql.rows("select no_such_column"))
    turn, answer = await asked(model, door, room, "@Maru 냉장고 비밀번호?")
    assert "4817" not in turn and answer["status"] == "complete"


async def test_who_is_in_the_room_is_told(pods, model):
    _, ann, people, room, door = await story(pods, model, others=2)
    await asked(model, door, room, "안녕")
    assert model.calls[-1]["messages"][0]["content"].endswith("Members of this room: Ann, P0, P1.")


async def test_quotation_marks_in_a_question_do_not_rule_anything_out(pods, model):
    _, ann, _, room, door = await story(pods, model, when="mention")
    await say(ann, room, FACT, *(f"딴 얘기 {n}" for n in range(10)))
    turn, _ = await asked(model, door, room, '@Maru "냉장고 비밀번호" 뭐라고 했더라?')
    assert FACT in turn
