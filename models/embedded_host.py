"""What the embedded Postgres needs of the system: private files and folders, locks, and processes by fact.

Knows nothing of Postgres's life. Standard library only; Linux (elsewhere what needs /proc finds nothing).
"""

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

SUN_PATH_BYTES = 107
SOCKET_BASES = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path("/run"))


class EmbeddedError(Exception):
    """Why there is no embedded Postgres: one line that tells a person what is wrong and what to do."""


def explain(error: OSError, data_dir: Path) -> str:
    where = error.filename or data_dir
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk of {data_dir} is full: free some space and start again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"This user may not use {where} ({error.strerror}): mend its owner, or give another DATA_DIR."
    return f"Postgres could not be started: {error.strerror or error} ({where})."


def environment() -> dict[str, str]:
    """For Postgres's programs: English messages (we read them), and no PG* variable of the caller's."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {"PATH": "/usr/bin:/bin", **kept, "LC_ALL": "C", "TZ": "UTC"}


def open_private(path: Path, flags: int = os.O_RDWR) -> int:
    """Opens or makes a file that only its owner may read; what root makes belongs to the folder's owner.

    Never through a symlink, and only what was made here changes hands: the folder may be another user's.
    """
    try:
        made = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return os.open(path, flags | os.O_NOFOLLOW)
    give_to_owner(made, path.parent)
    return made


def give_to_owner(file: int, folder: Path) -> None:
    if os.geteuid() == 0:
        status = folder.stat()
        os.fchown(file, status.st_uid, status.st_gid)


def write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, also when the power fails."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    file = open_private(draft, os.O_WRONLY)
    try:
        while content:
            content = content[os.write(file, content) :]
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def chown_tree(top: Path, uid: int, gid: int) -> None:
    for _, folders, files, here in os.fwalk(top):
        os.fchown(here, uid, gid)
        for name in (*folders, *files):
            os.chown(name, uid, gid, dir_fd=here, follow_symlinks=False)


def try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def socket_folder(seed: str, uid: int, gid: int) -> Path:
    """A folder of `uid` alone with a path short enough for a socket, the same one for the same seed.

    Where somebody put something else at that name (anybody may, in /tmp), the next name is taken.
    """
    name = "maru-" + hashlib.sha256(f"{uid} {seed}".encode()).hexdigest()[:16]
    for base in SOCKET_BASES:
        for path in (base / name, *(base / f"{name}-{number}" for number in range(1, 10))):
            if len(os.fsencode(path / ".s.PGSQL.5432.lock")) > SUN_PATH_BYTES:
                break
            try:
                with contextlib.suppress(FileExistsError):
                    path.mkdir(mode=0o700)
                status = path.lstat()
                ours = status.st_uid in (uid, os.geteuid()) and status.st_mode & 0o077 == 0
                if stat.S_ISDIR(status.st_mode) and ours:
                    if os.geteuid() == 0:
                        os.chown(path, uid, gid)
                    remove_sockets(path)
                    return path
            except OSError:
                break  # this base does not exist, is full or read-only
    raise EmbeddedError("No folder for Postgres's socket: neither /tmp, /var/tmp, /dev/shm nor /run can be written.")


def remove_sockets(folder: Path) -> None:
    """What a killed server left; its lock file would stop a new one when another process has got its number."""
    for path in folder.glob(".s.PGSQL.*"):
        path.unlink(missing_ok=True)


def processes_in(folders: list[Path], names: frozenset[str]) -> dict[int, int]:
    """Processes called one of `names` whose current folder is one of `folders`: {pid: parent's pid}.

    By what the kernel knows, not by a pid file: a number in a file may be another process's by now.
    """
    places = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            status = folder.stat()
            places.add((status.st_dev, status.st_ino))
    found = {}
    for entry in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if entry.isdigit():
            with contextlib.suppress(OSError):
                here = os.stat(f"/proc/{entry}/cwd")
                if (here.st_dev, here.st_ino) in places:
                    name, rest = Path(f"/proc/{entry}/stat").read_text().split("(", 1)[1].rsplit(")", 1)
                    if name in names:
                        found[int(entry)] = int(rest.split()[1])
    return found


def send_signal(pid: int, signum: int, still: Callable[[int], bool]) -> None:
    """Signals `pid` if it is `still` what it was. The handle is taken before that look: no newcomer can be hit."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            if still(pid):
                signal.pidfd_send_signal(handle, signum)
        finally:
            os.close(handle)


def die_with_us(signum: int) -> Callable[[], None] | None:
    """A preexec_fn by which the kernel signals the child when we are killed, so that no `kill -9` leaves it behind.

    None where it would be wrong: the kernel means the starting *thread*'s death, and Python must not run between
    fork and exec beside other threads. Then the next start takes the orphan over.
    """
    if not sys.platform.startswith("linux") or threading.active_count() > 1:
        return None
    if threading.current_thread() is not threading.main_thread():
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def before_exec() -> None:
        prctl(1, signum)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return before_exec
