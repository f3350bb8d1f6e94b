"""Every path of a pod."""

from collections import defaultdict
from typing import Any

from tornado.web import url

from handlers.api import admin, auth, health, messages, reference, rooms
from handlers.api.base import ApiHandler, Route
from handlers.connection import Dispatch
from handlers.engine import EngineHandler
from handlers.pages import page_routes
from handlers.socketio_shim import SocketIODoor
from handlers.websocket import NativeSocket
from services.container import Services

ROUTES: list[Route] = [*auth.ROUTES, *rooms.ROUTES, *messages.ROUTES, *admin.ROUTES, *health.ROUTES, *reference.ROUTES]


def api_routes(services: Services) -> list[Any]:
    """One handler a path. Paths without parameters come first: `/users/me` is no user's id."""
    by_path: defaultdict[str, list[Route]] = defaultdict(list)
    for route in ROUTES:
        by_path[route.pattern].append(route)
    paths = sorted(by_path, key=lambda path: path.count("(?P"))
    return [url(path, ApiHandler, {"services": services, "routes": by_path[path]}) for path in paths]


def all_routes(services: Services, dispatch: Dispatch) -> list[Any]:
    return [
        url(r"/socket\.io/", EngineHandler, {"engine": SocketIODoor(services, dispatch).server.eio}),
        url("/ws", NativeSocket, {"services": services, "dispatch": dispatch}),
        *page_routes(services),
        *api_routes(services),
    ]
