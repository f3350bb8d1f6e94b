"""Brings the indexes of words and of meaning up to date, or makes them anew, beside a running server.

    .venv/bin/python scripts/reindex.py                  what waits, words and vectors
    .venv/bin/python scripts/reindex.py --again          all of it from the start
    .venv/bin/python scripts/reindex.py --only vectors   the vectors of EMBEDDING_MODEL alone

Search works meanwhile. A run that is stopped goes on where it was (without --again); several runs and pods don't do the same
work twice. The database is DATABASE_URL, or the embedded one in DATA_DIR, also of a server that runs.
Exit codes: 0 done, 1 the database or the model of meaning is out of reach, 2 wrong settings, 130 stopped.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import operators
from config.settings import SettingsError, load_settings
from models import embeddings, search
from models.database import DatabaseUnavailable
from models.embedded import EmbeddedError
from services.container import Services, open_services, with_database

EVERY_S = 0.2
ROOMS = 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="begin with the first message, not with what waits")
    parser.add_argument("--only", choices=("words", "vectors"), help="one of the two")
    args = parser.parse_args()
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        with with_database(settings, beside=True) as (complete, _):

            async def run() -> int:
                async with open_services(complete, work=False) as services:
                    return await reindex(services, args.again, args.only)

            return asyncio.run(run())
    except (EmbeddedError, DatabaseUnavailable) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


async def reindex(services: Services, again: bool, only: str | None) -> int:
    if only != "vectors":
        if again:
            await services.db.run(search.forget_all)
        await shown("words", lambda: services.db.run_bare(search.waiting_count), words(services))
    if only == "words":
        return 0
    models = await services.vectors.models()
    if not models and only == "vectors":
        print("There is no model of meaning: set EMBEDDING_MODEL.", file=sys.stderr)
        return 2
    for model in models:
        if again:
            await services.db.run(embeddings.forget_all, model.id)

        async def waiting(model_id: int = model.id) -> int:
            return await services.db.run_bare(embeddings.waiting_count, model_id)

        await shown(model.name, waiting, services.vectors.fill(model))
        if left := await waiting():
            why = services.vectors.faults.get(model.name) or "another pod is at it"
            print(f"{model.name}: {left:,} messages still wait: {why}", file=sys.stderr)
            return 1
    return 0


async def words(services: Services) -> None:
    while rooms := await services.db.run_bare(search.behind, ROOMS):
        before = services.indexer.indexed
        for room_id in rooms:
            await services.indexer.index(room_id)
        if services.indexer.indexed == before:
            await asyncio.sleep(EVERY_S)  # a pod holds these


async def shown(name: str, waiting: Callable[[], Awaitable[int]], work: Awaitable[None]) -> None:
    """Do the work with a bar, on a terminal; else with a line at the end."""
    total, began = await waiting(), time.monotonic()
    task = asyncio.ensure_future(work)
    with operators.progress() as bars:
        bar = bars.add_task(name, total=total)
        while not task.done():
            await asyncio.wait([task], timeout=EVERY_S)
            if not bars.disable:
                bars.update(bar, completed=total if task.done() else max(0, total - await waiting()))
    await task
    seconds = time.monotonic() - began
    print(f"{name}: {total:,} changes in {seconds:.1f} s, {total / max(0.001, seconds):,.0f} a second")


if __name__ == "__main__":
    sys.exit(main())
