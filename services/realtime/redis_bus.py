"""Between pods over Redis: standalone, or a Cluster with sharded channels (`redis://host:port?cluster=true`).

A channel a room, subscribed only while a connection here reads the room; one control channel. What this pod publishes it
hears itself at once, without Redis; what comes back from Redis with its own name is dropped. Payloads are a version byte and
the event as it was encoded (no pickle); foreign or broken ones are counted and dropped.
"""

import asyncio
import hashlib
import logging
import struct
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit
from uuid import UUID, uuid4

import msgspec
from redis import asyncio as aioredis
from redis.crc import key_slot

from services.limits import SharedDown
from services.realtime.bus import Listener, MemoryBus
from services.realtime.events import Event, Message, RunningAnswer, Stream
from services.realtime.redis_node import Node, RedisDown
from services.tasks import Tasks

log = logging.getLogger("maru.redis")

VERSION = 1
EVENT, PIECE, CONTROL = 1, 2, 3
PIECE_HEAD = struct.Struct("!BB8s16sHIIB")  # version, kind, pod, message, attempt, n, next, is text
CONTROL_CHANNEL = "maru:control"
PIECE_LUA = (Path(__file__).parent / "lua" / "piece.lua").read_bytes()
PIECE_SHA = hashlib.sha1(PIECE_LUA, usedforsecurity=False).hexdigest()
ENDED_LUA = (Path(__file__).parent / "lua" / "ended.lua").read_bytes()
ENDED_SHA = hashlib.sha1(ENDED_LUA, usedforsecurity=False).hexdigest()
TAKE_LUA = (Path(__file__).parent / "lua" / "take.lua").read_bytes()
TAKE_SHA = hashlib.sha1(TAKE_LUA, usedforsecurity=False).hexdigest()
TOPOLOGY_S = 5.0
RUNNING_S = 0.3

_packed = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[str, bytes, str | None, str | None]).decode
_message = msgspec.json.Decoder(Message).decode


def channel_of(room_id: str) -> str:
    """The braces make a room's channel and keys share a slot, so that one script may touch both."""
    return f"maru:{{{room_id}}}"


class RedisBus:
    def __init__(self, url: str, tasks: Tasks) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self.cluster = query.pop("cluster", ["false"])[0].lower() in ("true", "1", "yes")
        self._url = urlunsplit(parts._replace(query="&".join(f"{k}={v}" for k, vs in query.items() for v in vs)))
        self._seed = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self._tasks = tasks
        self._pod = uuid4().bytes[:8]
        self._local = MemoryBus()
        self._on_room: Listener = lambda room_id, event: None
        self._on_nudge: Callable[[str], None] = lambda what: None
        self._on_joined: Callable[[], None] = lambda: None
        self._nodes: dict[tuple[str, int], Node] = {}
        self._slots: list[tuple[int, int, tuple[str, int]]] = []
        self._stale = asyncio.Event()
        self._rooms: set[str] = set()
        self.foreign = 0
        # By kind: EVENT, PIECE, CONTROL.
        self.published = [0, 0, 0, 0]
        self.received = [0, 0, 0, 0]
        self._started = False

    # -- life

    def listen(
        self, on_room: Listener, on_nudge: Callable[[str], None], on_joined: Callable[[], None] = lambda: None
    ) -> None:
        """on_joined: this pod hears (again); what was said meanwhile is in the rows."""
        self._on_room, self._on_nudge, self._on_joined = on_room, on_nudge, on_joined
        self._local.listen(on_room, on_nudge)

    async def open(self) -> None:
        self._node(self._seed)
        if self.cluster:
            for _ in range(40):  # a moment for the first connection; without it the pod starts all the same
                await self._read_topology()
                if self._slots:
                    break
                await asyncio.sleep(0.05)
            self._tasks.forever(self._watch_topology, "redis topology")
        control = self._of(CONTROL_CHANNEL)
        await control.subscribe(CONTROL_CHANNEL)
        self._started = True

    async def close(self) -> None:
        await self._local.close()
        for node in self._nodes.values():
            await node.close()

    def _node(self, address: tuple[str, int]) -> Node:
        node = self._nodes.get(address)
        if node is None:
            pool = aioredis.ConnectionPool.from_url(
                self._url, socket_timeout=None, socket_connect_timeout=2, protocol=2, retry=None
            )
            if address != self._seed:  # the seed may be a socket path or a name
                pool.connection_kwargs |= {"host": address[0], "port": address[1]}
            node = self._nodes[address] = Node(
                pool,
                self._tasks,
                canary=self._canary_for(address),
                scripts=(PIECE_LUA, ENDED_LUA, TAKE_LUA),
                sharded=self.cluster,
                heard=self._heard,
                joined=self._joined,
                moved=self._moved,
            )
        return node

    @property
    def healthy(self) -> bool:
        """Events of other pods arrive here as they are published."""
        return all(node.writing and node.hears for node in self._nodes.values())

    @property
    def reachable(self) -> bool:
        return all(node.writing for node in self._nodes.values())

    @property
    def deaf_s(self) -> float:
        """How long this pod has not heard its own canary from a server that takes commands; 0 without one."""
        return max((node.deaf_s for node in self._nodes.values() if node.writing), default=0.0)

    @property
    def dropped(self) -> int:
        return sum(node.dropped for node in self._nodes.values())

    # -- cluster

    def _canary_for(self, address: tuple[str, int]) -> str:
        """A channel of this pod's own; on a cluster one whose slot lives on that node."""
        name = f"maru:canary:{self._pod.hex()}"
        ranges = [(low, high) for low, high, where in self._slots if where == address]
        for i in range(100_000):
            candidate = f"{name}:{i}"
            slot = key_slot(candidate.encode())
            if not ranges or any(low <= slot <= high for low, high in ranges):
                return candidate
        return name

    def _of(self, key: str) -> Node:
        """The node that a key or channel lives on."""
        if self.cluster and self._slots:
            slot = key_slot(key.encode())
            for low, high, address in self._slots:
                if low <= slot <= high:
                    return self._node(address)
        return self._node(self._seed)

    async def _watch_topology(self) -> None:
        try:
            async with asyncio.timeout(TOPOLOGY_S if self.healthy else 0.5):
                await self._stale.wait()
        except TimeoutError:
            pass
        self._stale.clear()
        await self._read_topology()

    async def _read_topology(self) -> None:
        """Where slots live now; channels follow them."""
        for node in list(self._nodes.values()):
            try:
                found = await node.call("CLUSTER", "SLOTS", limit_s=2.0)
            except RedisDown:
                continue
            slots = [(low, high, (main[0].decode() or self._seed[0], main[1])) for low, high, main, *_ in found]
            if slots and slots != self._slots:
                before, self._slots = self._slots, slots
                if not before:
                    # Its canary was chosen blindly, and it may be known by another name.
                    await self._nodes.pop(self._seed).close()
                await self._follow_slots()
            return

    async def _follow_slots(self) -> None:
        living = {address for _, _, address in self._slots}
        for address in [address for address in self._nodes if address not in living]:
            await self._nodes.pop(address).close()
        for address in living:
            self._node(address)
        for channel in [CONTROL_CHANNEL, *map(channel_of, self._rooms)]:
            owner = self._of(channel)
            for node in self._nodes.values():
                if node is not owner and channel in node.channels() and (told := node.unsubscribe(channel)):
                    await told
            await owner.subscribe(channel)
        self._joined()

    def _moved(self, channel: str | None) -> None:
        self._stale.set()

    def _joined(self) -> None:
        if self._started:
            self._on_joined()

    # -- rooms

    async def subscribe(self, room_id: str) -> None:
        self._rooms.add(room_id)
        await self._local.subscribe(room_id)
        channel = channel_of(room_id)
        await self._of(channel).subscribe(channel)

    def unsubscribe(self, room_id: str) -> None:
        self._rooms.discard(room_id)
        self._local.unsubscribe(room_id)
        channel = channel_of(room_id)
        told = self._of(channel).unsubscribe(channel)
        if told is not None:
            self._tasks.spawn(told, "unsubscribe")

    def publish(self, room_id: str, event: Event) -> None:
        self._local.publish(room_id, event)
        self.published[EVENT] += 1
        channel = channel_of(room_id)
        head = bytes((VERSION, EVENT)) + self._pod
        # A message has no origin, and older pods look at it for hints only: its place carries the trace.
        payload = head + _packed((event.name, event.data, event.trace or event.origin, event.only_user))
        self._send(channel, self._publish_word, channel, payload)

    def tell_here(self, room_id: str, event: Event) -> None:
        self._local.publish(room_id, event)

    @property
    def _publish_word(self) -> str:
        return "SPUBLISH" if self.cluster else "PUBLISH"

    def _send(self, key: str, *command: object) -> None:
        self._of(key).send(*command)

    def publish_piece(self, piece: Stream) -> None:
        self._local.publish_piece(piece)
        self.published[PIECE] += 1
        message = UUID(piece.message_id).bytes
        head = PIECE_HEAD.pack(
            VERSION, PIECE, self._pod, message, piece.attempt, piece.n, piece.next, piece.kind is None
        )
        channel = channel_of(piece.room_id)
        shard = "S" if self.cluster else ""
        self._send(channel, "EVALSHA", PIECE_SHA, 1, channel, head + piece.token.encode(), shard)

    async def running(self, room_id: str) -> list[RunningAnswer]:
        """Of this pod's own answers, and of others' what Redis has whole."""
        found = {answer.message_id: answer for answer in await self._local.running(room_id)}
        channel = channel_of(room_id)
        node = self._of(channel)
        try:
            kept = await node.call("HGETALL", channel + ":r", limit_s=RUNNING_S)
            for field, value in zip(kept[::2], kept[1::2], strict=True):
                message_id = str(UUID(bytes=field))
                attempt, following = (int(part) for part in value.split(b":"))
                if message_id in found or following < 0:
                    continue
                text = await node.call("GET", channel.encode() + b":" + field, limit_s=RUNNING_S)
                again = await node.call("HGET", channel + ":r", field, limit_s=RUNNING_S)
                if again == value:  # nothing came between the two
                    found[message_id] = RunningAnswer(message_id, attempt, following, (text or b"").decode())
        except RedisDown:
            pass
        return list(found.values())

    def ended(self, room_id: str, message_id: str, attempt: int) -> None:
        self._local.ended(room_id, message_id, attempt)
        channel = channel_of(room_id)
        self._send(channel, "EVALSHA", ENDED_SHA, 1, channel, UUID(message_id).bytes, attempt)

    # -- windows that all pods share (`services.limits.Shared`)

    async def take(self, name: str, limit: int, period_s: float, act: str) -> float:
        key = f"maru:rate:{name}"
        try:
            wait = await self._of(key).call("EVALSHA", TAKE_SHA, 1, key, limit, int(period_s * 1000), act)
        except RedisDown as error:
            raise SharedDown from error
        return int(wait) / 1000

    def give_back(self, name: str, act: str) -> None:
        key = f"maru:rate:{name}"
        self._send(key, "ZREM", key, act)

    # -- who is connected where (`services.realtime.elsewhere`)

    @property
    def pod(self) -> str:
        return self._pod.hex()

    async def ask(self, key: str, *command: object) -> object:
        """One command on the node of its key. Raises RedisDown within a tenth of a second."""
        return await self._of(key).call(*command)

    def tell(self, key: str, *command: object) -> None:
        self._send(key, *command)

    # -- all pods

    def nudge(self, what: str) -> None:
        self._on_nudge(what)
        self.tell_others(what)

    def tell_others(self, what: str) -> None:
        self.published[CONTROL] += 1
        payload = bytes((VERSION, CONTROL)) + self._pod + what.encode()
        self._send(CONTROL_CHANNEL, self._publish_word, CONTROL_CHANNEL, payload)

    # -- hearing

    def _heard(self, channel: str, payload: bytes) -> None:
        try:
            if payload[2:10] == self._pod and payload[0] == VERSION:
                return
            self._take(channel, payload)
        except (ValueError, IndexError, struct.error, msgspec.MsgspecError, UnicodeDecodeError):
            self.foreign += 1

    def _take(self, channel: str, payload: bytes) -> None:
        if payload[0] != VERSION:
            raise ValueError("another version")
        kind = payload[1]
        if channel == CONTROL_CHANNEL:
            if kind != CONTROL:
                raise ValueError("not a nudge")
            self.received[CONTROL] += 1
            self._on_nudge(payload[10:].decode())
            return
        room_id = channel[6:-1]
        if kind == EVENT:
            name, data, origin, only_user = _unpack(payload[10:])
            body = _message(data) if name == "message" else None
            self.received[EVENT] += 1
            event = Event(name, data, origin=origin, only_user=only_user, message=body)
            if body is not None:
                event.origin, event.trace = None, origin
            self._on_room(room_id, event)
        elif kind == PIECE:
            _, _, _, message, attempt, n, following, is_text = PIECE_HEAD.unpack_from(payload)
            token = payload[PIECE_HEAD.size :].decode()
            self.received[PIECE] += 1
            shown = None if is_text else "reasoning"
            piece = Stream(room_id, str(UUID(bytes=message)), attempt, n, following, token, shown)  # type: ignore[arg-type]
            self._on_room(room_id, Event("stream", piece))
        else:
            raise ValueError("unknown kind")
