"""Everything that outlives a request, in one object: opened in reading order, closed in reverse, handed down."""

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address

from pydantic import SecretStr

from config.settings import Settings, kept_secret
from models import accounts as account_rows
from models import rooms as room_rows
from models.database import Database, DatabaseUnavailable
from models.embedded import EmbeddedPostgres, running_url
from services.access import AccessWatch
from services.accounts import Accounts
from services.administration import Administration
from services.budgets import Budgets
from services.faults import Faults
from services.generation import Generation
from services.indexer import Indexer
from services.llm.registry import Models
from services.messages import Messages
from services.metrics import Counts
from services.previews import Previews
from services.prices import Prices, load
from services.realtime.activity import Activities
from services.realtime.bus import Bus, Listener, MemoryBus
from services.realtime.closing import RESTARTING
from services.realtime.elsewhere import Elsewhere
from services.realtime.hub import Hub
from services.realtime.presence import Presences
from services.realtime.redis_bus import RedisBus
from services.realtime.registry import Registry
from services.realtime.sockets import Sockets
from services.retention import Retention
from services.retrieval import Retrieval
from services.rooms import Rooms
from services.search import Search
from services.source import Rows
from services.tallies import Tallies
from services.tasks import Tasks
from services.tokens import Tokens
from services.tracing import open_tracing
from services.vectors import Vectors

log = logging.getLogger("maru")

DEAF_S = 5.0
RECOVERY_S = 60.0


@dataclass
class Services:
    settings: Settings
    db: Database
    tasks: Tasks
    bus: Bus
    hub: Hub
    registry: Registry
    presences: Presences
    activities: Activities
    sockets: Sockets
    tokens: Tokens
    accounts: Accounts
    access: AccessWatch
    rooms: Rooms
    messages: Messages
    search: Search
    indexer: Indexer
    vectors: Vectors
    retrieval: Retrieval
    models: Models
    generation: Generation
    previews: Previews
    prices: Prices
    budgets: Budgets
    tallies: Tallies
    retention: Retention
    administration: Administration
    counts: Counts
    setup_code: str | None
    draining: bool = False

    @property
    def degraded(self) -> list[str]:
        """What is out of reach while the pod goes on without it."""
        return ["redis"] if isinstance(self.bus, RedisBus) and not self.bus.reachable else []

    @property
    def deaf(self) -> bool:
        """Redis takes commands, yet this pod's listener has not heard its own canary for a while."""
        return isinstance(self.bus, RedisBus) and self.bus.deaf_s > DEAF_S

    async def drain(self) -> None:
        """Stop of a pod, the services' part of the story (`app.py` tells the rest)."""
        await self.sockets.drain(RESTARTING, "restarting")
        await self.generation.drain(self.settings.drain_s)


@contextmanager
def with_database(
    settings: Settings, *, beside: bool = False, say: Callable[[str], None] = lambda line: None
) -> Iterator[tuple[Settings, EmbeddedPostgres | None]]:
    """Settings that name a database: the one given, or an embedded one that runs as long as this context.

    For the main thread, before there are others: so the kernel ends Postgres when this process is killed.
    beside: use the one that a running pod has started, if there is one (scripts; a second pod is refused).
    say: told in a line what takes long. Raises EmbeddedError.
    """
    if settings.database_url is not None:
        yield settings, None
    elif beside and (url := running_url(settings.data_dir)) is not None:
        yield settings.model_copy(update={"database_url": SecretStr(url)}), None
    else:
        embedded = EmbeddedPostgres(settings.data_dir, log=say)
        with embedded as url:
            yield settings.model_copy(update={"database_url": SecretStr(url)}), embedded


@asynccontextmanager
async def open_services(settings: Settings, *, work: bool = True) -> AsyncIterator[Services]:
    """Connect to the database that the settings name (`with_database`), migrate, start what runs beside requests.

    work: False for scripts, which answer nobody.
    """
    assert settings.database_url is not None
    async with AsyncExitStack() as stack:
        # 1. Rows.
        db = Database(settings.database_url.get_secret_value(), settings.database_threads, settings.statement_timeout_s)
        stack.callback(db.close)
        await migrate(db)
        counts = Counts()
        traced = await stack.enter_async_context(open_tracing(settings))

        # 2. Who is who.
        secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else ""
        if not secret and settings.jwt_algorithm == "HS256":
            secret = kept_secret(settings.data_dir, "jwt_secret")
        tokens = Tokens(settings, secret)
        setup_code = None
        if not is_loopback(settings.host) and await db.run_bare(account_rows.count) == 0:
            # From what all pods share: whichever is asked to make the first account knows the code of any.
            key = secret or (settings.jwt_private_key.get_secret_value() if settings.jwt_private_key else "")
            setup_code = hmac.new(key.encode(), b"set-up code", "sha256").hexdigest()[:16]

        # 3. The way of an event.
        tasks = Tasks()
        bus: MemoryBus | RedisBus = MemoryBus()
        if settings.redis_url is not None:
            bus = RedisBus(settings.redis_url.get_secret_value(), tasks)
        stack.push_async_callback(bus.close)
        hub = Hub(bus, Rows(db), tasks)

        async def rooms_of(user_id: str) -> list[str]:
            return await db.run_bare(room_rows.ids_of_user, user_id)

        registry = Registry(rooms_of)

        async def rooms_of_many(user_ids: Sequence[str]) -> dict[str, list[str]]:
            return await db.run_bare(room_rows.ids_of_users, user_ids)

        shared = bus if isinstance(bus, RedisBus) else None
        elsewhere = Elsewhere(shared, lambda user_ids: presences.died(user_ids), registry.crowds)
        presences = Presences(bus, registry, elsewhere, tasks, rooms_of_many)
        stack.callback(presences.close)
        activities = Activities(registry, tasks, lambda words: bus.tell_others("moved:" + words))
        sockets = Sockets(
            registry, presences, elsewhere, tasks, settings.max_connections_per_user, lambda who: accounts.still(who)
        )

        # 4. What the product does.
        def access_changed() -> None:
            bus.nudge("access")

        accounts = Accounts(db, settings, tokens, setup_code=setup_code, changed=access_changed, shared=shared)
        stack.callback(accounts.close)
        rooms = Rooms(db, settings, registry, presences, changed=access_changed)
        messages = Messages(db, settings, bus, activities, tasks, named=access_changed, shared=shared)
        stack.callback(messages.close)
        prices = load(settings.prices_file)
        vectors = Vectors(db, settings, prices)
        stack.push_async_callback(vectors.close)
        search = Search(db, vectors, settings.zone, settings.database_threads)
        indexer = Indexer(db, settings.zone)
        models = Models(settings)
        stack.push_async_callback(models.close)
        retrieval = Retrieval(settings, search, vectors)
        budgets, tallies = Budgets(db, settings.time_zone), Tallies(db, settings.time_zone)
        generation = Generation(
            db, settings, bus, models, retrieval, prices, budgets, tasks, named=access_changed, observer=counts
        )
        previews = Previews(db, settings, models, retrieval, prices, budgets, shared)
        retention = Retention(db, settings, changed=access_changed, publish=messages.publish)
        administration = Administration(db, settings, bus, registry, elsewhere, accounts, retention, prices)
        access = AccessWatch(db, accounts, registry, rooms.announce)
        await access.start()
        messages.on_batch = counts.batch
        db.on_wait = counts.database_wait_s.observe
        access.on_revoked = counts.revocation_s.observe
        previews.on_spent = counts.spent
        counts.on_internal = Faults(db, tasks).note

        def said(room_id: str) -> None:
            indexer.changed(room_id)
            vectors.changed(room_id)
            tallies.changed(room_id)

        messages.on_changed = generation.on_changed = said
        messages.on_queued = generation.queued
        messages.on_claimed = generation.begin
        if work:
            messages.claimer = generation.claimer

        def nudged(what: str) -> None:
            if what == "access":
                access.nudge()
            elif what == "jobs":
                generation.nudge()
            elif what == "budgets":
                budgets.nudge()
            elif what.startswith("read:"):
                room_id, user_id, seq = what.removeprefix("read:").split(":")
                presences.read_by_oneself(room_id, user_id, int(seq))
            elif what.startswith("moved:"):
                activities.heard(what.removeprefix("moved:"))
            elif what.startswith("stop:"):
                generation.stop(what.removeprefix("stop:"))

        def joined() -> None:
            tasks.spawn(hub.joined(), "joined")
            access.nudge()
            generation.nudge()

        heard: Listener = hub.publish_local
        if traced is not None:
            messages.tracing = generation.tracing = traced
            heard = traced.hearing(heard, lambda: hub.delivered)
            bus.publish = traced.publishing(bus)  # type: ignore[method-assign,assignment]
        bus.listen(heard, nudged, joined)
        if isinstance(bus, RedisBus):
            await bus.open()

        # 5. What runs beside requests; it ends before what it uses.
        stack.push_async_callback(tasks.close)
        if work:
            tasks.forever(access.step, "access")
            tasks.forever(access.announce, "announcements")
            tasks.forever(accounts.step, "sessions")
            tasks.forever(hub.watch_heads, "heads")
            tasks.forever(generation.step, "generation")
            tasks.forever(generation.beat, "leases")
            tasks.forever(generation.watch_budgets, "allowances")
            tasks.forever(indexer.step, "indexer")
            tasks.forever(vectors.step, "vectors")
            tasks.forever(sockets.step, "sockets")
            tasks.forever(budgets.step, "budgets")
            tasks.forever(tallies.step, "tallies")
            tasks.forever(retention.step, "retention")
            tasks.forever(counts.feel, "loop delay")
            if shared is not None:
                tasks.forever(elsewhere.step, "elsewhere")
                stack.push_async_callback(elsewhere.leave)
        yield Services(
            settings, db, tasks, bus, hub, registry, presences, activities, sockets, tokens, accounts, access, rooms,
            messages, search, indexer, vectors, retrieval, models, generation, previews, prices, budgets,
            tallies, retention, administration, counts, setup_code,
        )  # fmt: skip


async def migrate(db: Database) -> None:
    """Bring the schema up to date; waits for a Postgres that recovers, since that may be why this pod was restarted, and
    tries again when it stood in a circle with pods of the version before.

    Raises DatabaseUnavailable.
    """
    until = time.monotonic() + RECOVERY_S
    while True:
        try:
            await db.run_bare(lambda sql: db.migrate())
            return
        except DatabaseUnavailable as error:
            waits = "the database system is" in str(error) or "deadlock detected" in str(error)
            if not waits or time.monotonic() > until:
                raise
            log.warning("waiting for the database", extra={"error": str(error)})
            await asyncio.sleep(0.5)


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
