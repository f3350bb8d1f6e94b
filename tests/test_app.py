"""A pod as a process: it starts, stops, dies and comes back; nothing acknowledged is lost."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress

import aiohttp
import psycopg2
import pytest

from tests.conftest import ROOT
from tests.pods import SECRET, Native


class Process:
    """`app.py` on a free port."""

    def __init__(self, database_url, **env):
        self.env = os.environ | {
            "DATABASE_URL": database_url, "JWT_SECRET": SECRET, "PORT": "0", "SENDS_PER_10S": "0", "REGISTRATIONS_PER_HOUR": "0", **env,
        }  # fmt: skip
        self.process = None
        self.url = None

    async def start(self, port="0"):
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "app.py", env=self.env | {"PORT": port}, cwd=ROOT,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        line = (await asyncio.wait_for(self.process.stdout.readline(), 30)).decode()
        assert line.startswith("Maru is at "), (line, (await self.process.stderr.read()).decode())
        self.url = line.removeprefix("Maru is at ").strip()
        return self

    async def end(self, number=signal.SIGTERM):
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)
            # Pipes are read to their end: a transport that is left open warns at the loop's end.
            await asyncio.wait_for(self.process.communicate(), 30)
        return self.process.returncode if self.process else None


@pytest.fixture
def processes(io_loop, database_url):
    made, sessions = [], []

    def make(**env):
        made.append(Process(database_url, **env))
        return made[-1]

    async def http():
        sessions.append(aiohttp.ClientSession())
        return sessions[-1]

    make.http = http
    yield make

    async def close():
        for session in sessions:
            await session.close()
        for process in made:
            with suppress(ProcessLookupError):
                await process.end(signal.SIGKILL)

    io_loop.run_sync(close)


async def test_a_pod_takes_as_many_sockets_as_the_system_lets_it(processes):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        process = await processes().start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    soft, hard = resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE)
    assert hard == before[1] and soft == min(1 << 18, hard if hard != resource.RLIM_INFINITY else 1 << 18)


async def post(http, url, body, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with http.post(url, json=body, headers=headers) as answer:
        return await answer.json(content_type=None)


async def register(http, url, name="Ann"):
    return await post(
        http, url + "/auth/register", {"email": f"{name}@e.com", "name": name, "password": "correct horse"}
    )


async def test_killed_in_the_middle_of_sends_it_has_lost_nothing_that_it_acknowledged(processes, database_url):
    pod = await processes().start()
    http = await processes.http()
    ann = await register(http, pod.url)
    room = (await post(http, pod.url + "/rooms", {"bot": {"when": "off"}}, ann["token"]))["id"]
    acked, refused = {}, []

    async def send_until_it_dies(worker):
        for i in range(10_000):
            body = {"text": f"{worker}-{i}", "clientId": f"{worker}-{i}"}
            try:
                answer = await post(http, f"{pod.url}/rooms/{room}/messages", body, ann["token"])
                acked[body["clientId"]] = answer["messageId"]
            except (aiohttp.ClientError, ConnectionError):
                refused.append(body)
                return

    work = [asyncio.create_task(send_until_it_dies(w)) for w in range(8)]
    async with asyncio.timeout(30):
        while len(acked) < 100:
            await asyncio.sleep(0.005)
    await pod.end(signal.SIGKILL)
    await asyncio.gather(*work)
    again = await processes().start()
    for body in refused:  # what got no answer is sent again: once in the database, whether it had been committed or not
        answer = await post(http, f"{again.url}/rooms/{room}/messages", body, ann["token"])
        acked[body["clientId"]] = answer["messageId"]
    connection = psycopg2.connect(database_url)
    with connection.cursor() as cursor:
        cursor.execute("select client_id, id::text from messages where room_id = %s", (room,))
        rows = cursor.fetchall()
    connection.close()
    assert dict(rows) == acked and len(rows) == len(acked)


async def test_a_term_lets_running_answers_end_and_sends_clients_away_to_come_back(processes):
    pod = await processes(DEMO_TOKEN_MS="20", DRAIN_S="10").start()
    http = await processes.http()
    ann = await register(http, pod.url)
    room = (await post(http, pod.url + "/rooms", {}, ann["token"]))["id"]
    door = Native(await http.ws_connect(pod.url + "/ws", headers={"Authorization": f"Bearer {ann['token']}"}))
    await door.join(room)
    await door.send(room, "안녕")
    await door.event("stream")
    pod.process.send_signal(signal.SIGTERM)
    assert (await door.end())[0] == 1012
    await door.close()
    out, err = await asyncio.wait_for(pod.process.communicate(), 30)
    assert pod.process.returncode == 0, err.decode()
    again = await processes().start()
    headers = {"Authorization": f"Bearer {ann['token']}"}
    async with http.get(f"{again.url}/rooms/{room}/messages", headers=headers) as answer:
        page = await answer.json()
    assert [m["status"] for m in page["messages"]] == ["complete", "complete"]
    assert page["messages"][1]["attempt"] == 1 and len(page["messages"][1]["text"]) > 100


@pytest.mark.parametrize("number, limit_s", [(signal.SIGKILL, 15), (signal.SIGTERM, 5)], ids=["killed", "told to stop"])
async def test_an_answer_of_a_pod_that_goes_is_made_by_another_in_time(processes, model, number, limit_s):
    """Five seconds after a SIGTERM, since the lease is handed back when the drain's time is over."""
    from tests.scripted_model import Script

    model.scripts = [Script(("text", "헌 "), ("hang",)), Script(("text", "새 답"), ("usage", 1, 1))]
    env = {name.upper(): value for name, value in model.openai.items()} | {"DRAIN_S": "1"}
    pod, other = await processes(**env).start(), await processes(**env).start()
    http = await processes.http()
    ann = await register(http, pod.url)
    room = (await post(http, pod.url + "/rooms", {}, ann["token"]))["id"]
    headers = {"Authorization": f"Bearer {ann['token']}"}
    door = Native(await http.ws_connect(pod.url + "/ws", headers=headers))
    there = Native(await http.ws_connect(other.url + "/ws", headers=headers))
    await door.join(room)
    await there.join(room)
    sent = await door.send(room, "?")
    await model.calls_are(1)
    # Either pod may have claimed it: kill whichever is talking to the model.
    talking = pod if await is_running(http, pod.url) else other
    watcher = there if talking is pod else door
    began = asyncio.get_running_loop().time()
    await talking.end(number)
    answer = await watcher.answer_to(sent["messageId"], 20)
    assert (answer["text"], answer["attempt"]) == ("새 답", 2)
    assert asyncio.get_running_loop().time() - began < limit_s
    await door.close()
    await there.close()


async def is_running(http, url):
    async with http.get(url + "/metrics") as answer:
        return "maru_answers_running_here 1.0" in await answer.text()


async def test_pods_that_start_together_wait_for_one_another_and_migrate_once(processes, database_url):
    await asyncio.gather(*(processes().start() for _ in range(3)))
    connection = psycopg2.connect(database_url)
    with connection.cursor() as cursor:
        cursor.execute("select count(*), count(distinct name) from schema_migration")
        total, names = cursor.fetchone()
    connection.close()
    assert total == names >= 1


async def test_ready_means_that_the_database_answers_and_the_schema_fits(processes, database_url):
    pod = await processes().start()
    http = await processes.http()

    async def ready():
        async with http.get(pod.url + "/readyz") as answer:
            return answer.status, await answer.json()

    assert await ready() == (200, {"status": "ok", "degraded": []})
    connection = psycopg2.connect(database_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("update schema_migration set name = 'x' || name")
        assert (await ready())[0] == 503
        cursor.execute("update schema_migration set name = substr(name, 2)")
    connection.close()
    assert (await ready())[0] == 200


def run(*args, **env):
    given = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "JWT_SECRET")} | env
    return subprocess.run(
        [sys.executable, "app.py", *args], cwd=ROOT, env=given, capture_output=True, text=True, timeout=60
    )


def test_wrong_settings_are_all_named_and_end_the_start():
    done = run(
        PORT="99999",
        ACCESS_TOKEN_S="1",
        REGISTRATION="maybe",
        DATABASE_URL="postgresql://u:p@127.0.0.1:1/x",
        TRUSTED_PROXIES="x",
    )
    assert done.returncode == 2
    for name in ("PORT", "ACCESS_TOKEN_S", "REGISTRATION", "TRUSTED_PROXIES"):
        assert f"{name}:" in done.stderr
    done = run(DATABASE_URL="postgresql://u:p@127.0.0.1:1/x")
    assert done.returncode == 2 and "JWT_SECRET" in done.stderr
    done = run(DATABASE_URL="postgresql://u:p@127.0.0.1:1/x", JWT_SECRET="short")
    assert done.returncode == 2 and "32 bytes" in done.stderr


def test_a_database_that_does_not_answer_is_said_in_one_line():
    done = run(DATABASE_URL="postgresql://u:p@127.0.0.1:1/x", JWT_SECRET=SECRET, PORT="0")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "127.0.0.1" in done.stderr


async def test_no_secret_and_no_content_reaches_the_log(processes, model):
    env = {name.upper(): value for name, value in model.openai.items()}
    pod = await processes(LOG_LEVEL="debug", **env).start()
    http = await processes.http()
    ann = await register(http, pod.url)
    room = (await post(http, pod.url + "/rooms", {}, ann["token"]))["id"]
    door = Native(await http.ws_connect(pod.url + "/ws", headers={"Authorization": f"Bearer {ann['token']}"}))
    await door.join(room)
    sent = await door.send(room, "PLANTED-TEXT")
    await door.answer_to(sent["messageId"])
    await door.tell("send", {"roomId": room, "text": {"PLANTED-TEXT": 1}})
    await post(http, pod.url + "/auth/login", {"email": "Ann@e.com", "password": "PLANTED-PASSWORD"})
    async with http.get(pod.url + "/socket.io/?EIO=4&transport=polling&sid=PLANTED-SID") as answer:
        assert answer.status == 400
    await door.close()
    pod.process.send_signal(signal.SIGTERM)
    out, err = await asyncio.wait_for(pod.process.communicate(), 30)
    for secret in ("PLANTED", ann["token"], ann["refreshToken"], "sk-secret-of-a-test", SECRET, "correct horse"):
        assert secret not in err.decode() + out.decode(), secret
    for line in err.decode().splitlines():
        assert json.loads(line)["event"]
