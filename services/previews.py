"""What a room's bot would answer with other settings: for its owner alone, kept nowhere but in the count of tokens."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from config.settings import Settings
from models import generations, messages, rooms
from models.base import new_id
from models.budgets import Held
from models.database import Database, Sql
from models.messages import MessageRow
from services import prompts
from services.accounts import Identity
from services.budgets import Budgets
from services.errors import Invalid, Unavailable, limited
from services.limits import Limit, Shared
from services.llm.base import Finished, Item, ProviderError, Request, Spent, close
from services.llm.registry import Choice, Models
from services.messages import bot_settings
from services.plans import plan
from services.prices import Prices
from services.retrieval import Retrieval
from services.rooms import check_owner, merged

PER_MINUTE = 10
MOST_TOKENS = 1_000
MOST_S = 60.0


class Preview(NamedTuple):
    text: str
    provider: str
    model: str
    input_tokens: int
    output_tokens: int


class Heard:
    """What a model has said so far, and what that cost, as far as it told."""

    def __init__(self, prompt: prompts.Prompt) -> None:
        self._prompt = prompt
        self.text = ""
        self._thought = ""
        self._told = Spent(None, None)

    def add(self, item: Item) -> None:
        if isinstance(item, Finished):
            return
        if isinstance(item, Spent):
            self._told = Spent(*(new if new is not None else old for new, old in zip(item, self._told, strict=True)))
        elif item.kind == "text":
            self.text += item.text
        else:
            self._thought += item.text

    @property
    def has_cost(self) -> bool:
        return bool(self.text or self._thought or self._told.input_tokens is not None)

    @property
    def spent(self) -> tuple[int, int, bool]:
        """(input tokens, output tokens, whether either is our guess)"""
        given, told = self._told
        guess = prompts.estimate_tokens(self.text) + prompts.estimate_tokens(self._thought)
        return (
            given if given is not None else self._prompt.tokens,
            told if told is not None else guess,
            given is None or told is None,
        )


class Previews:
    def __init__(
        self,
        db: Database,
        settings: Settings,
        models: Models,
        retrieval: Retrieval,
        prices: Prices,
        budgets: Budgets,
        shared: Shared | None,
    ) -> None:
        self._db = db
        self._settings = settings
        self._models = models
        self._retrieval = retrieval
        self._prices = prices
        self._budgets = budgets
        self._asks = Limit("previews", PER_MINUTE if settings.sends_per_10s else 0, 60, shared)
        self.limits = [self._asks]
        self.on_spent: Callable[[str, str, int, int], None] = lambda provider, model, given, told: None

    async def ask(self, who: Identity, room_id: str, patch: dict[str, Any], text: str) -> Preview:
        """The answer to `text` if it were said now and the bot's settings were changed by `patch`.

        Raises NotFound, Forbidden (owners only, as they alone can change the bot), Invalid, Limited (also by a budget),
        Unavailable.
        """
        kept, history, seq = await self._db.run_snapshot(_read, room_id, who.user_id, patch)
        taken = await self._asks.take(who.user_id)
        if taken.wait_s:
            raise limited(taken.wait_s, "You are trying too fast. Wait a moment.")
        bot = bot_settings(kept)
        question = MessageRow(
            new_id(), room_id, seq + 1, 0, who.user_id, who.name, "user", text, datetime.now(UTC)
        )  # fmt: skip
        try:
            choice = self._models.choices(bot)[0]
        except ProviderError as error:
            raise Invalid(error.code, error.message, field="bot.provider") from error
        planned = await plan(self._settings, self._retrieval, bot, history, question, None)
        most = min(MOST_TOKENS, self._settings.max_output_tokens)
        if self._budgets.limited:
            # Nobody watches it as it goes on: there has to be room for the longest.
            given = planned.prompt.tokens
            cost = self._prices.cost(choice.provider.name, choice.model, given, most)
            await self._budgets.ask(Held(question.id, who.user_id, room_id, given + most, cost or Decimal(0)))
        try:
            request = planned.request._replace(model=choice.model, max_tokens=most)
            return await self._hear(who, room_id, choice, request, planned.prompt)
        except ProviderError as error:
            raise Unavailable(error.code, error.message, retryable=error.retryable) from error

    async def _hear(
        self, who: Identity, room_id: str, choice: Choice, request: Request, prompt: prompts.Prompt
    ) -> Preview:
        heard = Heard(prompt)
        deltas = choice.provider.stream(request)
        try:
            async with asyncio.timeout(MOST_S):
                async for item in deltas:
                    heard.add(item)
        except TimeoutError:
            if not heard.text:
                raise ProviderError("The model did not answer in time. Try again.", code="generation.timeout") from None
        finally:
            await close(deltas)
            if heard.has_cost:  # also when it broke off
                given, told, guessed = heard.spent
                name, model = choice.provider.name, choice.model
                cost = self._prices.cost(name, model, given, told)
                self.on_spent(name, model, given, told)
                spent = (who.user_id, room_id, name, model, given, told, guessed, cost)
                await self._db.run(generations.spend, *spent)
        if not heard.text:
            raise ProviderError("The model gave an empty answer.")
        given, told, _ = heard.spent
        return Preview(heard.text, choice.provider.name, choice.model, given, told)


def _read(sql: Sql, room_id: str, user_id: str, patch: dict[str, Any]) -> tuple[dict[str, Any], list[MessageRow], int]:
    """(the bot's settings as they would be, what was said last, the room's last seq)"""
    check_owner(sql, room_id, user_id)
    room = rooms.find(sql, room_id, user_id)
    assert room is not None
    kept = merged(room.bot, patch)
    return kept, messages.said_last(sql, room_id, bot_settings(kept).context_messages), room.last_seq
