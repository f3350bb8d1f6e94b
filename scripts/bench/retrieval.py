"""A set of rooms, messages and questions with the right answers, put through search as users get it.

A set is JSONL, in the order in which things were said:
    {"type": "message", "room": "r1", "id": "m1", "author": "민지", "text": "...", "ts": "2026-09-01T09:12:00Z"}
    {"type": "query", "room": "r1", "text": "...", "right": ["m1"], "kind": "typo"}
author, ts, kind may be left out; a query without a room asks all rooms.
"""

import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from models.base import new_id
from models.database import Sql
from models.messages import MessageRow
from models.search import Where
from services.accounts import Identity
from services.container import Services
from services.search import Mode

DEPTH = 10
CHUNK = 5_000


@dataclass
class Set:
    name: str
    messages: list[dict[str, Any]]
    queries: list[dict[str, Any]]


@dataclass
class Loaded:
    """Ids in the database by the set's own."""

    owner: Identity
    rooms: dict[str, str]
    messages: dict[tuple[str, str], str]  # by room and id


@dataclass
class Figures:
    """Shares between 0 and 1; recall is of what could be in the first k. ms: of each query."""

    recall_5: list[float] = field(default_factory=list)
    recall_10: list[float] = field(default_factory=list)
    rank: list[float] = field(default_factory=list)
    gain: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)

    def add(self, found: list[Any], right: set[Any], ms: float) -> None:
        hits = [one in right for one in found[:DEPTH]]
        self.recall_5.append(sum(hits[:5]) / min(5, len(right)))
        self.recall_10.append(sum(hits) / min(DEPTH, len(right)))
        self.rank.append(next((1 / place for place, hit in enumerate(hits, 1) if hit), 0.0))
        ideal = sum(1 / math.log2(place + 1) for place in range(1, min(DEPTH, len(right)) + 1))
        self.gain.append(sum(1 / math.log2(place + 1) for place, hit in enumerate(hits, 1) if hit) / ideal)
        self.ms.append(ms)

    def shown(self) -> dict[str, float]:
        ms = sorted(self.ms)
        return {
            "queries": len(ms),
            "recall@5": round(100 * mean(self.recall_5), 1),
            "recall@10": round(100 * mean(self.recall_10), 1),
            "mrr@10": round(100 * mean(self.rank), 1),
            "ndcg@10": round(100 * mean(self.gain), 1),
            "ms_median": round(median(ms), 1),
            "ms_p95": round(ms[int(0.95 * (len(ms) - 1))], 1),
        }


def mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))


def read(path: Path) -> Set:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    kinds = {kind: [line for line in lines if line["type"] == kind] for kind in ("message", "query")}
    return Set(path.stem, kinds["message"], kinds["query"])


def grown(data: Set, here: int, elsewhere: int) -> Set:
    """The same questions with more around them: `here` messages more in the first room, `elsewhere` in rooms of 20,000.

    Each of these is the first half of one of the set's messages and the second half of another.
    """
    chance = random.Random(5)
    first = data.messages[0]["room"]
    texts = [m["text"].split() for m in data.messages]

    def made(room: str, number: int) -> dict[str, Any]:
        a, b = chance.choice(texts), chance.choice(texts)
        author = chance.choice(data.messages).get("author") or "Somebody"
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=20 * number)
        text = " ".join(a[: len(a) // 2 + 1] + b[len(b) // 2 :])
        return {"room": room, "id": f"+{number}", "author": author, "text": text, "ts": at.isoformat()}

    more = [made(first, number) for number in range(here)]
    more += [made(f"room {number // 20_000}", number) for number in range(elsewhere)]
    return Set(data.name, more + data.messages, data.queries)


def load(sql: Sql, data: Set) -> Loaded:
    """Write the set's people, rooms and messages; the owner is a member of every room."""
    names = dict.fromkeys(["Owner", *(m.get("author") or "Somebody" for m in data.messages)])
    people = {name: new_id() for name in names}
    rooms = {room: new_id() for room in dict.fromkeys(m["room"] for m in data.messages)}
    ids = {(m["room"], m["id"]): new_id() for m in data.messages}
    for name, user_id in people.items():
        sql.run("insert into users (id, email, name) values (%s, %s, %s)", user_id, f"{user_id}@example.org", name[:80])
    for room, room_id in rooms.items():
        sql.run("insert into rooms (id, name) values (%s, %s)", room_id, room[:100] or "room")
        authors = {people["Owner"]} | {
            people[m.get("author") or "Somebody"] for m in data.messages if m["room"] == room
        }
        sql.run(
            "insert into members (room_id, user_id, role) select %s, x, 'member' from unnest(%s::uuid[]) x",
            room_id,
            list(authors),
        )
    last: dict[str, int] = defaultdict(int)
    now = datetime.now(UTC).isoformat()
    rows = []
    for m in data.messages:
        last[m["room"]] += 1
        seq = last[m["room"]]
        author = people[m.get("author") or "Somebody"]
        rows.append((ids[m["room"], m["id"]], rooms[m["room"]], seq, seq, author, m["text"], m.get("ts") or now))
    for at in range(0, len(rows), CHUNK):
        sql.run(
            "insert into messages (id, room_id, seq, changed_seq, user_id, role, content, created_at)"
            " select a, b, c, d, e, 'user', f, g from unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::bigint[],"
            " %s::uuid[], %s::text[], %s::timestamptz[]) v(a, b, c, d, e, f, g)",
            *[list(column) for column in zip(*rows[at : at + CHUNK], strict=True)],
        )
    for room, seq in last.items():
        sql.run("insert into room_heads (room_id, head, last_seq) values (%s, %s, %s)", rooms[room], seq, seq)
    return Loaded(Identity(people["Owner"], "Owner", "user", ""), rooms, ids)


async def index(services: Services, loaded: Loaded) -> float:
    """CPU milliseconds a message of this process, with all of it written into the index."""
    began = time.process_time()
    for room_id in loaded.rooms.values():
        await services.indexer.index(room_id)
    return (time.process_time() - began) * 1000 / max(1, len(loaded.messages))


async def evaluate(
    services: Services,
    data: Set,
    loaded: Loaded,
    mode: Mode = "text",
    missed: Callable[[dict[str, Any], list[str]], None] = lambda query, found: None,
) -> dict[str, Figures]:
    """Figures by kind of query, and of `all`. missed: told of each query that found nothing right, with what it found."""
    own = {theirs: ours for ours, theirs in loaded.messages.items()}
    figures: dict[str, Figures] = defaultdict(Figures)
    for query in data.queries:
        where = Where(loaded.rooms[query["room"]] if query.get("room") else None)
        began = time.perf_counter()
        hits, _ = await services.search.find(loaded.owner, query["text"], where, mode, 0, DEPTH)
        ms = (time.perf_counter() - began) * 1000
        found = [own[hit.message.id] for hit in hits]
        within = query.get("within") or query.get("room")
        rooms = [within] if within else list(loaded.rooms)
        right = {(room, one) for one in query["right"] for room in rooms if (room, one) in loaded.messages}
        if not right & set(found):
            missed(query, [one for _, one in found])
        for kind in ("all", *filter(None, [query.get("kind")])):
            figures[kind].add(found, right, ms)
    return figures


async def remember(services: Services, data: Set, loaded: Loaded) -> list[float]:
    """Milliseconds that looking for passages adds before an answer, for each query asked as a question in its room."""
    found = []
    for query in data.queries:
        room = query.get("within") or query.get("room")
        if not room:
            continue
        now = datetime.now(UTC)
        said = MessageRow(
            new_id(), loaded.rooms[room], 1 << 40, 1 << 40, loaded.owner.user_id, "Owner", "user", query["text"], now
        )
        began = time.perf_counter()
        await services.retrieval.gather(said, [], 0, None, True)
        found.append((time.perf_counter() - began) * 1000)
    return sorted(found)


def table(rows: Iterable[tuple[str, dict[str, float]]]) -> str:
    lines: list[str] = []
    for name, shown in rows:
        if not lines:
            lines.append(f"{'':22}" + "".join(f"{column:>11}" for column in shown))
        lines.append(f"{name:22}" + "".join(f"{value:>11}" for value in shown.values()))
    return "\n".join(lines)
