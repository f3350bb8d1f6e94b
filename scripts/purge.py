"""Removes what is past its time (RETENTION_DAYS, a room's own) now; pods do it every ten minutes.

    .venv/bin/python scripts/purge.py --dry-run     in how many rooms there is something
    .venv/bin/python scripts/purge.py

Exit codes: 0 done, 1 the database is out of reach, 2 wrong use, 130 stopped.
"""

import asyncio
import sys

import operators
from config.settings import Settings
from models import retention
from models.database import Database
from services.container import open_services

MOST = 1_000_000


def main() -> int:
    parser = operators.parser(__doc__)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    given = parser.parse_args()
    return operators.run(lambda settings, database: purge(settings, database, dry=given.dry_run))


def purge(settings: Settings, database: Database, *, dry: bool) -> None:
    due = database.call(retention.due, settings.retention_days, MOST)
    if dry:
        print(f"{len(due):,} rooms have messages past their time.")
        return

    async def work() -> int:
        with operators.progress() as bars:
            task = bars.add_task("messages", total=None)
            async with open_services(settings, work=False) as services:
                return await services.retention.purge(lambda room_id, removed: bars.advance(task, removed))

    print(f"{asyncio.run(work()):,} messages removed in {len(due):,} rooms.")


if __name__ == "__main__":
    sys.exit(main())
