"""Every list comes in pages: `limit` from 1 to 200, 50 if left out, and `next` leads on to the rest."""

import pytest

from handlers.api import types
from handlers.api.base import by_place, cursor_of, piece
from handlers.routes import ROUTES
from models import errors
from services.errors import ChatError

LISTS = sorted(
    route.path
    for route in ROUTES
    if route.method == "GET" and isinstance(route.reply, type) and issubclass(route.reply, types.Listed)
)


async def world(pods):
    """An administrator, and a path for each list with at least two items where that can be."""
    pod = await pods.start(sends_per_10s=0, openai_api_key="sk-none", anthropic_api_key="sk-none")
    admin = await pod.person("Adam")
    others = [await pod.person(name) for name in ("Anna", "anna", "Hanna")]
    room = await admin.room(*others)
    for _ in range(2):
        await admin.room()
        await admin.post("/auth/login", {"email": admin.email, "password": admin.password})
        await admin.post("/users/me/keys", {"name": "key"})
        await admin.post(f"/rooms/{room}/invites", {})
        said = await admin.post(f"/rooms/{room}/messages", {"text": "needle"})
        await others[0].post(f"/rooms/{room}/messages", {"text": "needle"})
    for text in ("needles", "needle"):
        await admin.patch(f"/messages/{said['messageId']}", {"text": text})
    for kind in ("tokens", "money"):
        await admin.post("/admin/budgets", {"kind": "user", "span": "day", "unit": kind, "soft": None, "hard": 1e9})
    await admin.post("/auth/login", {"email": others[0].email, "password": others[0].password})
    for kind in ("internal", "provider"):
        await pod.services.db.run(errors.note, kind, "x")
    paths = {
        "/rooms/{roomId}/members": f"/rooms/{room}/members", "/rooms/{roomId}/invites": f"/rooms/{room}/invites",
        "/messages/{messageId}/versions": f"/messages/{said['messageId']}/versions", "/users": "/users?q=anna",
        "/search": "/search?q=needle", "/admin/stats": "/admin/stats?by=user", "/admin/usage": "/admin/usage?by=user",
        "/admin/users/{userId}/sessions": f"/admin/users/{others[0].id}/sessions",
    }  # fmt: skip
    return admin, {path: paths.get(path, path) for path in LISTS}


async def test_every_list_can_be_read_one_by_one(pods):
    admin, paths = await world(pods)
    short = set()
    for name, path in paths.items():
        path += "&" if "?" in path else "?"
        whole = await admin.get(path + "limit=200")
        assert whole["next"] is None, name
        items, cursor = [], ""
        while cursor is not None and len(items) <= len(whole["items"]):
            page = await admin.get(f"{path}limit=1&cursor={cursor}")
            assert len(page["items"]) <= 1
            items += page["items"]
            cursor = page["next"]
        assert items == whole["items"], name
        assert (await admin.get(path.rstrip("?&")))["items"] == whole["items"][:50]
        if len(items) < 2:
            short.add(name)
        for wrong in ("limit=0", "limit=201", "limit=x", "cursor=x", "cursor=e30", "cursor=WzFd" + "A" * 40):
            status, problem = await admin.call("GET", path + wrong)
            assert (status, problem["code"], problem["field"]) == (400, "request.invalid", wrong.partition("=")[0]), (
                name
            )
    assert short <= {"/admin/embedding"}
    for name in ("/users?q=a&", "/admin/users?", "/rooms?"):
        status, problem = await admin.call("GET", f"{name}cursor={cursor_of('2026-11-27T00:00:00Z', 'no id')}")
        assert (status, problem["field"]) == (400, "cursor")
    assert (await admin.call("GET", f"/admin/users?cursor={cursor_of('no id')}"))[0] == 400


def test_what_comes_and_goes_between_two_pages_hides_nothing_and_doubles_nothing():
    found = [("b", 2), ("a", 1), ("c", 3)]
    first, more = piece(found, types.Page(limit=2), lambda one: (one[0],), str)
    assert first == [("a", 1), ("b", 2)]
    found.remove(("b", 2))
    found += [("aa", 4), ("d", 5)]
    assert piece(found, types.Page(more, 2), lambda one: (one[0],), str) == ([("c", 3), ("d", 5)], None)
    newest, more = piece(found, types.Page(limit=1), lambda one: (one[0],), str, newest_first=True)
    assert newest == [("d", 5)]
    assert piece(found, types.Page(more), lambda one: (one[0],), str, newest_first=True)[0][0] == ("c", 3)
    with pytest.raises(ChatError):
        by_place(found, types.Page(cursor_of("a")))
