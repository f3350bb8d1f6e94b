"""The measured process of `fanout` and `memory`: a pod as app.py makes it, and beside it what it is compared with.

usage: python -m bench.server DATABASE_URL; then commands as lines of JSON, each answered by a line.

Beside the pod's own doors: `bare`, sockets to which bytes are sent in a loop, and `plain`, Tornado's WebSocketHandler
with `write_message`. All in one process and on one loop, so that caches, allocator and collector are the same for all.
"""

import asyncio
import ctypes
import gc
import json
import os
import socket
import sys
import time
from typing import Any

import uvloop
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from app import SWITCH_INTERVAL_S, serving
from bench.processes import SECRET, resident
from config.settings import Settings
from handlers.protocol import native_event
from handlers.wire import text_frame
from models.base import new_id
from services.accounts import Device
from services.container import Services, open_services
from services.realtime.events import Bot, Event, Message

TEXT = "That is what most messages look like: a line or so, rarely more than eighty characters."


class Plain(WebSocketHandler):
    def initialize(self, opened: list["Plain"]) -> None:
        self._opened = opened

    def open(self, *args: str, **kwargs: str) -> None:
        self.set_nodelay(True)
        self._opened.append(self)


class Measured:
    def __init__(self, services: Services, rooms: dict[str, str]) -> None:
        self._services = services
        self._rooms = rooms
        self._numbers = dict.fromkeys(rooms, 0)
        self.bare: list[socket.socket] = []
        self.plain: list[Plain] = []

    def _message(self, room: str, number: int) -> Message:
        now = "2026-01-01T00:00:00.000Z"
        sender = "0199f7a0-0000-7000-8000-000000000001"
        made = Message(new_id(), self._rooms[room], number, number, sender, "Ada", "user", TEXT, now, "complete")
        made.client_id = "0199f7a0-0000-7000-8000-000000000002"
        return made

    async def burst(self, to: str, events: int) -> dict[str, Any]:
        """Deliver events to everyone of one contender: CPU seconds of this process, and how many bytes went out."""
        spent, size = 0.0, 0
        body = native_event(Event("message", self._message("native", 1000)))
        frame, text = text_frame(body), body.decode()
        for _ in range(events):
            began = time.process_time()
            if to == "bare":
                for each in self.bare:
                    each.send(frame)
                size += len(frame) * len(self.bare)
            elif to == "plain":
                for handler in self.plain:
                    handler.write_message(text)
                size += len(frame) * len(self.plain)
            else:
                self._numbers[to] = number = self._numbers[to] + 1
                event = Event("message", self._message(to, number))
                self._services.bus.publish(self._rooms[to], event)
            # What was left for the loop's next turn belongs to it.
            await asyncio.sleep(0)
            spent += time.process_time() - began
            if to in self._rooms:
                readers = len(list(self._services.hub.readers(self._rooms[to])))
                (made,) = event.frames.values()
                size += readers * len(made if isinstance(made, bytes) else made[0])
        return {"cpu": spent, "bytes": size}

    async def settle(self) -> dict[str, Any]:
        """Resident bytes, after garbage and free pages were given back."""
        for _ in range(3):
            await asyncio.sleep(0.05)
            gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        return {"resident": resident(os.getpid())}


async def serve(database_url: str) -> None:
    settings = Settings(
        host="127.0.0.1", port=0, database_url=database_url, jwt_secret=SECRET, sends_per_10s=0,
        max_connections_per_user=0, registrations_per_hour=0, access_token_s=7200, ping_interval_s=3600,
        log_level="warning",
    )  # fmt: skip
    async with open_services(settings) as services, serving(settings, services) as port:
        email = f"{new_id()}@example.com"
        user = await services.accounts.register(email, "Ada", "correct horse", None, None, Device("", ""))
        who = await services.accounts.by_token(user.token)
        rooms = {name: (await services.rooms.create(who, name, Bot(when="off"))).id for name in ("native", "socketio")}
        measured = Measured(services, rooms)

        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        listener.setblocking(False)

        def accept() -> None:
            made, _ = listener.accept()
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            measured.bare.append(made)

        loop.add_reader(listener, accept)
        plain_sockets = bind_sockets(0, "127.0.0.1")
        plain = HTTPServer(Application([("/ws", Plain, {"opened": measured.plain})], log_function=lambda handler: None))
        plain.add_sockets(plain_sockets)

        commands: asyncio.Queue[bytes] = asyncio.Queue()
        loop.add_reader(0, lambda: commands.put_nowait(os.read(0, 1 << 16)))
        ports = {
            "native": port, "socketio": port, "bare": listener.getsockname()[1],
            "plain": plain_sockets[0].getsockname()[1],
        }  # fmt: skip
        say({"ports": ports, "token": user.token, "rooms": rooms})
        while line := await commands.get():
            command = json.loads(line)
            match command.pop("do"):
                case "burst":
                    say(await measured.burst(**command))
                case "settle":
                    say(await measured.settle())
                case "counts":
                    bare, plainly = len(measured.bare), len(measured.plain)
                    say({"bare": bare, "plain": plainly, "pod": len(services.sockets)})


def say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    uvloop.run(serve(sys.argv[1]))
    os._exit(0)
