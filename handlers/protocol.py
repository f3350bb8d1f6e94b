"""The words of the wire: envelopes, commands, replies, close codes. Types and pure functions, no I/O.

Both doors decode with these types, and the served reference is generated from them.
"""

import re
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from services import surrogates
from services.errors import ChatError, Invalid
from services.realtime.events import Error, Event, Member, Message, Room, RunningAnswer, encode

T = TypeVar("T")
BIGINT = 2**63 - 1
Number = Annotated[int, Meta(ge=0, le=BIGINT)]
ClientId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[^\x00]*\Z")]


class Command(Struct, rename="camel"):
    """What a client asks for. A field that may be left out is UNSET then; null is an error."""


class Join(Command):
    room_id: str
    after: Number | UnsetType = UNSET


class Leave(Command):
    room_id: str


class Send(Command):
    room_id: str
    text: str
    client_id: ClientId | UnsetType = UNSET
    reply_to: str | UnsetType = UNSET


class Edit(Command):
    message_id: str
    text: str


class Delete(Command):
    message_id: str


class Stop(Command):
    message_id: str


class Regenerate(Command):
    message_id: str


class SetTyping(Command):
    room_id: str
    on: bool


class SetRead(Command):
    room_id: str
    seq: Number


class Auth(Command):
    token: str


class Ping(Command):
    pass


class Reply(Struct, omit_defaults=True, rename="camel"):
    """What a command is answered with."""


class Joined(Reply):
    room: Room
    members: list[Member]
    head: int
    messages: list[Message]
    more: bool
    streams: list[RunningAnswer]
    reset: bool | None = None


class Sent(Reply):
    message_id: str
    seq: int
    changed_seq: int
    ts: str
    duplicate: bool


class Changed(Reply):
    changed_seq: int


class Queued(Reply):
    message_id: str


class Authenticated(Reply):
    expires_at: str


class Pong(Reply):
    ts: str


class Nothing(Reply):
    pass


class Word(NamedTuple):
    command: type[Command]
    reply: type[Reply]
    summary: str


COMMANDS: dict[str, Word] = {
    "join": Word(Join, Joined, "Enter a room, or come back to it with a cursor; its events follow the reply."),
    "leave": Word(Leave, Nothing, "Stop reading a room on this connection; membership stays."),
    "send": Word(Send, Sent, "Say something. Answered once it is committed."),
    "edit": Word(Edit, Changed, "Change the text of one's own message."),
    "delete": Word(Delete, Changed, "Delete a message: its author or an owner of the room."),
    "stop": Word(Stop, Nothing, "End a running or waiting answer."),
    "regenerate": Word(Regenerate, Queued, "Have an ended answer made again."),
    "typing": Word(SetTyping, Nothing, "Tell the others in a joined room that one types, or no longer."),
    "read": Word(SetRead, Nothing, "Move one's read mark forward."),
    "auth": Word(Auth, Authenticated, "Show a fresh access token of the same session."),
    "ping": Word(Ping, Pong, "Ask for the server's time."),
}


class Envelope(Struct):
    """A native frame from a client. `data` stays raw until its type is known."""

    event: Annotated[str, Meta(max_length=100)]
    id: int | float | str | UnsetType = UNSET
    data: msgspec.Raw = msgspec.Raw(b"{}")


class Unintelligible(Exception):
    """A frame from which not even a command's name can be read, or whose name is unknown: it counts as malformed."""

    def __init__(self, error: ChatError, command_id: Any = UNSET, event: str | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.command_id = command_id
        self.event = event


_envelope = msgspec.json.Decoder(Envelope)
_command = {name: msgspec.json.Decoder(word.command) for name, word in COMMANDS.items()}

AT = re.compile(r" - at `\$\.?(.*)`$")
MISSING = re.compile(r"missing required field `(.+?)`")


def decode_frame(frame: bytes) -> tuple[Any, str, Command]:
    """(id or UNSET, event, command) of a native text frame.

    Raises Unintelligible, or BadCommand when the command is known and its data is wrong.
    """
    return surrogates.decoded(frame, _decode_frame, (Unintelligible, BadCommand))


def _decode_frame(frame: bytes) -> tuple[Any, str, Command]:
    try:
        envelope = _envelope.decode(frame)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, OverflowError) as error:
        raise Unintelligible(Invalid("request.invalid", f"Not a command: {error}")) from None
    decoder = _command.get(envelope.event)
    if decoder is None:
        raise unknown(envelope.event, envelope.id)
    try:
        try:
            return envelope.id, envelope.event, decoder.decode(envelope.data)
        except msgspec.ValidationError as error:
            again = with_whole(error, envelope.data, COMMANDS[envelope.event].command)
            return envelope.id, envelope.event, again
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, OverflowError) as error:
        raise BadCommand(as_invalid(error), envelope.id, envelope.event, client_id_of(envelope.data)) from None


def convert_command(event: str, data: Any) -> Command:
    """The command out of values that Socket.IO's packet has decoded. Raises like `decode_frame`."""
    word = COMMANDS.get(event)
    if word is None:
        raise unknown(event, UNSET)
    try:
        try:
            return msgspec.convert(data, word.command)
        except msgspec.ValidationError as error:
            return with_whole(error, data, word.command)
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        raise BadCommand(as_invalid(error), UNSET, event, client_id_of(data)) from None


class BadCommand(Exception):
    def __init__(self, error: ChatError, command_id: Any, event: str, client_id: str | None) -> None:
        super().__init__(error.message)
        self.error = error
        self.command_id = command_id
        self.event = event
        self.client_id = client_id


def unknown(event: str, command_id: Any) -> Unintelligible:
    error = Invalid("request.unknown_event", "There is no such command.", field="event")
    return Unintelligible(error, command_id, event[:100])


def with_whole(error: msgspec.ValidationError, data: Any, kind: type[T]) -> T:
    """What was refused with `error`, with 5 where 5.0 is written: JSON has one sort of number, msgspec has two.

    data: JSON, or what it says. Raises ValidationError.
    """
    if "got `float`" not in str(error):
        raise error
    value = msgspec.json.decode(data) if isinstance(data, bytes | msgspec.Raw) else data
    return msgspec.convert(_whole(value), kind)


def _whole(value: Any, depth: int = 2) -> Any:
    """No command and no body has a number deeper than in an object in an object."""
    if type(value) is float and value.is_integer() and abs(value) <= BIGINT:
        return int(value)
    if type(value) is dict and depth:
        return {name: _whole(part, depth - 1) for name, part in value.items()}
    return value


def as_invalid(error: Exception) -> ChatError:
    """msgspec's complaint as `request.invalid` with the dotted path of the field."""
    text = str(error)
    path = ""
    if (at := AT.search(text)) is not None:
        path, text = at.group(1), text[: at.start()]
    if (missing := MISSING.search(text)) is not None:
        path = f"{path}.{missing.group(1)}" if path else missing.group(1)
        text = "This field is missing."
    return Invalid("request.invalid", text or "Not valid.", field=path or None)


def client_id_of(data: Any) -> str | None:
    """The clientId of a command that could not be read as a whole, so that its sender knows which one it was."""
    try:
        fields = msgspec.json.decode(data) if isinstance(data, bytes | msgspec.Raw) else data
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    found = fields.get("clientId") if isinstance(fields, dict) else None
    return found if isinstance(found, str) and 0 < len(found) <= 64 else None


def error_body(error: ChatError, event: str | None = None, client_id: str | None = None) -> Error:
    return Error(error.code, error.message, error.retryable, error.retry_after_ms, error.field, event, client_id)


def native_reply(command_id: Any, data: Reply) -> bytes:
    return b'{"id":' + encode(command_id) + b',"ok":true,"data":' + encode(data) + b"}"


def native_error(command_id: Any, error: Error) -> bytes:
    return b'{"id":' + encode(command_id) + b',"ok":false,"error":' + encode(error) + b"}"


def native_event(event: Event) -> bytes:
    return b'{"event":"' + event.name.encode() + b'","data":' + event.data + b"}"


def socketio_event(event: Event) -> bytes:
    """The Engine.IO text of an event: message (4), Socket.IO event (2) of the default namespace."""
    return b'42["' + event.name.encode() + b'",' + event.data + b"]"
