"""How many, how long, how much? Counters and histograms for Prometheus, with bounded labels.

Every call is counted in plain numbers, by the event loop alone. A series of prometheus_client takes a lock for each
step, and with ten of them that was a fifth of what a call costs; so its families are made when somebody asks for them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate, islice
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, disable_created_metrics, generate_latest
from prometheus_client.core import Exemplar
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics
from prometheus_client.registry import Collector

from tidegate.core.call import Call
from tidegate.core.experiments import Assigned, name_of
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.opinions import GOOD
from tidegate.core.ports import Closed, TargetSeen
from tidegate.core.trace import trace_of
from tidegate.telemetry.together import Together

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
MAX_LABELS = 100  # values per label; clients choose model names, and a series is for ever
MOST = 2**63  # a provider may report any usage, and a page must hold it
AT_ONCE = 100  # rows: a hundred together take half of what each by itself does
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
EACH = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
STATES = {"closed": 0, "half_open": 1, "open": 2}
A_SECOND = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
OVERHEAD = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is counted for Prometheus, at /metrics, besides what always is.

    litellm_names: the same again under the names of LiteLLM's metrics, for dashboards that were made for it.
    """

    litellm_names: bool = False


class Buckets:
    """How many were at most so large, and what all of them sum to; of each bucket, the trace of the last."""

    __slots__ = ("_bounds", "_counts", "_last", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._last: dict[int, tuple[Closed, float]] = {}
        self.total = 0.0

    def observe(self, value: float, row: Closed | None = None) -> None:
        at = bisect_left(self._bounds, value)
        self._counts[at] += 1
        self.total += value
        if row is not None:
            self._last[at] = (row, value)

    def __bool__(self) -> bool:
        return any(self._counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """As Prometheus has them: each bound with all that is below it."""
        return list(zip((*map(str, self._bounds), "+Inf"), accumulate(self._counts), strict=True))

    def with_exemplars(self) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
        """The same, with a call to look at for each bucket that has one."""
        found: list[tuple[str, float] | tuple[str, float, Exemplar]] = [*self.cumulative()]
        for at, (row, value) in self._last.items():
            trace = {"trace_id": row.trace_id or trace_of(row.id)}
            found[at] = (*found[at][:2], Exemplar(trace, value, (row.at_ms * 1000 + row.duration_us) / 1e6))
        return found


class RouteCount:
    """What is counted of one route."""

    __slots__ = (
        "cost_nusd", "duration", "each", "ended", "first", "kept_nusd", "pace", "saved_nusd", "shrunk", "tiers",
        "tokens", "without_tiers_nusd",
    )  # fmt: skip

    def __init__(self) -> None:
        self.ended: defaultdict[tuple[str, str, int], int] = defaultdict(int)  # (operation, outcome, status) → calls
        self.duration = Buckets(SECONDS)
        self.first = Buckets(SECONDS)
        self.each = Buckets(EACH)
        self.pace = Buckets(A_SECOND)
        self.tokens: defaultdict[str, int] = defaultdict(int)
        self.cost_nusd = 0
        self.saved_nusd = 0
        self.shrunk = [0, 0]  # tokens before and after
        self.kept_nusd = 0  # saved by what providers kept
        self.tiers: defaultdict[str, int] = defaultdict(int)  # calls that began at each
        self.without_tiers_nusd = 0  # what the dearest tier would have cost more, by the prices of both


class Metrics(Collector):
    def __init__(self) -> None:
        disable_created_metrics()  # a second series for each, which nobody asks for
        self.together: Together | None = None  # where this is one of several workers
        self.registry = registry = CollectorRegistry()
        registry.register(self)
        self._names: set[str] = set()
        self._in_flight = 0
        self._routes: defaultdict[str, RouteCount] = defaultdict(RouteCount)
        self._overhead = Buckets(OVERHEAD)
        self._attempts: defaultdict[tuple[str, str], int] = defaultdict(int)  # (provider, outcome)
        self._again: defaultdict[tuple[str, str], int] = defaultdict(int)  # (provider, why)
        self._guards: defaultdict[tuple[str, str, str], int] = defaultdict(int)  # (guard, direction, verdict)
        self._arms: defaultdict[tuple[str, str], int] = defaultdict(int)  # (experiment, arm)
        self._unpriced = 0
        self._rows: list[Closed] = []  # that are not counted yet
        self._cache: defaultdict[tuple[str, str], int] = defaultdict(int)  # (layer, result)
        self._errors: defaultdict[str, int] = defaultdict(int)  # by code
        self._refusals: defaultdict[tuple[str, str], int] = defaultdict(int)  # (whose limit, of what)
        self.rows_lost = 0
        self._opinions: defaultdict[tuple[str, str], int] = defaultdict(int)  # (source, good | bad | none)
        self._judgments: defaultdict[tuple[str, str, str], int] = defaultdict(int)  # (route, criterion, outcome)
        self._scores: dict[tuple[str, str], Buckets] = {}  # (route, criterion)
        self._notices = Counter("tidegate_notices", "What an operator should know of", ["name"], registry=registry)

    def call_began(self, call: Call) -> None:
        self._in_flight += 1

    def call_ended(self, call: Call, row: Closed | None) -> None:
        self._in_flight -= 1
        if call.error is not None and call.error.limit is not None:
            self._refusals[call.error.limit] += 1
        if row is None:
            self._routes[""].ended[call.operation, "refused", call.status or 0] += 1
            if call.error is not None:
                self._errors[call.error.code] += 1
            return
        self._rows.append(row)
        if len(self._rows) >= AT_ONCE:
            self._count_all()

    def _count_all(self) -> None:
        rows, self._rows = self._rows, []
        for row in rows:
            self._count(row)

    def _count(self, row: Closed) -> None:
        count = self._routes[self._bounded(row.route or "")]
        count.ended[row.operation, row.outcome, row.status] += 1
        count.duration.observe(row.duration_us / 1e6, row)
        self._overhead.observe(row.overhead_us / 1e6)
        if row.first_us is not None:
            count.first.observe(row.first_us / 1e6, row)
            written = row.usage.get("output", 0) + row.usage.get("reasoning", 0) - 1
            if row.stream and written > 0:
                writing_s = (row.duration_us - row.first_us) / 1e6
                count.each.observe(writing_s / written)
                if writing_s:
                    count.pace.observe(written / writing_s)
        if row.error is not None:
            self._errors[row.error] += 1
        for attempt in row.attempts:
            self._attempts[attempt.provider, attempt.outcome] += 1
            if attempt.why != "first":
                self._again[attempt.provider, attempt.why] += 1
        for one in row.guards:
            self._guards[one.guard, one.direction, one.verdict] += 1
        for given in row.arms:
            if given.counted:
                self._arms[_arm(given, self._arms)] += 1
        for kind, tokens in row.usage.items():
            count.tokens[kind] += tokens
        if row.cache is not None:
            self._cache[row.cache_layer or "", row.cache] += 1
            count.saved_nusd += row.saved_nusd
        if row.shrunk is not None:
            count.shrunk[0] += row.shrunk.before
            count.shrunk[1] += row.shrunk.after
            count.kept_nusd += row.shrunk.kept_saved_nusd
        if row.cost_nusd is None:
            self._unpriced += 1
        else:
            count.cost_nusd += row.cost_nusd
        if row.chosen is not None:
            count.tiers[row.chosen.tier] += 1
            if row.cost_nusd and 0 < row.chosen.cost < 1 and len(row.attempts) == 1:
                count.without_tiers_nusd += round(row.cost_nusd * (1 / row.chosen.cost - 1))

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        self._notices.labels(name).inc()
        if name == "row_lost":
            self.rows_lost += 1
        if name == "feedback":
            score = fields.get("score")
            verdict = "none" if score is None or score == GOOD else "good" if score > GOOD else "bad"
            self._opinions[str(fields.get("source")), verdict] += 1
        elif name == "evaluation":
            self._judged(fields)

    def _judged(self, fields: Mapping[str, Any]) -> None:
        """Criteria are an operator's own words, and few."""
        route, criterion, score = self._bounded(str(fields["route"])), str(fields["criterion"]), fields.get("score")
        self._judgments[route, criterion, str(fields["outcome"])] += 1
        if score is not None:
            self._scores.setdefault((route, criterion), Buckets(TENTHS)).observe(score)

    def watch(self, seen: Callable[[], Iterable[TargetSeen]], keys_aside: Callable[[], Mapping[str, int]]) -> None:
        """Look at the targets whenever somebody asks: nothing is counted meanwhile."""
        self.registry.register(_Targets(seen, keys_aside))

    def page(self, *, exemplars: bool = False) -> bytes:
        """`exemplars`: as OpenMetrics, which has a place for them."""
        return open_metrics(self.registry) if exemplars else generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Everything that was counted, as the registry wants it."""
        self._count_all()
        yield GaugeMetricFamily("tidegate_calls_in_flight", "Calls that have begun and not ended", self._in_flight)
        yield from self._by_route()
        overhead = HistogramMetricFamily("tidegate_overhead_seconds", "Time not spent waiting for a provider")
        overhead.add_metric([], self._overhead.cumulative(), self._overhead.total)
        yield overhead
        attempts = CounterMetricFamily("tidegate_attempts", "Requests to providers", labels=["provider", "outcome"])
        for labels, tries in self._attempts.items():
            attempts.add_metric(labels, tries)
        again = CounterMetricFamily(
            "tidegate_attempts_again",
            "Requests to providers that were not the first of their call, by why they were made",
            labels=["provider", "why"],
        )
        for labels, tries in self._again.items():
            again.add_metric(labels, tries)
        yield from (attempts, again)
        yield from (self._verdicts(), self._trials())
        cache = CounterMetricFamily("tidegate_cache", "What the cache was asked, and did", labels=["layer", "result"])
        for layer_and_result, asked in self._cache.items():
            cache.add_metric(layer_and_result, asked)
        yield cache
        yield CounterMetricFamily("tidegate_unpriced_requests", "Calls whose cost is not known", self._unpriced)
        errors = CounterMetricFamily("tidegate_errors", "Calls that ended with an error, by its code", labels=["code"])
        for code, calls in self._errors.items():
            errors.add_metric([code], calls)
        opinions = CounterMetricFamily("tidegate_feedback", "What was said of answers", labels=["source", "verdict"])
        for source_and_verdict, said in self._opinions.items():
            opinions.add_metric(source_and_verdict, said)
        refusals = CounterMetricFamily(
            "tidegate_refusals", "Calls that a limit or a budget refused", labels=["whose", "of"]
        )
        for whose_and_of, calls in self._refusals.items():
            refusals.add_metric(whose_and_of, calls)
        yield from (errors, opinions, refusals, *self._evaluations())

    def _by_route(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "tidegate_requests", "Calls that ended", labels=["operation", "route", "outcome", "status"]
        )
        duration = HistogramMetricFamily(
            "tidegate_request_duration_seconds", "From first to last byte", labels=["route"]
        )
        first = HistogramMetricFamily(
            "tidegate_time_to_first_token_seconds", "Until there is content", labels=["route"]
        )
        each = HistogramMetricFamily(
            "tidegate_time_per_output_token_seconds", "Of streams, after the first content", labels=["route"]
        )
        pace = HistogramMetricFamily(
            "tidegate_output_tokens_per_second", "Of streams, after the first content", labels=["route"]
        )
        tokens = CounterMetricFamily("tidegate_tokens", "Tokens used", labels=["route", "kind"])
        cost = CounterMetricFamily("tidegate_cost_usd", "Dollars spent, where the price is known", labels=["route"])
        saved = CounterMetricFamily("tidegate_cache_saved_usd", "Dollars that answers cost before", labels=["route"])
        shrunk = CounterMetricFamily(
            "tidegate_shrunk_tokens", "Of prompts that were to be shorter, by estimate", labels=["route", "when"]
        )
        kept = GaugeMetricFamily(
            "tidegate_prompt_cache_saved_usd",
            "Dollars saved by what providers were told to keep; it falls while that is only written",
            labels=["route"],
        )
        tiers = CounterMetricFamily(
            "tidegate_tier_calls", "Calls by the tier that they began at", labels=["route", "tier"]
        )
        spared = CounterMetricFamily(
            "tidegate_tiers_saved_usd", "Dollars that the dearest tier would have cost more", labels=["route"]
        )
        for route, count in self._routes.items():
            for tier, calls in count.tiers.items():
                tiers.add_metric([route, tier], calls)
            if count.without_tiers_nusd:
                spared.add_metric([route], min(count.without_tiers_nusd, MOST) / NUSD_PER_USD)
            for (operation, outcome, status), calls in count.ended.items():
                requests.add_metric([operation, route, outcome, str(status)], calls)
            for family, buckets in (
                (duration, count.duration),
                (first, count.first),
                (each, count.each),
                (pace, count.pace),
            ):
                if buckets:
                    family.add_metric([route], buckets.with_exemplars(), buckets.total)
            for kind, number in count.tokens.items():
                tokens.add_metric([route, kind], min(number, MOST))
            if count.cost_nusd:
                cost.add_metric([route], min(count.cost_nusd, MOST) / NUSD_PER_USD)
            if count.saved_nusd:
                saved.add_metric([route], min(count.saved_nusd, MOST) / NUSD_PER_USD)
            if count.shrunk[0]:
                for when, number in zip(("before", "after"), count.shrunk, strict=True):
                    shrunk.add_metric([route, when], min(number, MOST))
            if count.kept_nusd:
                kept.add_metric([route], count.kept_nusd / NUSD_PER_USD)
        yield from (requests, duration, first, each, pace, tokens, cost, saved, shrunk, kept, tiers, spared)

    def _evaluations(self) -> Iterator[Metric]:
        judgments = CounterMetricFamily(
            "tidegate_eval_judgments", "Judgments of live answers", labels=["route", "criterion", "outcome"]
        )
        for labels, count in self._judgments.items():
            judgments.add_metric(labels, count)
        scores = HistogramMetricFamily(
            "tidegate_eval_score", "What judges make of live answers, 0 to 1", labels=["route", "criterion"]
        )
        for route_and_criterion, buckets in self._scores.items():
            scores.add_metric(route_and_criterion, buckets.cumulative(), buckets.total)
        yield from (judgments, scores)

    def _verdicts(self) -> Metric:
        verdicts = CounterMetricFamily(
            "tidegate_guard_verdicts", "What guards made of calls", labels=["guard", "direction", "verdict"]
        )
        for labels, calls in self._guards.items():
            verdicts.add_metric(labels, calls)
        return verdicts

    def _trials(self) -> Metric:
        trials = CounterMetricFamily(
            "tidegate_experiment_calls", "Calls that count for an experiment, by arm", labels=["experiment", "arm"]
        )
        for experiment_and_arm, calls in self._arms.items():
            trials.add_metric(experiment_and_arm, calls)
        return trials

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


def _arm(given: Assigned, known: Mapping[tuple[str, str], int]) -> tuple[str, str]:
    """Bounded: experiments come and go, and a series is for ever."""
    labels = (name_of(given.experiment), given.arm)
    return labels if labels in known or len(known) < MAX_LABELS else ("other", "other")


class _Targets(Collector):
    """How each target is doing at the moment of a scrape."""

    def __init__(self, seen: Callable[[], Iterable[TargetSeen]], keys_aside: Callable[[], Mapping[str, int]]) -> None:
        self._seen = seen
        self._keys_aside = keys_aside

    def collect(self) -> Iterator[Metric]:
        state = GaugeMetricFamily("tidegate_target_state", "0 asked, 1 being tried, 2 set aside", labels=["target"])
        busy = GaugeMetricFamily("tidegate_target_calls", "Calls under way", labels=["target"])
        waiting = GaugeMetricFamily("tidegate_target_waiting", "Calls that wait for room", labels=["target"])
        waits = CounterMetricFamily("tidegate_queue_waits", "Calls that waited for room", labels=["target"])
        waited = CounterMetricFamily("tidegate_queue_wait_seconds", "What they waited in all", labels=["target"])
        shed = CounterMetricFamily("tidegate_shed", "Calls that found no room at a target", labels=["target"])
        for one in islice(self._seen(), MAX_LABELS):  # the configured ones are known first
            state.add_metric([one.target], STATES[one.state])
            busy.add_metric([one.target], one.busy)
            waiting.add_metric([one.target], one.waiting)
            shed.add_metric([one.target], one.shed)
            waits.add_metric([one.target], one.waits)
            waited.add_metric([one.target], one.waited_s)
        aside = GaugeMetricFamily("tidegate_keys_aside", "Keys that were refused and rest", labels=["provider"])
        for provider, keys in self._keys_aside().items():
            aside.add_metric([provider], keys)
        yield from (state, busy, waiting, shed, waits, waited, aside)
