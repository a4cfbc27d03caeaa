"""Who is sent traces? OpenTelemetry's spans of calls, made of their rows, in the background.

No call waits for it: a row is put in a queue that is bounded, and a thread makes spans of many at once. What does not
fit, or finds nobody in time, is dropped and counted. A call that failed or was slow is kept whatever the share is.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.core.call import Call
from tidegate.core.ports import Body, Closed, Codecs, Headers, Timeouts
from tidegate.core.posting import posted
from tidegate.core.trace import may_be_told, trace_of
from tidegate.core.values import Duration, Secret, Share
from tidegate.core.world import World
from tidegate.telemetry.delivery import Delivery
from tidegate.telemetry.traces.content import content_of
from tidegate.telemetry.traces.otlp import CONTENT_TYPE, export
from tidegate.telemetry.traces.spans import NOTHING, Evaluated, Span, inferred, priced, span_of, spans_of

Preset = Literal["otlp", "langfuse", "langsmith", "phoenix", "mlflow"]

WAITING = 10_000  # calls for one receiver
AT_ONCE = 500
LOOK_S = 1.0  # so long calls are gathered
TIMEOUTS = Timeouts(connect=5, first_byte=10, idle=5, total=20)
LONGEST_WAIT_S = 30.0
TRIES = 6
CONTENT_WAIT_S = 60.0  # a client that reads slowly hears the end long after the call's row is there
MOST_WORDS = 32 * 1024 * 1024  # bytes of what was said that wait for one receiver; older calls are told without
EARLY = 32
SAYING = ("ok", "cut_off", "client_left")
MENDED_BY_TIME = (408, 429, 502, 503, 504)
WELL = ("ok", "client_left")
# Where each takes traces: its address when none is configured, and the path behind an address without one.
PLACES: dict[str, tuple[str, str]] = {
    "otlp": ("", "/v1/traces"),
    "langfuse": ("https://cloud.langfuse.com", "/api/public/otel/v1/traces"),
    "langsmith": ("https://api.smith.langchain.com", "/otel/v1/traces"),
    "phoenix": ("http://127.0.0.1:6006", "/v1/traces"),
    "mlflow": ("http://127.0.0.1:5000", "/v1/traces"),
}


class Receiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who takes traces by OTLP over HTTP.

    preset: `otlp` is anybody; `langfuse`, `langsmith`, `phoenix` and `mlflow` have their paths, headers and names set.
    url: where; a path is added where there is none. Only `otlp` needs it.
    key: best as env:NAME. Of Langfuse PUBLIC:SECRET; of LangSmith its key; of others a bearer token.
    project: of LangSmith and Phoenix its name, of MLflow the number of its experiment.
    headers: sent with each request.
    """

    preset: Preset = "otlp"
    url: str | None = None
    key: Secret | None = None
    project: str | None = None
    headers: dict[str, Secret] = {}

    @property
    def address(self) -> str:
        default, path = PLACES[self.preset]
        url = (self.url or default).rstrip("/")
        return url if urlsplit(url).path else url + path


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Spans of calls, for tools that show them. What questions and answers said is in those of routes whose
    `store.traces` says so, and in no other.

    to: who is sent them; with none, there are no traces.
    share: of the calls that neither failed nor were slow; whichever are taken, they are the same in all processes.
    slow: calls that take longer are kept, and so are those that failed.
    """

    to: tuple[Receiver, ...] = ()
    share: Share = Share(1.0)
    slow: Duration = Duration(10)


def trouble(config: Config) -> tuple[str, str] | None:
    """What cannot be, and where."""
    for at, receiver in enumerate(config.to):
        where = f"to[{at}]"
        parts = None
        with suppress(ValueError):
            parts = urlsplit(receiver.address)
            parts = parts if parts.port != 0 else None
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            return f"{where}.url", "must be like https://HOST/PATH"
        if receiver.preset == "langfuse" and (receiver.key is None or ":" not in receiver.key.value):
            return f"{where}.key", "must be PUBLIC:SECRET, the two keys of a project of Langfuse"
        if receiver.preset == "langsmith" and receiver.key is None:
            return f"{where}.key", "is needed: a key of LangSmith"
    return None


def headers_of(receiver: Receiver) -> Headers:
    """Besides those of the body."""
    found: list[tuple[bytes, bytes]] = []
    key = receiver.key.value if receiver.key is not None else ""
    if receiver.preset == "langfuse":
        found.append((b"authorization", b"Basic " + base64.b64encode(key.encode())))
        found.append((b"x-langfuse-ingestion-version", b"4"))
    elif receiver.preset == "langsmith":
        found.append((b"x-api-key", key.encode()))
        if receiver.project:
            found.append((b"langsmith-project", receiver.project.encode()))
    elif key:
        found.append((b"authorization", b"Bearer " + key.encode()))
    if receiver.preset == "mlflow":
        found.append((b"x-mlflow-experiment-id", (receiver.project or "0").encode()))
    return [*found, *((name.lower().encode(), value.value.encode()) for name, value in receiver.headers.items())]


def taken(row: Closed, config: Config) -> bool:
    """Whether a call is traced; the same in every process that sees its trace."""
    if row.outcome not in WELL or row.duration_us >= config.slow * 1e6:
        return True
    return in_share(row.trace_id or trace_of(row.id), config)


def in_share(trace_id: str, config: Config) -> bool:
    return config.share >= 1 or int(trace_id[-14:], 16) < config.share * 16**14


class Step(msgspec.Struct):
    """A call that is to be told. What was said in it comes a moment after its row, or before it."""

    row: Closed | Evaluated
    said: Body | None = None
    until_ns: int = 0  # it is waited for


class Traces(Collector):
    """A listener; each receiver has a task that sends."""

    def __init__(self, config: Config, world: World, codecs: Codecs) -> None:
        self._config = config
        self._world = world
        self._lines = [Line(receiver, world, codecs) for receiver in config.to]
        self._unreadable = 0  # traceparents
        self._with_content: frozenset[str] = frozenset()  # routes
        self._awaited: OrderedDict[str, Step] = OrderedDict()
        self._early: OrderedDict[str, Body] = OrderedDict()  # of calls whose row is still to come

    def expect(self, routes: Iterable[str]) -> None:
        """Whose calls are told with what was said in them."""
        self._with_content = frozenset(routes)

    def call_began(self, call: Call) -> None:
        """There is nothing to tell yet."""

    def call_ended(self, call: Call, row: Closed | None) -> None:
        if row is None:
            return
        if row.trace_id is None and b"traceparent" in call.named:
            self._unreadable += 1
        early = self._early.pop(row.id, None) if self._early else None
        if not taken(row, self._config):
            return
        step = Step(row, early)
        if early is None and row.route in self._with_content and row.outcome in SAYING and may_be_told(call.named):
            step.until_ns = self._world.clock.now_ns() + round(CONTENT_WAIT_S * 1e9)
            self._awaited[row.id] = step
            if len(self._awaited) > WAITING:
                self._awaited.popitem(last=False)
        for line in self._lines:
            line.take(step)

    def said(self, body: Body) -> None:
        """What was asked and answered in a call, as guards let it pass."""
        step = self._awaited.pop(body.id, None)
        if step is not None:
            step.said, step.until_ns = body, 0
            return
        self._early[body.id] = body
        if len(self._early) > EARLY:
            self._early.popitem(last=False)

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        """Only what is said of a call."""
        if name == "evaluation" and fields.get("criterion") and in_share(str(fields["trace_id"]), self._config):
            for line in self._lines:
                line.take(Step(Evaluated(self._world.clock.wall_ns(), fields)))

    def collect(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "tidegate_traces", "Traces of calls, by what became of them", labels=["receiver", "outcome"]
        )
        for line in self._lines:
            for outcome, count in (("sent", line.sent), ("dropped", line.dropped)):
                calls.add_metric([line.name, outcome], count)
        yield calls
        yield CounterMetricFamily(
            "tidegate_traceparents_unreadable", "Calls whose traceparent said nothing", self._unreadable
        )

    @property
    def dropped(self) -> int:
        return sum(line.dropped for line in self._lines)

    async def aclose(self) -> None:
        """What still waits has a moment."""
        await asyncio.gather(*(line.aclose() for line in self._lines))


class Line:
    """What waits for one receiver, and the task that sends it."""

    def __init__(self, receiver: Receiver, world: World, codecs: Codecs) -> None:
        self.sent = self.dropped = 0
        self.name = f"{receiver.preset} {urlsplit(receiver.address).hostname}"
        self._receiver = receiver
        self._world = world
        self._codecs = codecs
        self._steps: list[Step] = []
        self._failing = False  # and said so
        self._headers = [
            (b"content-type", CONTENT_TYPE),
            (b"content-encoding", b"gzip"),
            (b"user-agent", b"tidegate"),
            *headers_of(receiver),
        ]
        self._delivery = Delivery(world, self._run, "traces", LONGEST_WAIT_S)

    def take(self, step: Step) -> None:
        if len(self._steps) < WAITING:
            self._steps.append(step)
        else:
            self._drop(1, f"{WAITING} calls wait already")

    async def _run(self) -> None:
        while not self._delivery.ends or self._steps:
            steps = self._ready()
            await self._delivery.pause(LOOK_S if len(steps) < AT_ONCE else 0)
            if steps := self._ready():
                sent = set(map(id, steps))
                self._steps = [one for one in self._steps if id(one) not in sent]
                body = await asyncio.to_thread(encoded, steps, self._receiver, self._codecs)
                await self._deliver(body, len(steps))

    def _ready(self) -> list[Step]:
        """The oldest, but for those whose words are still to come."""
        now_ns = 2**63 if self._delivery.ends else self._world.clock.now_ns()
        self._trim()
        return list(islice((step for step in self._steps if step.until_ns <= now_ns), AT_ONCE))

    def _trim(self) -> None:
        """Of words only so many wait; the newest calls keep theirs."""
        room = MOST_WORDS
        for step in reversed(self._steps):
            room -= words(step)
            if room < 0:
                step.said = None

    async def _deliver(self, body: bytes, calls: int) -> None:
        transport, address = self._world.transport, self._receiver.address
        why = await self._delivery.deliver(
            lambda: posted(transport, address, self._headers, body, TIMEOUTS, mended=MENDED_BY_TIME, pages=False),
            lambda tries: tries < TRIES,
        )
        if why is not None:
            self._drop(calls, why)
            return
        self.sent += calls
        self._failing = False

    def _drop(self, calls: int, why: str) -> None:
        self.dropped += calls
        if not self._failing:  # once, until something arrives
            self._failing = True
            self._world.events.notice("traces_dropped", {"receiver": self.name, "why": why})

    async def aclose(self) -> None:
        await self._delivery.aclose()
        self.dropped += len(self._steps)


def words(step: Step) -> int:
    """Bytes of what was said."""
    return 0 if step.said is None else len(step.said.request or b"") + len(step.said.reply or b"")


def encoded(steps: Sequence[Step], receiver: Receiver, codecs: Codecs) -> bytes:
    """In a thread: half a millisecond for ten calls."""
    spans: list[Span] = []
    for step in steps:
        if isinstance(step.row, Evaluated):
            spans.append(span_of(step.row))
            continue
        said = content_of(codecs, step.row.operation, step.said) if step.said is not None else NOTHING
        spans += spans_of(step.row, said)
    resource: dict[str, str] = {}
    if receiver.preset == "phoenix":
        spans = [inferred(span) for span in spans]
        resource = {"openinference.project.name": receiver.project or "tidegate"}
    elif receiver.preset == "mlflow":
        spans = [priced(span) for span in spans]
    return gzip.compress(export(spans, resource), 1)
