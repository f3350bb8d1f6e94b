"""Errors over HTTP: RFC 9457 problem documents, one shape for all."""

from http.client import responses
from typing import Any

import msgspec
from tornado.web import HTTPError, RequestHandler

from handlers.door import listed_origin
from models.base import new_id
from models.database import DatabaseUnavailable
from services.errors import (
    AuthError,
    ChatError,
    Conflict,
    Forbidden,
    Invalid,
    Limited,
    NotFound,
    Unavailable,
    unavailable,
)
from services.realtime.events import encode

BY_CODE = {"request.too_large": 413, "request.unsupported_media": 415, "internal": 500}
BY_CLASS: list[tuple[type[ChatError], int]] = [
    (AuthError, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Invalid, 422),
    (Limited, 429),
    (Unavailable, 503),
]


class BadRequest(ChatError):
    """Not JSON, or a query that can't be understood."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__("request.invalid", message, field=field)


class Problem(msgspec.Struct, omit_defaults=True, rename="camel"):
    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    field: str | None = None
    retry_after_ms: int | None = None


def status_of(error: ChatError) -> int:
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    return next((status for kind, status in BY_CLASS if isinstance(error, kind)), 400)


def request_id(handler: RequestHandler) -> str:
    made: str = handler.__dict__.setdefault("_request_id", "")
    if not made:
        made = handler.__dict__["_request_id"] = new_id()
    return made


def allow_origin(handler: RequestHandler) -> bool:
    """Let the page that asks read the answer, when its origin is listed. Is it?"""
    services = getattr(handler, "services", None)
    origin = handler.request.headers.get("Origin")
    if services is None or origin is None or not listed_origin(handler.request, services.settings):
        return False
    handler.set_header("Access-Control-Allow-Origin", origin)
    handler.set_header("Access-Control-Allow-Credentials", "true")
    handler.set_header("Access-Control-Expose-Headers", "X-Request-Id, Retry-After")
    handler.set_header("Vary", "Origin")
    return True


def write_problem(handler: RequestHandler, error: ChatError, status: int | None = None) -> None:
    """Answer with the problem, and finish; where an answer has begun, break it off, so that it does not look whole."""
    if handler._headers_written:
        handler.request.connection.stream.close()  # type: ignore[union-attr]
        handler.finish()
        return
    status = status or status_of(error)
    handler.set_status(status, responses.get(status, "Error"))
    handler.set_header("Content-Type", "application/problem+json")
    handler.set_header("Cache-Control", "no-store")
    # `send_error` has cleared what was set.
    handler.set_header("X-Request-Id", request_id(handler))
    allow_origin(handler)
    if status == 401:
        handler.set_header("WWW-Authenticate", 'Bearer realm="maru"')
    if status == 429:
        handler.set_header("Retry-After", str(max(1, -(-(error.retry_after_ms or 1000) // 1000))))
    problem = Problem(
        type=f"/docs#{error.code}",
        title=responses.get(status, "Error"),
        status=status,
        code=error.code,
        detail=error.message,
        request_id=request_id(handler),
        field=error.field,
        retry_after_ms=error.retry_after_ms,
    )
    handler.finish(encode(problem))


def from_status(status: int) -> ChatError:
    """A plain HTTP error of Tornado's as one of ours."""
    by_status: dict[int, tuple[str, str]] = {
        400: ("request.invalid", "The request can't be understood."),
        404: ("request.not_found", "There is nothing here."),
        405: ("request.invalid", "This path does not take that method."),
        413: ("request.too_large", "The body is too large."),
    }
    code, message = by_status.get(status, ("internal", "Something went wrong here. Try again."))
    return ChatError(code, message)


class Answering(RequestHandler):
    """What a request can be answered with at worst: a problem."""

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """What is no text is looked for like any other, and not found: Tornado's 400 would come before `prepare`, so
        also to who shows no token, and Postgres knows no U+0000."""
        return value.decode("utf-8", "replace").replace("\0", "\ufffd")

    def allowed(self) -> str:
        """The methods of this path."""
        unknown = RequestHandler._unimplemented_method
        return ", ".join(name for name in self.SUPPORTED_METHODS if getattr(type(self), name.lower()) is not unknown)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        if self._headers_written:
            self.write_error(status_code, **kwargs)  # Tornado would end the answer as if it were whole
        else:
            super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:
            self.set_header("Allow", self.allowed())
        any_problem(self, status_code, kwargs.get("exc_info"))


def any_problem(handler: RequestHandler, status: int, exc_info: Any) -> None:
    """For `write_error`: whatever ends a request ends as a problem."""
    error = exc_info[1] if exc_info else None
    if isinstance(error, ChatError):
        write_problem(handler, error)
    elif isinstance(error, DatabaseUnavailable):
        write_problem(handler, unavailable())
    else:
        services = getattr(handler, "services", None)
        if error is not None and not isinstance(error, HTTPError) and services is not None:
            services.counts.internal("http", error, request_id(handler))
        write_problem(handler, from_status(status), status)
