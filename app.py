"""A pod: settings -> services -> listen -> signals -> drain."""

import asyncio
import contextlib
import errno
import gc
import itertools
import logging
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import socket

import uvloop
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from config.logs import configure_logs
from config.settings import Settings, SettingsError, load_settings
from handlers.api.base import NotFoundHandler
from handlers.dispatch import Dispatcher
from handlers.observed import measured
from handlers.routes import all_routes
from models.database import DatabaseUnavailable
from models.embedded import EmbeddedError, EmbeddedPostgres
from services import stacks, tracing
from services.container import Services, open_services, with_database

log = logging.getLogger("maru")

SWITCH_INTERVAL_S = 0.0005
FILES = 1 << 18


def make_app(services: Services) -> Application:
    """The whole outside of a pod, over services that are open."""
    limit = services.settings.max_frame_bytes
    return Application(
        all_routes(services, Dispatcher(services)),
        default_handler_class=NotFoundHandler,
        default_handler_args={"services": services},
        websocket_max_message_size=4 * limit if limit else 1 << 30,
        log_function=measured(services.counts),
        compress_response=True,
    )


@asynccontextmanager
async def serving(settings: Settings, services: Services, listening: list[socket] | None = None) -> AsyncIterator[int]:
    """Serve on these sockets, or on new ones; gives the port."""
    sockets = listening or bind_sockets(settings.port, settings.host)
    # The limit on bodies is the handlers': they answer with a problem instead of a bare 400.
    # A search for 8,000 characters outside ASCII is nine to twelve times as long in the first line.
    server = HTTPServer(make_app(services), max_body_size=1 << 26, max_header_size=1 << 17, idle_connection_timeout=75)
    server.add_sockets(sockets)
    try:
        yield sockets[0].getsockname()[1]
    finally:
        server.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await server.close_all_connections()


async def run(settings: Settings, listening: list[socket], embedded: EmbeddedPostgres | None) -> int:
    """One pod from start to end. Returns the exit code."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    signals = code = 0

    def ask_to_stop() -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            os._exit(130)  # the second Ctrl-C means now
        stop.set()

    async def watch_embedded(postgres: EmbeddedPostgres) -> None:
        nonlocal code
        for seconds in itertools.count(1):
            await asyncio.sleep(1)
            if postgres.pid is None:
                code = 1
                stop.set()
                ended = "The embedded Postgres has ended; see postgres.log in DATA_DIR. Stopping."
                await asyncio.to_thread(print, ended, file=sys.stderr)  # whether anybody reads it or not
                return
            if seconds % 3600 == 0:
                postgres.trim_log()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask_to_stop)

    stacks.listen(loop)
    async with open_services(settings) as services:
        if embedded is not None:
            services.tasks.spawn(watch_embedded(embedded), "embedded postgres")
        async with serving(settings, services, listening) as port:
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
            if code == 0:
                await services.drain()
        # 3. No new connections; what is open in HTTP is closed.
    # 4. Tasks, bus, providers, database: in the reverse order of opening. Then `main` stops the embedded Postgres.
    log.info("stopped")
    return code


def raise_file_limit() -> None:
    """As many sockets as the system lets this process have: 1,024, which is what shells begin with, is one busy room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    configure_logs(settings.log_level, settings.secrets)
    try:
        tracing.check(settings)
    except tracing.TracingUnavailable as error:
        print(error, file=sys.stderr)
        return 2
    raise_file_limit()
    # What start-up made stays; a full collection over all connections would hold up every message for tens of ms.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    # With threads beside the loop, five milliseconds of holding the GIL are a long time.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        # Before a database is made for nothing.
        listening = bind_sockets(settings.port, settings.host)
    except OSError as error:
        what = "is taken" if error.errno == errno.EADDRINUSE else f"can't be listened on ({error.strerror})"
        print(f"{settings.host}:{settings.port} {what}. Choose another with PORT=... or HOST=...", file=sys.stderr)
        return 1
    try:
        with with_database(settings, say=say) as (complete, embedded):
            return uvloop.run(run(complete, listening, embedded))
    except (EmbeddedError, DatabaseUnavailable) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    code = main()
    # A thread that hangs in a stopped Postgres would hold the interpreter for ever.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
