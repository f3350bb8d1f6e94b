"""Users, sessions, refresh tokens and API keys: rows and queries. Secrets arrive here hashed."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from peewee import BlobField, BooleanField, DateTimeField, IntegerField, TextField, Tuple, fn

from models import access
from models.base import Table, UuidField, like, new_id
from models.database import Sql

REUSE_GRACE = timedelta(seconds=30)


class User(Table):
    id = UuidField(primary_key=True)
    email = TextField()
    email_key = TextField(null=True)
    name = TextField()
    role = TextField()
    password_hash = TextField(null=True)
    created_at = DateTimeField()
    disabled = BooleanField()
    deleted_at = DateTimeField(null=True)

    class Meta:
        table_name = "users"


class Session(Table):
    id = UuidField(primary_key=True)
    user_id = UuidField()
    cookie_hash = BlobField()
    created_at = DateTimeField()
    last_seen_at = DateTimeField()
    expires_at = DateTimeField()
    ended_at = DateTimeField(null=True)
    user_agent = TextField()
    ip = TextField()
    generation = IntegerField()

    class Meta:
        table_name = "sessions"


class ApiKey(Table):
    id = UuidField(primary_key=True)
    user_id = UuidField()
    name = TextField()
    hash = BlobField()
    created_at = DateTimeField()
    expires_at = DateTimeField(null=True)

    class Meta:
        table_name = "api_keys"


class Login(NamedTuple):
    """Who a session or key belongs to. session_id: of the session, or of the key itself."""

    user_id: str
    name: str
    role: str
    session_id: str
    expires_at: datetime | None


def one(sql: Sql, query: Any) -> Any:
    return query.bind(sql.peewee).first()


def find(sql: Sql, user_id: str) -> Any:
    """The user's row; None when there is none or the account was left for good."""
    return one(sql, User.select().where(User.id == user_id, User.deleted_at.is_null()))


def find_by_email(sql: Sql, email: str) -> Any:
    return one(sql, User.select().where(User.email_key == email_key(email)))


def email_key(email: str) -> str:
    return email.casefold()


def count(sql: Sql) -> int:
    return int(User.select().bind(sql.peewee).count())


def insert(sql: Sql, email: str, name: str, role: str, password_hash: str | None) -> Any | None:
    """The new user; None when the email is taken. The caller holds `access.lock` where the first account matters."""
    row = sql.row(
        "insert into users (id, email, email_key, name, role, password_hash) values (%s, %s, %s, %s, %s, %s)"
        " on conflict (email_key) do nothing returning id",
        new_id(),
        email,
        email_key(email),
        name,
        role,
        password_hash,
    )
    return find(sql, row[0]) if row else None


def rename(sql: Sql, user_id: str, name: str) -> Any:
    sql.run("update users set name = %s where id = %s", name, user_id)
    access.append(sql, "user_changed", user_id=user_id)
    return find(sql, user_id)


def change_admin(sql: Sql, user_id: str, role: str | None, disabled: bool | None) -> Any:
    """An administrator's change. Returns the user, or None when there is no such one."""
    if find(sql, user_id) is None:
        return None
    if role is not None:
        sql.run("update users set role = %s where id = %s", role, user_id)
        access.append(sql, "user_changed", user_id=user_id)
    if disabled is not None:
        sql.run("update users set disabled = %s where id = %s", disabled, user_id)
        if disabled:
            sql.run("update sessions set ended_at = now() where user_id = %s and ended_at is null", user_id)
        access.append(sql, "user_disabled" if disabled else "user_changed", user_id=user_id)
    return find(sql, user_id)


def search(sql: Sql, text: str, after: tuple[str, str] | None, limit: int) -> list[Any]:
    """People by a part of the name, or by the whole email, by their names. after: (name, id) of the one before."""
    query = User.select().where(
        User.deleted_at.is_null(),
        ~User.disabled,
        (fn.lower(User.name) ** f"%{like(text.lower())}%") | (User.email_key == email_key(text)),
    )
    if after is not None:
        query = query.where(Tuple(fn.lower(User.name), User.id) > Tuple(fn.lower(after[0]), after[1]))
    query = query.order_by(fn.lower(User.name), User.id).limit(limit)
    return list(query.bind(sql.peewee))


def page(sql: Sql, text: str, after: str | None, limit: int) -> list[Any]:
    """All accounts for administrators, in the order of their ids (which is that of joining)."""
    query = User.select().where(User.deleted_at.is_null())
    if text:
        query = query.where(
            (fn.lower(User.name) ** f"%{like(text.lower())}%") | (User.email_key ** f"%{like(email_key(text))}%")
        )
    if after:
        query = query.where(User.id > after)
    return list(query.order_by(User.id).limit(limit).bind(sql.peewee))


def tombstone(sql: Sql, user_id: str) -> None:
    """Take everything personal out of the row; the id stays under the messages."""
    sql.run(
        "update users set email = '', email_key = null, name = '', password_hash = null, deleted_at = now(),"
        " role = 'user' where id = %s",
        user_id,
    )
    sql.run("delete from sessions where user_id = %s", user_id)
    sql.run("delete from api_keys where user_id = %s", user_id)
    sql.run("delete from password_resets where user_id = %s", user_id)
    sql.run("delete from budgets where kind = 'user' and key = %s", user_id)
    access.append(sql, "user_disabled", user_id=user_id)


# -- sessions


def open_session(
    sql: Sql, user_id: str, cookie_hash: bytes, refresh_hash: bytes, life_s: int, user_agent: str, ip: str
) -> str:
    session_id = new_id()
    sql.run(
        "insert into sessions (id, user_id, cookie_hash, expires_at, user_agent, ip)"
        " values (%s, %s, %s, now() + make_interval(secs => %s), %s, %s)",
        session_id,
        user_id,
        cookie_hash,
        life_s,
        user_agent[:300],
        ip,
    )
    add_refresh(sql, session_id, refresh_hash, 0)
    return session_id


def add_refresh(sql: Sql, session_id: str, refresh_hash: bytes, generation: int) -> None:
    sql.run(
        "insert into refresh_tokens (hash, session_id, generation) values (%s, %s, %s)",
        refresh_hash,
        session_id,
        generation,
    )


class Refreshed(NamedTuple):
    """verdict: "ok", "unknown" (also ended or run out), "disabled", or "reused", which has ended the session."""

    verdict: str
    session_id: str | None = None
    user_id: str | None = None


def refresh(sql: Sql, shown_hash: bytes, fresh_hash: bytes, life_s: int) -> Refreshed:
    """Trade a refresh token for `fresh_hash`.

    A token works once. The one used last may be shown again for 30 s (a lost reply, two tabs) and yields a sibling,
    good once like the first. Anything older is a stolen copy, or its owner after the thief: the session ends.
    """
    row = sql.row(
        "select t.generation, t.used_at, t.void, s.id, s.user_id, s.generation, s.ended_at is null and s.expires_at > now(),"
        " now(), u.disabled from refresh_tokens t join sessions s on s.id = t.session_id join users u on u.id = s.user_id"
        " where t.hash = %s for update of t, s",
        shown_hash,
    )
    if row is None:
        return Refreshed("unknown")
    generation, used_at, void, session_id, user_id, newest_used, alive, now, disabled = row
    if not alive or void:
        return Refreshed("unknown")
    if disabled:
        return Refreshed("disabled")
    # sessions.generation counts used generations: token 0 used makes it 1.
    if used_at is not None and (generation != newest_used - 1 or now - used_at > REUSE_GRACE):
        end_session(sql, user_id, session_id)
        return Refreshed("reused", session_id, user_id)
    if used_at is None:
        sql.run("update refresh_tokens set used_at = now() where hash = %s", shown_hash)
    sql.run(
        "update sessions set generation = greatest(generation, %s), last_seen_at = now(),"
        " expires_at = now() + make_interval(secs => %s) where id = %s",
        generation + 1,
        life_s,
        session_id,
    )
    add_refresh(sql, session_id, fresh_hash, generation + 1)
    sql.run(
        "delete from refresh_tokens where session_id = %s and used_at is not null and generation < %s",
        session_id,
        generation - 50,
    )
    return Refreshed("ok", session_id, user_id)


def end_session(sql: Sql, user_id: str, session_id: str) -> bool:
    """False when the session is unknown, another's, or over already."""
    ended = sql.run(
        "update sessions set ended_at = now() where id = %s and user_id = %s and ended_at is null",
        session_id,
        user_id,
    )
    if ended:
        access.append(sql, "session_ended", user_id=user_id, session_id=session_id)
    return bool(ended)


def end_over(sql: Sql, most: int) -> int:
    """End sessions that have run out. Returns how many."""
    over = sql.rows(
        "select user_id, id from sessions where ended_at is null and expires_at < now() limit %s for update skip locked",
        most,
    )
    for user_id, session_id in over:
        end_session(sql, user_id, session_id)
    return len(over)


def end_sessions(sql: Sql, user_id: str) -> None:
    """All of an account."""
    for row in sql.rows("select id from sessions where user_id = %s and ended_at is null", user_id):
        end_session(sql, user_id, row[0])


def sessions(sql: Sql, user_id: str) -> list[Any]:
    query = (
        Session.select()
        .where(Session.user_id == user_id, Session.ended_at.is_null(), Session.expires_at > fn.now())
        .order_by(Session.created_at.desc())
    )
    return list(query.bind(sql.peewee))


def seen(sql: Sql, session_id: str) -> None:
    sql.run("update sessions set last_seen_at = now() where id = %s", session_id)


def hold_password(sql: Sql, user_id: str) -> str | None:
    """The hash of now, which nobody changes until this transaction ends; None where nobody may sign in."""
    row = sql.row("select password_hash from users where id = %s and not disabled for share", user_id)
    return row[0] if row else None


def change_password(
    sql: Sql, user_id: str, keep_session: str | None, password_hash: str | None, refresh_hash: bytes
) -> None:
    """New password; every other session ends. `keep_session` gets a new refresh token, its old ones are void.

    password_hash: None leaves the account without one, until it is set by a link.
    keep_session: None ends all (a reset by an administrator, or a change made with an API key).
    """
    sql.run("update users set password_hash = %s where id = %s", password_hash, user_id)
    sql.run(
        "update sessions set ended_at = now() where user_id = %s and ended_at is null and id is distinct from %s",
        user_id,
        keep_session,
    )
    if keep_session is not None:
        sql.run("update refresh_tokens set void = true where session_id = %s", keep_session)
        row = sql.row("select generation from sessions where id = %s", keep_session)
        assert row is not None
        add_refresh(sql, keep_session, refresh_hash, row[0])
    access.append(sql, "password_changed", user_id=user_id, session_id=keep_session)


def add_reset(sql: Sql, user_id: str, secret_hash: bytes, life_s: int) -> None:
    """A link with which a new password can be set, once. It replaces those before it; the old password is void."""
    sql.run("delete from password_resets where user_id = %s", user_id)
    sql.run(
        "insert into password_resets (hash, user_id, expires_at) values (%s, %s, now() + make_interval(secs => %s))",
        secret_hash,
        user_id,
        life_s,
    )
    change_password(sql, user_id, None, None, b"")


def reset_exists(sql: Sql, secret_hash: bytes) -> bool:
    return sql.row("select from password_resets where hash = %s and expires_at > now()", secret_hash) is not None


def use_reset(sql: Sql, secret_hash: bytes, password_hash: str) -> Any | None:
    """The user of the link, whose password this is now; None when the link is unknown, used or over."""
    row = sql.row(
        "delete from password_resets r using users u where r.hash = %s and r.expires_at > now()"
        " and u.id = r.user_id and u.deleted_at is null returning r.user_id",
        secret_hash,
    )
    if row is None:
        return None
    change_password(sql, row[0], None, password_hash, b"")
    return find(sql, row[0])


LOGIN = (
    "select u.id, u.name, u.role, {id}, {expires} from {table} x join users u on u.id = x.user_id"
    " where {match} and u.deleted_at is null and not u.disabled"
)
SESSION = LOGIN.format(id="x.id", expires="x.expires_at", table="sessions", match="{}")


def session_login(sql: Sql, session_id: str) -> Login | None:
    """Who the session belongs to; None when it is over or the account is disabled."""
    row = sql.row(SESSION.format("x.id = %s and x.ended_at is null and x.expires_at > now()"), session_id)
    return Login(*row) if row else None


def cookie_login(sql: Sql, cookie_hash: bytes) -> Login | None:
    row = sql.row(SESSION.format("x.cookie_hash = %s and x.ended_at is null and x.expires_at > now()"), cookie_hash)
    return Login(*row) if row else None


def key_login(sql: Sql, key_hash: bytes) -> Login | None:
    statement = LOGIN.format(
        id="x.id",
        expires="x.expires_at",
        table="api_keys",
        match="x.hash = %s",
    )
    row = sql.row(statement, key_hash)
    return Login(*row) if row else None


# -- API keys


def add_key(sql: Sql, user_id: str, name: str, key_hash: bytes, expires_at: datetime | None) -> Any:
    key_id = new_id()
    sql.run(
        "insert into api_keys (id, user_id, name, hash, expires_at) values (%s, %s, %s, %s, %s)",
        key_id,
        user_id,
        name,
        key_hash,
        expires_at,
    )
    return one(sql, ApiKey.select().where(ApiKey.id == key_id))


def keys(sql: Sql, user_id: str) -> list[Any]:
    query = ApiKey.select().where(ApiKey.user_id == user_id).order_by(ApiKey.id)
    return list(query.bind(sql.peewee))


def delete_key(sql: Sql, user_id: str, key_id: str) -> bool:
    if not sql.run("delete from api_keys where id = %s and user_id = %s", key_id, user_id):
        return False
    access.append(sql, "key_ended", user_id=user_id, session_id=key_id)
    return True
