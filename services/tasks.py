"""The supervisor of background work: every task has an owner, a name and an end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any

from models.database import DatabaseUnavailable

log = logging.getLogger("maru.tasks")


class Tasks:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failures = 0

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run to its end. A failure is logged once, with its name; nobody has to look at the result.

        Without the context of who starts it: a group commit is of many, and its log lines are of no one request.
        """
        task = asyncio.get_running_loop().create_task(work, name=name, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def forever(self, step: Callable[[], Awaitable[None]], name: str, retry_s: float = 1.0) -> asyncio.Task[Any]:
        """Run `step` again and again; after a failure wait `retry_s` and go on."""

        async def loop() -> None:
            while True:
                try:
                    await step()
                except Exception as error:
                    self._failed(name, error)
                    await asyncio.sleep(retry_s)

        return self.spawn(loop(), name)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(task.get_name(), error)

    def _failed(self, name: str, error: BaseException) -> None:
        self.failures += 1
        if isinstance(error, DatabaseUnavailable):  # no fault of the task: a line is enough
            log.warning("task failed", extra={"task": name, "error": str(error)})
        else:
            log.error("task failed", extra={"task": name, "error": type(error).__name__}, exc_info=error)

    async def close(self, limit_s: float = 5.0) -> None:
        """Cancel what runs and wait for it, at most `limit_s`."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=limit_s)
