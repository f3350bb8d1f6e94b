"""Messages over REST: the commands' doubles, history, exports."""

import re
from collections.abc import Awaitable
from typing import Annotated
from urllib.parse import quote

from msgspec import UNSET, Meta

from handlers import dispatch, protocol
from handlers.api import types
from handlers.api.auth import key_view, my_usage, session_view
from handlers.api.base import Call, Route, by_place, cursor_of, from_cursor, or_none, piece, time_of
from handlers.api.problems import BadRequest
from models.search import Where
from services.accounts import is_uuid
from services.errors import NotFound
from services.realtime.events import Message, Source, encode, timestamp


async def history(call: Call) -> types.MessagePage:
    query: types.History = call.query
    where = {name: or_none(getattr(query, name)) for name in ("before", "after", "around")}
    given = {name: value for name, value in where.items() if value is not None}
    if len(given) > 1:
        raise BadRequest("Only one of before, after and around.", sorted(given)[1])
    page = await call.services.messages.page(call.who, call.path["roomId"], limit=query.limit, **given)
    return types.MessagePage(page.messages, page.more_before, page.more_after)


async def changes(call: Call) -> types.Changes:
    query: types.ChangesSince = call.query
    return types.Changes(*await call.services.messages.changes(call.who, call.path["roomId"], query.after, query.limit))


async def send(call: Call) -> protocol.Sent:
    body: types.PostMessage = call.body
    command = protocol.Send(call.path["roomId"], body.text, body.client_id, body.reply_to)
    sent = await dispatch.send(call.services, call.who, command)
    if sent.duplicate:
        call.status = 200
    return sent


async def get(call: Call) -> Message:
    return await call.services.messages.get(call.who, call.path["messageId"])


async def edit(call: Call) -> protocol.Changed:
    return protocol.Changed(await call.services.messages.edit(call.who, call.path["messageId"], call.body.text))


async def delete(call: Call) -> protocol.Changed:
    return protocol.Changed(await call.services.messages.delete(call.who, call.path["messageId"]))


async def stop(call: Call) -> protocol.Nothing:
    await call.services.messages.stop(call.who, call.path["messageId"])
    return protocol.Nothing()


async def regenerate(call: Call) -> protocol.Queued:
    return protocol.Queued(await call.services.messages.regenerate(call.who, call.path["messageId"]))


async def versions(call: Call) -> types.Versions:
    found = await call.services.messages.versions(call.who, call.path["messageId"])
    page, more = piece(found, call.query, lambda one: (one[0],), int)
    return types.Versions([types.Version(number, text, timestamp(at), model) for number, text, at, model in page], more)


async def context(call: Call) -> types.Context:
    attempt, prompt = await call.services.messages.context(call.who, call.path["messageId"])
    turns = [types.ContextMessage(**turn) for turn in prompt["messages"]]
    sources = [Source(one["messageId"], one["roomId"]) for one in prompt.get("passages", [])]
    return types.Context(attempt, prompt["system"], turns, sources or None)


async def models(call: Call) -> types.ModelList:
    found, more = by_place(call.services.models.available(), call.query)
    return types.ModelList([types.Model(provider, model, default or None) for provider, model, default in found], more)


async def search(call: Call) -> types.Hits:
    query: types.SearchQuery = call.query
    room_id, user_id = or_none(query.room_id), or_none(query.user_id)
    if user_id is not None:
        if not is_uuid(user_id):
            raise BadRequest("This is no user's id.", "userId")
        user_id = user_id.lower()
    where = Where(
        dispatch.room_id_of(room_id) if room_id is not None else None,
        user_id,
        time_of(query.since, "since") if query.since is not UNSET else None,
        time_of(query.until, "until") if query.until is not UNSET else None,
    )
    offset = from_cursor(query.cursor, Annotated[int, Meta(ge=0, le=1000)]) or (0,)
    found, more = await call.services.search.find(call.who, query.q, where, query.mode, offset[0], query.limit)
    return types.Hits([types.Hit(*hit) for hit in found], cursor_of(more) if more else None)


async def export(call: Call) -> None:
    """Written piece by piece: a room may be larger than this process's memory should be."""
    room = await call.services.rooms.get(call.who, call.path["roomId"])
    handler = call.handler
    markdown = call.query.format == "markdown"
    handler.set_status(200)
    handler.set_header("Content-Type", "text/markdown; charset=utf-8" if markdown else "application/json")
    handler.set_header("Content-Disposition", attachment(room.name, "md" if markdown else "json"))
    if markdown:
        handler.write(f"# {room.name or room.id}\n\n")
    else:
        handler.write(b'{"room":' + encode(room) + b',"messages":[')
    await write_messages(call, call.path["roomId"], markdown)
    if not markdown:
        handler.write(b"]}")
    await handler.finish()


def attachment(name: str, ending: str) -> str:
    """A file called after the room, in any script (RFC 6266), without what file systems give a meaning to."""
    plain = re.sub(r'[ \\/:*?"<>|\x00-\x1f\x7f]+', " ", name).strip(" .") or "room"
    return f"attachment; filename=\"room.{ending}\"; filename*=UTF-8''{quote(plain, safe='')}.{ending}"


async def write_messages(call: Call, room_id: str, markdown: bool) -> None:
    after, first = 0, True
    while found := await call.services.messages.every(call.who, room_id, after):
        after = found[-1].seq
        for message in found:
            if markdown:
                text = "(deleted)" if message.deleted else message.text
                call.handler.write(f"**{message.user_name or '-'}** · {message.ts}\n\n{text}\n\n")
            else:
                call.handler.write((b"" if first else b",") + encode(message))
            first = False
        await call.handler.flush()


async def readable(reading: Awaitable[list[Message]]) -> list[Message]:
    """Nothing more where the asker has lost the room meanwhile: of the others he is given all the same."""
    try:
        return await reading
    except NotFound:
        return []


async def export_mine(call: Call) -> None:
    """Everything that is the asker's: profile, devices, keys, use, rooms, and what he said there and in rooms he has left."""
    services, handler = call.services, call.handler
    user = await services.accounts.me(call.who)
    handler.set_status(200)
    handler.set_header("Content-Type", "application/json")
    handler.set_header("Content-Disposition", 'attachment; filename="maru.json"')
    about = {
        "user": {"id": user.id, "email": user.email, "name": user.name, "createdAt": timestamp(user.created_at)},
        "sessions": [session_view(call, row) for row in await services.accounts.sessions(call.who)],
        "keys": [key_view(row) for row in await services.accounts.keys(call.who)],
        "usage": await my_usage(call),
    }
    handler.write(encode(about)[:-1] + b',"rooms":[')
    before, first = None, True
    while True:
        rooms, before = await services.rooms.mine(call.who, before, 50)
        for room in rooms:
            handler.write((b"" if first else b",") + b'{"room":' + encode(room) + b',"messages":[')
            first = False
            after, first_message = 0, True
            while found := await readable(services.messages.every(call.who, room.id, after)):
                after = found[-1].seq
                for message in found:
                    if message.user_id == call.who.user_id:
                        handler.write((b"" if first_message else b",") + encode(message))
                        first_message = False
                await handler.flush()
            handler.write(b"]}")
        if before is None:
            break
    handler.write(b'],"left":[')
    last, first = None, True
    while left := await services.messages.left_behind(call.who, last):
        last = left[-1].id
        for message in left:
            handler.write((b"" if first else b",") + encode(message))
            first = False
        await handler.flush()
    handler.write(b"]}")
    await handler.finish()


T = "messages"
ROUTES = [
    Route("GET", "/rooms/{roomId}/messages", history, "History by seq.", T,
          query=types.History, reply=types.MessagePage),
    Route("GET", "/rooms/{roomId}/changes", changes, "Every message changed since a number.", T,
          query=types.ChangesSince, reply=types.Changes),
    Route("POST", "/rooms/{roomId}/messages", send, "Say something; 200 for a repeat of the same clientId.", T,
          body=types.PostMessage, reply=protocol.Sent, status=201, also=(200,)),
    Route("GET", "/messages/{messageId}", get, "A message.", T, reply=Message),
    Route("PATCH", "/messages/{messageId}", edit, "Change one's own message.", T,
          body=types.EditMessage, reply=protocol.Changed),
    Route("DELETE", "/messages/{messageId}", delete, "Delete a message.", T, reply=protocol.Changed),
    Route("POST", "/messages/{messageId}/stop", stop, "End a running or waiting answer.", T,
          reply=protocol.Nothing, status=202),
    Route("POST", "/messages/{messageId}/regenerate", regenerate, "Have an answer made again.", T,
          reply=protocol.Queued, status=202),
    Route("GET", "/messages/{messageId}/versions", versions, "Earlier texts.", T, query=types.Page, reply=types.Versions),
    Route("GET", "/messages/{messageId}/context", context, "Exactly what the model was given.", T,
          reply=types.Context),
    Route("GET", "/search", search, "Messages by words and meaning, best first, in rooms that one may read.", T,
          query=types.SearchQuery, reply=types.Hits),
    Route("GET", "/models", models, "Models that this server can use.", T, query=types.Page, reply=types.ModelList),
    Route("GET", "/rooms/{roomId}/export", export, "A room's messages as a file.", T,
          query=types.Export, reply=types.AnyObject),
    Route("GET", "/users/me/export", export_mine, "One's own data as a file.", T, reply=types.AnyObject),
]  # fmt: skip
