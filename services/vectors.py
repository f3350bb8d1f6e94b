"""Vectors of meaning behind the rooms' changes: what waits is embedded in batches, and a query gets its vector.

Knows models, queues and leases; knows nothing of ranking. Every room has a cursor in its log of changes for each model, so
a provider that is down for a day loses nothing. One pod at a time fills a model. A model that the settings newly name is
filled beside the one that serves, which is kept up to date meanwhile; then they change places.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple
from uuid import uuid4

from config.settings import Settings
from models import embeddings, errors, stats
from models.database import Database, DatabaseUnavailable
from models.embeddings import Model, Waiting
from services.embedding import grip
from services.embedding.base import Embedded, Embedder, EmbeddingError
from services.embedding.local import PREFIX, LocalEmbedder
from services.embedding.openai import OpenAIEmbedder
from services.prices import Prices
from services.prompts import estimate_tokens

log = logging.getLogger("maru.vectors")

SWEEP_S = 15.0
# What is said within so long goes out in one call.
GATHER_S = 0.3
LEASE_S = 90.0
AGAIN_S = 1.0
# Whether the vectors have become enough for a graph is counted so often, not after each message.
TIDY_S = 60.0
RETRY_FIRST_S = 1.0
RETRY_MOST_S = 60.0
TEXT_MOST = 2_000
QUERY_MOST = 1_000
# A search does not wait longer for its query's vector: the words alone answer then.
QUERY_S = 1.5
# After a failure searches don't ask for a while, or each would wait.
QUERY_REST_S = 10.0
QUERIES_KEPT = 512
DEFAULT_WEIGHT = 0.25
PROBE = "maru"
ROWS_DROPPED = 5_000
# What a row of the usage holds: a provider may tell anything.
TOKENS_MOST = (1 << 31) - 1


class Query(NamedTuple):
    """A query's vector; weight: the share of meaning in the score of a hybrid search."""

    model: Model
    vector: list[float]
    weight: float


class State(NamedTuple):
    """waiting: changes that the model has not seen. fault: why it is behind, in a line."""

    name: str
    serving: bool
    dimensions: int | None
    korean: float | None
    waiting: int
    fault: str | None


class Vectors:
    def __init__(self, db: Database, settings: Settings, prices: Prices) -> None:
        self._db = db
        self._prices = prices
        self._settings = settings
        self.name = settings.embedding_model
        self.owner = str(uuid4())
        self._embedders: dict[str, Embedder] = {}
        self._weights = {m: float(w) for m, _, w in (word.rpartition("=") for word in settings.embedding_weights)}
        self._serving: Model | None = None
        self._kept: OrderedDict[tuple[int, str], list[float]] = OrderedDict()
        self._nudged = asyncio.Event()
        self._requested = False
        self._rest_until = 0.0
        self._tidy_at = 0.0
        self.faults: dict[str, str] = {}
        self.embedded = 0

    # -- models

    def _embedder_for(self, name: str) -> Embedder:
        if name.startswith(PREFIX):
            return LocalEmbedder(name)
        key = self._settings.embedding_api_key or self._settings.openai_api_key
        base_url = self._settings.embedding_base_url or self._settings.openai_base_url
        return OpenAIEmbedder(name, key.get_secret_value() if key else None, base_url)

    def _embedder(self, name: str) -> Embedder:
        if name not in self._embedders:
            self._embedders[name] = self._embedder_for(name)
        return self._embedders[name]

    async def close(self) -> None:
        if self.name is not None:
            with contextlib.suppress(DatabaseUnavailable):
                await self._db.run_bare(embeddings.release, self.owner)
        for embedder in self._embedders.values():
            await embedder.close()

    async def models(self) -> list[Model]:
        """What is to be kept up to date: the model that serves and the one that is to."""
        if self.name is None:
            return []
        if not self._requested:
            await self._db.run(embeddings.request, self.name)
            self._requested = True
        found = await self._db.run_bare(embeddings.models)
        self._serving = next((model for model in found if model.serving), None)
        return found

    async def state(self) -> list[State]:
        found = []
        for model in await self.models():
            behind = await self._db.run_bare(embeddings.waiting_count, model.id)
            fault = self.faults.get(model.name)
            found.append(State(model.name, model.serving, model.dimensions, model.korean, behind, fault))
        return found

    # -- a query

    async def query(self, text: str) -> Query | None:
        """None: there is no model, it does not answer, or it has no grip on what is asked; words alone carry it then."""
        text = clean(text[: 2 * QUERY_MOST])[:QUERY_MOST]
        if self.name is None or not text or time.monotonic() < self._rest_until:
            return None
        model = self._serving or next((one for one in await self.models() if one.serving), None)
        if model is None or not model.dimensions:
            return None
        weight = self.weight(model, text)
        if weight <= 0:
            return None
        vector = self._kept.get((model.id, text))
        if vector is None:
            try:
                async with asyncio.timeout(QUERY_S):
                    vector = (await self._embedder(model.name).embed([text])).vectors[0]
            except (EmbeddingError, TimeoutError) as error:
                log.warning("a query goes without meaning", extra={"error": str(error)[:200] or "timeout"})
                self._rest_until = time.monotonic() + QUERY_REST_S
                return None
            self._kept[model.id, text] = vector
            while len(self._kept) > QUERIES_KEPT:
                self._kept.popitem(last=False)
        return Query(model, vector, weight) if len(vector) == model.dimensions else None

    def weight(self, model: Model, text: str) -> float:
        """The share of meaning for this query: less for Korean, where the model has less of a grip on it."""
        weight = self._weights.get(model.name, DEFAULT_WEIGHT)
        letters = sum(char.isalpha() for char in text)
        hangul = sum("가" <= char <= "힣" or "ㄱ" <= char <= "ㅣ" for char in text)
        if hangul and letters:
            known = grip.share(model.korean) if model.korean is not None else 0.0
            weight *= 1 - hangul / letters * (1 - known)
            if hangul * 2 >= letters and not known:
                weight = 0.0
        return weight

    # -- the queue

    def changed(self, room_id: str) -> None:
        """Something in this room was committed here."""
        self._nudged.set()

    async def step(self) -> None:
        if self.name is None:
            await asyncio.Event().wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SWEEP_S):
                await self._nudged.wait()
        await asyncio.sleep(GATHER_S)
        self._nudged.clear()
        for model in await self.models():
            await self.fill(model)

    async def fill(self, model: Model) -> None:
        """Until nothing waits, the provider fails, or another pod is at it."""
        try:
            await self._fill(model)
        finally:
            # Whichever pod hears of the next message can go on.
            await self._db.run_bare(embeddings.release, self.owner)

    async def _fill(self, model: Model) -> None:
        failed = 0
        while await self._db.run_bare(embeddings.lease, model.id, self.owner, LEASE_S):
            try:
                if model.dimensions is None:
                    model = await self._meet(model)
                done = await self._batch(model)
                self.faults.pop(model.name, None)
                failed = 0
            except EmbeddingError as error:
                failed += 1
                await self._note(model, error)
                wait = min(RETRY_MOST_S, RETRY_FIRST_S * 2 ** (failed - 1)) * random.uniform(0.75, 1.25)
                await asyncio.sleep(error.retry_after_s or wait)
                if failed >= 3:
                    return  # the other model gets its turn
                continue
            if not done:
                await self._settle(model)
                return
        # It may have looked for the last time just before what this pod was told of.
        asyncio.get_running_loop().call_later(AGAIN_S, self._nudged.set)

    async def _meet(self, model: Model) -> Model:
        """Ask a model for the first time: of what dimension it is, and whether it knows Korean."""
        made = await self._embedder(model.name).embed(grip.SENTENCES)
        korean = round(grip.grip(made.vectors), 3)
        dimensions = len(made.vectors[0])
        if not grip.share(korean):
            log.warning(
                "this embedding model has no grip on Korean; Korean is searched by its words alone",
                extra={"model": model.name, "grip": korean},
            )
        await self._db.run(embeddings.describe, model.id, dimensions, korean)
        model = model._replace(dimensions=dimensions, korean=korean)
        if model.serving:
            self._serving = model
        return model

    async def _batch(self, model: Model) -> int:
        embedder = self._embedder(model.name)
        waiting = await self._db.run_bare(embeddings.waiting, model.id, embedder.batch)
        if not waiting:
            return 0
        texts = [text_of(one) for one in waiting]
        asked = [place for place, text in enumerate(texts) if text]
        vectors: list[list[float] | None] = [None] * len(waiting)
        tokens = 0
        if asked:
            made = await self._embed(model, [texts[place] for place in asked])
            for place, vector in zip(asked, made.vectors, strict=True):
                vectors[place] = vector or None
            tokens = min(max(0, made.tokens), TOKENS_MOST) or sum(estimate_tokens(texts[place]) for place in asked)
        self.embedded += await self._db.run(embeddings.keep, model, waiting, vectors)
        if asked and not model.name.startswith(PREFIX):
            await self._count(model, waiting, texts, tokens)
        return len(waiting)

    async def _embed(self, model: Model, texts: Sequence[str]) -> Embedded:
        """An empty vector for a text that the model can't take, found by halving; the others have theirs."""
        try:
            made = await self._embedder(model.name).embed(texts)
        except EmbeddingError as error:
            if not error.wrong:
                raise
            if len(texts) > 1:
                half = len(texts) // 2
                first, second = await self._embed(model, texts[:half]), await self._embed(model, texts[half:])
                return Embedded(first.vectors + second.vectors, first.tokens + second.tokens)
            # Is it this text, or does the model fail whatever it is asked? Then nothing is given up.
            await self._embedder(model.name).embed([PROBE])
            log.warning("a text gets no vector", extra={"model": model.name, "error": str(error)[:200]})
            return Embedded([[]], 0)
        if len(made.vectors[0]) != model.dimensions:
            # As wrong for every other text: wait until somebody has mended it.
            raise EmbeddingError(
                f"{model.name} gives {len(made.vectors[0])} dimensions, not {model.dimensions} as before"
            )
        return made

    async def _count(self, model: Model, waiting: Sequence[Waiting], texts: Sequence[str], tokens: int) -> None:
        """Tokens to the rooms' accounts, by the length of what each had embedded."""
        chars: dict[str, int] = {}
        for one, text in zip(waiting, texts, strict=True):
            chars[one.room_id] = chars.get(one.room_id, 0) + len(text)
        total = sum(chars.values())
        spent = [(room_id, round(tokens * count / total)) for room_id, count in chars.items() if count]
        await self._db.run(stats.spend_embedding, model.name, spent, self._price_of(model.name))

    def _price_of(self, model: str) -> Decimal | None:
        price = self._prices.of("embedding", model)
        return price.input if price is not None else None

    async def _note(self, model: Model, error: EmbeddingError) -> None:
        if model.name not in self.faults:
            await self._db.run(errors.note, "embedding.failed", f"{model.name}: {error}"[:500])
        self.faults[model.name] = str(error)[:300]
        log.warning("embedding failed", extra={"model": model.name, "error": str(error)[:300]})

    async def _settle(self, model: Model) -> None:
        """Nothing waits: let it serve; now and then sort its vectors and put away what no model needs."""
        if model.serving and time.monotonic() < self._tidy_at:
            return
        await self._db.run_bare(embeddings.build_index, model)
        if not model.serving and model.dimensions is not None:
            await self._db.run(embeddings.switch, model.id)
            log.info("a new embedding model serves", extra={"model": model.name})
            await self.models()
        while await self._db.run_bare(embeddings.drop_others, ROWS_DROPPED):  # noqa: ASYNC110, others get their turn
            await asyncio.sleep(0.05)
        self._tidy_at = time.monotonic() + TIDY_S


def text_of(one: Waiting) -> str:
    """What stands for a message: who said it is half of what it means to those who ask."""
    text = clean(one.content[: 2 * TEXT_MOST])[:TEXT_MOST] if one.findable else ""
    return f"{clean(one.name)}: {text}" if text else ""


def clean(text: str) -> str:
    """Without what no model reads: control characters and the like; empty where no letter, digit or symbol is left."""
    text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split())
