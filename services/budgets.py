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
NOTHING_HELD = Held("", None, "", 0, Decimal(0))
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


class Looked(NamedTuple):
    """soft: (whose, which) limits are passed."""

    allowances: list[Allowance]
    soft: set[tuple[str, Limit]]


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
        self._nudged.clear()
        limited = await self._db.run_bare(budgets.some)
        if not self._nudged.is_set():  # else the answer may be of before
            self.limited = limited
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._nudged.wait()

    def nudge(self) -> None:
        self.limited = True
        self._nudged.set()

    async def admit(self, held: Held) -> Allowance:
        """Before a call: hold what its prompt will cost. Raises BudgetExceeded, and then nothing is held."""
        return await self._admit(held, keep=True)

    async def ask(self, held: Held) -> None:
        """Like `admit` for a call that belongs to no message and holds nothing. Raises Limited."""
        try:
            await self._admit(held, keep=False)
        except BudgetExceeded as error:
            ends = await self._db.run_bare(budgets.ends_at, error.limit.span, self._zone)
            wait = max(0.0, (ends - datetime.now(UTC)).total_seconds())
            raise Limited(
                "budget.exceeded", error.message, retryable=True, retry_after_ms=int(wait * 1000) + 1
            ) from error

    async def _admit(self, held: Held, keep: bool) -> Allowance:
        def work(sql: Sql) -> tuple[Looked, Limit | None]:
            budgets.lock(sql, held.user_id, held.room_id)
            if keep:
                budgets.let_go(sql, held.message_id)  # of an earlier try with another model
            looked = self._look(sql, [(held, NOTHING_HELD)])
            passed = looked.allowances[0].passed(held.tokens, held.cost)
            if keep and passed is None:
                budgets.hold(sql, [held])
            return looked, passed

        looked, passed = await self._db.run(work)
        await self._tell(looked.soft)
        if passed is not None:
            raise BudgetExceeded(passed)
        return looked.allowances[0]

    async def renew(self, held: Sequence[Held]) -> list[Allowance]:
        """What running answers have cost by now; what they may cost."""
        # Committed before the many reads, which an answer that ends would wait for.
        await self._db.run(budgets.hold, held)
        looked = await self._db.run(self._look, [(one, one) for one in held])
        await self._tell(looked.soft)
        return looked.allowances

    def _look(self, sql: Sql, asked: Sequence[tuple[Held, Held]]) -> Looked:
        """asked: (who, his own part of what is held)"""
        known: dict[tuple[Kind, str], list[Standing]] = {}
        soft: set[tuple[str, Limit]] = set()
        allowances = []
        for who, mine in asked:
            left = []
            keys: list[tuple[Kind, str | None]] = [("user", who.user_id), ("room", who.room_id)]
            for kind, key in keys:
                if key is None:
                    continue
                if (kind, key) not in known:
                    known[kind, key] = budgets.standings(sql, kind, key, self._zone)
                for limit, spent, all_held in known[kind, key]:
                    if limit.hard is not None:
                        others = spent + all_held - (mine.cost if limit.unit == "money" else mine.tokens)
                        left.append((limit, limit.hard - others))
                    if limit.soft is not None and spent + all_held >= limit.soft:
                        soft.add((key, limit))
            allowances.append(Allowance(left))
        return Looked(allowances, soft)

    async def _tell(self, soft: set[tuple[str, Limit]]) -> None:
        """Note soft limits that are passed, each once in its day or month, whether the call was let through or not."""
        if soft:
            await self._db.run(self._note, sorted(soft, key=lambda one: (one[0], one[1][:4])))

    def _note(self, sql: Sql, soft: Sequence[tuple[str, Limit]]) -> None:
        for key, limit in soft:
            if budgets.mark(sql, key, limit, self._zone):
                what = f"{limit.kind} {key} has passed the soft limit of {limit.unit} for the {limit.span}"
                errors.note(sql, "budget.soft", what)
                log.warning("soft limit passed", extra={"kind": limit.kind, "key": key, "span": limit.span})

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
