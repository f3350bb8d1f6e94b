"""For administrators: accounts and faults. An administrator has no special right in rooms."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import UNSET

from handlers.api import types
from handlers.api.base import EPOCH, Call, Route, cursor_of, from_cursor, or_none, time_of
from services.accounts import is_uuid
from services.errors import Conflict
from services.realtime.events import timestamp


def account(user: Any, password: str | None = None) -> types.Account:
    return types.Account(user.id, user.email, user.name, user.role, timestamp(user.created_at), user.disabled, password)


async def users(call: Call) -> types.Accounts:
    query: types.FindAccounts = call.query
    after = from_cursor(query.cursor, str)
    start = after[0] if after and is_uuid(after[0]) else None
    found = await call.services.accounts.page(query.q, start, query.limit + 1)
    more = cursor_of(found[query.limit - 1].id) if len(found) > query.limit else None
    return types.Accounts([account(user) for user in found[: query.limit]], more)


async def change_user(call: Call) -> types.Account:
    body: types.PatchAccount = call.body
    role, disabled = or_none(body.role), or_none(body.disabled)
    if call.path["userId"] == call.who.user_id and (role == "user" or disabled):
        raise Conflict("auth.forbidden", "You can't take your own rights away. Ask another administrator.")
    user, password = await call.services.accounts.change(
        call.who, call.path["userId"], role, disabled, or_none(body.reset_password) is True
    )
    return account(user, password)


async def delete_user(call: Call) -> None:
    if call.path["userId"] == call.who.user_id:
        raise Conflict("auth.forbidden", "Leave for good with DELETE /users/me.")
    await call.services.accounts.delete(call.who, call.path["userId"])


async def rooms(call: Call) -> types.RoomLines:
    query: types.Page = call.query
    after = from_cursor(query.cursor, str)
    start = after[0] if after and is_uuid(after[0]) else None
    found = await call.services.room_lines(start, query.limit + 1)
    more = cursor_of(found[query.limit - 1].id) if len(found) > query.limit else None
    lines = [types.RoomLine(r.id, r.name, timestamp(r.created_at), r.members, r.messages) for r in found[: query.limit]]
    return types.RoomLines(lines, more)


async def stats(call: Call) -> types.StatsLines:
    query: types.StatsQuery = call.query
    until = time_of(query.until, "until") if query.until is not UNSET else datetime.now(UTC)
    since = time_of(query.since, "since") if query.since is not UNSET else max(EPOCH, until) - timedelta(days=30)
    return types.StatsLines([types.StatsLine(*line) for line in await call.services.lines(query.by, since, until)])


async def audit(call: Call) -> types.AuditEntries:
    query: types.Page = call.query
    before = from_cursor(query.cursor, types.Seq)
    found = await call.services.audits(before[0] if before else None, query.limit + 1)
    more = cursor_of(found[query.limit - 1].id) if len(found) > query.limit else None
    entries = [types.AuditEntry(e.id, timestamp(e.at), e.action, e.target, e.user_id) for e in found[: query.limit]]
    return types.AuditEntries(entries, more)


async def faults(call: Call) -> types.Faults:
    found = await call.services.faults()
    return types.Faults(
        [types.FaultGroup(g.kind, g.times, timestamp(g.first_at), timestamp(g.last_at), g.example) for g in found]
    )


async def embedding(call: Call) -> types.EmbeddingModels:
    found = await call.services.vectors.state()
    return types.EmbeddingModels(
        [types.EmbeddingModel(m.name, m.serving, m.waiting, m.dimensions, m.korean, m.fault) for m in found]
    )


T = "administration"
ROUTES = [
    Route("GET", "/admin/users", users, "Accounts, in the order of joining.", T,
          query=types.FindAccounts, reply=types.Accounts, who="admin"),
    Route("PATCH", "/admin/users/{userId}", change_user, "Disable, enable, change the role, reset the password.", T,
          body=types.PatchAccount, reply=types.Account, who="admin"),
    Route("DELETE", "/admin/users/{userId}", delete_user, "Delete an account; its messages become nameless.", T,
          status=204, who="admin"),
    Route("GET", "/admin/rooms", rooms, "All rooms with their volume, in the order of their making.", T,
          query=types.Page, reply=types.RoomLines, who="admin"),
    Route("GET", "/admin/stats", stats, "Messages, answers and tokens by user, room, model or day; 30 days if not said.", T,
          query=types.StatsQuery, reply=types.StatsLines, who="admin"),
    Route("GET", "/admin/usage", stats, "The same figures, for tokens.", T,
          query=types.StatsQuery, reply=types.StatsLines, who="admin"),
    Route("GET", "/admin/audit", audit, "What administrators did, newest first.", T,
          query=types.Page, reply=types.AuditEntries, who="admin"),
    Route("GET", "/admin/embedding", embedding, "Models of meaning; none: search and memory go by words alone.", T,
          reply=types.EmbeddingModels, who="admin"),
    Route("GET", "/admin/errors", faults, "Faults of the last 30 days, by kind.", T, reply=types.Faults, who="admin"),
]  # fmt: skip
