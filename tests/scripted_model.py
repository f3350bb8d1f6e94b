"""A scripted model behind the wire: an HTTP server that speaks OpenAI's and Anthropic's formats to the real SDKs."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler


class Script:
    """What the model does for one call: a list of steps.

    ("text", words) · ("think", words) · ("wait", asyncio.Event) · ("pause", seconds) · ("status", code, headers) ·
    ("usage", input, output) · ("raw", bytes) · ("cut",): the connection breaks · ("hang",): nothing more, for ever
    """

    def __init__(self, *steps: Any) -> None:
        self.steps = steps


class ScriptedModel:
    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.default: Callable[[dict[str, Any]], Script] = lambda body: Script(
            ("text", "네, "), ("text", "알겠어요."), ("usage", 11, 5)
        )
        self.calls: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.peers: list[Any] = []  # the address that each call came from: one a connection
        self.open = 0
        self._sockets = bind_sockets(0, "127.0.0.1")
        self.port = self._sockets[0].getsockname()[1]
        self.called = asyncio.Condition()
        # What an embeddings call is answered with: a list of vectors, (status, headers), or an exception to hang up.
        self.embed: Callable[[list[str]], Any] = lambda texts: [concepts(text) for text in texts]
        self.embedded: list[tuple[str, list[str]]] = []

    def start(self) -> None:
        app = Application(
            [
                ("/v1/chat/completions", OpenAIHandler, {"model": self}),
                ("/v1/messages", AnthropicHandler, {"model": self}),
                ("/v1/embeddings", EmbeddingsHandler, {"model": self}),
            ]
        )
        self._server = HTTPServer(app)
        self._server.add_sockets(self._sockets)

    @property
    def openai(self) -> dict[str, Any]:
        """Settings of a pod that talks to this model as OpenAI's."""
        return {
            "openai_base_url": f"http://127.0.0.1:{self.port}/v1",
            "openai_api_key": "sk-secret-of-a-test",
            "openai_model": "m1",
        }

    @property
    def anthropic(self) -> dict[str, Any]:
        return {
            "anthropic_base_url": f"http://127.0.0.1:{self.port}",
            "anthropic_api_key": "sk-ant-secret",
            "anthropic_model": "c1",
        }

    @property
    def embedding(self) -> dict[str, Any]:
        """Settings of a pod that asks this model for vectors."""
        return {"embedding_base_url": f"http://127.0.0.1:{self.port}/v1", "embedding_model": "meaning-1"}

    async def calls_are(self, count: int) -> None:
        async with asyncio.timeout(15), self.called:
            await self.called.wait_for(lambda: len(self.calls) >= count)

    async def close(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()


class Handler(RequestHandler):
    def initialize(self, model: ScriptedModel) -> None:
        self.model = model

    async def post(self) -> None:
        body = json.loads(self.request.body)
        async with self.model.called:
            self.model.calls.append(body)
            self.model.headers.append(self.request.headers)
            self.model.peers.append(self.request.connection.context.address)
            self.model.called.notify_all()
        script = self.model.scripts.pop(0) if self.model.scripts else self.model.default(body)
        self.model.open += 1
        try:
            await self._play(script)
        except StreamClosedError:
            pass
        finally:
            self.model.open -= 1

    async def _play(self, script: Script) -> None:
        self.set_header("Content-Type", "text/event-stream")
        begun = False
        usage = None
        for kind, *values in script.steps:
            if kind == "status":
                self.set_status(values[0])
                self.set_header("Content-Type", "application/json")
                for name, value in (values[1] if len(values) > 1 else {}).items():
                    self.set_header(name, value)
                self.finish(json.dumps({"error": {"message": "scripted", "type": "scripted"}}))
                return
            if not begun and kind in ("text", "think", "usage", "raw"):
                begun = True
                await self.begin()
            if kind == "text":
                await self.text(values[0])
            elif kind == "think":
                await self.think(values[0])
            elif kind == "wait":
                await self.flush()
                await values[0].wait()
            elif kind == "pause":
                await asyncio.sleep(values[0])
            elif kind == "usage":
                usage = values
            elif kind == "raw":
                self.write(values[0])
                await self.flush()
            elif kind == "cut":
                self.request.connection.stream.close()
                return
            elif kind == "hang":
                await self.flush()
                closed = asyncio.Event()
                self.request.connection.set_close_callback(closed.set)
                await closed.wait()
                return
        await self.end(usage)

    async def data(self, value: Any) -> None:
        self.write(b"data: " + json.dumps(value).encode() + b"\n\n")
        await self.flush()

    async def begin(self) -> None: ...
    async def text(self, words: str) -> None: ...
    async def think(self, words: str) -> None: ...
    async def end(self, usage: Any) -> None: ...


class OpenAIHandler(Handler):
    async def _delta(self, delta: dict[str, Any], finish: str | None = None) -> None:
        await self.data(
            {
                "id": "x",
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            }
        )

    async def begin(self) -> None:
        await self._delta({"role": "assistant", "content": ""})

    async def text(self, words: str) -> None:
        await self._delta({"content": words})

    async def think(self, words: str) -> None:
        await self._delta({"reasoning_content": words})

    async def end(self, usage: Any) -> None:
        await self._delta({}, "stop")
        if usage:
            await self.data({"choices": [], "usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1]}})
        self.finish(b"data: [DONE]\n\n")


class AnthropicHandler(Handler):
    async def event(self, kind: str, **fields: Any) -> None:
        self.write(f"event: {kind}\n".encode())
        await self.data({"type": kind, **fields})

    async def begin(self) -> None:
        await self.event(
            "message_start", message={"id": "m", "role": "assistant", "usage": {"input_tokens": 11, "output_tokens": 1}}
        )
        await self.event("ping")

    async def text(self, words: str) -> None:
        await self.event("content_block_delta", index=0, delta={"type": "text_delta", "text": words})

    async def think(self, words: str) -> None:
        await self.event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": words})

    async def end(self, usage: Any) -> None:
        await self.event(
            "message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": usage[1] if usage else 5}
        )
        await self.event("message_stop")
        self.finish()


CONCEPTS = (
    ("자동차", "차량", "car", "운전"), ("고양이", "냥이", "cat", "kitty"), ("회의", "미팅", "meeting"), ("점심", "식사", "lunch"),
    ("비밀번호", "암호", "password"), ("서버", "시스템", "server"), ("비", "강수", "rain"), ("표", "항공권", "ticket"),
    ("아기", "아이", "baby"), ("월급", "급여", "salary"), ("장애", "죽어", "outage"), ("찌개",), ("예매", "예약"), ("소파", "쇼파"),
)  # fmt: skip


def concepts(text: str) -> list[float]:
    """A vector that knows a little of meaning: one direction a concept, and a faint one of the text itself."""
    own = sum(map(ord, text)) % 7
    vector = [1.0 if any(word in text for word in words) else 0.0 for words in CONCEPTS]
    return vector + [0.1 + 0.01 * (own == place) for place in range(7)]


class EmbeddingsHandler(RequestHandler):
    def initialize(self, model: ScriptedModel) -> None:
        self.model = model

    async def post(self) -> None:
        body = json.loads(self.request.body)
        self.model.embedded.append((body["model"], body["input"]))
        made = self.model.embed(body["input"])
        if asyncio.iscoroutine(made):
            made = await made
        if isinstance(made, tuple):
            self.set_status(made[0])
            for name, value in made[1].items():
                self.set_header(name, value)
            self.finish({"error": {"message": "scripted", "type": "scripted"}})
            return
        if isinstance(made, bytes):
            self.set_header("Content-Type", "application/json")
            self.finish(made)
            return
        items = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(made)]
        self.finish({"object": "list", "data": items, "usage": {"prompt_tokens": 3, "total_tokens": 3 * len(items)}})
