"""What administrators look at, on a database of a million messages: milliseconds a question, as a browser asks it.

    .venv/bin/python scripts/bench_admin.py
    .venv/bin/python scripts/bench_admin.py --messages 100000 --json figures.json

A fresh Postgres is filled with people, rooms, messages of 90 days, answers with their cost, faults and entries of the
audit log; then a pod takes the sums up, and each question is asked over HTTP. The rival is what the same figures cost
when they are counted at each look, in the same database.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from app import serving  # noqa: E402
from config.settings import Settings  # noqa: E402
from models import tallies  # noqa: E402
from services.accounts import Device  # noqa: E402
from services.container import Services, open_services, with_database  # noqa: E402
from services.tallies import ROOMS_AT_ONCE  # noqa: E402

PASSWORD = "a password of a benchmark"
FILL = """
set local statement_timeout = 0;
insert into users (id, email, email_key, name) select gen_random_uuid(), 'u' || i || '@example.com', 'u' || i || '@example.com',
    '사람 ' || i from generate_series(1, {users}) i;
insert into rooms (id, name) select gen_random_uuid(), '방 ' || i from generate_series(1, {rooms}) i;
insert into room_heads (room_id, head, last_seq) select id, 0, 0 from rooms;
create temp table u as select row_number() over () - 1 as n, id from users;
create temp table r as select row_number() over () - 1 as n, id from rooms;
insert into members (room_id, user_id, role) select r.id, u.id, 'member' from r join u on (u.n * 7 + r.n) % 50 < 2;
insert into messages (id, room_id, seq, changed_seq, user_id, role, content, created_at, status, asked_by, model)
    select gen_random_uuid(), r.id, m.i / {rooms} + 1, m.i / {rooms} + 1, case when m.i % 3 < 2 then u.id end,
        case when m.i % 3 < 2 then 'user' else 'bot' end, 'Was gesagt wird, so lang wie das meiste ' || m.i,
        now() - interval '90 days' * (1 - m.i / {messages}::float8), 'complete', u.id, 'm' || m.i % 5
    from generate_series(0, {messages} - 1) m(i) join r on r.n = m.i % {rooms} join u on u.n = (m.i * 31 + m.i / 997) % {users};
insert into usage (at, user_id, room_id, message_id, provider, model, input_tokens, output_tokens, estimated, status, cost,
    first_ms, total_ms)
    select created_at, asked_by, room_id, id, 'openai', model, 800, 200, false,
        case when seq % 50 = 0 then 'failed' when seq % 31 = 0 then 'stopped' else 'complete' end, 0.0004,
        (200 + random() * 1500)::int, 3000 from messages where role = 'bot';
update room_heads h set head = m.most, last_seq = m.most from (select room_id, max(seq) as most from messages group by 1) m
    where m.room_id = h.room_id;
insert into errors (at, kind, detail) select now() - random() * interval '30 days', 'kind.' || i % 12, 'what went wrong'
    from generate_series(1, 20000) i;
insert into audit (at, action, target) select now(), 'disable', 'user ' || gen_random_uuid() from generate_series(1, 20000);
"""
PATHS = {
    "overview 24h": "/admin/overview?span=24h",
    "overview 14d": "/admin/overview?span=14d",
    "overview 90d": "/admin/overview?span=90d",
    **{f"by {by}, 90 days": f"/admin/stats?by={by}&since={{since}}" for by in ("user", "room", "model", "day")},
    "by user, by name": "/admin/stats?by=user&sort=name&order=asc&since={since}",
    "users": "/admin/users",
    "users found": "/admin/users?q=77",
    "rooms": "/admin/rooms",
    "largest rooms": "/admin/rooms?sort=messages",
    "rooms by members": "/admin/rooms?sort=members",
    "errors": "/admin/errors",
    "audit": "/admin/audit",
    "budgets": "/admin/budgets",
    "own usage": "/users/me/usage",
}
# What `/admin/overview` and `/admin/stats?by=user` would ask without sums.
RIVALS = {
    "counted at each look: 14 days": "select date_trunc('day', created_at), count(*) filter (where role = 'user'),"
    " count(*) filter (where role = 'bot') from messages where created_at > now() - interval '14 days' group by 1",
    "counted at each look: by user, 90 days": "select user_id, count(*) from messages where role = 'user'"
    " and created_at > now() - interval '90 days' group by 1 order by 2 desc limit 200",
    "summed at each look: tokens by user, 90 days": "select user_id, sum(input_tokens), sum(output_tokens), sum(cost) from usage"
    " where at > now() - interval '90 days' group by 1 order by 2 desc limit 200",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--rooms", type=int, default=500)
    parser.add_argument("--times", type=int, default=15, help="each question")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="maru-admin-") as folder:
        settings = Settings(data_dir=Path(folder) / "data", database_url=None, redis_url=None, port=0)
        with with_database(settings) as (complete, _):
            found = asyncio.run(measure(complete, args))
    for line in found:
        print(
            f"{line['what']:<46} median {line['ms']:8.1f} ms   p95 {line['p95_ms']:8.1f} ms   {line['bytes']:>8,} bytes"
        )
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    return 0


async def measure(settings: Settings, args: argparse.Namespace) -> list[dict[str, Any]]:
    async with open_services(settings, work=False) as services, serving(settings, services) as port:
        admin = await services.accounts.register(
            "admin@example.com", "Admin", PASSWORD, None, None, Device("bench", "127.0.0.1")
        )
        began = time.monotonic()
        await services.db.run(lambda sql: sql.run(FILL.format(**vars(args)).replace("%", "%%")))
        print(f"filled in {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        await take_up(services)
        print(f"taken up in {time.monotonic() - began:.0f} s")
        await services.db.run_bare(lambda sql: sql.run("analyze"))
        found = []
        headers = {"Authorization": f"Bearer {admin.token}"}
        since = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() - 90 * 86400))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as http:
            for what, path in PATHS.items():
                times, size = [], 0
                for _ in range(args.times):
                    began = time.perf_counter()
                    async with http.get(path.format(since=since)) as answer:
                        size = len(await answer.read())
                        assert answer.status == 200, (path, await answer.text())
                    times.append((time.perf_counter() - began) * 1000)
                found.append(line(what, times, size))
        for what, statement in RIVALS.items():
            times = []
            for _ in range(3):
                began = time.perf_counter()
                await services.db.run(lambda sql, statement=statement: sql.rows(statement))
                times.append((time.perf_counter() - began) * 1000)
            found.append(line(what, times, 0))
        return found


async def take_up(services: Services) -> None:
    """As a pod does it in the background, within its limit on a statement."""
    await services.tallies.take_calls()
    while rooms := await services.db.run_bare(tallies.behind, ROOMS_AT_ONCE):
        await services.tallies.take_messages(rooms)


def line(what: str, times: list[float], size: int) -> dict[str, Any]:
    times = sorted(times)
    return {"what": what, "ms": median(times), "p95_ms": times[int(0.95 * (len(times) - 1))], "bytes": size}


if __name__ == "__main__":
    sys.exit(main())
