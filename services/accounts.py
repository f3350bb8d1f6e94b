"""Accounts and sessions: who somebody is, and until when. Passwords are hashed off the loop.

Revocation goes through the access log: whatever ends a session, a key or an account takes a number in its own
transaction, and `services.access` carries it to every live socket.
"""

import asyncio
import hmac
import re
import secrets
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from config.settings import Settings
from models import access, accounts, embeddings, retention, rooms, search, stats, tallies
from models.database import Database, Sql
from services.errors import AuthError, Conflict, Forbidden, NotFound, invalid, limited
from services.limits import Limit, Shared
from services.tokens import Tokens, hashed, invalid_token, new_secret

RESET_S = 86_400
OVER_EVERY_S = 15.0
OVER_AT_ONCE = 100
HASHING = 2  # threads
LATELY = 1024  # endings and changes of users; a handshake takes milliseconds
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+")


class Identity(NamedTuple):
    """Who acts. session_id: of the session, or of the API key (`is_key`). expires_at: of the token shown, or None.

    known_at: how much had been forgotten when it was asked for (`Accounts.still`).
    """

    user_id: str
    name: str
    role: str
    session_id: str
    is_key: bool = False
    expires_at: float | None = None
    known_at: int = 0


class SignedIn(NamedTuple):
    """cookie: the opaque session key of the built-in page; None when only the pair is new."""

    token: str
    expires_at: float
    refresh_token: str
    user: Any
    cookie: str | None


class Device(NamedTuple):
    user_agent: str
    ip: str


def is_uuid(text: str) -> bool:
    return UUID.fullmatch(text) is not None


class Accounts:
    def __init__(
        self,
        db: Database,
        settings: Settings,
        tokens: Tokens,
        *,
        setup_code: str | None,
        changed: Callable[[], None],
        shared: Shared | None = None,
    ) -> None:
        """setup_code: what the first account must know, or None. changed: the access log has grown."""
        self._db = db
        self._settings = settings
        self._tokens = tokens
        self.setup_code = setup_code
        self._changed = changed
        self._hasher = PasswordHasher()
        self._threads = ThreadPoolExecutor(HASHING, thread_name_prefix="password")
        # Who proves himself is counted as a failure until he has; of all who wait only so many are.
        self._turns = asyncio.Semaphore(HASHING)
        # What an unknown account is measured against, so that it takes as long as a known one.
        self._nobody = self._hasher.hash(secrets.token_urlsafe(16))
        self._failures = Limit("failures", settings.login_failures_per_15min, 900, shared)
        self._address_failures = Limit("address", settings.login_failures_per_address, 900, shared)
        self._registrations = Limit("registrations", settings.registrations_per_hour, 3600, shared)
        self.limits = [self._failures, self._address_failures, self._registrations]
        self.failed_logins = 0
        self._known: dict[str, accounts.Login] = {}
        self._forgotten = 0
        self._lately: deque[tuple[str | None, str | None]] = deque(maxlen=LATELY)  # the last of them: (user, session)

    async def step(self) -> None:
        """End sessions that have run out, now and then, so that sockets opened by their cookies end too."""
        await asyncio.sleep(OVER_EVERY_S)
        await self.end_over()

    async def end_over(self) -> None:
        ended = OVER_AT_ONCE
        while ended == OVER_AT_ONCE:
            ended = await self._db.run(accounts.end_over, OVER_AT_ONCE)
            if ended:
                self._changed()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    # -- who is it

    async def by_token(self, token: str) -> Identity:
        """The bearer of a JWT or an API key. Raises AuthError."""
        if token.startswith("maru_"):
            login, known_at = await self._login("k:" + token, partial(accounts.key_login, key_hash=hashed(token)))
            if login is None:
                raise invalid_token()
            expires = login.expires_at.timestamp() if login.expires_at else None
            if expires is not None and expires <= time.time():
                raise AuthError("auth.expired", "This key has run out. Make another.")
            return Identity(login.user_id, login.name, login.role, login.session_id, True, expires, known_at)
        claims = self._tokens.check(token)
        if not is_uuid(claims.session_id):
            raise invalid_token()
        login, known_at = await self._login(
            "s:" + claims.session_id, partial(accounts.session_login, session_id=claims.session_id)
        )
        if login is None or login.user_id != claims.user_id:
            raise AuthError("auth.invalid", "This session has ended. Sign in again.")
        return Identity(login.user_id, login.name, login.role, login.session_id, False, claims.expires_at, known_at)

    async def by_cookie(self, cookie: str) -> Identity:
        login, known_at = await self._login("c:" + cookie, partial(accounts.cookie_login, cookie_hash=hashed(cookie)))
        if login is None:
            raise AuthError("auth.invalid", "This session has ended. Sign in again.")
        return Identity(login.user_id, login.name, login.role, login.session_id, known_at=known_at)

    async def _login(self, key: str, find: Callable[[Sql], accounts.Login | None]) -> tuple[accounts.Login | None, int]:
        """From what is known already, which the access log takes out when it is no longer true (`forget`); and as of when."""
        login, known_at = self._known.get(key), self._forgotten
        if login is not None and (login.expires_at is None or login.expires_at > datetime.now(UTC)):
            return login, known_at
        login = await self._db.run_bare(find)
        if login is not None and self._untouched(login.user_id, login.session_id, known_at):
            if len(self._known) >= 20_000:
                self._known.clear()
            self._known[key] = login
        return login, known_at

    def still(self, who: Identity) -> bool:
        """Nothing was to be forgotten about him since he was asked for. False: he may have lost his access meanwhile."""
        return self._untouched(who.user_id, who.session_id, who.known_at)

    def _untouched(self, user_id: str, session_id: str, known_at: int) -> bool:
        since = self._forgotten - known_at
        return since <= len(self._lately) and not any(
            user_id == user or session_id == session for user, session in islice(reversed(self._lately), since)
        )

    def forget(self, *, user_id: str | None = None, session_id: str | None = None) -> None:
        """Ask the rows again about this user or session."""
        self._forgotten += 1
        self._lately.append((user_id, session_id))
        stale = [
            key
            for key, login in self._known.items()
            if login.user_id == user_id or (session_id is not None and login.session_id == session_id)
        ]
        for key in stale:
            del self._known[key]

    # -- coming in

    async def register(
        self, email: str, name: str, password: str, invite: str | None, setup_code: str | None, device: Device
    ) -> SignedIn:
        if not EMAIL.fullmatch(email):
            raise invalid("email", "That is not an email address.")
        taken = await self._registrations.take(device.ip)
        if taken.wait_s:
            raise limited(taken.wait_s, "Too many registrations from your address. Try again later.")
        password_hash = await self._hash(password)
        try:
            user, signed_in = await self._db.run(self._register, email, name, password_hash, invite, setup_code, device)
        except BaseException:
            self._registrations.give_back(device.ip, taken)
            raise
        self._changed()
        return self._signed(user, *signed_in)

    def _register(
        self,
        sql: Sql,
        email: str,
        name: str,
        password_hash: str,
        invite: str | None,
        setup_code: str | None,
        device: Device,
    ) -> tuple[Any, tuple[str, str, str]]:
        first = accounts.count(sql) == 0
        if first:
            access.lock(sql)  # two that race for the first account take turns here
            first = accounts.count(sql) == 0
        if first and self.setup_code is not None:
            if not hmac.compare_digest((setup_code or "").encode("utf-8", "surrogatepass"), self.setup_code.encode()):
                raise Forbidden(
                    "auth.forbidden", "The first account needs the set-up code that the server has printed.",
                )  # fmt: skip
        elif self._settings.registration == "closed" and not first:
            raise Forbidden("auth.registration_closed", "Nobody can register here. Ask an administrator.")
        invitation = None
        if invite is not None:
            invitation = rooms.use_invite(sql, invite)
            if invitation is None:
                raise NotFound("invite.invalid", "That invitation is unknown, used up or over.")
        elif self._settings.registration == "invite" and not first:
            raise Forbidden("auth.registration_closed", "You need an invitation to register here.")
        user = accounts.insert(sql, email, name, "admin" if first else "user", password_hash)
        if user is None:
            raise Conflict("auth.email_taken", "There is an account with this email already. Log in instead.")
        if invitation is not None:
            rooms.add_member(sql, invitation.room_id, user.id, invitation.role)
        return user, self._open_session(sql, user.id, device)

    def _open_session(self, sql: Sql, user_id: str, device: Device) -> tuple[str, str, str]:
        cookie, refresh = new_secret(), new_secret()
        session_id = accounts.open_session(
            sql,
            user_id,
            hashed(cookie),
            hashed(refresh),
            self._settings.refresh_token_s,
            device.user_agent,
            device.ip,
        )
        return session_id, refresh, cookie

    def _signed(self, user: Any, session_id: str, refresh: str, cookie: str | None) -> SignedIn:
        token, expires_at = self._tokens.issue(user.id, session_id)
        return SignedIn(token, expires_at, refresh, user, cookie)

    async def log_in(self, email: str, password: str, device: Device) -> SignedIn:
        """An unknown account and a wrong password get the same answer after the same time, limits included."""
        async with self._turns:
            user = await self._prove(email, password, device)
        if user is None:
            self.failed_logins += 1
            raise AuthError("auth.invalid", "Email or password is wrong.")
        if user.disabled:
            raise Forbidden("auth.disabled", "This account is disabled. Ask an administrator.")

        def work(sql: Sql) -> tuple[str, str, str] | None:
            still = accounts.hold_password(sql, user.id) == user.password_hash
            return self._open_session(sql, user.id, device) if still else None

        opened = await self._db.run(work)
        if opened is None:  # it was changed, or the account disabled, while it was being checked
            raise AuthError("auth.invalid", "Email or password is wrong.")
        return self._signed(user, *opened)

    async def _prove(self, email: str, password: str, device: Device) -> Any:
        """The account whose password this is, or None."""
        key = accounts.email_key(email)
        # Counted before the slow part, or a hundred at once would all slip through.
        taken = await self._failures.take(key)
        address_taken = await self._address_failures.take(device.ip)
        if wait := max(taken.wait_s, address_taken.wait_s):
            self._failures.give_back(key, taken)
            self._address_failures.give_back(device.ip, address_taken)
            raise limited(wait, "Too many failed attempts. Try again later.")
        wrong = False
        try:
            user = await self._db.run_bare(accounts.find_by_email, email) if EMAIL.fullmatch(email) else None
            wrong = not await self._verify(user.password_hash if user else None, password)
        finally:  # a database that is away is nobody's wrong guess
            if not wrong:
                self._failures.give_back(key, taken)
                self._address_failures.give_back(device.ip, address_taken)
        return None if wrong else user

    async def refresh(self, refresh_token: str) -> SignedIn:
        fresh = new_secret()
        result = await self._db.run(
            accounts.refresh, hashed(refresh_token), hashed(fresh), self._settings.refresh_token_s
        )
        if result.verdict == "reused":
            self._changed()
            raise AuthError("auth.refresh_reused", "This session was ended for your safety. Sign in again.")
        if result.verdict == "disabled":
            raise Forbidden("auth.disabled", "This account is disabled. Ask an administrator.")
        if result.verdict != "ok":
            raise invalid_token()
        assert result.user_id is not None and result.session_id is not None
        user = await self._db.run_bare(accounts.find, result.user_id)
        return self._signed(user, result.session_id, fresh, None)

    # -- sessions

    async def log_out(self, who: Identity) -> None:
        self._need_session(who)
        await self._db.run(accounts.end_session, who.user_id, who.session_id)
        self._end(who.session_id)

    async def change_password(self, who: Identity, old: str, new: str) -> SignedIn:
        self._need_session(who)
        user = await self._db.run_bare(accounts.find, who.user_id)
        await self._check_password(user, old)
        new_hash, fresh = await self._hash(new), new_secret()
        await self._db.run(accounts.change_password, who.user_id, who.session_id, new_hash, hashed(fresh))
        self.forget(user_id=who.user_id)
        self._changed()
        return self._signed(user, who.session_id, fresh, None)

    async def _check_password(self, user: Any, password: str) -> None:
        """A signed-in user proves himself again; guesses count like failed log-ins."""
        key = user.email_key or user.id
        async with self._turns:
            taken = await self._failures.take(key)
            if taken.wait_s:
                raise limited(taken.wait_s, "Too many failed attempts. Try again later.")
            wrong = False
            try:
                wrong = not await self._verify(user.password_hash, password)
            finally:
                if not wrong:
                    self._failures.give_back(key, taken)
        if wrong:
            raise Forbidden("auth.forbidden", "The password is wrong.")

    async def sessions(self, who: Identity) -> list[Any]:
        return await self._db.run_bare(accounts.sessions, who.user_id)

    async def end_session(self, who: Identity, session_id: str) -> None:
        if not await self._db.run(accounts.end_session, who.user_id, session_id):
            raise NotFound("request.not_found", "There is no such session.")
        self._end(session_id)

    def _end(self, session_id: str) -> None:
        self.forget(session_id=session_id)
        self._changed()

    def _need_session(self, who: Identity) -> None:
        if who.is_key:
            raise Forbidden("auth.forbidden", "An API key can't do this. Sign in with your password.")

    # -- keys

    async def add_key(self, who: Identity, name: str, expires_at: datetime | None) -> tuple[Any, str]:
        key = new_secret("maru_")
        return await self._db.run(accounts.add_key, who.user_id, name, hashed(key), expires_at), key

    async def keys(self, who: Identity) -> list[Any]:
        return await self._db.run_bare(accounts.keys, who.user_id)

    async def delete_key(self, who: Identity, key_id: str) -> None:
        if not await self._db.run(accounts.delete_key, who.user_id, key_id):
            raise NotFound("request.not_found", "There is no such key.")
        self._end(key_id)

    # -- people

    async def me(self, who: Identity) -> Any:
        return await self._db.run_bare(accounts.find, who.user_id)

    async def rename(self, who: Identity, name: str) -> Any:
        user = await self._db.run(accounts.rename, who.user_id, name)
        self.forget(user_id=who.user_id)
        self._changed()
        return user

    async def search(self, text: str, after: tuple[str, str] | None, limit: int) -> list[Any]:
        return await self._db.run_bare(accounts.search, text, after, limit)

    async def leave_for_good(self, who: Identity, password: str, erase: bool) -> None:
        """erase: what he has said goes too; `services.retention` sees to it."""
        self._need_session(who)
        user = await self._db.run_bare(accounts.find, who.user_id)
        await self._check_password(user, password)
        await self._db.run(delete_account, who.user_id, self._settings.time_zone, erase)
        self.forget(user_id=who.user_id)
        self._changed()

    # -- administrators

    async def page(self, text: str, after: str | None, limit: int) -> list[Any]:
        return await self._db.run_bare(accounts.page, text, after, limit)

    async def change(
        self, who: Identity, user_id: str, role: str | None, disabled: bool | None, reset: bool
    ) -> tuple[Any, str | None]:
        """(user, the secret of a link for a new password when one was asked for). The old password is void then."""
        secret = new_secret() if reset else None
        user = await self._db.run(self._change, who.user_id, user_id, role, disabled, secret)
        if user is None:
            raise NotFound("request.not_found", "There is no such user.")
        self.forget(user_id=user_id)
        self._changed()
        return user, secret

    async def use_reset(self, secret: str, password: str, device: Device) -> SignedIn:
        """A new password by a one-time link, and in. Every other session of the account has ended."""
        invalid_link = NotFound(
            "auth.reset_invalid", "This link is unknown, used or over. Ask an administrator for a new one."
        )
        if not await self._db.run_bare(accounts.reset_exists, hashed(secret)):
            raise invalid_link  # before the slow part, which nobody shall have for nothing
        password_hash = await self._hash(password)

        def work(sql: Sql) -> tuple[Any, tuple[str, str, str]] | None:
            user = accounts.use_reset(sql, hashed(secret), password_hash)
            return None if user is None else (user, self._open_session(sql, user.id, device))

        done = await self._db.run(work)
        if done is None:
            raise invalid_link
        user, signed_in = done
        self.forget(user_id=user.id)
        self._changed()
        if user.disabled:
            raise Forbidden("auth.disabled", "This account is disabled. Ask an administrator.")
        return self._signed(user, *signed_in)

    @staticmethod
    def _change(
        sql: Sql, admin_id: str, user_id: str, role: str | None, disabled: bool | None, secret: str | None
    ) -> Any:
        user = accounts.change_admin(sql, user_id, role, disabled)
        if user is None:
            return None
        if secret is not None:
            accounts.add_reset(sql, user_id, hashed(secret), RESET_S)
        for action, done in (
            (f"role {role}", role is not None),
            ("disable" if disabled else "enable", disabled is not None),
            ("reset password", secret is not None),
        ):
            if done:
                stats.audit(sql, admin_id, action, f"user {user_id}")
        return user

    async def delete(self, who: Identity, user_id: str, erase: bool) -> None:
        def work(sql: Sql) -> bool:
            deleted = delete_account(sql, user_id, self._settings.time_zone, erase)
            if deleted:
                stats.audit(sql, who.user_id, "delete with messages" if erase else "delete", f"user {user_id}")
            return deleted

        if not await self._db.run(work):
            raise NotFound("request.not_found", "There is no such user.")
        self.forget(user_id=user_id)
        self._changed()

    # -- passwords

    async def _hash(self, password: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)

    async def _verify(self, password_hash: str | None, password: str) -> bool:
        def verify() -> bool:
            try:
                return self._hasher.verify(password_hash or self._nobody, password) and password_hash is not None
            except (VerificationError, InvalidHashError):
                return False

        return await asyncio.get_running_loop().run_in_executor(self._threads, verify)


def delete_account(sql: Sql, user_id: str, zone: str, erase: bool) -> bool:
    """Leave every room, then take everything personal out of the account. Messages stay under a nameless user.

    Locks in the order of everybody: heads, calls and sums, what hangs on rooms and messages; last the access log, for which
    all sign-ins and changes of members wait.
    erase: what he said and his lines in the statistics go too; marked here, done by `services.retention`, whatever happens to
    this process meanwhile.
    """
    if accounts.find(sql, user_id) is None:
        return False
    others: dict[str, list[str]] = {}
    for room_id in sorted(rooms.ids_of_user(sql, user_id)):
        rooms.lock(sql, room_id)
        members = rooms.members(sql, room_id, None, 1_000_000)
        others[room_id] = [member.user_id for member in members if member.user_id != user_id]
    alone = [room_id for room_id, rest in others.items() if not rest]
    written = retention.rooms_written_in(sql, user_id)
    if erase:
        tallies.forget_user(sql, user_id, sorted({*alone, *written}), zone)
        retention.mark_erasing(sql, user_id, True)
    else:
        tallies.take_rooms(sql, alone, zone)
    # The name is no word for what was said any more.
    search.forget_author(sql, user_id)
    embeddings.forget_author(sql, user_id)
    retention.forget_given(sql, user_id, sorted({*others, *written}))
    for room_id in alone:
        rooms.wipe(sql, room_id)
    for room_id, rest in others.items():
        if not rest:
            access.append(sql, "room_deleted", room_id=room_id)
            continue
        if rooms.owners(sql, room_id) == [user_id]:
            rooms.set_role(sql, room_id, rest[0], "owner")
        rooms.remove_member(sql, room_id, user_id, left=True)
    accounts.tombstone(sql, user_id)
    return True
