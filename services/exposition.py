"""Prometheus's text out of what is counted. Every label value is there from the start; none names a user or a room."""

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.process_collector import ProcessCollector

from models import generations
from models.database import DatabaseUnavailable
from services.metrics import HELD, OTHER, ROUTES, Histogram
from services.realtime.redis_bus import CONTROL, EVENT, PIECE, RedisBus

if TYPE_CHECKING:
    from services.container import Services

DOORS = ("native", "socketio")
PROVIDERS = ("openai", "anthropic", "demo")
ENDINGS = ("complete", "stopped", "failed")
FAULTS = ("key", "model", "busy", "server", "lost", "timeout", "broken", "request", "other")
SENDS = ("committed", "duplicate", "refused", "limited", "failed")
STATUSES = (1, 2, 3, 4, 5)
BUS_KINDS = {"event": EVENT, "piece": PIECE, "nudge": CONTROL}
# Prometheus waits ten seconds for a scrape: what the database does not say in time is NaN, and all else is told.
DEPTH_S = 2.0
Depth = tuple[float, float, float]
UNKNOWN: Depth = (math.nan, math.nan, math.nan)


def buckets_of(kept: Histogram) -> tuple[list[tuple[str, float]], float]:
    count, buckets = 0, []
    for bound, hits in zip([*kept.bounds, math.inf], kept.buckets, strict=True):
        count += hits
        buckets.append(("+Inf" if bound == math.inf else str(bound), float(count)))
    return buckets, kept.total


def histogram(name: str, text: str, kept: Histogram) -> HistogramMetricFamily:
    buckets, total = buckets_of(kept)
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)


def histograms(name: str, text: str, label: str, kept: Mapping[str, Histogram]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=[label])
    for word, one in kept.items():
        family.add_metric([word], *buckets_of(one))
    return family


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


Words = tuple[str, ...]


def labelled(kind: Any, name: str, text: str, labels: Words, values: Iterable[tuple[Words, float]]) -> Any:
    family = kind(name, text, labels=labels)
    for words, value in values:
        family.add_metric(words, value)
    return family


def counters(name: str, text: str, labels: Words, values: Iterable[tuple[Words, float]]) -> Any:
    return labelled(CounterMetricFamily, name, text, labels, values)


class Collected:
    """One scrape's worth of metrics."""

    def __init__(self, services: "Services", depth: Depth) -> None:
        self._services = services
        self._depth = depth

    def collect(self) -> Iterator[Metric]:
        for part in (self._connections, self._messages, self._bus, self._pod, self._answers, self._money, self._doors):
            yield from part()

    def _connections(self) -> Iterator[Metric]:
        services, sockets = self._services, self._services.sockets
        yield labelled(
            GaugeMetricFamily, "maru_connections", "Open connections, by door.", ("door",),
            [((door,), sockets.count(door)) for door in DOORS],
        )  # fmt: skip
        yield counters(
            "maru_connections_opened", "Connections opened, by door.", ("door",),
            [((door,), sockets.opened[door]) for door in DOORS],
        )  # fmt: skip
        yield gauge("maru_outbox_bytes", "Bytes that wait in this process for slow clients.", sockets.unsent)
        yield counter(
            "maru_slow_closes", "Connections closed because they read too slowly.", services.counts.slow_closes
        )

    def _messages(self) -> Iterator[Metric]:
        services, counts = self._services, self._services.counts
        yield counters(
            "maru_sends", "Sends, by result; `failed` is our fault.", ("result",),
            [((result,), services.messages.sends[result]) for result in SENDS],
        )  # fmt: skip
        yield counters(
            "maru_deliveries", "Events of messages and pieces of answers handed to connections.", ("kind",),
            [(("message",), services.hub.delivered), (("piece",), services.hub.delivered_pieces)],
        )  # fmt: skip
        yield histogram("maru_commit_batch_size", "Sends committed together.", counts.batches)
        yield histogram("maru_commit_seconds", "Time of a group commit.", counts.commit_s)
        yield counter("maru_messages_indexed", "Messages taken into the index of words.", services.indexer.indexed)
        yield counter("maru_messages_embedded", "Messages given a vector.", services.vectors.embedded)

    def _bus(self) -> Iterator[Metric]:
        services, bus = self._services, self._services.bus
        redis = bus if isinstance(bus, RedisBus) else None
        none = [0, 0, 0, 0]
        for name, text, counted in (
            ("maru_bus_published", "What this pod told the others, by kind.", redis.published if redis else none),
            ("maru_bus_received", "What this pod heard of others, by kind.", redis.received if redis else none),
        ):
            yield counters(name, text, ("kind",), [((kind,), counted[n]) for kind, n in BUS_KINDS.items()])
        yield counter(
            "maru_bus_foreign", "Payloads dropped because they could not be understood.", redis.foreign if redis else 0
        )
        yield counter(
            "maru_bus_dropped", "Commands not given to Redis because it was away.", redis.dropped if redis else 0
        )
        yield gauge(
            "maru_bus_canary_age_seconds", "Since this pod heard its own canary through Redis; 0 without Redis.",
            redis.deaf_s if redis else 0,
        )  # fmt: skip
        yield gauge("maru_bus_deaf", "1 when Redis takes commands and this pod hears nothing.", services.deaf)
        yield gauge("maru_bus_reachable", "1 while Redis answers, or none is used.", not services.degraded)
        yield counter(
            "maru_holes_healed", "Events read from rows because the bus did not bring them.", services.hub.holes_healed
        )

    def _pod(self) -> Iterator[Metric]:
        services, counts = self._services, self._services.counts
        yield histogram("maru_event_loop_delay_seconds", "How late the loop comes to a timer.", counts.loop_delay_s)
        yield gauge("maru_database_threads", "Threads, and so connections, that run SQL.", services.db.threads)
        yield gauge("maru_database_threads_busy", "Threads that run SQL now.", services.db.busy)
        yield gauge("maru_database_calls_waiting", "Calls that wait for such a thread.", services.db.waiting)
        yield histogram("maru_database_wait_seconds", "Wait for such a thread.", counts.database_wait_s)
        yield counter("maru_task_failures", "Background tasks that failed.", services.tasks.failures)
        yield counters(
            "maru_internal_errors", "Faults of the program, by where they ended.", ("where",),
            [((where,), counts.internal_errors[where]) for where in ("http", "command", "answer")],
        )  # fmt: skip
        yield gauge("maru_draining", "1 while the pod is being stopped.", services.draining)

    def _answers(self) -> Iterator[Metric]:
        services, counts = self._services, self._services.counts
        queued, streaming, oldest_s = self._depth
        yield gauge("maru_answers_queued", "Answers that wait, on all pods.", queued)
        yield gauge("maru_answers_queued_oldest_seconds", "How long the oldest of them has waited.", oldest_s)
        yield gauge("maru_answers_streaming", "Answers that run, on all pods.", streaming)
        yield gauge("maru_answers_running_here", "Answers that run on this pod.", services.generation.running)
        yield histogram(
            "maru_answer_wait_seconds", "From the question to the start of its answer.", counts.queue_wait_s
        )
        yield histogram("maru_retrieval_seconds", "Search for what the model is given of the past.", counts.retrieval_s)
        yield histogram(
            "maru_first_token_own_seconds",
            "From the claim to the provider's call: our part.",
            counts.first_token_ours_s,
        )
        yield histogram(
            "maru_first_token_provider_seconds",
            "From the call to the first token: the provider's part.",
            counts.first_token_provider_s,
        )
        yield histogram("maru_answer_seconds", "Length of answers.", counts.answer_s)
        yield counter("maru_take_overs", "Answers taken over from a worker whose lease ran out.", counts.take_overs)
        yield counters(
            "maru_answers", "Answers ended, by provider and status.", ("provider", "status"),
            [((p, s), counts.answers[p, s]) for p in (*PROVIDERS, "none") for s in ENDINGS],
        )  # fmt: skip
        yield counters(
            "maru_provider_retries", "Calls tried again, by provider.", ("provider",),
            [((p,), counts.retries[p]) for p in PROVIDERS],
        )  # fmt: skip
        yield counters(
            "maru_provider_errors", "Calls that failed, by provider and kind.", ("provider", "kind"),
            [((p, k), counts.provider_errors[p, k]) for p in PROVIDERS for k in FAULTS],
        )  # fmt: skip

    def _money(self) -> Iterator[Metric]:
        """Models that the settings name have a label of their own; rooms may name any, which fall into `other`."""
        counts = self._services.counts
        known = [(provider, model) for provider, model, _ in self._services.models.available()]
        labels = [*known, *((provider, OTHER) for provider in PROVIDERS)]
        tokens: Counter[Words] = Counter()
        for (provider, model, kind), count in counts.tokens.items():
            tokens[provider, model if (provider, model) in known else OTHER, kind] += count
        yield counters(
            "maru_tokens", "Tokens, by provider, model and kind.", ("provider", "model", "kind"),
            [((*pair, kind), tokens[(*pair, kind)]) for pair in labels for kind in ("input", "output")],
        )  # fmt: skip
        names = list(dict.fromkeys([*(model for _, model in known), OTHER]))
        cost: defaultdict[str, float] = defaultdict(float)
        for model, spent in counts.cost.items():
            cost[model if model in names else OTHER] += spent
        yield counters(
            "maru_cost", "Cost by model, in the currency of the prices that are set.", ("model",),
            [((model,), cost[model]) for model in names],
        )  # fmt: skip
        yield counters(
            "maru_budget_refusals", "Answers refused because a budget was used up, by whose.", ("kind",),
            [((kind,), counts.budget_refusals[kind]) for kind in ("user", "room")],
        )  # fmt: skip

    def _doors(self) -> Iterator[Metric]:
        services, counts = self._services, self._services.counts
        limits = [*services.messages.limits, *services.accounts.limits, *services.previews.limits]
        yield counters(
            "maru_limited", "What was refused because of a limit, by limit.", ("limit",),
            [
                *(((limit.name,), limit.refused) for limit in limits),
                (("connections",), services.sockets.refused),
                *(((name,), counts.limits[name]) for name in ("rooms", "frames")),
            ],
        )  # fmt: skip
        yield counter("maru_login_failures", "Log-ins with a wrong name or password.", services.accounts.failed_logins)
        yield histogram(
            "maru_revocation_seconds",
            "From a session's, key's or membership's end being written to being in force on this pod.",
            counts.revocation_s,
        )
        yield counters(
            "maru_http_requests", "HTTP requests ended, by what they were for and class of status.",
            ("route", "status"),
            [((route, f"{s}xx"), counts.requests[route, s]) for route in ROUTES for s in STATUSES],
        )  # fmt: skip
        timed = {route: counts.request_s[route] for route in ROUTES if route not in HELD}
        yield histograms("maru_http_request_seconds", "Time of HTTP requests, by what they were for.", "route", timed)


async def exposition(services: "Services") -> bytes:
    try:
        async with asyncio.timeout(DEPTH_S):
            depth: Depth = await services.db.run_bare(generations.depth)
    except (DatabaseUnavailable, TimeoutError):
        depth = UNKNOWN
    registry = CollectorRegistry()
    registry.register(Collected(services, depth))  # type: ignore[arg-type]
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def metrics_table(text: str) -> str:
    """README's table, in Markdown, of what a pod has exposed."""
    lines = ["| metric | type | labels | what |", "| --- | --- | --- | --- |"]
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le")
        shown = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}` | {family.type} | {shown} | {family.documentation} |")
    return "\n".join(lines)
