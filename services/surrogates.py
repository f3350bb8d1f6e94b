r"""JSON in which half of a surrogate pair stands alone, as `\ud83d`: what `JSON.stringify` makes of an emoji cut in two.

It is JSON, and no text: msgspec does not take it. Looked for only where decoding has failed.
"""

import re
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
Source = TypeVar("Source", bytes, str)

HIGH, LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
HALF = re.compile(rb"\\u[dD][89a-fA-F]")
ALONE = re.compile(HIGH + b"(?!" + LOW + b")|(?<!" + HIGH + b")" + LOW)
# An escaped backslash, so that what is left of them begins an escape. No UTF-8 holds these two bytes.
BACKSLASH, PUT_BY = rb"\\", b"\xff\xff"
REFUSED = rb"\u0000"  # which is wrong in any text, and is told as such
SHOWN = rb"\ufffd"


def mended(data: bytes, instead: bytes = REFUSED) -> bytes | None:
    """The same with `instead` for each half that stands alone; None when there is none. By substitutions that need no
    call of ours for each: whoever sends half a megabyte of them shall hold up nobody."""
    if HALF.search(data) is None:
        return None
    made, count = ALONE.subn(instead.replace(b"\\", rb"\\"), data.replace(BACKSLASH, PUT_BY))
    return made.replace(PUT_BY, BACKSLASH) if count else None


def decoded(
    data: Source,
    decode: Callable[[Source | bytes], T],
    faults: type[Exception] | tuple[type[Exception], ...],
    instead: bytes = REFUSED,
) -> T:
    """What `decode` makes of it; where it raises one of `faults`, of what is left when halves that stand alone are mended."""
    try:
        return decode(data)
    except faults:
        again = mended(data.encode() if isinstance(data, str) else data, instead)
        if again is None:
            raise
    return decode(again)
