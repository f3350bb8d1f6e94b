"""Coming in, staying in, going: accounts, sessions, keys."""

from datetime import UTC, datetime
from typing import Any

from handlers.api import types
from handlers.api.base import Call, Id, Route, cursor_of, from_cursor, or_none, piece, time_of
from handlers.dispatch import utc
from services.accounts import SignedIn
from services.errors import Limited, invalid
from services.realtime.events import timestamp


def profile(user: Any) -> types.Profile:
    return types.Profile(user.id, user.email, user.name, user.role, timestamp(user.created_at))


def signed_in(call: Call, result: SignedIn) -> types.SignedIn:
    if result.cookie is not None:
        call.set_cookie(result.cookie)
    return types.SignedIn(result.token, utc(result.expires_at), result.refresh_token, profile(result.user))


async def register(call: Call) -> types.SignedIn:
    body: types.Register = call.body
    result = await call.services.accounts.register(
        body.email.strip(),
        body.name.strip(),
        body.password,
        or_none(body.invite),
        or_none(body.setup_code),
        call.device,
    )
    return signed_in(call, result)


async def log_in(call: Call) -> types.SignedIn:
    body: types.Login = call.body
    return signed_in(call, await call.services.accounts.log_in(body.email.strip(), body.password, call.device))


async def refresh(call: Call) -> types.SignedIn:
    return signed_in(call, await call.services.accounts.refresh(call.body.refresh_token))


async def log_out(call: Call) -> None:
    await call.services.accounts.log_out(call.who)
    call.clear_cookie()


async def change_password(call: Call) -> types.SignedIn:
    body: types.ChangePassword = call.body
    result = await call.services.accounts.change_password(call.who, body.old_password, body.new_password)
    return signed_in(call, result)


async def me(call: Call) -> types.Profile:
    return profile(await call.services.accounts.me(call.who))


async def change_me(call: Call) -> types.Profile:
    body: types.ChangeProfile = call.body
    name = or_none(body.name)
    if name is None:
        return await me(call)
    return profile(await call.services.accounts.rename(call.who, name.strip()))


async def my_usage(call: Call) -> types.OwnUsage:
    own, limits = await call.services.budgets.own(call.who.user_id)
    today, month = (types.Tokens(f.input_tokens, f.output_tokens, float(f.cost)) for f in own)
    budgets = [
        types.OwnBudget(
            limit.span, limit.unit, float(spent), state, amount(limit.soft), amount(limit.hard)  # type: ignore[arg-type]
        )
        for limit, spent, state in limits
    ]  # fmt: skip
    return types.OwnUsage(today, month, call.services.prices.currency, budgets)


def amount(value: Any) -> float | None:
    return None if value is None else float(value)


async def leave_for_good(call: Call) -> None:
    erase = call.body.messages == "remove"
    await call.services.accounts.leave_for_good(call.who, call.body.password, erase)
    if erase:
        await call.services.retention.erase(call.who.user_id)
    call.clear_cookie()


async def use_reset(call: Call) -> types.SignedIn:
    body: types.UseReset = call.body
    return signed_in(call, await call.services.accounts.use_reset(body.token, body.password, call.device))


async def people(call: Call) -> types.People:
    query: types.FindPeople = call.query
    after = from_cursor(query.cursor, str, Id)
    found = await call.services.accounts.search(query.q, after, query.limit + 1)
    page = [types.Person(user.id, user.name) for user in found[: query.limit]]
    return types.People(page, cursor_of(page[-1].name, page[-1].id) if len(found) > len(page) else None)


async def sessions(call: Call) -> types.Sessions:
    return session_page(call, await call.services.accounts.sessions(call.who))


def session_page(call: Call, found: list[Any]) -> types.Sessions:
    views = [session_view(call, row) for row in found]
    return types.Sessions(*piece(views, call.query, lambda one: (one.created_at, one.id), str, str, newest_first=True))


def session_view(call: Call, row: Any) -> types.Session:
    return types.Session(
        row.id,
        timestamp(row.created_at),
        timestamp(row.last_seen_at),
        row.id == call.who.session_id,
        row.user_agent,
        row.ip,
    )


async def end_session(call: Call) -> None:
    await call.services.accounts.end_session(call.who, call.path["sessionId"])


def key_view(row: Any, secret: str | None = None) -> types.Key:
    expires = timestamp(row.expires_at) if row.expires_at else None
    return types.Key(row.id, row.name, timestamp(row.created_at), expires, secret)


async def make_key(call: Call) -> types.Key:
    body: types.MakeKey = call.body
    expires_at = None
    if (text := or_none(body.expires_at)) is not None:
        try:
            expires_at = time_of(text, "expiresAt")
        except Exception:
            raise invalid("expiresAt", "This is no RFC 3339 time.") from None
        if ":" not in text:
            raise invalid("expiresAt", "This is a day. A time is needed too.")
        if expires_at.year >= 9999:
            raise invalid("expiresAt", "This time is out of range.")
        if expires_at <= datetime.now(UTC):
            raise invalid("expiresAt", "This time is in the past.")
    existing = await call.services.accounts.keys(call.who)
    if len(existing) >= 100:
        raise Limited("rate.limited", "You have 100 keys. Delete one first.")
    return key_view(*await call.services.accounts.add_key(call.who, body.name, expires_at))


async def keys(call: Call) -> types.Keys:
    views = [key_view(row) for row in await call.services.accounts.keys(call.who)]
    return types.Keys(*piece(views, call.query, lambda key: (key.id,), str))


async def delete_key(call: Call) -> None:
    await call.services.accounts.delete_key(call.who, call.path["keyId"])


T = "accounts"
ROUTES = [
    Route("POST", "/auth/register", register, "Make an account and sign in.", T,
          body=types.Register, reply=types.SignedIn, status=201, who=None),
    Route("POST", "/auth/login", log_in, "Sign in.", T, body=types.Login, reply=types.SignedIn, who=None),
    Route("POST", "/auth/refresh", refresh, "Trade a refresh token for a new pair.", T,
          body=types.Refresh, reply=types.SignedIn, who=None),
    Route("POST", "/auth/logout", log_out, "End this session.", T, status=204),
    Route("POST", "/auth/password", change_password, "Change the password; every other session ends.", T,
          body=types.ChangePassword, reply=types.SignedIn),
    Route("POST", "/auth/reset", use_reset, "Set a new password by the one-time link of an administrator, and sign in.", T,
          body=types.UseReset, reply=types.SignedIn, who=None),
    Route("GET", "/users/me", me, "Own profile.", T, reply=types.Profile),
    Route("PATCH", "/users/me", change_me, "Change one's name.", T, body=types.ChangeProfile, reply=types.Profile),
    Route("DELETE", "/users/me", leave_for_good, "Leave for good.", T, body=types.LeaveForGood, status=204),
    Route("GET", "/users/me/usage", my_usage, "Own tokens, money and budgets.", T, reply=types.OwnUsage),
    Route("GET", "/users", people, "People to invite, by part of the name or whole email.", T,
          query=types.FindPeople, reply=types.People),
    Route("GET", "/users/me/sessions", sessions, "Signed-in devices.", T,
          query=types.Page, reply=types.Sessions),
    Route("DELETE", "/users/me/sessions/{sessionId}", end_session, "Sign a device out.", T, status=204),
    Route("POST", "/users/me/keys", make_key, "Make an API key; it is shown once.", T,
          body=types.MakeKey, reply=types.Key, status=201),
    Route("GET", "/users/me/keys", keys, "Own API keys.", T, query=types.Page, reply=types.Keys),
    Route("DELETE", "/users/me/keys/{keyId}", delete_key, "Delete an API key; its sockets close.", T, status=204),
]  # fmt: skip
