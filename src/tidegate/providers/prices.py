"""What does each vendor ask for each model? A dated list that comes with Tidegate, and what you know better."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tidegate.core.errors import ConfigError
from tidegate.core.money import KINDS, Price, Tier, nusd_per_million
from tidegate.core.nearest import nearest

LIST = Path(__file__).with_name("prices.json")  # written by ./run prices
LONGEST_NAME = 200  # of a model; what is longer is no model's, and is not matched against anything
REMEMBERED = 1000  # names that were looked up
_COMPACT_DATE = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What tokens cost, besides the dated list that comes with Tidegate.

    file: prices of your own, by vendor/model, in dollars per million tokens; they go before the list.
    """

    file: str | None = None


class Model(msgspec.Struct, frozen=True):
    """What a model is called, and what it costs; without rates: known, and not priced by the token."""

    match: tuple[str, ...]
    rates: dict[str, int] = {}
    tiers: tuple[Tier, ...] = ()


class Vendor(msgspec.Struct, frozen=True):
    models: tuple[Model, ...]
    otherwise: tuple[str, ...] = ()  # whose models it sells too, at their prices


class Book(msgspec.Struct, frozen=True):
    date: str
    source: str
    vendors: dict[str, Vendor]


class PriceList:
    """The `PriceBook` of the port. The list is read when the first price is asked for, and once."""

    def __init__(self, own: Mapping[str, Price]) -> None:
        self._own = own
        self.price = functools.lru_cache(REMEMBERED)(self._find)

    @classmethod
    def load(cls, path: Path | None) -> PriceList:
        """With the prices of the file at `path`, by vendor/model, in dollars per million tokens. Raises ConfigError."""
        return cls({} if path is None else _own(path))

    @functools.cached_property
    def book(self) -> Book:
        return msgspec.json.decode(LIST.read_bytes(), type=Book)

    def _find(self, vendor: str, model: str) -> Price | None:
        name = model.lower()
        if own := self._own.get(f"{vendor}/{name}"):
            return own
        sold = self.book.vendors.get(vendor)
        if sold is None or len(name) > LONGEST_NAME:
            return None
        # Some write dates as 20251211 that the list writes as 2025-12-11.
        for spelling in dict.fromkeys((name, _COMPACT_DATE.sub(r"-\1-\2-\3", name))):
            for seller in (vendor, *sold.otherwise):
                for entry in self.book.vendors[seller].models:
                    if any(_fits(pattern, spelling) for pattern in entry.match):
                        return Price(entry.rates, f"prices.json {self.book.date}", entry.tiers) if entry.rates else None
        return None


def _fits(pattern: str, name: str) -> bool:
    if pattern.startswith("re:"):
        return re.search(pattern[3:], name) is not None
    if pattern.endswith("*"):
        return pattern[1:-1] in name if pattern.startswith("*") else name.startswith(pattern[:-1])
    return name.endswith(pattern[1:]) if pattern.startswith("*") else name == pattern


def _own(path: Path) -> dict[str, Price]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as wrong:
        raise ConfigError(f"{path}: the price list cannot be read: {wrong.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as wrong:
        raise ConfigError(f"{path}: the price list is neither YAML nor JSON: {wrong}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: a price list says vendor/model: {{input: 0.15, output: 0.6}}")
    prices = {}
    for name, given in found.items():
        if not isinstance(name, str) or not all(name.partition("/")):
            raise ConfigError(f"{path}: {name!r} must be vendor/model, such as openai/gpt-4o")
        prices[name.lower()] = Price(rates_from_usd(f"{path}: {name}", given), source=path.name)
    return prices


def rates_from_usd(where: str, given: Any) -> dict[str, int]:
    """Rates from what people write, dollars per million tokens by kind. Raises ConfigError, beginning with `where`."""
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(f"{where}: dollars per million tokens by kind: {{input: 0.15, output: 0.6}}")
    rates = {}
    for kind, usd in given.items():
        if kind not in KINDS:
            raise ConfigError(f"{where}: no kind of token is called {kind!r}; {nearest(str(kind), KINDS)}")
        if isinstance(usd, bool) or not isinstance(usd, int | float | Decimal) or not 0 <= usd < 1_000_000:
            raise ConfigError(f"{where}: {kind} must be dollars per million tokens, 0 or more, not {usd!r}")
        rates[kind] = nusd_per_million(usd)
    return rates
