"""The Engine.IO v4 wire format: bytes to packets and back. Pure; no I/O, no state.

A text packet is one digit and its data; a binary message is a WebSocket binary frame, or `b` and base64 where only
text can travel. A payload is packets joined by U+001E.
Source: https://github.com/socketio/engine.io-protocol (revision 4).
"""

import binascii
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP = "0123456"
KINDS = frozenset("0123456")
SEPARATOR = "\x1e"

# maxPayload is the real limit; this one keeps a payload of nothing but separators from becoming a million objects.
MAX_PACKETS_PER_PAYLOAD = 10_000

BINARY_FRAME = 0x82  # FIN and opcode 2, RFC 6455 section 5.2


class PacketError(ValueError):
    """What a client sent is no packet. Its text is safe to log: it never carries the client's data."""


class Packet(NamedTuple):
    """One received packet. `data` is bytes for a binary message only."""

    kind: str
    data: str | bytes = ""


class Outgoing(NamedTuple):
    """One packet on its way out: the whole text packet as UTF-8, or the bare bytes of a binary message."""

    data: bytes
    binary: bool = False


def decode_packet(encoded: str | bytes) -> Packet:
    """Raises PacketError, and nothing else, for whatever is no packet."""
    if isinstance(encoded, bytes):
        return Packet(MESSAGE, encoded)
    kind = encoded[:1]
    if kind == "b":
        return Packet(MESSAGE, _base64(encoded[1:]))
    if kind not in KINDS:
        raise PacketError("unknown engine packet type")
    return Packet(kind, encoded[1:])


def decode_payload(body: bytes) -> list[Packet]:
    """The packets of one POST. Raises PacketError when any of them is none: half a payload is worth nothing."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise PacketError("payload is not UTF-8") from None
    if text.count(SEPARATOR) >= MAX_PACKETS_PER_PAYLOAD:
        raise PacketError("too many packets in one payload")
    return [decode_packet(encoded) for encoded in text.split(SEPARATOR)]


def encode_payload(packets: Iterable[Outgoing]) -> bytes:
    return SEPARATOR.encode().join(
        b"b" + binascii.b2a_base64(p.data, newline=False) if p.binary else p.data for p in packets
    )


def open_packet(
    sid: str, upgrades: list[str], ping_interval_s: float, ping_timeout_s: float, max_payload: int
) -> bytes:
    """The handshake. Milliseconds, rounded: 0.3 s must not be announced as 0."""
    return OPEN.encode() + msgspec.json.encode(
        {
            "sid": sid,
            "upgrades": upgrades,
            "pingInterval": round(ping_interval_s * 1000),
            "pingTimeout": round(ping_timeout_s * 1000),
            "maxPayload": max_payload,
        }
    )


def binary_frame(payload: bytes) -> bytes:
    """The complete, unmasked server frame of one binary message."""
    size = len(payload)
    if size < 126:
        return bytes((BINARY_FRAME, size)) + payload
    if size < 65536:
        return bytes((BINARY_FRAME, 126)) + size.to_bytes(2, "big") + payload
    return bytes((BINARY_FRAME, 127)) + size.to_bytes(8, "big") + payload


def _base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error, and text beyond ASCII
        raise PacketError("bad base64") from None
