"""For administrators: figures, accounts, rooms, budgets, faults, and what is said while they follow it.

An administrator has no special right in rooms.
"""

import asyncio
import csv
import io
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta
from tornado.iostream import StreamClosedError

from handlers.api import types
from handlers.api.auth import amount, session_page
from handlers.api.base import EPOCH, Call, Id, Route, by_place, cursor_of, from_cursor, or_none, piece, time_of
from handlers.door import bearer_of
from models.budgets import EVERYONE, Limit
from models.database import DatabaseUnavailable
from models.tallies import Line
from services.accounts import is_uuid
from services.administration import Sum
from services.budgets import state
from services.errors import ChatError, Conflict, NotFound, invalid, room_not_found
from services.messages import view
from services.realtime.events import encode, timestamp

Offset = Annotated[int, Meta(ge=0, le=1_000_000)]
ALIVE_S = 15.0
RIGHTS_S = 2.0
CSV_MOST = 100_000


def account(user: Any, reset_url: str | None = None) -> types.Account:
    return types.Account(
        user.id, user.email, user.name, user.role, timestamp(user.created_at), user.disabled, reset_url
    )


async def users(call: Call) -> types.Accounts:
    query: types.FindAccounts = call.query
    after = from_cursor(query.cursor, Id)
    found = await call.services.accounts.page(query.q, after[0] if after else None, query.limit + 1)
    more = cursor_of(found[query.limit - 1].id) if len(found) > query.limit else None
    return types.Accounts([account(user) for user in found[: query.limit]], more)


async def change_user(call: Call) -> types.Account:
    body: types.PatchAccount = call.body
    role, disabled = or_none(body.role), or_none(body.disabled)
    if call.path["userId"] == call.who.user_id and (role == "user" or disabled):
        raise Conflict("auth.forbidden", "You can't take your own rights away. Ask another administrator.")
    user, secret = await call.services.accounts.change(
        call.who, call.path["userId"], role, disabled, or_none(body.reset_password) is True
    )
    # Behind the #, which no server and no log gets to see.
    return account(user, f"{call.base_url}/login#reset={secret}" if secret else None)


async def delete_user(call: Call) -> None:
    if call.path["userId"] == call.who.user_id:
        raise Conflict("auth.forbidden", "Leave for good with DELETE /users/me.")
    erase = call.query.messages == "remove"
    await call.services.accounts.delete(call.who, call.path["userId"], erase)
    if erase:
        await call.services.retention.erase(call.path["userId"])


async def user_sessions(call: Call) -> types.Sessions:
    return session_page(call, await call.services.administration.sessions(call.path["userId"]))


async def end_user_sessions(call: Call) -> None:
    await call.services.administration.end_sessions(call.who, call.path["userId"], call.path.get("sessionId"))


def room_line(line: Any) -> types.RoomLine:
    return types.RoomLine(
        line.id, line.name, timestamp(line.created_at), line.members, line.messages, line.retention_days
    )


async def rooms(call: Call) -> types.RoomLines:
    query: types.FindRooms = call.query
    (offset,) = from_cursor(query.cursor, Offset) or (0,)
    found = await call.services.administration.rooms(query.q, query.sort, offset, query.limit + 1)
    more = cursor_of(offset + query.limit) if len(found) > query.limit else None
    return types.RoomLines([room_line(line) for line in found[: query.limit]], more)


async def change_room(call: Call) -> types.RoomLine:
    services = call.services
    return room_line(
        await services.administration.set_retention(call.who, call.path["roomId"], call.body.retention_days)
    )


async def delete_room(call: Call) -> None:
    await call.services.administration.delete_room(call.who, call.path["roomId"])


async def stats(call: Call) -> types.StatsLines | None:
    query: types.StatsQuery = call.query
    until = time_of(query.until, "until") if query.until is not UNSET else datetime.now(UTC)
    since = time_of(query.since, "since") if query.since is not UNSET else max(EPOCH, until) - timedelta(days=30)
    (offset,) = from_cursor(query.cursor, Offset) or (0,)
    as_csv = query.format == "csv"
    most = CSV_MOST if as_csv else query.limit
    found = await call.services.administration.lines(
        query.by, since, until, query.sort, descending=query.order == "desc", offset=offset, limit=most + 1
    )
    if as_csv:
        text = await asyncio.to_thread(csv_of, found[:most])
        call.handler.set_header("Content-Type", "text/csv; charset=utf-8")
        call.handler.set_header("Content-Disposition", f'attachment; filename="maru-{query.by}.csv"')
        call.handler.finish(text)
        return None
    return types.StatsLines(stats_lines(found[:most]), cursor_of(offset + most) if len(found) > most else None)


def stats_lines(found: Sequence[Line]) -> list[types.StatsLine]:
    return [types.StatsLine(line.key, line.name, *line.figures[:6], float(line.figures.cost)) for line in found]


def csv_of(found: Sequence[Line]) -> str:
    """With a head; by the mark before it spreadsheets know UTF-8. In a thread: it may be a hundred thousand lines."""
    text = io.StringIO("\ufeff")
    text.seek(0, io.SEEK_END)
    writer = csv.writer(text)
    writer.writerow([field.encode_name for field in msgspec.structs.fields(types.StatsLine)])
    writer.writerows([plain(value) for value in msgspec.structs.astuple(line)] for line in stats_lines(found))
    return text.getvalue()


def plain(value: Any) -> Any:
    """A name that a spreadsheet would take for a formula is marked as text."""
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def figures(one: Sum, kind: type[types.Figures] = types.Figures, **more: Any) -> Any:
    return kind(*one.figures[:6], float(one.figures.cost), one.errors, one.p50_ms, one.p95_ms, **more)


async def overview(call: Call) -> types.Overview:
    services, span = call.services, call.query.span
    found = await services.administration.overview(span)
    zone = services.settings.zone
    return types.Overview(
        span,
        services.prices.currency,
        services.settings.time_zone,
        types.Now(*found.now),
        figures(found.today),
        figures(found.month),
        figures(found.total),
        [figures(one, types.Bucket, at=timestamp(at.replace(tzinfo=zone))) for at, one in found.buckets],
        found.unpriced,
        services.degraded,
    )


async def audit(call: Call) -> types.AuditEntries:
    query: types.Page = call.query
    before = from_cursor(query.cursor, types.Seq)
    found = await call.services.administration.audits(before[0] if before else None, query.limit + 1)
    more = cursor_of(found[query.limit - 1].id) if len(found) > query.limit else None
    entries = [
        types.AuditEntry(e.id, timestamp(e.at), e.action, e.target, e.user_id, e.user_name or None)
        for e in found[: query.limit]
    ]
    return types.AuditEntries(entries, more)


async def faults(call: Call) -> types.Faults:
    found = await call.services.administration.faults()
    groups = [
        types.FaultGroup(g.kind, g.times, timestamp(g.first_at), timestamp(g.last_at), g.example, g.request_id)
        for g in found
    ]
    return types.Faults(*piece(groups, call.query, lambda one: (one.last_at, one.kind), str, str, newest_first=True))


async def settings(call: Call) -> types.SettingsInForce:
    found, more = by_place(call.services.administration.settings_in_force(), call.query)
    return types.SettingsInForce([types.InForce(*one) for one in found], more)


def budget_line(limit: Limit, name: str, spent: Decimal | None) -> types.BudgetLine:
    everyone = limit.key == EVERYONE
    return types.BudgetLine(
        limit.kind,
        limit.span,
        limit.unit,
        None if everyone else limit.key,
        name or None,
        amount(limit.soft),
        amount(limit.hard),
        amount(spent),
        None if spent is None else state(limit, spent),  # type: ignore[arg-type]
    )


async def budgets(call: Call) -> types.BudgetLines:
    found, more = by_place(await call.services.budgets.lines(), call.query)
    return types.BudgetLines([budget_line(*line) for line in found], more)


async def set_budget(call: Call) -> types.BudgetLine:
    body: types.SetBudget = call.body
    key = EVERYONE
    if body.id is not UNSET:
        if not is_uuid(body.id):
            raise NotFound("request.not_found", f"There is no such {body.kind}.", field="id")
        key = body.id.lower()
    soft, hard = (None if value is None else Decimal(str(value)) for value in (body.soft, body.hard))
    if soft is not None and hard is not None and soft > hard:
        raise invalid("soft", "The soft limit is not above the hard one.")
    limit = Limit(body.kind, key, body.span, body.unit, soft, hard)
    name = await call.services.administration.set_budget(call.who, limit)
    return budget_line(limit, name, None)


# -- following


def live_message(said: Any, with_text: bool) -> types.LiveMessage:
    message = view(said.message)
    return types.LiveMessage(
        message.id,
        message.room_id,
        said.room_name,
        message.seq,
        message.user_name,
        message.role,
        message.status,
        message.ts,
        len(message.text),
        message.user_id,
        message.deleted,
        message.text if with_text else None,
        message.model,
        message.usage,
        message.error,
    )


async def follow(call: Call) -> None:
    """Server-sent events, until the asker goes, is no administrator any more, or the pod drains."""
    query: types.FollowLive = call.query
    room_id = or_none(query.room_id)
    if room_id is not None and not is_uuid(room_id):
        raise room_not_found()
    handler, services = call.handler, call.services
    following = services.administration.follow(call.who, room_id.lower() if room_id else None, query.text)
    said = await anext(following)  # refused before the answer begins
    handler.set_header("Content-Type", "text/event-stream; charset=utf-8")
    handler.set_header("X-Accel-Buffering", "no")
    handler.write(b"retry: 3000\nevent: open\ndata: " + encode(types.LiveOpen(query.text, room_id)) + b"\n\n")
    told = looked = time.monotonic()
    try:
        while not services.draining:
            for one in said:
                handler.write(b"event: message\ndata: " + encode(live_message(one, query.text)) + b"\n\n")
            now = time.monotonic()
            if now - told > ALIVE_S:
                handler.write(b": alive\n\n")
            if said or now - told > ALIVE_S:
                told = now
            await handler.flush()
            if now - looked > RIGHTS_S:
                looked = now
                if (await bearer_of(handler.request, services)).role != "admin":
                    break
            said = await anext(following)
    except (StreamClosedError, asyncio.CancelledError, ChatError, DatabaseUnavailable):
        pass  # a browser comes back by itself, and hears why it may not
    finally:
        await following.aclose()
    if not handler.request.connection.stream.closed():  # type: ignore[union-attr]
        await handler.finish()


async def embedding(call: Call) -> types.EmbeddingModels:
    found, more = by_place(await call.services.vectors.state(), call.query)
    return types.EmbeddingModels(
        [types.EmbeddingModel(m.name, m.serving, m.waiting, m.dimensions, m.korean, m.fault) for m in found], more
    )


T = "administration"
ROUTES = [
    Route("GET", "/admin/overview", overview, "Figures of now, today, this month and of each hour or day of a span.", T,
          query=types.OverviewQuery, reply=types.Overview, who="admin"),
    Route("GET", "/admin/users", users, "Accounts, in the order of joining.", T,
          query=types.FindAccounts, reply=types.Accounts, who="admin"),
    Route("PATCH", "/admin/users/{userId}", change_user,
          "Disable, enable, change the role; reset the password by a one-time link.", T,
          body=types.PatchAccount, reply=types.Account, who="admin"),
    Route("DELETE", "/admin/users/{userId}", delete_user, "Delete an account; its messages become nameless, or go too.", T,
          query=types.DeleteAccount, status=204, who="admin"),
    Route("GET", "/admin/users/{userId}/sessions", user_sessions, "Somebody's signed-in devices.", T,
          query=types.Page, reply=types.Sessions, who="admin"),
    Route("DELETE", "/admin/users/{userId}/sessions", end_user_sessions, "Sign all of somebody's devices out.", T,
          status=204, who="admin"),
    Route("DELETE", "/admin/users/{userId}/sessions/{sessionId}", end_user_sessions, "Sign a device out.", T,
          status=204, who="admin"),
    Route("GET", "/admin/rooms", rooms, "Rooms with their volume, by part of the name.", T,
          query=types.FindRooms, reply=types.RoomLines, who="admin"),
    Route("PATCH", "/admin/rooms/{roomId}", change_room, "How long a room's messages are kept.", T,
          body=types.PatchRoomLine, reply=types.RoomLine, who="admin"),
    Route("DELETE", "/admin/rooms/{roomId}", delete_room, "Delete a room and all that was said in it.", T,
          status=204, who="admin"),
    Route("GET", "/admin/stats", stats,
          "Messages, answers, tokens and money by user, room, model or day; 30 days if not said.", T,
          query=types.StatsQuery, reply=types.StatsLines, who="admin"),
    Route("GET", "/admin/usage", stats, "The same figures, for tokens and money.", T,
          query=types.StatsQuery, reply=types.StatsLines, who="admin"),
    Route("GET", "/admin/budgets", budgets, "All limits that are set, everyone's first.", T,
          query=types.Page, reply=types.BudgetLines, who="admin"),
    Route("POST", "/admin/budgets", set_budget, "Set a limit, or take it away.", T,
          body=types.SetBudget, reply=types.BudgetLine, who="admin"),
    Route("GET", "/admin/audit", audit, "What administrators did, newest first.", T,
          query=types.Page, reply=types.AuditEntries, who="admin"),
    Route("GET", "/admin/live", follow, "What is said everywhere or in a room, as server-sent events.", T,
          query=types.FollowLive, reply=types.LiveMessage, who="admin"),
    Route("GET", "/admin/settings", settings, "Settings in force; of secrets only whether they are set.", T,
          query=types.Page, reply=types.SettingsInForce, who="admin"),
    Route("GET", "/admin/embedding", embedding, "Models of meaning; none: search and memory go by words alone.", T,
          query=types.Page, reply=types.EmbeddingModels, who="admin"),
    Route("GET", "/admin/errors", faults, "Faults of the last 30 days, by kind.", T, query=types.Page, reply=types.Faults, who="admin"),
]  # fmt: skip
