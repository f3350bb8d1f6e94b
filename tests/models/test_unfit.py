"""A Postgres without what Maru needs is told apart from one that is out of reach, in words that say what to do."""

import pytest

from models import database
from models.database import Database, DatabaseUnfit


def test_a_postgres_without_pgvector_says_what_is_missing(postgres, monkeypatch):
    monkeypatch.setattr(database, "EXTENSION", "vector_that_is_not_there")
    with pytest.raises(DatabaseUnfit, match=r"lacks the extension vector_that_is_not_there: install pgvector 0\.8"):
        Database(postgres, threads=1).migrate()


def test_an_older_pgvector_says_how_to_renew_it(postgres, monkeypatch):
    monkeypatch.setattr(database, "EXTENSION_LEAST", (99, 0))
    with pytest.raises(DatabaseUnfit, match=r"and 99\.0 is needed: run ALTER EXTENSION vector UPDATE"):
        Database(postgres, threads=1).migrate()


def test_a_user_who_may_not_add_it_is_told_who_must(postgres):
    others, _, _ = postgres.partition("?")
    url = postgres.replace(others, others.rpartition("/")[0] + "/postgres")  # the superuser's own database
    with pytest.raises(DatabaseUnfit, match="Run CREATE EXTENSION vector in the database as a superuser"):
        Database(url, threads=1).migrate()
