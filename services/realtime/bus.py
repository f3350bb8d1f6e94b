"""Between pods: events of a room to every pod that reads the room, and what a running answer has said so far.

Knows rooms and encoded events; knows nothing of connections. Redis may lose anything at any time, so nothing here is the
truth: hubs fill holes from rows.
"""

from collections.abc import Callable
from typing import Protocol

from services.realtime.events import Event, RunningAnswer, Stream

Listener = Callable[[str, Event], None]


class Bus(Protocol):
    """MemoryBus here; RedisBus for many pods."""

    @property
    def healthy(self) -> bool:
        """Events of other pods arrive here as they are published; else rows must be asked often."""

    def listen(self, on_room: Listener, on_nudge: Callable[[str], None], on_joined: Callable[[], None] = ...) -> None:
        """Who is told of events of subscribed rooms, and of nudges.

        on_joined: this pod hears again after it did not; what was said meanwhile is in the rows.
        """

    async def subscribe(self, room_id: str) -> None:
        """Returns once events published from now on are heard, or after a moment when the bus is down."""

    def unsubscribe(self, room_id: str) -> None: ...

    def publish(self, room_id: str, event: Event) -> None:
        """In order for one room and publisher. Never waits, never raises."""

    def tell_here(self, room_id: str, event: Event) -> None:
        """Like `publish`, for this pod's readers alone."""

    def publish_piece(self, piece: Stream) -> None:
        """Keep a running answer's piece and publish it, in one step."""

    async def running(self, room_id: str) -> list[RunningAnswer]:
        """Answers that run in the room, with their text so far."""

    def ended(self, room_id: str, message_id: str, attempt: int) -> None:
        """Forget a running answer's text, unless it is of a higher attempt."""

    def nudge(self, what: str) -> None:
        """Tell every pod to look at rows: "access", "jobs", "stop:<message id>"."""

    def tell_others(self, what: str) -> None:
        """Like `nudge`, for the other pods only."""

    async def close(self) -> None: ...


class Running:
    """The text of one running answer, piece by piece."""

    __slots__ = ("attempt", "next", "parts")

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self.next = 0
        self.parts: list[str] = []

    def add(self, piece: Stream) -> bool:
        """False when the piece is not the next one of this attempt."""
        if piece.attempt != self.attempt or piece.n != self.next:
            return False
        self.next = piece.next
        if piece.kind is None:
            self.parts.append(piece.token)
        return True

    @property
    def text(self) -> str:
        if len(self.parts) > 1:
            self.parts = ["".join(self.parts)]
        return self.parts[0] if self.parts else ""


class MemoryBus:
    """One pod: what is published is heard before `publish` returns."""

    healthy = True

    def __init__(self) -> None:
        self._on_room: Listener = lambda room_id, event: None
        self._on_nudge: Callable[[str], None] = lambda what: None
        self._rooms: set[str] = set()
        self._answers: dict[str, dict[str, Running]] = {}

    def listen(
        self, on_room: Listener, on_nudge: Callable[[str], None], on_joined: Callable[[], None] = lambda: None
    ) -> None:
        self._on_room, self._on_nudge = on_room, on_nudge

    async def subscribe(self, room_id: str) -> None:
        self._rooms.add(room_id)

    def unsubscribe(self, room_id: str) -> None:
        self._rooms.discard(room_id)

    def publish(self, room_id: str, event: Event) -> None:
        if room_id in self._rooms:
            self._on_room(room_id, event)

    tell_here = publish

    def publish_piece(self, piece: Stream) -> None:
        answers = self._answers.setdefault(piece.room_id, {})
        running = answers.get(piece.message_id)
        if running is None or running.attempt < piece.attempt:
            running = answers[piece.message_id] = Running(piece.attempt)
        if running.add(piece):
            self.publish(piece.room_id, Event("stream", piece))

    async def running(self, room_id: str) -> list[RunningAnswer]:
        answers = self._answers.get(room_id, {})
        return [RunningAnswer(key, answer.attempt, answer.next, answer.text) for key, answer in answers.items()]

    def ended(self, room_id: str, message_id: str, attempt: int) -> None:
        answers = self._answers.get(room_id, {})
        if message_id in answers and answers[message_id].attempt <= attempt:
            del answers[message_id]
            if not answers:
                del self._answers[room_id]

    def nudge(self, what: str) -> None:
        self._on_nudge(what)

    def tell_others(self, what: str) -> None:
        return None

    async def close(self) -> None:
        self._rooms.clear()
        self._answers.clear()
