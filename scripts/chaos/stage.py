"""The processes: Postgres behind a wire that can be cut, Redis, a model, pods, nginx. Knows how to hurt each of them."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import aiohttp

from bench.processes import ROOT, SECRET, environment, family

START_S = 60.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))
    if not found:
        raise SystemExit(f"{name} is needed; scripts/test installs it.")
    return found


async def listening(port: int) -> None:
    """Returns once something takes connections there."""
    async with asyncio.timeout(START_S):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)


class Process:
    """A program that is started, paused, killed and started again. Its words go to a log in the stage's folder."""

    def __init__(self, folder: Path, name: str, command: Sequence[str], **more: str) -> None:
        self.name = name
        self._command = command
        self._environment = environment(**more)
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.busy = asyncio.Lock()  # one fault at a time

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, **given: Any) -> None:
        with open(self._log, "ab") as log:
            options = {"stdin": subprocess.DEVNULL, "stdout": log, **given}
            self._process = subprocess.Popen(
                self._command, env=self._environment, cwd=ROOT, stderr=log, start_new_session=True, **options
            )

    @property
    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def gone(self) -> None:
        while not self.has_ended:
            await asyncio.sleep(0.02)

    def end(self) -> None:
        """With all that it has started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()


class Told(Process):
    """A process of this package that says where it listens and takes commands as lines of JSON."""

    def start(self, **given: Any) -> None:
        super().start(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process is not None and self._process.stdout is not None
        self.port = int(json.loads(self._process.stdout.readline())["port"])

    def tell(self, **command: Any) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()


class Pod(Process):
    def __init__(self, folder: Path, number: int, **settings: str) -> None:
        self.port = free_port()
        super().__init__(folder, f"pod{number}", [sys.executable, "app.py"], PORT=str(self.port), **settings)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ready(self, http: aiohttp.ClientSession) -> None:
        async with asyncio.timeout(START_S):
            while True:
                if self.has_ended:
                    self.start()  # as whoever supervises pods does
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with http.get(f"{self.url}/readyz", timeout=aiohttp.ClientTimeout(total=2)) as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.05)


class Redis(Process):
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        command = [
            program("redis-server"),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(folder),
        ]
        super().__init__(folder, "redis", command)

    async def say(self, *words: str) -> None:
        """One command; whether it is heard is the server's affair."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(" ".join(words).encode() + b"\r\n")
                await reader.read(64)
                writer.close()

    async def ready(self) -> None:
        await listening(self.port)


class Nginx(Process):
    """The project's own configuration; only what `site/` holds is this stage's: addresses, the pods' and its own."""

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self.port = free_port()
        place = folder / "nginx"
        shutil.copytree(ROOT / "config" / "nginx", place, dirs_exist_ok=True)
        for name, faults in (("pods.conf", "max_fails=1 fail_timeout=1s"), ("pods-sockets.conf", "max_fails=0")):
            lines = "".join(f"server 127.0.0.1:{port} {faults};\n" for port in ports)
            (place / "site" / name).write_text(lines)
        (place / "site" / "listen.conf").write_text(f"listen 127.0.0.1:{self.port};\n")
        command = [program("nginx"), "-e", "stderr", "-p", str(place), "-c", str(place / "nginx.conf")]
        super().__init__(folder, "nginx", command)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ready(self) -> None:
        await listening(self.port)


class Stage:
    """All of them.

    front: where clients connect: nginx.
    """

    def __init__(self, folder: Path, database_url: str, postgres_pid: int, pods: int, seed: int) -> None:
        self.folder = folder
        self._postgres_pid = postgres_pid
        self.postgres = asyncio.Lock()
        parts = urlsplit(database_url)
        where = parse_qs(parts.query)
        path = f"{where['host'][0]}/.s.PGSQL.{where.get('port', ['5432'])[0]}"
        self.direct_url = database_url
        self.wire = Told(folder, "wire", [sys.executable, "-m", "chaos.proxy", path])
        self.model = Told(folder, "model", [sys.executable, "-m", "chaos.model", str(seed)])
        self.redis = Redis(folder)
        self.wire.start()
        self.model.start()
        self.redis.start()
        login = parts.netloc.rpartition("@")[0]
        settings = {
            "HOST": "127.0.0.1", "DATABASE_URL": f"postgresql://{login}@127.0.0.1:{self.wire.port}{parts.path}",
            "REDIS_URL": f"redis://127.0.0.1:{self.redis.port}", "JWT_SECRET": SECRET, "LOG_LEVEL": "warning",
            "DATABASE_THREADS": "4", "ACCESS_TOKEN_S": "86400", "REGISTRATIONS_PER_HOUR": "0", "SENDS_PER_10S": "0",
            "MAX_CONNECTIONS_PER_USER": "0", "LEASE_S": "3", "DRAIN_S": "3", "STALL_TIMEOUT_S": "5",
            "FIRST_TOKEN_TIMEOUT_S": "5", "OPENAI_BASE_URL": f"http://127.0.0.1:{self.model.port}/v1",
            "OPENAI_API_KEY": "sk-chaos", "OPENAI_MODEL": "m", "PING_INTERVAL_S": "5",
            "PING_TIMEOUT_S": "5", "TRUSTED_PROXIES": "127.0.0.1",
        }  # fmt: skip
        self.pods = [Pod(folder, number, **settings) for number in range(pods)]
        self.nginx = Nginx(folder, [pod.port for pod in self.pods])

    @property
    def front(self) -> str:
        return self.nginx.url

    async def start(self, http: aiohttp.ClientSession) -> None:
        await self.redis.ready()
        for pod in self.pods:
            pod.start()
        for pod in self.pods:
            await pod.ready(http)
        self.nginx.start()
        await self.nginx.ready()

    def postgres_signal(self, number: int) -> None:
        for pid in family(self._postgres_pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill_backend(self, pid: int) -> None:
        if pid in family(self._postgres_pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        self.postgres_signal(signal.SIGCONT)
        for process in (self.nginx, *self.pods, self.model, self.redis, self.wire):
            cast(Process, process).end()
