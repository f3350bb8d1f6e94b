"""The access log brought to live sockets: read at each nudge, and every second whatever the bus says.

Knows what each entry means for connections. Entries are applied in order, without waiting in between; nothing flows to a
socket afterwards that it may not see.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from models import access, accounts, rooms
from models.database import Database, Sql
from services.accounts import Accounts
from services.realtime.closing import DISABLED, SESSION_ENDED
from services.realtime.events import Event, Removed
from services.realtime.registry import Registry

EVERY_S = 1.0
AT_ONCE = 1000
# What takes something away from somebody.
REVOCATIONS = frozenset(
    ("session_ended", "key_ended", "password_changed", "user_disabled", "member_left", "member_removed", "room_deleted")
)


class AccessWatch:
    def __init__(
        self,
        db: Database,
        accounts: Accounts,
        registry: Registry,
        announce: Callable[[dict[str, bool]], Awaitable[None]],
    ) -> None:
        """announce: tell the connected members of these rooms how they are now (room -> whether members changed)."""
        self._db = db
        self._accounts = accounts
        self._registry = registry
        self._tell = announce
        self._n = 0
        self._moved: dict[str, bool] = {}  # rooms that are still to be announced
        self._changed: set[str] = set()  # users whose name or role is another
        self._news = asyncio.Event()  # there is something to announce
        self.on_revoked: Callable[[float], None] = lambda seconds: None
        self._nudged = asyncio.Event()

    async def start(self) -> None:
        self._n = await self._db.run_bare(access.head)

    def nudge(self) -> None:
        self._nudged.set()

    async def step(self) -> None:
        """Wait for a nudge or a second, then apply what is new."""
        try:
            async with asyncio.timeout(EVERY_S):
                await self._nudged.wait()
        except TimeoutError:
            pass
        self._nudged.clear()
        await self.catch_up()

    async def catch_up(self) -> None:
        entries = None
        while entries is None or len(entries) == AT_ONCE:
            entries = await self._db.run_bare(access.since, self._n, AT_ONCE)
            for entry in entries:
                if entry.n > self._n:
                    self._apply(entry)
                    self._n = entry.n
                    if entry.kind in REVOCATIONS:
                        self.on_revoked(entry.age_s)
        if self._moved or self._changed:
            self._news.set()

    async def announce(self) -> None:
        """Wait until something is to be announced; then do. Beside `step`: a thousand rooms hold up no revocation."""
        await self._news.wait()
        self._news.clear()
        moved, self._moved = self._moved, {}
        changed, self._changed = self._changed, set()
        try:
            for user_id in changed:
                await self._rename(user_id, moved)
            if moved:
                await self._tell(moved)
        except BaseException:  # these take no number by which anybody could miss them
            for room_id, members_changed in moved.items():
                self._moved[room_id] = members_changed or self._moved.get(room_id, False)
            self._changed |= changed
            self._news.set()
            raise

    async def _rename(self, user_id: str, moved: dict[str, bool]) -> None:
        """His connections here act under what he is called now; who shares a room with him is told that members changed."""

        def read(sql: Sql) -> tuple[Any, list[str]]:
            return accounts.find(sql, user_id), rooms.ids_of_user(sql, user_id)

        user, room_ids = await self._db.run_snapshot(read)
        if user is not None:
            for client in self._registry.clients(user_id):
                client.identity = client.identity._replace(name=user.name, role=user.role)
        moved.update(dict.fromkeys(room_ids, True))

    def _apply(self, entry: access.Entry) -> None:
        user_id, room_id, moved = entry.user_id, entry.room_id, self._moved
        match entry.kind:
            case "session_ended" | "key_ended":
                self._accounts.forget(session_id=entry.session_id)
                self._end(user_id, SESSION_ENDED, "session ended", lambda session_id: session_id == entry.session_id)
            case "password_changed":
                self._accounts.forget(user_id=user_id)
                self._end(
                    user_id, SESSION_ENDED, "password changed", lambda session_id: session_id != entry.session_id, False
                )
            case "user_disabled":
                self._accounts.forget(user_id=user_id)
                self._end(user_id, DISABLED, "account disabled", lambda session_id: True)
            case "user_changed" if user_id:
                self._accounts.forget(user_id=user_id)
                self._changed.add(user_id)
            case "member_added" if user_id and room_id:
                self._registry.enter(user_id, room_id)
                self._registry.changed()
                moved[room_id] = True
            case "member_left" | "member_removed" if user_id and room_id:
                self._remove(user_id, room_id, Removed(room_id, "left" if entry.kind == "member_left" else "removed"))
                moved[room_id] = True
            case "member_changed" if room_id:
                moved[room_id] = True
            case "room_changed" if room_id:
                moved.setdefault(room_id, False)
            case "room_deleted" if room_id:
                for member in list(self._registry.users_in(room_id)):
                    self._remove(member, room_id, Removed(room_id, "deleted"))
                self._registry.changed()  # whose rooms are being read may have been answered with it
                moved.pop(room_id, None)

    def _end(
        self, user_id: str | None, code: int, reason: str, which: Callable[[str], bool], keys_too: bool = True
    ) -> None:
        for client in self._registry.clients(user_id or ""):
            if which(client.identity.session_id) and (keys_too or not client.identity.is_key):
                client.end(code, reason)

    def _remove(self, user_id: str, room_id: str, why: Removed) -> None:
        self._registry.exit(user_id, room_id)
        self._registry.changed()
        event = Event("removed", why)
        for client in self._registry.clients(user_id):
            client.forget_room(room_id)
            client.deliver(event)
