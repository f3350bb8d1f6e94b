"""Anthropic's messages."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import anthropic
import httpx2
import msgspec

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
    from_status,
    words_of,
)

ERRORS = VendorErrors(anthropic.APIStatusError, (anthropic.APIConnectionError, httpx2.HTTPError))


class _Usage(msgspec.Struct):
    input_tokens: int | float | None = None
    output_tokens: int | float | None = None
    cache_creation_input_tokens: int | float | None = None
    cache_read_input_tokens: int | float | None = None


class _Message(msgspec.Struct):
    usage: _Usage | None = None


class _Delta(msgspec.Struct):
    type: str | None = None
    text: str = ""
    thinking: str = ""


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""


class _Event(msgspec.Struct):
    type: str
    message: _Message | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: _Error | None = None


class Anthropic:
    name = "anthropic"

    def __init__(self, api_key: str | None, base_url: str | None, default_model: str) -> None:
        self.default_model = default_model
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key or "none", base_url=base_url, max_retries=0, timeout=PATIENT,
            http_client=anthropic.DefaultAsyncHttpxClient(limits=KEPT, timeout=PATIENT),
        )  # fmt: skip
        self._decode = msgspec.json.Decoder(_Event).decode

    async def stream(self, request: Request) -> AsyncIterator[Item]:
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": turn.role, "content": turn.text} for turn in request.turns],
            "max_tokens": request.max_tokens,
            "stream": True,
        }
        if request.system:
            body["system"] = request.system
        if request.temperature is not None:
            body["temperature"] = min(request.temperature, 1.0)  # its scale ends at 1
        finished = False
        called = events(self._client.post, anthropic.AsyncStream[object], "/v1/messages", body, self._decode, ERRORS)
        async with aclosing(called):
            async for event in called:
                match event.type if event is not None else "":
                    case "content_block_delta" if event.delta is not None:
                        if event.delta.text:
                            yield Delta("text", event.delta.text)
                        if event.delta.thinking:
                            yield Delta("reasoning", event.delta.thinking)
                    case "message_start" if event.message is not None and event.message.usage is not None:
                        usage = event.message.usage
                        cached = (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
                        yield counted((usage.input_tokens or 0) + cached, None)
                    case "message_delta" if event.usage is not None:
                        yield counted(None, event.usage.output_tokens)
                    case "message_stop":
                        finished = True
                        yield Finished()
                    case "error":
                        fault = event.error or _Error()
                        status = {"overloaded_error": 529, "rate_limit_error": 429, "api_error": 500}.get(fault.type)
                        if status is not None:
                            raise from_status(status, None, words_of(None, {"type": fault.type}))
                        raise ProviderError(
                            "The model's provider reported a fault.",
                            detail=words_of(None, {"type": fault.type}),
                            kind="server",
                        )
        if not finished:
            raise broke_off()

    async def close(self) -> None:
        await self._client.close()
