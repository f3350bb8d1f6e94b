"""One moment of the whole database in a file, by pg_dump, while everything runs.

    .venv/bin/python scripts/backup.py maru-$(date +%F).dump

The database is DATABASE_URL, or the embedded one in DATA_DIR, running or not. The file can be read by its owner only; it is there once
it is whole. Keep DATA_DIR/secrets.json or JWT_SECRET beside it.
Exit codes: 0 done, 1 it could not be done, 2 wrong use, 130 stopped.
"""

import os
import sys
from pathlib import Path

import operators
from config.settings import SettingsError, load_settings
from models.database import DatabaseUnavailable
from models.embedded import EmbeddedError
from models.tools import ToolFailed, dump


def main() -> int:
    parser = operators.parser(__doc__)
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    draft = given.file.with_name(given.file.name + ".new")
    try:
        with operators.opened(load_settings()) as (settings, _):
            os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
            dump(settings.database_url.get_secret_value(), draft)
            draft.replace(given.file)
    except SettingsError as error:
        return operators.told(error, 2)
    except (ToolFailed, EmbeddedError, DatabaseUnavailable) as error:
        return operators.told(error, 1)
    except OSError as error:
        return operators.told(f"{given.file}: {error.strerror}", 1)
    except KeyboardInterrupt:
        return 130
    finally:
        draft.unlink(missing_ok=True)
    print(f"{given.file}: {given.file.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
