"""What a model of meaning is to Maru: texts in, vectors out. Vendors' words end in this package."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class EmbeddingError(Exception):
    """No vectors came. wrong: the texts or the vectors are at fault, so that the same call would fail again.

    retry_after_s: what the provider asked for, or None.
    """

    def __init__(self, detail: str, *, wrong: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.wrong = wrong
        self.retry_after_s = retry_after_s


class Embedded(NamedTuple):
    """vectors: one for each text, of length 1. tokens: what they cost."""

    vectors: list[list[float]]
    tokens: int


class Embedder(Protocol):
    name: str
    batch: int

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Raises EmbeddingError."""

    async def close(self) -> None: ...


def unit(vectors: Sequence[Sequence[float]], count: int) -> list[list[float]]:
    """The vectors, `count` of one dimension, scaled to length 1. Raises EmbeddingError for anything else."""
    if len(vectors) != count:
        raise EmbeddingError(f"{len(vectors)} vectors for {count} texts", wrong=True)
    if len({len(vector) for vector in vectors}) > 1 or not vectors[0]:
        raise EmbeddingError("vectors of several dimensions, or of none", wrong=True)
    found = []
    for vector in vectors:
        length = math.sqrt(sum(value * value for value in vector))
        if not math.isfinite(length) or length == 0:
            raise EmbeddingError("a vector that is no direction", wrong=True)
        found.append([value / length for value in vector])
    return found
