"""Who is connected to other pods. A mirror of what each pod says of itself in Redis, read every other second.

Each pod keeps one hash, user -> connections, that runs out 20 s after it stops being renewed: so the presence of a dead
pod disappears by itself. While Redis is away a pod knows only its own.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from services.realtime.redis_node import RedisDown

EVERY_S = 2.0
LIFE_S = 20
PODS = "maru:pods"


class Store(Protocol):
    @property
    def pod(self) -> str: ...
    async def ask(self, key: str, *command: object) -> Any: ...
    def tell(self, key: str, *command: object) -> None: ...


def key_of(pod: str) -> str:
    return f"maru:pod:{pod}"


class Elsewhere:
    def __init__(self, store: Store | None, died: Callable[[set[str]], Awaitable[None]]) -> None:
        """store: None for a pod that is alone. died: these users were on a pod that has vanished, and are nowhere now."""
        self._store = store
        self._died = died
        self._mine: dict[str, int] = {}
        self._pods: dict[str, set[str]] = {}

    def online(self, user_id: str) -> bool:
        return any(user_id in users for users in self._pods.values())

    def users_of(self, users: set[str]) -> set[str]:
        """Those of these users who are on another pod."""
        return {user_id for user_id in users if self.online(user_id)}

    async def connections(self, user_id: str) -> int:
        """How many the user has on other pods; what can't be asked is not counted."""
        if self._store is None:
            return 0
        total = 0
        for pod in list(self._pods):
            try:
                found = await self._store.ask(key_of(pod), "HGET", key_of(pod), user_id)
            except RedisDown:
                return total
            total += int(found or 0)
        return total

    def changed(self, user_id: str, count: int) -> None:
        """The user has this many connections here now."""
        if self._store is None:
            return
        key = key_of(self._store.pod)
        if count:
            self._mine[user_id] = count
            self._store.tell(key, "HSET", key, user_id, count)
        else:
            self._mine.pop(user_id, None)
            self._store.tell(key, "HDEL", key, user_id)

    async def step(self) -> None:
        """Every other second: say that this pod lives, and look at the others."""
        await asyncio.sleep(EVERY_S)
        if self._store is None:
            return
        try:
            await self._renew(self._store)
            pods = await self._read(self._store)
        except RedisDown:
            return
        before, self._pods = self._pods, pods
        gone: set[str] = set()
        for pod in before.keys() - pods.keys():
            gone |= {user_id for user_id in before[pod] if user_id not in self._mine and not self.online(user_id)}
        if gone:
            await self._died(gone)

    async def _renew(self, store: Store) -> None:
        now = int(time.time())
        key = key_of(store.pod)
        store.tell(PODS, "ZADD", PODS, now + LIFE_S, store.pod)
        if await store.ask(key, "EXPIRE", key, LIFE_S) == 0 and self._mine:
            # Redis has lost it (a restart, a pause longer than its life): say it all again.
            flat = [part for pair in self._mine.items() for part in pair]
            await store.ask(key, "HSET", key, *flat)
            await store.ask(key, "EXPIRE", key, LIFE_S)

    async def _read(self, store: Store) -> dict[str, set[str]]:
        now = int(time.time())
        store.tell(PODS, "ZREMRANGEBYSCORE", PODS, "-inf", now - LIFE_S)
        names = [name.decode() for name in await store.ask(PODS, "ZRANGEBYSCORE", PODS, now, "+inf")]
        found = {}
        for pod in names:
            if pod != store.pod:
                users = {user.decode() for user in await store.ask(key_of(pod), "HKEYS", key_of(pod))}
                if users:
                    found[pod] = users
        return found

    async def leave(self) -> None:
        """This pod ends: its users are elsewhere, or nowhere."""
        if self._store is not None:
            try:
                await self._store.ask(PODS, "ZREM", PODS, self._store.pod)
                await self._store.ask(key_of(self._store.pod), "DEL", key_of(self._store.pod))
            except RedisDown:
                return
