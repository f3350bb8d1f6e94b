"""The hub of a pod: a room's events to its readers here, in order, without holes or repeats.

Knows rooms, numbers and readers; knows nothing of SQL, sockets or who may read what. Rows are read through `Source`.
Joining and coming back are one function: register, read a snapshot, reply, release what came in between.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, Protocol, TypeVar

from services.realtime.bus import Bus, Running
from services.realtime.events import Event, Message, RunningAnswer, Stream
from services.tasks import Tasks

log = logging.getLogger("maru.hub")

HOLE_WAIT_S = 0.05
HEADS_EVERY_S = 3.0
HEADS_DEAF_S = 0.25
HELD_PIECES = 2000
ENDED_KEPT = 64


class Reader(Protocol):
    """A connection, as far as the hub knows it. `deliver` never waits and never raises."""

    id: str

    @property
    def user_id(self) -> str: ...
    def deliver(self, event: Event) -> None: ...


class Head(Protocol):
    """What a join reads in one snapshot. streaming: answers that run, as far as rows have their text."""

    @property
    def head(self) -> int: ...
    @property
    def more(self) -> bool: ...
    @property
    def streaming(self) -> list[RunningAnswer]: ...


S = TypeVar("S", bound=Head)


class Source(Protocol):
    """Rows, for holes."""

    async def changes(self, room_id: str, after: int) -> tuple[list[Message], int, bool]: ...
    async def heads(self, room_ids: list[str]) -> dict[str, int]: ...
    async def running(self, room_id: str) -> list[RunningAnswer]: ...


class Late(NamedTuple):
    """A reader whose snapshot is ahead of the hub: what it has already, of the room and of running answers."""

    head: int
    answers: dict[str, tuple[int, int, int]]  # message -> attempt, next, length of text


class HubRoom:
    __slots__ = (
        "answers", "began", "cursor", "ended", "healing", "held", "id", "joining", "late", "readers", "ready", "timer", "waiting",
    )  # fmt: skip

    def __init__(self, room_id: str) -> None:
        self.id = room_id
        self.cursor: int | None = None  # the number delivered last; None until a first snapshot was read
        self.began = 0  # where it began
        self.readers: dict[Reader, None] = {}
        self.late: dict[Reader, Late] = {}
        self.joining: dict[Reader, list[Event]] = {}
        self.waiting: dict[int, Event] = {}  # events above a hole
        self.answers: dict[str, Running] = {}  # as delivered to the readers
        self.held: dict[str, list[Event]] = {}  # pieces ahead of their message's event
        self.ended: dict[str, int] = {}  # message -> attempt that is over
        self.ready: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.healing = False

    @property
    def empty(self) -> bool:
        return not (self.readers or self.late or self.joining)


class Hub:
    def __init__(self, bus: Bus, source: Source, tasks: Tasks) -> None:
        self._bus = bus
        self._source = source
        self._tasks = tasks
        self._rooms: dict[str, HubRoom] = {}
        self.holes_healed = 0
        self.delivered = 0
        self.delivered_pieces = 0

    # -- readers

    async def join(
        self,
        reader: Reader,
        room_id: str,
        read: Callable[[], Awaitable[S]],
        reply: Callable[[S, list[RunningAnswer]], None],
    ) -> bool:
        """Let `reader` have the room's events, behind a reply that holds everything before them.

        read: the snapshot, read once events of the room are caught. reply: called before the first event is delivered.
        Returns False when the snapshot has more to come: the reader is not in the room yet. What `read` raises, the
        reader's place is given up and it goes on to the caller.
        """
        self.leave(reader, room_id)
        room = self._rooms.get(room_id)
        if room is None:
            room = self._rooms[room_id] = HubRoom(room_id)
            room.ready = self._tasks.spawn(self._bus.subscribe(room_id), "subscribe")
        # Registered before history is read: what arrives in between waits in the list, so a newcomer may see a message
        # twice but never miss one; and twice is sorted out below, by number.
        caught: list[Event] = []
        room.joining[reader] = caught
        try:
            if room.ready is not None:
                await asyncio.wait({room.ready})
                if room.joining.get(reader) is not caught:
                    return False  # which may have ended the subscription
                room.ready.result()
            snapshot = await read()
            running: dict[str, RunningAnswer] = {}
            if room.cursor is None and not snapshot.more:
                running = {answer.message_id: answer for answer in await self._bus.running(room_id)}
            if snapshot.head < room.began:
                # Another's snapshot has begun the room here, at a later moment: nobody is told what lies between.
                snapshot = await read()
            if snapshot.more:
                reply(snapshot, [])
                return False
            if room.joining.get(reader) is not caught:
                return False  # left, or joined again, while this was read
            if room.cursor is None:
                self._begin(room, snapshot, running)
            answers = self._answers_for(room, snapshot)
            reply(snapshot, [RunningAnswer(mid, a.attempt, a.next, a.text) for mid, a in answers.items()])
            del room.joining[reader]
            self._release(room, reader, snapshot.head, answers, caught)
            return True
        finally:
            if room.joining.get(reader) is caught:
                del room.joining[reader]
            self._drop_if_empty(room)

    def leave(self, reader: Reader, room_id: str) -> None:
        room = self._rooms.get(room_id)
        if room is not None:
            room.readers.pop(reader, None)
            room.late.pop(reader, None)
            room.joining.pop(reader, None)
            self._drop_if_empty(room)

    def readers(self, room_id: str) -> Iterable[Reader]:
        room = self._rooms.get(room_id)
        return [*room.readers, *room.late, *room.joining] if room else []

    def _drop_if_empty(self, room: HubRoom) -> None:
        if room.empty and self._rooms.get(room.id) is room:
            del self._rooms[room.id]
            if room.timer is not None:
                room.timer.cancel()
            if room.ready is not None:
                room.ready.cancel()
            self._bus.unsubscribe(room.id)

    def _begin(self, room: HubRoom, snapshot: Head, running: dict[str, RunningAnswer]) -> None:
        """The room's first snapshot here: the hub starts where it ends."""
        for answer in snapshot.streaming:
            kept = running.get(answer.message_id)
            if kept is not None and kept.attempt == answer.attempt and kept.next >= answer.next:
                answer = kept
            state = room.answers[answer.message_id] = Running(answer.attempt)
            state.next = answer.next
            state.parts = [answer.text]
        room.cursor = room.began = snapshot.head
        room.waiting = {n: event for n, event in room.waiting.items() if n > snapshot.head}
        for message_id in list(room.answers):
            self._flush_held(room, message_id)
        self._drain(room)

    def _answers_for(self, room: HubRoom, snapshot: Head) -> dict[str, Running]:
        """Answers that run both for the room's readers and in this snapshot; others are told behind the reply."""
        alive = {answer.message_id: answer.attempt for answer in snapshot.streaming}
        return {mid: answer for mid, answer in room.answers.items() if alive.get(mid) == answer.attempt}

    def _release(
        self, room: HubRoom, reader: Reader, head: int, answers: dict[str, Running], caught: list[Event]
    ) -> None:
        assert room.cursor is not None
        for event in caught:
            if event.changed_seq > head:
                reader.deliver(event)
        has = {mid: (answer.attempt, answer.next, len(answer.text)) for mid, answer in answers.items()}
        late = room.late[reader] = Late(head, has)
        if room.cursor >= head:
            self._promote(room, reader, late)
        else:
            self._expect(room)

    # -- events

    def publish_local(self, room_id: str, event: Event) -> None:
        """The bus has heard an event of a room that is read here."""
        room = self._rooms.get(room_id)
        if room is None:
            return
        if event.changed_seq:
            self._arrived(room, event)
        elif event.stream is not None:
            self._piece(room, event, event.stream)
        else:
            self._hint(room, event)

    def _arrived(self, room: HubRoom, event: Event) -> None:
        number = event.changed_seq
        if room.cursor is None:
            room.waiting[number] = event
        elif number == room.cursor + 1:
            self._deliver(room, event)
            if room.waiting:
                self._drain(room)
        elif number > room.cursor:
            room.waiting[number] = event
            self._expect(room)

    def _drain(self, room: HubRoom) -> None:
        assert room.cursor is not None
        while (event := room.waiting.pop(room.cursor + 1, None)) is not None:
            self._deliver(room, event)
        if room.waiting:
            self._expect(room)

    def _deliver(self, room: HubRoom, event: Event) -> None:
        message = event.message
        assert message is not None
        room.cursor = event.changed_seq
        if message.role == "bot":
            self._finish(room, message)
        for reader in tuple(room.readers):
            reader.deliver(event)
        self.delivered += len(room.readers)
        if room.joining:
            for caught in room.joining.values():
                caught.append(event)
        if room.late:
            for reader, late in list(room.late.items()):
                if event.changed_seq > late.head:
                    self._promote(room, reader, late)
                    reader.deliver(event)
        if message.role == "bot":
            self._follow(room, message)
        if room.late:
            for reader, late in list(room.late.items()):
                if event.changed_seq >= late.head:
                    self._promote(room, reader, late)

    def _promote(self, room: HubRoom, reader: Reader, late: Late) -> None:
        """The hub has caught up with this reader; it gets what running answers said meanwhile."""
        del room.late[reader]
        room.readers[reader] = None
        for message_id, answer in room.answers.items():
            attempt, n, length = late.answers.get(message_id, (answer.attempt, 0, 0))
            if attempt != answer.attempt:
                n = length = 0
            if answer.next > n:
                token = answer.text[length:]
                piece = Stream(room.id, message_id, answer.attempt, n, answer.next, token)
                reader.deliver(Event("stream", piece))

    def _finish(self, room: HubRoom, message: Message) -> None:
        """The last pieces were lost on the bus and the end has come from rows: one piece stands for them, before it."""
        running = room.answers.get(message.id)
        if running is not None and message.status not in ("queued", "streaming") and message.attempt == running.attempt:
            said = running.text
            if len(message.text) > len(said) and message.text.startswith(said):
                self._make_up(room, RunningAnswer(message.id, running.attempt, running.next + 1, message.text))

    def _follow(self, room: HubRoom, message: Message) -> None:
        """Keep what running answers have said, as delivered."""
        attempt = message.attempt or 1
        if message.status == "streaming" and not message.deleted:
            running = room.answers.get(message.id)
            if running is None or running.attempt < attempt:
                room.answers[message.id] = Running(attempt)
            self._flush_held(room, message.id)
            return
        room.answers.pop(message.id, None)
        if message.status != "queued":
            room.held.pop(message.id, None)
            room.ended[message.id] = attempt
            if len(room.ended) > ENDED_KEPT:
                del room.ended[next(iter(room.ended))]

    def _flush_held(self, room: HubRoom, message_id: str) -> None:
        for event in room.held.pop(message_id, ()):
            assert event.stream is not None
            self._piece(room, event, event.stream)

    def _piece(self, room: HubRoom, event: Event, piece: Stream) -> None:
        running = room.answers.get(piece.message_id)
        if running is None or running.attempt < piece.attempt:
            if room.ended.get(piece.message_id, 0) < piece.attempt:
                held = room.held.setdefault(piece.message_id, [])
                if len(held) < HELD_PIECES:
                    held.append(event)
            return
        if piece.attempt < running.attempt or piece.next <= running.next:
            return
        if not running.add(piece):
            self._tasks.spawn(self._catch_up(room, piece.message_id), "catch up")
            return
        for reader in tuple(room.readers):
            reader.deliver(event)
        self.delivered_pieces += len(room.readers)

    async def _catch_up(self, room: HubRoom, message_id: str) -> None:
        """Pieces were lost on the bus: one piece from what the bus kept, or from rows, stands for them."""
        for read in (self._bus.running, self._source.running):
            for answer in await read(room.id):
                if answer.message_id == message_id and self._make_up(room, answer):
                    return

    def _make_up(self, room: HubRoom, answer: RunningAnswer) -> bool:
        """Deliver, as one piece, what this answer has said beyond what the readers got."""
        running = room.answers.get(answer.message_id)
        if running is None or answer.attempt != running.attempt or answer.next <= running.next:
            return False
        token = answer.text[len(running.text) :]
        piece = Stream(room.id, answer.message_id, answer.attempt, running.next, answer.next, token)
        running.add(piece)
        event = Event("stream", piece)
        for reader in tuple(room.readers):
            reader.deliver(event)
        return True

    def _hint(self, room: HubRoom, event: Event) -> None:
        for reader in (*room.readers, *room.late):
            if reader.id != event.origin and (event.only_user is None or reader.user_id == event.only_user):
                reader.deliver(event)

    # -- holes

    def _expect(self, room: HubRoom) -> None:
        """Something is missing; it may be on its way. Look into the rows when it is not here in a moment."""
        if room.timer is None and not room.healing:
            loop = asyncio.get_running_loop()
            room.timer = loop.call_later(HOLE_WAIT_S, self._overdue, room)

    def _overdue(self, room: HubRoom) -> None:
        room.timer = None
        if room.cursor is not None and (room.waiting or room.late) and not room.empty:
            self._tasks.spawn(self.heal(room), "heal")

    async def heal(self, room: HubRoom) -> None:
        """Deliver from rows what is missing up to the head."""
        if room.healing or room.cursor is None:
            return
        room.healing = True
        try:
            more = True
            while more and not room.empty:
                messages, head, more = await self._source.changes(room.id, room.cursor)
                for message in messages:
                    if message.changed_seq > room.cursor:
                        self.holes_healed += message.changed_seq not in room.waiting
                        room.waiting.pop(message.changed_seq, None)
                        self._deliver(room, Event("message", message))
                if not more and head > room.cursor:
                    room.cursor = head  # the numbers between belong to changes that a later one replaced
                room.waiting = {n: event for n, event in room.waiting.items() if n > room.cursor}
            for reader, late in list(room.late.items()):
                if room.cursor >= late.head:
                    self._promote(room, reader, late)
        finally:
            room.healing = False
        self._drain(room)

    async def check_heads(self, wait: bool = True) -> None:
        """Compare the rooms served here with the database; what is behind is read from rows.

        wait: events of the last moment may still be on their way; look at what did not move meanwhile.
        """
        cursors = {room.id: room.cursor for room in self._rooms.values() if room.cursor is not None}
        if not cursors:
            return
        heads = await self._source.heads(list(cursors))
        for room_id, head in heads.items():
            room = self._rooms.get(room_id)
            cursor = cursors[room_id]
            if room is None or cursor is None or head <= cursor:
                continue
            if not wait or room.cursor == cursor:
                await self.heal(room)

    async def watch_heads(self) -> None:
        """Compare with rows every few seconds always, and often while the bus is down: then rows are all there is."""
        for _ in range(round(HEADS_EVERY_S / HEADS_DEAF_S)):
            await asyncio.sleep(HEADS_DEAF_S)
            if not self._bus.healthy:
                await self.joined()
                return
        await self.check_heads()

    async def check_answers(self) -> None:
        """What running answers have said, from rows."""
        for room in [room for room in self._rooms.values() if room.answers]:
            for answer in await self._source.running(room.id):
                self._make_up(room, answer)

    async def joined(self) -> None:
        """The bus hears again: what it did not hear is in rows."""
        await self.check_heads(wait=False)
        await self.check_answers()
