"""The whole way of a message: send, commit, everybody's socket; alone, or beside the rival under the same load."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from bench.figures import Figure, median, spread
from bench.processes import SECRET, Helper, Postgres, Server, cpu_s, pod, resident

CONNECTIONS, ROOMS, USERS = 1000, 50, 20
QUICKLY = 500, 25, 5
RATES = (100, 200, 500, 1000, 1500)
LEAST_SENDS = 800  # a run beside the rival: CPU is counted in hundredths of a second
REST_S, REST_SHARE, REST_MOST_S = 2.0, 0.03, 60.0  # at rest: for so long less than this share of a core
SATURATION = 4000  # more than a pod of one core takes beside a driver on the other
NAMES = {"native": "native", "socketio": "Socket.IO", "maru-ws": "native", "maru-sio": "Socket.IO", "nest": "rival"}

Runs = dict[tuple[str, int], list[dict[str, Any]]]


class Rival(NamedTuple):
    """folder: of the built peer (dist/main.js). load: the program that drives both."""

    folder: Path
    load: Path


def send(postgres: Postgres, quick: bool, rival: Rival | None) -> list[Figure]:
    """1,000 connections in 50 rooms, so 20 deliveries a send, at rising paces.

    Alone, by the load of this package. With a rival, by the one program that drives both servers with the same raw
    sockets, in turn at each pace, on the same Postgres; the rival runs without Redis, as our pod does, which is its
    cheapest way. CPU is that of the server's process; of Postgres it stands beside, since the two use it differently.
    """
    rates = (500,) if quick else RATES
    seconds, rounds = 2.5, 1 if quick else 3
    if rival is None:
        runs = _alone(
            postgres,
            rates if quick else (*rates, SATURATION),
            seconds,
            rounds,
            *(QUICKLY if quick else (CONNECTIONS, ROOMS, USERS)),
        )
    else:
        runs = _beside(postgres, rival, rates, seconds + 1.5, rounds)
    return [*_figures(runs), *_ratios(runs)]


def _alone(
    postgres: Postgres, rates: tuple[int, ...], seconds: float, rounds: int, connections: int, rooms: int, users: int
) -> Runs:
    """A pod, people and rooms for each door, so that the doors can take turns at every pace."""
    runs: Runs = defaultdict(list)
    with contextlib.ExitStack() as stack:
        pods: dict[str, tuple[Server, Helper]] = {}
        for door in ("native", "socketio"):
            port = free_port()
            server = stack.enter_context(pod(postgres.url, port))
            load = stack.enter_context(Helper("load"))
            load.ask("set_up", port=port, users=users, rooms=rooms)
            load.ask("open", ports=[port], door=door, count=connections)
            pods[door] = server, load
        time.sleep(1)
        for turn in range(rounds):
            for rate in (0, *rates):
                for door, (server, load) in list(pods.items())[:: 1 if turn % 2 else -1]:
                    cpu, of_postgres, before = cpu_s(server.pid), postgres.cpu_s(), postgres.transactions()
                    done = load.ask("run", rate=rate, seconds=seconds)
                    done["cpu"] = cpu_s(server.pid) - cpu
                    done["postgresCpu"] = postgres.cpu_s() - of_postgres
                    done["transactions"] = postgres.transactions() - before
                    done["resident"] = resident(server.pid)
                    runs[door, rate].append(done)
    return runs


def _beside(postgres: Postgres, rival: Rival, rates: tuple[int, ...], seconds: float, rounds: int) -> Runs:
    runs: Runs = defaultdict(list)
    ours, theirs = free_port(), free_port()
    more = {"DATABASE_URL": postgres.url, "PORT": str(theirs), "JWT_SECRET": SECRET, "NODE_ENV": "production"}
    with contextlib.ExitStack() as stack:
        servers = {
            "maru-ws": (ours, stack.enter_context(pod(postgres.url, ours)).pid),
            "nest": (
                theirs,
                stack.enter_context(Server(["node", "dist/main.js"], "ready", rival.folder, **more)).pid,
            ),
        }
        servers["maru-sio"] = servers["maru-ws"]
        names = ("maru-ws", "maru-sio", "nest")
        for turn in range(rounds):
            for rate in rates:
                for name in names[turn % 3 :] + names[: turn % 3]:
                    _rest([pid for _, pid in servers.values()])
                    lasting = max(seconds, LEAST_SENDS / rate)
                    runs[name, rate].append(_one(postgres, rival.load, name, *servers[name], rate, lasting))
    return runs


def _rest(pids: list[int]) -> None:
    """Until these have done what the run before left them (an index to bring up to date, memory to sweep)."""
    until = time.monotonic() + REST_MOST_S
    busy = True
    while busy and time.monotonic() < until:
        before = sum(map(cpu_s, set(pids)))
        time.sleep(REST_S)
        busy = sum(map(cpu_s, set(pids))) - before > REST_SHARE * REST_S


def _one(postgres: Postgres, load: Path, name: str, port: int, pid: int, rate: int, seconds: float) -> dict[str, Any]:
    """One run of the outside load, which makes its own rooms first: what Postgres did is looked at all the while, and
    what counts is the last part, as long as the load says that it took."""
    seen: list[tuple[float, int, float]] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            seen.append((time.monotonic(), postgres.transactions(), postgres.cpu_s()))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        command = [sys.executable, str(load), name, f"http://127.0.0.1:{port}", str(CONNECTIONS), str(ROOMS)]
        command += [str(rate), str(seconds), "--pid", str(pid), "--users", str(USERS), "--json"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=180)
    finally:
        over.set()
        looker.join()
    if said.returncode:
        raise RuntimeError(said.stderr[-800:])
    out = json.loads(said.stdout)
    began = seen[-1][0] - out["wall"] - 0.2
    first = next(((tx, cpu) for at, tx, cpu in seen if at >= began), seen[0][1:])
    return {
        **{key: out[key] for key in ("sent", "acked", "refused", "expected", "missing", "doubled", "wall")},
        "ack": {key: out[f"ack_{key}"] for key in ("p50", "p99", "mean")},
        "delivery": {key: out[f"dlv_{key}"] for key in ("p50", "p99", "mean")},
        "cpu": out["server_cpu_s"],
        "postgresCpu": seen[-1][2] - first[1],
        "transactions": seen[-1][1] - first[0],
        "resident": out["rss_mb"] << 20,
    }


def _figures(runs: Runs) -> list[Figure]:
    found = []
    for (name, rate), done in sorted(runs.items(), key=lambda item: (item[0][1], item[0][0])):

        def put(what: str, values: list[float], unit: str, target: float | None = None) -> None:
            label = f"{NAMES[name]}, {rate:,}/s: {what}"  # noqa: B023 called at once
            found.append(Figure("send", label, median(values), unit, target, spread(values)))

        if not rate:
            put("CPU", [100 * run["cpu"] / run["wall"] for run in done], "% of a core")
            continue
        put("acked", [run["acked"] / run["wall"] for run in done], "/s")
        for what in ("ack", "delivery"):
            for share in ("p50", "p99", "mean"):
                put(f"{what} {share}", [run[what][share] for run in done], "ms")
        put("CPU", [1e6 * run["cpu"] / run["sent"] for run in done], "µs")
        put("CPU of Postgres", [1e6 * run["postgresCpu"] / run["sent"] for run in done], "µs")
        put("transactions", [run["transactions"] / run["sent"] for run in done], "a send")
        put("missing", [sum(run["missing"] + run["refused"] for run in done)], "", 0)
        put("doubled", [sum(run["doubled"] for run in done)], "", 0)
    return found


def _ratios(runs: Runs) -> list[Figure]:
    found = []
    for (name, rate), done in sorted(runs.items(), key=lambda item: (item[0][1], item[0][0])):
        theirs = runs.get(("nest", rate))
        if theirs is None or name == "nest":
            continue
        both = list(zip(done, theirs, strict=True))
        ratios = {
            "CPU": [(own["cpu"] / own["sent"]) / (other["cpu"] / other["sent"]) for own, other in both],
            "with Postgres": [
                (own["cpu"] + own["postgresCpu"]) / (other["cpu"] + other["postgresCpu"]) for own, other in both
            ],
        } | {
            f"{what} {share}": [own[what][share] / other[what][share] for own, other in both]
            for what in ("ack", "delivery")
            for share in ("mean", "p99")
        }
        for what, values in ratios.items():
            label = f"{NAMES[name]} / rival, {rate:,}/s: {what}"
            found.append(Figure("send", label, median(values), "x", 1.0, spread(values)))
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as made:
        port: int = made.getsockname()[1]
    return port
