"""Who knocks: origins, addresses behind proxies, and the bearer of a token or cookie. The same for all doors."""

from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest

from config.settings import Settings
from services.accounts import Device, Identity
from services.container import Services
from services.errors import AuthError, Forbidden

COOKIE = "maru_session"
SAFE = ("GET", "HEAD", "OPTIONS")


def client_ip(request: HTTPServerRequest, settings: Settings) -> str:
    """The address of who asks. X-Forwarded-For is believed only as far as our own proxies wrote it: from its end."""
    address = request.remote_ip or ""
    if not settings.trusted_proxies:
        return address
    networks = [ip_network(word, strict=False) for word in settings.trusted_proxies]

    def trusted(text: str) -> bool:
        try:
            return any(ip_address(text) in network for network in networks)
        except ValueError:
            return False

    forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    while forwarded and trusted(address):
        candidate = forwarded.pop()
        try:
            ip_address(candidate)
        except ValueError:
            break
        address = candidate
    return address


def device(request: HTTPServerRequest, settings: Settings) -> Device:
    return Device(request.headers.get("User-Agent", "").replace("\0", ""), client_ip(request, settings))


def same_origin(request: HTTPServerRequest) -> bool:
    """Does the browser say that the page asking is ours?"""
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site") == "same-origin"
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == request.host.lower()


def listed_origin(request: HTTPServerRequest, settings: Settings) -> bool:
    origin = request.headers.get("Origin", "").rstrip("/").lower()
    return any(word == "*" or word.rstrip("/").lower() == origin for word in settings.allowed_origins)


def origin_allowed(request: HTTPServerRequest, settings: Settings) -> bool:
    """No Origin is no browser page: fine, its token speaks for it. Else our own host, or one that is listed."""
    if "Origin" not in request.headers:
        return True
    return same_origin(request) or listed_origin(request, settings)


def token_of(request: HTTPServerRequest) -> str | None:
    """A bearer token from the header, or from the subprotocols that a browser's WebSocket can send."""
    header = request.headers.get("Authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise AuthError("auth.invalid", "Authorization is `Bearer <token>`.")
        return token.strip()
    for word in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
        if word.strip().startswith("bearer."):
            return word.strip().removeprefix("bearer.")
    return None


async def bearer_of(
    request: HTTPServerRequest, services: Services, token: str | None = None, *, opens_socket: bool = False
) -> Identity:
    """Who asks, by the token shown, else by that of the request, else by its cookie.

    Raises AuthError; Forbidden when a cookie comes with a foreign page's request.
    """
    token = token if token is not None else token_of(request)
    if token is not None:
        return await services.accounts.by_token(token)
    cookie = request.cookies.get(COOKIE)
    if cookie is None or not cookie.value:
        raise AuthError("auth.missing", "Sign in first.")
    changes = request.method not in SAFE or opens_socket
    # A browser sends the cookie whoever made it ask. Only our own pages, or listed ones, may act with it.
    if changes and not (
        same_origin(request) or ("Origin" in request.headers and listed_origin(request, services.settings))
    ):
        raise Forbidden("auth.forbidden", "This page may not act for you.")
    return await services.accounts.by_cookie(cookie.value)
