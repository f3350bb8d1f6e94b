#!/usr/bin/env python3
"""Measures the hot paths: ratios to the least that the same work can cost, and CPU per operation.

usage: scripts/bench.py [--only NAME ...] [--quick] [--json FILE] [--rival DIR --load FILE]

Absolute times mean little on a machine that others use: contenders take turns within a round, and the median of the
rounds' ratios is shown. It measures and does not judge: `above` beside a target is not a failure.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.commit import commit
from bench.fanout import fanout
from bench.figures import Figure, table
from bench.memory import memory
from bench.processes import ROOT, Postgres, postgres
from bench.scale import many, pods, resume
from bench.send import Rival, send
from bench.stream import stream

Bench = Callable[[Postgres, bool], list[Figure]]
PACKAGES = ("tornado", "uvloop", "msgspec", "psycopg2-binary", "peewee", "openai")


def main() -> int:
    arguments = _arguments()
    rival = Rival(arguments.rival.resolve(), arguments.load.resolve()) if arguments.rival else None
    benches: dict[str, Bench] = {
        "fanout": fanout,
        "memory": memory,
        "commit": commit,
        "stream": stream,
        "pods": pods,
        "many": many,
        "resume": resume,
        "send": lambda postgres, quick: send(postgres, quick, rival),
    }
    if arguments.list:
        print("\n".join(benches))
        return 0
    signal.signal(signal.SIGTERM, lambda *what: sys.exit(143))  # so that what was started is ended too
    figures: list[Figure] = []
    faults: dict[str, str] = {}
    began = datetime.now(UTC)
    load_before = os.getloadavg()
    with postgres() as database:
        for name in arguments.only or benches:
            started = time.monotonic()
            try:
                figures += benches[name](database, arguments.quick)
            except Exception as error:
                traceback.print_exc()
                faults[name] = repr(error)
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        server_version = database.version()
    print(table(figures))
    for name, fault in faults.items():
        print(f"{name} could not be measured: {fault}")
    if arguments.json:
        about = {**_about(), "postgres": server_version, "loadBefore": load_before, "loadAfter": os.getloadavg()}
        result = {
            "began": began.isoformat(timespec="seconds"),
            "quick": arguments.quick,
            "about": about,
            "figures": [figure.as_json() for figure in figures],
            "faults": faults,
        }
        arguments.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("fanout", "memory", "commit", "stream", "pods", "many", "resume", "send")
    parser.add_argument("--list", action="store_true", help="name the benchmarks")
    parser.add_argument("--only", action="append", choices=names, help="this one; may be given again")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: all within a minute, less to be trusted")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, each round too")
    parser.add_argument("--rival", type=Path, metavar="DIR", help="send: a built peer (dist/main.js) to compare with")
    parser.add_argument("--load", type=Path, metavar="FILE", help="send: the load.py that drives both")
    arguments = parser.parse_args()
    if (arguments.rival is None) != (arguments.load is None):
        parser.error("--rival and --load go together")
    return arguments


def _about() -> dict[str, Any]:
    """The machine and the versions."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout
    return {
        "system": platform.platform(),
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": commit.strip(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main())
