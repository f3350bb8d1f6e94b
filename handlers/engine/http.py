"""The Tornado handler of the Engine.IO path.

Every check is made before the first byte of an answer: once a WebSocket has its 101, an error can't be told any more.
"""

import asyncio
from typing import Any

import msgspec
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler, stream_request_body

from handlers.engine.packets import PacketError
from handlers.engine.server import EngineServer
from handlers.engine.session import Reason, Session
from handlers.engine.transports import ClientGone, PollRefused
from handlers.frames import FrameSocket
from services.realtime import closing

# The reference's codes: its clients show them.
UNKNOWN_TRANSPORT = (0, "Transport unknown")
UNKNOWN_SID = (1, "Session ID unknown")
BAD_HANDSHAKE_METHOD = (2, "Bad handshake method")
BAD_REQUEST = (3, "Bad request")
FORBIDDEN = (4, "Forbidden")
UNSUPPORTED_VERSION = (5, "Unsupported protocol version")

# A body somewhat over the limit is read and thrown away, so that its sender can read the 413: closing a connection
# with unread input resets it, and the answer is lost on the way. A huge one is not worth that.
DISCARD_UP_TO = 8


@stream_request_body
class EngineHandler(FrameSocket):
    """Route it as `(r"/socket.io/", EngineHandler, {"engine": sio.eio})`."""

    def initialize(self, engine: EngineServer) -> None:
        self._engine = engine
        self._session: Session | None = None
        self._body: bytearray | None = None
        self._received = 0
        self._unwanted = False

    # Checks

    def prepare(self) -> None:
        most = self._engine.max_payload * DISCARD_UP_TO
        self.request.connection.set_max_body_size(most)  # type: ignore[union-attr]
        if not self._engine.origin_allowed(self.request):
            self._refuse(403, FORBIDDEN)
            return
        self._allow_origin()
        if self.request.method == "OPTIONS":
            return
        problem = self._problem()
        if problem is not None:
            self._refuse(400, problem)
        elif self._session is None and not self._engine.accepting:
            self.set_header("Retry-After", "1")
            self._refuse(503, BAD_REQUEST)
        elif _announced(self.request) > most:
            self._refuse_body()

    def _problem(self) -> tuple[int, str] | None:
        """What is wrong with this request, if anything; finds its session."""
        if self._query("EIO") != "4":
            return UNSUPPORTED_VERSION
        if self._query("j") is not None:  # JSONP: script tags, which know no origin
            return BAD_REQUEST
        transport = self._query("transport")
        if transport not in ("polling", "websocket"):
            return UNKNOWN_TRANSPORT
        is_upgrade = self.request.headers.get("Upgrade", "").lower() == "websocket"
        if is_upgrade != (transport == "websocket"):
            return BAD_REQUEST
        sid = self._query("sid")
        if sid is None:
            return None if self.request.method == "GET" else BAD_HANDSHAKE_METHOD
        self._session = self._engine.find(sid)
        if self._session is None:
            return UNKNOWN_SID
        if is_upgrade:
            return None if self.request.method == "GET" else BAD_REQUEST
        return None if self._session.polling is not None and self.request.method in ("GET", "POST") else BAD_REQUEST

    def _query(self, name: str) -> str | None:
        values = self.request.query_arguments.get(name)
        return values[-1].decode("utf-8", "replace") if values else None

    def _refuse(self, status: int, problem: tuple[int, str]) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(msgspec.json.encode({"code": problem[0], "message": problem[1]}))

    def _refuse_body(self) -> None:
        """The session ends, as with a WebSocket message over the limit. The reference keeps it, and its client waits
        for acknowledgements of packets that nobody has read."""
        if self._session is not None:
            self._session.close(closing.TOO_BIG, Reason.TRANSPORT_CLOSE, abort=True)
        self._refuse(413, BAD_REQUEST)

    def _allow_origin(self) -> None:
        origin = self.request.headers.get("Origin")
        if origin is not None:
            self.set_header("Access-Control-Allow-Origin", origin)
            self.set_header("Access-Control-Allow-Credentials", "true")
            self.set_header("Vary", "Origin")

    def check_origin(self, origin: str) -> bool:
        return True  # prepare has asked origin_allowed, for both transports alike

    def check_trusted_origin(self, origin: str) -> bool:
        return True

    def check_xsrf_cookie(self) -> None:
        """Not ours: a sid can't be guessed, and the origin is checked."""

    def set_default_headers(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.clear_header("Server")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A fault of ours, or a method that HTTP does not know. `send_error` has cleared what `prepare` set."""
        if self._engine.origin_allowed(self.request):
            self._allow_origin()
        self._refuse(status_code, (BAD_REQUEST[0], self._reason))

    def compute_etag(self) -> None:
        return None  # an answer is never the same twice

    # Polling

    def options(self) -> None:
        self.set_header("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
        wanted = self.request.headers.get("Access-Control-Request-Headers")
        if wanted:
            self.set_header("Access-Control-Allow-Headers", wanted)
        self.set_header("Access-Control-Max-Age", "600")
        self.set_status(204)

    async def get(self, *args: Any, **kwargs: Any) -> None:
        if self._query("transport") == "websocket":
            await self._get_websocket()
            return
        session = self._session
        if session is None:
            session = self._session = await self._engine.open_session(self.request)
            session.handshake(["websocket"])
        try:
            body = await session.poll()
        except PollRefused:
            self._refuse(400, BAD_REQUEST)
        except ClientGone:
            pass
        else:
            self._answer(body)

    def data_received(self, chunk: bytes) -> None:
        self._received += len(chunk)
        if self._received <= self._engine.max_payload:
            if self._body is None:
                self._body = bytearray()
            self._body += chunk

    async def post(self) -> None:
        assert self._session is not None
        if self._received > self._engine.max_payload:
            self._refuse_body()
            return
        try:
            room = self._session.receive_payload(bytes(self._body or b""))
        except PacketError:
            self._refuse(400, BAD_REQUEST)
            return
        if room is not None:
            await room  # the client sends its next POST when this one is answered
        self._answer(b"ok")

    def put(self) -> None:
        self._refuse(400, BAD_REQUEST)

    delete = patch = head = put

    def _answer(self, body: bytes) -> None:
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(body)

    # WebSocket

    async def _get_websocket(self) -> None:
        """Runs as long as the WebSocket lives."""
        if self._session is not None:
            if self._session.can_upgrade:
                self._session.begin_upgrade(self)
            else:
                # A second WebSocket of a session. The reference lets it in and closes it, and its test suite
                # counts a 400 as a crash of the client.
                self._session, self._unwanted = None, True
        try:
            await super().get()
        finally:
            self.on_close()  # Tornado does not call it when the handshake or `open` failed

    @property
    def max_message_size(self) -> int:
        return self._engine.max_payload

    def get_compression_options(self) -> None:
        return None  # 150 KB a connection, and each frame would be compressed once a reader

    async def open(self, *args: Any, **kwargs: Any) -> None:
        self.set_nodelay(True)  # Tornado switches it off behind the HTTP answer; without it each token takes 41 ms
        if self._unwanted:
            self.close(1002, "the session has a WebSocket")
            return
        if self._session is not None:
            if self._session.upgrade is not None:
                self._session.upgrade.opened()
            return
        self._session = await self._engine.open_session(self.request)
        self._session.use(self)
        self._session.handshake([])

    def on_text(self, data: bytes) -> "asyncio.Future[None] | None":
        return self.on_message(data.decode())

    def on_binary(self, data: bytes) -> "asyncio.Future[None] | None":
        return self.on_message(data)

    def on_message(self, message: str | bytes) -> "asyncio.Future[None] | None":
        session = self._session
        if session is None:  # unwanted
            return None
        if session.is_socket_of(self):
            return session.receive_frame(message)
        if session.upgrade is not None and session.upgrade.handler is self:
            session.upgrade.receive(message)
        return None

    def on_connection_close(self) -> None:
        if self.get_status() == 101:
            super().on_connection_close()
            return
        RequestHandler.on_connection_close(self)  # past WebSocketHandler's, which takes every request for a WebSocket
        if self._session is not None and self._session.polling is not None and self.request.method == "GET":
            self._session.polling.client_gone()

    def on_close(self) -> None:
        if self._session is not None:
            self._session.socket_closed(self)


def _announced(request: HTTPServerRequest) -> int:
    length = request.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() else 0
