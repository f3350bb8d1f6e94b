"""Vectors of messages: which models there are, what waits for its vector, what is nearest.

Knows numbers and rows; what a model is and how it is asked, `services.embedding` knows. A room's cursor in its log of
changes says how far each model is: nothing is lost while a provider is down, and what is behind is found by the text.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from models.database import Sql
from models.search import FINDABLE, Found, Room, Where, narrowing

# Scopes of fewer messages are looked at whole: exact, and in 14 ms for these (scripts/bench_vectors.py).
EXACT_MOST = 20_000
# The graph's width and care, and how far a walk looks: pgvector's own (16, 64, 40) find 88 of 100 behind a room filter
# where these find 98.
GRAPH = "m = 24, ef_construction = 128"
EF_SEARCH = 600
SCAN_MOST = 40_000
BUILD_MEMORY = "512MB"
BUILD_LOCK = 0x6D61727576 % (1 << 31)
# pgvector's HNSW takes halfvecs of so many dimensions.
INDEXED_DIMENSIONS_MOST = 4_000


class Model(NamedTuple):
    """korean: how well it tells Korean sentences apart, 0 to 1; None: not known yet."""

    id: int
    name: str
    dimensions: int | None
    korean: float | None
    serving: bool


class Waiting(NamedTuple):
    """A change without a vector. after: its room's cursor when it was read."""

    room_id: str
    seq: int
    changed_seq: int
    after: int
    name: str
    content: str
    findable: bool


FIELDS = "id, name, dimensions, korean, serving"
# Rooms with a change that a model has not seen. Removed messages leave a head that no cursor reaches, so the messages are
# asked too: one by one by their index, which `offset 0` holds Postgres to.
BEHIND = (
    " from room_heads h join rooms r on r.id = h.room_id and not r.gone"
    " left join embedding_rooms e on e.room_id = h.room_id and e.model_id = %s where h.head > coalesce(e.done, 0)"
    " and exists (select from messages m where m.room_id = h.room_id and m.changed_seq > coalesce(e.done, 0) offset 0)"
)


def request(sql: Sql, name: str) -> None:
    """These settings name this model: it is filled, and serves once it is."""
    sql.run(
        "insert into embedding_models (name, serving) values (%s, not exists (select from embedding_models where serving))"
        " on conflict (name) do update set requested = now()",
        name,
    )


def models(sql: Sql) -> list[Model]:
    """The one that serves first, then the one that was requested last, if that is another."""
    found = [Model(*row) for row in sql.rows(f"select {FIELDS} from embedding_models order by requested desc, id desc")]
    return [model for model in found if model.serving] + [model for model in found[:1] if not model.serving]


def describe(sql: Sql, model_id: int, dimensions: int, korean: float) -> None:
    sql.run("update embedding_models set dimensions = %s, korean = %s where id = %s", dimensions, korean, model_id)


def lease(sql: Sql, model_id: int, owner: str, seconds: float) -> bool:
    """One pod at a time fills a model."""
    return bool(
        sql.run(
            "update embedding_models set lease_owner = %s, lease_until = clock_timestamp() + make_interval(secs => %s)"
            " where id = %s and (lease_owner = %s or lease_until is null or lease_until < clock_timestamp())",
            owner,
            seconds,
            model_id,
            owner,
        )
    )


def release(sql: Sql, owner: str) -> None:
    sql.run("update embedding_models set lease_owner = null, lease_until = null where lease_owner = %s", owner)


def waiting(sql: Sql, model_id: int, limit: int) -> list[Waiting]:
    """The next changes without a vector, of many rooms at once; by room, each room's in order and without a gap."""
    found = sql.rows(
        "select v.room_id, m.seq, m.changed_seq, v.done, coalesce(u.name, m.bot_name, ''), m.content,"
        f" {FINDABLE} from (select h.room_id, coalesce(e.done, 0) as done {BEHIND} limit %s) v"
        " cross join lateral (select * from messages m where m.room_id = v.room_id and m.changed_seq > v.done"
        "  order by m.changed_seq limit %s) m left join users u on u.id = m.user_id order by v.room_id, m.changed_seq limit %s",
        model_id,
        limit,
        limit,
        limit,
    )
    return [Waiting(*row) for row in found]


def waiting_count(sql: Sql, model_id: int) -> int:
    """About how many changes are still to be looked at."""
    row = sql.row(f"select coalesce(sum(h.head - coalesce(e.done, 0)), 0)::bigint {BEHIND}", model_id)
    return int(row[0]) if row else 0


def keep(sql: Sql, model: Model, done: Sequence[Waiting], vectors: Sequence[Sequence[float] | None]) -> int:
    """Write the vectors of what has not changed meanwhile, and move the cursors; how many were written.

    Locks in the order of a deletion's: the room, its cursor, messages, vectors.
    """
    cursors = {one.room_id: (one.after, one.changed_seq) for one in done}  # each room's last one
    moved = sql.rows(
        "insert into embedding_rooms (model_id, room_id, done) select %s, r.id, v.done"
        " from unnest(%s::uuid[], %s::bigint[], %s::bigint[]) v(room_id, after, done)"
        " join (select id from rooms where id = any(%s::uuid[]) order by id for key share) r on r.id = v.room_id order by r.id"
        # Only from where the changes were read: it may have been put back meanwhile.
        " on conflict (model_id, room_id) do update set done = excluded.done"
        " where embedding_rooms.done = (select v.after from unnest(%s::uuid[], %s::bigint[]) v(room_id, after)"
        "  where v.room_id = excluded.room_id) returning room_id",
        model.id,
        list(cursors),
        [after for after, _ in cursors.values()],
        [last for _, last in cursors.values()],
        list(cursors),
        list(cursors),
        [after for after, _ in cursors.values()],
    )
    ours = {row[0] for row in moved}
    pairs = [(one, vector) for one, vector in zip(done, vectors, strict=True) if one.room_id in ours]
    if not pairs:
        return 0
    # A deletion or an edit that is under way is waited for, and seen.
    still = sql.rows(
        "select m.room_id::text, m.seq from unnest(%s::uuid[], %s::bigint[], %s::bigint[]) v(room_id, seq, changed)"
        " join messages m on m.room_id = v.room_id and m.seq = v.seq and m.changed_seq = v.changed order by m.id for share of m",
        [one.room_id for one, _ in pairs],
        [one.seq for one, _ in pairs],
        [one.changed_seq for one, _ in pairs],
    )
    as_read = {(row[0], row[1]) for row in still}
    sql.run(
        "delete from message_vectors t using unnest(%s::uuid[], %s::bigint[]) v(room_id, seq)"
        " where t.model_id = %s and t.room_id = v.room_id and t.seq = v.seq",
        [one.room_id for one, _ in pairs],
        [one.seq for one, _ in pairs],
        model.id,
    )
    fresh = [(one, vector) for one, vector in pairs if vector is not None and (one.room_id, one.seq) in as_read]
    if not fresh:
        return 0
    return sql.run(
        "insert into message_vectors (model_id, room_id, seq, user_id, created_at, vector)"
        " select %s, m.room_id, m.seq, m.user_id, m.created_at, v.vector::halfvec"
        " from unnest(%s::uuid[], %s::bigint[], %s::text[]) v(room_id, seq, vector)"
        " join messages m on m.room_id = v.room_id and m.seq = v.seq",
        model.id,
        [one.room_id for one, _ in fresh],
        [one.seq for one, _ in fresh],
        [literal(vector) for _, vector in fresh],
    )


def forget(sql: Sql, room_id: str, *seqs: int) -> None:
    """Messages were edited or deleted: their old meaning is found no more."""
    sql.run("delete from message_vectors where room_id = %s and seq = any(%s)", room_id, list(seqs))


def forget_all(sql: Sql, model_id: int) -> None:
    """Begin again with every message."""
    sql.run("update embedding_rooms set done = 0 where model_id = %s", model_id)


def forget_author(sql: Sql, user_id: str) -> None:
    sql.run("delete from message_vectors where user_id = %s", user_id)


def switch(sql: Sql, model_id: int) -> None:
    """From now on searches ask this model."""
    sql.run("update embedding_models set serving = false where serving and id <> %s", model_id)
    sql.run("update embedding_models set serving = true where id = %s", model_id)


def drop_others(sql: Sql, limit: int) -> int:
    """Vectors of models that neither serve nor were requested last, so many at once; run it bare until it is 0."""
    kept = [model.id for model in models(sql)]
    old = [row[0] for row in sql.rows("select id from embedding_models where not id = any(%s)", kept)]
    if not old:
        return 0
    for model_id in old:
        sql.run(f"drop index concurrently if exists {index_name(model_id)}")
    gone = sql.run(
        "delete from message_vectors where ctid = any(array(select ctid from message_vectors where model_id = any(%s) limit %s))",
        old,
        limit,
    )
    if not gone:
        sql.run("delete from embedding_models where id = any(%s)", old)
    return gone


def index_name(model_id: int) -> str:
    return f"message_vectors_near_{int(model_id)}"


def indexed(sql: Sql, model_id: int) -> bool:
    row = sql.row("select indisvalid from pg_index where indexrelid = to_regclass(%s)", index_name(model_id))
    return bool(row and row[0])


def build_index(sql: Sql, model: Model) -> bool:
    """The graph over one model's vectors, once there are enough of them. Run it bare; it may take minutes."""
    dimensions = model.dimensions
    if not dimensions or dimensions > INDEXED_DIMENSIONS_MOST or indexed(sql, model.id):
        return False
    row = sql.row(
        "select count(*) from (select from message_vectors where model_id = %s limit %s) enough",
        model.id,
        EXACT_MOST + 1,
    )
    if row is None or row[0] <= EXACT_MOST:
        return False
    # One at a time: a second builder would take the index that the first is at for a broken one.
    if not (sql.row("select pg_try_advisory_lock(%s, %s)", BUILD_LOCK, model.id) or (False,))[0]:
        return False
    try:
        if indexed(sql, model.id):
            return False
        sql.run("set statement_timeout = 0")
        sql.run(f"set maintenance_work_mem = '{BUILD_MEMORY}'")
        sql.run(f"drop index concurrently if exists {index_name(model.id)}")
        sql.run(
            f"create index concurrently {index_name(model.id)} on message_vectors"
            f" using hnsw ((vector::halfvec({int(dimensions)})) halfvec_cosine_ops) with ({GRAPH})"
            f" where model_id = {int(model.id)}"
        )
    finally:
        sql.run("reset maintenance_work_mem")
        sql.run("reset statement_timeout")
        sql.row("select pg_advisory_unlock(%s, %s)", BUILD_LOCK, model.id)
    return True


def nearest(
    sql: Sql,
    model: Model,
    rooms: Sequence[Room],
    where: Where,
    vector: Sequence[float],
    limit: int,
    *,
    exact: bool = False,
) -> list[Found]:
    """By cosine similarity, -1 to 1, best first. In a transaction."""
    if not model.dimensions or len(vector) != model.dimensions:
        return []
    conditions = ["model_id = %s", "room_id = any(%s::uuid[])"]
    params: list[Any] = [model.id, [room.id for room in rooms]]
    narrowed, values = narrowing(where, "message_vectors")
    conditions += narrowed
    params += values
    shape = f"halfvec({int(model.dimensions)})"
    column = "vector"
    by_graph = not exact and sum(room.messages for room in rooms) > EXACT_MOST and indexed(sql, model.id)
    if by_graph:
        # Postgres would rather read all of a room by its key and sort.
        sql.run("set local enable_sort = off")
        conditions[:2] = [f"model_id = {int(model.id)}", "(room_id = any(%s::uuid[])) is true"]
        params = params[1:]
        column = f"vector::{shape}"
        sql.run(f"set local hnsw.ef_search = {EF_SEARCH}")
        sql.run("set local hnsw.iterative_scan = relaxed_order")
        sql.run(f"set local hnsw.max_scan_tuples = {SCAN_MOST}")
    found = sql.rows(
        f"select room_id::text, seq, 1 - ({column} <=> %s::{shape}) as score from message_vectors where "
        + " and ".join(conditions)
        + f" order by {column} <=> %s::{shape} limit %s",
        literal(vector),
        *params,
        literal(vector),
        limit,
    )
    if by_graph:
        sql.run("set local enable_sort = on")
    return sorted((Found(*row) for row in found), key=lambda one: -one.score)


def similar(sql: Sql, model: Model, places: Sequence[tuple[str, int]], vector: Sequence[float]) -> list[Found]:
    """The cosine similarity of the messages at these places: (room, seq)."""
    if not model.dimensions or len(vector) != model.dimensions:
        return []
    found = sql.rows(
        "select t.room_id::text, t.seq, 1 - (t.vector <=> %s::halfvec) from unnest(%s::uuid[], %s::bigint[]) v(room_id, seq)"
        " join message_vectors t on t.model_id = %s and t.room_id = v.room_id and t.seq = v.seq",
        literal(vector),
        [place[0] for place in places],
        [place[1] for place in places],
        model.id,
    )
    return [Found(*row) for row in found]


def literal(vector: Sequence[float]) -> str:
    """pgvector's text for it."""
    return "[" + ",".join([f"{value:.6g}" for value in vector]) + "]"
