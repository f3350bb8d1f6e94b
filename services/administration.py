"""What administrators look at and do. Their rights are checked at the edge; what they do is written to the audit log.

An administrator has no special right in rooms: what is said there he sees only by following it here, and opening that is
itself in the log.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any, NamedTuple, get_args

from pydantic import SecretStr

from config.settings import Settings
from models import accounts, budgets, errors, generations, live, rooms, stats, tallies
from models.budgets import Kind, Limit
from models.database import Database, Sql
from models.live import Said
from models.tallies import By, Figures, Line, Sort
from services.accounts import Accounts, Identity
from services.errors import Limited, NotFound, room_not_found
from services.prices import Prices
from services.realtime.bus import Bus
from services.realtime.elsewhere import Elsewhere
from services.realtime.registry import Registry
from services.retention import Retention

FOLLOW_S = 0.7
FOLLOW_AT_ONCE = 300
FOLLOW_LATEST = 50
FOLLOWERS_MOST = 20
SPANS = {"24h": ("hour", timedelta(hours=23)), "14d": ("day", timedelta(days=13)), "90d": ("day", timedelta(days=89))}
IN_ADDRESS = re.compile(r"(?<=//)[^/@\s]+@")


class Sum(NamedTuple):
    """Figures with errors and the times to the first token, ms; None without an answer."""

    figures: Figures
    errors: int
    p50_ms: float | None
    p95_ms: float | None


class Now(NamedTuple):
    people: int
    connections: int
    pods: int
    queued: int
    streaming: int


class Overview(NamedTuple):
    """buckets: (when each begins, on the server's clock; its sums)"""

    now: Now
    today: Sum
    month: Sum
    total: Sum
    buckets: list[tuple[datetime, Sum]]
    unpriced: list[str]


class InForce(NamedTuple):
    name: str
    value: str
    is_default: bool
    is_secret: bool
    description: str


def summed(found: list[tallies.Bucket]) -> Sum:
    figures, faults, paces = Figures(), 0, dict[int, int]()
    for one in found:
        figures = tallies.add(figures, one.figures)
        faults += one.errors
        for step, times in one.paces.items():
            paces[step] = paces.get(step, 0) + times
    return Sum(figures, faults, tallies.pace(paces, 0.5), tallies.pace(paces, 0.95))


class Administration:
    def __init__(
        self,
        db: Database,
        settings: Settings,
        bus: Bus,
        registry: Registry,
        elsewhere: Elsewhere,
        accounts: Accounts,
        retention: Retention,
        prices: Prices,
    ) -> None:
        self._db = db
        self._settings = settings
        self._zone = settings.time_zone
        self._bus = bus
        self._registry = registry
        self._elsewhere = elsewhere
        self._accounts = accounts
        self._retention = retention
        self._prices = prices
        self._followers = 0

    # -- looking

    async def overview(self, span: str) -> Overview:
        kind, back = SPANS[span]
        now = datetime.now(self._settings.zone)
        month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)

        def read(sql: Sql) -> tuple[list[tallies.Bucket], list[tallies.Bucket], tuple[int, int], list[str]]:
            days = tallies.buckets(sql, "day", min(month, now - back), self._zone)
            hours = tallies.buckets(sql, "hour", now - back, self._zone) if kind == "hour" else []
            return days, hours, generations.depth(sql)[:2], tallies.used_models(sql, self._zone)

        days, hours, depth, used = await self._db.run_snapshot(read)
        of_month = [one for one in days if one.at >= month.replace(tzinfo=None)]
        shown = hours or [one for one in days if one.at.date() >= (now - back).date()]
        people, connections, pods = self._elsewhere.everybody(set(self._registry.users()), self._registry.connections)
        return Overview(
            Now(people, connections, pods, *depth),
            summed(days[-1:]),
            summed(of_month),
            summed(shown),
            [(one.at, summed([one])) for one in shown],
            self._prices.without(used),
        )

    async def lines(
        self, by: By, since: datetime, until: datetime, sort: Sort, *, descending: bool, offset: int, limit: int
    ) -> list[Line]:
        def read(sql: Sql) -> list[Line]:
            return tallies.by(
                sql, by, since, until, self._zone, sort, descending=descending, offset=offset, limit=limit
            )

        return await self._db.run_snapshot(read)

    async def rooms(self, q: str, sort: stats.RoomSort, offset: int, limit: int) -> list[stats.RoomLine]:
        return await self._db.run_bare(stats.rooms, q, sort, offset, limit)

    async def audits(self, before: int | None, limit: int) -> list[stats.AuditLine]:
        return await self._db.run_bare(stats.audits, before, limit)

    async def faults(self) -> list[errors.Group]:
        return await self._db.run_bare(errors.grouped)

    def settings_in_force(self) -> list[InForce]:
        """Each setting as this pod has it; of a secret only whether it is set."""
        lines = []
        for name, field in Settings.model_fields.items():
            value = getattr(self._settings, name)
            is_secret = field.annotation is SecretStr or SecretStr in get_args(field.annotation)
            if is_secret:
                shown = "set" if value else ""
            elif isinstance(value, tuple):
                shown = ", ".join(value)
            elif isinstance(value, bool):
                shown = str(value).lower()
            else:
                shown = "" if value is None else str(value)
            shown = IN_ADDRESS.sub("", shown)
            default = field.get_default()
            lines.append(InForce(name.upper(), shown, value == default, is_secret, field.description or ""))
        return lines

    # -- doing

    async def set_retention(self, who: Identity, room_id: str, days: int | None) -> stats.RoomLine:
        def work(sql: Sql) -> stats.RoomLine:
            if rooms.lock(sql, room_id) is None:
                raise room_not_found()
            rooms.set_retention(sql, room_id, days)
            stats.audit(sql, who.user_id, f"keep {days} days" if days else "keep as the server does", f"room {room_id}")
            line = stats.room(sql, room_id)
            assert line is not None
            return line

        line = await self._db.run(work)
        self._bus.nudge("access")
        self._retention.nudge()
        return line

    async def delete_room(self, who: Identity, room_id: str) -> None:
        def work(sql: Sql) -> None:
            if rooms.lock(sql, room_id) is None or stats.room(sql, room_id) is None:
                raise room_not_found()
            rooms.delete(sql, room_id, self._zone)
            stats.audit(sql, who.user_id, "delete", f"room {room_id}")

        await self._db.run(work)
        self._bus.nudge("access")
        self._retention.nudge()

    async def set_budget(self, who: Identity, limit: Limit) -> str:
        """Returns the name of whom it is for; "" for everyone. Both limits None take it away."""

        def work(sql: Sql) -> str:
            name = ""
            if limit.key != budgets.EVERYONE:
                name = _name_of(sql, limit.kind, limit.key)
            budgets.put(sql, limit)
            whom = "every" if limit.key == budgets.EVERYONE else limit.key
            amount = f"soft {limit.soft or '-'}, hard {limit.hard or '-'} {limit.unit} a {limit.span}"
            stats.audit(sql, who.user_id, f"budget: {amount}", f"{limit.kind} {whom}")
            return name

        name = await self._db.run(work)
        self._bus.nudge("budgets")
        return name

    async def sessions(self, user_id: str) -> list[Any]:
        await self._known(user_id)
        return await self._db.run_bare(accounts.sessions, user_id)

    async def end_sessions(self, who: Identity, user_id: str, session_id: str | None) -> None:
        """One, or all of an account."""

        def work(sql: Sql) -> None:
            if accounts.find(sql, user_id) is None:
                raise no_user()
            if session_id is None:
                accounts.end_sessions(sql, user_id)
            elif not accounts.end_session(sql, user_id, session_id):
                raise NotFound("request.not_found", "There is no such session.")
            stats.audit(sql, who.user_id, "end session" if session_id else "end sessions", f"user {user_id}")

        await self._db.run(work)
        self._accounts.forget(user_id=user_id)
        self._bus.nudge("access")

    async def _known(self, user_id: str) -> None:
        if await self._db.run_bare(accounts.find, user_id) is None:
            raise no_user()

    # -- following

    async def follow(self, who: Identity, room_id: str | None, text: bool) -> AsyncGenerator[list[Said], None]:
        """What was said last, then what is said, about every second; an empty list when nothing was.

        text: he reads what is said; that is written to the audit log before the first of it is given.
        """
        if self._followers >= FOLLOWERS_MOST:
            raise Limited("limit.connections", "Too many are following already.", retryable=True)

        def begin(sql: Sql) -> tuple[dict[str, int], list[Said]]:
            heads = live.heads(sql, room_id)
            if room_id is not None and not heads:
                raise room_not_found()
            return heads, live.latest(sql, room_id, FOLLOW_LATEST)

        self._followers += 1
        try:
            seen, said = await self._db.run_snapshot(begin)
            if text:
                await self._db.run(stats.audit, who.user_id, "read live", f"room {room_id}" if room_id else "all rooms")
            while True:
                yield said
                if len(said) < FOLLOW_AT_ONCE:  # else there is more
                    await asyncio.sleep(FOLLOW_S)
                risen, said = await self._db.run_snapshot(live.moved, room_id, seen, FOLLOW_AT_ONCE)
                seen.update(risen)
        finally:
            self._followers -= 1


def no_user() -> NotFound:
    return NotFound("request.not_found", "There is no such user.")


def _name_of(sql: Sql, kind: Kind, key: str) -> str:
    if kind == "room":
        line = stats.room(sql, key)
        if line is None:
            raise room_not_found()
        return line.name
    user = accounts.find(sql, key)
    if user is None:
        raise no_user()
    name: str = user.name
    return name
