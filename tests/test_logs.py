"""What a pod writes while it runs: who asked and where, never what was said; and what it does when somebody asks it."""

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time

import psycopg2
import pytest

from config.logs import JsonLines, Writer
from config.settings import Settings
from services import stacks
from services.faults import PER_MINUTE, described
from tests.conftest import ROOT
from tests.pods import SECRET, Native, Refused
from tests.scripted_model import Script
from tests.test_app import post, processes, register  # noqa: F401 a fixture

KEY, OTHER_KEY = "sk-PLANTED-key-of-openai", "PLANTED-other-key-of-anthropic"


async def stopped(pod):
    """All that it has written."""
    pod.process.send_signal(signal.SIGTERM)
    out, err = await asyncio.wait_for(pod.process.communicate(), 30)
    return out.decode(), err.decode()


async def test_planted_secrets_are_in_no_line_and_in_no_figure(processes, model, database_url):  # noqa: F811
    """At debug, with a provider that repeats the key and the question in its refusals."""

    def echoing(body):
        said = f"no: {KEY} {OTHER_KEY} {json.dumps(body, ensure_ascii=False)}"
        fault = json.dumps({"error": {"message": said, "type": "invalid_request_error", "code": KEY}})
        return Script(("raw", f"data: {fault}\n\n".encode()))

    model.default = echoing
    model.embed = lambda texts: (400, {})
    env = {name.upper(): value for name, value in (model.openai | model.embedding).items()}
    env |= {
        "OPENAI_API_KEY": KEY,
        "ANTHROPIC_API_KEY": OTHER_KEY,
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{model.port}",
    }
    env |= {"FALLBACK_MODELS": "anthropic:c1", "PROVIDER_RETRIES": "0"}
    env |= {"REDIS_URL": "redis://:PLANTED-redis@127.0.0.1:1/0", "LOG_LEVEL": "debug", "SECURE_COOKIES": "false"}
    pod = await processes(**env).start()
    http = await processes.http()
    ann = await register(http, pod.url, "PLANTED-NAME")
    room = (await post(http, pod.url + "/rooms", {"name": "PLANTED-ROOM"}, ann["token"]))["id"]
    invite = await post(http, f"{pod.url}/rooms/{room}/invites", {}, ann["token"])
    key = (await post(http, pod.url + "/users/me/keys", {"name": "PLANTED-KEY-NAME"}, ann["token"]))["key"]
    fresh = await post(http, pod.url + "/auth/refresh", {"refreshToken": ann["refreshToken"]})
    door = Native(await http.ws_connect(pod.url + "/ws", headers={"Authorization": f"Bearer {key}"}))
    await door.join(room)
    sent = await door.send(room, "PLANTED-TEXT", clientId="PLANTED-CLIENT")
    assert (await door.answer_to(sent["messageId"]))["status"] == "failed"
    await door.tell("send", {"roomId": room, "text": {"PLANTED-TEXT": 1}})
    async with http.post(
        pod.url + "/auth/login", json={"email": "PLANTED-NAME@e.com", "password": "correct horse"}
    ) as back:
        cookies = [cookie.value for cookie in back.cookies.values()]
    assert cookies
    await post(http, pod.url + "/auth/login", {"email": "PLANTED-NAME@e.com", "password": "PLANTED-PASSWORD"})
    for path in ("/search?q=PLANTED-QUERY&roomId=%00", "/invite/PLANTED-INVITE", "/ws?token=PLANTED-QUERY",
                 "/socket.io/?EIO=4&transport=polling&sid=PLANTED-SID", "/search?q=PLANTED-QUERY"):  # fmt: skip
        async with http.get(pod.url + path, headers={"Cookie": f"maru_session={cookies[0]}"}) as back:
            await back.read()
    break_rooms(database_url)
    async with http.get(f"{pod.url}/rooms?q=PLANTED-QUERY", headers={"Authorization": f"Bearer {key}"}) as back:
        assert back.status == 500
    with pytest.raises(Refused):
        await door.send(room, "PLANTED-TEXT again")
    async with http.get(pod.url + "/metrics") as back:
        figures = await back.text()
    await door.close()
    mend_rooms(database_url)
    out, err = await stopped(pod)
    tokens = [ann["token"], ann["refreshToken"], fresh["token"], fresh["refreshToken"], key, *cookies, SECRET]
    for secret in ("PLANTED", "correct horse", invite.get("code", "PLANTED"), *tokens):
        for text in (out, err, figures):
            assert secret not in text, next(line for line in text.splitlines() if secret in line)
    lines = [json.loads(line) for line in err.splitlines()]
    assert {"answer failed", "request failed", "stopped"} <= {line["event"] for line in lines}


def sql(url, statement):
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
        found = cursor.fetchall() if cursor.description else None
    connection.close()
    return found


def break_rooms(url):
    """Statements fail with what they were about in the error's text."""
    sql(
        url,
        "alter table rooms rename column name to name_gone; alter table messages add constraint planted check (false) not valid",
    )


def mend_rooms(url):
    sql(url, "alter table rooms rename column name_gone to name; alter table messages drop constraint planted")


async def test_a_line_says_whose_request_and_room_it_is_of_and_the_error_is_kept_under_its_number(
    processes, model, database_url  # noqa: F811
):  # fmt: skip
    model.default = lambda body: Script(("status", 401))
    pod = await processes(**{name.upper(): value for name, value in model.openai.items()}).start()
    http = await processes.http()
    ann = await register(http, pod.url)
    room = (await post(http, pod.url + "/rooms", {}, ann["token"]))["id"]
    headers = {"Authorization": f"Bearer {ann['token']}"}
    door = Native(await http.ws_connect(pod.url + "/ws", headers=headers))
    await door.join(room)
    await door.answer_to((await door.send(room, "?"))["messageId"])
    sql(database_url, "alter table members rename column read_seq to gone")
    try:
        async with http.get(f"{pod.url}/rooms/{room}", headers=headers) as back:
            problem = await back.json(content_type=None)
            assert back.status == 500 and problem["requestId"] == back.headers["X-Request-Id"]
        with pytest.raises(Refused) as refused:
            await door.join(room)
        reference = re.search(r"reference ([\w-]+)", refused.value.error["message"])[1]
        kept = {}
        async with asyncio.timeout(10):
            while len(kept) < 2:
                await asyncio.sleep(0.02)
                rows = sql(database_url, "select request_id, kind, detail from errors where request_id is not null")
                kept = {row[0]: row[1:] for row in rows}
    finally:
        sql(database_url, "alter table members rename column gone to read_seq")
    for number, where in ((problem["requestId"], "http"), (reference, "command")):
        kind, detail = kept[number]
        assert kind == "internal" and re.fullmatch(rf"{where}: ProgrammingError in models/[\w/]+\.py:\d+ \w+", detail)
    await door.close()
    _, err = await stopped(pod)
    lines = {line["event"]: line for line in map(json.loads, err.splitlines())}
    assert lines["request failed"]["request"] == problem["requestId"] and lines["request failed"]["room"] == room
    assert lines["command failed"]["reference"] == reference and lines["command failed"]["room"] == room
    assert len(lines["command failed"]["connection"]) == 36
    assert lines["answer failed"]["room"] == room and "connection" not in lines["answer failed"]


async def test_connections_and_answers_are_told_of_and_messages_are_not(pods, model, caplog):
    caplog.set_level(logging.INFO, "maru")
    pod = await pods.start(**model.openai)
    ann = await pod.person()
    room = await ann.room(when="always")
    door, other = await ann.native(), await ann.socketio()
    await door.join(room)
    answer = await door.answer_to((await door.send(room, "비밀 이야기"))["messageId"])
    await other.close()
    await ann.post("/auth/logout")
    await door.end()
    async with asyncio.timeout(5):
        while len([record for record in caplog.records if record.getMessage() == "connection closed"]) < 2:
            await asyncio.sleep(0.02)
    told = [
        (line["event"], line.get("door") or line.get("status") or line.get("code"))
        for line in (json.loads(JsonLines().format(record)) for record in caplog.records)
        if line["logger"].startswith("maru")
    ]
    assert told == [
        ("connection opened", "native"), ("connection opened", "socketio"), ("answer ended", "complete"),
        ("connection closed", None), ("connection closed", 4500),
    ]  # fmt: skip
    assert "비밀" not in caplog.text and answer["text"] not in caplog.text


def test_a_reader_of_lines_that_stops_reading_holds_nobody_up_and_what_was_lost_is_said():
    reading, writing = os.pipe()
    with os.fdopen(reading) as reader, os.fdopen(writing, "w") as stream:
        logger, handler = logging.Logger("maru.test"), Writer(stream, JsonLines(), most=100)
        logger.addHandler(handler)
        for number in range(2000):  # a pipe holds some 600 of them
            logger.info("line", extra={"number": number, "filling": "x" * 50})
        out: list[str] = []
        read = threading.Thread(target=lambda: out.append(reader.read()))
        read.start()
        time.sleep(0.1)
        logger.info("last")
        handler.close()
        stream.close()
        read.join(10)
    lines = [json.loads(line) for line in out[0].splitlines()]
    numbers = [line["number"] for line in lines if line["event"] == "line"]
    lost = sum(line["lines"] for line in lines if line["event"] == "log lines lost")
    assert numbers == sorted(set(numbers)) and len(numbers) + lost == 2000 and lost > 0
    assert lines[-1]["event"] == "last"


def test_a_full_disk_under_the_lines_ends_nothing():
    with contextlib.suppress(OSError), open("/dev/full", "w") as stream:
        logger, handler = logging.Logger("maru.test"), Writer(stream, JsonLines())
        logger.addHandler(handler)
        for _ in range(20):
            logger.info("line", extra={"filling": "x" * 1000})
            time.sleep(0.001)
        assert handler._thread.is_alive()
        handler.close()
        assert not handler._thread.is_alive()


async def test_only_so_many_faults_a_minute_are_written_down(pods):
    pod = await pods.start()
    counts = pod.services.counts
    for number in range(3 * PER_MINUTE):
        counts.internal("command", ValueError("PLANTED"), str(number))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while sum(group.times for group in await pod.services.administration.faults()) < PER_MINUTE:
            await asyncio.sleep(0.02)
    (group,) = await pod.services.administration.faults()
    assert (group.kind, group.times, group.example) == ("internal", PER_MINUTE, "command: ValueError")
    assert counts.internal_errors["command"] == 3 * PER_MINUTE


def test_a_fault_is_described_by_the_innermost_place_that_is_ours():
    def breaks():
        raise KeyError("PLANTED")

    with pytest.raises(KeyError) as broken:
        breaks()
    assert re.fullmatch(r"KeyError in tests/test_logs\.py:\d+ breaks", described(broken.value))


def test_the_settings_secrets_and_all_that_looks_like_one_are_hidden():
    settings = Settings(
        jwt_secret=SECRET, database_url="postgresql://maru:pa%40ss-word@h/maru", openai_api_key='k"e"y-long'
    )
    text = f'{SECRET} postgresql://u:pa%40ss-word@h k"e"y-long sk-proj-12345678 maru_{"a" * 30}'
    shown = JsonLines(settings.secrets).format(logging.LogRecord("x", 20, "", 0, text, (), None))
    assert json.loads(shown)["event"] == "*** postgresql://***@h *** *** ***"


async def test_a_signal_shows_what_every_task_waits_for_and_the_pod_goes_on(processes, model):  # noqa: F811
    model.default = lambda body: Script(("text", "하나"), ("hang",))
    pod = await processes(**{name.upper(): value for name, value in model.openai.items()}).start()
    http = await processes.http()
    ann = await register(http, pod.url)
    room = (await post(http, pod.url + "/rooms", {}, ann["token"]))["id"]
    door = Native(await http.ws_connect(pod.url + "/ws", headers={"Authorization": f"Bearer {ann['token']}"}))
    await door.join(room)
    await door.send(room, "PLANTED-TEXT")
    await door.event("stream")
    said = ""
    for _ in range(2):  # it is there the second time too
        pod.process.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(10):
            while not re.search(r"^Tasks: \d+$(.|\n)*answer(.|\n)*vectors", said, re.M):
                said += (await pod.process.stderr.readline()).decode()
        first, said = said, ""
    assert "_stream_once" in first and "services/generation.py" in first
    assert "Current thread" in first or "Thread 0x" in first
    assert "PLANTED" not in first
    await door.ask("ping", {})
    await door.close()
    await stopped(pod)
    assert pod.process.returncode == 0


async def test_tasks_that_wait_in_the_same_place_are_told_together():
    async def wait():
        await asyncio.Event().wait()

    waiting = [asyncio.create_task(wait(), name=f"reader-{n}") for n in range(3)]
    await asyncio.sleep(0)
    shown = stacks.tasks(asyncio.get_running_loop())
    assert "reader (3 of them)" in shown and "waits for" in shown
    for task in waiting:
        task.cancel()


def test_traces_without_what_sends_them_are_said_in_one_line(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nclass Without:\n    def find_spec(self, name, *rest):\n"
        "        if name.startswith('opentelemetry.sdk'):\n            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Without())\n"
    )
    env = os.environ | {
        "OTLP_ENDPOINT": "http://127.0.0.1:4318",
        "PYTHONPATH": str(tmp_path),
        "DATA_DIR": str(tmp_path / "d"),
    }
    done = subprocess.run([sys.executable, "app.py"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "requirements-otel.txt" in done.stderr
    assert not (tmp_path / "d").exists()
