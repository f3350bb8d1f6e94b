"""Traces, as a collector gets them: real pods, the real exporter, and a small server that reads its protobuf."""

import asyncio

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from services import tracing
from services.realtime.events import Event, Message
from services.realtime.redis_bus import _unpack
from tests.contracts.redis_servers import Redis
from tests.scripted_model import Script


class Span:
    def __init__(self, span, resource):
        self.name = span.name
        self.kind = span.Kind if hasattr(span, "Kind") else span.kind
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.fields = fields(span.attributes)
        self.pod = fields(resource.attributes)["service.instance.id"]
        self.events = [event.name for event in span.events]
        self.began, self.ended = span.start_time_unix_nano, span.end_time_unix_nano
        self.failed = span.status.code == 2
        self.whole = str(span)


def fields(attributes):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


class Collector:
    def __init__(self):
        self.spans = []
        self._news = asyncio.Condition()
        self._sockets = bind_sockets(0, "127.0.0.1")
        self.url = f"http://127.0.0.1:{self._sockets[0].getsockname()[1]}"

    def start(self):
        collector = self

        class Traces(RequestHandler):
            async def post(self):
                asked = ExportTraceServiceRequest.FromString(self.request.body)
                async with collector._news:
                    for group in asked.resource_spans:
                        for scope in group.scope_spans:
                            collector.spans += [Span(span, group.resource) for span in scope.spans]
                    collector._news.notify_all()
                self.set_header("Content-Type", "application/x-protobuf")

        self._server = HTTPServer(Application([("/v1/traces", Traces)]))
        self._server.add_sockets(self._sockets)

    async def until(self, what):
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(lambda: what(self))

    async def until_named(self, *names):
        """A span of each of these names has come; pods send theirs each in their own time."""
        await self.until(lambda c: all(c.named(name) for name in names))

    def named(self, name):
        return [span for span in self.spans if span.name == name]

    async def close(self):
        self._server.stop()
        await self._server.close_all_connections()


@pytest.fixture
def collector(io_loop, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    made = Collector()
    io_loop.add_callback(made.start)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def redis():
    made = Redis().start()
    yield made
    made.close()


async def joined(pod, room, person):
    door = await person.native(pod)
    await door.join(room)
    return door


async def hearing(*pods):
    async with asyncio.timeout(10):
        while not all(pod.services.bus.healthy for pod in pods):
            await asyncio.sleep(0.01)


async def test_a_send_its_answer_and_what_other_pods_deliver_are_one_trace(pods, model, collector, redis):
    settings = {**model.openai, "redis_url": redis.url, "otlp_endpoint": collector.url}
    a, b = await pods.start(**settings), await pods.start(**settings)
    await hearing(a, b)
    ann, bob = await a.person(), await a.person()
    room = await ann.room(bob, when="always")
    here, there = await joined(a, room, ann), await joined(b, room, bob)
    model.scripts = [Script(("text", "PLANTED-ANSWER"), ("usage", 11, 5))]
    sent = await here.send(room, "PLANTED-QUESTION")
    answer = await there.answer_to(sent["messageId"])
    await collector.until_named("send", "answer")
    (send,) = collector.named("send")
    await collector.until(lambda c: sum(s.pod != send.pod for s in c.named("deliver")) >= 3)
    await collector.until(lambda c: sum(s.fields["maru.message.id"] == answer["id"] for s in c.named("deliver")) >= 4)
    await collector.until(lambda c: {s.parent for s in c.spans} <= {"", *(s.id for s in c.spans)})
    assert len({span.trace for span in collector.spans}) == 1
    by_id = {span.id: span for span in collector.spans}
    parents = {(span.name, by_id[span.parent].name if span.parent else "") for span in collector.spans}
    assert parents == {
        ("send", ""), ("commit", "send"), ("publish", "send"), ("answer", "send"), ("retrieval", "answer"),
        ("chat m1", "answer"), ("finish", "answer"), ("publish", "answer"), ("deliver", "publish"),
    }  # fmt: skip
    (chat,), (made,) = collector.named("chat m1"), collector.named("answer")
    assert send.fields == {"maru.room.id": room, "maru.message.id": sent["messageId"]}
    assert collector.named("commit")[0].fields["maru.commit.size"] == 1
    assert made.events == ["claimed in the commit of its question"]
    assert made.fields["maru.answer.status"] == "complete" and made.fields["maru.message.id"] == answer["id"]
    assert chat.kind == 3 and chat.events == ["first piece"]  # 3: a client
    assert chat.fields.pop("gen_ai.response.time_to_first_chunk") > 0
    assert chat.fields == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m1",
        "gen_ai.request.max_tokens": 4096, "gen_ai.request.stream": True, "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 5, "server.address": "127.0.0.1", "server.port": model.port,
    }  # fmt: skip
    elsewhere = [span for span in collector.named("deliver") if span.pod != send.pod]
    assert len(elsewhere) >= 3 and all(span.fields["maru.readers"] == 1 for span in elsewhere)
    assert all(send.began <= span.began <= span.ended for span in collector.spans)
    for span in collector.spans:
        for secret in ("PLANTED", ann.name, "sk-secret", ann.token):
            assert secret not in span.whole


async def test_an_answer_that_was_queued_is_claimed_in_the_trace_of_its_question(pods, model, collector):
    model.scripts = [Script(("text", "긴 "), ("pause", 0.3)), Script(("text", "둘"))]
    pod = await pods.start(**model.openai, otlp_endpoint=collector.url)
    ann = await pod.person()
    room = await ann.room(when="always")
    door = await joined(pod, room, ann)
    await door.send(room, "하나")
    await door.event("stream")
    second = await door.send(room, "둘")
    await door.answer_to(second["messageId"])
    await collector.until(lambda c: len(c.named("answer")) == 2)
    by_id = {span.id: span for span in collector.spans}
    (claim,) = collector.named("claim")
    send = by_id[by_id[claim.parent].parent]
    assert send.name == "send" and send.fields["maru.message.id"] == second["messageId"]


async def test_another_pod_that_claims_the_answer_goes_on_with_the_trace_it_has_delivered(
    pods, model, collector, redis
):
    settings = {**model.openai, "redis_url": redis.url, "otlp_endpoint": collector.url}
    a, b = await pods.start(**settings), await pods.start(**settings)
    await hearing(a, b)
    ann, bob = await a.person(), await a.person()
    room = await ann.room(bob, when="always")
    here, there = await joined(a, room, ann), await joined(b, room, bob)
    a.services.generation._draining = True
    sent = await here.send(room, "?")
    await there.answer_to(sent["messageId"])
    await collector.until_named("send", "claim", "answer")
    (send,), (answer,), (claim,) = collector.named("send"), collector.named("answer"), collector.named("claim")
    assert answer.trace == send.trace and answer.pod != send.pod and claim.parent == answer.id


async def test_faults_are_named_by_their_kind_only(pods, model, collector):
    model.scripts = [Script(("status", 401))]
    pod = await pods.start(**model.openai, otlp_endpoint=collector.url, max_text_chars=10)
    ann = await pod.person()
    room = await ann.room(when="always")
    door = await joined(pod, room, ann)
    await door.answer_to((await door.send(room, "?"))["messageId"])
    with pytest.raises(Exception, match="too_long"):
        await door.send(room, "PLANTED" * 10)
    await collector.until(lambda c: c.named("answer") and len(c.named("send")) == 2)
    assert collector.named("chat m1")[0].fields["error.type"] == "key" and collector.named("chat m1")[0].failed
    assert collector.named("answer")[0].fields["error.type"] == "bot.provider_unavailable"
    assert {span.fields.get("error.type") for span in collector.named("send")} == {None, "message.too_long"}
    assert not any("PLANTED" in span.whole for span in collector.spans)


async def test_a_share_of_none_traces_nothing_and_an_answer_made_again_begins_its_own(pods, model, collector):
    quiet = await pods.start(**model.openai, otlp_endpoint=collector.url, trace_sample=0)
    loud = await pods.start(**model.openai, otlp_endpoint=collector.url)
    ann = await quiet.person()
    room = await ann.room(when="always")
    door = await joined(quiet, room, ann)
    answer = await door.answer_to((await door.send(room, "?"))["messageId"])
    other = await joined(loud, room, ann)
    door.events.clear()
    quiet.services.generation._draining = True
    await other.ask("regenerate", {"messageId": answer["id"]})
    await collector.until(lambda c: c.named("answer"))
    assert not collector.named("send") and not collector.named("answer")[0].parent


async def test_pods_with_and_without_traces_understand_each_other(pods, collector, redis):
    traced = await pods.start(redis_url=redis.url, otlp_endpoint=collector.url)
    plain = await pods.start(redis_url=redis.url)
    await hearing(traced, plain)
    ann, bob = await traced.person(), await traced.person()
    room = await ann.room(bob)
    here, there = await joined(traced, room, ann), await joined(plain, room, bob)
    # The second once the first is everywhere: else it may be there before, and the first be looked for in rows.
    for door, text in ((here, "하나"), (there, "둘")):
        sent = await door.send(room, text)
        for ear in (here, there):
            assert (await ear.event("message", id=sent["messageId"]))["text"] == text
    for pod in (traced, plain):
        assert pod.services.bus.foreign == 0 and pod.services.hub.holes_healed == 0


def test_the_payload_is_the_four_fields_that_older_pods_read():
    """They look at the third for hints only; without traces it is as it was."""
    from services.realtime import redis_bus

    message = Message("m", "r", 1, 1, None, "n", "user", "t", "ts", "complete")
    sent = []

    class Bus(redis_bus.RedisBus):
        def __init__(self):
            self._local = redis_bus.MemoryBus()
            self._pod, self.published, self.cluster = b"12345678", [0, 0, 0, 0], False

        def _send(self, key, *command):
            sent.append(command[2])

    bus = Bus()
    event = Event("message", message)
    bus.publish("r", event)
    event.trace = f"00-{1:032x}-{2:016x}-01"
    bus.publish("r", event)
    bus.publish("r", Event("typing", b"{}", origin="a connection"))
    assert [payload[:2] for payload in sent] == [b"\x01\x01"] * 3
    assert [_unpack(payload[10:])[2] for payload in sent] == [None, event.trace, "a connection"]
    assert tracing.from_carried(event.trace).span_id == 2 and tracing.from_carried("a connection") is None


async def test_a_collector_that_is_away_holds_up_neither_sends_nor_the_end(pods):
    pod = await pods.start(otlp_endpoint="http://127.0.0.1:1")
    ann = await pod.person()
    door = await joined(pod, room := await ann.room(), ann)
    assert (await door.send(room, "?"))["seq"] == 1
