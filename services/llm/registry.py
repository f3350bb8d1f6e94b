"""Which models this pod can use, and in which order an answer tries them."""

from typing import NamedTuple

from config.settings import Settings
from services.llm.anthropic import Anthropic
from services.llm.base import Provider, ProviderError
from services.llm.demo import Demo
from services.llm.openai import OpenAI
from services.realtime.events import Bot


class Choice(NamedTuple):
    provider: Provider
    model: str


class Models:
    def __init__(self, settings: Settings) -> None:
        self._providers: dict[str, Provider] = {}
        openai_key, anthropic_key = settings.openai_api_key, settings.anthropic_api_key
        if openai_key or settings.openai_base_url:
            key = openai_key.get_secret_value() if openai_key else None
            self._providers["openai"] = OpenAI(key, settings.openai_base_url, settings.openai_model)
        if anthropic_key or settings.anthropic_base_url:
            key = anthropic_key.get_secret_value() if anthropic_key else None
            self._providers["anthropic"] = Anthropic(key, settings.anthropic_base_url, settings.anthropic_model)
        if not self._providers or settings.default_provider == "demo" or "demo:demo" in settings.fallback_models:
            self._providers["demo"] = Demo(settings.demo_token_ms)
        chosen: str | None = settings.default_provider
        self.default = chosen or next(iter(self._providers))
        self._fallbacks = [
            (name, model) for name, _, model in (word.partition(":") for word in settings.fallback_models)
        ]

    def available(self) -> list[tuple[str, str, bool]]:
        """(provider, model, whether rooms that name none get it), each once."""
        found = {(name, provider.default_model): name == self.default for name, provider in self._providers.items()}
        for name, model in self._fallbacks:
            if name in self._providers:
                found.setdefault((name, model), False)
        return [(name, model, default) for (name, model), default in found.items()]

    def choices(self, bot: Bot) -> list[Choice]:
        """What a room's answer tries, in turn: its own model, then the fallbacks.

        Raises ProviderError when there is nothing to try.
        """
        first: str = bot.provider or self.default
        wanted: list[tuple[str, str | None]] = [(first, bot.model), *self._fallbacks]
        found: list[Choice] = []
        for name, model in wanted:
            provider = self._providers.get(name)
            if provider is not None:
                choice = Choice(provider, model or provider.default_model)
                if choice not in found:
                    found.append(choice)
        if not found:
            raise ProviderError(
                f"The provider {wanted[0][0]} is not set up on this server. Choose another one in the room's settings.",
                code="bot.provider_unavailable",
            )
        return found

    async def close(self) -> None:
        for provider in self._providers.values():
            await provider.close()
