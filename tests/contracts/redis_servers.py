"""Real Redis servers for tests: one, or a cluster of three. Debian's redis-server."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path


def free_port():
    """Below the ports that the kernel gives out, and with room for a cluster's bus 10,000 above."""
    while True:
        port = random.randrange(12_000, 22_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            return port


class Redis:
    def __init__(self, port=None, cluster=False):
        self.port = port or free_port()
        self.cluster = cluster
        self.folder = Path(tempfile.mkdtemp(prefix="maru-redis-"))
        self.process = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}" + ("?cluster=true" if self.cluster else "")

    def start(self):
        program = shutil.which("redis-server")
        assert program, "redis-server is needed; scripts/test installs it"
        options = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.folder),
            "--save",
            "",
            "--daemonize",
            "no",
        ]
        if self.cluster:
            options += [
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1000",
                "--cluster-require-full-coverage",
                "no",
            ]
        log = open(self.folder / "log", "ab")  # noqa: SIM115
        self.process = subprocess.Popen([program, *options], stdout=log, stderr=log)
        log.close()
        self.wait()
        return self

    def wait(self):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.5) as asked:
                asked.sendall(b"PING\r\n")
                if asked.recv(64):
                    return
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def cli(self, *words):
        return subprocess.run(
            ["redis-cli", "-p", str(self.port), *map(str, words)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        ).stdout.strip()

    def kill(self):
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGCONT)
                self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def close(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Cluster:
    """Three masters, no replicas."""

    def __init__(self):
        self.nodes = [Redis(cluster=True) for _ in range(3)]

    @property
    def url(self):
        return self.nodes[0].url

    def start(self):
        for node in self.nodes:
            node.start()
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        done = subprocess.run(
            ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        deadline = time.monotonic() + 20
        while not all("cluster_state:ok" in node.cli("cluster", "info") for node in self.nodes):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return self

    def move_slot(self, slot):
        """Give one (empty) slot to another node; returns the new owner."""
        ids = [node.cli("cluster", "myid") for node in self.nodes]
        owner = next(i for i, node in enumerate(self.nodes) if self._owns(node, slot, ids[i]))
        target = (owner + 1) % 3
        for node in (self.nodes[target], self.nodes[owner], self.nodes[(owner + 2) % 3]):
            node.cli("cluster", "setslot", slot, "node", ids[target])
        return self.nodes[target]

    @staticmethod
    def _owns(node, slot, node_id):
        for line in node.cli("cluster", "nodes").splitlines():
            words = line.split()
            if words[0] == node_id:
                for part in words[8:]:
                    if part.startswith("["):
                        continue
                    low, _, high = part.partition("-")
                    if int(low) <= slot <= int(high or low):
                        return True
        return False

    def close(self):
        for node in self.nodes:
            node.close()
