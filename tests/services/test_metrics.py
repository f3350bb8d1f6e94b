"""What a pod tells Prometheus is what happened."""

import asyncio
import math
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from handlers.routes import ROUTES as PATHS
from services import exposition
from services.metrics import ROUTES
from tests.contracts.redis_servers import Redis
from tests.pods import Refused
from tests.scripted_model import Script


async def samples(pod):
    """(name, labels) -> value, of all that is exposed."""
    text = (await pod.call("GET", "/metrics"))[1]
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Since:
    """How much each sample has grown since it was made."""

    def __init__(self, pod, before):
        self.pod, self.before = pod, before

    async def grown(self, name, **labels):
        key = (name, tuple(sorted(labels.items())))
        return (await samples(self.pod))[key] - self.before[key]

    async def becomes(self, value, name, **labels):
        """Waits: what is counted at an end is counted behind the reply."""
        async with asyncio.timeout(10):
            while await self.grown(name, **labels) != value:
                await asyncio.sleep(0.02)


async def since(pod):
    return Since(pod, await samples(pod))


async def test_every_label_value_is_there_from_the_start_and_names_nobody(pods, model):
    pod = await pods.start(**model.openai, sends_per_10s=2)
    before = await samples(pod)
    ann = await pod.person()
    room = await ann.room(when="always", bot={"model": "a model of nobody's"})
    door = await ann.native()
    await door.join(room)
    sent = await door.send(room, "?")
    await door.answer_to(sent["messageId"])
    await door.send(room, "??")
    with pytest.raises(Refused):
        await door.send(room, "???")
    await pod.call("POST", "/auth/login", {"email": "nobody@example.com", "password": "wrong horse battery"})
    after = await samples(pod)
    assert after.keys() == before.keys()
    words = {word for _, labels in after for pair in labels for word in pair}
    for secret in (ann.id, room, ann.name, "a model of nobody's"):
        assert secret not in words


async def test_sends_and_deliveries_are_counted_by_how_they_ended(pods):
    pod = await pods.start(sends_per_10s=2)
    ann = await pod.person()
    room = await ann.room()
    door, other = await ann.native(), await ann.native()
    await door.join(room)
    await other.join(room)
    told = await since(pod)
    await door.send(room, "a", clientId="1")
    await door.send(room, "a", clientId="1")
    with pytest.raises(Refused):
        await door.send("00000000-0000-0000-0000-000000000000", "a")
    await door.send(room, "b")
    with pytest.raises(Refused):
        await door.send(room, "c")
    for result, count in (("committed", 2), ("duplicate", 1), ("refused", 1), ("limited", 1), ("failed", 0)):
        assert await told.grown("maru_sends_total", result=result) == count, result
    assert await told.grown("maru_limited_total", limit="sends") == 1
    assert await told.grown("maru_deliveries_total", kind="message") == 4


async def test_answers_tokens_and_faults_of_providers_are_counted(pods, model):
    pod = await pods.start(**model.openai, provider_retries=1)
    ann = await pod.person()
    room = await ann.room(when="always")
    door = await ann.native()
    await door.join(room)
    told = await since(pod)
    model.scripts = [Script(("status", 429, {"Retry-After": "0"})), Script(("text", "네"), ("usage", 7, 3))]
    await door.answer_to((await door.send(room, "하나"))["messageId"])
    model.scripts = [Script(("status", 401))]
    await door.answer_to((await door.send(room, "둘"))["messageId"])
    await told.becomes(1, "maru_answers_total", provider="openai", status="complete")
    await told.becomes(1, "maru_answers_total", provider="openai", status="failed")
    assert await told.grown("maru_provider_errors_total", provider="openai", kind="busy") == 1
    assert await told.grown("maru_provider_errors_total", provider="openai", kind="key") == 1
    assert await told.grown("maru_provider_retries_total", provider="openai") == 1
    assert await told.grown("maru_tokens_total", provider="openai", model="m1", kind="input") == 7
    assert await told.grown("maru_tokens_total", provider="openai", model="m1", kind="output") == 3
    assert await told.grown("maru_first_token_own_seconds_count") == 1
    assert await told.grown("maru_deliveries_total", kind="piece") == 1
    await ann.patch(f"/rooms/{room}", {"bot": {"model": "m2"}})
    model.scripts = [Script(("text", "네"), ("usage", 100, 1))]
    await door.answer_to((await door.send(room, "셋"))["messageId"])
    await told.becomes(100, "maru_tokens_total", provider="openai", model="other", kind="input")


async def test_the_age_of_the_oldest_queued_answer_is_known(pods, model):
    model.scripts = [Script(("text", "긴 "), ("hang",))]
    pod = await pods.start(**model.openai)
    ann = await pod.person()
    room = await ann.room(when="always")
    door = await ann.native()
    await door.join(room)
    assert (await samples(pod))["maru_answers_queued_oldest_seconds", ()] == 0
    await door.send(room, "하나")
    await door.event("stream")
    await door.send(room, "둘")
    async with asyncio.timeout(10):
        while (now := await samples(pod))["maru_answers_queued_oldest_seconds", ()] < 0.2:
            await asyncio.sleep(0.05)
    assert (now["maru_answers_queued", ()], now["maru_answers_streaming", ()]) == (1, 1)


async def test_an_end_of_a_session_is_timed_until_it_is_in_force(pods):
    pod = await pods.start()
    ann = await pod.person()
    door = await ann.native()
    told = await since(pod)
    await ann.post("/auth/logout")
    assert (await door.end())[0] == 4500
    await told.becomes(1, "maru_revocation_seconds_count")
    assert 0 < await told.grown("maru_revocation_seconds_sum") < 2
    assert await told.grown("maru_http_requests_total", route="accounts", status="2xx") == 1
    await pod.call("POST", "/auth/login", {"email": ann.email, "password": "wrong horse battery"})
    assert await told.grown("maru_login_failures_total") == 1
    assert await told.grown("maru_http_requests_total", route="accounts", status="4xx") == 1


async def test_a_loop_that_is_held_up_and_a_full_pool_are_felt(pods):
    pod = await pods.start(database_threads=1)
    told = await since(pod)
    await asyncio.sleep(0.15)
    time.sleep(0.3)
    async with asyncio.timeout(5):
        while await told.grown("maru_event_loop_delay_seconds_sum") < 0.15:
            await asyncio.sleep(0.05)
    db = pod.services.db
    slow = [asyncio.create_task(db.run_bare(lambda sql: sql.rows("select pg_sleep(0.3)"))) for _ in range(3)]
    async with asyncio.timeout(5):  # what runs beside requests waits with them
        while not (db.busy == 1 and db.waiting >= 2):
            await asyncio.sleep(0.01)
    await asyncio.gather(*slow)
    async with asyncio.timeout(5):
        while db.busy or db.waiting:
            await asyncio.sleep(0.01)
    assert await told.grown("maru_database_wait_seconds_sum") > 0.8


async def test_the_bus_tells_what_went_out_and_came_in(pods):
    redis = Redis().start()
    try:
        a, b = await pods.start(redis_url=redis.url), await pods.start(redis_url=redis.url)
        async with asyncio.timeout(10):
            while not (a.services.bus.healthy and b.services.bus.healthy):
                await asyncio.sleep(0.01)
        ann = await a.person()
        room = await ann.room()
        here, there = await ann.native(a), await ann.native(b)
        await here.join(room)
        await there.join(room)
        out, heard = await since(a), await since(b)
        sent = await here.send(room, "안녕")
        await there.event("message", id=sent["messageId"])
        assert await out.grown("maru_bus_published_total", kind="event") >= 1
        assert await heard.grown("maru_bus_received_total", kind="event") >= 1
        b.services.bus._heard("maru:{x}", b"\x09another program's")
        assert await heard.grown("maru_bus_foreign_total") == 1
        now = await samples(b)
        assert now["maru_bus_reachable", ()] == 1 and 0 < now["maru_bus_canary_age_seconds", ()] < 3
    finally:
        redis.close()


async def test_a_database_that_does_not_answer_leaves_all_other_figures(pods, monkeypatch):
    monkeypatch.setattr(exposition, "DEPTH_S", 0.1)
    pod = await pods.start(database_threads=1)
    busy = asyncio.create_task(pod.services.db.run_bare(lambda sql: sql.rows("select pg_sleep(1)")))
    now = await samples(pod)
    assert math.isnan(now["maru_answers_queued", ()]) and now["maru_database_threads_busy", ()] == 1
    await busy


def test_every_kind_of_path_has_its_label():
    assert {route.tag for route in PATHS} <= set(ROUTES)


def test_the_exposition_is_all_that_imports_prometheus():
    """Its counters take a lock for every step."""
    root = Path(exposition.__file__).parent.parent
    files = [*root.glob("services/**/*.py"), *root.glob("handlers/**/*.py"), *root.glob("models/**/*.py")]
    assert [path.name for path in files if "prometheus_client" in path.read_text()] == ["exposition.py"]
