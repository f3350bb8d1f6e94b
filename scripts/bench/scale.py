"""How far pods carry: two over Redis against one, very many connections on one, and the cost of coming back."""

import contextlib
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from bench.clients import Native, http
from bench.figures import Figure, latencies, median, spread
from bench.processes import Helper, Postgres, Server, cpu_s, pod, resident
from bench.send import free_port

ROOMS, USERS, CONNECTIONS = 50, 20, 1000
MANY = 5000
BACK = 400
MISSED = 100
FLUSHED_S = 11  # idle backends tell what they counted up to ten seconds late


@contextlib.contextmanager
def redis() -> Iterator[tuple[str, int]]:
    """(address, process) of a Redis of this run's own."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="maru-bench-") as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            yield f"redis://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()
            process.wait()


def pods(postgres: Postgres, quick: bool) -> list[Figure]:
    """The same load on one pod alone, on one over Redis, and on two over Redis with every room's readers on both.

    CPU is that of all pods, for each delivered message; Redis stands beside. Added latency is what deliveries from one
    pod to the other take longer, on average, than all deliveries of the pod alone, in the same round.
    """
    rates, connections, rooms = ((200,), 200, 10) if quick else ((200, 500), CONNECTIONS, ROOMS)
    runs: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    with redis() as (url, redis_pid), contextlib.ExitStack() as stack:
        shapes: dict[str, tuple[list[Server], Helper]] = {}
        for name, count, more in (
            ("one pod", 1, {}),
            ("one pod over Redis", 1, {"REDIS_URL": url}),
            ("two pods over Redis", 2, {"REDIS_URL": url}),
        ):
            ports = [free_port() for _ in range(count)]
            servers = [stack.enter_context(pod(postgres.url, port, **more)) for port in ports]
            load = stack.enter_context(Helper("load"))
            load.ask("set_up", port=ports[0], users=USERS, rooms=rooms)
            load.ask("open", ports=ports, door="native", count=connections)
            shapes[name] = servers, load
        time.sleep(2)
        for turn in range(1 if quick else 3):
            for rate in rates:
                for name, (servers, load) in list(shapes.items())[:: 1 if turn % 2 else -1]:
                    cpu, of_redis = sum(cpu_s(server.pid) for server in servers), cpu_s(redis_pid)
                    done = load.ask("run", rate=rate, seconds=2.5)
                    done["cpu"] = sum(cpu_s(server.pid) for server in servers) - cpu
                    done["redisCpu"] = cpu_s(redis_pid) - of_redis
                    runs[name, rate].append(done)
    found = []
    for (name, rate), all_done in runs.items():

        def put(what: str, values: list[float], unit: str) -> None:
            found.append(Figure("pods", f"{name}, {rate}/s: {what}", median(values), unit, None, spread(values)))  # noqa: B023

        put("CPU", [1e6 * done["cpu"] / done["expected"] for done in all_done], "µs a delivery")
        put("Redis", [1e6 * done["redisCpu"] / done["expected"] for done in all_done], "µs a delivery")
        put("ack mean", [done["ack"]["mean"] for done in all_done], "ms")
        put("delivery mean", [done["delivery"]["mean"] for done in all_done], "ms")
        put("delivery p99", [done["delivery"]["p99"] for done in all_done], "ms")
        put("missing", [float(done["missing"] + done["refused"]) for done in all_done], "")
        if name == "two pods over Redis":
            alone = runs["one pod", rate]
            added = [own["far"]["mean"] - other["delivery"]["mean"] for own, other in zip(all_done, alone, strict=True)]
            costs = [own["cpu"] / other["cpu"] for own, other in zip(all_done, alone, strict=True)]
            put("added from pod to pod", added, "ms")
            put("CPU / one pod", costs, "x")
    return found


def many(postgres: Postgres, quick: bool) -> list[Figure]:
    """5,000 native connections on one pod, 20 in a room: letting them in, what they cost idle, and 200 sends a second."""
    count = 500 if quick else MANY
    port = free_port()
    with pod(postgres.url, port) as server, Helper("load") as load:
        load.ask("set_up", port=port, users=USERS, rooms=count // 20)
        before, cpu, began = resident(server.pid), cpu_s(server.pid), time.monotonic()
        load.ask("open", ports=[port], door="native", count=count)
        opening, spent = time.monotonic() - began, cpu_s(server.pid) - cpu
        held = resident(server.pid) - before
        time.sleep(1)
        idle = []
        for _ in range(1 if quick else 3):
            cpu, began = cpu_s(server.pid), time.monotonic()
            load.ask("run", rate=0, seconds=5)
            idle.append(100 * (cpu_s(server.pid) - cpu) / (time.monotonic() - began))
        runs = []
        for _ in range(1 if quick else 3):
            cpu = cpu_s(server.pid)
            done = load.ask("run", rate=200, seconds=2.5)
            done["cpu"] = cpu_s(server.pid) - cpu
            runs.append(done)
    name = f"{count:,} connections"
    return [
        Figure("many", f"{name}: let in, joined", count / opening, "a second"),
        Figure("many", f"{name}: CPU", 1e6 * spent / count, "µs a connection let in"),
        Figure("many", f"{name}: memory, joined", held / count / 1024, "KB a connection"),
        Figure("many", f"{name}: idle", median(idle), "% of a core", None, spread(idle)),
        Figure("many", f"{name}, 200/s: CPU", median([1e6 * r["cpu"] / r["sent"] for r in runs]), "µs a send"),
        Figure("many", f"{name}, 200/s: ack mean", median([r["ack"]["mean"] for r in runs]), "ms"),
        Figure("many", f"{name}, 200/s: delivery p99", median([r["delivery"]["p99"] for r in runs]), "ms"),
        Figure("many", f"{name}, 200/s: missing", float(sum(r["missing"] + r["refused"] for r in runs)), "", 0.0),
    ]


def resume(postgres: Postgres, quick: bool) -> list[Figure]:
    """Coming back to a room of 10,000 messages: a join that has missed nothing, one that has missed 100, one without a
    cursor (the newest 50), and a whole reconnect with handshake; one after the other."""
    times, messages = (50, 300) if quick else (BACK, 10_000)
    port = free_port()
    found = []
    with pod(postgres.url, port) as server:
        body = {"email": f"r{time.time_ns()}@example.com", "name": "r", "password": "correct horse battery 9"}
        token = http(port, "POST", "/auth/register", body)["token"]
        room = http(port, "POST", "/rooms", {"name": "r", "bot": {"when": "off"}}, token)["id"]
        door = Native(port, token)
        for start in range(0, messages, 200):
            asked = [door.call("send", {"roomId": room, "text": f"message {start + n}"}) for n in range(200)]
            left = set(asked)
            while left:
                left -= {answered for answered, _, _ in list(door.read()) if answered}
                if left:
                    door.wait()
        head = door.ask("join", {"roomId": room})["head"]

        def again() -> None:
            made = Native(port, token)
            made.ask("join", {"roomId": room, "after": head})
            made.socket.close()

        ways = {
            "nothing missed": lambda: door.ask("join", {"roomId": room, "after": head}),
            f"{MISSED} missed": lambda: door.ask("join", {"roomId": room, "after": head - MISSED}),
            "without a cursor": lambda: door.ask("join", {"roomId": room}),
            "reconnected, nothing missed": again,
        }
        for name, way in ways.items():
            time.sleep(0 if quick else FLUSHED_S)
            took, cpus, scans = [], [], postgres.scans("messages")
            for _ in range(1 if quick else 3):
                cpu = cpu_s(server.pid)
                for _ in range(times):
                    began = time.monotonic()
                    way()
                    took.append(time.monotonic() - began)
                cpus.append(1e6 * (cpu_s(server.pid) - cpu) / times)
            found.append(Figure("resume", f"{name}: CPU of the pod", median(cpus), "µs", None, spread(cpus)))
            found.append(Figure("resume", f"{name}: median", latencies(took)["p50"], "ms"))
            time.sleep(0 if quick else FLUSHED_S)
            scans = postgres.scans("messages") - scans
            found.append(Figure("resume", f"{name}: table scans", scans / len(took), "a join", 0.0))
        door.socket.close()
    return found
