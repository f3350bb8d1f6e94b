"""Sliding windows: at most n in any period. Knows keys and times; knows nothing of who or what they stand for.

`Limit` counts for all pods together where they share a Redis, and each pod for itself while that is away.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol
from uuid import uuid4


class Window:
    """At most `limit` acts a key in any `period_s` seconds. A limit of 0 is no limit.

    Kept exactly (a time stamp an act), so that waiting as long as `wait_s` says is always enough.
    """

    def __init__(self, limit: int, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self.period_s = period_s
        self._clock = clock
        self._acts: dict[str, deque[float]] = {}
        self._swept = clock()

    def wait_s(self, key: str) -> float:
        """Seconds until one more is allowed; 0 when it is now."""
        acts = self._acts.get(key)
        if not self.limit or acts is None:
            return 0.0
        edge = self._clock() - self.period_s
        _forget(acts, edge)
        if len(acts) < self.limit:
            return 0.0
        return acts[len(acts) - self.limit] - edge

    def take(self, key: str) -> float | None:
        """Count one act, and return its time for `give_back`. Ask `wait_s` first; None without a limit."""
        if not self.limit:
            return None
        now = self._clock()
        if now - self._swept > max(60.0, self.period_s):
            self._sweep(now)
        acts = self._acts.setdefault(key, deque())
        _forget(acts, now - self.period_s)  # where pods count together nobody asks `wait_s`
        acts.append(now)
        return now

    def give_back(self, key: str, taken: float | None) -> None:
        """The act did not take place after all."""
        acts = self._acts.get(key)
        if taken is not None and acts is not None and taken in acts:
            acts.remove(taken)

    def clear(self, key: str) -> None:
        self._acts.pop(key, None)

    def _sweep(self, now: float) -> None:
        self._swept = now
        edge = now - self.period_s
        for key in [key for key, acts in self._acts.items() if not acts or acts[-1] <= edge]:
            del self._acts[key]


def _forget(acts: deque[float], edge: float) -> None:
    while acts and acts[0] <= edge:
        acts.popleft()


class Shared(Protocol):
    """A window kept for all pods. Both raise SharedDown, within a tenth of a second."""

    async def take(self, name: str, limit: int, period_s: float, act: str) -> float: ...
    def give_back(self, name: str, act: str) -> None: ...


class SharedDown(Exception):
    """What pods share can't be reached."""


class Taken(NamedTuple):
    """wait_s: 0 when the act was counted, else how long to wait. The rest is for `give_back`."""

    wait_s: float
    at: float | None = None
    act: str = ""


NOTHING_TAKEN = Taken(0.0)


class Limit:
    """One limit, over all pods where `shared` is given."""

    def __init__(self, name: str, limit: int, period_s: float, shared: Shared | None = None) -> None:
        self.name = name
        self.refused = 0
        self._window = Window(limit, period_s)
        self._shared = shared

    async def take(self, key: str) -> Taken:
        """Count one act, if it is allowed."""
        taken = await self._take(key)
        self.refused += taken.wait_s > 0
        return taken

    def take_here(self, key: str) -> Taken | None:
        """Count one act if this pod alone can say that it is allowed. None: ask `take`."""
        window = self._window
        if not window.limit:
            return NOTHING_TAKEN
        if self._shared is not None or window.wait_s(key) > 0:
            return None
        return Taken(0.0, window.take(key))

    async def _take(self, key: str) -> Taken:
        window = self._window
        if not window.limit:
            return NOTHING_TAKEN
        act = ""
        if self._shared is not None:
            act = uuid4().hex
            try:
                wait = await self._shared.take(f"{self.name}:{key}", window.limit, window.period_s, act)
            except SharedDown:
                act = ""
            else:
                if wait > 0:
                    return Taken(wait)
                # Counted here too: should the others be out of reach in a moment, this pod goes on from what it knows.
                return Taken(0.0, window.take(key), act)
        wait = window.wait_s(key)
        return Taken(wait) if wait > 0 else Taken(0.0, window.take(key))

    def give_back(self, key: str, taken: Taken) -> None:
        """The act did not take place after all."""
        self._window.give_back(key, taken.at)
        if taken.act and self._shared is not None:
            self._shared.give_back(f"{self.name}:{key}", taken.act)
