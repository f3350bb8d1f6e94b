"""Budgets: kept before a call and in the middle of an answer, over all pods; told of when they are near."""

import asyncio
from decimal import Decimal
from pathlib import Path

import psycopg2
import pytest

from config.settings import SettingsError
from services.prices import load
from tests.scripted_model import Script

PRICES = """
currency = "KRW"
[models."openai:m1"]
input = 1_000_000
output = 2_000_000.5
"""


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(PRICES)
    return path


async def talk(pods, model, **settings):
    """(administrator, Ann, her room, her door)"""
    pod = await pods.start(**model.openai, sends_per_10s=0, retrieval=False, **settings)
    admin, ann = await pod.person("Admin"), await pod.person("Ann")
    room = await ann.room(when="always")
    door = await ann.native()
    await door.join(room)
    return admin, ann, room, door


async def limit(admin, **fields):
    body = {"kind": "user", "span": "day", "unit": "tokens", "soft": None, "hard": None, **fields}
    return await admin.post("/admin/budgets", body)


async def known(*pods):
    """Both have heard of the limit: at once over Redis, without it within two seconds."""
    async with asyncio.timeout(3):
        while not all(one.limited and not one._nudged.is_set() for one in (pod.services.budgets for pod in pods)):
            await asyncio.sleep(0.05)


async def ask(door, room, text="안녕"):
    return await door.answer_to((await door.send(room, text))["messageId"])


async def test_what_is_spent_ends_the_next_answer_before_its_call(pods, model):
    admin, ann, room, door = await talk(pods, model)
    model.default = lambda body: Script(("text", "네."), ("usage", 300, 100))
    await limit(admin, hard=1000)
    assert (await ask(door, room))["status"] == "complete"
    assert (await ask(door, room))["status"] == "complete"
    # 800 spent: a prompt of this length would pass 1,000
    answer = await ask(door, room, "x" * 3000)
    assert answer["status"] == "failed" and answer["text"] == ""
    assert answer["error"] == {
        "code": "budget.exceeded",
        "message": "Your budget of tokens for today is used up.",
    }
    assert len(model.calls) == 2
    usage = await ann.get("/users/me/usage")
    assert usage["budgets"] == [{"span": "day", "unit": "tokens", "hard": 1000.0, "spent": 800.0, "state": "under"}]
    assert usage["month"]["inputTokens"] == 600
    # another has a budget of his own
    bob = await ann.pod.person("Bob")
    theirs = await bob.room(when="always")
    other = await bob.native()
    await other.join(theirs)
    assert (await ask(other, theirs))["status"] == "complete"
    # and the limit can be taken away again
    await limit(admin)
    assert (await ask(door, room, "x" * 3000))["status"] == "complete"


async def test_the_limit_is_kept_in_the_middle_of_an_answer(pods, model, monkeypatch):
    monkeypatch.setattr("services.generation.BEAT_S", 30)  # what ends it is no look at the rows
    admin, _, room, door = await talk(pods, model, lease_s=60)
    await limit(admin, hard=500)
    words = [("text", "낱말 스무 글자쯤 되는 조각이에요. "), ("pause", 0.04)] * 200
    model.scripts = [Script(*words)]
    answer = await ask(door, room)
    assert answer["status"] == "stopped" and answer["text"].startswith("낱말 스무")
    assert answer["error"]["code"] == "budget.exceeded" and "stoppedBy" not in answer
    spent = answer["usage"]["inputTokens"] + answer["usage"]["outputTokens"]
    assert 500 <= spent < 1000  # a piece or two beyond it; on a machine that stands still for a second, forty
    async with asyncio.timeout(2):
        while model.open:  # the call was ended too
            await asyncio.sleep(0.05)
    assert (await admin.get("/admin/errors"))["items"][0]["kind"] == "budget.exceeded"


async def test_a_soft_limit_is_told_of_once_and_ends_nothing(pods, model):
    admin, ann, room, door = await talk(pods, model)
    model.default = lambda body: Script(("text", "네."), ("usage", 300, 100))
    line = await limit(admin, id=ann.id, soft=350, hard=5000)
    assert line == {
        "kind": "user", "span": "day", "unit": "tokens", "id": ann.id, "name": "Ann", "soft": 350.0, "hard": 5000.0,
    }  # fmt: skip
    for _ in range(3):
        assert (await ask(door, room))["status"] == "complete"
    faults = (await admin.get("/admin/errors"))["items"]
    assert [(f["kind"], f["count"]) for f in faults] == [("budget.soft", 1)]
    assert ann.id in faults[0]["example"] and "Ann" not in faults[0]["example"]
    (budget,) = (await ann.get("/users/me/usage"))["budgets"]
    assert (budget["spent"], budget["state"]) == (1200.0, "soft")
    (line,) = (await admin.get("/admin/budgets"))["items"]
    assert (line["id"], line["spent"], line["state"]) == (ann.id, 1200.0, "soft")


async def test_money_is_counted_by_the_price_of_the_model(pods, model, prices):
    admin, ann, room, door = await talk(pods, model, prices_file=prices)
    model.default = lambda body: Script(("text", "네."), ("usage", 30, 10))
    await limit(admin, kind="room", unit="money", span="month", hard=200)
    assert (await ask(door, room))["status"] == "complete"  # 30 * 1 + 10 * 2.0000005
    usage = await ann.get("/users/me/usage")
    assert usage["currency"] == "KRW" and usage["today"]["cost"] == pytest.approx(50.000005)
    await limit(admin, kind="room", id=room, unit="money", span="month", hard=51)
    answer = await ask(door, room)
    assert answer["error"] == {
        "code": "budget.exceeded", "message": "This room's budget of money for this month is used up.",
    }  # fmt: skip
    (line,) = (await admin.get("/admin/stats?by=room"))["items"]
    assert line["cost"] == pytest.approx(50.000005) and (line["answers"], line["failed"]) == (2, 1)
    overview = await admin.get("/admin/overview")
    assert overview["currency"] == "KRW" and overview["unpriced"] == []
    # whose budget it is, everyone's or one's own: the nearer line holds alone
    assert [line.get("id") for line in (await admin.get("/admin/budgets"))["items"]] == [None, room]


async def test_two_pods_do_not_give_the_last_of_a_budget_away_twice(pods, model):
    one = await pods.start(**model.openai, sends_per_10s=0, retrieval=False)
    two = await pods.start(**model.openai, sends_per_10s=0, retrieval=False)
    admin, ann = await one.person("Admin"), await one.person("Ann")
    rooms = [await ann.room(when="always") for _ in range(6)]
    doors = [await ann.native(pod=(one, two)[i % 2]) for i in range(6)]
    for door, room in zip(doors, rooms, strict=True):
        await door.join(room)
    go = asyncio.Event()
    model.default = lambda body: Script(("wait", go), ("text", "네."), ("usage", 900, 10))
    await limit(admin, hard=2000)
    await known(one, two)
    long = "가" * 1200  # a prompt of about 900 tokens: two fit into 2,000
    sent = await asyncio.gather(*(door.send(room, long) for door, room in zip(doors, rooms, strict=True)))
    refused = asyncio.gather(*(door.answer_to(one["messageId"], 20) for door, one in zip(doors, sent, strict=True)))
    await model.calls_are(2)
    await asyncio.sleep(1.5)  # a beat or two
    assert len(model.calls) == 2
    go.set()
    answers = await refused
    assert sorted(answer["status"] for answer in answers) == ["complete"] * 2 + ["failed"] * 4


async def test_what_runs_on_another_pod_counts_while_it_runs(pods, model):
    one = await pods.start(**model.openai, sends_per_10s=0, retrieval=False)
    two = await pods.start(**model.openai, sends_per_10s=0, retrieval=False)
    admin, ann = await one.person("Admin"), await one.person("Ann")
    rooms = [await ann.room(when="always") for _ in range(2)]
    doors = [await ann.native(pod=pod) for pod in (one, two)]
    for door, room in zip(doors, rooms, strict=True):
        await door.join(room)
    words = [("text", "낱말 스무 글자쯤 되는 조각이에요. "), ("pause", 0.1)] * 400
    model.default = lambda body: Script(*words)
    await limit(admin, hard=1000)
    await known(one, two)
    sent = [await door.send(room, "안녕") for door, room in zip(doors, rooms, strict=True)]
    answers = [await door.answer_to(one["messageId"], 30) for door, one in zip(doors, sent, strict=True)]
    assert [answer["error"]["code"] for answer in answers] == ["budget.exceeded"] * 2
    total = sum(answer["usage"]["inputTokens"] + answer["usage"]["outputTokens"] for answer in answers)
    # each hears of the other once a second: together they pass the limit by what two say in that time, about 250;
    # each for itself would say 1,000
    assert 1000 <= total < 1900
    held = await one.services.db.run_bare(lambda sql: sql.row("select count(*) from spending"))
    assert held == (0,)


async def test_an_answer_that_is_deleted_or_whose_room_goes_has_cost_what_it_cost(pods, model):
    admin, ann, room, door = await talk(pods, model)
    await limit(admin, hard=100_000)
    other = await ann.room(when="always")
    await door.join(other)
    for place, gone in ((room, "message"), (other, "room")):
        model.scripts = [Script(("text", "가" * 600), ("hang",))]
        sent = await door.send(place, "질문")
        running = await door.event("message", replyTo=sent["messageId"], status="streaming")
        await door.event("stream", messageId=running["id"])
        before = (await ann.get("/users/me/usage"))["today"]
        if gone == "message":
            await door.ask("delete", {"messageId": running["id"]})
        else:
            assert (await ann.call("DELETE", f"/rooms/{place}"))[0] == 204
        async with asyncio.timeout(6):
            while (now := (await ann.get("/users/me/usage"))["today"])["outputTokens"] < before["outputTokens"] + 400:
                await asyncio.sleep(0.1)
        assert now["inputTokens"] > before["inputTokens"], gone
    (line,) = (await admin.get("/admin/stats?by=model"))["items"]
    assert line["answers"] == 0 and line["outputTokens"] >= 800  # of these there is no answer
    async with asyncio.timeout(5):
        while model.open:
            await asyncio.sleep(0.05)


async def test_the_end_of_an_answer_and_of_its_room_lock_in_the_same_order(pods, model):
    admin, ann, room, door = await talk(pods, model)
    await limit(admin, hard=100_000)
    go = asyncio.Event()
    model.scripts = [Script(("text", "하나"), ("wait", go), ("usage", 1, 1))]
    sent = await door.send(room, "질문")
    await door.event("stream")
    connection = psycopg2.connect(pods.database_url)
    try:
        with connection, connection.cursor() as cursor:  # what deleting a room does, slowly
            cursor.execute("set local lock_timeout = '300ms'")  # before Postgres would see a circle, and break it
            cursor.execute("select from room_heads where room_id = %s for update", (room,))
            go.set()
            await ann.pod.waits("%from room_heads%for update%")  # the end of the answer waits for the head
            cursor.execute("delete from spending where room_id = %s", (room,))
            assert cursor.rowcount == 1
    finally:
        connection.close()
    assert (await door.answer_to(sent["messageId"]))["status"] == "complete"


async def test_what_a_pod_hands_back_when_it_stops_is_counted(pods, model):
    admin, ann, room, door = await talk(pods, model)
    model.scripts = [Script(("text", "가" * 300), ("hang",))]
    sent = await door.send(room, "질문")
    running = await door.event("message", replyTo=sent["messageId"], status="streaming")
    await door.event("stream", messageId=running["id"])
    await admin.pod.services.generation.drain(0.05)
    assert (await ann.get("/users/me/usage"))["today"]["outputTokens"] >= 200


async def test_a_limit_that_is_taken_away_ends_nothing_any_more(pods, model):
    admin, _, room, door = await talk(pods, model)
    await limit(admin, hard=2000)
    go = asyncio.Event()
    model.scripts = [Script(("text", "하나 "), ("wait", go), ("text", "가" * 6000), ("usage", 10, 10))]
    sent = await door.send(room, "질문")
    await door.event("stream")
    running = admin.pod.services.generation._running
    assert len(running) == 1
    await limit(admin)
    async with asyncio.timeout(5):
        while admin.pod.services.budgets.limited:
            await asyncio.sleep(0.05)
    async with asyncio.timeout(5):  # a beat
        while any(one.allowance and one.allowance.passed(6000, Decimal(0)) for one in running.values()):
            await asyncio.sleep(0.05)
    go.set()
    assert (await door.answer_to(sent["messageId"]))["status"] == "complete"


async def test_a_room_takes_its_limits_with_it(pods, model):
    admin, ann, room, _ = await talk(pods, model)
    await limit(admin, kind="room", id=room, hard=5)
    assert (await ann.call("DELETE", f"/rooms/{room}"))[0] == 204
    assert (await admin.get("/admin/budgets"))["items"] == []


async def test_the_soft_limit_is_told_of_also_where_the_hard_one_refuses(pods, model):
    admin, _, room, door = await talk(pods, model)
    model.default = lambda body: Script(("text", "네."), ("usage", 300, 100))
    assert (await ask(door, room))["status"] == "complete"
    await limit(admin, soft=300, hard=400)
    assert (await ask(door, room))["error"]["code"] == "budget.exceeded"
    assert {fault["kind"] for fault in (await admin.get("/admin/errors"))["items"]} == {
        "budget.soft",
        "budget.exceeded",
    }


async def test_a_preview_costs_too(pods, model):
    admin, ann, room, _ = await talk(pods, model)
    await limit(admin, hard=10)
    await known(ann.pod)
    status, problem = await ann.call("POST", f"/rooms/{room}/preview", {"text": "길게 " * 20})
    assert (status, problem["code"]) == (429, "budget.exceeded") and problem["retryAfterMs"] > 0
    assert model.calls == []


async def test_budgets_say_what_is_wrong_with_them(pods, model):
    admin, ann, room, _ = await talk(pods, model)
    good = {"kind": "user", "span": "day", "unit": "tokens", "soft": 1, "hard": 2}
    for change, status, field in (
        ({"soft": 3}, 422, "soft"),
        ({"hard": -1}, 422, "hard"),
        ({"hard": "x"}, 422, "hard"),
        ({"span": "year"}, 422, "span"),
        ({"id": room}, 404, None),
        ({"id": "x"}, 404, "id"),
        ({"kind": "room", "id": ann.id}, 404, None),
    ):
        got, problem = await admin.call("POST", "/admin/budgets", {**good, **change})
        assert (got, problem.get("field")) == (status, field), change
    assert (await ann.call("POST", "/admin/budgets", good))[0] == 403
    assert (await admin.get("/admin/budgets"))["items"] == []


@pytest.mark.parametrize(
    "text",
    [
        "currency = 3",
        "else = 1",
        '[models."m1"]\ninput = 1\noutput = 1',
        '[models."openai:m1"]\ninput = 1',
        '[models."openai:m1"]\ninput = "much"\noutput = 1',
        '[models."openai:m1"]\ninput = -1\noutput = 1',
        '[models."openai:m1"]\ninput = inf\noutput = 1',
        "[models",
    ],
)
def test_a_wrong_file_of_prices_is_told_with_its_name(tmp_path, text):
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"PRICES_FILE: .*prices\.toml"):
        load(path)


def test_a_models_own_price_goes_before_its_providers(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(
        '[models."openai:*"]\ninput = 1\noutput = 1\n[models."openai:big"]\ninput = 1_000_000\noutput = 0\n'
    )
    prices = load(path)
    assert float(prices.cost("openai", "big", 3, 9)) == 3
    assert float(prices.cost("openai", "other", 500_000, 500_000)) == 1
    assert prices.cost("anthropic", "c1", 1, 1) is None
    assert prices.cost("demo", "demo", 5, 5) == 0
    assert prices.without(["openai:x", "anthropic:c1"]) == ["anthropic:c1"]
    assert load(None).currency == "USD"


async def test_a_pod_that_makes_no_answer_asks_for_no_allowance(pods, model, monkeypatch):
    monkeypatch.setattr("services.generation.BEAT_S", 0.01)
    admin, ann, room, door = await talk(pods, model)
    budgets, looked = ann.pod.services.budgets, []
    await limit(admin, hard=100_000)
    await known(ann.pod)
    renew = budgets.renew

    async def looking(held):
        looked.append(len(held))
        return await renew(held)

    monkeypatch.setattr(budgets, "renew", looking)
    await asyncio.sleep(0.3)
    assert looked == []
    model.default = lambda body: Script(("text", "하나 "), ("pause", 0.2), ("text", "둘"), ("usage", 1, 1))
    assert (await ask(door, room))["status"] == "complete"
    assert looked and set(looked) == {1}
