"""What a provider of language models is to Maru: a request in, deltas out. Vendors' words end in this package."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Literal, NamedTuple, Protocol

import httpx2
import msgspec

from services import surrogates

Kind = Literal["text", "reasoning"]
# key: refused · model: unknown · busy: 429 · server: it has trouble · lost: out of reach · timeout · broken: what came was
# no whole answer · request: it did not take ours
FaultKind = Literal["key", "model", "busy", "server", "lost", "timeout", "broken", "request", "other"]
CLOSE_S = 2.0
MOST_TOKENS = 1_000_000_000
FIXED = re.compile(r"[a-z_]{1,50}")


class Turn(NamedTuple):
    role: Literal["user", "assistant"]
    text: str


class Request(NamedTuple):
    """temperature None: the model's own."""

    model: str
    system: str
    turns: list[Turn]
    temperature: float | None
    max_tokens: int


class Delta(NamedTuple):
    kind: Kind
    text: str


class Spent(NamedTuple):
    """Tokens as the provider counted them; a later one replaces an earlier one. None: not told yet."""

    input_tokens: int | None
    output_tokens: int | None


class Finished(NamedTuple):
    """The model has said all; what may follow is what it cost."""


Item = Delta | Spent | Finished


def counted(given: float | None, told: float | None) -> Spent:
    """A figure beyond all reason is its provider's own fault and shall be nobody else's."""
    return Spent(
        *(int(min(max(0, one), MOST_TOKENS)) if one is not None else None for one in (given, told))
    )  # fmt: skip


class ProviderError(Exception):
    """The provider refused or broke off. `message` may be shown to a person: no key, no trace, no address.

    retryable: the same call may succeed a moment later. retry_after_s: what the provider asked for, or None.
    detail: for the log, so never the provider's own words: they may repeat a key or the prompt.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "generation.failed",
        retryable: bool = False,
        retry_after_s: float | None = None,
        detail: str = "",
        kind: FaultKind = "other",
    ) -> None:
        super().__init__(detail or message)
        self.message = message
        self.code = code
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.kind: FaultKind = kind


class Provider(Protocol):
    name: str
    default_model: str

    def stream(self, request: Request) -> AsyncIterator[Item]:
        """Deltas as they come. Raises ProviderError; ends normally only when the model has finished."""

    async def close(self) -> None: ...


def from_status(status: int, retry_after: str | None, detail: str) -> ProviderError:
    """What an HTTP status of a provider means."""
    try:
        seconds = float(retry_after) if retry_after else None
    except ValueError:
        seconds = None
    if status in (401, 403):
        return ProviderError(
            "The model's provider refused the server's key. Ask an administrator.",
            code="bot.provider_unavailable",
            detail=detail,
            kind="key",
        )
    if status == 404:
        return ProviderError(
            "The provider does not know this model. Choose another one in the room's settings.",
            code="bot.provider_unavailable",
            detail=detail,
            kind="model",
        )
    if status == 429:
        return ProviderError(
            "The model's provider is busy. Try again in a moment.",
            code="bot.provider_unavailable",
            retryable=True,
            retry_after_s=seconds,
            detail=detail,
            kind="busy",
        )
    if status >= 500 or status in (408, 409):
        return ProviderError(
            "The model's provider has trouble. Try again in a moment.",
            code="bot.provider_unavailable",
            retryable=True,
            retry_after_s=seconds,
            detail=detail,
            kind="server",
        )
    return ProviderError("The model's provider did not accept the request.", detail=detail, kind="request")


def words_of(status: int | None, body: Any) -> str:
    """The fixed words of a provider's error, such as `HTTP 400 invalid_request_error`; its sentences may repeat a key or
    what people wrote."""
    inner = body.get("error", body) if isinstance(body, dict) else None
    given = [inner.get("type"), inner.get("code")] if isinstance(inner, dict) else []
    words = [word for word in given if isinstance(word, str) and FIXED.fullmatch(word)]
    return " ".join([f"HTTP {status}" if status else "in its stream", *dict.fromkeys(words)])


def lost(detail: str) -> ProviderError:
    return ProviderError(
        "The model's provider can't be reached. Try again in a moment.",
        code="bot.provider_unavailable",
        retryable=True,
        detail=detail,
        kind="lost",
    )


def broke_off() -> ProviderError:
    return ProviderError("The model broke off in the middle of its answer.", detail="stream ended early", kind="broken")


async def server_sent(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The `data:` payloads of a server-sent event stream, as bytes.

    Parsed here and not by the SDKs, whose pydantic object for every chunk costs more than the network does.
    """
    rest = b""
    async for chunk in chunks:
        rest += chunk
        if b"\n" not in chunk:
            continue
        *lines, rest = rest.split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
    if rest.startswith(b"data:"):
        yield rest[5:].strip()


async def close(deltas: AsyncIterator[Any]) -> None:
    """End a provider's stream, also when its connection does not care to end."""
    end = getattr(deltas, "aclose", None)
    if end is not None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                await end()


# After its last word a provider ends the response at once; only what was read to its end leaves its connection to the
# next answer, and a new one costs a handshake before the first token.
END_S = 0.25
PATIENT = httpx2.Timeout(None, connect=10)
KEPT = httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=60)


async def events(
    post: Callable[..., Any], stream_cls: type, path: str, body: dict[str, Any], decode: Callable[[bytes], Any],
    errors: "VendorErrors",
) -> AsyncGenerator[Any, None]:  # fmt: skip
    """Decoded events of one streaming call, None after the last, the vendor's exceptions turned into ProviderError.

    post, stream_cls: of an SDK's client. The body is encoded here: the SDKs walk through every argument by its
    annotations, which for twenty messages takes longer than all the rest of the way to the first token.
    """
    stream = None
    try:
        options = {"headers": {"Content-Type": "application/json", "Accept": "text/event-stream"}}
        stream = await post(
            path, cast_to=object, content=msgspec.json.encode(body), options=options, stream=True, stream_cls=stream_cls
        )
        chunks = stream.response.aiter_bytes()
        async for data in server_sent(chunks):
            if data == b"[DONE]":
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(END_S):
                        async for _ in chunks:
                            pass
                yield None
                return
            if data:
                # One that cuts an emoji in two between two events has said something all the same.
                yield surrogates.decoded(data, decode, msgspec.MsgspecError, surrogates.SHOWN)
    except errors.status as error:
        headers = error.response.headers
        detail = words_of(error.status_code, getattr(error, "body", None))
        raise from_status(error.status_code, headers.get("retry-after"), detail) from None
    except errors.connection as error:
        raise lost(type(error).__name__) from None
    except msgspec.MsgspecError as error:
        raise ProviderError(
            "The model's provider answered with something unreadable.", detail=str(error), kind="broken"
        ) from error
    finally:
        if stream is not None:
            await stream.close()


class VendorErrors(NamedTuple):
    status: Any
    connection: tuple[type[BaseException], ...]
