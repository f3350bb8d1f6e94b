"""OpenAI's chat completions, and every server that speaks them (`OPENAI_BASE_URL`: Ollama, vLLM, llama.cpp...)."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx2
import msgspec
import openai

from services.llm.base import (
    KEPT,
    PATIENT,
    Delta,
    Finished,
    Item,
    ProviderError,
    Request,
    VendorErrors,
    broke_off,
    counted,
    events,
    words_of,
)

ERRORS = VendorErrors(openai.APIStatusError, (openai.APIConnectionError, httpx2.HTTPError))


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None  # DeepSeek's word, taken over by vLLM and others
    reasoning: str | None = None  # Ollama's and OpenRouter's


NOTHING = _Delta()


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | float | None = None
    completion_tokens: int | float | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


class OpenAI:
    name = "openai"

    def __init__(self, api_key: str | None, base_url: str | None, default_model: str) -> None:
        self.default_model = default_model
        self._official = base_url is None
        # Retries are ours (only before the first token), and so are the timeouts (first token, stall).
        self._client = openai.AsyncOpenAI(
            api_key=api_key or "none", base_url=base_url, max_retries=0, timeout=PATIENT,
            http_client=openai.DefaultAsyncHttpxClient(limits=KEPT, timeout=PATIENT),
        )  # fmt: skip
        self._decode = msgspec.json.Decoder(_Chunk).decode

    async def stream(self, request: Request) -> AsyncIterator[Item]:
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [
                *([{"role": "system", "content": request.system}] if request.system else []),
                *({"role": turn.role, "content": turn.text} for turn in request.turns),
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
            # Compatible servers know the older word only.
            "max_completion_tokens" if self._official else "max_tokens": request.max_tokens,
        }
        if request.temperature is not None:
            body["temperature"] = request.temperature
        finished = False
        called = events(self._client.post, openai.AsyncStream[object], "/chat/completions", body, self._decode, ERRORS)
        async with aclosing(called):
            async for chunk in called:
                if chunk is None:
                    finished = True
                    break
                if chunk.error is not None:
                    raise ProviderError(
                        "The model's provider reported a fault.", detail=words_of(None, chunk.error), kind="server"
                    )
                for choice in chunk.choices[:1]:
                    delta = choice.delta or NOTHING
                    if thought := delta.reasoning_content or delta.reasoning:
                        yield Delta("reasoning", thought)
                    if delta.content:
                        yield Delta("text", delta.content)
                    if choice.finish_reason is not None and not finished:
                        finished = True
                        yield Finished()
                if chunk.usage is not None:
                    yield counted(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        if not finished:
            raise broke_off()

    async def close(self) -> None:
        await self._client.close()
