"""What a client sent and nobody has handled yet: strictly in order, one at a time.

A command may wait on Postgres for seconds. Were it awaited where the socket is read, the client's PONGs would wait
behind it and the heartbeat would kill a healthy connection. So reading only enqueues, and a task does the work; it
lives while there is work, so ten thousand idle clients have none. What need not be waited for, and finds nothing before it,
is handled where it is read.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

# Beyond this the socket is not read, and the client's own TCP window fills.
MAX_ITEMS = 256
MAX_BYTES = 1_048_576

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class Inbox:
    """handle: awaited for each message; must not raise.
    spawn: starts the task that does so, and owns it.
    at_once: handles a message if that takes no waiting; False: nothing was done. Must not raise.
    """

    __slots__ = ("_at_once", "_bytes", "_handle", "_last", "_messages", "_room", "_spawn", "_task")

    def __init__(
        self,
        handle: Callable[[str | bytes], Awaitable[None]],
        spawn: Spawn,
        at_once: Callable[[str | bytes], bool] = lambda message: False,
    ) -> None:
        self._handle = handle
        self._at_once = at_once
        self._spawn = spawn
        self._messages: deque[str | bytes] | None = None  # an empty deque weighs 760 bytes, too many for the idle
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._last: Callable[[], Awaitable[None]] | None = None

    def put(self, message: str | bytes) -> None:
        """Never refuses: who puts looks at `full` afterwards, and waits for `room`."""
        if self._task is None and not self._messages and self._at_once(message):
            return
        if self._messages is None:
            self._messages = deque()
        self._messages.append(message)
        self._bytes += len(message)
        self._start()

    @property
    def full(self) -> bool:
        return self._bytes > MAX_BYTES or (self._messages is not None and len(self._messages) > MAX_ITEMS)

    def room(self) -> "asyncio.Future[None]":
        """Done when the inbox is no longer full."""
        room = self._room
        if room is None:
            room = self._room = asyncio.get_running_loop().create_future()
            self._offer_room()
        return room

    def finish(self, last: Callable[[], Awaitable[None]], *, drop: bool) -> None:
        """Call `last` behind everything that waits, or, with drop, behind the one message that is being handled."""
        if drop:
            self._messages = None
            self._bytes = 0
        self._last = last
        self._offer_room()
        self._start()

    def _start(self) -> None:
        if self._task is None:
            self._task = self._spawn(self._run())

    async def _run(self) -> None:
        try:
            while self._messages:
                message = self._messages.popleft()
                self._bytes -= len(message)
                self._offer_room()
                await self._handle(message)
            self._messages = None
            if self._last is not None:
                last, self._last = self._last, None
                await last()
        finally:
            self._task = None

    def _offer_room(self) -> None:
        if self._room is not None and not self.full:
            if not self._room.done():
                self._room.set_result(None)
            self._room = None
