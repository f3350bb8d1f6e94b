"""The REST API fuzzed against its own reference, and every REST shape that a client can get wrong."""

import asyncio
import base64
import io
import json
import sys

import pytest

from tests.conftest import CONTRACT


async def test_schemathesis_finds_nothing(pods):
    """It uses the ids that it was answered with, also to end its own session or account, and would hear 401 from then on.

    So what can do that is asked apart: with a key, which outlives sessions, where no list tells one's own account; and
    logging out with a token of its own. Leaving and a new password need the right one, which it does not find.
    """
    pod = await pods.start(sends_per_10s=0, max_answers_per_user=0, login_failures_per_15min=0)
    ann, bob = await pod.person(), await pod.person()
    await ann.room(when="always")
    key = (await ann.post("/users/me/keys", {"name": "fuzz"}))["key"]
    ends, out = "^(delete_users_me_sessions|delete_admin_users|patch_admin_users)_", "^post_auth_logout$"
    await fuzzed(pod, ann.token, f"--exclude-operation-id-regex={ends}|{out}")
    assert (await ann.call("GET", "/users/me"))[0] == 200
    await fuzzed(pod, key, f"--include-operation-id-regex={ends}")
    assert (await pod.call("GET", "/users/me", token=key))[0] == 200
    await fuzzed(pod, bob.token, f"--include-operation-id-regex={out}")
    assert (await bob.call("GET", "/users/me"))[0] == 401


async def fuzzed(pod, token, *chosen):
    """Never a 5xx, never an answer that the reference does not name, never bad data let in."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", f"{pod.url}/openapi.json",
        "--header", f"Authorization: Bearer {token}", "--max-examples", "4", "--seed", "7", "--phases", "examples,coverage,fuzzing",
        "--exclude-checks", "positive_data_acceptance",  # `before` with `after` is 400, which a schema can't say
        *chosen, "--no-color", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd="/tmp",
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-6000:]


def forged(*key):
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


async def test_problems_have_one_shape_and_name_the_request(pods):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room()
    table = [
        ("GET", "/nowhere", None, 404, "request.not_found"),
        ("GET", "/rooms/xyz", None, 404, "room.not_found"),
        ("GET", "/messages/xyz", None, 404, "message.not_found"),
        ("PUT", "/rooms", {}, 405, "request.invalid"),
        ("DELETE", "/rooms", None, 405, "request.invalid"),
        ("POST", "/auth/login", {"email": "a@b.c"}, 422, "request.invalid"),
        ("POST", "/auth/login", {"email": None, "password": "x"}, 422, "request.invalid"),
        ("POST", "/auth/register", {"email": "no at", "name": "x", "password": "12345678"}, 422, "request.invalid"),
        ("POST", "/auth/register", {"email": "a@b.c", "name": "x", "password": "1234567"}, 422, "request.invalid"),
        (
            "POST",
            "/auth/register",
            {"email": "a@b.c", "name": "x" * 81, "password": "12345678"},
            422,
            "request.invalid",
        ),
        ("POST", "/auth/register", {"email": "a@b.c", "name": " ", "password": "12345678"}, 422, "request.invalid"),
        ("POST", "/auth/register", {"email": "a\0@b.c", "name": "x", "password": "12345678"}, 422, "request.invalid"),
        ("POST", f"/rooms/{room}/messages", {"text": "x" * 20_001}, 422, "message.too_long"),
        ("POST", f"/rooms/{room}/messages", {"text": "  "}, 422, "message.invalid"),
        ("POST", f"/rooms/{room}/messages", {"text": 5}, 422, "request.invalid"),
        ("POST", f"/rooms/{room}/messages", [], 422, "request.invalid"),
        ("POST", f"/rooms/{room}/invites", {"maxUses": 0}, 422, "request.invalid"),
        ("GET", "/rooms?limit=x", None, 400, "request.invalid"),
        ("GET", "/rooms?cursor=nonsense", None, 400, "request.invalid"),
        ("GET", "/rooms?cursor=WyJ4Il0", None, 400, "request.invalid"),
        ("GET", "/rooms?cursor=" + forged("9999-12-31T23:59:59-23:59", room), None, 400, "request.invalid"),
        ("GET", "/rooms?cursor=" + forged("2026-01-01T00:00:00Z", "no id"), None, 400, "request.invalid"),
        ("GET", "/admin/audit?cursor=" + forged(2**63), None, 400, "request.invalid"),
        ("GET", "/admin/stats?since=9999-12-31T23:59:59-23:59", None, 400, "request.invalid"),
        ("GET", "/users?q=%00", None, 400, "request.invalid"),
        ("GET", "/users?q=%ff", None, 400, "request.invalid"),
    ]
    for method, path, body, status, code in table:
        async with pod.http.request(
            method, pod.url + path, json=body, headers={"Authorization": f"Bearer {ann.token}"}
        ) as answer:
            problem = await answer.json(content_type=None)
            assert (answer.status, problem["code"]) == (status, code), (method, path, problem)
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert problem["status"] == status and problem["title"] and problem["detail"]
            assert problem["requestId"] == answer.headers.get("X-Request-Id", problem["requestId"])
            if status == 405:
                assert "GET" in answer.headers["Allow"]


async def test_what_a_path_takes_is_told_with_a_405(pods):
    pod = await pods.start()
    for path, takes in (
        ("/rooms", "POST, GET, OPTIONS"),
        ("/ws", "GET"),
        ("/login", "GET"),
        ("/static/mark.svg", "GET, HEAD"),
    ):
        async with pod.http.put(pod.url + path) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, takes), path
            assert (await answer.json(content_type=None))["code"] == "request.invalid"


async def test_a_load_balancer_may_look_with_head(pods):
    pod = await pods.start()
    for draining, ready in ((False, 200), (True, 503)):
        pod.services.draining = draining
        for path, status in (("/healthz", 200), ("/readyz", ready)):
            async with pod.http.head(pod.url + path) as answer:
                assert (answer.status, await answer.read()) == (status, b""), path
            assert (await pod.call("GET", path))[0] == status
    pod.services.draining = False
    async with pod.http.put(pod.url + "/readyz") as answer:
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    _, openapi = await pod.call("GET", "/openapi.json")
    for path in ("/healthz", "/readyz"):
        assert not any("content" in response for response in openapi["paths"][path]["head"]["responses"].values())


async def test_a_path_that_is_not_utf8_leads_nowhere_and_asks_for_the_token_first(pods, caplog):
    pod = await pods.start()
    ann = await pod.person()
    table = [
        ("GET", "/rooms/%ff", "room.not_found"),
        ("PATCH", "/messages/a%c3%28", "message.not_found"),
        ("DELETE", "/users/me/keys/%ff%fe", "request.not_found"),
        ("POST", "/invites/%ff", "invite.invalid"),
        ("POST", "/invites/%00", "invite.invalid"),
    ]
    for method, path, code in table:
        status, problem = await pod.call(method, path)
        assert (status, problem["code"]) == (401, "auth.missing"), path
        status, problem = await pod.call(method, path, {} if method == "PATCH" else None, token=ann.token)
        assert (status, problem["code"]) == (404, code), path
    for path in ("/%ff", "/nowhere/%ff", "/static/%ff"):
        status, problem = await pod.call("GET", path)
        assert (status, problem["code"]) == (404, "request.not_found"), path
    for path in ("/i/%ff", "/i/%00"):
        assert (await pod.call("GET", path))[0] == 200, path
    assert not [record for record in caplog.records if record.exc_info or record.name.startswith("tornado.app")]


async def test_a_page_of_a_listed_origin_may_read_every_problem(pods, monkeypatch):
    pod = await pods.start(allowed_origins=("https://app.example",))
    ann = await pod.person()

    async def broken(*args):
        raise LookupError("bug")

    monkeypatch.setattr(pod.services.accounts, "sessions", broken)
    table = [
        ("GET", "/users/me", 200),
        ("GET", "/nowhere", 404),
        ("NONSENSE", "/nowhere", 404),
        ("GET", "/rooms/xyz", 404),
        ("PUT", "/rooms", 405),
        ("GET", "/ws", 400),
        ("POST", "/ws", 405),
        ("GET", "/users?limit=x", 400),
        ("GET", "/users/me/sessions", 500),
    ]
    for method, path, status in table:
        for origin, allowed in (("https://app.example", True), ("https://evil.example", False)):
            headers = {"Authorization": f"Bearer {ann.token}", "Origin": origin}
            async with pod.http.request(method, pod.url + path, headers=headers) as answer:
                assert answer.status == status or not allowed, (method, path, answer.status)
                given = answer.headers.get("Access-Control-Allow-Origin")
                assert given == (origin if allowed else None), (method, path, origin)
                if allowed:
                    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
                    assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
                    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("path", ["/rooms", "/nowhere"])
async def test_a_page_of_a_listed_origin_may_ask_with_a_token(pods, path):
    """A browser asks first, also where there is nothing: else its page can't read that there is nothing."""
    pod = await pods.start(allowed_origins=("https://app.example",))
    for origin, allowed in (("https://app.example", True), ("https://evil.example", False)):
        headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        async with pod.http.options(pod.url + path, headers=headers) as answer:
            assert ("Access-Control-Allow-Origin" in answer.headers) == allowed
            if allowed:
                assert answer.status == 204 and "GET" in answer.headers["Access-Control-Allow-Methods"]
                assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert (await pod.call("OPTIONS", "/nowhere"))[0] == 404


@pytest.mark.parametrize(
    ("raw", "kind", "status", "code"),
    [
        (b"{", "application/json", 400, "request.invalid"),
        (b"", "application/json", 400, "request.invalid"),
        (b"\xff\xfe", "application/json", 400, "request.invalid"),
        (b"[" * 100_000, "application/json", 400, "request.invalid"),
        (b'{"text": "\\ud800"}', "application/json", 422, "message.invalid"),
        (b'{"text": NaN}', "application/json", 400, "request.invalid"),
        (b'{"text": "x"}', "text/plain", 415, "request.unsupported_media"),
        (b"text=x", "application/x-www-form-urlencoded", 415, "request.unsupported_media"),
        (b'{"text": "' + b"x" * 524_288 + b'"}', "application/json", 413, "request.too_large"),
        (b'{"text": "' + b"x" * 9_000_000 + b'"}', "application/json", 413, "request.too_large"),
    ],
)
async def test_bodies_that_cannot_be_read(pods, raw, kind, status, code):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room()
    for chunked in (False, True):

        async def pieces():
            for at in range(0, len(raw), 60_000):
                yield raw[at : at + 60_000]

        data = pieces() if chunked else io.BytesIO(raw)
        headers = {"Authorization": f"Bearer {ann.token}", "Content-Type": kind}
        async with pod.http.post(f"{pod.url}/rooms/{room}/messages", data=data, headers=headers) as answer:
            problem = json.loads(await answer.text())
            assert (answer.status, problem["code"]) == (status, code)
    assert (await ann.get(f"/rooms/{room}"))["head"] == 0


async def test_unknown_fields_are_ignored(pods):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room()
    await ann.post(f"/rooms/{room}/messages", {"text": "x", "whatever": [1, {"a": None}]})


async def test_a_limit_answers_with_retry_after(pods):
    pod = await pods.start(sends_per_10s=1)
    ann = await pod.person()
    room = await ann.room()
    await ann.post(f"/rooms/{room}/messages", {"text": "x"})
    headers = {"Authorization": f"Bearer {ann.token}"}
    async with pod.http.post(f"{pod.url}/rooms/{room}/messages", json={"text": "y"}, headers=headers) as answer:
        problem = await answer.json(content_type=None)
        assert answer.status == 429 and problem["code"] == "rate.limited"
        assert int(answer.headers["Retry-After"]) == -(-problem["retryAfterMs"] // 1000) >= 1


async def test_the_references_name_every_command_event_and_route(pods):
    from handlers import protocol
    from handlers.routes import ROUTES
    from services.realtime.events import EVENTS

    pod = await pods.start()
    _, openapi = await pod.call("GET", "/openapi.json")
    named = {(method.upper(), path) for path, methods in openapi["paths"].items() for method in methods}
    assert named == {(route.method, route.path) for route in ROUTES}
    _, asyncapi = await pod.call("GET", "/asyncapi.json")
    for name in protocol.COMMANDS:
        assert f"{name}Command" in asyncapi["components"]["messages"] and name in asyncapi["operations"]
    for name in EVENTS:
        assert f"{name}Event" in asyncapi["components"]["messages"]
    contract = CONTRACT.read_text() if CONTRACT.exists() else "".join(f"`{n}`" for n in [*protocol.COMMANDS, *EVENTS])
    for name in [*protocol.COMMANDS, *EVENTS]:
        assert f"`{name}`" in contract or f"**{name}**" in contract, name
