"""What the server announces, one type an event, and the objects these carry. Each is encoded once a process.

Knows the shapes of PROTOCOL sections 2 and 4; knows nothing of sockets or rows. The same types make the API reference.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Role = Literal["owner", "member", "reader"]
When = Literal["always", "mention", "off"]
Provider = Literal["openai", "anthropic", "demo"]
Status = Literal["complete", "queued", "streaming", "stopped", "failed"]

encode = msgspec.json.Encoder().encode


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC with exactly three decimals; msgspec would write six or none."""
    text = at.isoformat(timespec="milliseconds")
    if not text.endswith("+00:00"):
        text = at.astimezone(UTC).isoformat(timespec="milliseconds")
    return text[:-6] + "Z"


class Wire(Struct, omit_defaults=True, rename="camel"):
    """A field without a value is left out, never null, unless it is declared without a default."""


class Usage(Wire):
    input_tokens: int
    output_tokens: int
    estimated: bool | None = None


class Reasoning(Wire):
    text: str
    ms: int


class Source(Wire):
    message_id: str
    room_id: str


class Failure(Wire):
    code: str
    message: str


class Message(Wire):
    """A message as it is now: new and changed. `userName` is its author's name as it is when this is written; a new name
    changes no message: the room hears `room` with `membersChanged`, and who shows names takes them from the members."""

    id: str
    room_id: str
    seq: int
    changed_seq: int
    user_id: str | None
    user_name: str
    role: Literal["user", "bot", "system"]
    text: str
    ts: str
    status: Status
    client_id: str | None = None
    reply_to: str | None = None
    attempt: int | None = None
    edited_at: str | None = None
    deleted: bool | None = None
    versions: int | None = None
    model: str | None = None
    usage: Usage | None = None
    reasoning: Reasoning | None = None
    sources: list[Source] | None = None
    stopped_by: str | None = None
    error: Failure | None = None


class Bot(Struct, rename="camel"):
    """A room's bot; null provider and model mean the server's default."""

    name: Annotated[str, Meta(min_length=1, max_length=80)] = "Maru"
    when: When = "always"
    provider: Provider | None = None
    model: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    system_prompt: Annotated[str, Meta(max_length=8000)] = ""
    temperature: Annotated[float, Meta(ge=0, le=2)] = 1.0
    context_messages: Annotated[int, Meta(ge=0, le=200)] = 20
    retrieval: bool = True


class Room(Wire):
    """A room as one member sees it. `name` is empty until the first exchange has named it."""

    id: str
    name: str
    created_at: str
    head: int
    last_seq: int
    role: Role
    read_seq: int
    member_count: int
    bot: Bot
    last_message: Message | None = None
    members_changed: bool | None = None
    retention_days: int | None = None  # left out: the server's
    first_seq: int | None = None  # where there is something below that was removed


class Member(Wire):
    user_id: str
    name: str
    role: Role
    joined_at: str
    online: bool
    read_seq: int


class Stream(Wire):
    """Pieces `n` to `next`-1 of a running answer."""

    room_id: str
    message_id: str
    attempt: int
    n: int
    next: int
    token: str
    kind: Literal["reasoning"] | None = None


class RunningAnswer(Wire):
    """An answer that is running: the text among pieces 0 to `next`-1."""

    message_id: str
    attempt: int
    next: int
    text: str


class RoomActivity(Wire):
    room_id: str
    last_seq: int
    mentioned: bool


class Activity(Wire):
    rooms: list[RoomActivity]


class Typing(Wire):
    room_id: str
    user_id: str
    on: bool


class Presence(Wire):
    room_id: str
    user_id: str
    online: bool


class Read(Wire):
    room_id: str
    user_id: str
    seq: int


class Removed(Wire):
    room_id: str
    reason: Literal["left", "removed", "deleted"]


class Closing(Wire):
    code: int
    reason: str


class Error(Wire):
    code: str
    message: str
    retryable: bool
    retry_after_ms: int | None = None
    field: str | None = None
    event: str | None = None
    client_id: str | None = None


EVENTS: dict[str, type[Wire]] = {
    "message": Message,
    "stream": Stream,
    "activity": Activity,
    "typing": Typing,
    "presence": Presence,
    "read": Read,
    "room": Room,
    "removed": Removed,
    "closing": Closing,
    "error": Error,
}


class Event:
    """One event, encoded once for all its readers.

    data: the JSON of its data. frames: complete frames, each made when the first reader of a door needs it, by whoever
    knows how (`frame`), so that this module need not know frames.
    origin: the connection that is not told (it typed itself). only_user: the one user who is.
    trace: the context of the trace that a message is part of, or None (`services.tracing`).
    """

    __slots__ = (
        "changed_seq",
        "data",
        "droppable",
        "frames",
        "message",
        "name",
        "only_user",
        "origin",
        "stream",
        "trace",
    )

    def __init__(
        self,
        name: str,
        body: Wire | bytes,
        *,
        origin: str | None = None,
        only_user: str | None = None,
        message: Message | None = None,
    ) -> None:
        """body: bytes when its JSON is made already; then `message` is what they say, for a message."""
        self.name = name
        self.data: bytes = body if isinstance(body, bytes) else encode(body)
        self.origin = origin
        self.only_user = only_user
        self.message: Message | None = body if isinstance(body, Message) else message
        self.stream: Stream | None = body if isinstance(body, Stream) else None
        self.changed_seq: int = self.message.changed_seq if self.message else 0
        self.droppable = self.stream is not None
        self.frames: dict[Any, Any] = {}
        self.trace: str | None = None

    def frame(self, make: Callable[["Event"], Any]) -> Any:
        """What `make` makes of this event; made once, then kept."""
        made = self.frames.get(make)
        if made is None:
            made = self.frames[make] = make(self)
        return made
