"""Gives somebody a new password, or a link with which he sets one himself, once.

    .venv/bin/python scripts/set_password.py ann@example.com                     one is made and printed
    .venv/bin/python scripts/set_password.py ann@example.com --password-stdin < password.txt
    .venv/bin/python scripts/set_password.py ann@example.com --link              good for a day; the old password is void

Ends all sessions of the account on running pods within a second; it is in the audit log.
Exit codes: 0 done, 1 it could not be done (nobody has this address), 2 wrong use, 130 stopped.
"""

import argparse
import secrets
import sys

from argon2 import PasswordHasher

import operators
from config.settings import Settings
from models import accounts, stats
from models.database import Database, Sql
from services.accounts import RESET_S
from services.tokens import hashed, new_secret


def main() -> int:
    parser = operators.parser(__doc__)
    parser.add_argument("email")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--password-stdin", action="store_true", help="the first line of stdin is the password")
    how.add_argument("--link", action="store_true", help="print a link instead")
    given = parser.parse_args()
    password = operators.secret_from(given)
    if password is not None and not 8 <= len(password) <= 256:
        parser.error("a password has 8 to 256 characters")
    return operators.run(lambda settings, database: change(settings, database, given, password))


def change(settings: Settings, database: Database, given: argparse.Namespace, password: str | None) -> None:
    chosen = password or secrets.token_urlsafe(12)
    password_hash = None if given.link else PasswordHasher().hash(chosen)
    secret = new_secret()

    def work(sql: Sql) -> None:
        user = accounts.find_by_email(sql, given.email)
        if user is None:
            raise operators.Failed("Nobody has this email.")
        if given.link:
            accounts.add_reset(sql, user.id, hashed(secret), RESET_S)
        else:
            accounts.change_password(sql, user.id, None, password_hash, b"")
        stats.audit(sql, None, "reset password (script)", f"user {user.id}")

    database.call(work)
    if given.link:
        base = settings.public_url.rstrip("/") or f"http://{settings.host}:{settings.port}"
        print(f"{base}/login#reset={secret}")
    elif password is None:
        print(f"password: {chosen}")


if __name__ == "__main__":
    sys.exit(main())
