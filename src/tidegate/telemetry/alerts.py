"""Who is told when something happens? Webhooks: signed, in the background, again for a while when nobody takes it.

No call waits for one. What does not fit in the queue, or finds nobody in time, is dropped and counted. No redirect is
followed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.core.call import Call
from tidegate.core.ports import Closed, Timeouts
from tidegate.core.posting import NOWHERE, post, refusal
from tidegate.core.signed import is_address
from tidegate.core.signed import signature as signature
from tidegate.core.values import Secret
from tidegate.core.world import World

WAITING = 1_000  # alerts for one webhook
TIMEOUTS = Timeouts(connect=5, first_byte=10, idle=5, total=15)
FIRST_WAIT_S = 1.0  # before it is sent again, then twice as long
LONGEST_WAIT_S = 60.0
LAST_S = 2.0  # for what still waits when Tidegate ends
MENDED_BY_TIME = (408, 425, 429)

Alert = Literal[
    "budget_warning",
    "budget_overrun",
    "spending_fast",
    "loop_suspected",
    "loop_stopped",
    "loop_paraphrased",
    "counting_alone",
    "counting_together",
    "store_down",
    "store_back",
    "audit_log_cut",
    "audit_not_exported",
    "act_not_recorded",
    "bodies_dropped",
    "judge_score_fell",
]


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who is told by a POST of JSON.

    url: where, best as env:NAME: often whoever knows it may write there. A private address is allowed where it
        is written as one, or by transport.private_hosts.
    secret: signs each alert in x-tidegate-signature, best as env:NAME.
    events: what is told.
    deadline_s: how long an alert that nobody takes is sent again before it is dropped.
    """

    url: Secret
    secret: Secret
    events: Annotated[tuple[Alert, ...], Meta(min_length=1)] = (
        "budget_warning",
        "spending_fast",
        "loop_suspected",
        "loop_stopped",
    )
    deadline_s: Annotated[float, Meta(gt=0, le=86_400)] = 600.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is told when something happens, besides the log and the metrics.

    webhooks: addresses that alerts are sent to.
    """

    webhooks: tuple[Webhook, ...] = ()


def trouble(config: Config) -> tuple[str, str] | None:
    """What cannot be, and where; the address itself is never shown."""
    for at, webhook in enumerate(config.webhooks):
        if not is_address(webhook.url.value):
            return f"webhooks[{at}].url", "must be like https://HOST/PATH"
    return None


class Alerts(Collector):
    """A listener; `run` is the task that sends."""

    def __init__(self, config: Config, world: World) -> None:
        self._world = world
        self._lines = [Line(webhook, world) for webhook in config.webhooks]

    def call_began(self, call: Call) -> None:
        """Nobody is told of calls."""

    def call_ended(self, call: Call, row: Closed | None) -> None: ...

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        for line in self._lines:
            if name in line.webhook.events:
                line.take(name, fields)

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily("tidegate_alerts", "Alerts by what became of them", labels=["outcome"])
        family.add_metric(["sent"], sum(line.sent for line in self._lines))
        family.add_metric(["dropped"], sum(line.dropped for line in self._lines))
        yield family

    @property
    def dropped(self) -> int:
        return sum(line.dropped for line in self._lines)

    async def aclose(self) -> None:
        """What still waits has a moment."""
        await asyncio.gather(*(line.aclose() for line in self._lines))


class Line:
    """What waits for one webhook, and the task that sends it, one after the other."""

    def __init__(self, webhook: Webhook, world: World) -> None:
        self.webhook = webhook
        self.sent = self.dropped = 0
        self._world = world
        self._waiting: asyncio.Queue[tuple[str, str, bytes, int]] = asyncio.Queue(WAITING)
        self._failing = False  # and said so
        self._sending = world.loop.create_task(self._run(), name="alerts")

    def take(self, name: str, fields: Mapping[str, Any]) -> None:
        id, at_ms = f"alert_{self._world.chance.hex()}", self._world.clock.wall_ns() // 1_000_000
        said = ", ".join(f"{field}: {value}" for field, value in fields.items() if value is not None)
        told = {"id": id, "event": name, "at_ms": at_ms, "text": f"Tidegate: {name}: {said}", "fields": fields}
        body = msgspec.json.encode(told, enc_hook=str)
        try:
            self._waiting.put_nowait((id, name, body, self._world.clock.now_ns()))
        except asyncio.QueueFull:
            self._drop(f"{WAITING} alerts wait already")

    async def _run(self) -> None:
        while True:
            alert = await self._waiting.get()
            await self._deliver(*alert)
            self._waiting.task_done()

    async def _deliver(self, id: str, name: str, body: bytes, since_ns: int) -> None:
        clock, wait_s = self._world.clock, FIRST_WAIT_S
        while True:
            why, again = await self._post(id, name, body)
            if why is None:
                self.sent += 1
                self._failing = False
                return
            left_s = self.webhook.deadline_s - (clock.now_ns() - since_ns) / 1e9
            if not again or left_s <= 0:
                self._drop(why)
                return
            await clock.sleep(min(wait_s, left_s))
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _post(self, id: str, name: str, body: bytes) -> tuple[str | None, bool]:
        """Why it was not taken, None when it was; and whether that may be otherwise later."""
        signed = signature(self.webhook.secret.value, self._world.clock.wall_ns() // 1_000_000_000, body)
        headers = [
            (b"content-type", b"application/json"),
            (b"user-agent", b"tidegate"),
            (b"x-tidegate-event", name.encode()),
            (b"x-tidegate-alert", id.encode()),  # the same whenever it is sent again
            (b"x-tidegate-signature", signed.encode()),
        ]
        answer = await post(self._world.transport, self.webhook.url.value, headers, body, TIMEOUTS)
        if isinstance(answer, str):
            return answer, answer != NOWHERE
        return refusal(answer), answer >= 500 or answer in MENDED_BY_TIME

    def _drop(self, why: str) -> None:
        self.dropped += 1
        if not self._failing:  # once, until one arrives
            self._failing = True
            self._world.events.notice("alert_dropped", {"webhook": self.webhook.url.source, "why": why})

    async def aclose(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                await self._waiting.join()
        self._sending.cancel()
        await asyncio.wait([self._sending])
        self.dropped += self._waiting.qsize()
