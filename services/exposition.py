"""Prometheus's text out of what is counted. Every label value is there from the start; none names a user or a room."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from models import generations
from services.metrics import Histogram

if TYPE_CHECKING:
    from services.container import Services

DOORS = ("native", "socketio")
PROVIDERS = ("openai", "anthropic", "demo", "none")
ENDINGS = ("complete", "stopped", "failed")


def histogram(name: str, text: str, kept: Histogram) -> HistogramMetricFamily:
    count, buckets = 0, []
    for bound, hits in zip([*kept.bounds, float("inf")], kept.buckets, strict=True):
        count += hits
        buckets.append(("+Inf" if bound == float("inf") else str(bound), count))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=kept.total)


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def labelled(kind: Any, name: str, text: str, labels: list[str], values: Iterable[tuple[list[str], float]]) -> Any:
    family = kind(name, text, labels=labels)
    for words, value in values:
        family.add_metric(words, value)
    return family


class Collected:
    """One scrape's worth of metrics."""

    def __init__(self, services: "Services", queued: int, streaming: int) -> None:
        self._services = services
        self._queued = queued
        self._streaming = streaming

    def collect(self) -> Iterator[Metric]:
        services, counts = self._services, self._services.counts
        yield labelled(
            GaugeMetricFamily, "maru_connections", "Open connections by door.", ["door"],
            [([door], services.sockets.count(door)) for door in DOORS],
        )  # fmt: skip
        yield labelled(
            CounterMetricFamily, "maru_connections_opened", "Connections opened by door.", ["door"],
            [([door], services.sockets.opened[door]) for door in DOORS],
        )  # fmt: skip
        yield counter("maru_slow_closes", "Connections closed because they read too slowly.", counts.slow_closes)
        yield counter("maru_deliveries", "Message events handed to connections.", services.hub.delivered)
        yield counter(
            "maru_holes_healed", "Events read from rows because the bus did not bring them.", services.hub.holes_healed
        )
        yield histogram("maru_commit_batch_size", "Sends committed together.", counts.batches)
        yield histogram("maru_commit_seconds", "Time of a group commit.", counts.commit_s)
        yield gauge("maru_database_waiting", "Calls that run or wait for a database thread.", services.db.waiting)
        yield gauge("maru_answers_queued", "Answers that wait, on all pods.", self._queued)
        yield gauge("maru_answers_streaming", "Answers that run, on all pods.", self._streaming)
        yield gauge("maru_answers_running_here", "Answers that run on this pod.", services.generation.running)
        yield histogram(
            "maru_answer_wait_seconds", "From the question to the start of its answer.", counts.queue_wait_s
        )
        yield histogram("maru_retrieval_seconds", "Search for what the model is given of the past.", counts.retrieval_s)
        yield counter("maru_messages_indexed", "Messages taken into the index of words.", services.indexer.indexed)
        yield counter("maru_messages_embedded", "Messages given a vector.", services.vectors.embedded)
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
        yield labelled(
            CounterMetricFamily, "maru_answers", "Answers ended, by provider and status.", ["provider", "status"],
            [([p, s], counts.answers[p, s]) for p in PROVIDERS for s in ENDINGS],
        )  # fmt: skip
        yield labelled(
            CounterMetricFamily, "maru_tokens", "Tokens, by provider and kind.", ["provider", "kind"],
            [([p, k], counts.tokens[p, k]) for p in PROVIDERS for k in ("input", "output")],
        )  # fmt: skip
        yield labelled(
            CounterMetricFamily, "maru_provider_retries", "Calls tried again, by provider.", ["provider"],
            [([p], counts.retries[p]) for p in PROVIDERS[:3]],
        )  # fmt: skip
        yield counter("maru_task_failures", "Background tasks that failed.", services.tasks.failures)


async def exposition(services: "Services") -> bytes:
    queued, streaming = await services.db.run_bare(generations.depth)
    registry = CollectorRegistry()
    registry.register(Collected(services, queued, streaming))  # type: ignore[arg-type]
    ProcessCollector(registry=registry)
    return generate_latest(registry)
