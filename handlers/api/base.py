"""REST: a table of routes, and one handler that serves them all.

A route says what it takes and gives as types; decoding, errors and the served reference come from that. What it does is
one coroutine of a `Call`.
"""

import base64
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from tornado.web import RequestHandler, stream_request_body

from config.logs import request_of, room_of
from handlers.api.problems import Answering, BadRequest, allow_origin, request_id, write_problem
from handlers.door import COOKIE, bearer_of, device
from handlers.protocol import as_invalid, with_whole
from models.database import DatabaseUnavailable
from services import surrogates
from services.accounts import UUID, Device, Identity, is_uuid
from services.container import Services
from services.errors import ChatError, Forbidden, Invalid, NotFound, message_not_found, room_not_found, unavailable
from services.realtime.events import encode

Method = Literal["GET", "HEAD", "POST", "PATCH", "DELETE"]
JSON = "application/json"
DISCARD_BYTES = 64 * 1024 * 1024
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Body(Struct, rename="camel"):
    """What a request brings. A field that may be left out is UNSET then; null is an error unless it is declared."""


class Query(Struct, rename="camel"):
    """Parameters of a query, read from strings."""


class Answer(Struct, omit_defaults=True, rename="camel"):
    """What a request is answered with."""


@dataclass(frozen=True)
class Route:
    """path: `/rooms/{roomId}`; parameters that end in Id must be UUIDs, else 404. who: "user", "admin" or None."""

    method: Method
    path: str
    run: Callable[["Call"], Awaitable[Any]]
    summary: str
    tag: str
    body: type[Struct] | None = None
    query: type[Struct] | None = None
    reply: Any = None
    status: int = 200
    who: Literal["user", "admin"] | None = "user"
    also: tuple[int, ...] = ()  # further statuses of success

    @property
    def media(self) -> tuple[str, ...]:
        """What a body may call itself. A PATCH is a merge patch, RFC 7396, and may say so."""
        return (JSON, "application/merge-patch+json") if self.method == "PATCH" else (JSON,)

    @property
    def pattern(self) -> str:
        return re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path)


class Call:
    """One request, decoded."""

    def __init__(self, handler: "ApiHandler", route: Route, path: dict[str, str]) -> None:
        self.handler = handler
        self.services: Services = handler.services
        self.path = path
        self.body: Any = None
        self.query: Any = None
        self.status = route.status
        self._who: Identity | None = handler.identity

    @property
    def who(self) -> Identity:
        assert self._who is not None
        return self._who

    @property
    def device(self) -> Device:
        return device(self.handler.request, self.services.settings)

    @property
    def base_url(self) -> str:
        settings = self.services.settings
        return settings.public_url.rstrip("/") or f"{self.handler.request.protocol}://{self.handler.request.host}"

    def set_cookie(self, value: str) -> None:
        settings = self.services.settings
        secure = settings.secure_cookies or self.handler.request.protocol == "https"
        self.handler.set_cookie(
            COOKIE, value, httponly=True, samesite="Lax", secure=secure, path="/", max_age=settings.refresh_token_s
        )

    def clear_cookie(self) -> None:
        self.handler.clear_cookie(COOKIE, path="/")


@stream_request_body
class ApiHandler(Answering):
    """Serves the routes of one path."""

    def initialize(self, services: Services, routes: Sequence[Route]) -> None:
        self.services = services
        self.routes = {route.method: route for route in routes}
        self.identity: Identity | None = None
        self._received = bytearray()
        self._too_large = False
        self._refusal: ChatError | None = None

    def set_default_headers(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    async def prepare(self) -> None:
        self.set_header("X-Request-Id", request_id(self))
        request_of.set(request_id(self))
        allow_origin(self)
        # An oversized body is read to its end and thrown away, so that the client gets to hear why.
        self.request.connection.set_max_body_size(DISCARD_BYTES)  # type: ignore[union-attr]
        route = self.routes.get(self.request.method)  # type: ignore[call-overload]
        if route is not None and route.who is not None:
            try:
                self.identity = await bearer_of(self.request, self.services)
                if route.who == "admin" and self.identity.role != "admin":
                    raise Forbidden("auth.forbidden", "Only administrators may do this.")
            except ChatError as error:
                self._refusal = error  # told once the body is read: who answers earlier breaks the connection
            except DatabaseUnavailable:
                self._refusal = unavailable()

    def data_received(self, chunk: bytes) -> None:
        if len(self._received) + len(chunk) > self.services.settings.max_body_bytes:
            self._too_large = True
            self._received.clear()
        elif not self._too_large:
            self._received += chunk

    async def get(self, **path: str) -> None:
        await self._serve("GET", path)

    async def head(self, **path: str) -> None:
        await self._serve("HEAD", path)

    async def post(self, **path: str) -> None:
        await self._serve("POST", path)

    async def patch(self, **path: str) -> None:
        await self._serve("PATCH", path)

    async def delete(self, **path: str) -> None:
        await self._serve("DELETE", path)

    def options(self, **path: str) -> None:
        self.set_header("Allow", self.allowed())
        preflight(self, self.allowed())

    def allowed(self) -> str:
        return ", ".join([*self.routes, "OPTIONS"])

    async def _serve(self, method: Method, path: dict[str, str]) -> None:
        route = self.routes.get(method)
        if route is None:
            self.send_error(405)
            return
        try:
            if self._refusal is not None:
                raise self._refusal
            if self._too_large:
                most = self.services.settings.max_body_bytes
                raise Invalid("request.too_large", f"A body has at most {most:,} bytes.")
            call = Call(self, route, {name: self._path(name, value) for name, value in path.items()})
            if route.query is not None:
                call.query = self._query(route.query)
            if route.body is not None:
                call.body = self._body(route.body, route.media)
            answer = await route.run(call)
        except ChatError as error:
            self._refuse(error)
            return
        except DatabaseUnavailable:
            self._refuse(unavailable())
            return
        if self._finished:
            return  # it wrote its answer itself
        self.set_status(call.status)
        if answer is None:
            if call.status == 200:
                self.set_status(204)
            self.clear_header("Content-Type")
            self.finish()
        else:
            self.finish(encode(answer))

    def _refuse(self, error: ChatError) -> None:
        if not self._headers_written:
            self.clear()  # the beginning of an export
        write_problem(self, error)

    def _path(self, name: str, value: str) -> str:
        if name.endswith("Id"):
            if not is_uuid(value):
                raise {"roomId": room_not_found, "messageId": message_not_found}.get(name, nothing_here)()
            if name == "roomId":
                room_of.set(value.lower())
            return value.lower()
        return value

    def _query(self, kind: type[Struct]) -> Any:
        fields: dict[str, str] = {}
        for part in self.request.query.split("&"):
            name, _, value = part.replace("+", " ").partition("=")
            try:
                fields[unquote_to_bytes(name).decode()] = unquote_to_bytes(value).decode()
            except UnicodeDecodeError:
                raise BadRequest("The query is not UTF-8.") from None
        for name, value in fields.items():
            if "\0" in value:
                raise BadRequest("A parameter can't hold U+0000.", name)
        try:
            return msgspec.convert(fields, kind, strict=False)
        except (msgspec.ValidationError, OverflowError) as error:
            fault = as_invalid(error)
            raise BadRequest(fault.message, fault.field) from None

    def _body(self, kind: type[Struct], media: Sequence[str]) -> Any:
        if not self._received:
            if required(kind):
                raise BadRequest("A JSON body is needed.")
            return kind()
        sort = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if sort not in media:
            raise Invalid("request.unsupported_media", f"The body must be {' or '.join(media)}.")
        try:
            return surrogates.decoded(bytes(self._received), partial(decoded, kind), msgspec.DecodeError)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, OverflowError) as error:
            raise BadRequest(f"The body is not JSON: {error}") from None


class NotFoundHandler(Answering):
    """Whatever has no route."""

    def initialize(self, services: Services) -> None:
        self.services = services

    def set_default_headers(self) -> None:
        self.set_header("X-Content-Type-Options", "nosniff")

    def prepare(self) -> None:
        if self.request.method == "OPTIONS" and allow_origin(self):
            preflight(self, self.request.headers.get("Access-Control-Request-Method", "GET"))
            self.finish()
        else:
            write_problem(self, nothing_here())

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        write_problem(self, nothing_here())  # a method that HTTP does not know


def preflight(handler: RequestHandler, methods: str) -> None:
    """The answer to a browser that asks whether a page may ask."""
    handler.set_status(204)
    handler.clear_header("Content-Type")
    handler.set_header("Access-Control-Allow-Methods", methods)
    handler.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type")
    handler.set_header("Access-Control-Max-Age", "600")


def nothing_here() -> NotFound:
    return NotFound("request.not_found", "There is nothing here.")


# -- pieces that many routes share


def decoded(kind: type[Struct], raw: bytes) -> Any:
    """A body. Raises Invalid for a wrong type, msgspec's and Python's errors for what is no JSON."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        wrong = error
    try:
        value = msgspec.json.decode(raw)  # it stops at the first wrong type; what follows may not even be JSON
    except msgspec.ValidationError:  # a number that no float holds: JSON all the same
        raise as_invalid(wrong) from None
    try:
        return with_whole(wrong, value, kind)
    except msgspec.ValidationError as error:
        raise as_invalid(error) from None


def required(kind: type[Struct]) -> bool:
    """Has a body of this type a field that can't be left out?"""
    return any(field.required for field in msgspec.structs.fields(kind))


def cursor_of(*key: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


# Of a cursor: text that Postgres takes for a UUID.
Id = Annotated[str, Meta(pattern=rf"\A{UUID.pattern}\Z")]


def from_cursor(text: str | UnsetType, *kinds: Any) -> Any:
    """The key that `cursor_of` wrote, as a tuple; None for no cursor. Raises BadRequest for anything else."""
    if text is UNSET or text == "":
        return None
    try:
        raw = base64.urlsafe_b64decode(str(text) + "=" * (-len(str(text)) % 4))
        key = msgspec.json.decode(raw, type=tuple.__class_getitem__(kinds))
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise BadRequest("This cursor is not one that was given out.", "cursor") from None
    if any(isinstance(part, str) and "\0" in part for part in key):
        raise BadRequest("This cursor is not one that was given out.", "cursor")
    return key


T = TypeVar("T")


def piece(
    found: Iterable[T], query: Any, key: Callable[[T], tuple[Any, ...]], *kinds: Any, newest_first: bool = False
) -> tuple[list[T], str | None]:
    """A page, and its `next`, of a list that is short enough to be read whole. query: with `cursor` and `limit`.

    key: what the list is ordered by, different for each item; it goes out in the cursor, so that items which come and go
    meanwhile neither hide others nor bring them twice. kinds: the types of its parts.
    """
    after = from_cursor(query.cursor, *kinds)
    left = sorted(found, key=key, reverse=newest_first)
    if after is not None:
        left = [one for one in left if (key(one) < after if newest_first else key(one) > after)]
    page = left[: query.limit]
    return page, cursor_of(*key(page[-1])) if len(left) > len(page) else None


def by_place(found: Iterable[T], query: Any) -> tuple[list[T], str | None]:
    """The same for a list whose order nothing but itself knows."""
    page, more = piece(enumerate(found), query, lambda one: (one[0],), int)
    return [one for _, one in page], more


def time_of(text: str, field: str) -> datetime:
    """An RFC 3339 time."""
    try:
        return plain_time(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise BadRequest("This is no RFC 3339 time.", field) from None


def plain_time(at: datetime) -> datetime:
    """In UTC and not before 1970: Postgres knows fewer offsets than Python, and nothing here is older.

    Raises OverflowError at the far end of the calendar.
    """
    return max(EPOCH, at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC))


def or_none(value: Any) -> Any:
    return None if value is UNSET else value
