#!/usr/bin/env python3
"""Tries to make Maru lose, double, reorder or leak a message: a whole system on loopback, people, faults, a checker.

usage: scripts/chaos.py --minutes M --seed S [--clients N] [--pods N] [--every SECONDS] [--keep FOLDER]
       scripts/chaos.py --check FOLDER

Starts Postgres, Redis, a model, pods and nginx; hundreds of clients through both doors talk, edit, stop answers, come and
go, while a seeded schedule of faults hits everything. Then all comes to rest, and a checker that knows only the contract
reads what every client wrote down, and the rows. Exit code 0: nothing is wrong. 1: something is. It needs what
scripts/test installs.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import aiohttp
import uvloop

from chaos.checker import read, report
from chaos.faults import Faults
from chaos.journal import Journal
from chaos.play import Play
from chaos.stage import Stage
from models.embedded import EmbeddedPostgres

ADDRESSES = 8


def main() -> int:
    arguments = _arguments()
    if arguments.check:
        return judge(arguments.check)
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="maru-chaos-")))
        folder.mkdir(parents=True, exist_ok=True)
        postgres = EmbeddedPostgres(
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="maru-chaos-"))) / "data"
        )
        url = postgres.start()
        try:
            assert postgres.pid is not None
            uvloop.run(run(arguments, folder, url, postgres.pid))
        finally:
            postgres.stop()
        return judge(folder)


async def run(arguments: argparse.Namespace, folder: Path, url: str, postgres_pid: int) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell_tasks)
    journal = Journal(folder / "journal.jsonl")
    stage = Stage(folder, url, postgres_pid, arguments.pods, arguments.seed)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(journal.close)
        stack.callback(stage.end)
        sessions = [await stack.enter_async_context(session(f"127.0.0.{n + 1}")) for n in range(ADDRESSES)]
        say("starting")
        await stage.start(sessions[0])
        play = Play(stage, journal, arguments.clients, arguments.seed, arguments.sends, sessions)
        await play.set_up()
        await play.begin()
        say(f"{len(play.devices)} clients of {len(play.people)} people in {len(play.members)} rooms are there")
        faults = Faults(stage, journal, sessions[0], play.devices, arguments.seed, arguments.every)
        talking = asyncio.create_task(play.go_on())
        breaking = asyncio.create_task(faults.go_on(time.monotonic() + 60 * arguments.minutes))
        await asyncio.wait((talking, breaking), return_when=asyncio.FIRST_COMPLETED)
        await (breaking if breaking.done() else talking)  # raises what was wrong
        say("no more faults; all come to rest")
        play.end()
        await talking
        await play.settle()
        (folder / "rows.json").write_text(json.dumps(await asyncio.to_thread(play.rows)))


def session(address: str) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, local_addr=(address, 0))
    return aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=60), cookie_jar=aiohttp.DummyCookieJar()
    )


def judge(folder: Path) -> int:
    checker = read(folder)
    wrong = checker.check()
    print(report(checker))
    print(f"{len(wrong)} VIOLATIONS" if wrong else "nothing is wrong")
    return 1 if wrong else 0


def tell_tasks() -> None:
    """On SIGUSR1: what waits, and where."""
    for task in asyncio.all_tasks():
        task.print_stack(limit=3)


def say(line: str) -> None:
    print(f"chaos: {line}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="how long faults are injected")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule and of what people do")
    parser.add_argument("--clients", type=int, default=200, help="connections")
    parser.add_argument("--pods", type=int, default=3)
    parser.add_argument("--sends", type=float, default=20.0, metavar="N", help="acts a second, of all people together")
    parser.add_argument("--every", type=float, default=3.0, metavar="SECONDS", help="between faults, on average")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the journal and the programs' logs there")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="only check what an earlier run kept")
    return parser.parse_args()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
