"""What can go wrong because of a person's request: one tree, a stable code each.

Raised where it is known, turned into a reply or a problem document once, at the edge. The message tells a person what
happened and what to do. Whatever is not a ChatError becomes `internal` there, and its text stays in the log.
"""


class ChatError(Exception):
    """code: one of PROTOCOL section 6. field: dotted path of what is wrong in the request."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        retry_after_ms: int | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms
        self.field = field


class AuthError(ChatError):
    """Who asks is not known, or no longer."""


class Forbidden(ChatError):
    """Who asks is known, and may not."""


class NotFound(ChatError):
    """Unknown, or not to be seen: the same answer."""


class Conflict(ChatError):
    """Right in itself, but not in this state."""


class Invalid(ChatError):
    """A field that is missing, of the wrong type or out of range."""


class Limited(ChatError):
    """Too much, too often; waiting `retry_after_ms` is always enough where it is given."""


class Unavailable(ChatError):
    """Not the asker's fault; a later try may succeed."""


def room_not_found() -> NotFound:
    return NotFound("room.not_found", "There is no such room, or you are not in it.")


def message_not_found() -> NotFound:
    return NotFound("message.not_found", "There is no such message, or you may not see it.")


def reply_not_found() -> NotFound:
    return NotFound("message.reply_not_found", "The message that you reply to is not there.", field="replyTo")


def read_only() -> Forbidden:
    return Forbidden("room.read_only", "You can read here, not write.")


def invalid(field: str, message: str) -> Invalid:
    return Invalid("request.invalid", message, field=field)


def limited(retry_after_s: float, message: str = "Too many at once. Wait a moment and try again.") -> Limited:
    # Rounded up, so that waiting exactly this long is enough.
    return Limited("rate.limited", message, retryable=True, retry_after_ms=int(retry_after_s * 1000) + 1)


def unavailable() -> Unavailable:
    return Unavailable("unavailable", "The server can't do this right now. Try again.", retryable=True)
