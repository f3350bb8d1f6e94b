"""Answers: claim, prompt, stream, join pieces, publish, finish; leases, stops and take-overs.

Knows jobs and providers; knows nothing of connections. Each running answer is one `Answer` with one task; one heartbeat
a second keeps all leases, keeps the new text in rows and learns of stops, in one transaction.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

from config.logs import room_of
from config.settings import Settings
from models import budgets, errors, generations, rooms
from models.budgets import Held
from models.database import UNWRITABLE, Database, DatabaseUnavailable, Sql
from models.generations import Claimer, Ending, Fence, Job, Lease
from models.messages import MessageRow
from services import prompts
from services.budgets import Allowance, BudgetExceeded, Budgets
from services.llm.base import Delta, Finished, Kind, ProviderError, Request, Spent, close
from services.llm.registry import Choice, Models
from services.messages import bot_settings, title, view
from services.plans import plan
from services.prices import Price, Prices
from services.realtime.bus import Bus
from services.realtime.events import Bot, Event, Stream
from services.retrieval import Retrieval, Source
from services.tasks import Tasks
from services.tracing import Answering, Tracing, part

log = logging.getLogger("maru.generation")

SCAN_S = 1.0
BEAT_S = 1.0
RETRY_FIRST_S = 0.5
RETRY_MOST_S = 8.0
FINISH_TRIES_S = 60.0
COUNT_S = 1.5
# What comes behind a model's last word is its count, and the end of the response.
AFTER_S = 2.0


class Observer:
    """What is measured; the metrics take it from here."""

    def started(self, waited_s: float, taken_over: bool) -> None: ...
    def retrieved(self, seconds: float) -> None: ...
    def first_token(self, ours_s: float, provider_s: float) -> None: ...
    def retried(self, provider: str) -> None: ...
    def paid(self, model: str, cost: float) -> None: ...
    def over_budget(self, kind: str) -> None: ...
    def provider_failed(self, provider: str, kind: str) -> None: ...
    def broke(self, error: BaseException, message_id: str) -> None: ...
    def spent(self, provider: str, model: str, input_tokens: int, output_tokens: int) -> None: ...
    def ended(self, status: str, provider: str, seconds: float) -> None: ...


class Answer:
    """One running answer: its text so far, and the pieces not yet published."""

    def __init__(self, job: Job, owner: str, bus: Bus, piece_s: float) -> None:
        self.job = job
        self.row = job.message
        self.bot: Bot = bot_settings(job.bot)
        self.fence = Fence(job.message.id, job.message.attempt or 1, owner)
        self.parts: list[str] = []
        self.thoughts: list[str] = []
        self.thought_s = 0.0
        self.next = 0
        self.saved_next = 0
        self.saved_parts = 0
        self.published_parts = 0
        self.provider = ""
        self.model = ""
        self.prompt: prompts.Prompt | None = None
        self.sources: list[Source] = []
        self.context_kept = False
        self.trace: Answering | None = None
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.asked = False  # a model works on it, which costs whether it says a word or not
        self.stopped_by = job.message.stopped_by
        self.price: Price | None = None
        self.allowance: Allowance | None = None
        self.holds = False  # others are told what it has cost so far
        self.over: BudgetExceeded | None = None
        self.first_s: float | None = None
        self.began = time.monotonic()
        self.lost = False
        self.stream_task: asyncio.Task[None] | None = None
        self.task: asyncio.Task[None] | None = None
        self._bus = bus
        self._piece_s = piece_s
        self._waiting: list[str] = []
        self._kind: Kind = "text"
        self._flushed = 0.0
        self._published = prompts.Estimate()
        self._timer: asyncio.TimerHandle | None = None
        self._thinking_since: float | None = None

    @property
    def begun(self) -> bool:
        return bool(self.parts or self.thoughts)

    def add(self, delta: Delta) -> None:
        """Take what the model said. The first piece goes out at once, what follows within `piece_s` is joined."""
        said = delta.text.replace("\0", "\ufffd")  # which no text holds
        if delta.kind != self._kind:
            self.flush()
            self._kind = delta.kind
            self._mark_thinking()
        (self.parts if delta.kind == "text" else self.thoughts).append(said)
        self._waiting.append(said)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            wait = self._flushed + self._piece_s - loop.time()
            if wait <= 0:
                self.flush()
            else:
                self._timer = loop.call_later(wait, self.flush)

    def _mark_thinking(self) -> None:
        now = time.monotonic()
        if self._kind == "reasoning":
            self._thinking_since = now
        elif self._thinking_since is not None:
            self.thought_s += now - self._thinking_since
            self._thinking_since = None

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting:
            return
        self._flushed = asyncio.get_running_loop().time()
        token = "".join(self._waiting)
        self._waiting.clear()
        self.published_parts = len(self.parts)
        n, self.next = self.next, self.next + 1
        kind = "reasoning" if self._kind == "reasoning" else None
        piece = Stream(self.row.room_id, self.row.id, self.fence.attempt, n, self.next, token, kind)  # type: ignore[arg-type]
        self._bus.publish_piece(piece)
        self._published.add(token)
        if self.allowance is not None:
            self.check_budget()

    # -- what it costs

    @property
    def held(self) -> Held:
        """What it has cost so far, as far as one knows while it runs."""
        given = self.input_tokens if self.input_tokens is not None else self.prompt.tokens if self.prompt else 0
        said = max(self._published.tokens, self.output_tokens or 0)
        cost = self.price.of(given, said) if self.price is not None else Decimal(0)
        return Held(self.row.id, self.row.asked_by, self.row.room_id, given + said, cost)

    def check_budget(self) -> None:
        """End the stream when what it may cost is reached; that is then why it ended."""
        if self.allowance is None or self.over is not None:
            return
        now = self.held
        if limit := self.allowance.passed(now.tokens, now.cost):
            self.over = BudgetExceeded(limit)
            self.halt()

    def unsaved(self) -> tuple[int, int, str]:
        """(from, next, text) published since `saved`."""
        return self.saved_next, self.next, "".join(self.parts[self.saved_parts : self.published_parts])

    def saved(self, next_n: int, parts: int) -> None:
        self.saved_next, self.saved_parts = next_n, parts

    def halt(self) -> None:
        """End the model's stream: the text so far is the answer."""
        if self.stream_task is not None:
            self.stream_task.cancel()

    def count(self, spent: Spent) -> None:
        """Take what the provider counted."""
        if spent.input_tokens is not None:
            self.input_tokens = spent.input_tokens
        if spent.output_tokens is not None:
            self.output_tokens = spent.output_tokens

    def ending(self, status: str, error: ProviderError | None = None) -> Ending:
        self.flush()
        if self._thinking_since is not None:
            self.thought_s += time.monotonic() - self._thinking_since
            self._thinking_since = None
        text, thoughts = "".join(self.parts), "".join(self.thoughts)
        told_any = self.input_tokens is not None or self.output_tokens is not None
        spent = self.provider != "" and (self.begun or told_any or self.asked)
        counted = self.input_tokens is not None and self.output_tokens is not None and status == "complete"
        given = self.prompt.tokens if self.prompt is not None else 0
        guess = prompts.estimate_tokens(text) + prompts.estimate_tokens(thoughts)
        input_tokens = (self.input_tokens if self.input_tokens is not None else given) if spent else 0
        # A stream that was cut off has told less than it cost.
        told = self.output_tokens or 0
        output_tokens = (told if counted else max(guess, told)) if spent else 0
        return Ending(
            status=status,
            content=text,
            provider=self.provider,
            model=self.model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            estimated=spent and not counted,
            reasoning=thoughts or None,
            reasoning_ms=round(self.thought_s * 1000) if thoughts else None,
            sources=[{"messageId": one.message_id, "roomId": one.room_id} for one in self.sources] or None,
            stopped_by=self.stopped_by,
            error_code=error.code if error else None,
            error_message=error.message if error else None,
            cost=self.price.of(input_tokens, output_tokens) if self.price is not None else None,
            first_ms=round(self.first_s * 1000) if self.first_s is not None else None,
            total_ms=round((time.monotonic() - self.began) * 1000),
        )


class Generation:
    def __init__(
        self,
        db: Database,
        settings: Settings,
        bus: Bus,
        models: Models,
        retrieval: Retrieval,
        prices: Prices,
        budgets: Budgets,
        tasks: Tasks,
        *,
        named: Callable[[], None],
        observer: Observer | None = None,
    ) -> None:
        self._db = db
        self._settings = settings
        self._bus = bus
        self._models = models
        self._retrieval = retrieval
        self._prices = prices
        self._budgets = budgets
        self._tasks = tasks
        self._named = named
        self.observer = observer or Observer()
        self.on_changed: Callable[[str], None] = lambda room_id: None
        self.tracing: Tracing | None = None
        self.owner = str(uuid4())
        self._running: dict[str, Answer] = {}
        self._claiming: dict[str, asyncio.Task[None]] = {}
        self._nudged = asyncio.Event()
        self._beat_now = asyncio.Event()
        self._draining = False

    @property
    def running(self) -> int:
        return len(self._running)

    # -- claiming

    def nudge(self) -> None:
        """There may be something to claim."""
        self._nudged.set()

    async def step(self) -> None:
        """Wait for a nudge or a second, then claim what can be claimed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SCAN_S):
                await self._nudged.wait()
        self._nudged.clear()
        if not self._free:
            return
        lease_s, per_user = self._settings.lease_s, self._settings.max_answers_per_user
        most = self._settings.max_answers_per_pod
        for message_id, room_id in await self._db.run_bare(generations.candidates, lease_s, per_user, most):
            self._try(message_id, room_id)

    def queued(self, answers: list[MessageRow]) -> None:
        """Answers were committed here a moment ago: claim them without looking for them first."""
        for row in answers:
            self._try(row.id, row.room_id)

    @property
    def _free(self) -> int:
        """How many more this worker may make."""
        taken = len(self._running) + len(self._claiming)
        return 0 if self._draining else max(0, self._settings.max_answers_per_pod - taken)

    def _try(self, message_id: str, room_id: str) -> None:
        """Claim it, each by itself: a room that is locked holds up no other."""
        if self._free and message_id not in self._running and message_id not in self._claiming:
            self._claiming[message_id] = self._tasks.spawn(self._claim(message_id, room_id), "claim")

    async def _claim(self, message_id: str, room_id: str) -> None:
        lease_s, per_user = self._settings.lease_s, self._settings.max_answers_per_user
        since_ns = time.time_ns()
        try:
            job = await self._db.run_bare(
                generations.claim, message_id, room_id, self.owner, lease_s, per_user, _context_of
            )
        finally:
            del self._claiming[message_id]
        if job is not None:
            self.begin(job, since_ns)

    def claimer(self) -> Claimer | None:
        """This worker, while it has room for one more."""
        if not self._free:
            return None
        settings = self._settings
        return Claimer(self.owner, settings.lease_s, settings.max_answers_per_user, _context_of)

    def begin(self, job: Job, since_ns: int | None = None) -> None:
        """Make an answer that was claimed for this worker. since_ns: None when its question's commit claimed it."""
        answer = Answer(job, self.owner, self._bus, self._settings.piece_ms / 1000)
        if self.tracing is not None:
            row = job.message
            answer.trace = self.tracing.answer(row.room_id, row.id, row.reply_to, row.attempt or 1, since_ns)
        self._running[job.message.id] = answer
        answer.task = self._tasks.spawn(self._run(answer), "answer")

    # -- one answer

    async def _run(self, answer: Answer) -> None:
        room_of.set(answer.row.room_id)
        if answer.trace is not None:
            answer.trace.enter()
        self._bus.publish(answer.row.room_id, Event("message", view(answer.row)))
        self.observer.started(max(0.0, time.time() - answer.row.created_at.timestamp()), answer.job.taken_over)
        status, error = "complete", None
        question = answer.job.question
        try:
            if question is None:
                status = "stopped"
            else:
                answer.stream_task = asyncio.create_task(self._make(answer, question))
                if answer.stopped_by or answer.lost:
                    answer.stream_task.cancel()
                # Waited for from outside: a stop cancels the stream, a drain cancels this.
                await asyncio.wait([answer.stream_task])
                if answer.stream_task.cancelled():
                    status = "stopped"
                    if answer.over is not None and answer.stopped_by is None:
                        error = self._over_budget(answer.over)
                else:
                    answer.stream_task.result()
        except asyncio.CancelledError:
            answer.halt()
            self._running.pop(answer.row.id, None)
            if answer.trace is not None:
                answer.trace.end("handed back", None)
            await self._count_handed_back(answer)
            raise
        except BudgetExceeded as failure:
            status, error = "failed", self._over_budget(failure)
        except ProviderError as failure:
            status, error = "failed", failure
            log.warning("answer failed", extra={"kind": failure.code, "error": str(failure)[:300]})
        except Exception as failure:
            status, error = "failed", ProviderError("Something went wrong here. Try again.", code="internal")
            self.observer.broke(failure, answer.row.id)
            log.error("answer failed", exc_info=failure)
        self._keep_context(answer)
        try:
            # Also of one that is another's now, or deleted: it was asked for, and cost what it cost.
            with part(answer.trace, "finish"):
                status = await self._finish(answer, status, error, question)
        finally:
            if answer.trace is not None:
                answer.trace.end(status, error)
            self._running.pop(answer.row.id, None)
            self._bus.ended(answer.row.room_id, answer.row.id, answer.fence.attempt)
            self.nudge()
            seconds = time.monotonic() - answer.began
            self.observer.ended(status, answer.provider or "none", seconds)
            about = {"room": answer.row.room_id, "answer": answer.row.id, "status": status, "model": answer.model}
            log.info("answer ended", extra={**about, "seconds": round(seconds, 1)})

    async def _count_handed_back(self, answer: Answer) -> None:
        """What the part of it that was made here cost; whoever goes on asks the model again."""
        ending = answer.ending("stopped")
        if ending.input_tokens + ending.output_tokens:
            self.observer.spent(ending.provider, ending.model, ending.input_tokens, ending.output_tokens)
            with contextlib.suppress(DatabaseUnavailable, TimeoutError):
                async with asyncio.timeout(COUNT_S):
                    await self._db.run(
                        generations.spend_answer, answer.fence, answer.row.room_id, answer.row.asked_by, ending, ""
                    )

    def _over_budget(self, reason: BudgetExceeded) -> ProviderError:
        self.observer.over_budget(reason.limit.kind)
        return ProviderError(reason.message, code="budget.exceeded")

    async def _make(self, answer: Answer, question: MessageRow) -> None:
        await self._stream(answer, await self._plan(answer, question))

    async def _plan(self, answer: Answer, question: MessageRow) -> Request:
        job = answer.job
        with part(answer.trace, "retrieval"):
            made = await plan(self._settings, self._retrieval, answer.bot, job.history, question, job.people)
        if made.remembered_s is not None:
            self.observer.retrieved(made.remembered_s)
        answer.prompt, answer.sources = made.prompt, made.sources
        return made.request

    def _keep_context(self, answer: Answer) -> None:
        """What the model was given; written once it has begun, since nobody waits for this row."""
        prompt = answer.prompt
        if prompt is not None and not answer.context_kept:
            answer.context_kept = True
            kept = {
                "system": prompt.system,
                "messages": [{"role": turn.role, "text": turn.text} for turn in prompt.turns],
                "passages": [
                    {
                        "messageId": source.message_id,
                        "roomId": source.room_id,
                        "messages": source.messages,
                        "text": text,
                    }
                    for source, text in zip(answer.sources, prompt.quoted, strict=True)
                ],
            }
            quoted = {row.id for row in answer.job.history}
            quoted.update(message_id for source in answer.sources for message_id in source.messages)
            if answer.job.question is not None:
                quoted.add(answer.job.question.id)
            self._tasks.spawn(self._write_context(answer, kept, sorted(quoted)), "keep context")

    async def _write_context(self, answer: Answer, kept: dict[str, Any], quoted: list[str]) -> None:
        for wait_s in (0.5, 2.0, 5.0, 0.0):
            try:
                await self._db.run(generations.keep_context, answer.row.id, answer.fence.attempt, kept, quoted)
                return
            except DatabaseUnavailable:
                if not wait_s:
                    raise
                await asyncio.sleep(wait_s)

    async def _stream(self, answer: Answer, request: Request) -> None:
        """Try each choice in turn, each with retries, until one has said its first word; from then on it is this one."""
        last: ProviderError | None = None
        for choice in self._models.choices(answer.bot):
            answer.provider, answer.model = choice.provider.name, choice.model
            answer.price = self._prices.of(answer.provider, answer.model)
            if self._budgets.limited:
                answer.allowance = await self._budgets.admit(answer.held)
                answer.holds = True
            for trial in range(self._settings.provider_retries + 1):
                try:
                    await self._stream_once(answer, choice, request._replace(model=choice.model))
                    return
                except ProviderError as error:
                    self.observer.provider_failed(choice.provider.name, error.kind)
                    last = error
                    if answer.begun:
                        raise
                    answer.asked = error.kind == "timeout"  # who refuses takes nothing for it
                    if not error.retryable:
                        break
                    if trial < self._settings.provider_retries:
                        self.observer.retried(choice.provider.name)
                        wait = min(RETRY_MOST_S, RETRY_FIRST_S * 2**trial)
                        await between_tries(min(30.0, error.retry_after_s) if error.retry_after_s else wait)
        assert last is not None
        raise last

    async def _stream_once(self, answer: Answer, choice: Choice, request: Request) -> None:
        deltas = choice.provider.stream(request)
        if answer.trace is not None:
            deltas = answer.trace.watched(deltas, choice.provider.name, request)
        answer.input_tokens = answer.output_tokens = None  # of an earlier try
        asked, clock = time.monotonic(), asyncio.get_running_loop().time
        heard, finished, answer.asked = clock(), False, True
        try:
            while True:
                limit = self._settings.stall_timeout_s if answer.begun else self._settings.first_token_timeout_s
                try:
                    async with asyncio.timeout_at(heard + (AFTER_S if finished else limit)):
                        item = await anext(deltas)
                except StopAsyncIteration:
                    break
                except (TimeoutError, ProviderError) as failure:
                    if finished:
                        break  # it is all there; only its connection has no end, or a bad one
                    if isinstance(failure, ProviderError):
                        raise
                    raise _timed_out(answer.begun) from None
                if isinstance(item, Spent):
                    answer.count(item)
                elif isinstance(item, Finished):
                    heard, finished = clock(), True
                else:
                    heard = clock()
                    if not answer.begun:
                        now = time.monotonic()
                        self.observer.first_token(asked - answer.began, now - asked)
                        answer.first_s = now - answer.began
                    answer.add(item)
                    if not answer.context_kept:
                        self._keep_context(answer)
        finally:
            await close(deltas)
        if not answer.parts:  # also where it has only thought
            raise ProviderError("The model gave an empty answer.", detail="no content", kind="broken")

    async def _finish(
        self, answer: Answer, status: str, error: ProviderError | None, question: MessageRow | None
    ) -> str:
        """Write the end; try as long as the lease may hold, since the text is only here. Returns how it has ended."""
        ending = answer.ending(status, error)
        self.observer.spent(ending.provider, ending.model, ending.input_tokens, ending.output_tokens)
        deadline, bare, again = time.monotonic() + FINISH_TRIES_S, False, False
        while True:
            try:
                row = await self._db.run(_write_end, answer.fence, answer.row, ending, answer.holds, again)
                break
            except DatabaseUnavailable:
                if time.monotonic() > deadline:
                    raise
                again = True
                await asyncio.sleep(0.5)
            except Exception as failure:
                if bare:
                    raise
                bare = True
                # It can't be written as it is, and would be made anew for ever: an end it has all the same.
                self.observer.broke(failure, answer.row.id)
                log.error("answer not written", extra={"answer": answer.row.id}, exc_info=failure)
                ending = _unwritten(ending)
        if row is None:
            return ending.status
        self._bus.publish(row.room_id, Event("message", view(row)))
        self.on_changed(row.room_id)
        if ending.cost:
            self.observer.paid(ending.model, float(ending.cost))
        if (
            answer.job.room_name is None
            and question is not None
            and await self._db.run(rooms.name_if_unnamed, row.room_id, title(question.content), question.id)
        ):
            self._named()
        return ending.status

    # -- leases and stops

    def stop(self, message_id: str) -> None:
        """A stop or a deletion was written for this answer, perhaps by another pod: look at its row now."""
        if message_id in self._running:
            self._beat_now.set()

    async def beat(self) -> None:
        """Wait a second, or for a stop; then keep all leases and the new text of all answers."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BEAT_S):
                await self._beat_now.wait()
        self._beat_now.clear()
        answers = list(self._running.values())
        if not answers:
            return
        work = [(answer.fence, *answer.unsaved()) for answer in answers]
        marks = [(answer.next, answer.published_parts) for answer in answers]
        leases = await self._renew(work)
        for answer, mark, lease in zip(answers, marks, leases, strict=True):
            if not lease.held:
                answer.lost = True
                answer.halt()
                continue
            answer.saved(*mark)
            if lease.stopped_by is not None and answer.stopped_by is None:
                answer.stopped_by = lease.stopped_by
                answer.halt()

    async def watch_budgets(self) -> None:
        """Wait a second, then tell what running answers have cost and hear what they still may. Beside `beat`: it asks for
        each user and room, and stops shall not wait for that."""
        await asyncio.sleep(BEAT_S)
        answers = list(self._running.values())
        if self._budgets.limited:
            await self._renew_allowances([one for one in answers if one.provider and not one.lost])
        else:
            for answer in answers:
                answer.allowance = None  # the limit that it was given was taken away

    async def _renew(self, work: list[tuple[Fence, int, int, str]]) -> list[Lease]:
        """All at once; one by one where that fails, so that what is wrong with one answer is no other's end."""
        try:
            return await self._db.run(generations.renew_all, work, self._settings.lease_s)
        except UNWRITABLE as failure:
            if len(work) > 1:
                return [lease for one in work for lease in await self._renew([one])]
            log.error("lease not renewed", extra={"answer": work[0][0].message_id}, exc_info=failure)
            return [Lease(held=False)]

    async def _renew_allowances(self, answers: list[Answer]) -> None:
        if not answers:
            return
        for answer, allowance in zip(
            answers, await self._budgets.renew([answer.held for answer in answers]), strict=True
        ):
            answer.allowance, answer.holds = allowance, True
            answer.check_budget()

    # -- the end

    async def drain(self, limit_s: float) -> None:
        """Claim nothing more, give running answers `limit_s` to end, hand back the leases of those that have not."""
        self._draining = True
        until = time.monotonic() + limit_s
        while (work := self._work) and (left := until - time.monotonic()) > 0:
            await asyncio.wait(work, timeout=left)  # a claim under way may have become an answer
        for _ in range(2):  # what was being claimed has begun by the second time
            for answer in self._running.values():
                if answer.task is not None:
                    answer.task.cancel()
            if work := self._work:
                await asyncio.wait(work, timeout=2)
        with contextlib.suppress(DatabaseUnavailable):  # then they run out by themselves
            await self._db.run(generations.release, self.owner)
            self._bus.nudge("jobs")

    @property
    def _work(self) -> list[asyncio.Task[None]]:
        answers = (answer.task for answer in self._running.values() if answer.task is not None)
        return [*self._claiming.values(), *answers]


async def between_tries(seconds: float) -> None:
    await asyncio.sleep(seconds)


def _timed_out(begun: bool) -> ProviderError:
    text = "The model fell silent in the middle of its answer." if begun else "The model did not answer in time."
    return ProviderError(
        text + " Try again.", code="generation.timeout", retryable=not begun, detail="timeout", kind="timeout"
    )


def _unwritten(ending: Ending) -> Ending:
    """The end of an answer whose own end can't be written."""
    return ending._replace(
        status="failed", content="", input_tokens=0, output_tokens=0, estimated=False, reasoning=None, reasoning_ms=None,
        sources=None, error_code="internal", error_message="Something went wrong here. Try again.", cost=None,
    )  # fmt: skip


def _context_of(bot: dict[str, Any]) -> int:
    return bot_settings(bot).context_messages


def _write_end(sql: Sql, fence: Fence, row: MessageRow, ending: Ending, holds: bool, again: bool) -> MessageRow | None:
    """The room's head first, as whoever deletes the room takes it; what is another worker's is left to him."""
    if again and generations.counted(sql, fence, ending):  # only the word that it was committed was lost
        return generations.ended(sql, fence, ending)
    ended = generations.finish(sql, fence, row.room_id, row.asked_by, ending)
    if ended is not None:
        if holds:
            budgets.let_go(sql, fence.message_id)
        if ending.error_code not in (None, "internal"):  # those are noted with where they happened
            errors.note(sql, str(ending.error_code), f"{ending.provider} {ending.model}: {ending.error_message}")
    return ended
