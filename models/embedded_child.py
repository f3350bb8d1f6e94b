"""One program of Postgres, run on the data as Postgres's account: started, followed with progress, ended, explained."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models import embedded_host as host
from models.embedded_account import Account
from models.embedded_host import EmbeddedError

LOG_BYTES = 4 * 2**20
PROGRESS_S = 3.0


@dataclass(frozen=True)
class Watch:
    """How a person sees a long step, and when it is given up. `ends` is of time.monotonic()."""

    log: Callable[[str], None]
    limit_s: float
    ends: float


class Child:
    """Starts `command` in `folder` (opened before the change of user), writing to `log_file`.

    A session of its own: Ctrl-C in the terminal does not reach it.
    inherit: descriptors that it and its children keep open.
    at_our_death: the signal that it gets when we are killed, where the system can do that.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        account: Account,
        *,
        log_file: Path,
        inherit: Sequence[int],
        at_our_death: int,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self._log_file = log_file
        trim_log(log_file)
        log = host.open_private(log_file, os.O_WRONLY | os.O_APPEND)
        try:
            self._began = os.fstat(log).st_size
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=host.environment(),
                stdin=stdin,
                stdout=log,
                stderr=log,
                pass_fds=inherit,
                start_new_session=True,
                umask=0o077,
                preexec_fn=host.die_with_us(at_our_death),
                **account.popen(),
            )
        finally:
            os.close(log)

    @property
    def pid(self) -> int | None:
        """None once it has ended."""
        return self._process.pid if self._process.poll() is None else None

    def until_end(self, doing: str, watch: Watch) -> Iterator[None]:
        """Turns, some a second, until it has ended; now and then tells that we are still `doing`."""
        began = told = time.monotonic()
        while self._process.poll() is None:
            yield
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)  # a sleep that ends with the process
            now = time.monotonic()
            if now > watch.ends:
                raise EmbeddedError(f"{doing} after {watch.limit_s:.0f} s, the limit of a start: see {self._log_file}.")
            if now - told >= PROGRESS_S:
                told = now
                watch.log(f"{doing} ({now - began:.0f} s).")

    def demand_success(self, what: str) -> None:
        if self._process.wait() != 0:
            raise self.fault(what)

    def end(self, limit_s: float) -> None:
        """Fast shutdown; after `limit_s` an immediate one (recovery follows, no loss), at last the hard way."""
        for signum, wait_s in ((signal.SIGINT, limit_s), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
            self._process.send_signal(signum)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(wait_s)
                return

    def fault(self, what: str) -> EmbeddedError:
        """Why it ended, from its own words."""
        with open(self._log_file, "rb") as file:
            file.seek(self._began)
            words = file.read(LOG_BYTES)
        if b"No space left on device" in words or b"Disk quota exceeded" in words:
            return EmbeddedError(f"The disk of {self._log_file.parent} is full: free some space and start again.")
        return EmbeddedError(f"{what}: {last_fault(words)} (see {self._log_file})")


def last_fault(words: bytes) -> str:
    lines = [line.strip() for line in words.decode(errors="replace").splitlines() if line.strip()]
    faults = [line for line in lines if re.search(r"FATAL|PANIC|ERROR|error:", line)]
    text = (faults or lines or ["it said nothing"])[-1]
    return re.sub(r"^\S+ \S+ UTC \[\d+\] ", "", text).rstrip(".")


def trim_log(log_file: Path) -> None:
    """Moves a long log aside, also while Postgres writes it. At most two times LOG_BYTES stay."""
    with contextlib.suppress(FileNotFoundError):
        size = log_file.stat().st_size
        if size > LOG_BYTES:
            with open(log_file, "rb") as file:
                file.seek(size - LOG_BYTES)
                host.write_private(log_file.with_name(log_file.name + ".1"), file.read(LOG_BYTES))
            os.truncate(log_file, 0)  # Postgres appends, so it goes on at the new end
