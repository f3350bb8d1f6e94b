"""What committing together is worth: a thousand sends at once against one after another, and a thousand a second."""

import asyncio
import time
from typing import Any

import uvloop

from bench.figures import Figure, median, spread
from bench.processes import SECRET, Postgres
from config.settings import Settings
from models.base import new_id
from services.accounts import Device
from services.container import open_services
from services.realtime.events import Bot

Found = dict[str, Any]

ROOMS = 20
PACE = 1000  # a second
SLOW_MS = 2.0  # a disk's flush; those of servers take 0.1 to 1, of laptops up to 10


def commit(postgres: Postgres, quick: bool) -> list[Figure]:
    """`Messages.send` in this process, no socket: the same sends by one user to 20 rooms, at once and one by one.

    Both wait for the commit of every send, on the same database, in turn. Only the sends' being together differs; one
    by one is what each waits for when nobody else writes. Transactions are those that got an id in Postgres. At a pace,
    one is sent every millisecond, on the disk that is there and on a slow one.
    """
    sends, rounds = (200, 2) if quick else (1000, 5)
    rates: dict[str, list[float]] = {"at once": [], "one by one": []}
    costs: dict[str, list[float]] = {"at once": [], "one by one": []}
    transactions: dict[str, list[float]] = {"at once": [], "one by one": []}
    measured, paced = uvloop.run(_measure(postgres, sends, rounds))
    for how, done in measured:
        rates[how].append(sends / done["wall"])
        costs[how].append(1e6 * done["cpu"] / sends)
        transactions[how].append(done["transactions"] / sends)
    found = []
    for how in rates:
        found += [
            Figure("commit", f"{how}: sends", median(rates[how]), "a second", None, spread(rates[how])),
            Figure("commit", f"{how}: CPU of the pod", median(costs[how]), "µs a send", None, spread(costs[how])),
            Figure(
                "commit", f"{how}: transactions", median(transactions[how]), "a send", None, spread(transactions[how])
            ),
        ]
    ratios = [one / other for one, other in zip(rates["at once"], rates["one by one"], strict=True)]
    found.append(Figure("commit", "at once / one by one, sends a second", median(ratios), "x", None, spread(ratios)))
    for how, rows in paced.items():
        shares = [row["transactions"] / sends for row in rows]
        waits = [1000 * row["mean"] for row in rows]
        found += [
            Figure("commit", f"{how}: transactions", median(shares), "a send", None, spread(shares)),
            Figure("commit", f"{how}: a send takes", median(waits), "ms", None, spread(waits)),
        ]
    return found


async def _measure(
    postgres: Postgres, sends: int, rounds: int
) -> tuple[list[tuple[str, Found]], dict[str, list[Found]]]:
    settings = Settings(
        database_url=postgres.url, jwt_secret=SECRET, sends_per_10s=0, registrations_per_hour=0, log_level="warning"
    )  # type: ignore[arg-type]
    async with open_services(settings, work=False) as services:
        email = f"{new_id()}@example.com"
        user = await services.accounts.register(email, "Ada", "correct horse", None, None, Device("", ""))
        who = await services.accounts.by_token(user.token)
        rooms = [(await services.rooms.create(who, f"room {n}", Bot(when="off"))).id for n in range(ROOMS)]
        for room in rooms:
            await services.messages.send(who, room, "the first one names the room")
        await asyncio.sleep(0.2)

        async def run(how: str) -> Found:
            before, wall, cpu = postgres.transactions(), time.perf_counter(), time.process_time()
            work = (services.messages.send(who, rooms[n % ROOMS], f"message {n}", new_id()) for n in range(sends))
            if how == "at once":
                await asyncio.gather(*work)
            else:
                for each in work:
                    await each
            spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            return {**spent, "transactions": postgres.transactions() - before}

        async def pace() -> Found:
            spent: list[float] = []

            async def one(n: int) -> None:
                began = time.perf_counter()
                await services.messages.send(who, rooms[n % ROOMS], f"message {n}", new_id())
                spent.append(time.perf_counter() - began)

            before, began = postgres.transactions(), time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for n in range(sends):
                    await asyncio.sleep(max(0, began + n / PACE - time.perf_counter()))
                    group.create_task(one(n))
            return {"transactions": postgres.transactions() - before, "mean": sum(spent) / len(spent)}

        order = ("at once", "one by one")
        measured = [(how, await run(how)) for turn in range(rounds) for how in (order if turn % 2 else order[::-1])]
        paced: dict[str, list[Found]] = {}
        try:
            for _ in range(rounds):
                for ms in (0.0, SLOW_MS):
                    await asyncio.to_thread(postgres.commits_take, ms)
                    how = f"{PACE:,} a second" + (f", a flush of {ms:g} ms more" if ms else "")
                    paced.setdefault(how, []).append(await pace())
        finally:
            await asyncio.to_thread(postgres.commits_take, 0)
        return measured, paced
