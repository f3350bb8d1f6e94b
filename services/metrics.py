"""What is counted. Plain numbers, added to where things happen; turned into Prometheus's text when somebody asks.

A Prometheus counter takes a lock for every step, which the path of an event can do without: these all run on the loop.
"""

from bisect import bisect_left
from collections import Counter

from services.generation import Observer

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


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
        self.commands: Counter[str] = Counter()
        self.batches = Histogram((1, 2, 5, 10, 20, 50, 100, 200, 500))
        self.commit_s = Histogram()
        self.retrieval_s = Histogram()
        self.first_token_ours_s = Histogram()
        self.first_token_provider_s = Histogram()
        self.queue_wait_s = Histogram()
        self.take_overs = 0
        self.retries: Counter[str] = Counter()
        self.answers: Counter[tuple[str, str]] = Counter()
        self.answer_s = Histogram()
        self.tokens: Counter[tuple[str, str]] = Counter()
        self.cost: dict[str, float] = {}
        self.budget_refusals: Counter[str] = Counter()

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

    def ended(self, status: str, provider: str, seconds: float, input_tokens: int, output_tokens: int) -> None:
        self.answers[provider, status] += 1
        self.answer_s.observe(seconds)
        self.tokens[provider, "input"] += input_tokens
        self.tokens[provider, "output"] += output_tokens

    def paid(self, model: str, cost: float) -> None:
        self.cost[model] = self.cost.get(model, 0.0) + cost

    def over_budget(self, kind: str) -> None:
        self.budget_refusals[kind] += 1
