"""Rooms, members and invitations."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET

from handlers.api import types
from handlers.api.base import EPOCH, Call, Id, Route, cursor_of, from_cursor, or_none, plain_time
from handlers.api.problems import BadRequest
from services.accounts import is_uuid
from services.errors import NotFound
from services.realtime.events import Bot, Member, Room, timestamp


def times_cursor(text: str) -> tuple[datetime, str] | None:
    key = from_cursor(text, datetime, Id)
    if key is None:
        return None
    try:
        at = plain_time(key[0])
    except OverflowError:
        at = EPOCH
    if at == EPOCH:
        raise BadRequest("This cursor is not one that was given out.", "cursor")
    return at, key[1]


async def create(call: Call) -> Room:
    body: types.MakeRoom = call.body
    bot = None
    if body.bot is not UNSET:
        bot = msgspec.convert({k: v for k, v in msgspec.to_builtins(body.bot).items() if v is not None}, Bot)
    name = or_none(body.name)
    return await call.services.rooms.create(call.who, name.strip() if name else None, bot)


async def mine(call: Call) -> types.RoomList:
    query: types.Page = call.query
    found, more = await call.services.rooms.mine(call.who, times_cursor(query.cursor), query.limit)
    return types.RoomList(found, cursor_of(*more) if more else None)


async def get(call: Call) -> Room:
    return await call.services.rooms.get(call.who, call.path["roomId"])


async def change(call: Call) -> Room:
    body: types.PatchRoom = call.body
    name = or_none(body.name)
    bot: Any = None
    if body.bot is None:
        bot = "reset"
    elif body.bot is not UNSET:
        bot = msgspec.to_builtins(body.bot)
    room = await call.services.rooms.change(
        call.who, call.path["roomId"], name.strip() if name else None, bot, body.retention_days
    )
    if body.retention_days is not UNSET:
        call.services.retention.nudge()
    return room


async def preview(call: Call) -> types.Preview:
    body: types.AskPreview = call.body
    patch = {} if body.bot is UNSET else msgspec.to_builtins(body.bot)
    return types.Preview(*await call.services.previews.ask(call.who, call.path["roomId"], patch, body.text))


async def delete(call: Call) -> None:
    await call.services.rooms.delete(call.who, call.path["roomId"])
    call.services.retention.nudge()  # a large one is emptied bit by bit


async def members(call: Call) -> types.MemberList:
    query: types.Page = call.query
    found, more = await call.services.rooms.members(
        call.who, call.path["roomId"], times_cursor(query.cursor), query.limit
    )
    return types.MemberList(found, cursor_of(*more) if more else None)


async def add_member(call: Call) -> Member:
    body: types.AddMember = call.body
    if not is_uuid(body.user_id):
        await call.services.rooms.get(call.who, call.path["roomId"])
        raise NotFound("request.not_found", "There is no such user.", field="userId")
    return await call.services.rooms.add_member(call.who, call.path["roomId"], body.user_id.lower(), body.role)


async def set_role(call: Call) -> Member:
    return await call.services.rooms.set_role(call.who, call.path["roomId"], call.path["userId"], call.body.role)


async def remove_member(call: Call) -> None:
    await call.services.rooms.remove_member(call.who, call.path["roomId"], call.path["userId"])


def invite_view(call: Call, row: Any) -> types.Invite:
    url = f"{call.base_url}/i/{row.code}"
    return types.Invite(row.code, url, row.room_id, row.role, timestamp(row.expires_at), row.max_uses, row.uses)


async def invite(call: Call) -> types.Invite:
    body: types.MakeInvite = call.body
    row = await call.services.rooms.invite(
        call.who, call.path["roomId"], body.role, or_none(body.expires_in_s), or_none(body.max_uses)
    )
    return invite_view(call, row)


async def invites(call: Call) -> types.InviteList:
    query: types.Page = call.query
    after = from_cursor(query.cursor, str)
    found, more = await call.services.rooms.invites(
        call.who, call.path["roomId"], after[0] if after else "", query.limit
    )
    return types.InviteList([invite_view(call, row) for row in found], cursor_of(more) if more else None)


async def delete_invite(call: Call) -> None:
    await call.services.rooms.delete_invite(call.who, call.path["roomId"], call.path["code"])


async def accept(call: Call) -> Room:
    return await call.services.rooms.accept(call.who, call.path["code"])


T = "rooms"
ROUTES = [
    Route("POST", "/rooms", create, "Make a room; without a name it is named after its first exchange.", T,
          body=types.MakeRoom, reply=Room, status=201),
    Route("GET", "/rooms", mine, "Own rooms, newest activity first.", T, query=types.Page, reply=types.RoomList),
    Route("GET", "/rooms/{roomId}", get, "A room.", T, reply=Room),
    Route("PATCH", "/rooms/{roomId}", change, "Change name, bot and retention (JSON merge patch).", T,
          body=types.PatchRoom, reply=Room),
    Route("POST", "/rooms/{roomId}/preview", preview,
          "What the bot would answer with these settings: for an owner alone, and not kept.", T,
          body=types.AskPreview, reply=types.Preview),
    Route("DELETE", "/rooms/{roomId}", delete, "Delete a room and all that was said in it.", T, status=204),
    Route("GET", "/rooms/{roomId}/members", members, "Members, in the order of joining.", T,
          query=types.Page, reply=types.MemberList),
    Route("POST", "/rooms/{roomId}/members", add_member, "Bring somebody in.", T,
          body=types.AddMember, reply=Member, status=201),
    Route("PATCH", "/rooms/{roomId}/members/{userId}", set_role, "Change a member's role.", T,
          body=types.SetRole, reply=Member),
    Route("DELETE", "/rooms/{roomId}/members/{userId}", remove_member, "Remove a member, or leave for good.", T,
          status=204),
    Route("POST", "/rooms/{roomId}/invites", invite, "Make an invitation.", T,
          body=types.MakeInvite, reply=types.Invite, status=201),
    Route("GET", "/rooms/{roomId}/invites", invites, "Invitations that can still be used.", T,
          query=types.Page, reply=types.InviteList),
    Route("DELETE", "/rooms/{roomId}/invites/{code}", delete_invite, "End an invitation.", T, status=204),
    Route("POST", "/invites/{code}", accept, "Enter a room by invitation.", T, reply=Room),
]  # fmt: skip
