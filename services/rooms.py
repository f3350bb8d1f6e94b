"""Rooms, members, invites and read marks; and the snapshot with which a connection enters a room.

Every function checks what can fail because of the user, in the transaction that does the work. What changes who may see
what goes through the access log, which tells the connections.
"""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from config.settings import Settings
from models import accounts, messages, rooms
from models.database import Database, Sql
from models.messages import MessageRow
from models.rooms import InviteRow, MemberRow, RoomRow
from services.accounts import Identity
from services.errors import Conflict, Forbidden, NotFound, invalid, room_not_found
from services.messages import bot_settings, check_member, view
from services.realtime.events import Bot, Event, Member, Message, Room, RunningAnswer, timestamp
from services.realtime.presence import Presences
from services.realtime.registry import Registry
from services.source import running_answers

JOIN_NEWEST = 50
JOIN_BYTES = 8 * 1024 * 1024  # never reached where texts have a limit
JOIN_CHANGES = 500
JOIN_MEMBERS = 200
INVITE_S = 7 * 86400
INVITE_USES = 100


def room_view(row: RoomRow, last: MessageRow | None = None) -> Room:
    return Room(
        id=row.id,
        name=row.name or "",
        created_at=timestamp(row.created_at),
        head=row.head,
        last_seq=row.last_seq,
        role=row.role,  # type: ignore[arg-type]
        read_seq=row.read_seq,
        member_count=row.member_count,
        bot=bot_settings(row.bot),
        last_message=view(last) if last else None,
        retention_days=row.retention_days,
        first_seq=row.first_seq if row.first_seq > 1 else None,
    )


class Snapshot(NamedTuple):
    """One moment of a room, for who enters it. more: there are further changes, and he has not entered yet."""

    room: Room
    members: list[Member]
    head: int
    messages: list[Message]
    more: bool
    reset: bool
    streaming: list[RunningAnswer]


class Rooms:
    def __init__(
        self,
        db: Database,
        settings: Settings,
        registry: Registry,
        presences: Presences,
        *,
        changed: Callable[[], None],
    ) -> None:
        """changed: the access log has grown."""
        self._db = db
        self._settings = settings
        self._registry = registry
        self._presences = presences
        self._changed = changed

    def _member(self, row: MemberRow) -> Member:
        return Member(
            user_id=row.user_id,
            name=row.name,
            role=row.role,  # type: ignore[arg-type]
            joined_at=timestamp(row.joined_at),
            online=self._presences.online(row.user_id),
            read_seq=row.read_seq,
        )

    # -- rooms

    async def create(self, who: Identity, name: str | None, bot: Bot | None) -> Room:
        room_id = await self._db.run(rooms.create, who.user_id, name, kept_bot(bot))
        self._changed()
        return await self.get(who, room_id)

    async def get(self, who: Identity, room_id: str) -> Room:
        return await self._db.run_snapshot(_get, room_id, who.user_id)

    async def mine(
        self, who: Identity, before: tuple[datetime, str] | None, limit: int
    ) -> tuple[list[Room], tuple[datetime, str] | None]:
        """(a page of rooms, newest activity first; where the next one begins)"""

        def read(sql: Sql) -> list[tuple[datetime, Room]]:
            found = rooms.of_user(sql, who.user_id, before, limit + 1)
            last = messages.newest(sql, [row.id for _, row in found])
            return [(at, room_view(row, last.get(row.id))) for at, row in found]

        found = await self._db.run_snapshot(read)
        more = (found[limit - 1][0], found[limit - 1][1].id) if len(found) > limit else None
        return [room for _, room in found[:limit]], more

    async def change(
        self,
        who: Identity,
        room_id: str,
        name: str | None,
        bot: dict[str, Any] | str | None,
        retention_days: int | None | UnsetType = UNSET,
    ) -> Room:
        """name: the new one or None. bot: a merge patch (a null takes a field back), "reset" for all defaults, or None."""

        def work(sql: Sql) -> None:
            if rooms.lock(sql, room_id) is None:
                raise room_not_found()
            check_owner(sql, room_id, who.user_id)
            kept = None
            if bot is not None:
                row = rooms.find(sql, room_id, who.user_id)
                assert row is not None
                kept = {} if isinstance(bot, str) else merged(row.bot, bot)
            rooms.change(sql, room_id, name, kept)
            if retention_days is not UNSET:
                rooms.set_retention(sql, room_id, retention_days)

        await self._db.run(work)
        self._changed()
        return await self.get(who, room_id)

    async def delete(self, who: Identity, room_id: str) -> None:
        def work(sql: Sql) -> None:
            if rooms.lock(sql, room_id) is None:
                raise room_not_found()
            check_owner(sql, room_id, who.user_id)
            rooms.delete(sql, room_id, self._settings.time_zone)

        await self._db.run(work)
        self._changed()

    # -- entering

    async def snapshot(self, who: Identity, room_id: str, after: int | None) -> Snapshot:
        """Everything of one moment. Raises NotFound for who is no member."""
        raw = await self._db.run_snapshot(_snapshot, room_id, who.user_id, after)
        room, members, found, more, reset, running = raw
        return Snapshot(
            room,
            [self._member(row) for row in members],
            room.head,
            [view(row) for row in found],
            more,
            reset,
            running,
        )

    # -- members

    async def members(
        self, who: Identity, room_id: str, after: tuple[datetime, str] | None, limit: int
    ) -> tuple[list[Member], tuple[datetime, str] | None]:
        def read(sql: Sql) -> list[MemberRow]:
            check_member(sql, room_id, who.user_id)
            return rooms.members(sql, room_id, after, limit + 1)

        found = await self._db.run_snapshot(read)
        more = (found[limit - 1].joined_at, found[limit - 1].user_id) if len(found) > limit else None
        return [self._member(row) for row in found[:limit]], more

    async def add_member(self, who: Identity, room_id: str, user_id: str, role: str) -> Member:
        def work(sql: Sql) -> MemberRow:
            if rooms.lock(sql, room_id) is None:
                raise room_not_found()
            _check_may_invite(sql, room_id, who.user_id, role)
            user = accounts.find(sql, user_id)
            if user is None or user.disabled:
                raise NotFound("request.not_found", "There is no such user.", field="userId")
            if not rooms.add_member(sql, room_id, user_id, role):
                raise Conflict("room.already_member", "This person is in the room already.")
            added = rooms.member(sql, room_id, user_id)
            assert added is not None
            return added

        added = await self._db.run(work)
        self._changed()
        return self._member(added)

    async def set_role(self, who: Identity, room_id: str, user_id: str, role: str) -> Member:
        def work(sql: Sql) -> MemberRow:
            if rooms.lock(sql, room_id) is None:
                raise room_not_found()
            check_owner(sql, room_id, who.user_id)
            member = rooms.member(sql, room_id, user_id)
            if member is None:
                raise NotFound("request.not_found", "This person is not in the room.")
            if member.role == "owner" and role != "owner":
                _check_other_owner(sql, room_id, user_id)
            if member.role != role:
                rooms.set_role(sql, room_id, user_id, role)
            return member._replace(role=role)

        changed = await self._db.run(work)
        self._changed()
        return self._member(changed)

    async def remove_member(self, who: Identity, room_id: str, user_id: str) -> None:
        """Remove somebody (owners), or leave for good (oneself). Who leaves last takes the room with him."""

        def work(sql: Sql) -> None:
            if rooms.lock(sql, room_id) is None:
                raise room_not_found()
            leaving = user_id == who.user_id
            if leaving:
                check_member(sql, room_id, who.user_id)
            else:
                check_owner(sql, room_id, who.user_id)
            member = rooms.member(sql, room_id, user_id)
            if member is None:
                raise NotFound("request.not_found", "This person is not in the room.")
            if leaving and len(rooms.members(sql, room_id, None, 2)) == 1:
                rooms.delete(sql, room_id, self._settings.time_zone)
                return
            if member.role == "owner":
                _check_other_owner(sql, room_id, user_id)
            rooms.remove_member(sql, room_id, user_id, left=leaving)

        await self._db.run(work)
        self._changed()

    async def read(self, who: Identity, room_id: str, seq: int) -> None:
        mark = await self._db.run_bare(rooms.set_read, room_id, who.user_id, seq)
        if mark is None:
            raise room_not_found()
        self._presences.read(room_id, who.user_id, mark)

    # -- invites

    async def invite(
        self, who: Identity, room_id: str, role: str, expires_in_s: int | None, max_uses: int | None
    ) -> InviteRow:
        def work(sql: Sql) -> InviteRow:
            _check_may_invite(sql, room_id, who.user_id, role)
            code = secrets.token_urlsafe(12)
            return rooms.add_invite(
                sql, code, room_id, who.user_id, role, expires_in_s or INVITE_S, max_uses or INVITE_USES
            )

        return await self._db.run(work)

    async def invites(self, who: Identity, room_id: str, after: str, limit: int) -> tuple[list[InviteRow], str | None]:
        def read(sql: Sql) -> list[InviteRow]:
            role = check_member(sql, room_id, who.user_id)
            if role == "reader":
                raise Forbidden("room.forbidden", "Readers can't see invitations.")
            return rooms.invites(sql, room_id, role, after, limit + 1)

        found = await self._db.run_snapshot(read)
        return found[:limit], found[limit - 1].code if len(found) > limit else None

    async def delete_invite(self, who: Identity, room_id: str, code: str) -> None:
        def work(sql: Sql) -> None:
            role = check_member(sql, room_id, who.user_id)
            if role == "reader":
                raise Forbidden("room.forbidden", "Readers can't end invitations.")
            if not rooms.delete_invite(sql, room_id, role, code):
                raise NotFound("invite.invalid", "There is no such invitation.")

        await self._db.run(work)

    async def accept(self, who: Identity, code: str) -> Room:
        """Enter by invitation. Who is in already is simply shown the room; nothing is counted."""

        def work(sql: Sql) -> str:
            room_id = rooms.invite_room(sql, code)
            if room_id is not None and rooms.role_of(sql, room_id, who.user_id) is not None:
                return room_id
            invite = rooms.use_invite(sql, code)
            if invite is None:
                raise NotFound("invite.invalid", "That invitation is unknown, used up or over.")
            rooms.add_member(sql, invite.room_id, who.user_id, invite.role)
            return invite.room_id

        room_id = await self._db.run(work)
        self._changed()
        return await self.get(who, room_id)

    async def invitation(self, code: str) -> tuple[str, str] | None:
        """(room's name, role) of an invitation that can be used, for the page that shows it."""

        def read(sql: Sql) -> tuple[str, str] | None:
            invite = rooms.find_invite(sql, code)
            if invite is None:
                return None
            row = sql.row("select coalesce(name, '') from rooms where id = %s", invite.room_id)
            return (row[0], invite.role) if row else None

        return await self._db.run_snapshot(read)

    # -- telling

    async def announce(self, moved: dict[str, bool]) -> None:
        """Tell the connected members of these rooms how they see them now (room -> whether members changed)."""
        for room_id, members_changed in moved.items():
            users = list(self._registry.users_in(room_id))
            if not users:
                continue

            def read(sql: Sql, room_id: str = room_id, users: list[str] = users) -> list[tuple[str, Room]]:
                last = messages.newest(sql, [room_id]).get(room_id)
                return [(user_id, room_view(row, last)) for user_id, row in rooms.find_for(sql, room_id, users)]

            for user_id, room in await self._db.run_snapshot(read):
                room.members_changed = members_changed or None
                if user_id in self._registry.users_in(room_id):  # still
                    self._registry.tell([user_id], Event("room", room))


def kept_bot(bot: Bot | None) -> dict[str, Any]:
    """What a room keeps of its bot's settings: what differs from the defaults, so that these can change."""
    if bot is None:
        return {}
    default = msgspec.to_builtins(Bot())
    return {key: value for key, value in msgspec.to_builtins(bot).items() if value != default[key]}


def merged(kept: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A JSON merge patch (RFC 7396) on a bot's settings, checked as a whole."""
    fields = {key: value for key, value in {**kept, **patch}.items() if value is not None}
    try:
        return kept_bot(msgspec.convert(fields, Bot))
    except msgspec.ValidationError as error:
        raise invalid("bot", str(error)) from None


def _get(sql: Sql, room_id: str, user_id: str) -> Room:
    row = rooms.find(sql, room_id, user_id)
    if row is None:
        raise room_not_found()
    return room_view(row, messages.newest(sql, [room_id]).get(room_id))


def _snapshot(
    sql: Sql, room_id: str, user_id: str, after: int | None
) -> tuple[Room, list[MemberRow], list[MessageRow], bool, bool, list[RunningAnswer]]:
    room = rooms.find(sql, room_id, user_id)
    if room is None:
        raise room_not_found()
    reset = after is not None and after > room.head
    if after is None or reset:
        found, more = messages.last(sql, room_id, JOIN_NEWEST, JOIN_BYTES), False
    elif after == room.head:
        found, more = [], False
    else:
        found, _, more = messages.changes(sql, room_id, after, JOIN_CHANGES)
    members = rooms.members(sql, room_id, None, JOIN_MEMBERS)
    last = next((row for row in reversed(found) if row.seq == room.last_seq), None)
    if last is None:
        last = messages.newest(sql, [room_id]).get(room_id)
    return room_view(room, last), members, found, more, reset, running_answers(sql, room_id)


def check_owner(sql: Sql, room_id: str, user_id: str) -> None:
    if check_member(sql, room_id, user_id) != "owner":
        raise Forbidden("room.forbidden", "Only an owner of the room can do this.")


def _check_may_invite(sql: Sql, room_id: str, user_id: str, role: str) -> None:
    mine = check_member(sql, room_id, user_id)
    if mine == "reader" or (mine == "member" and role == "owner"):
        raise Forbidden("room.forbidden", "You can't bring people in with this role.")


def _check_other_owner(sql: Sql, room_id: str, user_id: str) -> None:
    if rooms.owners(sql, room_id) == [user_id]:
        raise Conflict("room.last_owner", "You are the last owner. Make somebody else an owner first.")
