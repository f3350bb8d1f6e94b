"""The served reference, made from the types that decode and encode: `/openapi.json`, `/asyncapi.json`."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from handlers import protocol
from handlers.api.base import Call, Route, required
from handlers.api.problems import Problem
from handlers.api.types import LiveMessage, LiveOpen
from services.realtime.events import EVENTS, Error

VERSION = "0.1.0"
REF = "#/components/schemas/{name}"
ERRORS = {
    400: "Not JSON, or a query that can't be understood.",
    401: "No or bad token.",
    403: "Not allowed.",
    404: "Unknown, or not to be seen.",
    409: "Not in this state.",
    413: "Body over the limit.",
    415: "Not JSON by its Content-Type.",
    422: "A field is missing, null, of the wrong type or out of range.",
    429: "Too many; wait as long as Retry-After says.",
    503: "Not now; try again.",
}


async def openapi(call: Call) -> dict[str, Any]:
    return make_openapi()


async def asyncapi(call: Call) -> dict[str, Any]:
    return make_asyncapi()


T = "operation"
ROUTES = [
    Route("GET", "/openapi.json", openapi, "This reference.", T, reply=dict[str, Any], who=None),
    Route("GET", "/asyncapi.json", asyncapi, "The reference of both sockets.", T, reply=dict[str, Any], who=None),
]


def struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def described(kinds: Iterable[Any]) -> dict[str, Any]:
    """Schemas of these types and all within, by name.

    A field that is left out when it has no value is never null, which the type that it has here does not say.
    """
    _, schemas = msgspec.json.schema_components(dict.fromkeys(kinds), ref_template=REF)
    for name in leaving_out(Struct):
        for field in schemas.get(name, {}).get("properties", {}).values():
            if field.get("default", ...) is None:
                del field["default"]
                if "enum" in field:
                    field["enum"].remove(None)
                else:
                    (one,) = (one for one in field.pop("anyOf") if one != {"type": "null"})
                    field.update(one)
    return schemas


def leaving_out(kind: type[Struct]) -> Iterator[str]:
    """Names of the types under `kind` that are written without what has no value."""
    for heir in kind.__subclasses__():
        if heir.__struct_config__.omit_defaults:
            yield heir.__name__
        yield from leaving_out(heir)


@cache
def make_openapi() -> dict[str, Any]:
    from handlers.routes import ROUTES as routes

    kinds: list[Any] = [Problem, LiveOpen]
    kinds += [kind for route in routes for kind in (route.body, route.reply) if struct(kind)]
    schemas = described(kinds)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Maru",
            "version": VERSION,
            "description": "A self-hosted real-time chat server in which people and language models share rooms. "
            "Errors are RFC 9457 problem documents. The sockets are described in /asyncapi.json.",
            "license": {"name": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "Access token (JWT) or API key."},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "maru_session"},
            },
        },
    }


def operation(route: Route) -> dict[str, Any]:
    name = re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_")
    found: dict[str, Any] = {"operationId": name, "summary": route.summary, "tags": [route.tag]}
    parameters = [
        {
            "name": word,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"}
            if word.endswith("Id")
            else {"type": "string", "minLength": 1},
        }
        for word in re.findall(r"\{(\w+)\}", route.path)
    ]
    if route.query is not None:
        parameters += query_parameters(route.query)
    if parameters:
        found["parameters"] = parameters
    if route.body is not None:
        found["requestBody"] = {
            "required": required(route.body),
            "content": {name: {"schema": ref(route.body)} for name in route.media},
        }
    found["responses"] = responses_of(route)
    found["security"] = [{"bearer": []}, {"cookie": []}] if route.who is not None else []
    return found


def responses_of(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status in (route.status, *route.also):
        found[str(status)] = {"description": "No content." if status == 204 else "As asked."}
        if route.reply is not None and status != 204:
            schema = ref(route.reply) if struct(route.reply) else {"type": "object"}
            found[str(status)]["content"] = {"application/json": {"schema": schema}}
    if route.path == "/metrics":
        found["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    if route.path == "/admin/live":
        events = [sent_event("open", LiveOpen), sent_event("message", LiveMessage)]
        found["200"]["content"] = {"text/event-stream": {"schema": {"oneOf": events}}}
    if route.path in ("/admin/stats", "/admin/usage"):
        found["200"]["content"]["text/csv"] = {"schema": {"type": "string"}}
    if route.path == "/rooms/{roomId}/export":
        found["200"]["content"]["text/markdown"] = {"schema": {"type": "string"}}
    wrong = {
        400: route.query is not None or route.body is not None,
        401: route.who is not None or "/auth/" in route.path,
    }
    wrong |= {403: True, 404: True, 409: route.method not in ("GET", "HEAD"), 429: True, 503: True}
    wrong |= {413: True, 415: route.body is not None, 422: route.body is not None}
    for status, possible in wrong.items():
        if possible and str(status) not in found:
            found[str(status)] = {"description": ERRORS[status]}
            if route.method != "HEAD":
                found[str(status)]["content"] = {"application/problem+json": {"schema": ref(Problem)}}
    return found


def query_parameters(kind: type[Struct]) -> list[dict[str, Any]]:
    (schema,), extra = msgspec.json.schema_components([kind], ref_template=REF)
    fields = extra[schema["$ref"].rsplit("/", 1)[1]]
    required = fields.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": part}
        for name, part in fields["properties"].items()
    ]


def sent_event(name: str, kind: type[Struct]) -> dict[str, Any]:
    """A server-sent event; before OpenAPI 3.2 the schema of the stream describes each of them."""
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": ref(kind)}
    return envelope({"event": {"const": name}, "data": data}, ["event", "data"])


def ref(kind: Any) -> dict[str, str]:
    return {"$ref": REF.format(name=kind.__name__)}


@cache
def make_asyncapi() -> dict[str, Any]:
    commands = {name: word.command for name, word in protocol.COMMANDS.items()}
    replies = {name: word.reply for name, word in protocol.COMMANDS.items()}
    schemas = described([*commands.values(), *replies.values(), *EVENTS.values(), Error])
    messages: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for name, word in protocol.COMMANDS.items():
        messages[f"{name}Command"] = {
            "name": name, "summary": word.summary,
            "payload": envelope({"id": {"type": ["number", "string"]}, "event": {"const": name}, "data": ref(word.command)}, ["event"]),
        }  # fmt: skip
        messages[f"{name}Reply"] = {
            "name": f"{name} reply",
            "payload": {
                "oneOf": [
                    envelope({"id": {}, "ok": {"const": True}, "data": ref(word.reply)}, ["id", "ok", "data"]),
                    envelope({"id": {}, "ok": {"const": False}, "error": ref(Error)}, ["id", "ok", "error"]),
                ]
            },
        }
        operations[name] = {
            "action": "receive", "channel": {"$ref": "#/channels/native"}, "summary": word.summary,
            "messages": [{"$ref": f"#/channels/native/messages/{name}Command"}],
            "reply": {"channel": {"$ref": "#/channels/native"}, "messages": [{"$ref": f"#/channels/native/messages/{name}Reply"}]},
        }  # fmt: skip
    for name, kind in EVENTS.items():
        messages[f"{name}Event"] = {
            "name": name, "summary": (kind.__doc__ or "").strip().split("\n")[0],
            "payload": envelope({"event": {"const": name}, "data": ref(kind)}, ["event", "data"]),
        }  # fmt: skip
    operations["events"] = {
        "action": "send", "channel": {"$ref": "#/channels/native"}, "summary": "What the server announces.",
        "messages": [{"$ref": f"#/channels/native/messages/{name}Event"} for name in EVENTS],
    }  # fmt: skip
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Maru, both sockets",
            "version": VERSION,
            "description": "Native: `GET /ws`, text frames as below. Socket.IO: `/socket.io/`, namespace `/`, `auth: {token}`; "
            "the same commands as `emit(event, data, ack)`, where the ack gets `{ok, data}` or `{ok, error}`, and the same events.",
        },
        "channels": {
            "native": {
                "address": "/ws",
                "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in messages},
            }
        },
        "operations": operations,
        "components": {"schemas": schemas, "messages": messages},
    }


def envelope(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}
