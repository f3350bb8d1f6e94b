"""A pod: settings -> services -> listen -> signals -> drain."""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from config.logs import configure_logs
from config.settings import Settings, SettingsError, load_settings
from handlers.api.base import NotFoundHandler
from handlers.dispatch import Dispatcher
from handlers.routes import all_routes
from models.embedded import EmbeddedError
from services.container import Services, open_services

log = logging.getLogger("maru")

SWITCH_INTERVAL_S = 0.0005
EXIT_LIMIT_S = 15.0


def make_app(services: Services) -> Application:
    """The whole outside of a pod, over services that are open."""
    limit = services.settings.max_frame_bytes
    return Application(
        all_routes(services, Dispatcher(services)),
        default_handler_class=NotFoundHandler,
        websocket_max_message_size=4 * limit if limit else 1 << 30,
        log_function=lambda handler: None,
    )


@asynccontextmanager
async def serving(settings: Settings, services: Services) -> AsyncIterator[int]:
    """Listen; gives the port."""
    sockets = bind_sockets(settings.port, settings.host, reuse_port=False)
    # The limit on bodies is the handlers': they answer with a problem instead of a bare 400.
    server = HTTPServer(make_app(services), max_body_size=1 << 26, idle_connection_timeout=75)
    server.add_sockets(sockets)
    try:
        yield sockets[0].getsockname()[1]
    finally:
        server.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await server.close_all_connections()


async def run(settings: Settings) -> None:
    """One pod from start to end."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    signals = 0

    def ask_to_stop() -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            os._exit(130)  # the second Ctrl-C means now
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask_to_stop)

    async with open_services(settings, say=say) as services, serving(settings, services) as port:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        say(f"Maru is at http://{host}:{port}")
        if services.setup_code:
            say(f"Set-up code for the first account: {services.setup_code}")
        log.info("started", extra={"port": port, "model": services.models.default})
        await stop.wait()
        log.info("stopping")
        # 1. Nginx and Kubernetes look at /readyz: 503 from here on, and a moment for them to notice.
        services.draining = True
        await asyncio.sleep(settings.drain_grace_s)
        # 2. Sockets in batches with 1012; running answers get the drain time, then their leases go back.
        await services.drain()
        # 3. No new connections; what is open in HTTP is closed.
    # 4. Tasks, bus, providers, database, embedded Postgres: in the reverse order of opening.
    log.info("stopped")


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    configure_logs(settings.log_level)
    # With threads beside the loop, five milliseconds of holding the GIL are a long time.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        uvloop.run(run(settings))
    except EmbeddedError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            raise
        what = "is taken" if error.errno == errno.EADDRINUSE else "can't be listened on"
        print(f"{settings.host}:{settings.port} {what}. Choose another with PORT=...", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    # A thread that hangs in a stopped Postgres would hold the interpreter for ever.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
