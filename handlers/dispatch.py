"""Command -> service -> reply: the one place where wire words meet the domain, for both sockets and REST's doubles."""

import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET

from config.logs import room_of
from handlers import protocol
from handlers.connection import Connection, Done
from handlers.protocol import (
    Auth,
    Authenticated,
    Changed,
    Command,
    Delete,
    Edit,
    Join,
    Joined,
    Leave,
    Nothing,
    Ping,
    Pong,
    Queued,
    Regenerate,
    Reply,
    Send,
    SetRead,
    SetTyping,
    Stop,
)
from services.accounts import is_uuid
from services.container import Services
from services.errors import AuthError, Conflict, Limited, message_not_found, read_only, room_not_found
from services.messages import Sent, check_member
from services.realtime.events import RunningAnswer, timestamp
from services.rooms import Snapshot


def or_none(value: Any) -> Any:
    return None if value is UNSET else value


def room_id_of(text: str) -> str:
    """The id in Postgres's spelling; what is no UUID names no room."""
    if not is_uuid(text):
        raise room_not_found()
    room_id = text.lower()
    room_of.set(room_id)
    return room_id


def message_id_of(text: str) -> str:
    if not is_uuid(text):
        raise message_not_found()
    return text.lower()


def utc(seconds: float) -> str:
    return timestamp(datetime.fromtimestamp(seconds, UTC))


class Dispatcher:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._do: dict[str, Callable[[Connection, Any, Any], Coroutine[Any, Any, Reply | None]]] = {
            "join": self.join,
            "leave": self.leave,
            "send": self.send,
            "edit": self.edit,
            "delete": self.delete,
            "stop": self.stop,
            "regenerate": self.regenerate,
            "typing": self.typing,
            "read": self.read,
            "auth": self.auth,
            "ping": self.ping,
        }

    def __call__(
        self, connection: Connection, event: str, command: Command, command_id: Any
    ) -> Coroutine[Any, Any, Reply | None]:
        return self._do[event](connection, command, command_id)

    def start(self, connection: Connection, command: Command, done: Done) -> bool:
        """Do a command without a task, if that can be: `done` has what it returns or raises, from the call that settles it.

        Raises what is known at once. False: nothing was done.
        """
        if type(command) is not Send or command.reply_to is not UNSET:
            return False
        if not is_uuid(command.room_id):
            raise room_not_found()

        def settled(sent: Sent | None, error: Exception | None) -> None:
            done(protocol.Sent(*sent) if sent is not None else None, error)

        return self._services.messages.start(
            connection.identity, command.room_id.lower(), command.text, or_none(command.client_id), settled
        )

    async def join(self, connection: Connection, command: Join, command_id: Any) -> None:
        """Replies by itself: the reply must stand before the first event."""
        services = self._services
        room_id, after = room_id_of(command.room_id), or_none(command.after)
        limit = services.settings.max_rooms_per_connection
        if limit and room_id not in connection.joined and len(connection.joined) >= limit:
            services.counts.limits["rooms"] += 1
            raise Limited("limit.rooms", f"A connection reads at most {limit} rooms. Leave one first.")

        async def read() -> Snapshot:
            return await services.rooms.snapshot(connection.identity, room_id, after)

        replied = False

        def reply(snapshot: Snapshot, streams: list[RunningAnswer]) -> None:
            nonlocal replied
            replied = True
            if connection.closed:
                return
            if snapshot.more:
                connection.joined.discard(room_id)
            else:
                connection.joined.add(room_id)
                services.registry.enter(connection.user_id, room_id)
            if command_id is not None:
                body = Joined(
                    snapshot.room,
                    snapshot.members,
                    snapshot.head,
                    snapshot.messages,
                    snapshot.more,
                    streams,
                    snapshot.reset or None,
                )
                connection.answer(command_id, body)

        connection.joined.add(room_id)  # so that a removal in the middle finds it
        entered = False
        try:
            entered = await services.hub.join(connection, room_id, read, reply)
        finally:
            if not entered or connection.closed:
                connection.joined.discard(room_id)
                services.hub.leave(connection, room_id)
        if not replied:
            raise room_not_found()  # removed in the middle

    async def leave(self, connection: Connection, command: Leave, command_id: Any) -> Reply:
        room_id = room_id_of(command.room_id)
        if room_id not in connection.joined:
            await self._services.db.run_bare(check_member, room_id, connection.user_id)
        connection.forget_room(room_id)
        return Nothing()

    async def send(self, connection: Connection, command: Send, command_id: Any) -> Reply:
        return await send(self._services, connection.identity, command)

    async def edit(self, connection: Connection, command: Edit, command_id: Any) -> Reply:
        changed = await self._services.messages.edit(
            connection.identity, message_id_of(command.message_id), command.text
        )
        return Changed(changed)

    async def delete(self, connection: Connection, command: Delete, command_id: Any) -> Reply:
        return Changed(await self._services.messages.delete(connection.identity, message_id_of(command.message_id)))

    async def stop(self, connection: Connection, command: Stop, command_id: Any) -> Reply:
        await self._services.messages.stop(connection.identity, message_id_of(command.message_id))
        return Nothing()

    async def regenerate(self, connection: Connection, command: Regenerate, command_id: Any) -> Reply:
        message_id = message_id_of(command.message_id)
        return Queued(await self._services.messages.regenerate(connection.identity, message_id))

    async def typing(self, connection: Connection, command: SetTyping, command_id: Any) -> Reply:
        room_id = room_id_of(command.room_id)
        role = await self._services.db.run_bare(check_member, room_id, connection.user_id)
        if role == "reader":
            raise read_only()
        if room_id not in connection.joined:
            raise Conflict("room.not_joined", "Join the room first.")
        self._services.presences.typing(room_id, connection.user_id, connection.id, command.on)
        return Nothing()

    async def read(self, connection: Connection, command: SetRead, command_id: Any) -> Reply:
        await self._services.rooms.read(connection.identity, room_id_of(command.room_id), command.seq)
        return Nothing()

    async def auth(self, connection: Connection, command: Auth, command_id: Any) -> Reply:
        identity = await self._services.accounts.by_token(command.token)
        mine = connection.identity
        if (identity.user_id, identity.session_id) != (mine.user_id, mine.session_id):
            raise AuthError("auth.invalid", "This token is of another session.")
        connection.identity = identity
        return Authenticated(utc(identity.expires_at or time.time() + 365 * 86400))

    async def ping(self, connection: Connection, command: Ping, command_id: Any) -> Reply:
        return Pong(utc(time.time()))


async def send(services: Services, identity: Any, command: Send) -> protocol.Sent:
    sent = await services.messages.send(
        identity, room_id_of(command.room_id), command.text, or_none(command.client_id), or_none(command.reply_to)
    )
    return protocol.Sent(*sent)
