"""The operators' scripts as processes, on a real database, beside a running pod where that is said."""

import asyncio
import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from models.database import Database
from models.embedded import EmbeddedPostgres
from tests.pods import SECRET

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("admin_stats", "create_user", "set_role", "set_password", "purge", "export", "import", "backup", "restore")


class Script:
    def __init__(self, url):
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        self.environment = {**kept, "DATABASE_URL": url, "JWT_SECRET": SECRET}

    def __call__(self, name, *arguments, stdin=""):
        """(exit code, stdout, stderr)"""
        done = subprocess.run(
            [sys.executable, f"scripts/{name}.py", *map(str, arguments)],
            cwd=ROOT, env=self.environment, input=stdin, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    async def beside(self, name, *arguments, stdin=""):
        return await asyncio.to_thread(self, name, *arguments, stdin=stdin)


@pytest.fixture
def script(database_url):
    return Script(database_url)


@pytest.fixture
def other(tmp_path):
    """A script on a database of its own, with the schema; `url` is its address."""
    embedded = EmbeddedPostgres(tmp_path / "other")
    url = embedded.start()
    made = Script(url)
    made.url = url
    yield made
    embedded.stop()


async def talk(pod, model=None):
    ann, bob = await pod.person("Ann"), await pod.person("Bob, 밥")
    room = await ann.room(bob, name="출시", when="mention")
    door = await ann.native()
    await door.join(room)
    first = await door.send(room, "@Maru 감자전 이야기" if model else "감자전 이야기")
    if model:
        await door.answer_to(first["messageId"])
    said = await bob.post(f"/rooms/{room}/messages", {"text": "둘째", "replyTo": first["messageId"]})
    await bob.patch(f"/messages/{said['messageId']}", {"text": "둘째, 고침"})
    return ann, bob, room


@pytest.mark.parametrize("name", NAMES)
def test_each_says_how_it_is_used_and_refuses_what_it_does_not_know(script, name):
    code, said, _ = script(name, "--help")
    assert code == 0 and f"scripts/{name}.py" in said and "Exit codes" in said
    code, _, wrong = script(name, "--nonsense")
    assert code == 2 and "usage:" in wrong


async def test_figures_are_those_of_the_page_in_three_formats(pods, model, script):
    pod = await pods.start(**model.openai, sends_per_10s=0)
    ann, bob, room = await talk(pod, model)
    for what, by in (("users", "user"), ("rooms", "room"), ("days", "day"), ("models", "model")):
        code, said, wrong = await script.beside("admin_stats", what, "--format", "json")
        assert (code, wrong) == (0, "")
        assert json.loads(said) == (await ann.get(f"/admin/stats?by={by}"))["items"], what
    code, said, _ = await script.beside("admin_stats", "users", "--format", "csv", "--sort", "messages", "--top", "1")
    (line,) = csv.DictReader(io.StringIO(said))
    assert code == 0 and line["key"] in (ann.id, bob.id) and line["messages"] == "1"
    code, said, _ = await script.beside("admin_stats", "rooms")
    assert code == 0 and "출시" in said and room in said and "\x1b" not in said
    code, said, _ = await script.beside("admin_stats", "users", "--until", "2020-01-01", "--format", "json")
    assert (code, json.loads(said)) == (0, [])
    code, said, _ = await script.beside("admin_stats", "errors", "--format", "csv")
    assert code == 0 and said.splitlines() == ["kind,count,firstAt,lastAt,example,requestId"]
    assert (await script.beside("admin_stats", "users", "--top", "0"))[0] == 2
    assert (await script.beside("admin_stats", "users", "--since", "gestern"))[0] == 2


async def test_accounts_are_made_and_changed_beside_a_running_pod(pods, script):
    pod = await pods.start()
    admin = await pod.person("Admin")
    code, said, wrong = await script.beside("create_user", "cho@example.com", "--name", "Cho")
    assert (code, wrong) == (0, "")
    user_id, password = re.fullmatch(r"(\S+) cho@example\.com\npassword: (\S+)\n", said).groups()
    status, cho = await pod.call("POST", "/auth/login", {"email": "cho@example.com", "password": password})
    assert status == 200 and cho["user"]["role"] == "user" and cho["user"]["id"] == user_id
    code, _, wrong = await script.beside("create_user", "CHO@example.com", "--name", "Cho")
    assert (code, wrong) == (1, "There is an account with this email already.\n")

    door = await pod.native(cho["token"])
    assert (await script.beside("set_role", "cho@example.com", "admin"))[0] == 0
    async with asyncio.timeout(3):  # in force without a new log-in
        while (await pod.call("GET", "/admin/users", token=cho["token"]))[0] != 200:
            await asyncio.sleep(0.1)
    code, said, _ = await script.beside("set_password", "cho@example.com", "--password-stdin", stdin="eight888\n")
    assert (code, said) == (0, "") and (await door.end(3))[0] == 4500
    login = {"email": "cho@example.com", "password": "eight888"}
    assert (await pod.call("POST", "/auth/login", login))[0] == 200
    code, said, _ = await script.beside("set_password", "cho@example.com", "--link")
    token = said.strip().partition("/login#reset=")[2]
    assert code == 0 and (await pod.call("POST", "/auth/login", login))[0] == 401
    assert (await pod.call("POST", "/auth/reset", {"token": token, "password": "another one"}))[0] == 200
    for name, *arguments in (("set_role", "nobody@example.com", "user"), ("set_password", "nobody@example.com")):
        assert await script.beside(name, *arguments) == (1, "", "Nobody has this email.\n")
    for wrong_use in (
        ("create_user", "no-at", "--name", "x"),
        ("create_user", "a@b.c", "--name", " "),
        ("create_user", "a@b.c", "--name", "x" * 81),
        ("set_role", "a@b.c", "king"),
        ("set_password", "a@b.c", "--link", "--password-stdin"),
    ):
        assert (await script.beside(*wrong_use))[0] == 2, wrong_use
    for password in ("seven77", "x" * 257):
        arguments = ("create_user", "d@example.com", "--name", "D", "--password-stdin")
        assert (await script.beside(*arguments, stdin=password))[0] == 2
    actions = [(e["action"], e["target"]) for e in (await admin.get("/admin/audit"))["items"]]
    assert actions == [
        (f"{action} (script)", f"user {user_id}")
        for action in ("reset password", "reset password", "role admin", "create")
    ]


async def test_an_export_taken_in_elsewhere_is_the_same_export_and_is_found(pods, model, script, other, tmp_path):
    pod = await pods.start(**model.openai, sends_per_10s=0)
    ann, bob, room = await talk(pod, model)
    await bob.room(name="und noch einer")
    first, second = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    code, said, wrong = await script.beside("export", "--all", "-o", first)
    assert (code, said, wrong) == (0, "", "") and oct(first.stat().st_mode)[-3:] == "600"
    assert "argon2" not in first.read_text() and first.read_text().splitlines()[0] == '{"maru": 1}'

    database = Database(other.url, threads=1)
    code, _, wrong = await other.beside("import", first)
    assert code == 1 and "run scripts/migrate.py first" in wrong
    await asyncio.to_thread(database.migrate)
    code, said, _ = await other.beside("import", first, "--dry-run")
    assert code == 0 and "2 rooms" in said and said.endswith("Nothing was kept.\n")
    assert database_count(database, "rooms") == 0
    code, said, wrong = await other.beside("import", first)
    assert (code, wrong) == (0, "") and "2 users, 2 rooms, 2 heads, 3 members, 3 messages, 1 versions; 0 lines" in said
    assert (await other.beside("export", "--all", "-o", second))[0] == 0
    assert first.read_bytes() == second.read_bytes()
    code, said, _ = await other.beside("import", first)
    assert code == 0 and "0 users, 0 rooms" in said
    assert (await other.beside("export", "--all", "-o", "-"))[1] == first.read_text()

    here = await pods.start(database_url=other.url, sends_per_10s=0)
    link = (await other.beside("set_password", ann.email, "--link"))[1].strip()
    token = link.partition("#reset=")[2]
    status, again = await here.call("POST", "/auth/reset", {"token": token, "password": "a new password"})
    assert status == 200 and again["user"]["id"] == ann.id
    status, hits = await here.call("GET", "/search?q=%EA%B0%90%EC%9E%90%EC%A0%84", token=again["token"])
    assert [hit["message"]["text"] for hit in hits["items"]] == ["@Maru 감자전 이야기"]
    status, said = await here.call("POST", f"/rooms/{room}/messages", {"text": "weiter"}, token=again["token"])
    assert (status, said["seq"]) == (201, 4)
    database.close()


def database_count(database, table):
    return database.call(lambda sql: sql.row(f"select count(*) from {table}"))[0]


async def test_one_room_goes_to_people_who_are_there_already(pods, script, other, tmp_path):
    pod = await pods.start(sends_per_10s=0)
    ann, bob, room = await talk(pod)
    await bob.room(name="nicht dieser")
    file = tmp_path / "room.jsonl"
    assert (await script.beside("export", "--room", room, "-o", file))[0] == 0
    assert "nicht dieser" not in file.read_text()
    database = Database(other.url, threads=1)
    await asyncio.to_thread(database.migrate)
    code, said, _ = await other.beside("create_user", ann.email, "--name", "Ann hier")
    hers = said.split()[0]
    assert (await other.beside("import", "-", stdin=file.read_text()))[0] == 0
    owner = database.call(lambda sql: sql.row("select user_id from members where role = 'owner'"))
    assert code == 0 and owner == (hers,) and hers != ann.id
    database.close()
    assert (await script.beside("export", "--room", bob.id, "-o", file))[2] == "There is no such room.\n"
    assert (await script.beside("export", "--room", "x", "-o", file))[0] == 2
    assert (await script.beside("export", "--all", "-o", tmp_path / "no" / "folder"))[0] == 1


def changed(lines, at, **columns):
    """With other values in the message that is line `at`, from 0."""
    return [*lines[:at], json.dumps({"message": json.loads(lines[at])["message"] | columns}), *lines[at + 1 :]]


async def test_a_bad_file_is_named_by_its_line_and_nothing_of_it_is_kept(pods, script, other):
    pod = await pods.start(sends_per_10s=0)
    await talk(pod)
    good = (await script.beside("export", "--all", "-o", "-"))[1].splitlines()
    database = Database(other.url, threads=1)
    await asyncio.to_thread(database.migrate)
    kings = [one.replace('"role":"owner"', '"role":"king"') for one in good]
    king = next(n for n, (a, b) in enumerate(zip(good, kings, strict=True), 1) if a != b)
    said = next(n for n, line in enumerate(good) if line.startswith('{"message"'))
    last = len(good)
    for bad, start in (
        ([], "The file is empty."),
        (good[1:], "line 1: this is no export"),
        (['{"maru": 2}', *good[1:]], "line 1: this is no export"),
        ([*good[:3], "{", *good[3:]], "line 4: not a line"),
        ([*good, '{"king": {}}'], f"line {last + 1}: not a row"),
        ([*good[:-1], good[-1].replace('"content":', '"contents":')], f"line {last}: not a row"),
        ([*good, good[-1]], f"line {last + 1}: duplicate key"),
        (kings, f"line {king}: "),
        (changed(good, said, role="robot"), f"line {said + 1}: a message has no such role or status"),
        (changed(good, said, status="queued"), f"line {said + 1}: a message has no such role or status"),
        (changed(good, said, room_id=str(uuid4())), f"line {said + 1}: a message of a room"),
        (changed(good, said, user_id=["x"]), f"line {said + 1}: not a row"),
        (changed(good, said, user_id=str(uuid4())), f"line {said + 1}: a message of a user"),
    ):
        code, _, wrong = await other.beside("import", "-", stdin="".join(f"{one}\n" for one in bad))
        assert code == 1 and len(wrong.splitlines()) == 1 and wrong.startswith(start), wrong
        assert [database_count(database, table) for table in ("users", "rooms", "messages")] == [0, 0, 0]
    database.close()


async def test_purge_says_what_it_would_do_and_does_it(pods, script):
    pod = await pods.start(sends_per_10s=0)
    pod.services.retention.nudge = lambda: None  # or the pod does it first: a change of the time asks it to
    ann, _, room = await talk(pod)
    await ann.patch(f"/rooms/{room}", {"retentionDays": 5})
    await pod.services.db.run(lambda sql: sql.run("update messages set created_at = now() - interval '6 days'"))
    assert (await script.beside("purge", "--dry-run"))[1] == "1 rooms have messages past their time.\n"
    assert len((await ann.get(f"/rooms/{room}/messages"))["messages"]) == 2
    assert (await script.beside("purge"))[1] == "2 messages removed in 1 rooms.\n"
    assert (await ann.get(f"/rooms/{room}/messages"))["messages"] == []


async def test_a_backup_comes_back_whole_and_serves(pods, model, script, other, tmp_path):
    pod = await pods.start(**model.openai, sends_per_10s=0)
    ann, _, room = await talk(pod, model)
    file = tmp_path / "maru.dump"
    code, said, wrong = await script.beside("backup", file)
    assert (code, wrong) == (0, "") and said.startswith(str(file)) and oct(file.stat().st_mode)[-3:] == "600"
    exported = (await script.beside("export", "--all", "-o", "-"))[1]
    await ann.post(f"/rooms/{room}/messages", {"text": "nach der Sicherung"})

    assert await script.beside("restore", file) == (
        1,
        "",
        "The database is not empty: --force replaces what is in it.\n",
    )
    code, said, wrong = await other.beside("restore", file)
    assert (code, said, wrong) == (0, "Restored.\n", "")
    assert (await other.beside("export", "--all", "-o", "-"))[1] == exported
    here = await pods.start(**model.openai, database_url=other.url, sends_per_10s=0)
    login = {"email": ann.email, "password": "correct horse battery"}
    status, again = await here.call("POST", "/auth/login", login)
    door = await here.native(again["token"])
    joined = await door.join(room, after=10_000)
    assert status == 200 and joined["reset"] and len(joined["messages"]) == 3
    assert (await door.answer_to((await door.send(room, "@Maru weiter"))["messageId"]))["status"] == "complete"

    # A file that is none changes nothing; --force goes back to the moment of the backup.
    broken = tmp_path / "broken.dump"
    broken.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    code, _, wrong = await other.beside("restore", broken, "--force")
    assert code == 1 and wrong.startswith("pg_restore: ") and len(wrong.splitlines()) == 1
    assert len((await here.call("GET", f"/rooms/{room}/messages", token=again["token"]))[1]["messages"]) == 5
    assert (await other.beside("restore", file, "--force"))[0] == 0
    assert (await other.beside("export", "--all", "-o", "-"))[1] == exported
    assert (await other.beside("restore", tmp_path / "none"))[0] == 1
    assert (await script.beside("backup", tmp_path / "no" / "folder"))[0] == 1


def test_what_is_out_of_reach_is_told_in_a_line():
    nowhere = Script("postgresql://u:secret-word@127.0.0.1:9/x")
    for name, *arguments in (
        ("admin_stats", "users"),
        ("set_role", "a@b.c", "user"),
        ("backup", "/tmp/maru-never.dump"),
    ):
        code, said, wrong = nowhere(name, *arguments)
        assert (code, said) == (1, "") and "secret-word" not in wrong and "Traceback" not in wrong, name
