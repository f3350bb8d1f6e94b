"""What scripts/test does once the Python and browser packages are there: programs from apt, then all checks.

Without paths everything is run, also after a failure, and the failures are named at the end. With paths only these
tests. Arguments go to pytest as they are.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from prepare import ROOT, VENV, Fault, find_node, run_step, say

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_SBIN = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
# What is missing without it, how it is recognised, the package of Debian and Ubuntu that brings it.
PROGRAMS = [
    ("Chromium, for the browser tests", lambda: any(map(shutil.which, BROWSERS)), "chromium"),
    ("redis-server, for the tests of many pods", lambda: shutil.which("redis-server"), "redis-server"),
    ("nginx, for the tests behind a proxy", lambda: shutil.which("nginx", path=_SBIN), "nginx-light"),
    ("promtool, for the alert rules", lambda: shutil.which("promtool"), "prometheus"),
    ("a Korean font, for screenshots", lambda: list(Path("/usr/share/fonts").rglob("*CJK*")), "fonts-noto-cjk"),
]


def main(arguments: list[str]) -> int:
    os.chdir(ROOT)
    os.environ["PATH"] = os.pathsep.join((str(VENV / "bin"), os.environ.get("PATH", os.defpath), "/usr/sbin"))
    _install_programs()
    missing = [what for what, there, _ in PROGRAMS if not there()]
    for what in missing:
        say(f"Missing: {what}. The tests that need it are skipped.")
    if missing and os.environ.get("CI") == "true":
        say("In CI nothing may be missing: failed.")
        return 1
    python = str(VENV / "bin" / "python")
    pytest = [python, "-m", "pytest", *arguments]
    if any(Path(argument.partition("::")[0]).exists() for argument in arguments if not argument.startswith("-")):
        return subprocess.run(pytest).returncode
    checks = [
        ("ruff check", [python, "-m", "ruff", "check"]),
        ("ruff format --check", [python, "-m", "ruff", "format", "--check"]),
        ("mypy", [python, "-m", "mypy"]),
        ("lint-imports", [str(VENV / "bin" / "lint-imports")]),
        ("pytest", pytest),
    ]
    scripts = sorted(str(path) for path in (ROOT / "tests" / "js").glob("**/*.test.*js"))
    if scripts:
        checks.append(("node --test", [str(find_node() or "node"), "--test", *scripts]))
    failed = [name for name, command in checks if not _passes(name, command)]
    say(f"Failed: {', '.join(failed)}." if failed else "All checks passed.")
    return 1 if failed else 0


def _passes(name: str, command: list[str]) -> bool:
    say(f"{name} ...")
    try:
        return subprocess.run(command).returncode == 0
    except OSError as error:
        say(f"{name} cannot be run: {error.strerror}.")
        return False


def _install_programs() -> None:
    """Through apt, when something is missing and we may; what could not be had is told by the caller."""
    packages = [package for _, there, package in PROGRAMS if not there()]
    if not packages or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        run_step("Asking apt for its lists", ["apt-get", "-q", "update"], environment)
        install = ["apt-get", "-q", "install", "-y", "--no-install-recommends", *packages]
        run_step(f"Installing {', '.join(packages)}", install, environment)
    except Fault as fault:
        say(str(fault))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
