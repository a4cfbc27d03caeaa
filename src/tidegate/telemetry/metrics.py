"""How many, how long, how much? Counters and histograms for Prometheus, with bounded labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from tidegate.core.call import Call
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.ports import Closed, TargetSeen

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
MAX_LABELS = 200  # values per label; clients choose model names, and a series is for ever
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
STATES = {"closed": 0, "half_open": 1, "open": 2}
OVERHEAD = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)


class Metrics:
    def __init__(self) -> None:
        disable_created_metrics()  # a second series for each, which nobody asks for
        self.registry = registry = CollectorRegistry()
        self._names: set[str] = set()
        self._children: dict[tuple[Any, ...], Any] = {}
        self._in_flight = Gauge("tidegate_calls_in_flight", "Calls that have begun and not ended", registry=registry)
        self._calls = Counter(
            "tidegate_requests", "Calls that ended", ["operation", "route", "outcome", "status"], registry=registry
        )
        self._duration = Histogram(
            "tidegate_request_duration_seconds",
            "From first to last byte",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._first = Histogram(
            "tidegate_time_to_first_token_seconds",
            "Until there is content",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._overhead = Histogram(
            "tidegate_overhead_seconds", "Time not spent waiting for a provider", buckets=OVERHEAD, registry=registry
        )
        self._attempts = Counter(
            "tidegate_attempts", "Requests to providers", ["provider", "outcome"], registry=registry
        )
        self._again = Counter(
            "tidegate_attempts_again",
            "Requests to providers that were not the first of their call, by why they were made",
            ["provider", "why"],
            registry=registry,
        )
        self._tokens = Counter("tidegate_tokens", "Tokens used", ["route", "kind"], registry=registry)
        self._cost = Counter(
            "tidegate_cost_usd", "Dollars spent, where the price is known", ["route"], registry=registry
        )
        self._unpriced = Counter("tidegate_unpriced_requests", "Calls whose cost is not known", registry=registry)
        self._notices = Counter("tidegate_notices", "What an operator should know of", ["name"], registry=registry)

    def call_began(self, call: Call) -> None:
        self._in_flight.inc()

    def call_ended(self, call: Call, row: Closed | None) -> None:
        self._in_flight.dec()
        if row is None:
            self._child(self._calls, call.operation, "", "refused", str(call.status)).inc()
            return
        route = self._bounded(row.route or "")
        self._child(self._calls, row.operation, route, row.outcome, str(row.status)).inc()
        self._child(self._duration, route).observe(row.duration_us / 1e6)
        self._overhead.observe(row.overhead_us / 1e6)
        if row.first_us is not None:
            self._child(self._first, route).observe(row.first_us / 1e6)
        for attempt in row.attempts:
            self._child(self._attempts, attempt.provider, attempt.outcome).inc()
            if attempt.why != "first":
                self._child(self._again, attempt.provider, attempt.why).inc()
        for kind, tokens in row.usage.items():
            self._child(self._tokens, route, kind).inc(tokens)
        if row.cost_nusd is None:
            self._unpriced.inc()
        elif row.cost_nusd:
            self._child(self._cost, route).inc(row.cost_nusd / NUSD_PER_USD)

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        self._child(self._notices, name).inc()

    def watch(self, seen: Callable[[], Iterable[TargetSeen]], keys_aside: Callable[[], Mapping[str, int]]) -> None:
        """Look at the targets whenever somebody asks: nothing is counted meanwhile."""
        self.registry.register(_Targets(seen, keys_aside))

    def page(self) -> bytes:
        return generate_latest(self.registry)

    def expect(self, names: Iterable[str]) -> None:
        """Routes that are configured have a series of their own, whatever else was asked for before."""
        self._names.update(names)

    def _bounded(self, name: str) -> str:
        if name in self._names:
            return name
        if len(self._names) >= MAX_LABELS:
            return "other"
        self._names.add(name)
        return name

    def _child(self, family: Any, *labels: str) -> Any:
        """The labelled series, looked up once: `.labels()` costs more than counting does."""
        child = self._children.get((family, labels))
        if child is None:
            child = self._children[(family, labels)] = family.labels(*labels)
        return child


class _Targets:
    """How each target is doing at the moment of a scrape."""

    def __init__(self, seen: Callable[[], Iterable[TargetSeen]], keys_aside: Callable[[], Mapping[str, int]]) -> None:
        self._seen = seen
        self._keys_aside = keys_aside

    def describe(self) -> Iterator[Metric]:
        yield from ()

    def collect(self) -> Iterator[Metric]:
        state = GaugeMetricFamily("tidegate_target_state", "0 asked, 1 being tried, 2 set aside", labels=["target"])
        busy = GaugeMetricFamily("tidegate_target_calls", "Calls under way", labels=["target"])
        waiting = GaugeMetricFamily("tidegate_target_waiting", "Calls that wait for room", labels=["target"])
        shed = CounterMetricFamily("tidegate_shed", "Calls that found no room at a target", labels=["target"])
        for one in islice(self._seen(), MAX_LABELS):  # the configured ones are known first
            state.add_metric([one.target], STATES[one.state])
            busy.add_metric([one.target], one.busy)
            waiting.add_metric([one.target], one.waiting)
            shed.add_metric([one.target], one.shed)
        aside = GaugeMetricFamily("tidegate_keys_aside", "Keys that were refused and rest", labels=["provider"])
        for provider, keys in self._keys_aside().items():
            aside.add_metric([provider], keys)
        yield from (state, busy, waiting, shed, aside)
