"""OpenAI's embeddings, and every server that speaks them (Ollama, vLLM, LocalAI, text-embeddings-inference...)."""

import asyncio
from collections.abc import Sequence

import httpx2
import msgspec
import openai

from services.embedding.base import Embedded, EmbeddingError, unit
from services.llm.base import words_of

TIMEOUT_S = 30.0


class _Item(msgspec.Struct):
    embedding: list[float | None]
    index: int = 0


class _Usage(msgspec.Struct):
    total_tokens: int = 0


class _Reply(msgspec.Struct):
    data: list[_Item]
    usage: _Usage | None = None


class OpenAIEmbedder:
    batch = 64

    def __init__(self, name: str, api_key: str | None, base_url: str | None) -> None:
        self.name = name
        self._client = openai.AsyncOpenAI(
            api_key=api_key or "none", base_url=base_url, max_retries=0, timeout=httpx2.Timeout(TIMEOUT_S, connect=10)
        )
        self._decode = msgspec.json.Decoder(_Reply).decode

    async def embed(self, texts: Sequence[str]) -> Embedded:
        body = {"model": self.name, "input": list(texts), "encoding_format": "float"}
        try:
            response = await self._client.post("/embeddings", cast_to=httpx2.Response, body=body)
            reply = self._decode(response.content)
        except openai.APIStatusError as error:
            # What is refused for its texts; a wrong key or address is everybody's, and may be mended.
            wrong = error.status_code in (400, 413, 422)
            raise EmbeddingError(
                words_of(error.status_code, error.body), wrong=wrong, retry_after_s=_seconds(error)
            ) from error
        except (openai.APIError, httpx2.HTTPError) as error:
            raise EmbeddingError(type(error).__name__) from error
        except msgspec.MsgspecError as error:
            raise EmbeddingError(f"unreadable: {error}", wrong=True) from error
        items = sorted(reply.data, key=lambda item: item.index)
        # A hundred thousand numbers a batch: not on the loop.
        vectors = await asyncio.to_thread(_vectors, items, len(texts))
        return Embedded(vectors, reply.usage.total_tokens if reply.usage else 0)

    async def close(self) -> None:
        await self._client.close()


def _vectors(items: Sequence[_Item], count: int) -> list[list[float]]:
    found = [[value if value is not None else float("nan") for value in item.embedding] for item in items]
    return unit(found, count)


def _seconds(error: openai.APIStatusError) -> float | None:
    try:
        return min(60.0, float(error.response.headers.get("retry-after", "")))
    except ValueError:
        return None
