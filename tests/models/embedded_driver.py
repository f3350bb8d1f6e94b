"""A process that owns an embedded Postgres, for the tests that kill it.

Prints one line of JSON when Postgres is ready, or when there is none and why; ends Postgres when its standard input
ends, or at Ctrl-C after it has shown that Postgres still answers. `--uid` becomes an ordinary user first (after the
imports: such a user may not even enter the folder of this Python). `--thread` starts from a thread.
"""

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

import psycopg2

from models import embedded
from models.embedded_account import Account, reachable_programs


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--uid", type=int)
    parser.add_argument("--thread", action="store_true")
    arguments = parser.parse_args()
    if arguments.uid is not None:
        programs = reachable_programs(embedded.find_programs(embedded.MAJOR), Account(arguments.uid, arguments.uid))
        embedded.find_programs = lambda major: programs
        os.setgroups([])
        os.setgid(arguments.uid)
        os.setuid(arguments.uid)
    server = embedded.EmbeddedPostgres(arguments.data_dir)
    found: dict[str, object] = {}

    def start() -> None:
        try:
            url = server.start()
        except embedded.EmbeddedError as error:
            found["error"] = str(error)
        else:
            found.update(url=url, pid=server.pid)

    if arguments.thread:
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
    else:
        start()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        print(json.dumps(found), flush=True)
        if "url" in found:
            sys.stdin.read()
    except KeyboardInterrupt:
        connection = psycopg2.connect(str(found["url"]))
        connection.close()
        print(json.dumps({"after_ctrl_c": "answers"}), flush=True)
    server.stop()


if __name__ == "__main__":
    main()
