"""Budgets in force: who may ask a model, and how far a running answer may go. Knows limits; knows no providers' wires.

Asked before each call, and again every second while an answer runs; in between each answer watches for itself how much of
what it was given is left (`Allowance`). Without any limit set nothing of this is asked.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from models import budgets, errors, tallies
from models.budgets import Held, Kind, Limit, Standing
from models.database import Database, Sql
from models.tallies import Own
from services.errors import Limited

log = logging.getLogger("maru.budgets")

LOOK_S = 2.0
WHO = {"user": "Your", "room": "This room's"}
WHAT = {"tokens": "tokens", "money": "money"}
WHEN = {"day": "today", "month": "this month"}


class BudgetExceeded(Exception):
    """A hard limit holds. `message` may be shown to whoever asked."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.message = f"{WHO[limit.kind]} budget of {WHAT[limit.unit]} for {WHEN[limit.span]} is used up."
        super().__init__(self.message)


class Allowance:
    """How far one answer may go: what all others have left of each hard limit."""

    __slots__ = ("_left",)

    def __init__(self, left: list[tuple[Limit, Decimal]]) -> None:
        self._left = left

    def passed(self, tokens: int, cost: Decimal) -> Limit | None:
        """The limit that an answer of this size reaches."""
        for limit, left in self._left:
            if (cost if limit.unit == "money" else tokens) >= left:
                return limit
        return None


class Budget(NamedTuple):
    """A limit as the person or room under it sees it. state: under, soft or over."""

    limit: Limit
    spent: Decimal
    state: str


class Budgets:
    def __init__(self, db: Database, zone: str) -> None:
        self._db = db
        self._zone = zone
        self._nudged = asyncio.Event()
        self.limited = True  # until it is known

    async def step(self) -> None:
        """Look whether there is any limit, now and then and when somebody has set one."""
        self.limited = await self._db.run_bare(budgets.some)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._nudged.wait()
        self._nudged.clear()

    def nudge(self) -> None:
        self.limited = True
        self._nudged.set()

    async def admit(self, held: Held) -> Allowance:
        """Before a call: hold what its prompt will cost. Raises BudgetExceeded, and then nothing is held."""
        return await self._db.run(self._admit, held, True)

    async def ask(self, held: Held) -> None:
        """Like `admit` for a call that belongs to no message and holds nothing. Raises Limited."""
        try:
            await self._db.run(self._admit, held, False)
        except BudgetExceeded as error:
            ends = await self._db.run_bare(budgets.ends_at, error.limit.span, self._zone)
            wait = max(0.0, (ends - datetime.now(UTC)).total_seconds())
            raise Limited(
                "budget.exceeded", error.message, retryable=True, retry_after_ms=int(wait * 1000) + 1
            ) from error

    def _admit(self, sql: Sql, held: Held, keep: bool) -> Allowance:
        budgets.lock(sql, held.user_id, held.room_id)
        if keep:
            budgets.let_go(sql, held.message_id)  # of an earlier try with another model
        allowance = Allowance(self._left(sql, held, Held(held.message_id, None, "", 0, Decimal(0)), {}))
        if passed := allowance.passed(held.tokens, held.cost):
            raise BudgetExceeded(passed)
        if keep:
            budgets.hold(sql, [held])
        return allowance

    async def renew(self, held: Sequence[Held]) -> list[Allowance]:
        """What running answers have cost by now; what they may cost."""
        return await self._db.run(self._renew, held)

    def _renew(self, sql: Sql, held: Sequence[Held]) -> list[Allowance]:
        budgets.hold(sql, held)
        known: dict[tuple[str, str], list[Standing]] = {}
        return [Allowance(self._left(sql, one, one, known)) for one in held]

    def _left(
        self, sql: Sql, who: Held, mine: Held, known: dict[tuple[str, str], list[Standing]]
    ) -> list[tuple[Limit, Decimal]]:
        """(hard limit, what is left of it for `who`, whose own part of what is held is `mine`)"""
        left = []
        keys: list[tuple[Kind, str | None]] = [("user", who.user_id), ("room", who.room_id)]
        for kind, key in keys:
            if key is None:
                continue
            if (kind, key) not in known:
                known[kind, key] = budgets.standings(sql, kind, key, self._zone)
            for limit, spent, all_held in known[kind, key]:
                others = spent + all_held - (mine.cost if limit.unit == "money" else mine.tokens)
                if limit.hard is not None:
                    left.append((limit, limit.hard - others))
                if (
                    limit.soft is not None
                    and spent + all_held >= limit.soft
                    and budgets.mark(sql, key, limit, self._zone)
                ):
                    what = f"{kind} {key} has passed the soft limit of {limit.unit} for the {limit.span}"
                    errors.note(sql, "budget.soft", what)
                    log.warning("soft limit passed", extra={"kind": kind, "key": key, "span": limit.span})
        return left

    async def own(self, user_id: str) -> tuple[Own, list[Budget]]:
        """What somebody has spent today and this month, and the limits that hold for him."""

        def read(sql: Sql) -> tuple[Own, list[Standing]]:
            return tallies.own(sql, "user", user_id, self._zone), budgets.standings(sql, "user", user_id, self._zone)

        own, found = await self._db.run_snapshot(read)
        return own, [Budget(limit, spent, state(limit, spent)) for limit, spent, _ in found]

    async def lines(self) -> list[budgets.Line]:
        return await self._db.run_snapshot(budgets.lines, self._zone)


def state(limit: Limit, spent: Decimal | None) -> str:
    if spent is not None and limit.hard is not None and spent >= limit.hard:
        return "over"
    return "soft" if spent is not None and limit.soft is not None and spent >= limit.soft else "under"
