"""Resident memory of an idle connection."""

from bench.figures import Figure, median, spread
from bench.processes import Helper, Postgres

TARGETS = {"native": 20.0, "socketio": 40.0, "plain": None}
NAMES = {"native": "native", "socketio": "Socket.IO", "plain": "bare Tornado"}
WARM = 50


def memory(postgres: Postgres, quick: bool) -> list[Figure]:
    """1,000 connections that have joined no room, signed in (but Tornado's own), each door in a fresh process.

    Resident bytes after minus before, both behind a garbage collection and a malloc_trim, with a few connections open
    already so that what is made once is not counted. Bare Tornado is a WebSocketHandler that does nothing, in the same
    program. What the kernel holds for a socket is in neither.
    """
    found = []
    count = 300 if quick else 1000
    kilobytes: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(1 if quick else 3):
        for name, values in kilobytes.items():
            with Helper("server", postgres.url) as server, Helper("readers") as readers:
                where = {"door": name, "port": server.ready["ports"][name], "token": server.ready["token"]}
                readers.ask("open", count=WARM, room=None, **where)
                before = server.ask("settle")["resident"]
                readers.ask("open", count=count, room=None, **where)
                values.append((server.ask("settle")["resident"] - before) / count / 1024)
    for name, values in kilobytes.items():
        found.append(
            Figure("memory", f"{NAMES[name]}, idle", median(values), "KB a connection", TARGETS[name], spread(values))
        )
    bare = kilobytes["plain"]
    for name in ("native", "socketio"):
        ratios = [own / other for own, other in zip(kilobytes[name], bare, strict=True)]
        found.append(Figure("memory", f"{NAMES[name]} / bare Tornado", median(ratios), "x", None, spread(ratios)))
    return found
