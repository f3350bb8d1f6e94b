"""A database as `scripts/backup.py` kept it, in one transaction: it is as before, or as in the file.

    .venv/bin/python scripts/restore.py maru-2026-11-26.dump

Into an empty database; --force replaces what is there, also while pods are connected (stop them first all the same). The database is
DATABASE_URL, or the embedded one in DATA_DIR. An older schema is brought up to date by the next start, or by scripts/migrate.py.
Exit codes: 0 done, 1 it could not be done, 2 wrong use, 130 stopped.
"""

import sys
from pathlib import Path

import operators
from config.settings import SettingsError, load_settings
from models import transfer
from models.database import DatabaseUnavailable
from models.embedded import EmbeddedError
from models.tools import ToolFailed, restore


def main() -> int:
    parser = operators.parser(__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--force", action="store_true", help="replace what is in the database")
    given = parser.parse_args()
    if not given.file.is_file():
        return operators.told(f"{given.file}: no such file", 1)
    try:
        with operators.opened(load_settings()) as (settings, database):
            if not given.force:
                if not database.call(transfer.is_empty):
                    raise operators.Failed("The database is not empty: --force replaces what is in it.")
                if others := database.call(transfer.others):
                    raise operators.Failed(f"{others} connections of pods are open: stop them first, or --force.")
            restore(settings.database_url.get_secret_value(), given.file)
    except SettingsError as error:
        return operators.told(error, 2)
    except (operators.Failed, ToolFailed, EmbeddedError, DatabaseUnavailable) as error:
        return operators.told(error, 1)
    except KeyboardInterrupt:
        return 130
    print("Restored.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
