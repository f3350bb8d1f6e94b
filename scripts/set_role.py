"""Makes somebody an administrator, or an ordinary user again.

    .venv/bin/python scripts/set_role.py ann@example.com admin

In force on running pods within a second; it is in the audit log.
Exit codes: 0 done, 1 it could not be done (nobody has this address), 2 wrong use, 130 stopped.
"""

import sys

import operators
from models import accounts, stats
from models.database import Sql


def main() -> int:
    parser = operators.parser(__doc__)
    parser.add_argument("email")
    parser.add_argument("role", choices=("admin", "user"))
    given = parser.parse_args()

    def work(sql: Sql) -> None:
        user = accounts.find_by_email(sql, given.email)
        if user is None:
            raise operators.Failed("Nobody has this email.")
        accounts.change_admin(sql, user.id, given.role, None)
        stats.audit(sql, None, f"role {given.role} (script)", f"user {user.id}")

    return operators.run(lambda settings, database: database.call(work))


if __name__ == "__main__":
    sys.exit(main())
