"""What REST takes and gives, beside the objects that events carry."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from handlers.api.base import Answer, Body, Query
from services.realtime.events import Failure, Member, Message, Provider, Role, Room, Source, Usage, When

CLEAN = r"\A[^\x00]*\Z"
NAMED = r"\A(?=[\s\S]*\S)[^\x00-\x08\x0b-\x1f\x7f]*\Z"

Name = Annotated[str, Meta(min_length=1, max_length=80, pattern=NAMED)]
RoomName = Annotated[str, Meta(min_length=1, max_length=100, pattern=NAMED)]
Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=r"\A[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+\Z")]
Password = Annotated[str, Meta(min_length=8, max_length=256)]
AnyPassword = Annotated[str, Meta(max_length=256)]
# Checked by the service (its own error codes, a limit from the settings); the schema says so all the same.
Text = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": 20_000, "pattern": r"\S"})]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Uuid = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Secret = Annotated[str, Meta(min_length=1, max_length=500)]
Limit = Annotated[int, Meta(ge=1, le=200)]
Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Days = Annotated[int, Meta(ge=1, le=36_500)]
Amount = Annotated[float, Meta(ge=0, le=1e15)]


class Listed(Struct, rename="camel"):
    """A page of a list. `next`: goes back as `?cursor=`; null on the last page."""


class Page(Query):
    cursor: str = ""
    limit: Limit = 50


class Register(Body):
    email: Email
    name: Name
    password: Password
    invite: Secret | UnsetType = UNSET
    setup_code: Secret | UnsetType = UNSET


class Login(Body):
    email: Annotated[str, Meta(max_length=254, pattern=CLEAN)]
    password: AnyPassword


class Refresh(Body):
    refresh_token: Secret


class ChangePassword(Body):
    old_password: AnyPassword
    new_password: Password


class Profile(Answer):
    id: str
    email: str
    name: str
    role: Literal["admin", "user"]
    created_at: str


class SignedIn(Answer):
    token: str
    expires_at: str
    refresh_token: str
    user: Profile


class ChangeProfile(Body):
    name: Name | UnsetType = UNSET


class LeaveForGood(Body):
    """messages: kept under a nameless user, or removed too."""

    password: AnyPassword
    messages: Literal["keep", "remove"] = "keep"


class Tokens(Answer):
    """cost: of what has a price, in `currency`."""

    input_tokens: int
    output_tokens: int
    cost: float


class OwnBudget(Answer):
    """A limit that holds for the asker. soft is told of; once hard is spent no model answers him until the span ends."""

    span: Literal["day", "month"]
    unit: Literal["tokens", "money"]
    spent: float
    state: Literal["under", "soft", "over"]
    soft: float | None = None
    hard: float | None = None


class OwnUsage(Answer):
    """Days and months of the server's time zone."""

    today: Tokens
    month: Tokens
    currency: str
    budgets: list[OwnBudget]


class FindPeople(Query):
    q: Annotated[str, Meta(min_length=1, max_length=254)]
    cursor: str = ""
    limit: Limit = 50


class Person(Answer):
    id: str
    name: str


class People(Listed):
    items: list[Person]
    next: str | None = None


class Session(Answer):
    id: str
    created_at: str
    last_seen_at: str
    current: bool
    user_agent: str
    ip: str


class Sessions(Listed):
    items: list[Session]
    next: str | None = None


class MakeKey(Body):
    name: Name
    expires_at: Time | UnsetType = UNSET


class Key(Answer):
    id: str
    name: str
    created_at: str
    expires_at: str | None = None
    key: str | None = None


class Keys(Listed):
    items: list[Key]
    next: str | None = None


class MakeBot(Body):
    """A room's bot when it is made: what is left out has its default; null provider and model: the server's."""

    name: Name | UnsetType = UNSET
    when: When | UnsetType = UNSET
    provider: Provider | None | UnsetType = UNSET
    model: Annotated[str, Meta(min_length=1, max_length=100, pattern=CLEAN)] | None | UnsetType = UNSET
    system_prompt: Annotated[str, Meta(max_length=8000, pattern=CLEAN)] | UnsetType = UNSET
    temperature: Annotated[float, Meta(ge=0, le=2)] | UnsetType = UNSET
    context_messages: Annotated[int, Meta(ge=0, le=200)] | UnsetType = UNSET
    retrieval: bool | UnsetType = UNSET


class PatchBot(Body):
    """A change of a room's bot: null takes a field back to its default."""

    name: Name | None | UnsetType = UNSET
    when: When | None | UnsetType = UNSET
    provider: Provider | None | UnsetType = UNSET
    model: Annotated[str, Meta(min_length=1, max_length=100, pattern=CLEAN)] | None | UnsetType = UNSET
    system_prompt: Annotated[str, Meta(max_length=8000, pattern=CLEAN)] | None | UnsetType = UNSET
    temperature: Annotated[float, Meta(ge=0, le=2)] | None | UnsetType = UNSET
    context_messages: Annotated[int, Meta(ge=0, le=200)] | None | UnsetType = UNSET
    retrieval: bool | None | UnsetType = UNSET


class MakeRoom(Body):
    name: RoomName | UnsetType = UNSET
    bot: MakeBot | UnsetType = UNSET


class PatchRoom(Body):
    """retentionDays: null for as long as the server keeps messages."""

    name: RoomName | UnsetType = UNSET
    bot: PatchBot | None | UnsetType = UNSET
    retention_days: Days | None | UnsetType = UNSET


class AskPreview(Body):
    """bot: a change of the room's settings, as in PATCH, for this answer alone."""

    text: Annotated[str, Meta(min_length=1, max_length=4000, pattern=CLEAN)]
    bot: PatchBot | UnsetType = UNSET


class Preview(Answer):
    text: str
    provider: str
    model: str
    input_tokens: int
    output_tokens: int


class RoomList(Listed):
    items: list[Room]
    next: str | None = None


class Model(Answer):
    provider: str
    model: str
    default: bool | None = None


class ModelList(Listed):
    items: list[Model]
    next: str | None = None


class MemberList(Listed):
    items: list[Member]
    next: str | None = None


class AddMember(Body):
    user_id: Uuid
    role: Role = "member"


class SetRole(Body):
    role: Role


class MakeInvite(Body):
    role: Role = "member"
    expires_in_s: Annotated[int, Meta(ge=1, le=366 * 86400)] | UnsetType = UNSET
    max_uses: Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType = UNSET


class Invite(Answer):
    code: str
    url: str
    room_id: str
    role: Role
    expires_at: str
    max_uses: int
    uses: int


class InviteList(Listed):
    items: list[Invite]
    next: str | None = None


class History(Query):
    before: Seq | UnsetType = UNSET
    after: Seq | UnsetType = UNSET
    around: Seq | UnsetType = UNSET
    limit: Limit = 50


class MessagePage(Answer):
    messages: list[Message]
    more_before: bool
    more_after: bool


class ChangesSince(Query):
    after: Seq = 0
    limit: Annotated[int, Meta(ge=1, le=500)] = 50


class Changes(Answer):
    messages: list[Message]
    head: int
    more: bool


class PostMessage(Body):
    text: Text
    client_id: Annotated[str, Meta(min_length=1, max_length=64, pattern=CLEAN)] | UnsetType = UNSET
    reply_to: Uuid | UnsetType = UNSET


class EditMessage(Body):
    text: Text


class Version(Answer):
    version: int
    text: str
    ts: str
    model: str | None = None


class Versions(Listed):
    items: list[Version]
    next: str | None = None


class ContextMessage(Answer):
    role: str
    text: str


class Context(Answer):
    """Exactly what the model was given for an answer; but for passages of rooms that the asker may not read.

    sources: the messages that search found, as far as the asker may read them.
    """

    attempt: int
    system: str
    messages: list[ContextMessage]
    sources: list[Source] | None = None


class SearchQuery(Query):
    q: Annotated[str, Meta(min_length=1, max_length=8000)]
    room_id: Uuid | UnsetType = UNSET
    user_id: Uuid | UnsetType = UNSET
    since: Time | UnsetType = UNSET
    until: Time | UnsetType = UNSET
    mode: Literal["hybrid", "text", "semantic"] = "hybrid"
    cursor: str = ""
    limit: Limit = 50


class Hit(Answer):
    message: Message
    score: float
    ranges: list[tuple[int, int]]


class Hits(Listed):
    items: list[Hit]
    next: str | None = None


class Export(Query):
    format: Literal["json", "markdown"] = "json"


class Account(Answer):
    """An account as administrators see it. `resetUrl`: a link for a new password, good once and for a day, shown once."""

    id: str
    email: str
    name: str
    role: Literal["admin", "user"]
    created_at: str
    disabled: bool
    reset_url: str | None = None


class Accounts(Listed):
    items: list[Account]
    next: str | None = None


class FindAccounts(Query):
    q: Annotated[str, Meta(max_length=254)] = ""
    cursor: str = ""
    limit: Limit = 50


class PatchAccount(Body):
    disabled: bool | UnsetType = UNSET
    role: Literal["admin", "user"] | UnsetType = UNSET
    reset_password: bool | UnsetType = UNSET


class DeleteAccount(Query):
    """messages: kept under a nameless user, or removed with the rest."""

    messages: Literal["keep", "remove"] = "keep"


class UseReset(Body):
    token: Secret
    password: Password


class RoomLine(Answer):
    id: str
    name: str
    created_at: str
    member_count: int
    message_count: int
    retention_days: int | None = None


class RoomLines(Listed):
    items: list[RoomLine]
    next: str | None = None


class FindRooms(Query):
    q: Annotated[str, Meta(max_length=100)] = ""
    sort: Literal["made", "messages", "members"] = "made"
    cursor: str = ""
    limit: Limit = 50


class PatchRoomLine(Body):
    """null: as long as the server keeps messages."""

    retention_days: Days | None


class StatsQuery(Query):
    """Whole days of the server's time zone: from the one of `since` to the last that begins before `until`."""

    by: Literal["user", "room", "model", "day"] = "day"
    since: Time | UnsetType = UNSET
    until: Time | UnsetType = UNSET
    sort: Literal["name", "messages", "answers", "failed", "stopped", "tokens", "cost"] = "tokens"
    order: Literal["asc", "desc"] = "desc"
    format: Literal["json", "csv"] = "json"
    cursor: str = ""
    limit: Limit = 50


class StatsLine(Answer):
    """key: an id, `provider:model`, or a day. `name` is empty for what has none (any more)."""

    key: str
    name: str
    messages: int
    answers: int
    failed: int
    stopped: int
    input_tokens: int
    output_tokens: int
    cost: float


class StatsLines(Listed):
    items: list[StatsLine]
    next: str | None = None


class Figures(Answer):
    """messages: of people. answers: that ended; the failed and stopped are among them. cost: of what has a price."""

    messages: int
    answers: int
    failed: int
    stopped: int
    input_tokens: int
    output_tokens: int
    cost: float
    errors: int
    first_token_p50_ms: float | None = None
    first_token_p95_ms: float | None = None


class Bucket(Figures, kw_only=True):
    """at: when the hour or day begins, on the clock of `timeZone`."""

    at: str


class Now(Answer):
    people: int
    connections: int
    pods: int
    queued: int
    streaming: int


class OverviewQuery(Query):
    span: Literal["24h", "14d", "90d"] = "14d"


class Overview(Answer):
    """unpriced: models, as `provider:model`, that were used this month and have no price."""

    span: Literal["24h", "14d", "90d"]
    currency: str
    time_zone: str
    now: Now
    today: Figures
    month: Figures
    total: Figures
    buckets: list[Bucket]
    unpriced: list[str]
    degraded: list[str]


class AuditEntry(Answer):
    id: int
    at: str
    action: str
    target: str
    user_id: str | None = None
    user_name: str | None = None


class AuditEntries(Listed):
    items: list[AuditEntry]
    next: str | None = None


class FaultGroup(Answer):
    kind: str
    count: int
    first_at: str
    last_at: str
    example: str
    request_id: str | None = None


class Faults(Listed):
    items: list[FaultGroup]
    next: str | None = None


class InForce(Answer):
    """A setting as this pod has it. Of a secret: "set", or nothing."""

    name: str
    value: str
    is_default: bool
    is_secret: bool
    description: str


class SettingsInForce(Listed):
    items: list[InForce]
    next: str | None = None


class BudgetLine(Answer):
    """A limit. Without an id: for everyone who has no line of his own. soft is told of, hard is kept."""

    kind: Literal["user", "room"]
    span: Literal["day", "month"]
    unit: Literal["tokens", "money"]
    id: str | None = None
    name: str | None = None
    soft: float | None = None
    hard: float | None = None
    spent: float | None = None
    state: Literal["under", "soft", "over"] | None = None


class BudgetLines(Listed):
    items: list[BudgetLine]
    next: str | None = None


class SetBudget(Body):
    """Both null: the line goes, and everyone's holds again."""

    kind: Literal["user", "room"]
    span: Literal["day", "month"]
    unit: Literal["tokens", "money"]
    soft: Amount | None
    hard: Amount | None
    id: Uuid | UnsetType = UNSET


class FollowLive(Query):
    """text: what is said as well; opening that is written to the audit log."""

    room_id: Uuid | UnsetType = UNSET
    text: bool = False


class LiveOpen(Answer):
    """The first event of `/admin/live`: what is followed."""

    text: bool
    room_id: str | None = None


class LiveMessage(Answer):
    """An event of `/admin/live`. chars: how long it is."""

    id: str
    room_id: str
    room_name: str
    seq: int
    user_name: str
    role: Literal["user", "bot", "system"]
    status: str
    ts: str
    chars: int
    user_id: str | None = None
    deleted: bool | None = None
    text: str | None = None
    model: str | None = None
    usage: Usage | None = None
    error: Failure | None = None


class EmbeddingModel(Answer):
    """A model of meaning: whether searches ask it, how well it tells Korean sentences apart (0.5: not at all, 1: always),
    changes it has not seen, and why it is behind."""

    name: str
    serving: bool
    waiting: int
    dimensions: int | None = None
    korean: float | None = None
    fault: str | None = None


class EmbeddingModels(Listed):
    """Empty: search and memory go by words alone."""

    items: list[EmbeddingModel]
    next: str | None = None


class Health(Answer):
    status: str
    degraded: list[str] | None = None
    detail: str | None = None


AnyObject = dict[str, Any]
