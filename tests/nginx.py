"""A real nginx over the repository's own files: only what is in `site/` is written anew. Runs as an ordinary user."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.contracts.redis_servers import free_port

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "config" / "nginx"
NOBODY = 65534
FRONT_PROXY = "127.0.0.3"


def program() -> str:
    found = shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))
    assert found, "nginx is needed; scripts/test installs it (Debian: apt-get install nginx-light)"
    return found


def make_certificate(folder: Path) -> None:
    """cert.pem and key.pem for 127.0.0.1, signed by itself."""
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key.pem"),
        "-out", str(folder / "cert.pem"),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=30)


class Nginx:
    """pods: ports on 127.0.0.1. tls: the form with TLS, else plain. rules: (file, old words, new words) to break a file on purpose.

    A proxy at 127.0.0.3 is believed, as one in front of nginx would be.
    """

    def __init__(self, pods: Sequence[int], *, tls: bool = False, rules: Sequence[tuple[str, str, str]] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="maru-nginx-", dir="/tmp"))
        self.port, self.tls_port = free_port(), free_port()
        self.conf = self.folder / "conf" / ("nginx-tls.conf" if tls else "nginx.conf")
        shutil.copytree(CONFIG, self.conf.parent)
        site = self.conf.parent / "site"
        (site / "listen.conf").write_text(f"listen 127.0.0.1:{self.port};\n")
        for name, faults in (("pods.conf", "max_fails=1 fail_timeout=1s"), ("pods-sockets.conf", "max_fails=0")):
            (site / name).write_text("".join(f"server 127.0.0.1:{port} {faults};\n" for port in pods))
        (site / "proxies.conf").write_text(f"set_real_ip_from {FRONT_PROXY};\n")
        if tls:
            make_certificate(self.folder)
            (site / "listen-tls.conf").write_text(
                f"listen 127.0.0.1:{self.tls_port} ssl;\n"
                f"ssl_certificate {self.folder}/cert.pem;\nssl_certificate_key {self.folder}/key.pem;\n"
            )
        for name, old, new in rules:
            text = (self.conf.parent / name).read_text()
            assert old in text, (name, old)
            (self.conf.parent / name).write_text(text.replace(old, new))
        self.log = self.folder / "log"
        self.log.touch()
        self._account: dict[str, int] = {}
        if os.geteuid() == 0:
            self._account = {"user": NOBODY, "group": NOBODY}
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> list[str]:
        return [program(), "-e", "stderr", "-p", str(self.folder), "-c", str(self.conf)]

    def check(self) -> tuple[int, str]:
        """What `nginx -t` says."""
        with open(self.log, "ab") as log:  # its own: nginx opens what its output is for the access log
            done = subprocess.run(
                [*self.command, "-t"], stdout=log, stderr=subprocess.PIPE, text=True, timeout=20, **self._account
            )  # type: ignore[call-overload]
        return done.returncode, done.stderr

    def start(self) -> "Nginx":
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, **self._account)  # type: ignore[call-overload]
        deadline = time.monotonic() + 10
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return self
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.02)

    def close(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
