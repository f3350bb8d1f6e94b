"""What is said and spent: by user, room, day or model; and what went wrong.

    .venv/bin/python scripts/admin_stats.py users --top 10
    .venv/bin/python scripts/admin_stats.py models --since 2026-11-01 --format csv > models.csv
    .venv/bin/python scripts/admin_stats.py errors --format json

Whole days of TIME_ZONE; the last 30 if not said. Only reads, also beside a running server. The database is DATABASE_URL, or the
embedded one in DATA_DIR. Exit codes: 0 done, 1 the database is out of reach or of another version, 2 wrong use, 130 stopped.
"""

import argparse
import sys
from datetime import datetime, timedelta

import operators
from config.settings import Settings
from models import errors, tallies
from models.database import Database, Sql

BY = {"users": "user", "rooms": "room", "days": "day", "models": "model"}
FIGURES = ("messages", "answers", "failed", "stopped", "inputTokens", "outputTokens", "cost")
SORTS = ("name", "messages", "answers", "failed", "stopped", "tokens", "cost")


def main() -> int:
    parser = operators.parser(__doc__)
    parser.add_argument("what", choices=(*BY, "errors"))
    parser.add_argument("--since", type=datetime.fromisoformat, help="a day or a time, in TIME_ZONE if it says none")
    parser.add_argument("--until", type=datetime.fromisoformat, help="before this day or time")
    parser.add_argument("--top", type=int, default=50, help="so many lines at most (50)")
    parser.add_argument("--sort", choices=SORTS, help="largest first; names from the first")
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")
    given = parser.parse_args()
    if given.top < 1:
        parser.error("--top: at least 1")
    return operators.run(lambda settings, database: show(settings, database, given))


def show(settings: Settings, database: Database, given: argparse.Namespace) -> None:
    zone = settings.zone
    until = local(given.until, zone) if given.until else datetime.now(zone) + timedelta(seconds=1)
    since = local(given.since, zone) if given.since else until - timedelta(days=30)

    def read(sql: Sql) -> tuple[list[str], list[dict[str, object]]]:
        sql.run("set transaction isolation level repeatable read read only")
        if given.what == "errors":
            found = errors.between(sql, since, until)[: given.top]
            columns = ["kind", "count", "firstAt", "lastAt", "example", "requestId"]
            return columns, [
                dict(
                    zip(
                        columns,
                        (g.kind, g.times, stamp(g.first_at), stamp(g.last_at), g.example, g.request_id or ""),
                        strict=True,
                    )
                )
                for g in found
            ]
        sort = given.sort or ("name" if given.what == "days" else "tokens")
        lines = tallies.by(
            sql, BY[given.what], since, until, settings.time_zone, sort,  # type: ignore[arg-type]
            descending=sort != "name", offset=0, limit=given.top,
        )  # fmt: skip
        columns = ["key", "name", *FIGURES]
        rows = [(line.key, line.name, *line.figures[:6], float(line.figures.cost)) for line in lines]
        return columns, [dict(zip(columns, row, strict=True)) for row in rows]

    columns, rows = database.call(read)
    operators.show(rows, columns, given.format)


def local(at: datetime, zone: object) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=zone)  # type: ignore[arg-type]


def stamp(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
