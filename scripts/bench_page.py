#!/usr/bin/env python3
"""Measures the chat page in a real Chromium: weight, start, streaming, cost of a piece, a long room, a crowd.

usage: scripts/bench_page.py [--only NAME ...] [--json FILE]

It starts an embedded Postgres and a pod of its own, with a model that answers from a script. Chromium, pod, Postgres
and the writers share the machine; `above` beside a target is not a failure.
"""

import argparse
import json
import os
import signal
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Figure, table
from bench.page import BENCHES, place
from bench.processes import postgres


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=tuple(BENCHES), help="this one; may be given again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, each round too")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *what: sys.exit(143))  # so that what was started is ended too
    began = datetime.now(UTC)
    figures: list[Figure] = []
    faults: dict[str, str] = {}
    with postgres() as database, place(database) as here:
        for name in arguments.only or BENCHES:
            started = time.monotonic()
            try:
                figures += BENCHES[name](here)
            except Exception as error:
                traceback.print_exc()
                faults[name] = repr(error)
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print(table(figures))
    for name, fault in faults.items():
        print(f"{name} could not be measured: {fault}")
    if arguments.json:
        result = {
            "began": began.isoformat(timespec="seconds"),
            "load": os.getloadavg(),
            "figures": [figure.as_json() for figure in figures],
            "faults": faults,
        }
        arguments.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
