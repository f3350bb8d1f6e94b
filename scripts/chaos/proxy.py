"""A wire to Postgres that can be cut: at once, or around the next COMMIT.

usage: python -m chaos.proxy SOCKET. Says {"port": N}; then takes {"do": "cut"} and {"do": "commit", "sent": bool}: the
next client that says COMMIT loses its connection, after the server got it (sent) or before.
"""

import asyncio
import json
import os
import sys
from typing import Any

import uvloop


class Wire(asyncio.Protocol):
    """One end of a connection through the proxy."""

    other: "Wire | None" = None
    transport: asyncio.Transport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.abort()


class Client(Wire):
    def __init__(self, proxy: "Proxy") -> None:
        self._proxy = proxy
        self._early = b""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._proxy.clients.add(self)
        self._task = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            _, server = await asyncio.get_running_loop().create_unix_connection(Wire, self._proxy.socket)
        except OSError:
            self.transport.abort()
            return
        self.other, server.other = server, self
        server.transport.write(self._early)

    def data_received(self, data: bytes) -> None:
        how = self._proxy.next_commit
        if how is not None and b"commit" in data.lower() and self.other is not None:
            self._proxy.next_commit = None
            if how:
                self.other.transport.write(data)
                # What is written is read by the server, though nobody waits for its answer.
                asyncio.get_running_loop().call_later(0.2, self.other.transport.abort)
                self.other.other = self.other = None
            self.transport.abort()
        elif self.other is None:
            self._early += data
        else:
            self.other.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._proxy.clients.discard(self)
        super().connection_lost(error)


class Proxy:
    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.clients: set[Client] = set()
        self.next_commit: bool | None = None

    def told(self) -> None:
        data = os.read(0, 1 << 16)
        if not data:
            os._exit(0)
        for line in data.splitlines():
            command = json.loads(line)
            if command["do"] == "commit":
                self.next_commit = command["sent"]
            else:
                for client in list(self.clients):
                    client.transport.abort()


async def main(socket: str) -> None:
    loop = asyncio.get_running_loop()
    proxy = Proxy(socket)
    server = await loop.create_server(lambda: Client(proxy), "127.0.0.1", 0, backlog=512)
    loop.add_reader(0, proxy.told)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
