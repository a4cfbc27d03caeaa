"""OpenAI, and whoever speaks its dialect: vLLM, Groq, Mistral, DeepSeek, OpenRouter, llama.cpp…"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import msgspec

from tidegate.core.call import Call, Target
from tidegate.core.errors import ConfigError
from tidegate.core.money import KINDS, OWN_HARDWARE, Price, nusd_per_million
from tidegate.core.ports import Codec, PriceBook, Request, Timeouts
from tidegate.core.values import Secret

DEFAULT_URL = "https://api.openai.com/v1"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider that speaks OpenAI's dialect.

    base_url: where its API begins, with /v1; OpenAI's own when left out.
    keys: API keys, best as env:NAME or file:PATH; may be empty for a server of your own.
    models: those that become routes of their own name when no route is configured.
    price: dollars per million tokens for all its models, {input: 0.15, output: 0.6}; `own_hardware` costs nothing;
        when left out, the price list is asked for `vendor`.
    vendor: whose prices apply, as the price list names it; openai when base_url is left out, else nobody's.
    """

    base_url: str | None = None
    keys: tuple[Secret, ...] = ()
    models: tuple[str, ...] = ()
    price: dict[str, float] | str | None = None
    vendor: str | None = None


def configured_price(name: str, given: dict[str, float] | str | None) -> Price | None:
    """The price that a provider's configuration states. Raises ConfigError; None when it states none."""
    if given is None:
        return None
    if isinstance(given, str):
        if given != "own_hardware":
            raise ConfigError(f"providers.{name}.price: own_hardware, or dollars by kind: {{input: 0.15, output: 0.6}}")
        return OWN_HARDWARE
    for kind, usd in given.items():
        if kind not in KINDS:
            raise ConfigError(f"providers.{name}.price.{kind}: no such kind of token; there are: {', '.join(KINDS)}")
        if not 0 <= usd < 1_000_000:
            raise ConfigError(f"providers.{name}.price.{kind}: dollars per million tokens, 0 or more, not {usd}")
    return Price({kind: nusd_per_million(usd) for kind, usd in given.items()}, source="configuration")


class OpenAI:
    dialect = "openai"

    def __init__(self, name: str, config: Config, prices: PriceBook) -> None:
        self.name = name
        self.why = "configured"
        self.models = config.models
        self.base_url = (config.base_url or DEFAULT_URL).rstrip("/")
        self.keys = config.keys
        self._vendor = config.vendor or ("openai" if config.base_url is None else None)
        self._price = configured_price(name, config.price)
        self._prices = prices
        self._turn = itertools.count()

    def request(self, call: Call, target: Target, codec: Codec, body: bytes, timeouts: Timeouts) -> Request:
        headers = [(b"content-type", b"application/json"), (b"accept-encoding", b"identity")]
        if self.keys:
            key = self.keys[next(self._turn) % len(self.keys)]
            headers.append((b"authorization", b"Bearer " + key.value.encode()))
        return Request("POST", self.base_url + codec.path, headers, body, timeouts)

    def price(self, model: str) -> Price | None:
        if self._price is not None:
            return self._price
        return self._prices.price(self._vendor, model) if self._vendor else None

    def secrets(self) -> Iterable[str]:
        return [key.value for key in self.keys]

    async def start(self) -> None:
        """Nothing to make ready: it runs elsewhere."""

    async def aclose(self) -> None:
        """Nothing of ours to end."""

    def trouble(self) -> str | None:
        return None
