#!/usr/bin/env python3
"""Serves the classes of the Socket.IO door with two echo applications, for the public protocol test suites.

usage: scripts/conformance_server.py --port 3000 [--engine]

--engine: Engine.IO at /engine.io/, each message comes back. Otherwise Socket.IO at /socket.io/, namespaces / and
/custom: `auth` after CONNECT, `message` -> `message-back`, `message-with-ack` -> its acknowledgement.
"""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tornado.web import Application

from handlers.engine import EngineHandler, EngineServer, Session
from handlers.socketio_server import Event, SocketIOServer

HEARTBEAT = {"ping_interval": 0.3, "ping_timeout": 0.2, "max_payload": 1_000_000}

# A test client takes the CONNECT reply and this event with two one-shot listeners,
# and misses the second of two frames in one TCP segment.
AUTH_DELAY_S = 0.01


def engine_app(**options: Any) -> Application:
    engine = EngineServer(**(HEARTBEAT | options))

    async def echo(sid: str, data: str | bytes) -> None:
        await engine.send(sid, data)

    engine.on("message", echo)
    return Application([(r"/engine\.io/", EngineHandler, {"engine": engine})])


def socket_app(**options: Any) -> Application:
    def at_once(event: Event) -> bool:
        if event.name == "message":
            sio.emit_to(event.session, "message-back", *event.args, namespace=event.namespace)
        elif event.name == "message-with-ack":
            event.reply(*event.args)
        return True

    async def on_event(event: Event) -> None:  # with attachments, or behind another
        at_once(event)

    how = HEARTBEAT | options
    sio = SocketIOServer(namespaces=("/", "/custom"), on_event=on_event, on_event_at_once=at_once, **how)
    for namespace in ("/", "/custom"):
        sio.on("connect", _greeter(sio, namespace), namespace=namespace)
    return Application([(r"/socket\.io/", EngineHandler, {"engine": sio.eio})])


def _greeter(sio: SocketIOServer, namespace: str) -> Any:
    async def connect(sid: str, session: Session, auth: dict[str, Any] | None) -> None:
        def greet() -> None:
            sio.emit_to(session, "auth", auth or {}, namespace=namespace)

        asyncio.get_running_loop().call_later(AUTH_DELAY_S, greet)

    return connect


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--engine", action="store_true", help="Engine.IO alone, at /engine.io/")
    arguments = parser.parse_args()
    app = engine_app() if arguments.engine else socket_app()
    app.listen(arguments.port, "127.0.0.1")
    print(f"listening on http://127.0.0.1:{arguments.port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
