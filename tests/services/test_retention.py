"""What is old goes after its time, and what somebody who leaves takes with him: everywhere, and at once."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg2

from models import retention, rooms
from models.database import DatabaseUnavailable

PASSWORD = "correct horse battery"


def by_hand(pod):
    """Nothing is removed but where the test asks for it; a change of how long a room is kept asks at once."""
    pod.services.retention.nudge = lambda: None
    return pod


async def say(who, room, *texts):
    return [(await who.post(f"/rooms/{room}/messages", {"text": text}))["messageId"] for text in texts]


async def age(pod, ids, days):
    at = datetime.now(UTC) - timedelta(days=days)
    await pod.services.db.run(
        lambda sql: sql.run("update messages set created_at = %s where id = any(%s::uuid[])", at, ids)
    )


async def found(who, q):
    return [hit["message"]["text"] for hit in (await who.get(f"/search?mode=text&q={q}"))["items"]]


async def test_old_messages_go_from_history_search_memory_and_the_views_of_others(pods, model):
    pod = by_hand(await pods.start(**model.openai, **model.embedding, sends_per_10s=0))
    ann, bob = await pod.person("Ann"), await pod.person("Bob")
    room = await ann.room(bob)
    old = await say(ann, room, "비밀번호는 사과나무", "둘째 사과")
    new = await say(bob, room, "셋째 사과")
    await age(pod, old, 40)
    db = pod.services.db
    async with asyncio.timeout(15):  # words and vectors are there
        while await db.run_bare(lambda sql: sql.row("select count(*) from search_messages")) != (
            3,
        ) or await db.run_bare(lambda sql: sql.row("select count(*) from message_vectors")) != (3,):
            await asyncio.sleep(0.1)
    there = await bob.native()
    await there.join(room)
    assert (await ann.patch(f"/rooms/{room}", {"retentionDays": 30}))["retentionDays"] == 30
    assert await pod.services.retention.purge() == 2
    seen = await there.event("room", firstSeq=3)
    assert seen["retentionDays"] == 30 and seen["lastSeq"] == 3
    page = await bob.get(f"/rooms/{room}/messages")
    assert [m["seq"] for m in page["messages"]] == [3] and page["moreBefore"] is False
    assert await found(ann, "비밀번호") == [] and await found(ann, "사과") == ["셋째 사과"]
    for table in ("search_messages", "message_vectors"):
        assert await db.run_bare(lambda sql, table=table: sql.row(f"select count(*) from {table}")) == (1,)
    assert await db.run_bare(lambda sql: sql.row("select messages from search_totals")) == (1,)
    assert (await bob.call("GET", f"/messages/{old[0]}"))[0] == 404
    # a client that was away hears of no hole: what is left is what there is
    changes = await bob.get(f"/rooms/{room}/changes?after=0")
    assert [m["id"] for m in changes["messages"]] == new and changes["head"] == 3
    joined = await (await bob.native()).join(room, after=1)
    assert [m["id"] for m in joined["messages"]] == new
    # the figures stay, and the next message follows on
    (line,) = (await ann.get("/admin/stats?by=room&since=2000-01-01T00:00:00Z"))["items"]
    assert line["messages"] == 3
    assert (await ann.get("/admin/rooms"))["items"][0]["messageCount"] == 1
    assert (await bob.post(f"/rooms/{room}/messages", {"text": "x"}))["seq"] == 4


async def test_a_rooms_own_time_goes_before_the_servers_and_both_have_an_edge(pods):
    pod = by_hand(await pods.start(retention_days=10, sends_per_10s=0))
    ann = await pod.person()
    plain, longer = await ann.room(), await ann.room()
    await ann.patch(f"/rooms/{longer}", {"retentionDays": 20})
    for room in (plain, longer):
        for text, days in (("a", 20.01), ("b", 10.01), ("c", 9.99), ("d", 30), ("e", 0)):
            await age(pod, await say(ann, room, text), days)
    assert await pod.services.retention.purge() == 3
    texts = {
        room: [m["text"] for m in (await ann.get(f"/rooms/{room}/messages"))["messages"]] for room in (plain, longer)
    }
    # an old one behind a newer one waits for it: places have no holes
    assert texts == {plain: ["c", "d", "e"], longer: ["b", "c", "d", "e"]}
    assert await pod.services.retention.purge() == 0
    await ann.patch(f"/rooms/{longer}", {"retentionDays": None})
    assert await pod.services.retention.purge() == 1
    for days, status in ((0, 422), (1, 200), (36_500, 200), (36_501, 422), (None, 200)):
        assert (await ann.call("PATCH", f"/rooms/{plain}", {"retentionDays": days}))[0] == status


async def test_a_running_answer_is_left_alone(pods, model):
    from tests.scripted_model import Script

    pod = by_hand(await pods.start(**model.openai, retention_days=1))
    ann = await pod.person()
    room = await ann.room(when="always")
    door = await ann.native()
    await door.join(room)
    go = asyncio.Event()
    model.scripts = [Script(("text", "하나 "), ("wait", go), ("text", "둘"), ("usage", 1, 1))]
    sent = await door.send(room, "?")
    running = await door.event("message", replyTo=sent["messageId"], status="streaming")
    await door.event("stream")
    await age(pod, [sent["messageId"], running["id"]], 5)
    assert await pod.services.retention.purge() == 1
    go.set()
    assert (await door.final(running["id"]))["text"] == "하나 둘"
    assert await pod.services.retention.purge() == 1
    assert (await ann.get(f"/rooms/{room}/messages"))["messages"] == []
    assert (await ann.get("/rooms"))["items"][0]["lastSeq"] == 2


async def test_the_servers_pods_do_it_by_themselves(pods, monkeypatch):
    monkeypatch.setattr("services.retention.FIRST_S", 0.3)
    monkeypatch.setattr("services.retention.EVERY_S", 0.3)
    pod = await pods.start(retention_days=3, sends_per_10s=0)
    await pods.start(retention_days=3)
    ann = await pod.person()
    room = await ann.room()
    await age(pod, await say(ann, room, *(str(i) for i in range(30))), 5)
    async with asyncio.timeout(10):
        while (await ann.get(f"/rooms/{room}/messages"))["messages"]:
            await asyncio.sleep(0.1)
    assert await say(ann, room, "x")


async def test_who_leaves_may_take_his_words_with_him(pods, model):
    pod = await pods.start(**model.openai, sends_per_10s=0)
    admin, ann, bob = await pod.person("Admin"), await pod.person("Ann"), await pod.person("Bob")
    room = await ann.room(bob, when="mention")
    await say(bob, room, "감자전", "@maru 감자전은 어때?")
    said = await say(ann, room, "양파전")
    async with asyncio.timeout(10):
        while [m["status"] for m in (await ann.get(f"/rooms/{room}/messages"))["messages"]] != ["complete"] * 4:
            await asyncio.sleep(0.1)
    answer = next(m for m in (await ann.get(f"/rooms/{room}/messages"))["messages"] if m["role"] == "bot")
    await ann.context(answer["id"])
    await bob.patch(f"/messages/{(await ann.get(f'/rooms/{room}/messages'))['messages'][0]['id']}", {"text": "감자탕"})
    there = await ann.native()
    joined = await there.join(room)
    assert (await bob.call("DELETE", "/users/me", {"password": PASSWORD, "messages": "remove"}))[0] == 204
    gone = [m for m in (await ann.get(f"/rooms/{room}/messages"))["messages"] if m["userId"] == bob.id]
    assert len(gone) == 2 and all(m["deleted"] and m["text"] == "" and m["userName"] == "" for m in gone)
    for one in gone:
        heard = await there.event("message", id=one["id"], deleted=True)
        assert heard["changedSeq"] > joined["head"]
    assert (
        await found(ann, "감자전") == []
        and await found(ann, "감자탕") == []
        and await found(ann, "양파전") == ["양파전"]
    )
    assert (await ann.get(f"/messages/{gone[0]['id']}/versions"))["items"] == []
    assert (await ann.call("GET", f"/messages/{answer['id']}/context"))[0] == 404  # his words and his name stood in it
    keys = [line["key"] for line in (await admin.get("/admin/stats?by=user"))["items"]]
    assert bob.id not in keys
    (day,) = (await admin.get("/admin/stats?by=day"))["items"]
    assert (day["messages"], day["answers"]) == (3, 1)
    left = await pod.services.db.run_bare(lambda sql: sql.row("select count(*) from usage where user_id = %s", bob.id))
    assert left == (0,) and said


async def test_a_deletion_that_was_broken_off_goes_on_elsewhere(pods, monkeypatch):
    monkeypatch.setattr("services.retention.BATCH", 3)
    monkeypatch.setattr("services.retention.FIRST_S", 0.3)
    pod = await pods.start(sends_per_10s=0)
    admin, bob, ann = await pod.person("Admin"), await pod.person("Bob"), await pod.person("Ann")
    room = await ann.room(bob)
    await say(bob, room, *(f"말 {i}" for i in range(10)))

    async def dies(user_id):
        raise RuntimeError("the pod dies here")

    monkeypatch.setattr(pod.services.retention, "erase", dies)
    assert (await admin.call("DELETE", f"/admin/users/{bob.id}?messages=remove"))[0] == 500
    monkeypatch.undo()
    monkeypatch.setattr("services.retention.FIRST_S", 0.3)
    await pods.start()
    async with asyncio.timeout(10):  # the mark goes behind the last message
        while await pod.services.db.run_bare(lambda sql: sql.rows("select id from users where erasing")):
            await asyncio.sleep(0.1)
    assert all(m.get("deleted") for m in (await ann.get(f"/rooms/{room}/messages"))["messages"])
    assert [(e["action"], e["target"]) for e in (await admin.get("/admin/audit"))["items"]] == [
        ("delete with messages", f"user {bob.id}")
    ]


async def test_a_room_or_an_account_that_fails_again_and_again_holds_up_nothing_else(pods, monkeypatch):
    for name in ("FIRST_S", "EVERY_S"):
        monkeypatch.setattr(f"services.retention.{name}", 0.3)

    def failing(right):
        tried = []

        def work(sql, room_id, *rest):
            tried.append(room_id)
            if room_id == tried[0]:
                raise DatabaseUnavailable("canceling statement due to statement timeout")
            return right(sql, room_id, *rest)

        return work

    for name in ("empty", "erase", "cut"):
        monkeypatch.setattr(retention, name, failing(getattr(retention, name)))
    pod = await pods.start(retention_days=3, sends_per_10s=0)
    people = [await pod.person() for _ in range(2)]
    vacated, old = [[await people[0].room() for _ in range(2)] for _ in range(2)]
    said = [await say(people[0], room, "옛말") for room in old]
    for who in people:
        await say(who, await who.room(), "지울 말")

    def work(sql):
        sql.run("update access_log set at = now() - interval '9 days'")
        for room_id in vacated:
            rooms.vacate(sql, room_id)
        for who in people:
            retention.mark_erasing(sql, who.id, True)

    await age(pod, [one for (one,) in said], 5)
    await pod.services.db.run(work)
    left = (
        "select (select count(*) from rooms where gone), (select count(*) from users where erasing),"
        " (select count(*) from messages where created_at < now() - interval '3 days'),"
        " (select count(*) from access_log where at < now() - interval '7 days')"
    )
    async with asyncio.timeout(10):
        while await pod.services.db.run_bare(lambda sql: sql.row(left)) != (1, 1, 1, 0):
            await asyncio.sleep(0.1)


async def test_changes_of_access_and_sessions_long_over_are_forgotten(pods, monkeypatch):
    monkeypatch.setattr("services.retention.BATCH", 3)
    pod = await pods.start()
    ann, bob, cem = [await pod.person(name) for name in ("Ann", "Bob", "Cem")]
    for _ in range(5):
        await ann.room(bob)
        _, other = await pod.call("POST", "/auth/login", {"email": ann.email, "password": PASSWORD})
        assert (await pod.call("POST", "/auth/logout", token=other["token"]))[0] == 204
    assert (await ann.call("PATCH", f"/admin/users/{cem.id}", {"resetPassword": True}))[0] == 200
    db, tables = pod.services.db, ("access_log", "sessions", "refresh_tokens", "password_resets")

    async def counts():
        return [(await db.run_bare(lambda sql, t=t: sql.row(f"select count(*) from {t}")))[0] for t in tables]

    async def age(days):
        def work(sql):
            sql.run("update access_log set at = now() - make_interval(days => %s)", days)
            sql.run("update sessions set ended_at = now() - make_interval(days => %s) where ended_at is not null", days)
            sql.run("update password_resets set expires_at = now() - make_interval(days => %s)", days)

        await db.run(work)

    before = await counts()
    assert before[0] >= 10 and before[1:] == [8, 8, 1]
    await age(6)
    await pod.services.retention.prune()
    assert await counts() == before
    await age(8)
    await pod.services.retention.prune()
    assert await counts() == [0, 2, 2, 0]
    # what comes after is numbered on, and heard
    door = await bob.native()
    await ann.room(bob, name="다음")
    await door.event("room", name="다음")


async def test_what_a_model_was_given_goes_with_the_words_that_stand_in_it_wherever(pods, model):
    pod = by_hand(await pods.start(**model.openai, sends_per_10s=0))
    admin, ann, bob = await pod.person("Admin"), await pod.person("Ann"), await pod.person("Bob")
    near, far = await ann.room(bob), await ann.room(when="always")
    (old,) = await say(bob, near, "암호는 보라색코끼리")
    await say(ann, near, "다른 말")
    door = await ann.native()
    await door.join(far)

    async def ask(text):
        answer = await door.answer_to((await door.send(far, text))["messageId"])
        return answer, await ann.context(answer["id"])

    (quoting, given), (other, _) = await ask("보라색코끼리 암호가 뭐였죠?"), await ask("안녕하세요")
    assert "암호는 보라색코끼리" in str(given)
    kept = "select message_id from message_contexts"
    assert len(await pod.services.db.run_bare(lambda sql: sql.rows(kept))) == 2
    await age(pod, [old], 9)
    await ann.patch(f"/rooms/{near}", {"retentionDays": 5})
    assert await pod.services.retention.purge() == 1
    assert await pod.services.db.run_bare(lambda sql: sql.rows(kept)) == [(other["id"],)]
    # and a context that comes to be written after what it quotes has gone is not kept
    from models import generations

    await pod.services.db.run(generations.keep_context, quoting["id"], 1, {"system": "보라색코끼리"}, [old])
    assert await pod.services.db.run_bare(lambda sql: sql.rows(kept)) == [(other["id"],)]
    # of somebody who leaves: also where he has only read, since the members' names stand in it
    reader = await ann.room(admin, when="always", role="reader")
    await door.join(reader)
    named = await door.answer_to((await door.send(reader, "누가 있나요?"))["messageId"])
    assert "Admin" in str(await ann.context(named["id"]))
    assert (await admin.call("DELETE", "/users/me", {"password": PASSWORD}))[0] == 204
    assert (await ann.call("GET", f"/messages/{named['id']}/context"))[0] == 404


async def test_a_room_that_was_named_after_what_is_gone_has_no_name(pods):
    pod = by_hand(await pods.start(sends_per_10s=0))
    ann, bob = await pod.person("Ann"), await pod.person("Bob")
    ids = {}
    for name, who in (("by age", ann), ("by erasure", bob), ("own", ann)):
        room = (await ann.post("/rooms", {"bot": {"when": "off"}, **({"name": "내 방"} if name == "own" else {})}))[
            "id"
        ]
        if who is bob:
            await ann.post(f"/rooms/{room}/members", {"userId": bob.id})
        ids[name] = (room, await say(who, room, "# 비밀 계획 하나"))
        async with asyncio.timeout(5):
            while (await ann.get(f"/rooms/{room}"))["name"] == "":
                await asyncio.sleep(0.05)
    assert (await ann.get(f"/rooms/{ids['by age'][0]}"))["name"] == "비밀 계획 하나"
    for name in ("by age", "own"):
        await age(pod, ids[name][1], 9)
        await ann.patch(f"/rooms/{ids[name][0]}", {"retentionDays": 5})
    await pod.services.retention.purge()
    assert (await bob.call("DELETE", "/users/me", {"password": PASSWORD, "messages": "remove"}))[0] == 204
    names = {name: (await ann.get(f"/rooms/{room}"))["name"] for name, (room, _) in ids.items()}
    assert names == {"by age": "", "by erasure": "", "own": "내 방"}
    await say(ann, ids["by age"][0], "새 이야기")


async def test_an_account_that_goes_waits_for_who_counts_before_it_touches_the_sums(pods):
    pod = await pods.start(sends_per_10s=0)
    admin, bob = await pod.person("Admin"), await pod.person("Bob")
    rooms = [await bob.room() for _ in range(2)]
    for room in rooms:
        await say(bob, room, "x")
    async with asyncio.timeout(10):
        while await pod.services.db.run_bare(
            lambda sql: sql.row("select count(*) from tallied_rooms where seq > 0")
        ) != (2,):
            await asyncio.sleep(0.1)
    for room in rooms:
        await say(bob, room, "y")
    connection = psycopg2.connect(pods.database_url)
    try:
        with connection, connection.cursor() as cursor:
            # before Postgres would see a circle, and break it
            cursor.execute("set local lock_timeout = '300ms'")
            cursor.execute("select from tallied_rooms where room_id = %s for update", (max(rooms),))
            leaving = asyncio.ensure_future(
                bob.call("DELETE", "/users/me", {"password": PASSWORD, "messages": "remove"})
            )
            await pod.waits("%from tallied_rooms%for update%")
            cursor.execute("update tallies set messages = messages")
            cursor.execute("select from access_head for update")
    finally:
        connection.close()
    assert (await leaving)[0] == 204 and admin


async def test_a_large_room_is_gone_at_once_and_emptied_bit_by_bit(pods, model, monkeypatch):
    from tests.scripted_model import Script

    monkeypatch.setattr("models.rooms.WIPED_AT_ONCE", 20)
    monkeypatch.setattr("services.retention.BATCH", 7)
    pod = by_hand(await pods.start(**model.openai, sends_per_10s=0))
    admin, ann, bob = await pod.person("Admin"), await pod.person("Ann"), await pod.person("Bob")
    room, small = await ann.room(bob, when="mention"), await ann.room()
    await say(bob, room, *(f"감자전 {i}" for i in range(25)))
    await say(ann, small, "감자전은 여기에도")
    async with asyncio.timeout(15):
        while await pod.services.db.run_bare(lambda sql: sql.row("select messages from search_totals")) != (26,):
            await asyncio.sleep(0.1)
    door = await bob.native()
    await door.join(room)
    model.scripts = [Script(("text", "하나"), ("hang",))]
    await door.send(room, "@maru 뭐지?")
    await door.event("stream")
    assert (await ann.call("DELETE", f"/rooms/{room}"))[0] == 204
    assert (await door.event("removed", roomId=room))["reason"] == "deleted"
    # for everybody it is gone
    assert (await bob.call("GET", f"/rooms/{room}"))[0] == 404
    assert (await bob.call("POST", f"/rooms/{room}/messages", {"text": "x"}))[0] == 404
    assert await found(bob, "감자전") == [] and await found(ann, "감자전") == ["감자전은 여기에도"]
    assert [line["id"] for line in (await admin.get("/admin/rooms"))["items"]] == [small]
    assert (await admin.call("DELETE", f"/admin/rooms/{room}"))[0] == 404
    async with asyncio.timeout(6):
        while model.open:  # its running answer ends
            await asyncio.sleep(0.05)
    count = "select count(*), (select count(*) from rooms) from messages where room_id = %s"
    db = pod.services.db
    assert (await db.run_bare(lambda sql: sql.row(count, room)))[0] > 20
    await pod.services.retention.empty(room)
    assert await db.run_bare(lambda sql: sql.row(count, room)) == (0, 1)
    async with asyncio.timeout(15):
        while await db.run_bare(lambda sql: sql.row("select messages from search_totals")) != (1,):
            await asyncio.sleep(0.1)
    (day,) = (await admin.get("/admin/stats?by=day"))["items"]
    assert day["messages"] == 27


async def test_the_room_of_an_account_that_goes_may_be_large(pods, monkeypatch):
    monkeypatch.setattr("models.rooms.WIPED_AT_ONCE", 3)
    monkeypatch.setattr("services.retention.FIRST_S", 0.3)
    monkeypatch.setattr("services.retention.EVERY_S", 0.3)
    pod = await pods.start(sends_per_10s=0)
    await pod.person("Admin")
    ann = await pod.person("Ann")
    await say(ann, await ann.room(), "1", "2", "3", "4", "5")
    assert (await ann.call("DELETE", "/users/me", {"password": PASSWORD}))[0] == 204
    async with asyncio.timeout(10):
        while await pod.services.db.run_bare(lambda sql: sql.row("select count(*) from rooms")) != (0,):
            await asyncio.sleep(0.1)
