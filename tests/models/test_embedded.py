"""The embedded Postgres against the faults of a real machine: real servers, real signals, real users, a real full disk."""

import contextlib
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from models import embedded, embedded_account, embedded_child, embedded_host
from models.embedded import EmbeddedError, EmbeddedPostgres, running_url

ROOT = Path(__file__).resolve().parents[2]
ORDINARY = 65534  # nobody: an ordinary user that every machine has
STRANGER = 54321  # a user without a name
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")


class Driver:
    """A process with an embedded Postgres in it (embedded_driver.py)."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        command = [sys.executable, "-m", "tests.models.embedded_driver", str(data_dir), *options]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
        )

    def said(self) -> dict[str, object]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1].decode()
        found: dict[str, object] = json.loads(line)
        return found

    def url(self) -> str:
        found = self.said()
        assert "url" in found, found
        self.pid = int(str(found["pid"]))
        return str(found["url"])

    def error(self) -> str:
        return one_line(str(self.said()["error"]))

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> str:
        """Ends it like the end of its work would; what it told a person meanwhile."""
        if self.process.stdin is not None and self.process.stdin.closed:
            return ""
        _, told = self.process.communicate(timeout=60)
        return told.decode()


def one_line(text: str) -> str:
    assert "\n" not in text and len(text) < 400
    return text


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path that others may enter (pytest's own are closed to other users)."""
    path = Path(tempfile.mkdtemp(prefix="maru-test-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def made_once() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="maru-test-", dir="/tmp"))
    with EmbeddedPostgres(path / "data", log=lambda text: None) as url:
        run(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    yield path / "data"
    shutil.rmtree(path)


@pytest.fixture
def data(made_once: Path, folder: Path) -> Path:
    """A folder with a stopped database in which `kept` holds 7: a copy, since making one takes a second."""
    subprocess.run(["cp", "-a", made_once, folder / "data"], check=True)
    return folder / "data"


@pytest.fixture
def driver(folder: Path) -> Iterator[Callable[..., Driver]]:
    made: list[Driver] = []

    def start(data_dir: Path, *options: str) -> Driver:
        made.append(Driver(data_dir, *options))
        return made[-1]

    yield start
    for each in made:
        each.close()
    # What `--thread` left on purpose, where the test did not get to its end.
    for cluster in folder.rglob("PG_VERSION"):
        for pid in embedded_host.processes_in([cluster.parent], embedded.SERVER_NAMES):
            os.kill(pid, signal.SIGKILL)


def ends(*pids: int) -> None:
    """Returns when the processes have ended; a descriptor of a process becomes readable then."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                assert select.select([handle], [], [], 30)[0], f"{pid} still runs"
            finally:
                os.close(handle)


def run(url: str, *statements: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


def as_user(uid: int, work: Callable[[], str]) -> str:
    """What `work` returns when user `uid` does it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.write(writer, work().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        answer = file.read()
    os.waitpid(child, 0)
    return answer


def servers(data_dir: Path) -> dict[int, int]:
    return embedded_host.processes_in([data_dir / "postgres", data_dir / "postgres.new"], embedded.SERVER_NAMES)


def owned_by(path: Path, uid: int) -> Path:
    path.mkdir()
    os.chown(path, uid, uid)
    return path


def test_a_fresh_start_serves_a_database_with_vectors_and_a_stop_leaves_nothing_running(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "data")
    url = server.start()
    assert run(
        url, "SELECT '[1,2]'::vector <-> '[1,4]', current_user, rolsuper FROM pg_roles WHERE rolname = 'maru'"
    ) == [(2.0, "maru", False)]
    assert run(url, "SHOW data_checksums") == [("on",)]
    assert run(url, "SELECT lower('ÄÖ'), datlocale FROM pg_database WHERE datname = 'maru'") == [("äö", "C.UTF-8")]
    assert run(url, "SHOW listen_addresses") == [("",)]
    assert running_url(folder / "data") == url
    sockets = server._sockets
    server.stop()
    server.stop()
    assert server.pid is None and servers(folder / "data") == {}
    assert sockets is not None and not sockets.exists()
    assert running_url(folder / "data") is None


def test_a_second_start_finds_what_the_first_one_wrote(folder: Path) -> None:
    told: list[str] = []
    with EmbeddedPostgres(folder / "data", log=told.append) as url:
        run(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    with EmbeddedPostgres(folder / "data", log=told.append) as url:
        assert run(url, "SELECT n FROM kept") == [(7,)]
    assert told == ["Making a new database."]


@pytest.mark.parametrize("way", ["the kernel ends Postgres", "the next start takes it over"])
@pytest.mark.parametrize("who", ["self", "ordinary"])
def test_a_killed_process_and_a_new_start_keep_what_was_committed(
    way: str, who: str, data: Path, driver: Callable[..., Driver]
) -> None:
    user = [f"--uid={ORDINARY}"] if who == "ordinary" else []
    if user and os.geteuid() != 0:
        pytest.skip("only root can become other users")
    if user:
        subprocess.run(["chown", "-R", f"{ORDINARY}:{ORDINARY}", data], check=True)
    first = driver(data, *user, *(["--thread"] if "takes" in way else []))
    run(first.url(), "INSERT INTO kept VALUES (8)")
    first.kill()
    if "kernel" in way:
        ends(first.pid)
        assert servers(data) == {}
    else:
        assert first.pid in servers(data)
    second = driver(data, *user)
    assert run(second.url(), "SELECT n FROM kept") == [(7,), (8,)]
    assert second.pid != first.pid
    assert ("that a killed Maru left" in second.close()) is ("takes" in way)


def test_a_killed_postgres_starts_again_also_while_a_query_of_it_still_runs(data: Path) -> None:
    server = EmbeddedPostgres(data, log=lambda text: None)
    url = server.start()
    busy = psycopg2.connect(url)
    backend = busy.info.backend_pid
    endless = threading.Thread(target=ask_in_vain, args=(busy, "SELECT count(*) FROM loops"))
    run(url, "CREATE VIEW loops AS SELECT FROM generate_series(1, 1e9::bigint) a, generate_series(1, 1e9::bigint) b")
    endless.start()
    postgres = server.pid
    assert postgres is not None
    os.kill(postgres, signal.SIGKILL)
    ends(postgres)
    server.stop()
    url = server.start()
    try:
        endless.join(30)
        assert not endless.is_alive() and backend not in servers(data)
        assert run(url, "SELECT n FROM kept") == [(7,)]
    finally:
        server.stop()
        busy.close()


def ask_in_vain(connection: "psycopg2.extensions.connection", statement: str) -> None:
    with connection.cursor() as cursor, contextlib.suppress(psycopg2.Error):
        cursor.execute(statement)


def test_a_pid_file_that_names_somebody_elses_process_neither_stops_the_start_nor_harms_the_process(
    data: Path, driver: Callable[..., Driver]
) -> None:
    first = driver(data, "--thread")
    first.url()
    os.kill(first.pid, signal.SIGKILL)
    first.kill()
    pid_file = data / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    owner = pid_file.stat()
    identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    # Of the same user and in the same folder: only its name tells that it is no Postgres.
    other = subprocess.Popen(["sleep", "600"], cwd=data / "postgres", **identity)  # type: ignore[call-overload]
    try:
        pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        sockets = Path(lines[4])
        (sockets / ".s.PGSQL.5432.lock").write_text(f"{other.pid}\n")
        with EmbeddedPostgres(data, log=lambda text: None) as url:
            assert run(url, "SELECT 1") == [(1,)]
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_second_start_on_the_same_data_says_who_uses_them_and_harms_nobody(
    data: Path, driver: Callable[..., Driver]
) -> None:
    first = driver(data)
    url = first.url()
    second = driver(data)
    assert f"Another Maru (pid {first.process.pid}) uses {data}" in second.error()
    second.close()
    assert run(url, "SELECT 1") == [(1,)]


def test_of_many_first_starts_at_once_one_wins(folder: Path, driver: Callable[..., Driver]) -> None:
    said = [each.said() for each in [driver(folder / "data") for _ in range(4)]]
    assert sorted("url" in found for found in said) == [False, False, False, True]


def test_data_of_another_version_are_refused_untouched(data: Path) -> None:
    version = data / "postgres" / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(EmbeddedError, match=r"is of Postgres 17, this Maru brings 18: dump it") as caught:
        EmbeddedPostgres(data).start()
    one_line(str(caught.value))
    version.write_text("18\n")
    with EmbeddedPostgres(data) as url:
        assert run(url, "SELECT 1") == [(1,)]


def test_a_folder_that_holds_something_else_is_refused_untouched(folder: Path) -> None:
    (folder / "data" / "postgres").mkdir(parents=True)
    (folder / "data" / "postgres" / "photo.jpg").write_text("mine")
    with pytest.raises(EmbeddedError, match="holds no Postgres data"):
        EmbeddedPostgres(folder / "data").start()
    assert (folder / "data" / "postgres" / "photo.jpg").read_text() == "mine"


@root_only
def test_root_needs_no_folder_loosened_when_checkout_and_data_are_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    install = embedded.find_programs(embedded.MAJOR)
    for part in (install.parent / install.name, install.parent.with_name(install.parent.name + ".libs")):
        leave_out = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(part, closed / part.relative_to(install.parent.parent), ignore=leave_out)
    monkeypatch.setattr(embedded, "find_programs", lambda major: closed / install.relative_to(install.parent.parent))
    monkeypatch.setattr(embedded_account, "PROGRAM_SHELVES", (Path("/proc/none"), folder / "shelf"))
    for _ in ("makes the copy", "finds the copy"):
        with EmbeddedPostgres(closed / "data", log=lambda text: None) as url:
            assert run(url, "SELECT '[1]'::vector::text") == [("[1]",)]
            for pid in servers(closed / "data"):
                assert os.stat(f"/proc/{pid}").st_uid in embedded_account.SPARE_UIDS
    assert stat.S_IMODE(closed.stat().st_mode) == stat.S_IMODE((closed / "data").stat().st_mode) == 0o700
    assert as_user(STRANGER, lambda: str(os.access(closed, os.R_OK))) == "False"
    assert len(list((folder / "shelf").iterdir())) == 1


@root_only
def test_a_copy_of_the_programs_that_somebody_else_could_change_is_not_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = owned_by(folder / "shelf", STRANGER)
    monkeypatch.setattr(embedded_account, "PROGRAM_SHELVES", (shelf,))
    monkeypatch.setattr(embedded_account, "_usable", lambda install, account: False)
    with pytest.raises(EmbeddedError, match="Postgres may not run as root") as caught:
        EmbeddedPostgres(folder / "data").start()
    one_line(str(caught.value))
    assert list(shelf.iterdir()) == []


@root_only
def test_a_root_that_may_not_become_somebody_else_is_told_so(folder: Path) -> None:
    start = "from models.embedded import *; from pathlib import Path; EmbeddedPostgres(Path(sys.argv[1])).start()"
    code = f"import sys; sys.tracebacklimit = 0; {start}"
    bounded = ["setpriv", "--bounding-set=-setuid,-setgid,-sys_admin"]
    done = subprocess.run([*bounded, sys.executable, "-c", code, folder / "data"], cwd=ROOT, capture_output=True)
    assert b"This root may not become user number 609" in done.stderr.splitlines()[-1]


@root_only
def test_nobody_else_can_read_or_connect(data: Path) -> None:
    with EmbeddedPostgres(data, log=lambda text: None) as url:
        sockets = Path(url.split("host=")[1].split("&")[0])
        for path in (data, *(data).rglob("*"), sockets):
            status = path.lstat()
            if not stat.S_ISSOCK(status.st_mode):
                assert status.st_mode & 0o077 == 0, path
            assert status.st_uid in (0, *embedded_account.SPARE_UIDS), path

        def look() -> str:
            faults = []
            for path in (data / "postgres.json", data / "postgres" / "PG_VERSION"):
                try:
                    path.read_bytes()
                except PermissionError:
                    faults.append("denied")
            try:
                psycopg2.connect(url).close()
            except psycopg2.OperationalError as error:
                faults.append("denied" if "Permission denied" in str(error) else str(error))
            return " ".join(faults)

        assert as_user(STRANGER, look) == as_user(ORDINARY, look) == "denied denied denied"


def test_the_password_is_asked_of_everybody(data: Path) -> None:
    with EmbeddedPostgres(data, log=lambda text: None) as url:
        password = url.split(":")[2].split("@")[0]
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(url.replace(password, "guess"))
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(url.replace("maru:", "postgres:").replace("/maru?", "/postgres?"))


@pytest.mark.parametrize("options", [[], ["--thread"]], ids=["it ends with us", "it outlives us"])
def test_an_interrupted_initdb_is_made_anew(options: list[str], folder: Path, driver: Callable[..., Driver]) -> None:
    data_dir = folder / "data"
    first = driver(data_dir, *options)
    while not (data_dir / "postgres.new" / "PG_VERSION").exists():
        assert first.process.poll() is None
    first.kill()
    assert not (data_dir / "postgres").exists()
    assert "url" in driver(data_dir).said()
    assert not (data_dir / "postgres.new").exists()


def test_a_nearly_full_disk_is_named_before_anything_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(folder)
    nearly = os.statvfs_result((*real[:2], *(1000,) * 3, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda path: nearly)
    with pytest.raises(EmbeddedError, match=r"nearly full: a new database needs 200 MB") as caught:
        EmbeddedPostgres(folder / "data").start()
    one_line(str(caught.value))
    assert not (folder / "data" / "postgres").exists()


@root_only
def test_a_full_disk_is_named_and_after_some_was_freed_nothing_is_lost(folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", disk], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        with EmbeddedPostgres(disk / "data", log=lambda text: None) as url:
            run(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
        ballast = disk / "ballast"
        with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(65536))
        with open(ballast, "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"0")
        with pytest.raises(EmbeddedError, match=r"The disk of .* is full: free some space and start again") as caught:
            EmbeddedPostgres(disk / "data").start()
        one_line(str(caught.value))
        ballast.unlink()
        with EmbeddedPostgres(disk / "data", log=lambda text: None) as url:
            assert run(url, "SELECT n FROM kept") == [(7,)]
    finally:
        subprocess.run(["umount", disk], check=True)


@root_only
def test_a_folder_that_may_not_be_written_is_named(folder: Path, driver: Callable[..., Driver]) -> None:
    (folder / "data").mkdir()
    refused = driver(folder / "data", f"--uid={ORDINARY}")
    assert f"This user may not use {folder / 'data'}" in refused.error()


@root_only
def test_data_of_another_user_are_refused_and_root_serves_them_as_their_owner(
    folder: Path, driver: Callable[..., Driver]
) -> None:
    top = owned_by(folder / "top", ORDINARY)
    first = driver(top / "data", f"--uid={ORDINARY}")
    first.url()
    first.close()
    with EmbeddedPostgres(top / "data", log=lambda text: None):
        assert {os.stat(f"/proc/{pid}").st_uid for pid in servers(top / "data")} == {ORDINARY}
    again = driver(top / "data", f"--uid={ORDINARY}")
    again.url()
    again.close()

    (folder / "shared").mkdir(mode=0o777)
    (folder / "shared").chmod(0o777)
    with EmbeddedPostgres(folder / "shared", log=lambda text: None):
        pass
    for name in ("maru.lock", "postgres.lock", "postgres.log", "postgres.json"):
        (folder / "shared" / name).unlink()
    assert "belongs to another user" in driver(folder / "shared", f"--uid={ORDINARY}").error()


@root_only
def test_roots_copy_of_a_backup_starts(data: Path) -> None:
    shutil.copytree(data, data.with_name("restored"))  # as root: everything is root's now
    with EmbeddedPostgres(data.with_name("restored"), log=lambda text: None) as url:
        assert run(url, "SELECT n FROM kept") == [(7,)]


@root_only
def test_a_user_without_a_name_gets_a_database_or_one_line(folder: Path, driver: Callable[..., Driver]) -> None:
    top = owned_by(folder / "top", STRANGER)
    found = driver(top / "data", f"--uid={STRANGER}").said()
    if "error" in found:
        assert f"User number {STRANGER} has no name in /etc/passwd" in one_line(str(found["error"]))
    else:
        assert run(str(found["url"]), "SELECT 1") == [(1,)]


def test_lost_passwords_are_named_and_not_replaced(data: Path) -> None:
    kept = data / "postgres.json"
    content = kept.read_text()
    kept.unlink()
    with pytest.raises(EmbeddedError, match=r"postgres\.json, with the passwords of the database, is missing"):
        EmbeddedPostgres(data).start()
    for broken in ("", "{}", "[]", '{"postgres": "", "maru": "\'"}'):
        kept.write_text(broken)
        with pytest.raises(EmbeddedError, match="does not hold the database's passwords"):
            EmbeddedPostgres(data).start()
    kept.write_text(content)
    with EmbeddedPostgres(data) as url:
        assert run(url, "SELECT 1") == [(1,)]


def test_ctrl_c_reaches_the_server_but_not_its_postgres(folder: Path, driver: Callable[..., Driver]) -> None:
    owner = driver(folder / "data")
    owner.url()
    postgres = owner.pid
    assert os.getsid(postgres) == postgres
    os.killpg(owner.process.pid, signal.SIGINT)
    assert owner.said() == {"after_ctrl_c": "answers"}
    owner.close()
    assert owner.process.returncode == 0
    ends(postgres)
    assert servers(folder / "data") == {}


class Gate:
    """Programs whose Postgres does nothing until the gate is opened: a recovery as slow as one likes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        install = embedded.find_programs(embedded.MAJOR)
        place = folder / install.parent.name / install.name
        (place / "bin").mkdir(parents=True)
        self.file = folder / "gate"
        slow = place / "bin" / "postgres"
        os.mkfifo(self.file, 0o666)
        self.file.chmod(0o666)
        programs = embedded.reachable_programs(install, embedded.choose_account(folder, folder / "none"))
        slow.write_text(f'#!/bin/sh\nread -r _ <"{self.file}"\nexec "{programs}/bin/postgres" "$@"\n')
        slow.chmod(0o755)
        (place / "bin" / "psql").symlink_to(install / "bin" / "psql")
        monkeypatch.setattr(embedded, "find_programs", lambda major: place)
        monkeypatch.setattr(embedded, "reachable_programs", lambda install, account: place)
        monkeypatch.setattr(embedded_child, "PROGRESS_S", 0.1)

    def open(self) -> None:
        with open(self.file, "w") as file:
            file.write("\n")


def test_a_slow_recovery_is_waited_for_and_told(
    folder: Path, data: Path, driver: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = driver(data, "--thread")
    run(first.url(), "INSERT INTO kept VALUES (8)")
    os.kill(first.pid, signal.SIGKILL)
    first.kill()
    gate = Gate(folder, monkeypatch)
    told: list[str] = []

    def log(text: str) -> None:
        told.append(text)
        if len(told) == 3:
            gate.open()

    with EmbeddedPostgres(data, log=log) as url:
        assert run(url, "SELECT n FROM kept") == [(7,), (8,)]
    assert told[2].startswith("Postgres is recovering after an unclean stop (")


def test_a_start_that_takes_too_long_is_given_up_and_leaves_nothing(
    folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Gate(folder, monkeypatch)
    server = EmbeddedPostgres(data, start_limit_s=0.3, stop_limit_s=0.1, log=lambda text: None)
    with pytest.raises(
        EmbeddedError, match=r"still starting after 0 s, the limit of a start: see .*postgres\.log"
    ) as caught:
        server.start()
    one_line(str(caught.value))
    assert server.pid is None and servers(data) == {}


def test_ctrl_c_during_a_start_leaves_nothing(folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Gate(folder, monkeypatch)

    def interrupt(text: str) -> None:
        assert len(servers(data)) == 1
        raise KeyboardInterrupt

    server = EmbeddedPostgres(data, log=interrupt)
    with pytest.raises(KeyboardInterrupt):
        server.start()
    assert servers(data) == {}


def test_a_postgres_that_ends_while_it_starts_is_noticed_and_its_reason_told(data: Path) -> None:
    (data / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedError, match=r"could not .*pg_control") as caught:
        EmbeddedPostgres(data).start()
    one_line(str(caught.value))


@root_only
def test_a_name_that_somebody_took_in_tmp_is_left_alone(folder: Path) -> None:
    first = embedded_host.socket_folder("seed", ORDINARY, ORDINARY)
    first.rmdir()
    trap = folder / "trap"
    trap.mkdir()
    first.symlink_to(trap)
    second = first.with_name(first.name + "-1")
    owned_by(second, STRANGER)
    try:
        third = embedded_host.socket_folder("seed", ORDINARY, ORDINARY)
        assert third.name == first.name + "-2"
        assert (third.stat().st_uid, stat.S_IMODE(third.stat().st_mode)) == (ORDINARY, 0o700)
        third.rmdir()
        assert trap.stat().st_uid == 0 and second.stat().st_uid == STRANGER
    finally:
        first.unlink()
        second.rmdir()


def test_a_deep_folder_does_not_make_the_sockets_path_too_long(folder: Path, data: Path) -> None:
    deep = folder / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    data.rename(deep / "data")
    with EmbeddedPostgres(deep / "data", log=lambda text: None) as url:
        assert run(url, "SELECT 1") == [(1,)]


def test_a_long_log_is_moved_aside(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_child, "LOG_BYTES", 1000)
    (data / "postgres.log").write_text("old\n" * 1000)
    server = EmbeddedPostgres(data, log=lambda text: None)
    with server:
        assert (data / "postgres.log.1").stat().st_size == 1000
        assert "old" not in (data / "postgres.log").read_text()
        with open(data / "postgres.log", "a") as log:
            log.write("new\n" * 1000)
        server.trim_log()
        assert (data / "postgres.log.1").read_text().endswith("new\n")
        assert (data / "postgres.log").stat().st_size == 0
    assert "shut down" in (data / "postgres.log").read_text()


def test_the_log_holds_nothing_that_people_wrote(data: Path) -> None:
    with EmbeddedPostgres(data, log=lambda text: None) as url:
        run(url, "CREATE TABLE said (text text UNIQUE)", "INSERT INTO said VALUES ('secret')")
        with pytest.raises(psycopg2.errors.UniqueViolation):
            run(url, "INSERT INTO said VALUES ('secret')")
    log = (data / "postgres.log").read_text()
    assert "unique constraint" in log and "secret" not in log
