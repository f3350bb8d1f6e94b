r"""JSON in which half of a surrogate pair stands alone, as `\ud83d`: what `JSON.stringify` makes of an emoji cut in two.

It is JSON, and no text: no decoder of ours takes it. Asked for after one has failed.
"""

import re

ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
REFUSED = rb"\u0000"  # which is wrong in any text, and is told as such
SHOWN = rb"\ufffd"


def mended(data: bytes, instead: bytes = REFUSED) -> bytes | None:
    """The same with `instead` for each half that stands alone; None when there is none."""
    found = False

    def one(escape: re.Match[bytes]) -> bytes:
        nonlocal found
        if escape.group(1) is None:
            return escape.group()
        found = True
        return instead

    made = ESCAPE.sub(one, data)
    return made if found else None
