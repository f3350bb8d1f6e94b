"""What is said: send, edit, delete, read. `check` (what can fail because of the user), then do, then tell.

Sends of one moment are committed together. While a batch is on its way to Postgres the next one gathers, so a lone send
waits for nobody and a thousand a second make a few dozen transactions.
"""

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol

import msgspec
from opentelemetry.trace import Span

from config.settings import Settings
from models import embeddings, generations, messages, rooms, search
from models.base import new_id
from models.database import Database, DatabaseUnavailable, Sql
from models.direct import Direct
from models.generations import Claimer, Job
from models.messages import Appended, MessageRow, NewMessage
from services.accounts import Identity, is_uuid
from services.errors import (
    ChatError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    limited,
    message_not_found,
    read_only,
    reply_not_found,
    room_not_found,
    unavailable,
)
from services.limits import Limit, Shared, Taken
from services.realtime.activity import Activities
from services.realtime.bus import Bus
from services.realtime.events import Bot, Event, Failure, Message, Reasoning, Source, Usage, timestamp
from services.tasks import Tasks
from services.tracing import Tracing
from services.writers import Writers

log = logging.getLogger("maru.messages")

MAX_BATCH = 500
KNOWN_MOST = 100  # beyond, joining a batch with its rooms costs Postgres as much as asking it everything
DEFAULT = Bot()
MARKUP = re.compile(r"^\s*(?:#{1,6}\s+|>\s*|[-*+]\s+|\d+[.)]\s+)+|[*_~`]{2,}|`")  # what Markdown would not show
CLIENT_ID_CHARS = 64
NO_ID = "00000000-0000-0000-0000-000000000000"
SERVER_MADE = "server-made-client-id-longer-than-any-client-may-send-"  # 54, and 36 of a UUID


def view(row: MessageRow) -> Message:
    """A row as it goes over the wire."""
    message = Message(
        id=row.id,
        room_id=row.room_id,
        seq=row.seq,
        changed_seq=row.changed_seq,
        user_id=row.user_id,
        user_name=row.user_name,
        role=row.role,  # type: ignore[arg-type]
        text=row.content,
        ts=timestamp(row.created_at),
        status=row.status,  # type: ignore[arg-type]
        reply_to=row.reply_to,
        attempt=row.attempt,
    )
    if row.deleted:
        message.deleted = True
        return message
    if row.client_id is not None and len(row.client_id) <= CLIENT_ID_CHARS:
        message.client_id = row.client_id
    if row.edited_at is not None:
        message.edited_at = timestamp(row.edited_at)
    message.versions = row.versions or None
    if row.role == "bot":
        message.model = row.model or None
        message.stopped_by = row.stopped_by if row.status == "stopped" else None
        if row.input_tokens is not None and row.output_tokens is not None:
            message.usage = Usage(row.input_tokens, row.output_tokens, row.usage_estimated or None)
        if row.reasoning:
            message.reasoning = Reasoning(row.reasoning, row.reasoning_ms or 0)
        if row.sources:
            message.sources = [Source(source["messageId"], source["roomId"]) for source in row.sources]
        if row.error_code:
            message.error = Failure(row.error_code, row.error_message or "")
    return message


class Promise(Protocol):
    """Where a send's outcome goes: a future, or `AtOnce`."""

    def done(self) -> bool: ...
    def set_result(self, result: Appended, /) -> None: ...
    def set_exception(self, exception: Exception, /) -> None: ...


class AtOnce:
    """Like a future, but who waits is called when it is settled, instead of in the loop's next turn."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[Appended | None, Exception | None], None]) -> None:
        self._call: Callable[[Appended | None, Exception | None], None] | None = call

    def done(self) -> bool:
        return self._call is None

    def set_result(self, result: Appended, /) -> None:
        self._settle(result, None)

    def set_exception(self, exception: Exception, /) -> None:
        self._settle(None, exception)

    def _settle(self, result: Appended | None, error: Exception | None) -> None:
        call, self._call = self._call, None
        if call is not None:
            try:
                call(result, error)
            except Exception as wrong:  # the next in the batch has to hear of his
                log.error("settling a send", exc_info=wrong)


Waiting = tuple[NewMessage, Promise]


class Sent(NamedTuple):
    message_id: str
    seq: int
    changed_seq: int
    ts: str
    duplicate: bool


class Page(NamedTuple):
    messages: list[Message]
    more_before: bool
    more_after: bool


def bot_settings(kept: dict[str, Any]) -> Bot:
    """A room's bot: what was set, defaults elsewhere."""
    return msgspec.convert(kept, Bot)


@lru_cache(1024)
def _bot_of(kept: str) -> Bot:
    return msgspec.json.decode(kept, type=Bot)


def who_answers(bot: str, text: str, replies_to_bot: bool) -> str | None:
    """The bot's name when it shall answer this text."""
    settings = _bot_of(bot)
    if settings.when == "off":
        return None
    if settings.when == "always" or replies_to_bot or "@" + settings.name.casefold() in text.casefold():
        return settings.name
    return None


HIDDEN = "[{number}] (not for you to read, or deleted since)"


class Messages:
    def __init__(
        self,
        db: Database,
        settings: Settings,
        bus: Bus,
        activities: Activities,
        tasks: Tasks,
        *,
        named: Callable[[], None],
        shared: Shared | None = None,
    ) -> None:
        """named: a room was given its name, so the access log has grown."""
        self._db = db
        self._settings = settings
        self._bus = bus
        self._activities = activities
        self._tasks = tasks
        self._named = named
        self._sends = Limit("sends", settings.sends_per_10s, 10, shared)
        self.limits = [self._sends]
        self.sends: Counter[str] = Counter()  # by result
        self._queue: list[Waiting] = []
        self._committing = False
        self._direct = Direct(db, {**messages.PREPARED, **generations.PREPARED})
        self._writers = Writers()
        # The worker beside, if there is one: it may claim a lone answer in the commit of its question.
        self.claimer: Callable[[], Claimer | None] = lambda: None
        self.on_claimed: Callable[[Job], None] = lambda job: None
        self.on_queued: Callable[[list[MessageRow]], None] = lambda answers: None
        self.on_changed: Callable[[str], None] = lambda room_id: None
        self.on_batch: Callable[[int, float], None] = lambda size, seconds: None
        self.tracing: Tracing | None = None
        self._spans: dict[Promise, Span] = {}  # of the traced sends that wait for their commit

    def close(self) -> None:
        waiting, self._queue = self._queue, []
        self._direct.close()
        self._give_up(waiting)

    # -- send

    def send(
        self, who: Identity, room_id: str, text: str, client_id: str | None = None, reply_to: str | None = None
    ) -> Coroutine[Any, Any, Sent]:
        """Commit a message and tell its readers; the answer that it asks for is queued in the same transaction.

        Raises Limited, NotFound, Forbidden, Invalid; Unavailable when nothing is known of the commit: a retry with the
        same client_id is safe then.
        """
        span = self.tracing.send(room_id) if self.tracing is not None else None
        if span is None:
            return self._send(who, room_id, text, client_id, reply_to, None)
        return self._send_traced(who, room_id, text, client_id, reply_to, span)

    async def _send_traced(
        self, who: Identity, room_id: str, text: str, client_id: str | None, reply_to: str | None, span: Span
    ) -> Sent:
        assert self.tracing is not None
        with self.tracing.during(span):
            return await self._send(who, room_id, text, client_id, reply_to, span)

    def start(
        self,
        who: Identity,
        room_id: str,
        text: str,
        client_id: str | None,
        done: Callable[[Sent | None, Exception | None], None],
    ) -> bool:
        """Like `send`, without a task: `done` is called once with what it returns or raises, before the room's readers are
        told. Raises what is known at once. False: only `send` can do this one."""
        if self.tracing is not None:
            return False
        self._check_text(text)
        taken = self._sends.take_here(who.user_id)
        if taken is None:
            return False

        def settled(appended: Appended | None, error: Exception | None) -> None:
            sent: Sent | None = None
            try:
                sent = self._outcome(who.user_id, taken, appended, error)
            except Exception as refused:
                error = refused
            done(sent, error)

        self._append(NewMessage(room_id, who.user_id, text, client_id or SERVER_MADE + new_id(), None), AtOnce(settled))
        return True

    async def _send(
        self, who: Identity, room_id: str, text: str, client_id: str | None, reply_to: str | None, span: Span | None
    ) -> Sent:
        try:
            self._check_text(text)
            if reply_to is not None:
                if not is_uuid(reply_to):
                    raise reply_not_found()
                reply_to = reply_to.lower()
        except ChatError:
            if client_id is not None and (sent := await self._sent_before(who, room_id, client_id)):
                return sent
            raise
        taken = await self._sends.take(who.user_id)
        if taken.wait_s:
            if client_id is not None and (sent := await self._sent_before(who, room_id, client_id)):
                return sent
            self.sends["limited"] += 1
            raise limited(taken.wait_s, "You are sending too fast. Wait a moment.")
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        if span is not None:
            self._spans[future] = span
            future.add_done_callback(lambda done: self._spans.pop(future, None))
        self._append(NewMessage(room_id, who.user_id, text, client_id or SERVER_MADE + new_id(), reply_to), future)
        try:
            appended = await future
        except asyncio.CancelledError:
            self._not_sent(who.user_id, taken)
            raise
        except Exception as error:
            return self._outcome(who.user_id, taken, None, error)
        return self._outcome(who.user_id, taken, appended, None)

    def _outcome(self, user_id: str, taken: Taken, done: Appended | None, error: Exception | None) -> Sent:
        """What the sender is told. Raises `error`, or what refuses the send."""
        if done is None:
            self._not_sent(user_id, taken)
            raise error or unavailable()
        self.sends["refused" if done.refused is not None else "duplicate" if done.duplicate else "committed"] += 1
        if done.refused is not None or done.duplicate:
            self._sends.give_back(user_id, taken)
        if done.refused == "room.read_only":
            raise read_only()
        if done.refused == "message.reply_not_found":
            raise reply_not_found()
        if done.refused is not None:
            raise room_not_found()
        assert done.message is not None
        row = done.message
        return Sent(row.id, row.seq, row.changed_seq, timestamp(row.created_at), done.duplicate)

    def _not_sent(self, user_id: str, taken: Taken) -> None:
        self.sends["failed"] += 1
        self._sends.give_back(user_id, taken)

    def _check_text(self, text: str) -> None:
        limit = self._settings.max_text_chars
        if limit and len(text) > limit:
            raise Invalid("message.too_long", f"A message has at most {limit:,} characters.", field="text")
        if not text.strip() or "\0" in text:
            raise Invalid("message.invalid", "A message needs some text.", field="text")

    async def _sent_before(self, who: Identity, room_id: str, client_id: str) -> Sent | None:
        row = await self._db.run_bare(messages.find_by_client, room_id, who.user_id, client_id)
        if row is None:
            return None
        self.sends["duplicate"] += 1
        return Sent(row.id, row.seq, row.changed_seq, timestamp(row.created_at), True)

    # -- group commit

    def _append(self, new: NewMessage, promise: Promise) -> None:
        self._queue.append((new, promise))
        if not self._committing:
            self._committing = True
            self._begin()

    def _begin(self) -> None:
        """Commit all that waits. Without a task when nothing has to be asked for, which is the common case."""
        batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
        began = time.perf_counter()
        try:
            stamps = self._stamps(batch)
            if self._direct.connected and not self._spans and all(new.room_id in stamps for new, _ in batch):
                appended = messages.append_known([new for new, _ in batch], stamps)
                self._direct.start(appended, partial(self._begun, batch, began))
            else:
                self._tasks.spawn(self._commit(self._commit_all(batch, stamps), len(batch), began), "group commit")
        except Exception as wrong:  # a fault of ours, which the next batch must not wait for
            log.error("beginning a group commit", exc_info=wrong)
            self._give_up(batch)
            self._next(len(batch), began)

    def _give_up(self, batch: list[Waiting]) -> None:
        for _, promise in batch:
            if not promise.done():
                promise.set_exception(unavailable())

    def _begun(
        self,
        batch: list[Waiting],
        began: float,
        found: list[Appended | None] | None,
        error: Exception | None,
    ) -> None:
        if found is None and self._direct.closed:
            self._give_up(batch)
            self._next(len(batch), began)
        elif found is None or None in found:
            self._tasks.spawn(self._commit(self._after_known(batch, found, error), len(batch), began), "group commit")
        else:
            try:
                self._settle([(promise, done) for (_, promise), done in zip(batch, found, strict=True) if done])
            finally:
                self._next(len(batch), began)

    async def _commit(self, work: Coroutine[Any, Any, None], size: int, began: float) -> None:
        try:
            await work
            await asyncio.sleep(0)  # behind those who are told: what is sent meanwhile is in the next batch
        except asyncio.CancelledError:
            self._committing = False
            raise
        except BaseException:
            self._next(size, began)
            raise
        self._next(size, began)

    def _next(self, size: int, began: float) -> None:
        """One batch is done; what was sent meanwhile is the next."""
        self._committing = bool(self._queue)
        if self._queue:
            asyncio.get_running_loop().call_soon(self._begin)
        self.on_batch(size, time.perf_counter() - began)

    def _stamps(self, batch: list[Waiting]) -> dict[str, int]:
        """Of the rooms in which nothing has to be asked for; what is said in one of the others stays together."""
        if len(batch) > KNOWN_MOST:
            return {}
        stamps: dict[str, int] = {}
        asking: set[str] = set()
        keys: set[tuple[str, str, str]] = set()
        for new, _ in batch:
            stamp = None
            if new.reply_to is None:
                stamp = self._writers.stamp(new.room_id, new.user_id, "@" in new.content)
            key = (new.room_id, new.user_id, new.client_id)
            if stamp is None or key in keys:
                asking.add(new.room_id)
            else:
                stamps[new.room_id] = stamp
                keys.add(key)
        return {room_id: stamp for room_id, stamp in stamps.items() if room_id not in asking} if asking else stamps

    async def _commit_all(self, batch: list[Waiting], stamps: dict[str, int]) -> None:
        known = [one for one in batch if one[0].room_id in stamps]
        asking = [one for one in batch if one[0].room_id not in stamps]
        if known:
            began_ns = time.time_ns() if self._spans else 0
            found, failed = None, None
            try:
                found = await self._direct.run(messages.append_known([new for new, _ in known], stamps))
            except Exception as error:
                failed = error
            await self._after_known(known, found, failed, asking, began_ns)
        elif asking:
            await self._commit_asking(asking)

    async def _after_known(
        self,
        batch: list[Waiting],
        found: list[Appended | None] | None,
        error: Exception | None,
        asking: Sequence[Waiting] = (),
        began_ns: int = 0,
    ) -> None:
        """Ask for those of which nothing was written, since their rooms have changed or they were sent before, and for the
        others of their moment."""
        left = batch
        if isinstance(error, DatabaseUnavailable):
            for one in batch:
                await self._commit_again(one, error)
            left = []
        elif found is None:
            # The other way finds out which of them it was, or finds it sent by another pod meanwhile.
            log.info("asking for what was known", extra={"error": type(error).__name__})
        else:
            left = [one for one, done in zip(batch, found, strict=True) if done is None]
            for new, _ in left:
                self._writers.forget(new.room_id)
            self._settle([(one[1], done) for one, done in zip(batch, found, strict=True) if done], None, began_ns)
        if left or asking:
            await self._commit_asking([*asking, *left])

    async def _commit_asking(self, batch: list[Waiting]) -> None:
        began_ns = time.time_ns() if self._spans else 0
        try:
            results, job = await self._write([new for new, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                await self._commit_again(batch[0], error)
                return
            # One bad message must not spoil the others; after a lost COMMIT each finds its own client id.
            for one in batch:
                await self._commit_asking([one])
            return
        self._settle([(future, done) for (_, future), done in zip(batch, results, strict=True)], job, began_ns)

    def _settle(self, settled: list[tuple[Promise, Appended]], job: Job | None = None, began_ns: int = 0) -> None:
        """Each sender has his answer before anybody else is told: those who wait for a future in the loop's next turn."""
        at_once = True
        for promise, done in settled:
            if self._spans and promise in self._spans:
                self._trace(self._spans[promise], done, began_ns, len(settled))
            if not promise.done():
                promise.set_result(done)
            at_once = at_once and type(promise) is AtOnce
        appended = [done for _, done in settled]
        if at_once:
            self._tell(appended)
        else:
            asyncio.get_running_loop().call_soon(self._tell, appended)
        self._answer(appended, job)

    def _trace(self, span: Span, done: Appended, began_ns: int, size: int) -> None:
        if self.tracing is not None and not done.duplicate:
            rows = [row for row in (done.message, done.answer) if row is not None]
            self.tracing.committed(span, began_ns or time.time_ns(), size, [row.id for row in rows])

    async def _write(self, batch: list[NewMessage]) -> tuple[list[Appended], Job | None]:
        """In one round trip, unless it takes two: to claim a lone answer, or to say whether a bot is mentioned.

        What is remembered of rooms' bots only chooses the way; either finds out for itself what is so.
        """
        claimer = self.claimer()
        bots = [self._writers.when(new.room_id) for new in batch]
        may_mention = ["@" in new.content or new.reply_to is not None for new in batch]
        claims = claimer is not None and sum(when in ("always", None) for when in bots) == 1
        if claims and claimer is not None and len(batch) == 1:
            asked = await self._direct.run(
                generations.ask(batch[0], may_mention[0], DEFAULT.when, DEFAULT.name, claimer)
            )
            if asked is not None:
                self._remember([asked[0]])
                return [asked[0]], asked[1]
        if not claims and not any(when == "mention" and may for when, may in zip(bots, may_mention, strict=True)):
            at_once = messages.append_at_once(batch, may_mention, DEFAULT.when, DEFAULT.name)
            done = await self._direct.run(at_once)
            if done is not None:
                self._remember(done)
                return done, None
        results, job = await self._direct.run(generations.append(batch, who_answers, claimer))
        self._remember(results)
        return results, job

    def _remember(self, results: list[Appended]) -> None:
        for done in results:
            if done.message is not None and done.message.user_id is not None and not done.duplicate:
                self._writers.saw(done.message.room_id, done.message.user_id, _bot_of(done.bot).when, done.stamp)

    async def _commit_again(self, one: Waiting, error: Exception) -> None:
        """Once more after a lost connection: it may have been committed, and is found by its client id then."""
        new, promise = one
        if isinstance(error, DatabaseUnavailable):
            try:
                (done,), job = await self._write([new])
                if done.duplicate and done.message is not None:
                    # Perhaps written by the lost COMMIT, and told to nobody yet; who has it drops it by its number.
                    row = await self._direct.run(messages.find_steps(done.message.id))
                    if row is not None:
                        self.publish(row)
                        self._bus.nudge("jobs")
            except DatabaseUnavailable:
                log.warning("send not committed", extra={"error": str(error)})
                if not promise.done():
                    promise.set_exception(unavailable())
                return
            except Exception as other:
                error = other
            else:
                if not promise.done():
                    promise.set_result(done)
                self._tell([done])
                self._answer([done], job)
                return
        log.error("send failed", exc_info=error)
        if not promise.done():
            promise.set_exception(unavailable())

    def _tell(self, appended: Iterable[Appended]) -> None:
        """Everybody who reads the rooms."""
        for done in appended:
            if done.message is not None and not done.duplicate:
                try:
                    self._tell_one(done, done.message)
                except Exception as error:  # the others' readers must not miss theirs; these find a hole
                    log.error("telling", exc_info=error)

    def _tell_one(self, done: Appended, message: MessageRow) -> None:
        self.publish(message)
        last = message
        if done.answer is not None:
            last = done.answer
            self.publish(done.answer)
        elif last.seq == 1:
            self._tasks.spawn(self._name_room(last), "name a room")
        self._activities.note(last.room_id, last.seq, message.content)

    def _answer(self, results: list[Appended], job: Job | None) -> None:
        """Begin with what these messages ask for, behind the news of them."""
        if job is not None:
            self.on_claimed(job)
            return
        queued = [done.answer for done in results if done.answer is not None and not done.duplicate]
        if queued:
            self.on_queued(queued)

    def publish(self, row: MessageRow) -> None:
        self._bus.publish(row.room_id, Event("message", view(row)))
        self.on_changed(row.room_id)

    async def _name_room(self, first: MessageRow) -> None:
        if await self._db.run(rooms.name_if_unnamed, first.room_id, title(first.content), first.id):
            self._named()

    # -- change

    async def edit(self, who: Identity, message_id: str, text: str) -> int:
        self._check_text(text)
        row = await self._db.run(self._edit, who.user_id, message_id, text)
        self.publish(row)
        return row.changed_seq

    @staticmethod
    def _edit(sql: Sql, user_id: str, message_id: str, text: str) -> MessageRow:
        message, role = _locked(sql, message_id, user_id)
        if message.deleted:
            raise message_not_found()
        if message.user_id != user_id:
            raise Forbidden("message.not_yours", "Only its author can edit a message.")
        if role == "reader":
            raise read_only()
        row = messages.edit(sql, message, text)
        embeddings.forget(sql, message.room_id, message.seq)
        return row

    async def delete(self, who: Identity, message_id: str) -> int:
        row, gone = await self._db.run(self._delete, who.user_id, message_id)
        if gone is not None:
            self.publish(row)
            # Not under the room's lock, since the index counts its words under locks of its own.
            self._tasks.spawn(self._db.run(search.uncount, gone), "uncount")
            if row.role == "bot":
                self._bus.nudge("stop:" + row.id)
                self._bus.nudge("jobs")
        return row.changed_seq

    @staticmethod
    def _delete(sql: Sql, user_id: str, message_id: str) -> tuple[MessageRow, search.Gone | None]:
        """(what is left of it; what left the index, or None when it was deleted before)"""
        message, role = _locked(sql, message_id, user_id)
        if message.user_id != user_id and role != "owner":
            raise Forbidden("message.not_yours", "Only its author or an owner of the room can delete a message.")
        if role == "reader":
            raise read_only()
        if message.deleted:
            return message, None
        row = messages.delete(sql, message)
        # Behind the change of the row, which the writer of its vector would wait for and see.
        embeddings.forget(sql, message.room_id, message.seq)
        return row, search.forget(sql, message.room_id, [message.seq])

    async def stop(self, who: Identity, message_id: str) -> None:
        ended = await self._db.run(self._stop, who.user_id, message_id)
        if ended is not None:
            self.publish(ended)
        self._bus.nudge("stop:" + message_id)

    @staticmethod
    def _stop(sql: Sql, user_id: str, message_id: str) -> MessageRow | None:
        message, role = _locked(sql, message_id, user_id)
        _check_answer(message, role)
        return None if message.deleted else generations.stop(sql, message, user_id)

    async def regenerate(self, who: Identity, message_id: str) -> str:
        row = await self._db.run(self._regenerate, who.user_id, message_id)
        self.publish(row)
        self._bus.nudge("jobs")
        return row.id

    @staticmethod
    def _regenerate(sql: Sql, user_id: str, message_id: str) -> MessageRow:
        message, role = _locked(sql, message_id, user_id)
        _check_answer(message, role)
        if message.deleted:
            raise message_not_found()
        if message.status in ("queued", "streaming"):
            raise Conflict("generation.running", "This answer is still running. Stop it first.")
        question = messages.find(sql, message.reply_to) if message.reply_to is not None else None
        if question is None or question.deleted:
            raise NotFound("message.reply_not_found", "What this answers is not there any more.")
        row = generations.regenerate(sql, message, user_id)
        assert row is not None
        return row

    # -- read

    async def get(self, who: Identity, message_id: str) -> Message:
        found = await self._db.run_bare(messages.readable, message_id, who.user_id)
        if found is None:
            raise message_not_found()
        return view(found[0])

    async def page(self, who: Identity, room_id: str, **where: Any) -> Page:
        found = await self._db.run_snapshot(_page, room_id, who.user_id, where)
        return Page([view(row) for row in found.messages], found.more_before, found.more_after)

    async def changes(self, who: Identity, room_id: str, after: int, limit: int) -> tuple[list[Message], int, bool]:
        rows, head, more = await self._db.run_snapshot(_changes, room_id, who.user_id, after, limit)
        return [view(row) for row in rows], head, more

    async def versions(self, who: Identity, message_id: str) -> list[tuple[int, str, datetime, str | None]]:
        found = await self._db.run_bare(messages.readable, message_id, who.user_id)
        if found is None:
            raise message_not_found()
        return await self._db.run_bare(messages.versions, message_id)

    async def context(self, who: Identity, message_id: str) -> tuple[int, Any]:
        """(attempt, prompt) that the model was given for this answer.

        Passages of rooms that the asker may not read are left out of it (who joins later was no reader of this answer), and
        those that quote what was deleted since.
        """
        found = await self._db.run_bare(messages.readable, message_id, who.user_id)
        kept = await self._db.run_bare(generations.context, message_id) if found and not found[0].deleted else None
        if kept is None:
            raise message_not_found()
        attempt, prompt = kept
        passages = prompt.get("passages", [])
        if passages:
            quoted = [message_id for one in passages for message_id in one["messages"]]
            mine = await self._db.run_bare(messages.readable_of, who.user_id, quoted)
            for number, one in enumerate(passages, 1):
                if not mine.issuperset(one["messages"]):
                    for turn in prompt["messages"]:
                        turn["text"] = turn["text"].replace(one["text"], HIDDEN.format(number=number))
            prompt["passages"] = [one for one in passages if mine.issuperset(one["messages"])]
        return attempt, prompt

    async def every(self, who: Identity, room_id: str, after: int, limit: int = 500) -> list[Message]:
        """For an export, in pieces by seq. The right to read is asked for again with each piece."""
        rows = await self._db.run_bare(partial(_every, room_id=room_id, user_id=who.user_id, after=after, limit=limit))
        return [view(row) for row in rows]

    async def left_behind(self, who: Identity, after: str | None, limit: int = 500) -> list[Message]:
        """Own messages in rooms that the asker has left, for an export, in pieces by id."""
        found = await self._db.run_bare(messages.left_behind, who.user_id, after or NO_ID, limit)
        return [view(row) for row in found]


def title(text: str, limit: int = 40) -> str:
    """A room's name out of its first message: its first line, cut at a word."""
    line = next((line for line in text.splitlines() if line.strip()), text)
    line = " ".join(MARKUP.sub("", line).split()) or " ".join(line.split())
    line = "".join(char for char in line if char.isprintable()) or "…"
    if len(line) <= limit:
        return line
    cut = line[:limit].rsplit(" ", 1)[0] if " " in line[limit // 2 : limit] else line[:limit]
    return cut.rstrip(" ,.;:!?") + "…"


def check_member(sql: Sql, room_id: str, user_id: str) -> str:
    role = rooms.role_of(sql, room_id, user_id)
    if role is None:
        raise room_not_found()
    return role


def _locked(sql: Sql, message_id: str, user_id: str) -> tuple[MessageRow, str]:
    found = messages.lock(sql, message_id, user_id)
    if found is None:
        raise message_not_found()
    return found


def _check_answer(message: MessageRow, role: str) -> None:
    if message.role != "bot":
        raise Conflict("message.not_an_answer", "Only an answer of the bot can be stopped or made again.")
    if role == "reader":
        raise read_only()


def _page(sql: Sql, room_id: str, user_id: str, where: dict[str, Any]) -> messages.Page:
    check_member(sql, room_id, user_id)
    return messages.page(sql, room_id, **where)


def _changes(sql: Sql, room_id: str, user_id: str, after: int, limit: int) -> tuple[list[MessageRow], int, bool]:
    check_member(sql, room_id, user_id)
    return messages.changes(sql, room_id, after, limit)


def _every(sql: Sql, room_id: str, user_id: str, after: int, limit: int) -> list[MessageRow]:
    check_member(sql, room_id, user_id)
    return messages.every(sql, room_id, after, limit)
