"""All Engine.IO sessions of the process, and the interface that socketio.AsyncServer expects of an Engine.IO server."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tornado.httputil import HTTPServerRequest

from handlers.engine.session import Reason, Session

Handler = Callable[..., Awaitable[Any]]


def every_origin(request: HTTPServerRequest) -> bool:
    return True


class EngineServer:
    """ping_interval, ping_timeout: seconds. max_payload: bytes of one POST or one WebSocket message.
    origin_allowed: asked for each request; False is answered 403 before anything else.
    max_unsent: bytes that may wait for one client before it is closed, a last defence behind the outbox's own limit.
    drop_above: bytes that wait before droppable packets are left out.
    linger: seconds that a closed polling session waits for the GET that takes its last packets.
    spawn: starts a task and owns it; without one the server does so itself.
    clock: of the heartbeat, in seconds. Not the loop's: uvloop's stands still while the loop works.
    others: python-socketio passes options of python-engineio, which have no meaning here.
    """

    async_mode = "tornado"  # python-socketio shows it
    reason = Reason

    def __init__(
        self,
        *,
        ping_interval: float = 25.0,
        ping_timeout: float = 20.0,
        max_payload: int = 1_048_576,
        origin_allowed: Callable[[HTTPServerRequest], bool] = every_origin,
        max_unsent: int = 4 * 1_048_576,
        drop_above: int = 256 * 1024,
        linger: float = 2.0,
        spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"] | None = None,
        clock: Callable[[], float] = time.monotonic,
        **others: Any,
    ) -> None:
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.max_payload = max_payload
        self.origin_allowed = origin_allowed
        self.max_unsent = max_unsent
        self.drop_above = drop_above
        self.linger = linger
        self.accepting = True  # False while draining: a handshake is answered 503, sessions live on
        self.clock = clock
        self.spawn = spawn or self._spawn
        self.sessions: dict[str, Session] = {}
        self._handlers: dict[str, Handler] = {}
        # Asked before `message`, of what finds nothing before it: handled without waiting? May raise like `message`.
        self.at_once: Callable[[Session, str | bytes], bool] = lambda session, data: False
        self._tasks: set[asyncio.Task[Any]] = set()

    def on(self, event: str, handler: Handler) -> None:
        """event: `connect` (sid, session), `message` (sid, data) or `disconnect` (sid, reason); one handler each."""
        self._handlers[event] = handler

    # What the HTTP handler uses

    async def open_session(self, request: HTTPServerRequest) -> Session:
        session = Session(self, self.generate_id(), request)
        self.sessions[session.sid] = session
        try:
            if handler := self._handlers.get("connect"):
                await handler(session.sid, session)
        except BaseException:
            session.close(abort=True)
            raise
        return session

    def find(self, sid: str) -> Session | None:
        """The session, unless it has missed its PONG: whoever asks is told so, not whenever a timer fires."""
        session = self.sessions.get(sid)
        if session is not None and session.expired():
            session.time_out()
            return self.sessions.get(sid)
        return session

    # What a session uses

    async def message(self, session: Session, data: str | bytes) -> None:
        if handler := self._handlers.get("message"):
            await handler(session.sid, data)

    async def disconnected(self, session: Session, reason: str) -> None:
        if handler := self._handlers.get("disconnect"):
            await handler(session.sid, reason)

    def forget(self, session: Session) -> None:
        self.sessions.pop(session.sid, None)

    # What python-socketio uses

    async def send(self, sid: str, data: str | bytes) -> None:
        if session := self.sessions.get(sid):
            session.send(data)

    async def send_packet(self, sid: str, packet: Any) -> None:
        """packet: an engineio.packet.Packet of type MESSAGE, the only one that python-socketio sends."""
        await self.send(sid, packet.data)

    async def disconnect(self, sid: str | None = None) -> None:
        """Close one session, or all of them."""
        closing = list(self.sessions.values()) if sid is None else [self.sessions.get(sid)]
        for session in closing:
            if session is not None:
                session.close()

    async def shutdown(self) -> None:
        await self.disconnect()

    async def get_session(self, sid: str) -> dict[str, Any]:
        session = self.sessions[sid]
        if session.store is None:
            session.store = {}
        return session.store

    async def save_session(self, sid: str, store: dict[str, Any]) -> None:
        self.sessions[sid].store = store

    def transport(self, sid: str) -> str:
        return self.sessions[sid].transport

    def generate_id(self) -> str:
        """120 random bits: to a polling client the sid is all that proves who it is."""
        return secrets.token_urlsafe(15)

    def start_background_task(self, target: Handler, *args: Any, **kwargs: Any) -> "asyncio.Task[Any]":
        return self._spawn(_call(target, *args, **kwargs))

    async def sleep(self, seconds: float = 0) -> None:
        await asyncio.sleep(seconds)

    def create_event(self) -> asyncio.Event:
        return asyncio.Event()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop keeps only a weak reference
        task.add_done_callback(self._tasks.discard)
        return task


async def _call(target: Handler, *args: Any, **kwargs: Any) -> Any:
    return await target(*args, **kwargs)
