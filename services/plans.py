"""From a bot's settings, a question and what went before to what a model is asked. Knows memory and prompts; writes nothing."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from config.settings import Settings
from models.messages import MessageRow
from services import prompts
from services.llm.base import Request
from services.realtime.events import Bot
from services.retrieval import Retrieval, Source


class Plan(NamedTuple):
    """sources: the messages that the prompt's passages were found by. remembered_s: None where memory is off."""

    request: Request
    prompt: prompts.Prompt
    sources: list[Source]
    remembered_s: float | None


async def plan(
    settings: Settings, retrieval: Retrieval, bot: Bot, history: Sequence[MessageRow], question: MessageRow,
    people: tuple[list[str], int] | None,
) -> Plan:  # fmt: skip
    """history: oldest first, without the question. people: names of some members and how many, where they are known.

    The request's model is left open: it is whichever of the choices is tried.
    """
    remember = bot.retrieval and settings.retrieval
    asked = time.monotonic()
    who, found = await retrieval.gather(question, history, bot.context_messages, people, remember)
    took = time.monotonic() - asked if remember else None
    prompt = prompts.build(
        bot.name, bot.system_prompt, history, question, settings.prompt_tokens, who, found.passages,
        settings.retrieval_tokens,
    )  # fmt: skip
    temperature = None if bot.temperature == 1.0 else bot.temperature
    request = Request("", prompt.system, prompt.turns, temperature, settings.max_output_tokens)
    return Plan(request, prompt, found.sources[: len(prompt.quoted)], took)
