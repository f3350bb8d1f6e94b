"""Who is connected to other pods. A mirror of what each pod says of itself in Redis, read every other second.

Each pod keeps one hash, user -> connections and `#room` -> users present (of rooms with many), and its name in a list, which
run out when they are no longer renewed: so the presence of a dead pod disappears by itself. While Redis is away a pod knows
only its own, and what it saw last of the others.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from services.realtime.redis_node import RedisDown

EVERY_S = 2.0
LIFE_S = 20
MISSES = 4  # looks in a row that do not find a pod until it is dead: after a restart of Redis each comes back in its own time
MANY = 10  # a room is told of from so many present on: far below the hundred that make a crowd over all pods
PODS = "maru:pods"


class Store(Protocol):
    @property
    def pod(self) -> str: ...
    async def ask(self, key: str, *command: object) -> Any: ...
    def tell(self, key: str, *command: object) -> None: ...


def key_of(pod: str) -> str:
    return f"maru:pod:{pod}"


class Pod(NamedTuple):
    """What one pod says of itself."""

    users: set[str]
    rooms: dict[str, int]
    connections: int


class Elsewhere:
    def __init__(
        self,
        store: Store | None,
        died: Callable[[set[str]], None],
        present: Callable[[int], dict[str, int]] = lambda least: {},
    ) -> None:
        """store: None for a pod that is alone. died: these users were on a pod that has vanished, and are nowhere now.
        present: rooms with at least so many of their members here, and how many."""
        self._store = store
        self._died = died
        self._present = present
        self._mine: dict[str, int] = {}
        self._pods: dict[str, Pod] = {}
        self._missed: dict[str, int] = {}

    def everybody(self, here: set[str], connections: int) -> tuple[int, int, int]:
        """(people, connections, pods) over all pods; here, connections: of this one."""
        people = here.union(*(pod.users for pod in self._pods.values()))
        return len(people), connections + sum(pod.connections for pod in self._pods.values()), len(self._pods) + 1

    def online(self, user_id: str) -> bool:
        return any(user_id in pod.users for pod in self._pods.values())

    def present(self, room_id: str, here: set[str]) -> int:
        """Members of a room who are on other pods and not among these, who are here.

        Who is on two other pods is counted twice; rooms with few members on a pod are not counted there.
        """
        total = 0
        for pod in self._pods.values():
            if count := pod.rooms.get(room_id, 0):
                total += max(0, count - sum(user_id in pod.users for user_id in here))
        return total

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

    async def among(self, user_ids: Sequence[str]) -> set[str]:
        """Those of them who are on other pods: asked now, and of a pod that can't be asked as it was last seen."""
        found: set[str] = set()
        if self._store is None:
            return found
        for pod, said in list(self._pods.items()):
            try:
                counts = await self._store.ask(key_of(pod), "HMGET", key_of(pod), *user_ids)
            except RedisDown:
                found |= said.users.intersection(user_ids)
            else:
                found |= {user_id for user_id, count in zip(user_ids, counts, strict=True) if count}
        return found

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
            found = await self._read(self._store)
        except RedisDown:
            return
        self._missed = {pod: self._missed.get(pod, 0) + 1 for pod in self._pods.keys() - found.keys()}
        missed = {pod: self._pods[pod] for pod in self._missed}
        self._pods = found | {pod: said for pod, said in missed.items() if self._missed[pod] < MISSES}
        gone: set[str] = set()
        for pod in missed.keys() - self._pods.keys():
            gone |= {user_id for user_id in missed[pod].users if user_id not in self._mine and not self.online(user_id)}
        if gone:
            self._died(gone)

    async def _renew(self, store: Store) -> None:
        key = key_of(store.pod)
        # First of all that it lives: a long answer may take longer than is waited for. What it says outlives its name in
        # the list, else a dead pod might look for a moment like one that everybody has left.
        store.tell(key, "EXPIRE", key, LIFE_S + 5)
        store.tell(PODS, "ZADD", PODS, int(time.time()) + LIFE_S, store.pod)
        said = await self._said_by(store, store.pod)
        true = {**self._mine, **{"#" + room_id: count for room_id, count in self._present(MANY).items()}}
        # What was told without an answer may be lost, and all of it after a restart of Redis.
        if news := dict(true.items() - said.items()):
            store.tell(key, "HSET", key, *(part for pair in news.items() for part in pair))
            store.tell(key, "EXPIRE", key, LIFE_S + 5)
        if past := said.keys() - true.keys():
            store.tell(key, "HDEL", key, *past)

    async def _read(self, store: Store) -> dict[str, Pod]:
        """What the other pods say of themselves."""
        now = int(time.time())
        store.tell(PODS, "ZREMRANGEBYSCORE", PODS, "-inf", now - LIFE_S)
        names = [name.decode() for name in await store.ask(PODS, "ZRANGEBYSCORE", PODS, now, "+inf")]
        found = {}
        for pod in names:
            if pod != store.pod:
                counts = await self._said_by(store, pod)
                rooms = {name[1:]: count for name, count in counts.items() if name.startswith("#")}
                users = {name: count for name, count in counts.items() if not name.startswith("#")}
                found[pod] = Pod(set(users), rooms, sum(users.values()))
        return found

    async def _said_by(self, store: Store, pod: str) -> dict[str, int]:
        flat = [part.decode() for part in await store.ask(key_of(pod), "HGETALL", key_of(pod))]
        return dict(zip(flat[::2], map(int, flat[1::2]), strict=True))

    async def leave(self) -> None:
        """This pod ends: its users are elsewhere, or nowhere."""
        if self._store is not None:
            try:
                await self._store.ask(PODS, "ZREM", PODS, self._store.pod)
                await self._store.ask(key_of(self._store.pod), "DEL", key_of(self._store.pod))
            except RedisDown:
                return
