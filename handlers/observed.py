"""Each HTTP request counted by what it was for, how it ended and how long it took."""

from collections.abc import Callable

from tornado.web import RequestHandler

from handlers.api.base import ApiHandler
from handlers.engine import EngineHandler
from handlers.pages import Page, Static
from handlers.websocket import NativeSocket
from services.metrics import HELD, OTHER, ROUTES, Counts

KINDS: list[tuple[type[RequestHandler], str]] = [
    (Static, "static"),
    (Page, "pages"),
    (EngineHandler, "socketio"),
    (NativeSocket, "websocket"),
]


def route_of(handler: RequestHandler) -> str:
    """One of `ROUTES`: the tag of a path of the API, or the kind of what else there is."""
    if isinstance(handler, ApiHandler):
        tag = next(iter(handler.routes.values())).tag
        return tag if tag in ROUTES else OTHER
    return next((name for kind, name in KINDS if isinstance(handler, kind)), OTHER)


def measured(counts: Counts) -> Callable[[RequestHandler], None]:
    """Tornado calls it at the end of each request."""

    def ended(handler: RequestHandler) -> None:
        where = route_of(handler)
        seconds = None if where in HELD else handler.request.request_time()
        counts.request(where, handler.get_status(), seconds)

    return ended
