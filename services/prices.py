"""What models cost, from a file of the operator's. Knows names and prices; knows nothing of who spends.

currency = "USD"
[models."openai:gpt-5-mini"]     # or "openai:*" for all others of a provider
input = 0.25                     # for a million tokens
output = 2.0
"""

import tomllib
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

from config.settings import SettingsError

MILLION = Decimal(1_000_000)


class Price(NamedTuple):
    """For one token."""

    input: Decimal
    output: Decimal

    def of(self, input_tokens: int, output_tokens: int) -> Decimal:
        return self.input * input_tokens + self.output * output_tokens


FREE = Price(Decimal(0), Decimal(0))


class Prices:
    def __init__(self, models: dict[str, Price] | None = None, currency: str = "USD") -> None:
        """models: `provider:model` -> its price."""
        self._models = {"demo:*": FREE, **(models or {})}
        self.currency = currency

    def of(self, provider: str, model: str) -> Price | None:
        return self._models.get(f"{provider}:{model}") or self._models.get(f"{provider}:*")

    def cost(self, provider: str, model: str, input_tokens: int, output_tokens: int) -> Decimal | None:
        """None where the model has no price."""
        price = self.of(provider, model)
        return price.of(input_tokens, output_tokens) if price else None

    def without(self, names: list[str]) -> list[str]:
        """Those of these `provider:model` that have no price."""
        return [name for name in names if self.of(*name.split(":", 1)) is None]


def load(path: Path | None) -> Prices:
    """Raises SettingsError that says where in the file what is wrong."""
    if path is None:
        return Prices()
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, ValueError) as error:
        raise SettingsError(f"PRICES_FILE: {path}: {error}") from None
    currency, models = told.pop("currency", "USD"), told.pop("models", {})
    if told:
        raise SettingsError(f"PRICES_FILE: {path}: unknown: {', '.join(told)}")
    if not isinstance(currency, str) or not currency.strip() or not isinstance(models, dict):
        raise SettingsError(f"PRICES_FILE: {path}: `currency` is a name and `models` a table")
    return Prices({name: _price(path, name, line) for name, line in models.items()}, currency.strip())


def _price(path: Path, name: str, line: object) -> Price:
    where = f"PRICES_FILE: {path}: {name}"
    if ":" not in name or not isinstance(line, dict) or set(line) != {"input", "output"}:
        raise SettingsError(f'{where}: needs the form [models."provider:model"] with `input` and `output`')
    try:
        pair = [Decimal(str(line[part])) for part in ("input", "output")]
    except InvalidOperation:
        raise SettingsError(f"{where}: prices are numbers") from None
    if not all(value.is_finite() and value >= 0 for value in pair):
        raise SettingsError(f"{where}: prices are 0 or more")
    return Price(pair[0] / MILLION, pair[1] / MILLION)
