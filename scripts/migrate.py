"""Brings the database to the schema of this version, and says what was applied.

    .venv/bin/python scripts/migrate.py

The database is DATABASE_URL, or the embedded one in DATA_DIR. Pods do the same when they start; this is for those who want
it done first and seen, like Compose and Kubernetes. All of them wait for one another under a lock.
Exit codes: 0 the schema fits, 1 the database is out of reach, 2 wrong settings.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from config.settings import SettingsError, load_settings
from models.database import Database, DatabaseUnavailable
from models.embedded import EmbeddedError
from services.container import with_database

# A migration may rewrite a large table, and whoever waits for the lock waits as long.
LONGEST_S = 24 * 3600.0


def main() -> int:
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        with with_database(settings, beside=True, say=say) as (complete, _):
            assert complete.database_url is not None
            database = Database(complete.database_url.get_secret_value(), threads=1, statement_timeout_s=LONGEST_S)
            try:
                applied = database.migrate()
            finally:
                database.close()
    except (EmbeddedError, DatabaseUnavailable) as error:
        print(error, file=sys.stderr)
        return 1
    for name in applied:
        say(f"Applied {name}")
    say("The schema is up to date." if applied else "The schema was up to date.")
    return 0


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
