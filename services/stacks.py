"""What a pod is doing, for whoever asks with SIGUSR1: where every task waits and what every thread is at. No values."""

import asyncio
import faulthandler
import signal
import sys
import threading
from collections import Counter
from types import CodeType
from typing import Any, TextIO

DEEPEST = 40


def listen(loop: asyncio.AbstractEventLoop, out: TextIO = sys.stderr) -> None:
    """Print at each SIGUSR1. Threads are printed by the signal's own handler, so also when the loop is stuck."""

    def tell() -> None:
        text = tasks(loop)  # told by a thread: nobody may read what we write
        threading.Thread(target=print, args=(text,), kwargs={"file": out, "flush": True}, daemon=True).start()

    loop.add_signal_handler(signal.SIGUSR1, tell)
    faulthandler.register(signal.SIGUSR1, file=out, all_threads=True, chain=True)


def tasks(loop: asyncio.AbstractEventLoop) -> str:
    """All tasks, those that wait in the same place together."""
    found = Counter((task.get_name().rstrip("-0123456789"), where(task)) for task in asyncio.all_tasks(loop))
    lines = [f"Tasks: {sum(found.values())}"]
    for (name, places), count in sorted(found.items()):
        lines.append(f"{name}" + (f" ({count} of them)" if count > 1 else ""))
        lines += [f"  {place}" for place in places]
    return "\n".join(lines)


def where(task: asyncio.Task[Any]) -> tuple[str, ...]:
    """The calls of a task from its beginning to what it waits for."""
    places: list[str] = []
    waiter: Any = task.get_coro()
    while waiter is not None and len(places) < DEEPEST:
        frame = next((found for name in FRAMES if (found := getattr(waiter, name, None)) is not None), None)
        if frame is None:
            places.append(f"waits for {type(waiter).__name__}")
            break
        places.append(place(frame.f_code, frame.f_lineno))
        waiter = next((found for name in AWAITS if (found := getattr(waiter, name, None)) is not None), None)
    return tuple(places)


FRAMES = ("cr_frame", "gi_frame", "ag_frame")
AWAITS = ("cr_await", "gi_yieldfrom", "ag_await")


def place(code: CodeType, line: int | None) -> str:
    return f"{code.co_filename}:{line} {code.co_qualname}"
