"""OpenAI, and whoever speaks its dialect: vLLM, Groq, Mistral, DeepSeek, OpenRouter, llama.cpp…"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import msgspec

from tidegate.core.call import Call, Target
from tidegate.core.money import OWN_HARDWARE, Price, nusd_per_million
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
    vendor: whose prices apply, as the price list names it.
    """

    base_url: str | None = None
    keys: tuple[Secret, ...] = ()
    models: tuple[str, ...] = ()
    price: dict[str, float] | str | None = None
    vendor: str = "openai"


class OpenAI:
    dialect = "openai"

    def __init__(self, name: str, config: Config, prices: PriceBook) -> None:
        self.name = name
        self.why = "configured"
        self.models = config.models
        self.base_url = (config.base_url or DEFAULT_URL).rstrip("/")
        self.keys = config.keys
        self._config = config
        self._prices = prices
        self._turn = itertools.count()

    def request(self, call: Call, target: Target, codec: Codec, body: bytes, timeouts: Timeouts) -> Request:
        headers = [(b"content-type", b"application/json"), (b"accept-encoding", b"identity")]
        if self.keys:
            key = self.keys[next(self._turn) % len(self.keys)]
            headers.append((b"authorization", b"Bearer " + key.value.encode()))
        return Request("POST", self.base_url + codec.path, headers, body, timeouts)

    def price(self, model: str) -> Price | None:
        given = self._config.price
        if given is None:
            return self._prices.price(self._config.vendor, model)
        if isinstance(given, str):
            return OWN_HARDWARE
        return Price({kind: nusd_per_million(usd) for kind, usd in given.items()}, source="configuration")

    def secrets(self) -> Iterable[str]:
        return [key.value for key in self.keys]

    async def start(self) -> None:
        """Nothing to make ready: it runs elsewhere."""

    async def aclose(self) -> None:
        """Nothing of ours to end."""

    def trouble(self) -> str | None:
        return None
