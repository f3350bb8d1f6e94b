"""One client's connection, whatever its door: who it is, what it has asked for, what it is told.

Knows commands and events; knows nothing of frames or packets, which are its Wire's. Commands are done one after another,
in the order sent: a lone send by callbacks, everything else by a runner that exists only while there is work.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, Protocol

from config.logs import connection_of, room_of
from handlers import protocol
from handlers.protocol import Command, Reply
from models.base import new_id
from models.database import DatabaseUnavailable
from services.accounts import Identity
from services.container import Services
from services.errors import ChatError, Unavailable, unavailable
from services.limits import Window
from services.realtime import closing
from services.realtime.events import Error, Event

log = logging.getLogger("maru.connection")

QUEUE_MOST = 128
# A reply may be half a megabyte: the next command waits until the client has taken most of what it got.
REPLY_ROOM = 4
# Pieces of answers are left out for a client that is this far behind; the final message has the whole text.
PIECES_ROOM = 8
# A client has this long to show a fresh token after the old one ran out.
EXPIRY_GRACE_S = 15.0


class Wire(Protocol):
    """A connection's transport. Nothing here waits or raises."""

    @property
    def unsent(self) -> int:
        """Bytes that wait in this process."""

    def event(self, event: Event) -> bool:
        """Send at once. False, and nothing is sent: something waits before it."""

    def queue(self, event: Event) -> None:
        """Send behind what waits."""

    def reply(self, command_id: Any, data: Reply) -> None: ...
    def error(self, command_id: Any, error: Error) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def tick(self, now: float, alive_at: float) -> bool:
        """Heartbeat. False: nothing was heard of the client for too long."""

    def drained(self, limit: int) -> Coroutine[Any, Any, None]:
        """Returns once at most `limit` bytes wait, or the transport has closed."""


class Request(NamedTuple):
    """A command to do. id: what the client calls it; None: it asked for no answer.

    fault: what was wrong with it already when it was read; it waits its turn all the same, so that answers come in the
    order of the commands.
    """

    id: Any
    event: str | None
    command: Command | None
    fault: ChatError | None = None
    client_id: str | None = None


Done = Callable[[Reply | None, Exception | None], None]


class Dispatch(Protocol):
    def __call__(
        self, connection: "Connection", event: str, command: Command, command_id: Any, /
    ) -> Coroutine[Any, Any, Reply | None]: ...

    def start(self, connection: "Connection", command: Command, done: Done, /) -> bool:
        """Do it without a task, if that can be. A ChatError is what `__call__` would raise: nothing was done."""


class Connection:
    __slots__ = (
        "_bad", "_dispatch", "_owed", "_queue", "_running", "_services", "alive_at", "closed", "door", "id", "identity", "joined",
        "limit", "opened_at", "wire",
    )  # fmt: skip

    def __init__(self, services: Services, identity: Identity, wire: Wire, door: str, dispatch: Dispatch) -> None:
        self.id = new_id()
        self.identity = identity
        self.wire = wire
        self.door = door
        self.joined: set[str] = set()
        self.closed = False
        self.opened_at = self.alive_at = time.monotonic()
        self.limit = services.settings.max_unsent_bytes
        self._services = services
        self._dispatch = dispatch
        self._queue: deque[Request] | None = None
        self._running = False
        self._bad: Window | None = None
        self._owed = 0
        log.info("connection opened", extra={"connection": self.id, "user": identity.user_id, "door": door})

    @property
    def user_id(self) -> str:
        return self.identity.user_id

    @property
    def unsent(self) -> int:
        return self.wire.unsent

    # -- what it is told

    def deliver(self, event: Event) -> None:
        """Tell the client. The hot path: once for every reader of every event."""
        if not self.closed and not self.wire.event(event):
            self._behind(event)

    def _behind(self, event: Event) -> None:
        """Something waits for this client already: it loses pieces first, and is closed when too much waits."""
        unsent = self.wire.unsent
        if event.droppable and unsent > self.limit // PIECES_ROOM:
            return
        self._owed = min(self._owed, unsent)
        if unsent + len(event.data) > self.limit + self._owed:
            self._services.counts.slow_closes += 1
            self.end(closing.SLOW, "too slow")
            return
        self.wire.queue(event)

    def forget_room(self, room_id: str) -> None:
        """Stop reading a room: left, or no longer allowed."""
        self.joined.discard(room_id)
        self._services.hub.leave(self, room_id)
        self._services.presences.stopped_typing(room_id, self.user_id, self.id)

    def end(self, code: int, reason: str) -> None:
        """Nothing flows any more from here on; the transport is closed with this code."""
        if not self.closed:
            self.close(code)
            self.wire.close(code, reason)

    def close(self, code: int | None = None) -> None:
        """The transport has gone, or is about to: give up everything. code: ours, or None where the client ended it."""
        if self.closed:
            return
        self.closed = True
        seconds = round(time.monotonic() - self.opened_at, 1)
        log.info("connection closed", extra={"connection": self.id, "code": code, "seconds": seconds})
        self._queue = None
        for room_id in list(self.joined):
            self.forget_room(room_id)
        self._services.sockets.remove(self)

    # -- what it asks

    def submit(self, request: Request) -> bool:
        """Take a command. False: the queue is full, so wait (`ready`) before taking the next."""
        if self.closed:
            return True
        alone = not self._running and not self._queue
        if alone and request.command is not None and self._start(request, request.command):
            return True
        if self._queue is None:
            self._queue = deque()
        self._queue.append(request)
        if not self._running:
            self._running = True
            self._services.tasks.spawn(self._run(), "connection")
        return len(self._queue) < QUEUE_MOST

    def _start(self, request: Request, command: Command) -> bool:
        """A command that needs no task, while nothing is before it; what comes meanwhile waits for its end as always."""

        def done(reply: Reply | None, error: Exception | None) -> None:
            try:
                self._finish(request, reply, error)
            finally:
                self.alive_at = time.monotonic()
                self._running = bool(self._queue)
                if self._running:
                    self._services.tasks.spawn(self._run(), "connection")

        if self.wire.unsent > self.limit // REPLY_ROOM:
            return False
        self._running = True
        try:
            if self._dispatch.start(self, command, done):
                return True
        except ChatError:  # nothing was done; a flood of such ones must fill the queue like any other
            pass
        except Exception as error:
            done(None, error)
            return True
        self._running = False
        return False

    @property
    def has_room(self) -> bool:
        """One more command does not fill the queue."""
        return self._queue is None or len(self._queue) < QUEUE_MOST - 1

    async def ready(self) -> None:
        """Returns once the queue has room."""
        while not self.closed and self._queue is not None and len(self._queue) >= QUEUE_MOST:
            await self._services.sockets.breathe()

    async def _run(self) -> None:
        connection_of.set(self.id)
        try:
            while self._queue and not self.closed:
                if self.wire.unsent > self.limit // REPLY_ROOM:
                    await self.wire.drained(self.limit // REPLY_ROOM)
                    if self.wire.unsent > self.limit // REPLY_ROOM:
                        await self._services.sockets.breathe()  # whatever the wire says, nobody waits for this one
                    continue
                request = self._queue.popleft()
                try:
                    await self._do(request)
                except Exception as wrong:  # whatever it is, the next command has its turn
                    log.error("answering a command", extra={"command": request.event}, exc_info=wrong)
                self.alive_at = time.monotonic()
        finally:
            self._running = False
            if self._queue is not None and not self._queue:
                self._queue = None

    async def _do(self, request: Request) -> None:
        if request.fault is not None:
            self.refuse(request.fault, request.id, request.event, request.client_id)
            return
        assert request.command is not None and request.event is not None
        room_of.set(None)
        reply, failed = None, None
        try:
            reply = await self._dispatch(self, request.event, request.command, request.id)
        except Exception as error:
            failed = error
        self._finish(request, reply, failed)

    def _finish(self, request: Request, reply: Reply | None, error: Exception | None) -> None:
        """Answer a command. A reply that can't be written is a fault of ours like another."""
        if error is None and reply is not None and request.id is not None and not self.closed:
            try:
                self.answer(request.id, reply)
            except Exception as unwritten:
                error = unwritten
        if error is None:
            return
        if isinstance(error, DatabaseUnavailable):
            error = unavailable()
        elif not isinstance(error, ChatError):
            reference = new_id()
            about = {"command": request.event, "reference": reference, "connection": self.id}
            log.error("command failed", extra=about, exc_info=error)
            self._services.counts.internal("command", error, reference)
            message = f"Something went wrong here (reference {reference}). Try again."
            error = Unavailable("internal", message, retryable=True)
        client_id = getattr(request.command, "client_id", None)
        self.refuse(error, request.id, request.event, client_id or None)

    def answer(self, command_id: Any, reply: Reply) -> None:
        """A reply, however long, is what was asked for: nobody is slow for not having taken it at once."""
        before = self.wire.unsent
        self.wire.reply(command_id, reply)
        self._owed = self.wire.unsent - before

    def refuse(self, error: ChatError, command_id: Any, event: str | None = None, client_id: str | None = None) -> None:
        """A failing command is answered; one without an id, and what can't be understood, by an `error` event."""
        if self.closed:
            return
        if command_id is None:
            self.deliver(Event("error", protocol.error_body(error, event, client_id)))
        else:
            self.wire.error(command_id, protocol.error_body(error))

    def bad_frame(self, error: ChatError, command_id: Any = None, event: str | None = None) -> bool:
        """Something that is no command: answered in its turn, counted, and too many of them end the connection."""
        limit = self._services.settings.max_bad_frames_per_10s
        if self._bad is None:
            self._bad = Window(limit, 10)
        if self._bad.wait_s("") > 0:
            self._services.counts.limits["frames"] += 1
            self.end(closing.ABUSE, "too many malformed frames")
            return True
        self._bad.take("")
        return self.submit(Request(command_id, event, None, error))

    def tick(self, now: float) -> None:
        """Once a second: is the token still good, is the client still there?"""
        expires_at = self.identity.expires_at
        if expires_at is not None and time.time() > expires_at + EXPIRY_GRACE_S:
            self.end(closing.EXPIRED, "token expired")
        elif not self.wire.tick(now, self.alive_at):
            self.end(closing.SLOW, "no heartbeat")
