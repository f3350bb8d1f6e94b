"""A rolling deploy: the code of before and the new code, on the new schema, in one room over one Redis.

The code of before is the last commit without this version's migrations, out of this checkout's history, in a process of its own.
"""

import asyncio
import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import aiohttp
import pytest

from tests.contracts.redis_servers import Redis
from tests.pods import SECRET, Person, Pod

ROOT = Path(__file__).resolve().parents[2]
# The newest migration that a running version knows; the next release moves this to its own.
FIRST_NEW = "0007_operators.py"


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A folder with the code of before."""
    path = f"models/migrations/{FIRST_NEW}"
    try:
        added = git("log", "--diff-filter=A", "--format=%H", "--", path).decode().split()[-1]
        code = git("archive", f"{added}^")
    except (OSError, subprocess.CalledProcessError, IndexError):
        pytest.skip("needs the history of a whole clone")
    folder = tmp_path / "before"
    with tarfile.open(fileobj=io.BytesIO(code)) as archive:
        archive.extractall(folder, filter="data")
    assert not (folder / path).exists()
    return folder


async def test_old_and_new_pods_share_a_room_on_the_new_schema(pods, model, before):
    process = None
    redis = Redis().start()
    try:
        new = await pods.start(**model.openai, redis_url=redis.url, sends_per_10s=0)
        admin = await new.person("Admin")
        environment = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")},
            "PORT": "0", "DATABASE_URL": pods.database_url, "REDIS_URL": redis.url, "JWT_SECRET": SECRET,
            "SENDS_PER_10S": "0", "PYTHONDONTWRITEBYTECODE": "1",
            **{name.upper(): str(value) for name, value in model.openai.items()},
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "app.py", cwd=before, env=environment, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        async with asyncio.timeout(30):
            while not (found := re.search(rb"http://127\.0\.0\.1:(\d+)", await process.stdout.readline())):
                pass
        port = int(found[1])
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
            old = Pod(new.services, port, http, new._stack)  # its services are asked for nothing
            await both_ways(old, new, admin)
            assert (await old.call("GET", "/readyz"))[0] == 200
    finally:
        if process is not None and process.returncode is None:
            process.terminate()
            async with asyncio.timeout(20):
                await process.communicate()
        redis.close()


async def both_ways(old: Pod, new: Pod, admin: Person) -> None:
    ann = await old.person("Ann")
    room = await ann.room(when="always")
    await admin.post("/admin/budgets", {"kind": "user", "span": "day", "unit": "tokens", "soft": 1, "hard": 1_000_000})
    doors = [await ann.native(pod=pod) for pod in (old, new)]
    for door in doors:
        await door.join(room)
    sent = []
    for i in range(6):
        said = await doors[i % 2].send(room, f"질문 {i}")
        sent.append(said["messageId"])
        ended = [await door.answer_to(said["messageId"]) for door in doors]
        assert ended[0] == ended[1] and ended[0]["status"] == "complete" and ended[0]["text"] == "네, 알겠어요."
    # The access log is in force on both: a removal by the one is felt by the other.
    bob = await new.person("Bob")
    await ann.post(f"/rooms/{room}/members", {"userId": bob.id})
    his = await bob.native(pod=old)
    await his.join(room)
    assert (await ann.call("DELETE", f"/rooms/{room}/members/{bob.id}", pod=new))[0] == 204
    await his.event("removed", roomId=room)
    # And whoever made an answer, it is counted once.
    (line,) = (await admin.get("/admin/stats?by=room"))["items"]
    assert (line["messages"], line["answers"], line["inputTokens"], line["outputTokens"]) == (6, 6, 66, 30)
    texts = [m["text"] for m in (await ann.get(f"/rooms/{room}/messages"))["messages"] if m["role"] == "user"]
    assert texts == [f"질문 {i}" for i in range(6)]
