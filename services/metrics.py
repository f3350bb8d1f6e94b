"""What is counted. Plain numbers, added to where things happen; turned into Prometheus's text when somebody asks.

A Prometheus counter takes a lock for every step, which the path of an event can do without: these all run on the loop.
"""

import asyncio
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable

from services.generation import Observer

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TICK_S = 0.1
OTHER = "other"
# What HTTP requests are for: the tags of the API (`handlers.observed`), and what else there is.
ROUTES = (
    "accounts",
    "rooms",
    "messages",
    "administration",
    "operation",
    "pages",
    "static",
    "socketio",
    "websocket",
    OTHER,
)
# Held open on purpose: polls and sockets.
HELD = ("socketio", "websocket")


class Histogram:
    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.total += value


class Counts(Observer):
    def __init__(self) -> None:
        self.slow_closes = 0
        self.batches = Histogram((1, 2, 5, 10, 20, 50, 100, 200, 500))
        self.commit_s = Histogram()
        self.retrieval_s = Histogram()
        self.first_token_ours_s = Histogram()
        self.first_token_provider_s = Histogram()
        self.queue_wait_s = Histogram()
        self.take_overs = 0
        self.retries: Counter[str] = Counter()
        self.provider_errors: Counter[tuple[str, str]] = Counter()
        self.answers: Counter[tuple[str, str]] = Counter()
        self.answer_s = Histogram()
        self.tokens: Counter[tuple[str, str, str]] = Counter()
        # By the limit that was met: "user" or "room".
        self.budget_refusals: Counter[str] = Counter()
        # By model, in the currency of its price.
        self.cost: defaultdict[str, float] = defaultdict(float)
        # What no `Limit` counts: rooms of a connection, malformed frames.
        self.limits: Counter[str] = Counter()
        self.database_wait_s = Histogram()
        self.loop_delay_s = Histogram()
        self.revocation_s = Histogram()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.request_s: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.internal_errors: Counter[str] = Counter()
        self.on_internal: Callable[[str, BaseException, str], None] = lambda where, error, reference: None

    def batch(self, size: int, seconds: float) -> None:
        self.batches.observe(size)
        self.commit_s.observe(seconds)

    def started(self, waited_s: float, taken_over: bool) -> None:
        self.queue_wait_s.observe(waited_s)
        self.take_overs += taken_over

    def retrieved(self, seconds: float) -> None:
        self.retrieval_s.observe(seconds)

    def first_token(self, ours_s: float, provider_s: float) -> None:
        self.first_token_ours_s.observe(ours_s)
        self.first_token_provider_s.observe(provider_s)

    def retried(self, provider: str) -> None:
        self.retries[provider] += 1

    def provider_failed(self, provider: str, kind: str) -> None:
        self.provider_errors[provider, kind] += 1

    def spent(self, provider: str, model: str, input_tokens: int, output_tokens: int) -> None:
        self.tokens[provider, model, "input"] += input_tokens
        self.tokens[provider, model, "output"] += output_tokens

    def internal(self, where: str, error: BaseException, reference: str) -> None:
        """A fault of the program ended somebody's request or command; reference: what he was told."""
        self.internal_errors[where] += 1
        self.on_internal(where, error, reference)

    def broke(self, error: BaseException, message_id: str) -> None:
        self.internal("answer", error, message_id)

    def ended(self, status: str, provider: str, seconds: float) -> None:
        self.answers[provider, status] += 1
        self.answer_s.observe(seconds)

    def paid(self, model: str, cost: float) -> None:
        self.cost[model] += cost

    def over_budget(self, kind: str) -> None:
        self.budget_refusals[kind] += 1

    def request(self, where: str, status: int, seconds: float | None) -> None:
        """seconds: None for what is held open on purpose."""
        self.requests[where, status // 100] += 1
        if seconds is not None:
            self.request_s[where].observe(seconds)

    async def feel(self) -> None:
        """How late the loop comes to what was due: a timer that asks for nothing else."""
        loop = asyncio.get_running_loop()
        due = loop.time() + TICK_S
        await asyncio.sleep(TICK_S)
        self.loop_delay_s.observe(max(0.0, loop.time() - due))
