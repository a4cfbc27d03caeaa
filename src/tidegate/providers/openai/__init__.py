"""OpenAI, and whoever speaks its dialect: vLLM, Groq, Mistral, DeepSeek, OpenRouter, llama.cpp…"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar
from urllib.parse import quote

import msgspec

from tidegate.core.call import HOP, Call, Target
from tidegate.core.errors import ConfigError
from tidegate.core.money import OWN_HARDWARE, Price
from tidegate.core.parcels import Terms
from tidegate.core.ports import Codec, Headers, PriceBook, Request, Timeouts
from tidegate.core.trace import PARENT, onward, received
from tidegate.core.values import Secret
from tidegate.providers.prices import rates_from_usd
from tidegate.providers.transport.tls import Tls, own_context
from tidegate.providers.transport.wire import request_line

JSON = (b"content-type", b"application/json")
IDENTITY = (b"accept-encoding", b"identity")
USUAL = 100  # sets of headers that are remembered
ERRAND = Timeouts(10.0, 60.0, 60.0, 600.0)
QUERY = "%/?:@!$&'()*+,;=[]"  # stands in a query as it came; other bytes are escaped


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider that speaks OpenAI's dialect.

    base_url: where its API begins, with /v1; OpenAI's own when left out.
    keys: API keys, best as env:NAME or file:PATH; may be empty for a server of your own. Several take turns, and one
        that is refused is set aside.
    models: those that become routes of their own name when no route is configured.
    price: dollars per million tokens for all its models, {input: 0.15, output: 0.6}; `own_hardware` costs nothing;
        when left out, the price list is asked for `vendor`.
    vendor: whose prices apply, as the price list names it; openai when base_url is left out, else nobody's.
    tls: how its connections are secured, where that is not as for all others.
    batch: its own batches, for less money: what of our batches has the time is handed over to them.
    """

    base_url: str | None = None
    keys: tuple[Secret, ...] = ()
    models: tuple[str, ...] = ()
    price: dict[str, float] | str | None = None
    vendor: str | None = None
    tls: Tls = Tls()
    batch: Terms | None = None


def configured_price(name: str, given: dict[str, float] | str | None) -> Price | None:
    """The price that a provider's configuration states. Raises ConfigError; None when it states none."""
    if given is None:
        return None
    if isinstance(given, str):
        if given != "own_hardware":
            raise ConfigError(f"providers.{name}.price: own_hardware, or dollars by kind: {{input: 0.15, output: 0.6}}")
        return OWN_HARDWARE
    return Price(rates_from_usd(f"providers.{name}.price", given), source="configuration")


def batch_price(name: str, terms: Terms | None) -> Price | None:
    """What its terms state outright. Raises ConfigError where they say neither price nor discount, or both."""
    if terms is None:
        return None
    if (terms.price is None) == (terms.discount is None):
        raise ConfigError(f"providers.{name}.batch: say what it costs, either discount: 0.5 or price: {{input: …}}")
    if terms.price is None:
        return None
    return Price(rates_from_usd(f"providers.{name}.batch.price", terms.price), source="configuration, batch")


class OpenAI:
    dialect = "openai"
    default_url: ClassVar[str] = "https://api.openai.com/v1"
    default_vendor: ClassVar[str] = "openai"
    prefix: ClassVar[str] = "/v1"  # what base_url has already of the paths that clients ask for
    errand_headers: ClassVar[tuple[tuple[bytes, bytes], ...]] = ()
    forwarded: ClassVar[tuple[bytes, ...]] = (b"openai-beta",)  # a client's headers that a provider of its dialect gets

    def __init__(self, name: str, config: Config, prices: PriceBook) -> None:
        self.name = name
        self.why = "configured"
        self.models = config.models
        self.base_url = (config.base_url or self.default_url).rstrip("/")
        self.keys = config.keys
        self.tls = own_context(config.tls, f"providers.{name}.tls")
        try:
            request_line("GET", self.base_url)
        except ValueError as wrong:
            raise ConfigError(f"providers.{name}.base_url: {wrong}") from None
        self._vendor = config.vendor or (self.default_vendor if config.base_url is None else None)
        self._price = configured_price(name, config.price)
        self._prices = prices
        self.terms = config.batch
        self._batch_price = batch_price(name, config.batch)
        self._usual: dict[tuple[Secret | None, Headers], Headers] = {}  # by key and our own headers

    @property
    def ready(self) -> bool:
        return True

    def serves(self, model: str) -> bool:
        """It says so itself; what it lists may not be all."""
        return True

    def request(
        self, call: Call, target: Target, codec: Codec, body: bytes, timeouts: Timeouts, key: Secret | None
    ) -> Request:
        """Same dialect: the client's query string and its headers that mean something there go along."""
        url = self._usual_url(call, codec)
        if url is not None and body:
            own = tuple(self.own_headers(call))
            usual = self._usual.get((key, own))
            if usual is None:
                usual = (IDENTITY, (HOP, b"1"), JSON, *own, *([self.key_header(key)] if key is not None else ()))
                if len(self._usual) < USUAL:
                    self._usual[key, own] = usual
            return Request("POST", url, usual, body, timeouts)
        headers: list[tuple[bytes, bytes]] = [IDENTITY, (HOP, b"%d" % (call.hop + 1)), *call.trace]
        if call.traced:
            ours = onward(call.id, received(call.named.get(PARENT)), len(call.attempts))
            headers = [(PARENT, ours), *(header for header in headers if header[0] != PARENT)]
        url = self.base_url + (codec.path or call.path.removeprefix(self.prefix))
        kind = JSON
        if call.dialect == self.dialect:
            for name in self.forwarded:
                if name in call.named:
                    headers += [header for header in call.headers if header[0] == name]
            if call.query:
                url = f"{url}?{quote(call.query, safe=QUERY)}"
            kind = kind if codec.path else (JSON[0], call.named.get(JSON[0], JSON[1]))
        if body:
            headers.append(kind)
        headers += self.own_headers(call)
        if key is not None:
            headers.append(self.key_header(key))
        return Request("POST" if codec.path else call.method, url, headers, body, timeouts, self.tls)

    def _usual_url(self, call: Call, codec: Codec) -> str | None:
        """Where almost all calls go, and with the same headers; None for those that have something of their own."""
        if call.hop or call.trace or call.query or not codec.path:
            return None
        for name in self.forwarded:
            if name in call.named:
                return None
        return self.base_url + codec.path

    def key_header(self, key: Secret) -> tuple[bytes, bytes]:
        return b"authorization", b"Bearer " + key.value.encode()

    def own_headers(self, call: Call) -> Headers:
        return ()

    def price(self, model: str) -> Price | None:
        if self._price is not None:
            return self._price
        return self._prices.price(self._vendor, model) if self._vendor else None

    def batch_price(self, model: str) -> Price | None:
        """As its terms state it, or a share of what is known to be the usual price; never a guess."""
        terms, usual = self.terms, self.price(model)
        if terms is None or terms.price is not None or usual is None:
            return self._batch_price
        return usual.less(terms.discount or 0.0)

    def errand(self, method: str, path: str, body: bytes = b"", kind: bytes = JSON[1]) -> Request:
        """With the first of its keys: of others it may not be known."""
        headers: list[tuple[bytes, bytes]] = [IDENTITY, *self.errand_headers]
        headers += [(JSON[0], kind)] if body else []
        headers += [self.key_header(self.keys[0])] if self.keys else []
        url = self.base_url + path.removeprefix(self.prefix)
        return Request(method, url, headers, body, ERRAND, self.tls)

    def secrets(self) -> Iterable[str]:
        return [key.value for key in self.keys]

    async def start(self) -> None:
        """Nothing to make ready: it runs elsewhere."""

    async def aclose(self) -> None:
        """Nothing of ours to end."""

    def trouble(self) -> str | None:
        return None
