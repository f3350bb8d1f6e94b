"""The Socket.IO v5 wire format, read strictly: whatever is no packet raises PacketError and nothing else.

python-socketio's own decoder believes the client: ten-digit attachment counts, negative placeholders, events without
a name, and events called `connect` that run the application's connect handler. Ours takes its place as `serializer`.
Source: https://github.com/socketio/socket.io-protocol (revision 5).
"""

import re
from typing import Any

import msgspec
from socketio import packet as base

from handlers.engine.packets import PacketError
from services import surrogates

CONNECT, DISCONNECT, EVENT, ACK = base.CONNECT, base.DISCONNECT, base.EVENT, base.ACK
CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = base.CONNECT_ERROR, base.BINARY_EVENT, base.BINARY_ACK

# A client that may emit these runs the application's own handlers with arguments of its making.
RESERVED_EVENTS = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)
MAX_ATTACHMENTS = 10
MAX_DEPTH = 100

# type, attachments-, /namespace, ack id, JSON. An id has at most the 16 digits that a JavaScript number holds.
_SHAPE = re.compile(r"([0-6])(?:([0-9]{1,10})-)?(?:(/[^,]*)(?:,|\Z))?([0-9]{1,16})?(.*)", re.DOTALL)


class Json:
    """msgspec with the interface of the json module. It refuses NaN and trailing characters; U+0000 is read for a lone
    surrogate, which every text of ours refuses."""

    @staticmethod
    def dumps(value: Any, **options: Any) -> str:
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str) -> Any:
        """Raises PacketError, also for what is nested too deep to be walked through safely."""
        try:
            value = surrogates.decoded(text, msgspec.json.decode, msgspec.MsgspecError)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise PacketError("bad JSON") from None
        if text.count("[") + text.count("{") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
            raise PacketError("JSON is nested too deep")
        return value


class Packet(base.Packet):  # type: ignore[misc]
    """One Socket.IO packet. `encode` is python-socketio's, with compact JSON."""

    json = Json
    packet_type: int
    namespace: str
    id: int | None
    data: Any

    @classmethod
    def read(cls, text: str) -> "Packet":
        packet = cls(data=None)
        packet.attachment_count = packet.decode(text)  # the constructor would take an empty text for no text at all
        return packet

    def decode(self, encoded_packet: str) -> int:
        """Fill in the packet. Returns the number of attachments that are to come."""
        shape = _SHAPE.fullmatch(encoded_packet)
        if shape is None:
            raise PacketError("unknown socket packet type")
        kind, attachments, namespace, ack_id, payload = shape.groups()
        self.packet_type = int(kind)
        self.namespace = namespace or "/"
        self.id = None if ack_id is None else int(ack_id)
        self.data = self.json.loads(payload) if payload else None
        self._check(attachments, payload)
        if attachments is None:
            return 0
        count = int(attachments)
        if count > MAX_ATTACHMENTS:
            raise PacketError("too many attachments")
        if count == 0:
            self.data = self.reconstruct_binary(self.data, [])
        return count

    def add_attachment(self, attachment: str | bytes) -> bool:
        """Returns whether the packet is complete."""
        if not isinstance(attachment, bytes):
            raise PacketError("text where an attachment is due")
        return bool(super().add_attachment(attachment))

    @classmethod
    def _reconstruct_binary_internal(cls, data: Any, attachments: list[bytes]) -> Any:
        if isinstance(data, list):
            return [cls._reconstruct_binary_internal(item, attachments) for item in data]
        if not isinstance(data, dict):
            return data
        if data.get("_placeholder") is True:
            number = data.get("num")
            if type(number) is not int or not 0 <= number < len(attachments):  # True is an int
                raise PacketError("bad placeholder")
            return attachments[number]
        return {key: cls._reconstruct_binary_internal(value, attachments) for key, value in data.items()}

    def _check(self, attachments: str | None, payload: str) -> None:
        kind, data = self.packet_type, self.data
        if (kind in (BINARY_EVENT, BINARY_ACK)) != (attachments is not None):
            raise PacketError("attachments missing or not allowed")
        if kind in (EVENT, BINARY_EVENT):
            if not isinstance(data, list) or not data or not isinstance(data[0], str):
                raise PacketError("an event needs an array that begins with its name")
            if data[0] in RESERVED_EVENTS:
                raise PacketError("reserved event name")
        elif kind in (ACK, BINARY_ACK):
            if not isinstance(data, list) or self.id is None:
                raise PacketError("an acknowledgement needs an id and an array")
        elif self.id is not None:
            raise PacketError("only events and acknowledgements have an id")
        elif kind == CONNECT:
            if payload and not isinstance(data, dict):
                raise PacketError("a CONNECT carries an object or nothing")
        elif kind == DISCONNECT:
            if payload:
                raise PacketError("a DISCONNECT carries nothing")
        else:
            raise PacketError("CONNECT_ERROR is the server's to send")


def _deeper_than(value: Any, limit: int) -> bool:
    """Level by level, without recursion: the caller's stack may be deep already."""
    level = [value]
    while level and limit:
        level = [
            child
            for item in level
            if isinstance(item, (list, dict))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        limit -= 1
    return bool(level)
