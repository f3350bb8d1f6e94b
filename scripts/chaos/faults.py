"""What goes wrong, when, and for how long: a seeded schedule. Every fault is written down with its end."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Awaitable, Callable

import aiohttp
import psycopg2

from chaos.clients import Device
from chaos.journal import Journal
from chaos.stage import START_S, Pod, Stage

WEIGHTS = {
    "pod killed": 10, "pod stopped": 8, "pod paused": 8, "redis killed": 4, "redis paused": 6, "redis cut": 8,
    "postgres paused": 5, "backend ended": 8, "backend killed": 2, "wire cut": 5, "commit lost before": 8,
    "commit lost after": 10, "client stalled": 8, "client cut": 12, "model cut": 10, "nginx reloaded": 3,
}  # fmt: skip


class Faults:
    def __init__(
        self,
        stage: Stage,
        journal: Journal,
        http: aiohttp.ClientSession,
        devices: list[Device],
        seed: int,
        every_s: float,
    ) -> None:
        """every_s: from one fault's beginning to the next one's, on average."""
        self._stage, self._journal, self._http, self._devices = stage, journal, http, devices
        self._chance = random.Random(seed)
        self._every_s = every_s
        self._running: set[asyncio.Task[None]] = set()
        self._broken: list[BaseException] = []
        self._ways: dict[str, Callable[[], Awaitable[bool]]] = {
            "pod killed": self._pod_killed, "pod stopped": self._pod_stopped, "pod paused": self._pod_paused,
            "redis killed": self._redis_killed, "redis paused": self._redis_paused, "redis cut": self._redis_cut,
            "postgres paused": self._postgres_paused, "backend ended": lambda: self._backend("terminate"),
            "backend killed": lambda: self._backend("kill"), "wire cut": self._wire_cut,
            "commit lost before": lambda: self._commit_lost(False), "commit lost after": lambda: self._commit_lost(True),
            "client stalled": self._client_stalled, "client cut": self._client_cut, "model cut": self._model_cut,
            "nginx reloaded": self._nginx_reloaded,
        }  # fmt: skip
        assert set(self._ways) == set(WEIGHTS)

    async def go_on(self, until: float) -> None:
        """Until that moment (of the monotonic clock); then until the last fault is over."""
        names, weights = [*WEIGHTS], [*WEIGHTS.values()]
        # Each kind once, in a random order, before chance decides.
        first = self._chance.sample(names, len(names))
        while time.monotonic() < until and not self._broken:
            kind = first.pop() if first else self._chance.choices(names, weights)[0]
            task = asyncio.create_task(self._one(kind))
            self._running.add(task)
            task.add_done_callback(self._ended)
            await asyncio.sleep(min(self._chance.expovariate(1 / self._every_s), 4 * self._every_s))
        if self._running:
            await asyncio.wait(self._running, timeout=2 * START_S)
        if self._broken:
            raise self._broken[0]

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken.append(error)

    async def _one(self, kind: str) -> None:
        began = time.time()
        if await self._ways[kind]():
            self._journal.write("fault", kind=kind, began=began, until=time.time())

    # -- pods. One is always left alone.

    def _pod(self) -> Pod | None:
        free = [pod for pod in self._stage.pods if not pod.busy.locked()]
        return self._chance.choice(free) if len(free) > 1 else None

    async def _pod_killed(self) -> bool:
        if (pod := self._pod()) is None:
            return False
        async with pod.busy:
            pod.signal(signal.SIGKILL)
            await pod.gone()
            await asyncio.sleep(self._chance.uniform(0, 2))
            pod.start()
            await pod.ready(self._http)
        return True

    async def _pod_stopped(self) -> bool:
        if (pod := self._pod()) is None:
            return False
        async with pod.busy:
            pod.signal(signal.SIGTERM)
            await asyncio.wait_for(pod.gone(), START_S)
            pod.start()
            await pod.ready(self._http)
        return True

    async def _pod_paused(self) -> bool:
        """Also past its leases."""
        if (pod := self._pod()) is None:
            return False
        async with pod.busy:
            pod.signal(signal.SIGSTOP)
            await asyncio.sleep(self._chance.choice((0.5, 2, 5, 8)))
            pod.signal(signal.SIGCONT)
            await pod.ready(self._http)
        return True

    # -- Redis

    async def _redis_killed(self) -> bool:
        redis = self._stage.redis
        if redis.busy.locked():
            return False
        async with redis.busy:
            redis.signal(signal.SIGKILL)
            await redis.gone()
            await asyncio.sleep(self._chance.uniform(0, 6))
            redis.start()
            await redis.ready()
        return True

    async def _redis_paused(self) -> bool:
        redis = self._stage.redis
        if redis.busy.locked():
            return False
        async with redis.busy:
            redis.signal(signal.SIGSTOP)
            await asyncio.sleep(self._chance.choice((0.3, 1, 4)))
            redis.signal(signal.SIGCONT)
        return True

    async def _redis_cut(self) -> bool:
        redis = self._stage.redis
        if redis.busy.locked():
            return False
        async with redis.busy:
            await redis.say("CLIENT", "KILL", "TYPE", self._chance.choice(("normal", "pubsub")))
        return True

    # -- Postgres

    async def _postgres_paused(self) -> bool:
        if self._stage.postgres.locked():
            return False
        async with self._stage.postgres:
            self._stage.postgres_signal(signal.SIGSTOP)
            await asyncio.sleep(self._chance.choice((0.2, 1, 3)))
            self._stage.postgres_signal(signal.SIGCONT)
        return True

    async def _backend(self, how: str) -> bool:
        """terminate: as an administrator does it. kill: as the kernel does it, and all others recover."""
        if self._stage.postgres.locked():
            return False
        async with self._stage.postgres:
            await asyncio.to_thread(self._end_backend, how)
        return True

    def _end_backend(self, how: str) -> None:
        pick = "order by (state <> 'active' or wait_event is null), random() limit 1"
        who = f"select pid from pg_stat_activity where application_name = 'maru' and backend_type = 'client backend' {pick}"
        with contextlib.closing(psycopg2.connect(self._stage.direct_url)) as connection, connection.cursor() as cursor:
            cursor.execute(f"select pg_terminate_backend(pid) from ({who}) one" if how == "terminate" else who)
            found = cursor.fetchone()
        if how == "kill" and found is not None:
            self._stage.kill_backend(found[0])
            until = time.monotonic() + START_S
            while time.monotonic() < until:
                time.sleep(0.1)
                with contextlib.suppress(psycopg2.OperationalError):
                    psycopg2.connect(self._stage.direct_url).close()
                    return
            raise RuntimeError("Postgres did not come back")

    async def _wire_cut(self) -> bool:
        self._stage.wire.tell(do="cut")
        return True

    async def _commit_lost(self, sent: bool) -> bool:
        """The connection goes at the moment of a COMMIT: nobody can know what became of it."""
        self._stage.wire.tell(do="commit", sent=sent)
        await asyncio.sleep(0.5)
        return True

    # -- clients, the model, nginx

    async def _client_stalled(self) -> bool:
        await self._chance.choice(self._devices).stall(self._chance.uniform(1, 8))
        return True

    async def _client_cut(self) -> bool:
        for device in self._chance.sample(self._devices, max(1, len(self._devices) // 10)):
            device.cut()
        return True

    async def _model_cut(self) -> bool:
        self._stage.model.tell(do="cut")
        return True

    async def _nginx_reloaded(self) -> bool:
        self._stage.nginx.signal(signal.SIGHUP)
        return True
