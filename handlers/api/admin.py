"""For administrators: accounts and faults. An administrator has no special right in rooms."""

from typing import Any

from handlers.api import types
from handlers.api.base import Call, Route, cursor_of, from_cursor, or_none
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
    await call.services.accounts.delete(call.path["userId"])


async def faults(call: Call) -> types.Faults:
    found = await call.services.faults()
    return types.Faults(
        [types.FaultGroup(g.kind, g.times, timestamp(g.first_at), timestamp(g.last_at), g.example) for g in found]
    )


T = "administration"
ROUTES = [
    Route("GET", "/admin/users", users, "Accounts, in the order of joining.", T,
          query=types.FindAccounts, reply=types.Accounts, who="admin"),
    Route("PATCH", "/admin/users/{userId}", change_user, "Disable, enable, change the role, reset the password.", T,
          body=types.PatchAccount, reply=types.Account, who="admin"),
    Route("DELETE", "/admin/users/{userId}", delete_user, "Delete an account; its messages become nameless.", T,
          status=204, who="admin"),
    Route("GET", "/admin/errors", faults, "Faults of the last 30 days, by kind.", T, reply=types.Faults, who="admin"),
]  # fmt: skip
