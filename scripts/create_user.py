"""Makes an account.

    .venv/bin/python scripts/create_user.py ann@example.com --name Ann
    .venv/bin/python scripts/create_user.py root@example.com --name Root --admin --password-stdin < password.txt

Without --password-stdin a password is made and printed, once. Works beside a running server; it is in the audit log.
Exit codes: 0 done, 1 it could not be done (the address is taken), 2 wrong use, 130 stopped.
"""

import argparse
import secrets
import sys

from argon2 import PasswordHasher

import operators
from config.settings import Settings
from models import access, accounts, stats
from models.database import Database, Sql
from services.accounts import EMAIL


def main() -> int:
    parser = operators.parser(__doc__)
    parser.add_argument("email")
    parser.add_argument("--name", required=True)
    parser.add_argument("--admin", action="store_true")
    parser.add_argument("--password-stdin", action="store_true", help="the first line of stdin is the password")
    given = parser.parse_args()
    name, password = given.name.strip(), operators.secret_from(given)
    if not EMAIL.fullmatch(given.email) or len(given.email) > 254:
        parser.error("that is not an email address")
    if not 1 <= len(name) <= 80 or not name.isprintable():
        parser.error("a name has 1 to 80 characters")
    if password is not None and not 8 <= len(password) <= 256:
        parser.error("a password has 8 to 256 characters")
    return operators.run(lambda settings, database: create(settings, database, given, name, password))


def create(settings: Settings, database: Database, given: argparse.Namespace, name: str, password: str | None) -> None:
    chosen = password or secrets.token_urlsafe(12)
    password_hash = PasswordHasher().hash(chosen)

    def work(sql: Sql) -> str | None:
        access.lock(sql)  # so does who makes the first account
        user = accounts.insert(sql, given.email, name, "admin" if given.admin else "user", password_hash)
        if user is None:
            return None
        stats.audit(sql, None, "create (script)", f"user {user.id}")
        user_id: str = user.id
        return user_id

    user_id = database.call(work)
    if user_id is None:
        raise operators.Failed("There is an account with this email already.")
    print(f"{user_id} {given.email}" + ("" if password else f"\npassword: {chosen}"))


if __name__ == "__main__":
    sys.exit(main())
