"""Numbers that a benchmark found, and the table of them."""

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple


class Figure(NamedTuple):
    """One number. target: the most that is wanted, or None. detail: what stands in the JSON only, rounds for instance."""

    bench: str
    name: str
    value: float
    unit: str
    target: float | None = None
    detail: dict[str, Any] = {}

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "ok" if self.value <= self.target else "above"

    def as_json(self) -> dict[str, Any]:
        return {**self._asdict(), "verdict": self.verdict}


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else float("nan")


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Rounds as they were, for the JSON."""
    return {"rounds": [round(value, 4) for value in values]}


def latencies(seconds: Sequence[float]) -> dict[str, float]:
    """In milliseconds."""
    mean = 1000 * sum(seconds) / len(seconds) if seconds else float("nan")
    return {
        "p50": round(1000 * quantile(seconds, 0.5), 2),
        "p99": round(1000 * quantile(seconds, 0.99), 2),
        "mean": round(mean, 2),
    }


def table(figures: Sequence[Figure]) -> str:
    """Figures one below the other; those named `subject: what`, when a subject has many, as a line a subject."""
    subjects = Counter(figure.name.partition(": ")[0] for figure in figures)
    wide = [figure for figure in figures if subjects[figure.name.partition(": ")[0]] > 5]
    lines = [
        (
            figure.bench,
            figure.name,
            number(figure.value),
            figure.unit,
            "" if figure.target is None else f"<= {figure.target:g}",
            figure.verdict,
        )
        for figure in figures
        if figure not in wide
    ]
    blocks = [columns(lines, right=(2,))] if lines else []
    shapes: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for subject, count in subjects.items():
        if count > 5:
            own = [figure for figure in wide if figure.name.startswith(subject + ": ")]
            heads = tuple(f"{figure.name.partition(': ')[2]} {figure.unit}".strip() for figure in own)
            marks = [number(figure.value) + ("!" if figure.verdict == "above" else "") for figure in own]
            shapes.setdefault((own[0].bench, *heads), []).append((subject, *marks))
    blocks += [columns([heads, *lines], right=range(1, len(heads))) for heads, lines in shapes.items()]
    return "\n\n".join(blocks)


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def columns(lines: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
