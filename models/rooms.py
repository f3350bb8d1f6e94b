"""Rooms, members, read marks and invites. Changes of access write the access log in the same transaction.

Whoever changes who may write in a room holds its head row, as every send does: after the commit of a removal no send of
the removed one can still slip in.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from models import access, tallies
from models.base import new_id
from models.database import Sql


class RoomRow(NamedTuple):
    """A room as one member sees it."""

    id: str
    name: str | None
    created_at: datetime
    head: int
    last_seq: int
    role: str
    read_seq: int
    member_count: int
    bot: dict[str, Any]
    retention_days: int | None
    first_seq: int


class MemberRow(NamedTuple):
    user_id: str
    name: str
    role: str
    joined_at: datetime
    read_seq: int


class InviteRow(NamedTuple):
    code: str
    room_id: str
    role: str
    expires_at: datetime
    max_uses: int
    uses: int


ROOM = (
    "select r.id, r.name, r.created_at, h.head, h.last_seq, m.role, m.read_seq,"
    " (select count(*) from members c where c.room_id = r.id), r.bot, r.retention_days, r.first_seq"
    " from rooms r join room_heads h on h.room_id = r.id join members m on m.room_id = r.id and m.user_id = %s"
)

# A room with more messages than these is emptied bit by bit.
WIPED_AT_ONCE = 20_000
# Of a room `r`: the names of those who came first, and how many there are.
NAMES_MOST = 30
NAMES = (
    "array(select u.name from (select user_id, joined_at from members where room_id = r.id order by joined_at, user_id"
    f" limit {NAMES_MOST}) p join users u on u.id = p.user_id order by p.joined_at, p.user_id),"
    " (select count(*) from members where room_id = r.id)"
)


def create(sql: Sql, owner_id: str, name: str | None, bot: dict[str, Any]) -> str:
    room_id = new_id()
    sql.run(
        "insert into rooms (id, name, created_by, bot) values (%s, %s, %s, %s)",
        room_id,
        name,
        owner_id,
        json.dumps(bot),
    )
    sql.run("insert into room_heads (room_id) values (%s)", room_id)
    add_member(sql, room_id, owner_id, "owner")
    return room_id


def lock(sql: Sql, room_id: str) -> tuple[int, int] | None:
    """Hold the room's head until the transaction ends: (head, last_seq). None when the room is gone."""
    row = sql.row("select head, last_seq from room_heads where room_id = %s for update", room_id)
    return (int(row[0]), int(row[1])) if row else None


def find(sql: Sql, room_id: str, user_id: str) -> RoomRow | None:
    """The room as its member sees it; None for everybody else."""
    row = sql.row(ROOM + " where r.id = %s", user_id, room_id)
    return RoomRow(*row) if row else None


def find_for(sql: Sql, room_id: str, user_ids: list[str]) -> list[tuple[str, RoomRow]]:
    """The room as each of these users sees it, with the user's id; those who are no members are left out."""
    found = sql.rows(
        "select m.user_id, r.id, r.name, r.created_at, h.head, h.last_seq, m.role, m.read_seq, c.n, r.bot,"
        " r.retention_days, r.first_seq"
        " from rooms r join room_heads h on h.room_id = r.id"
        " cross join lateral (select count(*) as n from members x where x.room_id = r.id) c"
        " join members m on m.room_id = r.id where r.id = %s and m.user_id = any(%s::uuid[])",
        room_id,
        user_ids,
    )
    return [(row[0], RoomRow(*row[1:])) for row in found]


def of_user(sql: Sql, user_id: str, before: tuple[datetime, str] | None, limit: int) -> list[tuple[datetime, RoomRow]]:
    """A user's rooms, newest activity first, each with the time of its last message (or of its making)."""
    where, params = "", [user_id]
    if before is not None:
        where, params = " where (at, r.id) < (%s, %s)", [user_id, before[0], before[1]]  # type: ignore[list-item]
    statement = ROOM.replace("select r.id", "select at, r.id", 1) + (
        " cross join lateral (select coalesce((select x.created_at from messages x where x.room_id = r.id"
        " order by x.seq desc limit 1), r.created_at) as at) newest" + where + " order by at desc, r.id desc limit %s"
    )
    return [(row[0], RoomRow(*row[1:])) for row in sql.rows(statement, *params, limit)]


def role_of(sql: Sql, room_id: str, user_id: str) -> str | None:
    row = sql.row("select role from members where room_id = %s and user_id = %s", room_id, user_id)
    return row[0] if row else None


def ids_of_user(sql: Sql, user_id: str) -> list[str]:
    return [row[0] for row in sql.rows("select room_id from members where user_id = %s", user_id)]


def ids_of_users(sql: Sql, user_ids: Sequence[str]) -> dict[str, list[str]]:
    """By user; who is in no room is left out."""
    found: dict[str, list[str]] = {}
    statement = "select user_id, room_id from members where user_id = any(%s::uuid[])"
    for user_id, room_id in sql.rows(statement, list(user_ids)):
        found.setdefault(user_id, []).append(room_id)
    return found


def change(sql: Sql, room_id: str, name: str | None, bot: dict[str, Any] | None) -> None:
    """Set what is not None."""
    if name is not None:
        sql.run("update rooms set name = %s where id = %s", name, room_id)
    if bot is not None:
        sql.run("update rooms set bot = %s where id = %s", json.dumps(bot), room_id)
    access.append(sql, "room_changed", room_id=room_id)


def name_if_unnamed(sql: Sql, room_id: str, name: str, message_id: str) -> bool:
    """message_id: whose words the name is made of; they may have been taken back meanwhile."""
    named = sql.run(
        "update rooms set name = %s where id = %s and name is null"
        " and exists (select from messages where id = %s and not deleted for share)",
        name,
        room_id,
        message_id,
    )
    if named:
        access.append(sql, "room_changed", room_id=room_id)
    return bool(named)


def names(sql: Sql, room_id: str) -> tuple[list[str], int]:
    """(names of the members who came first, how many members there are)"""
    row = sql.row(f"select {NAMES} from rooms r where r.id = %s", room_id)
    return (row[0], row[1]) if row else ([], 0)


def names_of(sql: Sql, ids: Sequence[str]) -> dict[str, str]:
    if not ids:
        return {}
    found = sql.rows("select id, coalesce(name, '') from rooms where id = any(%s::uuid[])", list(ids))
    return {row[0]: row[1] for row in found}


def set_retention(sql: Sql, room_id: str, days: int | None) -> None:
    """None: as long as the server says."""
    sql.run("update rooms set retention_days = %s where id = %s", days, room_id)
    access.append(sql, "room_changed", room_id=room_id)


def delete(sql: Sql, room_id: str, zone: str) -> None:
    """The room and all that was said in it, but for the sums of it. The caller holds the head."""
    tallies.take_rooms(sql, [room_id], zone)
    wipe(sql, room_id)
    access.append(sql, "room_deleted", room_id=room_id)


def is_large(sql: Sql, room_id: str) -> bool:
    row = sql.row(
        "select h.last_seq - r.first_seq >= %s from rooms r join room_heads h on h.room_id = r.id where r.id = %s",
        WIPED_AT_ONCE,
        room_id,
    )
    return bool(row and row[0])


def vacate(sql: Sql, room_id: str) -> None:
    """Nobody is in the room any more, nor can come; running answers end, since their rows go."""
    for table in ("members", "invites"):
        sql.run(f"delete from {table} where room_id = %s", room_id)
    sql.run("delete from budgets where kind = 'room' and key = %s", room_id)
    sql.run("delete from messages where room_id = %s and status in ('queued', 'streaming')", room_id)
    sql.run("update rooms set gone = true, name = null, bot = '{}' where id = %s", room_id)


def gone(sql: Sql) -> list[str]:
    """Rooms that are vacated and not yet emptied."""
    return [row[0] for row in sql.rows("select id from rooms where gone")]


def wipe(sql: Sql, room_id: str) -> None:
    """All rows of a room; of a large one all that anybody could see, and the rest bit by bit (`models.retention.empty`):
    who holds a head for many seconds holds up the sends of every room. The caller holds it, has taken the room's sums, and
    tells of it."""
    if is_large(sql, room_id):
        vacate(sql, room_id)
        return
    # First what the writers of the indexes hold while they write: they are waited for, or see that the room is gone.
    sql.row("select from rooms where id = %s for update", room_id)
    for table in ("search_rooms", "embedding_rooms", "search_messages", "message_vectors"):
        sql.run(f"delete from {table} where room_id = %s", room_id)
    sql.run("delete from budgets where kind = 'room' and key = %s", room_id)
    sql.run("delete from rooms where id = %s", room_id)


# -- members


def add_member(sql: Sql, room_id: str, user_id: str, role: str) -> bool:
    """False when the user is in already."""
    added = sql.run(
        "insert into members (room_id, user_id, role) values (%s, %s, %s) on conflict do nothing",
        room_id,
        user_id,
        role,
    )
    if added:
        access.append(sql, "member_added", room_id=room_id, user_id=user_id)
    return bool(added)


def set_role(sql: Sql, room_id: str, user_id: str, role: str) -> None:
    sql.run("update members set role = %s where room_id = %s and user_id = %s", role, room_id, user_id)
    access.append(sql, "member_changed", room_id=room_id, user_id=user_id)


def remove_member(sql: Sql, room_id: str, user_id: str, *, left: bool) -> None:
    """left: by the member's own wish; else the invitations that he has made end with him. The caller holds the head."""
    sql.run("delete from members where room_id = %s and user_id = %s", room_id, user_id)
    if not left:
        sql.run("delete from invites where room_id = %s and created_by = %s", room_id, user_id)
    access.append(sql, "member_left" if left else "member_removed", room_id=room_id, user_id=user_id)


def members(sql: Sql, room_id: str, after: tuple[datetime, str] | None, limit: int) -> list[MemberRow]:
    """In the order of joining."""
    where, params = "", [room_id]
    if after is not None:
        where, params = " and (m.joined_at, m.user_id) > (%s, %s)", [room_id, after[0], after[1]]  # type: ignore[list-item]
    found = sql.rows(
        "select m.user_id, u.name, m.role, m.joined_at, m.read_seq from members m join users u on u.id = m.user_id"
        " where m.room_id = %s" + where + " order by m.joined_at, m.user_id limit %s",
        *params,
        limit,
    )
    return [MemberRow(*row) for row in found]


def member(sql: Sql, room_id: str, user_id: str) -> MemberRow | None:
    row = sql.row(
        "select m.user_id, u.name, m.role, m.joined_at, m.read_seq from members m join users u on u.id = m.user_id"
        " where m.room_id = %s and m.user_id = %s",
        room_id,
        user_id,
    )
    return MemberRow(*row) if row else None


def owners(sql: Sql, room_id: str) -> list[str]:
    return [row[0] for row in sql.rows("select user_id from members where room_id = %s and role = 'owner'", room_id)]


def set_read(sql: Sql, room_id: str, user_id: str, seq: int) -> int | None:
    """Move the read mark forward, never past what there is. Returns where it stands; None for no member."""
    row = sql.row(
        "update members m set read_seq = greatest(m.read_seq, least(%s, h.last_seq)) from room_heads h"
        " where h.room_id = m.room_id and m.room_id = %s and m.user_id = %s returning m.read_seq",
        seq,
        room_id,
        user_id,
    )
    return int(row[0]) if row else None


# -- invites


def add_invite(
    sql: Sql, code: str, room_id: str, created_by: str, role: str, expires_in_s: int, max_uses: int
) -> InviteRow:
    row = sql.row(
        "insert into invites (code, room_id, created_by, role, expires_at, max_uses)"
        " values (%s, %s, %s, %s, now() + make_interval(secs => %s), %s)"
        " returning code, room_id, role, expires_at, max_uses, uses",
        code,
        room_id,
        created_by,
        role,
        expires_in_s,
        max_uses,
    )
    assert row is not None
    return InviteRow(*row)


INVITE = "select code, room_id, role, expires_at, max_uses, uses from invites where "
GOOD = " and expires_at > now() and uses < max_uses"
OF_ROLE = " and (%s = 'owner' or role <> 'owner')"  # who sees one may use it


def invites(sql: Sql, room_id: str, role: str, after: str, limit: int) -> list[InviteRow]:
    """Those that can still be used, and that a member of this role may see."""
    found = sql.rows(
        INVITE + "room_id = %s and code > %s" + GOOD + OF_ROLE + " order by code limit %s", room_id, after, role, limit
    )
    return [InviteRow(*row) for row in found]


def find_invite(sql: Sql, code: str) -> InviteRow | None:
    row = sql.row(INVITE + "code = %s" + GOOD, code)
    return InviteRow(*row) if row else None


def invite_room(sql: Sql, code: str) -> str | None:
    """The room of a code, used up or not: a member who follows an old link is simply let in. Uses of one code take turns."""
    row = sql.row("select room_id from invites where code = %s for update", code)
    return row[0] if row else None


def use_invite(sql: Sql, code: str) -> InviteRow | None:
    """Count one use, if one is left."""
    row = sql.row(
        "update invites set uses = uses + 1 where code = %s"
        + GOOD
        + " returning code, room_id, role, expires_at, max_uses, uses",
        code,
    )
    return InviteRow(*row) if row else None


def delete_invite(sql: Sql, room_id: str, role: str, code: str) -> bool:
    """False where there is none that a member of this role may see."""
    return bool(sql.run("delete from invites where room_id = %s and code = %s" + OF_ROLE, room_id, code, role))
