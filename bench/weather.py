"""What are providers like on a long day? Mostly well, sometimes slow, now and then wrong, and seldom gone for a while.

The house here is the real one, `app.build` with spool and ledger, and so are the providers' sockets; clients call it as
a server does. Only time may be another (virtual.py).
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, redirect_stderr
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from tidegate import config
from tidegate.app import App, build
from tidegate.core.ports import Clock
from tidegate.core.values import Duration
from tidegate.providers.scripted import Scripted
from tidegate.providers.scripted.script import Script

KEY = "a-key-for-benches-and-nothing-else"
PROMPT = "What does the tide do twice a day, and why? " * 45  # 1,980 bytes, which is what 495 tokens are
USAGE = {"prompt_tokens": 495, "completion_tokens": 200, "total_tokens": 695}
ANSWER = Script(text=("It rises", " and falls."), usage=USAGE)
BODY = {"model": "fast", "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
QUICK_S = 0.05  # how long an error takes


class Outage(NamedTuple):
    begins_s: float
    ends_s: float


def within(outages: Sequence[Outage], at_s: float) -> bool:
    return any(outage.begins_s <= at_s < outage.ends_s for outage in outages)


@dataclass
class Weather:
    """One provider's: `outages` are when it is gone; else the dice decide, call by call."""

    dice: random.Random
    outages: list[Outage] = field(default_factory=list)
    median_s: float = 1.0
    sigma: float = 0.3
    stalls: float = 0.04
    stall_s: tuple[float, float] = (5.0, 12.0)
    errors: float = 0.01

    def script(self, at_s: float) -> Script:
        """What is said to a call that comes now."""
        luck = self.dice.random()
        if within(self.outages, at_s) or luck < self.errors:
            return Script(status=503, before=Duration(QUICK_S))
        if luck < self.errors + self.stalls:
            wait_s = self.dice.uniform(*self.stall_s)
        else:
            wait_s = self.median_s * self.dice.lognormvariate(0, self.sigma)
        return msgspec.structs.replace(ANSWER, before=Duration(wait_s))


def outages(dice: random.Random, lasts_s: float, share: float, each_s: tuple[float, float]) -> list[Outage]:
    """For `share` of the time, at random times that know nothing of each other."""
    mean_s = sum(each_s) / 2
    up_s = mean_s * (1 - share) / share
    found, now_s = [], 0.0
    while now_s < lasts_s:
        now_s += dice.expovariate(1 / up_s)
        found.append(Outage(now_s, now_s + dice.uniform(*each_s)))
        now_s = found[-1].ends_s
    return found


class Heard(NamedTuple):
    """One call, as its client had it."""

    id: str
    good: bool  # it has all of a good answer
    asked_s: float
    lasted_s: float
    status: int


async def ask(app: App, now_s: Callable[[], float], body: bytes) -> Heard:
    """One call, and all of its answer."""
    pieces: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        return pieces.pop() if pieces else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer " + KEY.encode()), (b"content-type", b"application/json")]
    path = "/v1/chat/completions"
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    began_s = now_s()
    await app(scope, receive, send)
    said = b"".join(message.get("body", b"") for message in sent)
    status = sent[0]["status"]
    good = status == 200 and said.endswith(b"data: [DONE]\n\n") and b'"error"' not in said
    id = dict(sent[0]["headers"])[b"x-tidegate-request-id"].decode()
    return Heard(id, good, began_s, now_s() - began_s, status)


@asynccontextmanager
async def house(text: str, clock: Clock | None = None) -> AsyncIterator[App]:
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder, tempfile.TemporaryFile("w") as log:
        environment = {"TIDEGATE_ADMIN_KEY": KEY, "TIDEGATE_STORAGE_DATA_DIR": folder}
        with redirect_stderr(log):  # it keeps what it finds
            app = await build(config.parse(text, environment), environment, clock=clock)
        try:
            yield app
        finally:
            await app.leave()
            await app.aclose()


def forecast(app: App, name: str, weather: Weather, now_s: Callable[[], float]) -> None:
    """From now on the provider `name` is as `weather` says."""
    provider = app.gateway.providers[name]
    assert isinstance(provider, Scripted)
    provider.server.plan = lambda model: weather.script(now_s())


def body(**more: Any) -> bytes:
    return json.dumps(BODY | more).encode()
