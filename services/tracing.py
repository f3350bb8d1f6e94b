"""Traces over OpenTelemetry, where they are asked for: one from a send to the end of its answer, on every pod that has part.

    send > commit, publish > deliver (each pod with readers), answer > claim, retrieval, chat, finish, publish > deliver

Off, it is None wherever it would be used. On, `TRACE_SAMPLE` is settled once a send; of what is not traced nothing is made.
Spans name rooms and messages by id; no text, no prompt, nobody's name.

Between pods the context is what `origin` is in the payload of a `message` event: that field is for hints, a pod without
traces reads it there and looks at it only for those. So old and new pods understand each other, on and off, and who
has no reader of the room hears nothing of it. A pod that claims an answer knows the question's trace when it appended the
question or has delivered it; else, and for an answer made again, a trace begins with the answer.
"""

import asyncio
import contextlib
import importlib.util
import random
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from config.logs import trace_of
from config.settings import Settings
from services.llm.base import Delta, Item, ProviderError, Request, Spent, close
from services.realtime.bus import Bus, Listener
from services.realtime.events import Event

KEPT_MOST = 20_000
KEPT_S = 600.0
CLOSE_S = 3.0
CARRIED = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01")
NOTHING: AbstractContextManager[None] = contextlib.nullcontext()
PORTS = {"http": 80, "https": 443}


class TracingUnavailable(Exception):
    """OTLP_ENDPOINT is set, and what sends traces is not installed."""


def check(settings: Settings) -> None:
    """Raises TracingUnavailable."""
    if settings.otlp_endpoint and not (
        found("opentelemetry.sdk.trace") and found("opentelemetry.exporter.otlp.proto.http")
    ):
        raise TracingUnavailable(
            "OTLP_ENDPOINT needs what is in requirements-otel.txt: pip install -r requirements-otel.txt"
        )


def found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def carried(span: Span) -> str:
    """W3C's traceparent."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def from_carried(text: str) -> SpanContext | None:
    match = CARRIED.fullmatch(text)
    if match is None:
        return None
    return SpanContext(int(match[1], 16), int(match[2], 16), True, TraceFlags(TraceFlags.SAMPLED))


def under(parent: SpanContext | Span) -> Context:
    return set_span_in_context(parent if isinstance(parent, Span) else NonRecordingSpan(parent), Context())


def trace_id(span: Span) -> str:
    return f"{span.get_span_context().trace_id:032x}"


class Tracing:
    """share: of the sends, 0 to 1. servers: a provider's address and port."""

    def __init__(self, tracer: Tracer, share: float, servers: dict[str, tuple[str, int]]) -> None:
        self._tracer = tracer
        self._share = share
        self._servers = servers
        self._contexts: OrderedDict[str, tuple[SpanContext, float]] = OrderedDict()

    def _start(
        self, name: str, parent: SpanContext | Span | None, kind: SpanKind = SpanKind.INTERNAL, **more: Any
    ) -> Span:
        # Never the context of whoever happens to run: a commit is of many sends.
        context = under(parent) if parent is not None else Context()
        return self._tracer.start_span(name, context=context, kind=kind, **more)

    def _sampled(self) -> bool:
        return random.random() < self._share

    # -- which message is part of which trace

    def _keep(self, message_id: str, context: SpanContext) -> None:
        self._contexts[message_id] = (context, time.monotonic() + KEPT_S)
        while len(self._contexts) > KEPT_MOST:
            self._contexts.popitem(last=False)

    def _kept(self, message_id: str | None) -> SpanContext | None:
        found = self._contexts.get(message_id or "")
        return found[0] if found is not None and found[1] > time.monotonic() else None

    # -- a send

    def send(self, room_id: str) -> Span | None:
        if not self._sampled():
            return None
        return self._start("send", None, SpanKind.SERVER, attributes={"maru.room.id": room_id})

    @contextmanager
    def during(self, span: Span) -> Iterator[None]:
        """Ends the span, and tells the log of its trace meanwhile."""
        token = trace_of.set(trace_id(span))
        try:
            yield
        except BaseException as error:
            failed(span, getattr(error, "code", type(error).__name__))
            raise
        finally:
            span.end()
            trace_of.reset(token)

    def committed(self, span: Span, began_ns: int, size: int, message_ids: list[str]) -> None:
        """This send was written, with `size` - 1 others. message_ids: the message and, if there is one, its answer."""
        commit = self._start("commit", span, attributes={"maru.commit.size": size}, start_time=began_ns)
        commit.end()
        for message_id in message_ids:
            span.set_attribute("maru.message.id", message_ids[0])
            self._keep(message_id, span.get_span_context())

    # -- between pods

    def publishing(self, bus: Bus) -> Callable[[str, Event], None]:
        """`bus.publish`, with a span for messages that are part of a trace, and their context carried along."""
        publish = bus.publish

        def traced(room_id: str, event: Event) -> None:
            message = event.message
            # An edit is its own story.
            fresh = message is not None and message.edited_at is None and message.deleted is None
            context = self._kept(message.id) if message is not None and fresh else None
            if message is None or context is None:
                publish(room_id, event)
                return
            span = self._start("publish", context, SpanKind.PRODUCER, attributes=about(event))
            event.trace = carried(span)
            try:
                publish(room_id, event)
            finally:
                span.end()

        return traced

    def hearing(self, heard: Listener, delivered: Callable[[], int]) -> Listener:
        """`heard`, with a span for events that carry a context. delivered: to how many readers, so far."""

        def traced(room_id: str, event: Event) -> None:
            context = from_carried(event.trace) if event.trace is not None else None
            if context is None:
                heard(room_id, event)
                return
            if event.message is not None and self._kept(event.message.id) is None:
                self._keep(event.message.id, context)
            before = delivered()
            span = self._start("deliver", context, SpanKind.CONSUMER, attributes=about(event))
            try:
                heard(room_id, event)
            finally:
                span.set_attribute("maru.readers", delivered() - before)
                span.end()

        return traced

    # -- an answer

    def answer(
        self, room_id: str, message_id: str, question_id: str | None, attempt: int, since_ns: int | None
    ) -> "Answering | None":
        """since_ns: when the claim began; None when it was made in the commit of the question."""
        parent = self._kept(message_id) or self._kept(question_id)
        if parent is None and not self._sampled():
            return None
        attributes = {"maru.room.id": room_id, "maru.message.id": message_id, "maru.attempt": attempt}
        span = self._start("answer", parent, attributes=attributes, start_time=since_ns)
        if since_ns is None:
            span.add_event("claimed in the commit of its question")
        else:
            self._start("claim", span, start_time=since_ns).end()
        self._keep(message_id, span.get_span_context())
        return Answering(self, span)


class Answering:
    """The part of a trace that is one attempt at an answer."""

    def __init__(self, tracing: Tracing, span: Span) -> None:
        self._tracing = tracing
        self._span = span

    def enter(self) -> None:
        """Tell the log of this task which trace it is part of."""
        trace_of.set(trace_id(self._span))

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        span = self._tracing._start(name, self._span)
        try:
            yield
        except BaseException as error:
            failed(span, type(error).__name__)
            raise
        finally:
            span.end()

    async def watched(self, deltas: AsyncIterator[Item], provider: str, request: Request) -> AsyncIterator[Item]:
        """What the provider says, under a span of OpenTelemetry's conventions for generative models."""
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": request.model,
            "gen_ai.request.max_tokens": request.max_tokens,
            "gen_ai.request.stream": True,
        }
        if request.temperature is not None:
            attributes["gen_ai.request.temperature"] = request.temperature
        if provider in self._tracing._servers:
            attributes["server.address"], attributes["server.port"] = self._tracing._servers[provider]
        span = self._tracing._start(f"chat {request.model}", self._span, SpanKind.CLIENT, attributes=attributes)
        asked: float | None = time.perf_counter()
        try:
            async for item in deltas:
                if isinstance(item, Spent):
                    for word, tokens in (("input", item.input_tokens), ("output", item.output_tokens)):
                        if tokens is not None:
                            span.set_attribute(f"gen_ai.usage.{word}_tokens", tokens)
                elif asked is not None and isinstance(item, Delta):
                    span.set_attribute("gen_ai.response.time_to_first_chunk", time.perf_counter() - asked)
                    span.add_event("first piece")
                    asked = None
                yield item
        except ProviderError as error:
            failed(span, error.kind)
            raise
        except asyncio.CancelledError:
            failed(span, "cancelled")  # stopped by somebody, or silent for too long
            raise
        finally:
            span.end()
            await close(deltas)

    def end(self, status: str, error: ProviderError | None) -> None:
        self._span.set_attribute("maru.answer.status", status)
        if error is not None:
            failed(self._span, error.code)
        self._span.end()


def part(answering: Answering | None, name: str) -> AbstractContextManager[None]:
    return NOTHING if answering is None else answering.part(name)


def failed(span: Span, kind: str) -> None:
    """Its kind alone: an exception's text may hold what people wrote."""
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def about(event: Event) -> dict[str, Any]:
    message = event.message
    if message is None:
        return {}
    return {"maru.room.id": message.room_id, "maru.message.id": message.id, "maru.message.number": message.changed_seq}


@contextlib.asynccontextmanager
async def open_tracing(settings: Settings) -> AsyncIterator[Tracing | None]:
    """None without an endpoint. What was gathered last is sent at the end, as far as that takes no longer than a moment.

    No global provider is set: the SDKs of models' vendors would use it, and their spans are not ours to vouch for.
    Raises TracingUnavailable.
    """
    if not settings.otlp_endpoint:
        yield None
        return
    check(settings)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    endpoint = settings.otlp_endpoint.rstrip("/")
    if not endpoint.endswith("/v1/traces"):
        endpoint += "/v1/traces"
    resource = Resource.create({"service.name": "maru", "service.instance.id": str(uuid4())})
    provider = TracerProvider(resource=resource, sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=CLOSE_S)))
    try:
        yield Tracing(provider.get_tracer("maru"), settings.trace_sample, servers(settings))
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * CLOSE_S):
                await asyncio.to_thread(provider.shutdown)


def servers(settings: Settings) -> dict[str, tuple[str, int]]:
    found = {}
    for name, url in (
        ("openai", settings.openai_base_url or "https://api.openai.com/v1"),
        ("anthropic", settings.anthropic_base_url or "https://api.anthropic.com"),
    ):
        parts = urlsplit(url)
        found[name] = (parts.hostname or "", parts.port or PORTS.get(parts.scheme, 443))
    return found
