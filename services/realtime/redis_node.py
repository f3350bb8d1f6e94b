"""One Redis server: commands that leave in order, and channels that are heard. Knows connections, not what they carry.

Commands of one moment are written together and their replies read together (redis-py's pool would reorder concurrent
publishes). Nothing waits long: while the server is away commands fail at once, and what would have been published is
found in rows by whoever missed it.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import Any

from redis import asyncio as aioredis
from redis.exceptions import RedisError, ResponseError

from services.tasks import Tasks

log = logging.getLogger("maru.redis")

CONNECT_S = 2.0
REPLY_S = 2.0
BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)
QUEUE_MOST = 20_000
BATCH_MOST = 500
CANARY_S = 0.3
QUIET_S = 1.0  # without a canary for so long, rows are asked: a stopped server keeps its sockets open
DEAF_S = 3.0  # and for so long, the listener is made anew
CONFIRM_S = 1.0

Command = tuple[Any, ...]
LOST = (RedisError, OSError, TimeoutError, asyncio.IncompleteReadError)


class RedisDown(Exception):
    """The server did not answer in time, or can't be reached."""


class Node:
    def __init__(
        self,
        pool: aioredis.ConnectionPool,
        tasks: Tasks,
        *,
        canary: str,
        scripts: tuple[bytes, ...] = (),
        sharded: bool,
        heard: Callable[[str, bytes], None],
        joined: Callable[[], None],
        moved: Callable[[str | None], None],
    ) -> None:
        """heard: a channel's payload. joined: the listener is (again) on all its channels. moved: a slot lives elsewhere
        (of this channel, or unknown)."""
        self._pool = pool
        self._canary = canary
        self._scripts = scripts
        self._shard = "S" if sharded else ""
        self._heard, self._joined, self._moved = heard, joined, moved
        self._queue: list[tuple[Command, asyncio.Future[Any] | None]] = []
        self._wake = asyncio.Event()
        self._listener: Any = None
        self._channels: dict[str, asyncio.Event] = {canary: asyncio.Event()}
        self.writing = False  # the last exchange of commands succeeded
        self.heard_at = time.monotonic()
        self.dropped = 0
        self._tasks = [
            tasks.spawn(self._write_forever(), "redis writer"),
            tasks.spawn(self._listen_forever(), "redis listener"),
            tasks.spawn(self._sing_forever(), "redis canary"),
        ]

    # -- commands

    def send(self, *command: Any) -> None:
        """Without an answer. Dropped while the server is away."""
        if not self.writing or len(self._queue) >= QUEUE_MOST:
            self.dropped += 1
            return
        self._queue.append((command, None))
        self._wake.set()

    async def call(self, *command: Any, limit_s: float = 0.1) -> Any:
        """With an answer, in the same order. Raises RedisDown, at once while the server is away."""
        if not self.writing:
            raise RedisDown
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append((command, future))
        self._wake.set()
        try:
            await asyncio.wait({future}, timeout=limit_s)
        finally:
            late = future.cancel()
        if late:
            # Whoever asks next need not wait as long: until the server answers, it counts as away. Asked of the future and
            # not of a timer: it may have been answered in the timer's turn, and then no exchange would set it back.
            self.writing = False
            raise RedisDown
        return future.result()

    async def _write_forever(self) -> None:
        failures = 0
        while True:
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                async with asyncio.timeout(CONNECT_S):
                    await connection.connect()
                    await connection.send_command("PING")
                    await connection.read_response()
                    for script in self._scripts:
                        await connection.send_command("SCRIPT", "LOAD", script)
                        await connection.read_response()
                self.writing = True
                failures = 0
                while True:
                    await self._exchange(connection)
            except LOST as error:
                if self.writing or failures == 0:
                    log.warning("redis is away", extra={"error": repr(error)[:200]})
            finally:
                self.writing = False
                self._fail_all()
                with contextlib.suppress(Exception):
                    await connection.disconnect(nowait=True)
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1

    async def _exchange(self, connection: Any) -> None:
        await self._wake.wait()
        self._wake.clear()
        while self._queue:
            batch, self._queue = self._queue[:BATCH_MOST], self._queue[BATCH_MOST:]
            try:
                async with asyncio.timeout(REPLY_S):
                    await connection.send_packed_command(
                        connection.pack_commands([command for command, _ in batch]), check_health=False
                    )
                    for _, future in batch:
                        await self._reply(connection, future)
            except BaseException:
                for _, future in batch:
                    if future is not None and not future.done():
                        future.set_exception(RedisDown())
                raise
            self.writing = True

    async def _reply(self, connection: Any, future: asyncio.Future[Any] | None) -> None:
        try:
            value = await connection.read_response(disable_decoding=True, timeout=math.inf)
        except ResponseError as error:
            if str(error).startswith(("MOVED", "ASK", "CLUSTERDOWN")):
                self._moved(None)
                self.dropped += 1
            elif future is None:
                log.warning("redis refused a command", extra={"error": str(error)[:200]})
            if future is not None and not future.done():
                future.set_exception(RedisDown(str(error)))
        else:
            if future is not None and not future.done():
                future.set_result(value)

    def _fail_all(self) -> None:
        queue, self._queue = self._queue, []
        self.dropped += len(queue)
        for _, future in queue:
            if future is not None and not future.done():
                future.set_exception(RedisDown())

    # -- channels

    async def subscribe(self, channel: str) -> None:
        """Returns once what is published from now on is heard, or after a moment while the server is away."""
        confirmed = self._channels.get(channel)
        if confirmed is None:
            confirmed = self._channels[channel] = asyncio.Event()
            await self._tell([channel])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONFIRM_S if self.writing else 0.05):
                await confirmed.wait()

    def unsubscribe(self, channel: str) -> Any:
        """Forget the channel; gives what to await for the server to know."""
        if self._channels.pop(channel, None) is not None and self._listener is not None:
            return self._say(self._shard + "UNSUBSCRIBE", channel)
        return None

    def channels(self) -> list[str]:
        return [channel for channel in self._channels if channel != self._canary]

    async def _tell(self, channels: Iterable[str]) -> None:
        for channel in channels:
            # One a command: on a cluster two channels of one command must share a slot.
            await self._say(self._shard + "SUBSCRIBE", channel)

    async def _say(self, *command: Any) -> None:
        if self._listener is not None:
            with contextlib.suppress(*LOST):
                await self._listener.send_command(*command, check_health=False)

    async def _listen_forever(self) -> None:
        failures = 0
        while True:
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                async with asyncio.timeout(CONNECT_S):
                    await connection.connect()
                self._listener = connection
                for confirmed in self._channels.values():
                    confirmed.clear()
                await self._tell(list(self._channels))
                waiting = set(self._channels)
                self.heard_at = time.monotonic()
                while True:
                    try:
                        message = await connection.read_response(disable_decoding=True, timeout=math.inf)
                    except ResponseError:
                        self._moved(None)  # a channel whose slot is elsewhere
                        continue
                    self._take(message, waiting)
                    failures = 0
            except LOST as error:
                if failures == 0:
                    log.warning("redis listener lost", extra={"error": repr(error)[:200]})
            finally:
                self._listener = None
                with contextlib.suppress(Exception):
                    await connection.disconnect(nowait=True)
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1

    def _take(self, message: Any, waiting: set[str]) -> None:
        kind, channel = message[0], message[1].decode()
        if kind.endswith(b"unsubscribe"):
            if channel in self._channels and kind.startswith(b"s"):
                self._moved(channel)  # not asked for: the slot has gone to another node
        elif kind.endswith(b"subscribe"):
            confirmed = self._channels.get(channel)
            if confirmed is not None:
                confirmed.set()
            if waiting:
                waiting.discard(channel)
                if not waiting:
                    self._joined()
        elif channel == self._canary:
            self.heard_at = time.monotonic()
        else:
            self._heard(channel, message[2])

    async def _sing_forever(self) -> None:
        """A canary through the server proves that the listener hears, not only that its socket is open."""
        while True:
            self.send(self._shard + "PUBLISH", self._canary, b"c")
            await asyncio.sleep(CANARY_S)
            listener = self._listener
            if listener is not None and self.writing and time.monotonic() - self.heard_at > DEAF_S:
                log.warning("redis listener is deaf")
                self._listener = None
                with contextlib.suppress(Exception):
                    await listener.disconnect(nowait=True)

    @property
    def hears(self) -> bool:
        return self._listener is not None and time.monotonic() - self.heard_at < QUIET_S

    @property
    def deaf_s(self) -> float:
        return time.monotonic() - self.heard_at

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=2)
