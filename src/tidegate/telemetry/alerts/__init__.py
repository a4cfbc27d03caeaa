"""Who is told when something happens? Webhooks, channels, people: in the background, and not twice of the same.

No call waits for it. What does not fit in a queue, or finds nobody in time, is dropped and counted. What happens again
is counted and told when `every` is over; what is silenced is told to nobody; and that it is over is told to whoever was
told that it began.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.core.call import Call
from tidegate.core.errors import NotFound
from tidegate.core.ports import Closed, Setting
from tidegate.core.signed import is_address
from tidegate.core.signed import signature as signature
from tidegate.core.values import Duration
from tidegate.core.world import World
from tidegate.telemetry.alerts import mail, webhook
from tidegate.telemetry.alerts.line import WAITING as WAITING
from tidegate.telemetry.alerts.line import Line
from tidegate.telemetry.alerts.mail import Mail
from tidegate.telemetry.alerts.said import ENDS, Alert, Told, sentence, whom
from tidegate.telemetry.alerts.webhook import Webhook
from tidegate.telemetry.settings import Settings

EVENTS: tuple[str, ...] = get_args(Alert)
ALL = "all"  # alerts, in a silence
SILENCE = "silence:"  # before the name of what is silenced
TEST = "test"
MANY = 1_000  # alerts that are remembered as told
LATELY = 50  # that are listed


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is told when something happens, besides the log and the metrics.

    webhooks: addresses that alerts are sent to.
    emails: people who are sent a mail.
    every: the same alert, of the same key or target, is told once in so long; how often it was is told then. 0 tells
        each.
    """

    webhooks: tuple[webhook.Config, ...] = ()
    emails: tuple[mail.Config, ...] = ()
    every: Duration = Duration(600)


def trouble(config: Config) -> tuple[str, str] | None:
    """What cannot be, and where; an address of a webhook is never shown."""
    for at, one in enumerate(config.webhooks):
        if not is_address(one.url.value):
            return f"webhooks[{at}].url", "must be like https://HOST/PATH"
        if one.form == "tidegate" and one.secret is None:
            return f"webhooks[{at}].secret", "is needed, so that whoever is told can know that it is us"
    for at, letter in enumerate(config.emails):
        wrong = mail.trouble(letter)
        if wrong is not None:
            return f"emails[{at}].{wrong[0]}", wrong[1]
    return None


class Again(msgspec.Struct):
    """What was told, and happened again since."""

    fields: Mapping[str, Any]
    until_ns: int
    times: int = 0


class Happened(msgspec.Struct, frozen=True):
    """For a list: what became of an alert."""

    at_ms: int
    event: str
    text: str
    outcome: str  # told | again | silenced


class Alerts(Collector):
    """A listener. `lately` is what happened in this process."""

    def __init__(self, config: Config, world: World, settings: Settings) -> None:
        self._every_ns = round(config.every * 1e9)
        self._world = world
        self._settings = settings
        self.lines = [Line(Webhook(one, world), one.events, one.deadline_s, world) for one in config.webhooks]
        self.lines += [Line(Mail(one), one.events, one.deadline_s, world) for one in config.emails]
        self._wanted = frozenset(name for line in self.lines for name in line.events)
        self._told: OrderedDict[tuple[str, ...], Again] = OrderedDict()
        self._open: OrderedDict[tuple[str, ...], None] = OrderedDict()  # told, and not over
        self.lately: deque[Happened] = deque(maxlen=LATELY)
        self.silenced = self.again = 0

    def call_began(self, call: Call) -> None:
        """Nobody is told of calls."""

    def call_ended(self, call: Call, row: Closed | None) -> None: ...

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        ended = ENDS.get(name)
        if ended is not None and ended in self._wanted:
            self._over(ended, fields)
        if name in self._wanted:
            self._happened(name, fields)

    def _happened(self, name: str, fields: Mapping[str, Any]) -> None:
        if self.silence(name) is not None:
            self.silenced += 1
            self._list(name, fields, "silenced")
            return
        self.sweep()
        same = whom(name, fields)
        known = self._told.get(same)
        if known is not None:
            known.times += 1
            known.fields = fields
            self.again += 1
            self._list(name, fields, "again")
            return
        self._open[same] = None
        if len(self._open) > MANY:
            self._open.popitem(last=False)
        if self._every_ns > 0:
            self._told[same] = Again(fields, self._world.clock.now_ns() + self._every_ns)
            if len(self._told) > MANY:
                self._told.popitem(last=False)
        self._tell(name, fields)

    def sweep(self) -> None:
        """Tell how often something happened since it was told, once in `every`, until it did not."""
        now_ns = self._world.clock.now_ns()
        for same, again in list(self._told.items()):
            if again.until_ns > now_ns:
                continue
            if not again.times or self.silence(same[0]) is not None:
                del self._told[same]
                continue
            times, again.times, again.until_ns = again.times, 0, now_ns + self._every_ns
            self._tell(same[0], again.fields, times=times)

    def _over(self, name: str, fields: Mapping[str, Any]) -> None:
        """Told to whoever was told that it began, and only then."""
        same = whom(name, fields)
        self._told.pop(same, None)
        if same in self._open:
            del self._open[same]
            if self.silence(name) is None:
                self._tell(name, fields, state="resolved")

    def _tell(self, name: str, fields: Mapping[str, Any], *, state: Any = "fired", times: int = 1) -> None:
        told = self._made(name, fields, state, times)
        self.lately.appendleft(Happened(told.at_ms, name, told.text, "told"))
        for line in self.lines:
            if name in line.events:
                line.take(told)

    def _made(self, name: str, fields: Mapping[str, Any], state: Any, times: int) -> Told:
        id, at_ms = f"alert_{self._world.chance.hex()}", self._world.clock.wall_ns() // 1_000_000
        return Told(id, name, at_ms, sentence(name, fields, state, times), dict(fields), state, times)

    def _list(self, name: str, fields: Mapping[str, Any], outcome: str) -> None:
        at_ms = self._world.clock.wall_ns() // 1_000_000
        self.lately.appendleft(Happened(at_ms, name, sentence(name, fields, "fired", 1), outcome))

    # --- what administrators do

    def silence(self, name: str) -> Setting | None:
        """Why this alert is told to nobody."""
        return self._settings.get(SILENCE + name) or self._settings.get(SILENCE + ALL)

    async def test(self, by: str) -> dict[str, str | None]:
        """Tell everybody that this is a test: by receiver, why it was not taken. Raises NotFound: there is nobody."""
        if not self.lines:
            raise NotFound("nobody is told of alerts: set alerts.webhooks or alerts.emails")
        told = self._made(TEST, {"by": by, "what_to_do": "nothing"}, "fired", 1)
        answers = await asyncio.gather(*(line.tell(told) for line in self.lines))
        return dict(zip([line.name for line in self.lines], answers, strict=True))

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily("tidegate_alerts", "Alerts by what became of them", labels=["outcome"])
        family.add_metric(["sent"], sum(line.sent for line in self.lines))
        family.add_metric(["dropped"], self.dropped)
        family.add_metric(["again"], self.again)
        family.add_metric(["silenced"], self.silenced)
        yield family

    @property
    def dropped(self) -> int:
        return sum(line.dropped for line in self.lines)

    async def aclose(self) -> None:
        """What still waits has a moment."""
        await asyncio.gather(*(line.aclose() for line in self.lines))
