"""The embedded Postgres: a real server of our own over the programs in a wheel, for a pod without DATABASE_URL.

The wheel's own starter has a start limit shorter than a crash recovery, kills by recycled pid and trusts every local
user, so only its programs are used. What must hold, and how:

- One owner. A lock on DATA_DIR/maru.lock for life; the kernel drops it whatever way we die.
- Never two servers on the same files. Postgres and its children inherit DATA_DIR/postgres.lock, so a server that
  outlived us is seen whatever its pid file says, also from another container. It is stopped, then a new one started.
- Nobody else reads. 0700 folders, 0600 files, no TCP, scram passwords; under root an account of Postgres's own.
- Ctrl-C reaches us, not Postgres (a session of its own): it stops after the pod has drained.

Under root, Postgres's account need not be able to *enter* the folders above the data: its current folder is the data
folder, opened by root before the change of user, and its path is /proc/self/cwd.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from models import embedded_host as host
from models.embedded_account import Account, choose_account, find_programs, named_user_prefix, reachable_programs
from models.embedded_child import Child, Watch, last_fault, trim_log
from models.embedded_host import EmbeddedError

__all__ = ["EmbeddedError", "EmbeddedPostgres", "running_url"]

MAJOR = 18
INITDB_FREE_BYTES = 200 * 2**20
SERVER_NAMES = frozenset({"postgres", "initdb"})

# Set on the command line at each start, so that a new release's values also reach old data.
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "max_connections": "60",
    "shared_buffers": "128MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "512MB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # Parallel queries want /dev/shm, of which containers have 64 MB; a chat's queries are small.
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "timezone": "UTC",
    "logging_collector": "off",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    # Statements and DETAIL lines hold what people write; a log must not.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_startup_progress_interval": "5s",
}


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class EmbeddedPostgres:
    """A Postgres in `data_dir`, started by `start()` (or `with`), ended by `stop()`.

    Call `start` on the main thread, before other threads are started: then the kernel stops Postgres when this process
    is killed. Elsewhere it works too, but after a `kill -9` the server stays for the next start to stop.

    start_limit_s: how long a start, crash recovery included, may take; then it is given up.
    stop_limit_s: how long a stop waits for Postgres's last checkpoint; then it is cut short (recovery follows, no
        loss).
    log: gets one line at a time, for a person who waits.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        start_limit_s: float = 600,
        stop_limit_s: float = 120,
        log: Callable[[str], None] = _to_stderr,
    ) -> None:
        self.data_dir = Path(data_dir).resolve()
        self.cluster = self.data_dir / "postgres"
        self._draft = self.data_dir / "postgres.new"
        self._start_limit_s = start_limit_s
        self._stop_limit_s = stop_limit_s
        self._log = log
        self._watch = Watch(log, 0, 0)
        self._own_lock = self._server_lock = -1
        self._child: Child | None = None
        self._sockets: Path | None = None

    @property
    def pid(self) -> int | None:
        """Postgres's, while it runs."""
        return self._child.pid if self._child is not None else None

    def start(self) -> str:
        """Makes what is missing, starts Postgres, waits until it takes connections; returns the URL for role `maru`.

        Raises EmbeddedError; nothing that was started then still runs, and a retry is safe.
        """
        if self._own_lock >= 0:
            raise EmbeddedError(f"The Postgres in {self.data_dir} was started already.")
        self._watch = Watch(self._log, self._start_limit_s, time.monotonic() + self._start_limit_s)
        try:
            return self._start()
        except OSError as error:
            self.stop()
            raise EmbeddedError(host.explain(error, self.data_dir)) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends Postgres after a last checkpoint. Safe to call twice, or when nothing was started."""
        try:
            if self._child is not None:
                self._child.end(self._stop_limit_s)
        finally:
            self._child = None
            if self._sockets is not None:
                with contextlib.suppress(OSError):
                    host.remove_sockets(self._sockets)
                    self._sockets.rmdir()
                self._sockets = None
            for lock in (self._server_lock, self._own_lock):
                if lock >= 0:
                    os.close(lock)
            self._own_lock = self._server_lock = -1

    def trim_log(self) -> None:
        """Moves the log aside when it is long. Each start does it; a pod that runs for months calls it now and then."""
        trim_log(self.data_dir / "postgres.log")

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> str:
        with contextlib.suppress(FileExistsError):
            self.data_dir.mkdir(mode=0o700, parents=True)
        self._own_folder()
        account = choose_account(self.data_dir, self.cluster)
        self._refuse_strange_data()
        install = find_programs(MAJOR)
        programs = reachable_programs(install, account)
        self._take_over()
        passwords = self._passwords()
        if not self.cluster.exists():
            self._make_cluster(programs, account, passwords["postgres"])
        elif self.cluster.stat().st_uid != account.uid:
            host.chown_tree(self.cluster, account.uid, account.gid)  # root's copy of a backup belongs to root
        self._sockets = host.socket_folder(str(self.data_dir), account.uid, account.gid)
        self._launch(programs, account)
        self._provide(install, passwords)
        return _url(passwords, self._sockets)

    def _own_folder(self) -> None:
        self._own_lock = host.open_private(self.data_dir / "maru.lock")
        if not host.try_lock(self._own_lock):
            owner = os.read(self._own_lock, 20).decode(errors="replace").strip() or "unknown"
            raise EmbeddedError(f"Another Maru (pid {owner}) uses {self.data_dir}: stop it, or give another DATA_DIR.")
        os.ftruncate(self._own_lock, 0)
        os.pwrite(self._own_lock, f"{os.getpid()}\n".encode(), 0)

    def _refuse_strange_data(self) -> None:
        if not self.cluster.exists():
            return
        with contextlib.suppress(OSError):
            self.cluster.rmdir()  # an empty folder is as good as none
            return
        version_file = self.cluster / "PG_VERSION"
        if not version_file.exists():
            raise EmbeddedError(f"{self.cluster} holds no Postgres data (no PG_VERSION): restore or move it.")
        version = version_file.read_text().strip()
        if version != str(MAJOR):
            raise EmbeddedError(
                f"{self.cluster} is of Postgres {version}, this Maru brings {MAJOR}: dump it with the Maru that made "
                f"it (pg_dump), move the folder away, start, restore; or use that Maru."
            )

    def _take_over(self) -> None:
        """Stops what still works on the files after its Maru was killed, and waits for its end.

        Who holds the lock but cannot be seen is in another container; who is seen but holds no lock was started by
        hand. Neither may meet a second server.
        """
        self._server_lock = host.open_private(self.data_dir / "postgres.lock")
        began = time.monotonic()
        steps = iter(((0, signal.SIGINT), (60, signal.SIGQUIT), (75, signal.SIGKILL), (90, None)))
        due_s, signum = next(steps)
        locked = False
        while True:
            locked = locked or host.try_lock(self._server_lock)
            left = self._left_over()
            if locked and not left:
                return
            waited_s = time.monotonic() - began
            if (left and waited_s >= due_s and signum is None) or (not left and waited_s > 15):
                raise EmbeddedError(f"A Postgres that does not end or is out of sight uses {self.data_dir}: stop it.")
            if left and signum is not None and waited_s >= due_s:
                self._log(f"Stopping the Postgres (pid {min(left)}) that a killed Maru left.")
                for pid, parent in left.items():
                    if parent not in left or signum != signal.SIGINT:
                        host.send_signal(pid, signum, lambda pid: pid in self._left_over())
                due_s, signum = next(steps)
            time.sleep(0.05)

    def _left_over(self) -> dict[int, int]:
        return host.processes_in([self.cluster, self._draft], SERVER_NAMES)

    def _passwords(self) -> dict[str, str]:
        """Kept beside the data; made before them, so that there are never data whose password is unknown."""
        path = self.data_dir / "postgres.json"
        if not path.exists():
            if self.cluster.exists():
                raise EmbeddedError(f"{path}, with the passwords of the database, is missing: restore it.")
            made = {name: secrets.token_hex(24) for name in ("postgres", "maru")}
            host.write_private(path, json.dumps(made).encode() + b"\n")
        return _read_passwords(path)

    def _make_cluster(self, programs: Path, account: Account, password: str) -> None:
        """initdb into a draft that is moved into place when it is whole: an interrupted one is simply made anew."""
        shutil.rmtree(self._draft, ignore_errors=True)
        space = os.statvfs(self.data_dir)
        if space.f_bavail * space.f_frsize < INITDB_FREE_BYTES:
            raise EmbeddedError(
                f"The disk of {self.data_dir} is nearly full: a new database needs {INITDB_FREE_BYTES >> 20} MB."
            )
        self._log("Making a new database.")
        maker = account.for_initdb()
        self._draft.mkdir(mode=0o700)
        command = [*named_user_prefix(), str(programs / "bin" / "initdb"), "-D", _as_seen_inside(self._draft)]
        command += ["--username=postgres", "--pwfile=/dev/stdin", "--auth=scram-sha-256", "--encoding=UTF8"]
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--data-checksums"]
        # initdb opens /dev/stdin anew, by its own rights: so not a pipe of root's, but a file without a name.
        word = self.data_dir / "postgres.pwfile"
        word.unlink(missing_ok=True)
        with open(os.open(word, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w") as pwfile:
            word.unlink()
            if os.geteuid() == 0:
                os.chown(self._draft, maker.uid, maker.gid)
                os.fchown(pwfile.fileno(), maker.uid, maker.gid)
            pwfile.write(password + "\n")
            pwfile.flush()
            self._child = self._run(command, self._draft, maker, signal.SIGKILL, pwfile.fileno())
            for _ in self._child.until_end("Still making the database", self._watch):
                pass
        self._child.demand_success("The database could not be made")
        self._child = None
        if maker != account:
            host.chown_tree(self._draft, account.uid, account.gid)
            os.sync()
        self._draft.rename(self.cluster)
        host.sync_folder(self.data_dir)

    def _launch(self, programs: Path, account: Account) -> None:
        pid_file = self.cluster / "postmaster.pid"
        doing = "Postgres is recovering after an unclean stop" if pid_file.exists() else "Postgres is still starting"
        # We hold the lock that every server on these files holds, so this file speaks of a dead one, and its number
        # may be anybody's by now: Postgres would refuse to start if that is a process of its account.
        pid_file.unlink(missing_ok=True)
        command = [str(programs / "bin" / "postgres"), "-D", _as_seen_inside(self.cluster)]
        for name, value in {**SETTINGS, "unix_socket_directories": str(self._sockets)}.items():
            command += ["-c", f"{name}={value}"]
        self._child = self._run(command, self.cluster, account, signal.SIGINT)
        for _ in self._child.until_end(doing, self._watch):
            lines = _lines(pid_file)
            if len(lines) > 7 and lines[0] == str(self._child.pid) and lines[7].strip() == "ready":
                return
        raise self._child.fault("Postgres stopped while it started")

    def _run(
        self, command: list[str], folder: Path, account: Account, at_our_death: int, stdin: int = subprocess.DEVNULL
    ) -> Child:
        return Child(
            command,
            folder,
            account,
            log_file=self.data_dir / "postgres.log",
            inherit=[self._server_lock],
            at_our_death=at_our_death,
            stdin=stdin,
        )

    def _provide(self, install: Path, passwords: dict[str, str]) -> None:
        """The pod's role and database, and what only a superuser may add; each start brings what is missing."""
        script = f"""
            SELECT $$CREATE ROLE maru LOGIN PASSWORD '{passwords["maru"]}'$$
            WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'maru') \\gexec
            SELECT 'CREATE DATABASE maru OWNER maru'
            WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'maru') \\gexec
            \\connect maru
            SET client_min_messages = error;
            CREATE EXTENSION IF NOT EXISTS vector;
            ALTER EXTENSION vector UPDATE;
        """
        command = [str(install / "bin" / "psql"), "-X", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]
        try:
            done = subprocess.run(
                [*command, "-h", str(self._sockets), "-p", SETTINGS["port"], "-d", "postgres"],
                input=script.encode(),
                capture_output=True,
                env={**host.environment(), "PGPASSWORD": passwords["postgres"]},
                start_new_session=True,
                timeout=max(1.0, self._watch.ends - time.monotonic()),
            )
        except subprocess.TimeoutExpired:
            raise EmbeddedError(
                f"Postgres runs but did not answer within {self._watch.limit_s:.0f} s, the limit of a start."
            ) from None
        if done.returncode != 0:
            raise EmbeddedError(f"Postgres runs but the database was not prepared: {last_fault(done.stderr)}")


def running_url(data_dir: Path) -> str | None:
    """URL of the embedded Postgres that another process runs in `data_dir`; None when none is ready there."""
    data_dir = Path(data_dir).resolve()
    lines = _lines(data_dir / "postgres" / "postmaster.pid")
    if len(lines) < 8 or lines[7].strip() != "ready" or not Path(lines[4], f".s.PGSQL.{lines[3]}").exists():
        return None
    return _url(_read_passwords(data_dir / "postgres.json"), Path(lines[4]))


def _as_seen_inside(folder: Path) -> str:
    return "/proc/self/cwd" if os.geteuid() == 0 else str(folder)


def _url(passwords: dict[str, str], sockets: Path) -> str:
    return f"postgresql://maru:{passwords['maru']}@/maru?host={quote(str(sockets), safe='/')}&port={SETTINGS['port']}"


def _read_passwords(path: Path) -> dict[str, str]:
    try:
        kept: dict[str, str] = json.loads(path.read_text())
        if all(re.fullmatch("[0-9a-f]{16,}", kept[name]) for name in ("postgres", "maru")):
            return kept
    except (ValueError, KeyError, TypeError):
        pass
    raise EmbeddedError(f"{path} does not hold the database's passwords: restore it from a backup.")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []
