"""What everybody wrote down: lines of JSON in the order of time (`checker` says what they mean)."""

import time
from pathlib import Path
from typing import Any

import msgspec

KEPT = ("id", "roomId", "seq", "changedSeq", "userId", "role", "text", "status", "attempt", "replyTo", "deleted")


class Journal:
    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb", buffering=1 << 20)  # noqa: SIM115
        self._encoder = msgspec.json.Encoder()

    def write(self, what: str, **fields: Any) -> None:
        self._file.write(self._encoder.encode({"e": what, "t": time.time(), **fields}) + b"\n")

    def close(self) -> None:
        self._file.close()


def compact(message: dict[str, Any]) -> dict[str, Any]:
    """What the checker compares of a message."""
    return {name: message[name] for name in KEPT if name in message}
