"""CPU per delivery of one `message` to everybody in a room."""

from collections import defaultdict

from bench.figures import Figure, median, spread
from bench.processes import Helper, Postgres

CONTENDERS = ("bare", "native", "socketio", "plain")
TARGETS = {"native": 1.3, "socketio": 1.6, "plain": None}
NAMES = {"native": "native", "socketio": "Socket.IO", "plain": "write_message"}


def fanout(postgres: Postgres, quick: bool) -> list[Figure]:
    """From the service's call of the bus to the kernel: Event, encoding, hub, connection, wire; to N sockets.

    Compared with a bare loop of `socket.send` of the very bytes of a native frame (made beforehand), and with Tornado's
    `write_message`. Fair because all of them are sockets of the same process on the same loop, taken in turn within each
    round, and each event is drained to the last byte, by another process, before the next contender begins. CPU is that
    of the sending process, until its loop has turned once.
    """
    found = []
    rounds, bursts = (5, 3) if quick else (11, 5)
    for count in (500,) if quick else (500, 1000):
        per_delivery = _measure(postgres, count, rounds, bursts)
        for name in CONTENDERS[1:]:
            ratios = [own / bare for own, bare in zip(per_delivery[name], per_delivery["bare"], strict=True)]
            label = f"{NAMES[name]} / bare loop, {count:,} readers"
            found.append(Figure("fanout", label, median(ratios), "x", TARGETS[name], spread(ratios)))
        for name in CONTENDERS:
            micros = [1e6 * value for value in per_delivery[name]]
            label = f"{NAMES.get(name, 'bare loop')}, {count:,} readers"
            found.append(Figure("fanout", label, median(micros), "µs a delivery", None, spread(micros)))
    return found


def _measure(postgres: Postgres, count: int, rounds: int, bursts: int) -> dict[str, list[float]]:
    """CPU seconds per delivery, a value a round."""
    per_delivery: defaultdict[str, list[float]] = defaultdict(list)
    with Helper("server", postgres.url) as server, Helper("readers") as readers:
        ready = server.ready
        for name in CONTENDERS:
            where = {"port": ready["ports"][name], "token": ready["token"], "room": ready["rooms"].get(name)}
            readers.ask("open", door=name, count=count, **where)
        total = 0
        for turn in range(-1, rounds):  # the first one warms up
            for name in CONTENDERS[turn % 4 :] + CONTENDERS[: turn % 4]:
                spent = 0.0
                for _ in range(bursts):
                    done = server.ask("burst", to=name, events=2)
                    total += done["bytes"]
                    spent += done["cpu"]
                    got = readers.ask("reach", total=total)["bytes"]
                    if got != total:
                        raise RuntimeError(f"{name}: {got:,} bytes of {total:,} arrived")
                if turn >= 0:
                    per_delivery[name].append(spent / (2 * bursts * count))
    return per_delivery
