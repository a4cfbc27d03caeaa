"""What does a provider say when it does exactly as it is told? A small real server of our own, in OpenAI's dialect.

It is told what to say by a `Script` (script.py), in any of these places; the first that there is counts:

- the request's own body, `"metadata": {"script": {"status": 503}}` (as an object or as its JSON text), which passes
  through a gateway unchanged;
- in process, `server.says("hello", cut_off=1)` for the next request, `server.always("hello")` for every further one,
  each for all models or for one;
- the configuration, `providers: {flaky: {type: scripted, script: {status: 503}}}`.

Told nothing, it repeats the beginning of what it heard, at once. Words are its tokens.

    python -m tidegate.providers.scripted --port 0 --served served.jsonl --script '{"before": "20ms"}'

is the same as a process of its own. It prints {"address": "http://127.0.0.1:PORT/v1"} and appends a line to the file
for each reply that was said to its end: id, model, user and usage; `GET /_served` has their sums.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.core.errors import ConfigError
from tidegate.core.ports import PriceBook
from tidegate.providers import openai
from tidegate.providers.scripted.script import MODEL, Script
from tidegate.providers.scripted.server import Server


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider that says what it is told to: for demonstrations, and to see what goes wrong.

    models: those that become routes of their own name when no route is configured; it answers to any name.
    price: dollars per million tokens, {input: 0.15, output: 0.6}; when left out, it costs nothing.
    port: where it listens on 127.0.0.1; 0 takes any that is free.
    script: what it says.
    """

    models: tuple[str, ...] = (MODEL,)
    price: dict[str, float] | None = None
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    script: Script = Script()


class Scripted(openai.OpenAI):
    def __init__(self, name: str, config: Config, prices: PriceBook) -> None:
        price = "own_hardware" if config.price is None else config.price
        super().__init__(name, openai.Config(models=config.models, price=price), prices)
        self.server = Server(config.script, models=config.models)
        self._port = config.port

    async def start(self) -> None:
        try:
            self.base_url = await self.server.start(self._port)
        except OSError as wrong:
            raise ConfigError(
                f"providers.{self.name}.port: cannot listen on 127.0.0.1:{self._port}: {wrong.strerror or wrong}; "
                "choose another, or 0 for any that is free"
            ) from None

    async def aclose(self) -> None:
        await self.server.aclose()

    def trouble(self) -> str | None:
        return None if self.server.address else f"the scripted provider {self.name!r} does not run; the log says why"
