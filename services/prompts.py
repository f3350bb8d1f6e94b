"""What the model is given: pure functions from messages to a prompt within a token budget."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from services.llm.base import Turn

DEFAULT_SYSTEM = (
    "You are {name}, a member of a chat room that people share with you. Answer the last message. Every message of a person"
    " begins with that person's name and a colon; do not begin yours with a name. Use the language of the message that you"
    " answer. Be clear and brief; use Markdown where it helps."
)


class Said(Protocol):
    """A message, as far as a prompt knows it."""

    @property
    def role(self) -> str: ...
    @property
    def user_name(self) -> str: ...
    @property
    def content(self) -> str: ...


class Prompt(NamedTuple):
    system: str
    turns: list[Turn]

    @property
    def tokens(self) -> int:
        return estimate_tokens(self.system) + sum(estimate_tokens(turn.text) + 4 for turn in self.turns)


def estimate_tokens(text: str) -> int:
    """About what tokenizers of today make of a text: four ASCII letters a token, two of any others for three."""
    if text.isascii():
        return (len(text) + 3) // 4
    ascii_chars = sum(char < "\x80" for char in text)
    return (ascii_chars + 3) // 4 + ((len(text) - ascii_chars) * 2 + 2) // 3


def build(bot_name: str, system_prompt: str, history: Sequence[Said], question: Said, budget: int) -> Prompt:
    """The room's system prompt, the last messages with names, the question last.

    history: oldest first, without the question. budget: tokens, estimated; the oldest messages are left out first, and a
    question that alone is too long loses its middle.
    """
    system = system_prompt or DEFAULT_SYSTEM.format(name=bot_name)
    left = budget - estimate_tokens(system)
    asked = named(question)
    if estimate_tokens(asked) > left:
        asked = shorten(asked, max(64, left))
    left -= estimate_tokens(asked)
    kept: list[Said] = []
    for said in reversed(history):
        left -= estimate_tokens(named(said)) + 4
        if left < 0:
            break
        kept.append(said)
    turns: list[Turn] = []
    for said in reversed(kept):
        add(turns, "assistant" if said.role == "bot" else "user", said.content if said.role == "bot" else named(said))
    while turns and turns[0].role == "assistant":
        turns.pop(0)  # a conversation begins with a person; Anthropic insists
    add(turns, "user", asked)
    return Prompt(system, turns)


def named(said: Said) -> str:
    # One line, so that a name can't pass for another message.
    name = " ".join(said.user_name.split()) or "?"
    return f"{name}: {said.content}"


def add(turns: list[Turn], role: str, text: str) -> None:
    """Turns take turns: what several people say in a row is one."""
    if turns and turns[-1].role == role:
        turns[-1] = Turn(turns[-1].role, turns[-1].text + "\n\n" + text)
    else:
        turns.append(Turn(role, text))  # type: ignore[arg-type]


def shorten(text: str, tokens: int) -> str:
    """Beginning and end of a text, about `tokens` long in all."""
    keep = int(len(text) * tokens / max(1, estimate_tokens(text)) / 2)
    return text[:keep] + "\n[...]\n" + text[-keep:] if keep else ""
