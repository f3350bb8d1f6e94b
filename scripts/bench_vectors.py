"""Nearest messages by meaning: how many of the truly nearest the graph finds with a room filter, and how fast.

    .venv/bin/python scripts/bench_vectors.py
    .venv/bin/python scripts/bench_vectors.py --vectors 50000 --dimensions 1536 --json figures.json

Vectors are made up: topics, some near each other, with messages scattered around them, as real ones are. Rooms hold from a
fiftieth of them to all but a few; every room is asked with messages like its own and with others. Printed for each are the
share of the ten truly nearest that were found (the graph against an exact scan in the same database) and milliseconds.
"""

import argparse
import asyncio
import io
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from config.settings import load_settings  # noqa: E402
from models import embeddings  # noqa: E402
from models.base import new_id  # noqa: E402
from models.embeddings import Model, literal  # noqa: E402
from models.search import Room, Where  # noqa: E402
from services.container import Services, open_services, with_database  # noqa: E402

# Shares of all vectors; what is left is in rooms of a hundredth each.
SHARES = (0.4, 0.2, 0.1, 0.05, 0.02)
TOPICS = 400
CHUNK = 2_000
DEPTH = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=200_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--queries", type=int, default=100, help="for each room")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    found = asyncio.run(measure(args))
    for line in found:
        print(f"{line['rooms']:>24} {line['vectors']:>9,} vectors  recall@10 {line['recall']:.3f}  "
              f"{line['ms']:6.1f} ms (p95 {line['ms_p95']:.1f}), exact {line['exact_ms']:.1f} ms")  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    return 0


async def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    dice = random.Random(11)
    topics = [[dice.gauss(0, 1) for _ in range(args.dimensions)] for _ in range(TOPICS)]

    def message(topic: int) -> list[float]:
        return [value + dice.gauss(0, 0.7) for value in topics[topic]]

    sizes = [int(share * args.vectors) for share in SHARES]
    sizes += [args.vectors // 100] * ((args.vectors - sum(sizes)) * 100 // args.vectors)
    rooms = [Room(new_id(), 0, 0, size) for size in sizes]
    # Each room has its own mixture of topics.
    favourites = [[dice.randrange(TOPICS) for _ in range(40)] for _ in rooms]
    with tempfile.TemporaryDirectory(prefix="maru-vectors-") as folder:
        settings = load_settings(data_dir=Path(folder) / "data", database_url=None, redis_url=None)
        with with_database(settings) as (complete, _):
            async with open_services(complete, work=False) as services:
                model = await make_model(services, args.dimensions)
                for room, liked in zip(rooms, favourites, strict=True):
                    for start in range(0, room.messages, CHUNK):
                        count = min(CHUNK, room.messages - start)
                        vectors = [message(dice.choice(liked)) for _ in range(count)]
                        await services.db.run(fill, model.id, room.id, start + 1, vectors)
                began = time.monotonic()
                await services.db.run_bare(embeddings.build_index, model)
                print(
                    f"{sum(sizes):,} vectors of {args.dimensions}; the graph took {time.monotonic() - began:.0f} s to build"
                )
                scopes = [
                    (f"one of {size:,}", [room], liked)
                    for size, room, liked in zip(sizes, rooms, favourites, strict=True)
                ]
                asked = [*scopes[: len(SHARES)], ("all", rooms, list(range(TOPICS)))]
                return [
                    await ask(services, model, name, scope, [message(dice.choice(liked)) for _ in range(args.queries)])
                    for name, scope, liked in asked
                ]


async def make_model(services: Services, dimensions: int) -> Model:
    await services.db.run(embeddings.request, "made-up")
    (model,) = await services.db.run_bare(embeddings.models)
    await services.db.run(embeddings.describe, model.id, dimensions, 1.0)
    return model._replace(dimensions=dimensions)


def fill(sql: Any, model_id: int, room_id: str, first: int, vectors: list[list[float]]) -> None:
    rows = (f"{model_id}\t{room_id}\t{first + n}\t2026-01-01\t{literal(vector)}\n" for n, vector in enumerate(vectors))
    columns = ("model_id", "room_id", "seq", "created_at", "vector")
    sql.raw().copy_from(io.StringIO("".join(rows)), "message_vectors", columns=columns)


async def ask(
    services: Services, model: Model, name: str, rooms: list[Room], queries: list[list[float]]
) -> dict[str, Any]:
    hits, ms, exact_ms = 0, [], []
    for vector in queries:
        began = time.perf_counter()
        near = await services.db.run_snapshot(embeddings.nearest, model, rooms, Where(), vector, DEPTH)
        ms.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        right = await services.db.run_snapshot(embeddings.nearest, model, rooms, Where(), vector, DEPTH, exact=True)
        exact_ms.append((time.perf_counter() - began) * 1000)
        hits += len({(f.room_id, f.seq) for f in near} & {(f.room_id, f.seq) for f in right})
    ms.sort()
    return {
        "rooms": name, "vectors": sum(room.messages for room in rooms), "recall": hits / DEPTH / len(queries),
        "ms": median(ms), "ms_p95": ms[int(0.95 * (len(ms) - 1))], "exact_ms": median(exact_ms),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
