"""Sums: what is counted a moment later is right at every look, counted once whoever counts, and survives what it counted."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from models import tallies
from tests.scripted_model import Script


async def lines(admin, by, query=""):
    found = (await admin.get(f"/admin/stats?by={by}{query}"))["items"]
    return {
        line["key"]: (line["messages"], line["answers"], line["inputTokens"] + line["outputTokens"]) for line in found
    }


async def settled(pod):
    """What waits is taken up."""
    async with asyncio.timeout(20):
        while await pod.services.db.run_bare(
            lambda sql: sql.row(
                "select 1 from room_heads h left join tallied_rooms t using (room_id) where h.last_seq > coalesce(t.seq, 0)"
                " union all select 1 from usage where not counted"
            )
        ):
            await asyncio.sleep(0.1)


async def test_a_look_is_right_at_once_and_stays_so_when_it_is_taken_up(pods, model):
    pod = await pods.start(**model.openai, sends_per_10s=0)
    other = await pods.start(**model.openai, sends_per_10s=0)
    admin, ann = await pod.person("Admin"), await pod.person("Ann")
    room = await ann.room(when="always")
    door = await ann.native(pod=other)
    await door.join(room)
    for i in range(5):
        await door.answer_to((await door.send(room, f"질문 {i}"))["messageId"])
    day = datetime.now(UTC).date().isoformat()
    for _ in range(2):
        assert await lines(admin, "day") == {day: (5, 5, 80)}
        assert await lines(admin, "user") == {ann.id: (5, 5, 80)}
        assert await lines(admin, "room") == {room: (5, 5, 80)}
        assert await lines(admin, "model") == {"openai:m1": (0, 5, 80)}
        overview = await admin.get("/admin/overview?span=24h")
        assert (overview["today"]["messages"], overview["today"]["answers"]) == (5, 5)
        assert (
            len(overview["buckets"]) == 24
            and overview["buckets"][-1]["messages"] + overview["buckets"][-2]["messages"] == 5
        )
        assert 0 < overview["total"]["firstTokenP50Ms"] <= overview["total"]["firstTokenP95Ms"] < 5000
        await settled(pod)


async def test_two_who_count_at_once_count_once(pods):
    pod = await pods.start(sends_per_10s=0)
    admin = await pod.person()
    rooms = [await admin.room() for _ in range(3)]
    for room in rooms:
        for i in range(20):
            await admin.post(f"/rooms/{room}/messages", {"text": str(i)})
    db = pod.services.db
    await db.run(lambda sql: sql.run("truncate tallies, tallied_rooms"))
    await asyncio.gather(*(db.run(tallies.take_messages, rooms, "UTC") for _ in range(4)))
    async with asyncio.timeout(20):
        while await db.run(tallies.take_messages, rooms, "UTC"):
            await asyncio.sleep(0)
    assert await lines(admin, "user") == {admin.id: (60, 0, 0)}
    assert {key: said for key, (said, _, _) in (await lines(admin, "room")).items()} == dict.fromkeys(rooms, 20)


async def test_what_many_rooms_wait_with_is_taken_up_in_short_statements_and_calls_do_not_wait_for_it(
    pods, monkeypatch
):
    monkeypatch.setattr(tallies, "BATCH", 30)
    monkeypatch.setattr("services.tallies.ROOMS_AT_ONCE", 3)
    pod = await pods.start(sends_per_10s=0)
    admin = await pod.person()
    rooms = [await admin.room() for _ in range(7)]
    for n, room in enumerate(rooms):
        for i in range(4 * n):
            await admin.post(f"/rooms/{room}/messages", {"text": str(i)})
    db, sizes, order = pod.services.db, [], []
    take, calls = tallies.take_messages, tallies.take_calls

    def watched(sql, room_ids, zone):
        before = sql.row("select coalesce(sum(seq), 0) from tallied_rooms")[0]
        more = take(sql, room_ids, zone)
        sizes.append((len(room_ids), int(sql.row("select sum(seq) from tallied_rooms")[0] - before)))
        order.append("messages")
        return more

    def first(sql, zone, limit):
        order.append("calls")
        return calls(sql, zone, limit)

    monkeypatch.setattr(tallies, "take_messages", watched)
    monkeypatch.setattr(tallies, "take_calls", first)
    await settled(pod)
    sizes.clear()
    order.clear()
    await db.run(lambda sql: sql.run("truncate tallies, tallied_rooms"))
    for room in rooms:
        pod.services.tallies.changed(room)
    await settled(pod)
    assert {key: said for key, (said, _, _) in (await lines(admin, "room")).items()} == {
        room: 4 * n for n, room in enumerate(rooms) if n
    }
    assert order[0] == "calls"
    assert max(rooms_ for rooms_, _ in sizes) == 3 and max(places for _, places in sizes) <= 30


async def test_days_are_those_of_the_servers_zone_and_ranges_are_whole_days(pods):
    pod = await pods.start(time_zone="Asia/Seoul")
    admin = await pod.person()
    room = await admin.room()
    for text, at in (("a", "2026-03-01T14:59:59Z"), ("b", "2026-03-01T15:00:00Z"), ("c", "2026-03-03T00:00:00Z")):
        sent = await admin.post(f"/rooms/{room}/messages", {"text": text})
        await pod.services.db.run(
            lambda sql, at=at, sent=sent: sql.run(
                "update messages set created_at = %s where id = %s", at, sent["messageId"]
            )
        )
    # counted already, perhaps, on the day of the test
    await pod.services.db.run(lambda sql: sql.run("truncate tallies, tallied_rooms"))
    query = "&since=2026-03-01T20:00:00%2B09:00&until=2026-03-02T23:00:00%2B09:00"
    assert await lines(admin, "day", query) == {"2026-03-01": (1, 0, 0), "2026-03-02": (1, 0, 0)}
    assert await lines(admin, "day", "&since=2026-03-02T00:00:00%2B09:00&until=2026-03-03T00:00:00%2B09:00") == {
        "2026-03-02": (1, 0, 0)
    }


async def test_lines_are_sorted_paged_and_written_as_csv(pods):
    pod = await pods.start(sends_per_10s=0)
    admin = await pod.person("관리")
    people = [await pod.person(name) for name in ("=1+1", "나, 쉼표", "가")]
    for count, person in enumerate(people, 1):
        room = await person.room(name=f"방 {count}")
        for i in range(count):
            await person.post(f"/rooms/{room}/messages", {"text": str(i)})
    for sort, order, names in (
        ("messages", "desc", ["가", "나, 쉼표", "=1+1"]),
        ("messages", "asc", ["=1+1", "나, 쉼표", "가"]),
        ("name", "asc", ["=1+1", "가", "나, 쉼표"]),
    ):
        found, cursor = [], ""
        while cursor is not None:
            page = await admin.get(f"/admin/stats?by=user&sort={sort}&order={order}&limit=2&cursor={cursor}")
            found += [line["name"] for line in page["items"]]
            cursor = page["next"]
        assert found == names, (sort, order)
    status, text = await admin.call("GET", "/admin/stats?by=user&sort=messages&format=csv")
    assert status == 200 and text.startswith("\ufeff")
    head, *rows = text.removeprefix("\ufeff").splitlines()
    assert head == "key,name,messages,answers,failed,stopped,inputTokens,outputTokens,cost"
    assert [row.split(",", 1)[1] for row in rows] == [
        "가,3,0,0,0,0,0,0.0", '"나, 쉼표",2,0,0,0,0,0,0.0', "'=1+1,1,0,0,0,0,0,0.0",
    ]  # fmt: skip


async def test_what_was_said_in_a_room_stays_counted_when_the_room_goes(pods):
    pod = await pods.start()
    admin, ann = await pod.person(), await pod.person("Ann")
    room = await ann.room()
    await ann.post(f"/rooms/{room}/messages", {"text": "x"})
    assert (await admin.call("DELETE", f"/admin/rooms/{room}"))[0] == 204
    assert await lines(admin, "user") == {ann.id: (1, 0, 0)}
    assert [line["name"] for line in (await admin.get("/admin/stats?by=room"))["items"]] == [""]
    assert [(e["action"], e["target"]) for e in (await admin.get("/admin/audit"))["items"]] == [
        ("delete", f"room {room}")
    ]


async def test_answers_that_failed_or_were_stopped_are_among_them(pods, model):
    pod = await pods.start(**model.openai, provider_retries=0, sends_per_10s=0)
    admin = await pod.person()
    room = await admin.room(when="always")
    door = await admin.native()
    await door.join(room)
    model.scripts = [Script(("status", 500)), Script(("text", "반"), ("hang",))]
    assert (await door.answer_to((await door.send(room, "1"))["messageId"]))["status"] == "failed"
    sent = await door.send(room, "2")
    running = await door.event("message", replyTo=sent["messageId"], role="bot", status="streaming")
    await door.event("stream", messageId=running["id"])
    await door.ask("stop", {"messageId": running["id"]})
    assert (await door.final(running["id"]))["status"] == "stopped"
    (line,) = (await admin.get("/admin/stats?by=model"))["items"]
    assert (line["answers"], line["failed"], line["stopped"]) == (2, 1, 1)


@pytest.mark.parametrize("share", [0.5, 0.95, 1.0])
def test_a_pace_is_within_a_tenth_of_the_time_that_it_stands_for(share):
    times = [3.0 * 1.01**i for i in range(400)]
    steps: dict[int, int] = {}
    for ms in times:
        step = next(n for n in range(200) if tallies.STEP**n >= ms)
        steps[step] = steps.get(step, 0) + 1
    true = times[int(share * 399)]
    assert true <= tallies.pace(steps, share) <= true * tallies.STEP * 1.01
    assert tallies.pace({}, share) is None


async def test_what_was_written_before_there_were_sums_is_counted_after_the_upgrade(pods, model):
    pod = await pods.start(**model.openai)
    admin = await pod.person()
    room = await admin.room(when="always")
    door = await admin.native()
    await door.join(room)
    await door.answer_to((await door.send(room, "1"))["messageId"])
    await settled(pod)

    def as_before(sql):
        sql.run("truncate tallies, paces, tallied_rooms")
        sql.run("update usage set status = null, cost = null, first_ms = null, total_ms = null, counted = false")

    await pod.services.db.run(as_before)
    assert await lines(admin, "room") == {room: (1, 1, 16)}
    pod.services.tallies.changed(room)
    await settled(pod)
    assert await lines(admin, "room") == {room: (1, 1, 16)}
    long_ago = (datetime.now(UTC) - timedelta(days=90)).isoformat().replace("+00:00", "Z")
    assert await lines(admin, "room", f"&until={long_ago}") == {}
