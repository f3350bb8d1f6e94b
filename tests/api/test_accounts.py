"""Accounts, sessions, keys: who comes in, who stays, who is sent away everywhere."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta

import aiohttp
import jwt
import pytest
from argon2 import PasswordHasher
from yarl import URL

from models import accounts
from models.database import DatabaseUnavailable
from tests.pods import SECRET, Native, Refused

PASSWORD = "correct horse battery"


async def test_the_first_account_is_the_administrator_also_when_two_race(pods):
    pod = await pods.start()
    people = await asyncio.gather(*(pod.person() for _ in range(4)))
    assert sorted(p.user["role"] for p in people) == ["admin", "user", "user", "user"]


async def test_beyond_loopback_the_first_account_needs_the_set_up_code(pods):
    pod = await pods.start(host="0.0.0.0")
    code = pod.services.setup_code
    assert code and (await pods.start(host="0.0.0.0")).services.setup_code == code  # of all pods that share the key
    body = {"email": "a@example.com", "name": "A", "password": PASSWORD}
    for wrong in ({}, {"setupCode": "nope"}):
        status, problem = await pod.call("POST", "/auth/register", body | wrong)
        assert (status, problem["code"]) == (403, "auth.forbidden")
    status, answer = await pod.call("POST", "/auth/register", body | {"setupCode": code})
    assert status == 201 and answer["user"]["role"] == "admin"
    assert (await pod.person()).user["role"] == "user"


async def test_an_email_is_taken_whatever_its_case(pods):
    pod = await pods.start()
    body = {"email": "Ann@Example.com", "name": "A", "password": PASSWORD}
    assert (await pod.call("POST", "/auth/register", body))[0] == 201
    status, problem = await pod.call("POST", "/auth/register", body | {"email": "aNN@example.COM"})
    assert (status, problem["code"]) == (409, "auth.email_taken")
    assert (await pod.call("POST", "/auth/login", {"email": "ann@example.com", "password": PASSWORD}))[0] == 200


@pytest.mark.parametrize("mode", ["invite", "closed"])
async def test_registration_by_invitation_or_not_at_all(pods, mode):
    pod = await pods.start(registration=mode)
    ann = await pod.person()
    room = await ann.room()
    invite = await ann.post(f"/rooms/{room}/invites", {"role": "reader", "maxUses": 1})
    body = {"email": "b@example.com", "name": "B", "password": PASSWORD}
    status, problem = await pod.call("POST", "/auth/register", body)
    assert (status, problem["code"]) == (403, "auth.registration_closed")
    status, answer = await pod.call("POST", "/auth/register", body | {"invite": invite["code"]})
    if mode == "closed":
        assert (status, answer["code"]) == (403, "auth.registration_closed")
        return
    assert status == 201
    status, rooms = await pod.call("GET", "/rooms", token=answer["token"])
    assert [(r["id"], r["role"]) for r in rooms["items"]] == [(room, "reader")]
    body["email"] = "c@example.com"
    status, problem = await pod.call("POST", "/auth/register", body | {"invite": invite["code"]})
    assert (status, problem["code"]) == (404, "invite.invalid")


async def test_a_wrong_password_and_an_unknown_account_get_the_same_answer_after_the_same_time(pods):
    pod = await pods.start()
    ann = await pod.person()
    answers, times = [], []
    for email in (ann.email, "nobody@example.com"):
        best = 9.0
        for _ in range(3):
            began = time.perf_counter()
            answer = await pod.call("POST", "/auth/login", {"email": email, "password": "wrong wrong"})
            best = min(best, time.perf_counter() - began)
        answer[1].pop("requestId")
        answers.append(answer)
        times.append(best)
    assert answers[0] == answers[1] and answers[0][0] == 401
    assert max(times) < 3 * min(times)


async def test_others_are_answered_while_passwords_are_hashed(pods, monkeypatch):
    pod = await pods.start()
    ann, bob, cho = await pod.person(), await pod.person(), await pod.person()
    door = await ann.native()
    threads, begun, go_on = set(), threading.Event(), threading.Event()

    def held(hashing):
        def call(self, *given):
            threads.add(threading.current_thread())
            begun.set()
            go_on.wait(10)
            return hashing(self, *given)

        return call

    for name in ("hash", "verify"):
        monkeypatch.setattr(PasswordHasher, name, held(getattr(PasswordHasher, name)))
    passwords = {"oldPassword": PASSWORD, "newPassword": "another good one"}
    asking = asyncio.gather(
        pod.call("POST", "/auth/register", {"email": "c@example.com", "name": "C", "password": PASSWORD}),
        *(pod.call("POST", "/auth/login", {"email": cho.email, "password": PASSWORD}) for _ in range(3)),
        pod.call("POST", "/auth/login", {"email": "nobody@example.com", "password": PASSWORD}),
        ann.call("POST", "/auth/password", passwords),
        bob.call("DELETE", "/users/me", {"password": PASSWORD}),
    )
    assert await asyncio.to_thread(begun.wait, 10)
    assert (await ann.call("GET", "/rooms"))[0] == 200 and (await door.ask("ping", {}))["ts"]
    assert not asking.done()
    go_on.set()
    assert [status for status, _ in await asking] == [201, 200, 200, 200, 401, 200, 204]
    assert threads and threading.current_thread() not in threads


async def test_failed_log_ins_are_limited_for_an_account_and_an_address_known_or_not(pods):
    pod = await pods.start(login_failures_per_15min=3, login_failures_per_address=8)
    ann = await pod.person()
    for email in (ann.email, "nobody@example.com"):
        for _ in range(3):
            assert (await pod.call("POST", "/auth/login", {"email": email, "password": "wrong wrong"}))[0] == 401
        status, problem = await pod.call("POST", "/auth/login", {"email": email, "password": PASSWORD})
        assert (status, problem["code"]) == (429, "rate.limited") and problem["retryAfterMs"] > 800_000
    for i in range(2):
        assert (await pod.call("POST", "/auth/login", {"email": f"x{i}@e.com", "password": "wrong wrong"}))[0] == 401
    assert (await pod.call("POST", "/auth/login", {"email": "y@e.com", "password": "wrong wrong"}))[0] == 429


async def test_right_passwords_are_no_failed_log_ins_however_many_are_checked_at_once(pods):
    pod = await pods.start(login_failures_per_15min=3, login_failures_per_address=3)
    ann = await pod.person()
    right, wrong = ({"email": ann.email, "password": word} for word in (PASSWORD, "wrong wrong"))
    passwords = {"oldPassword": PASSWORD, "newPassword": PASSWORD}
    answers = await asyncio.gather(
        *(pod.call("POST", "/auth/login", right) for _ in range(12)),
        *(ann.call("POST", "/auth/password", passwords) for _ in range(6)),
    )
    assert {status for status, _ in answers} == {200}
    answers = await asyncio.gather(*(pod.call("POST", "/auth/login", wrong) for _ in range(12)))
    assert sorted(status for status, _ in answers) == [401] * 3 + [429] * 9
    assert (await pod.call("POST", "/auth/login", right))[0] == 429


@pytest.mark.parametrize("change", ["the password", "disabled"])
async def test_a_log_in_is_checked_against_the_account_of_when_it_is_let_in(pods, monkeypatch, change):
    pod = await pods.start()
    admin, ann = await pod.person(), await pod.person()
    verify, verified, go_on = pod.services.accounts._verify, asyncio.Event(), asyncio.Event()

    async def slow(*given):
        found = await verify(*given)
        verified.set()
        await go_on.wait()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(pod.services.accounts, "_verify", slow)
        coming = asyncio.ensure_future(pod.call("POST", "/auth/login", {"email": ann.email, "password": PASSWORD}))
        await verified.wait()
    if change == "disabled":
        await admin.patch(f"/admin/users/{ann.id}", {"disabled": True})
    else:
        await ann.post("/auth/password", {"oldPassword": PASSWORD, "newPassword": "another good one"})
    go_on.set()
    status, problem = await coming
    assert (status, problem["code"]) == (401, "auth.invalid")
    if change != "disabled":
        assert len((await ann.get("/users/me/sessions"))["items"]) == 1


async def test_registrations_from_an_address_are_limited(pods):
    pod = await pods.start(registrations_per_hour=2)
    for i in range(3):
        body = {"email": f"r{i}@example.com", "name": "R", "password": PASSWORD}
        status, _ = await pod.call("POST", "/auth/register", body)
        assert status == (201 if i < 2 else 429)


async def refresh(pod, token):
    return await pod.call("POST", "/auth/refresh", {"refreshToken": token})


async def test_a_refresh_token_works_once_and_its_reuse_ends_the_session(pods):
    pod = await pods.start()
    ann = await pod.person()
    _, second = await refresh(pod, ann.refresh_token)
    _, third = await refresh(pod, second["refreshToken"])
    door = await pod.native(third["token"])
    status, problem = await refresh(pod, ann.refresh_token)  # older than the last one shown
    assert (status, problem["code"]) == (401, "auth.refresh_reused")
    assert (await door.end(2))[0] == 4500
    assert (await refresh(pod, third["refreshToken"]))[0] == 401
    assert (await pod.call("GET", "/users/me", token=third["token"]))[0] == 401


async def test_the_last_refresh_token_shown_again_at_once_yields_a_sibling(pods):
    pod = await pods.start()
    ann = await pod.person()
    pairs = [await refresh(pod, ann.refresh_token) for _ in range(3)]
    assert [status for status, _ in pairs] == [200, 200, 200]
    for _, pair in pairs:
        assert (await pod.call("GET", "/users/me", token=pair["token"]))[0] == 200
        assert (await refresh(pod, pair["refreshToken"]))[0] == 200  # each is good once


async def test_a_refresh_token_shown_again_after_the_grace_ends_the_session(pods):
    pod = await pods.start()
    ann = await pod.person()
    assert (await refresh(pod, ann.refresh_token))[0] == 200
    await pod.services.db.run(
        lambda sql: sql.run("update refresh_tokens set used_at = now() - interval '31 s' where used_at is not null")
    )
    status, problem = await refresh(pod, ann.refresh_token)
    assert (status, problem["code"]) == (401, "auth.refresh_reused")


async def test_logout_ends_this_session_only_on_rest_and_live_sockets(pods):
    pod = await pods.start()
    ann = await pod.person()
    _, other = await pod.call("POST", "/auth/login", {"email": ann.email, "password": PASSWORD})
    here, there = await ann.native(), await pod.native(other["token"])
    assert (await ann.call("POST", "/auth/logout"))[0] == 204
    assert (await here.end(1))[0] == 4500
    assert (await ann.call("GET", "/users/me"))[0] == 401
    assert (await there.ask("ping", {}))["ts"]
    assert (await refresh(pod, ann.refresh_token))[0] == 401


async def test_a_changed_password_ends_every_other_session_and_voids_the_old_refresh_token(pods):
    pod = await pods.start()
    ann = await pod.person()
    _, other = await pod.call("POST", "/auth/login", {"email": ann.email, "password": PASSWORD})
    here, there = await ann.native(), await pod.native(other["token"])
    wrong = {"oldPassword": "wrong wrong", "newPassword": "another password"}
    assert (await ann.call("POST", "/auth/password", wrong))[0] == 403
    status, pair = await ann.call(
        "POST", "/auth/password", {"oldPassword": PASSWORD, "newPassword": "another password"}
    )
    assert status == 200 and pair["user"]["id"] == ann.id
    assert (await there.end(1))[0] == 4500
    assert (await here.ask("ping", {}))["ts"]
    assert (await ann.call("GET", "/users/me"))[0] == 200  # the old access token lives out its time
    assert (await refresh(pod, ann.refresh_token))[0] == 401
    assert (await refresh(pod, pair["refreshToken"]))[0] == 200
    for password, status in ((PASSWORD, 401), ("another password", 200)):
        assert (await pod.call("POST", "/auth/login", {"email": ann.email, "password": password}))[0] == status


async def test_signed_in_devices_are_listed_and_ended(pods):
    pod = await pods.start()
    ann = await pod.person()
    _, other = await pod.call(
        "POST", "/auth/login", {"email": ann.email, "password": PASSWORD}, headers={"User-Agent": "phone"}
    )
    there = await pod.native(other["token"])
    listed = (await ann.get("/users/me/sessions"))["items"]
    assert [s["current"] for s in listed] == [False, True] and listed[0]["userAgent"] == "phone"
    assert (await ann.call("DELETE", f"/users/me/sessions/{listed[0]['id']}"))[0] == 204
    assert (await there.end(1))[0] == 4500
    assert (await ann.call("DELETE", f"/users/me/sessions/{listed[0]['id']}"))[0] == 404
    bob = await pod.person()
    mine = (await bob.get("/users/me/sessions"))["items"][0]["id"]
    assert (await ann.call("DELETE", f"/users/me/sessions/{mine}"))[0] == 404


async def test_api_keys_work_wherever_a_token_does_until_they_are_deleted(pods):
    pod = await pods.start()
    ann = await pod.person()
    key = await ann.post("/users/me/keys", {"name": "bot"})
    assert key["key"].startswith("maru_")
    assert "key" not in (await ann.get("/users/me/keys"))["items"][0]
    door = await pod.native(key["key"])
    assert (await pod.call("GET", "/users/me", token=key["key"]))[1]["id"] == ann.id
    assert (await pod.call("POST", "/auth/logout", token=key["key"]))[0] == 403
    assert (await ann.call("DELETE", f"/users/me/keys/{key['id']}"))[0] == 204
    assert (await door.end(1))[0] == 4500
    assert (await pod.call("GET", "/users/me", token=key["key"]))[0] == 401


@pytest.mark.parametrize("door", ["native", "socketio"])
async def test_who_loses_access_in_the_middle_of_a_handshake_has_no_socket(pods, monkeypatch, door):
    pod = await pods.start()
    ann = await pod.person()
    key = await ann.post("/users/me/keys", {"name": "bot"})
    sockets = pod.services.sockets
    elsewhere = sockets.elsewhere

    async def ended_meanwhile(user_id):
        assert (await ann.call("DELETE", f"/users/me/keys/{key['id']}"))[0] == 204
        await pod.services.access.catch_up()
        return await elsewhere(user_id)

    with monkeypatch.context() as patch:
        patch.setattr(sockets, "elsewhere", ended_meanwhile)
        there = await getattr(pod, door)(key["key"])
        assert (await there.end(2))[0] == 4001  # come back, and be refused
    assert len(sockets) == 0
    mine = await getattr(ann, door)()  # nobody else is held up
    assert (await mine.ask("ping", {}))["ts"]


async def test_a_key_deleted_while_it_is_looked_up_is_not_remembered(pods, monkeypatch):
    pod = await pods.start()
    ann = await pod.person()
    key = await ann.post("/users/me/keys", {"name": "bot"})
    find, found, go_on = accounts.key_login, threading.Event(), threading.Event()

    def late(sql, key_hash):
        login = find(sql, key_hash)
        found.set()
        go_on.wait(10)
        return login

    with monkeypatch.context() as patch:
        patch.setattr(accounts, "key_login", late)
        asking = asyncio.create_task(pod.call("GET", "/users/me", token=key["key"]))
        assert await asyncio.to_thread(found.wait, 10)
        assert (await ann.call("DELETE", f"/users/me/keys/{key['id']}"))[0] == 204
        go_on.set()
        await asking
    assert (await pod.call("GET", "/users/me", token=key["key"]))[0] == 401


async def test_a_database_that_is_away_is_nobodys_wrong_password(pods, monkeypatch):
    pod = await pods.start(login_failures_per_15min=2, login_failures_per_address=2, registrations_per_hour=2)
    ann = await pod.person()
    known, fresh = {"email": ann.email, "password": PASSWORD}, {"email": "b@example.com", "password": PASSWORD}

    def away(*given):
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(accounts, "find_by_email", away)
        patch.setattr(accounts, "count", away)
        for _ in range(3):
            assert (await pod.call("POST", "/auth/login", known))[0] == 503
            assert (await pod.call("POST", "/auth/register", fresh | {"name": "B"}))[0] == 503
    assert (await pod.call("POST", "/auth/login", known))[0] == 200
    assert (await pod.call("POST", "/auth/register", fresh | {"name": "B"}))[0] == 201


async def test_a_change_of_a_room_is_told_also_when_the_database_was_away_for_it(pods, monkeypatch):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room(name="전")
    door = await ann.native()
    await door.join(room)
    access, tries = pod.services.access, iter([True])
    announce = access._tell

    async def away_once(moved):
        if next(tries, False):
            raise DatabaseUnavailable("away")
        await announce(moved)

    monkeypatch.setattr(access, "_tell", away_once)
    await ann.patch(f"/rooms/{room}", {"name": "후"})
    await door.event("room", name="후")
    assert next(tries, None) is None


async def test_a_new_name_holds_on_live_sockets_and_is_told_to_who_shares_a_room(pods):
    pod = await pods.start()
    ann, bob = await pod.person("Ann"), await pod.person("Bob")
    room = await ann.room(bob)
    hers, his = await ann.native(), await bob.native()
    await hers.join(room)
    await bob.patch("/users/me", {"name": "Robert"})
    assert (await hers.event("room", id=room, membersChanged=True))["id"] == room
    await hers.send(room, "@robert 안녕")
    async with asyncio.timeout(5):
        while not any(told["rooms"][0]["mentioned"] for told in his.named("activity")):
            await asyncio.sleep(0.05)


async def test_a_socket_ends_with_the_session_of_its_cookie(pods):
    pod = await pods.start()
    ann, bob = await pod.person(), await pod.person()
    async with pod.http.post(pod.url + "/auth/login", json={"email": ann.email, "password": PASSWORD}) as answer:
        own = {"Cookie": f"maru_session={answer.cookies['maru_session'].value}", "Origin": pod.url}
    door, other = Native(await pod.http.ws_connect(pod.url + "/ws", headers=own)), await bob.native()
    await door.ask("ping", {})
    await pod.services.db.run(
        lambda sql: sql.run("update sessions set expires_at = now() - interval '1 s' where user_id = %s", ann.id)
    )
    await pod.services.accounts.end_over()
    assert (await door.end(2))[0] == 4500
    await door.close()
    assert (await other.ask("ping", {}))["ts"]


async def test_an_expired_api_key_is_refused(pods):
    pod = await pods.start()
    ann = await pod.person()
    soon = datetime.now(UTC) + timedelta(seconds=1)
    key = await ann.post("/users/me/keys", {"name": "old", "expiresAt": soon.isoformat()})
    async with asyncio.timeout(10):
        while (told := await pod.call("GET", "/users/me", token=key["key"]))[0] == 200:
            await asyncio.sleep(0.05)
    assert (told[0], told[1]["code"]) == (401, "auth.expired") and datetime.now(UTC) > soon


async def test_an_api_key_ends_at_a_time_to_come(pods):
    pod = await pods.start()
    ann = await pod.person()
    for wrong in ("2020-01-01T00:00:00Z", "1900-01-01T00:00:00Z", "2999-01-01", "29990101", "2999-W01-1", "tomorrow", "",
                  "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59"):  # fmt: skip
        status, problem = await ann.call("POST", "/users/me/keys", {"name": "x", "expiresAt": wrong})
        assert (status, problem["code"], problem.get("field")) == (422, "request.invalid", "expiresAt"), wrong
    assert (await ann.get("/users/me/keys"))["items"] == []
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    for right in (soon, "2999-01-01T00:00:00+09:00", "2999-01-01 00:00:00Z"):
        await ann.post("/users/me/keys", {"name": "x", "expiresAt": right})


def claims(ann, **changes):
    real = jwt.decode(ann.token, SECRET, algorithms=["HS256"], audience="maru")
    return {k: v for k, v in (real | changes).items() if v is not None}


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "other"}, {"aud": "other"}, {"exp": 1}, {"sid": None}, {"iat": None}, {"sub": "0198c0de-0000-7000-8000-000000000000"},
        {"sid": "0198c0de-0000-7000-8000-000000000000"}, {"sid": "x"}, {"exp": None},
    ],
)  # fmt: skip
async def test_a_token_with_a_wrong_claim_is_refused(pods, change):
    pod = await pods.start()
    ann = await pod.person()
    assert (await pod.call("GET", "/users/me", token=jwt.encode(claims(ann), SECRET, "HS256")))[0] == 200
    token = jwt.encode(claims(ann, **change), SECRET, "HS256")
    status, problem = await pod.call("GET", "/users/me", token=token)
    assert (status, problem["code"]) == (401, "auth.expired" if change == {"exp": 1} else "auth.invalid")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await pod.native(token)
    assert refused.value.status == 401


async def test_the_algorithm_is_pinned(pods):
    pod = await pods.start()
    ann = await pod.person()
    none = jwt.encode(claims(ann), "", algorithm="none")
    for token in (none, jwt.encode(claims(ann), SECRET * 2, "HS512"), ann.token[:-3] + "abc", "nonsense", "a.b.c"):
        assert (await pod.call("GET", "/users/me", token=token))[0] == 401


async def test_a_disabled_account_is_out_everywhere_at_once_and_cannot_come_back(pods):
    pod = await pods.start()
    ann, bob = await pod.person(), await pod.person()
    door = await bob.native()
    assert (await bob.call("PATCH", f"/admin/users/{ann.id}", {"disabled": True}))[0] == 403
    assert (await ann.patch(f"/admin/users/{bob.id}", {"disabled": True}))["disabled"] is True
    assert (await door.end(1))[0] == 4503
    assert (await bob.call("GET", "/users/me"))[0] == 401
    status, problem = await pod.call("POST", "/auth/login", {"email": bob.email, "password": PASSWORD})
    assert (status, problem["code"]) == (403, "auth.disabled")
    await ann.patch(f"/admin/users/{bob.id}", {"disabled": False})
    assert (await pod.call("POST", "/auth/login", {"email": bob.email, "password": PASSWORD}))[0] == 200


async def test_a_reset_ends_every_session_and_its_link_sets_a_password_once(pods):
    pod = await pods.start()
    ann, bob = await pod.person(), await pod.person()
    door = await bob.native()
    first = (await ann.patch(f"/admin/users/{bob.id}", {"resetPassword": True}))["resetUrl"]
    assert (await door.end(1))[0] == 4500
    assert (await pod.call("POST", "/auth/login", {"email": bob.email, "password": PASSWORD}))[0] == 401
    assert "resetUrl" not in (await ann.get("/admin/users"))["items"][1]

    async def use(link, password="another password"):
        token = link.partition("/login#reset=")[2]
        status, answer = await pod.call("POST", "/auth/reset", {"token": token, "password": password})
        return status, answer.get("code") or answer["user"]["id"]

    second = (await ann.patch(f"/admin/users/{bob.id}", {"resetPassword": True}))["resetUrl"]
    assert await use(first) == (404, "auth.reset_invalid")  # the newer one replaced it
    assert await use(second, "short") == (422, "request.invalid")
    assert await use(second) == (200, bob.id)
    assert await use(second) == (404, "auth.reset_invalid")
    assert (await pod.call("POST", "/auth/login", {"email": bob.email, "password": "another password"}))[0] == 200
    late = (await ann.patch(f"/admin/users/{bob.id}", {"resetPassword": True}))["resetUrl"]
    await pod.services.db.run(lambda sql: sql.run("update password_resets set expires_at = now()"))
    assert await use(late) == (404, "auth.reset_invalid")
    kept = await pod.services.db.run_bare(lambda sql: str(sql.rows("select * from password_resets")))
    assert late.partition("reset=")[2] not in kept


async def test_a_token_that_runs_out_on_a_live_socket_is_replaced_by_auth_or_ends_it(pods, monkeypatch):
    monkeypatch.setattr("handlers.connection.EXPIRY_GRACE_S", 1.0)
    pod = await pods.start(access_token_s=2)
    ann = await pod.person()
    kept, lost = await ann.native(), await ann.native()
    _, pair = await refresh(pod, ann.refresh_token)
    await asyncio.sleep(1)
    _, pair = await refresh(pod, pair["refreshToken"])
    bob = await pod.person()
    with pytest.raises(Refused, match=r"auth\.invalid"):
        await kept.ask("auth", {"token": bob.token})
    assert (await kept.ask("auth", {"token": pair["token"]}))["expiresAt"] == pair["expiresAt"]
    assert (await lost.end(6))[0] == 4501
    assert kept.closed is None


async def test_leaving_for_good_keeps_the_messages_under_a_nameless_user(pods):
    pod = await pods.start()
    ann, bob = await pod.person("Ann"), await pod.person("Bob")
    room = await bob.room(ann)
    alone = await bob.room()
    there = await ann.native()
    await there.join(room)
    await bob.post(f"/rooms/{room}/messages", {"text": "남는 말"})
    assert (await bob.call("DELETE", "/users/me", {"password": "wrong wrong"}))[0] == 403
    assert (await bob.call("DELETE", "/users/me", {"password": PASSWORD}))[0] == 204
    page = await ann.get(f"/rooms/{room}/messages")
    assert [(m["text"], m["userId"], m["userName"]) for m in page["messages"]] == [("남는 말", bob.id, "")]
    members = await ann.get(f"/rooms/{room}/members")
    assert [(m["userId"], m["role"]) for m in members["items"]] == [(ann.id, "owner")]  # the longest-standing follows
    assert (await pod.call("POST", "/auth/login", {"email": bob.email, "password": PASSWORD}))[0] == 401
    gone = await pod.services.db.run_bare(lambda sql: sql.row("select count(*) from rooms where id = %s", alone))
    assert gone == (0,)
    assert (await ann.get(f"/users?q={bob.email}"))["items"] == []


async def test_who_is_signed_in_is_led_on_to_our_own_pages_only(pods):
    pod = await pods.start()
    ann = await pod.person()
    async with pod.http.post(pod.url + "/auth/login", json={"email": ann.email, "password": PASSWORD}) as answer:
        jar = {"Cookie": f"maru_session={answer.cookies['maru_session'].value}"}
    for wanted, led in (
        ("/r/x", "/r/x"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/%5Cevil.example", "/"),
        ("/%09/evil.example", "/"),
        ("/a%0ab", "/"),
        ("/a%7f", "/"),
    ):
        address = URL(f"{pod.url}/login?next={wanted}", encoded=True)
        async with pod.http.get(address, headers=jar, allow_redirects=False) as answer:
            assert (answer.status, answer.headers.get("Location")) == (302, led), wanted


async def test_the_session_cookie_works_for_our_own_pages_only(pods):
    pod = await pods.start()
    ann = await pod.person()
    login = {"email": ann.email, "password": PASSWORD}
    async with pod.http.post(pod.url + "/auth/login", json=login) as answer:
        cookie = answer.cookies["maru_session"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax"
    jar = {"Cookie": f"maru_session={cookie.value}"}
    assert (await pod.call("GET", "/users/me", headers=jar))[0] == 200
    for headers, status in (
        ({}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Origin": pod.url}, 201),
    ):
        assert (await pod.call("POST", "/rooms", {}, headers=jar | headers))[0] == status, headers
    for headers, status in (({}, 403), ({"Origin": "https://evil.example"}, 403), ({"Origin": pod.url}, 101)):
        try:
            socket = await pod.http.ws_connect(pod.url + "/ws", headers=jar | headers)
            got = 101
            await socket.close()
        except aiohttp.WSServerHandshakeError as refused:
            got = refused.status
        assert got == status, headers
    assert (await pod.call("POST", "/auth/logout", headers=jar | {"Origin": pod.url}))[0] == 204
    assert (await pod.call("GET", "/users/me", headers=jar))[0] == 401


async def test_forwarded_addresses_are_believed_from_trusted_proxies_only(pods):
    for proxies, seen in (((), "127.0.0.1"), (("127.0.0.0/8",), "203.0.113.9")):
        pod = await pods.start(trusted_proxies=proxies)
        body = {"email": f"{len(proxies)}@example.com", "name": "A", "password": PASSWORD}
        forged = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Real-Ip": "192.0.2.1"}
        _, answer = await pod.call("POST", "/auth/register", body, headers=forged)
        _, sessions = await pod.call("GET", "/users/me/sessions", token=answer["token"])
        assert sessions["items"][0]["ip"] == seen


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
async def test_asymmetric_tokens(pods, algorithm):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    key = ed25519.Ed25519PrivateKey.generate() if algorithm == "EdDSA" else rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    pod = await pods.start(jwt_algorithm=algorithm, jwt_private_key=private.decode(), jwt_public_key=public.decode())
    ann = await pod.person()
    assert jwt.get_unverified_header(ann.token)["alg"] == algorithm
    assert (await ann.get("/users/me"))["id"] == ann.id
    real = jwt.decode(ann.token, public, algorithms=[algorithm], audience="maru")
    forged = jwt.encode(real, b"x" * 64, "HS256")
    assert (await pod.call("GET", "/users/me", token=forged))[0] == 401
