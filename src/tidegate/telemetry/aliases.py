"""What would a dashboard that was made for LiteLLM ask for? The same counts again, under its names.

Labels are those that we know and that are bounded; a label that is not there is an empty one to Prometheus. There are
never users, keys or addresses among them. docs/guides/monitoring.md says what each is here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.core.call import Call
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.ports import AttemptRow, Closed, TargetSeen
from tidegate.core.shares import Share, What
from tidegate.telemetry.metrics import MAX_LABELS, STATES, Buckets

# The bounds of their histograms: what a dashboard draws is read from these.
SECONDS = (
    *(0.005, 0.00625, 0.0125, 0.025, 0.05, 0.1),
    *(at / 2 for at in range(1, 21)),
    *(15.0, 20.0, 25.0, 30.0, 60.0, 120.0, 180.0, 240.0, 300.0),
)
MAX_SERIES = 1_000  # of labels that occur together; the rest are one
OTHER = "other"
ASKED = ("requested_model", "team", "team_alias")
ANSWERED = ("model", *ASKED)
ATTEMPTED = ("requested_model", "litellm_model_name", "api_provider", "team", "team_alias")
INPUT = ("input", "cached_read", "cached_write", "cached_write_1h", "audio_input")
Labels = tuple[str, ...]


class Counts:
    """A counter, by labels that are bounded."""

    def __init__(self, name: str, said: str, labels: Labels) -> None:
        self._words = (name, said, labels)
        self._counts: defaultdict[Labels, int] = defaultdict(int)

    def add(self, labels: Labels, number: int = 1) -> None:
        if labels not in self._counts and len(self._counts) >= MAX_SERIES:
            labels = (OTHER,) * len(labels)
        self._counts[labels] += number

    def metric(self, unit: float = 1) -> Metric:
        name, said, names = self._words
        family = CounterMetricFamily(name, said, labels=names)
        for labels, number in self._counts.items():
            family.add_metric(labels, number / unit)
        return family


class Times:
    """A histogram; far fewer of these, since each is thirty series."""

    def __init__(self, name: str, said: str, labels: Labels) -> None:
        self._words = (name, said, labels)
        self._buckets: dict[Labels, Buckets] = {}

    def observe(self, labels: Labels, seconds: float) -> None:
        buckets = self._buckets.get(labels)
        if buckets is None:
            if len(self._buckets) >= MAX_LABELS:
                labels = (OTHER,) * len(labels)
            buckets = self._buckets.setdefault(labels, Buckets(SECONDS))
        buckets.observe(seconds)

    def metric(self) -> Metric:
        name, said, names = self._words
        family = HistogramMetricFamily(name, said, labels=names)
        for labels, buckets in self._buckets.items():
            family.add_metric(labels, buckets.cumulative(), buckets.total)
        return family


class Aliases(Collector):
    """A listener; only where metrics.litellm_names says so."""

    def __init__(
        self,
        targets: Callable[[], Iterable[TargetSeen]],
        budgets: Callable[[], Iterable[tuple[What, Share, int]]],
        now_ms: Callable[[], int],
    ) -> None:
        self._targets = targets
        self._budgets = budgets
        self._now_ms = now_ms
        self._in_flight = 0
        self._teams: dict[str, str] = {}  # how they are called
        self._total = Counts("litellm_proxy_total_requests_metric", "Requests of clients", (*ASKED, "status_code"))
        self._failed = Counts(
            "litellm_proxy_failed_requests_metric", "Failed ones", (*ASKED, "exception_status", "exception_class")
        )
        self._requests = Counts("litellm_requests_metric", "Requests, by model", ("model", *ASKED[1:]))
        self._spend = Counts("litellm_spend_metric", "Dollars spent", ("model", *ASKED[1:]))
        self._tokens = Counts("litellm_total_tokens_metric", "Tokens in and out", ANSWERED)
        self._input = Counts("litellm_input_tokens_metric", "Tokens in", ANSWERED)
        self._output = Counts("litellm_output_tokens_metric", "Tokens out", ANSWERED)
        self._cached = Counts("litellm_input_cached_tokens_metric", "Tokens that a provider had cached", ANSWERED)
        self._reasoned = Counts("litellm_output_reasoning_tokens_metric", "Tokens of reasoning", ANSWERED)
        self._whole = Times("litellm_request_total_latency_metric", "From first to last byte", ANSWERED)
        self._theirs = Times("litellm_llm_api_latency_metric", "Of the attempt that answered", ANSWERED)
        self._first = Times("litellm_llm_api_time_to_first_token_metric", "Of streams", ANSWERED)
        group = ("model_group", "litellm_model_name", "api_provider")
        self._ours = Times("litellm_overhead_latency_metric", "Not spent waiting", group)
        self._tried = Counts("litellm_deployment_total_requests", "Requests to providers", ATTEMPTED)
        self._well = Counts("litellm_deployment_success_responses", "Good answers of providers", ATTEMPTED)
        self._badly = Counts(
            "litellm_deployment_failure_responses",
            "Bad answers of providers",
            (*ATTEMPTED, "exception_status", "exception_class"),
        )

    def call_began(self, call: Call) -> None:
        self._in_flight += 1

    def call_ended(self, call: Call, row: Closed | None) -> None:
        self._in_flight -= 1
        route = call.route.name if call.route is not None else ""
        team = row.team_id or "" if row is not None else ""
        asked = (route, team, self._called(call, team))
        status = str(call.status or 0)
        self._total.add((*asked, status))
        if call.error is not None:
            self._failed.add((*asked, status, call.error.code))
        if row is not None:
            self._count(row, asked)

    def _called(self, call: Call, team: str) -> str:
        if team and team not in self._teams and call.principal is not None and len(self._teams) < MAX_SERIES:
            names = [level.name for level in call.principal.levels if level.kind == "team"]
            self._teams[team] = names[0] if names else team
        return self._teams.get(team, team)

    def _count(self, row: Closed, asked: Labels) -> None:
        for attempt in row.attempts:
            self._attempted(attempt, asked)
        provider, _, model = (row.target or "").partition("/")
        answered, usage = (model, *asked), row.usage
        heard = sum([usage.get(kind, 0) for kind in INPUT])
        written = sum(usage.values()) - heard
        self._requests.add((model, *asked[1:]))
        self._whole.observe(answered, row.duration_us / 1e6)
        if row.target is not None:
            self._ours.observe((asked[0], model, provider), row.overhead_us / 1e6)
        for counts, number in (
            (self._input, heard),
            (self._output, written),
            (self._tokens, heard + written),
            (self._cached, usage.get("cached_read", 0)),
            (self._reasoned, usage.get("reasoning", 0)),
        ):
            if number:
                counts.add(answered, number)
        if row.cost_nusd:
            self._spend.add((model, *asked[1:]), row.cost_nusd)
        if row.stream and row.first_us is not None and row.attempts:
            self._first.observe(answered, (row.first_us - row.attempts[-1].sent_us) / 1e6)

    def _attempted(self, attempt: AttemptRow, asked: Labels) -> None:
        labels = (asked[0], attempt.model, attempt.provider, *asked[1:])
        self._tried.add(labels)
        if attempt.outcome == "ok":
            self._well.add(labels)
            self._theirs.observe((attempt.model, *asked), (attempt.ended_us - attempt.sent_us) / 1e6)
        elif attempt.outcome != "abandoned":
            self._badly.add((*labels, str(attempt.status or ""), attempt.outcome))

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        """Theirs has no such thing."""

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("litellm_in_flight_requests", "Calls that have begun and not ended", self._in_flight)
        yield self._spend.metric(NUSD_PER_USD)
        for counts in (
            *(self._total, self._failed, self._requests, self._tokens, self._input, self._output, self._cached),
            *(self._reasoned, self._tried, self._well, self._badly),
        ):
            yield counts.metric()
        for times in (self._whole, self._theirs, self._first, self._ours):
            yield times.metric()
        state = GaugeMetricFamily(
            "litellm_deployment_state", "0 healthy, 1 tried, 2 set aside", labels=["litellm_model_name", "api_provider"]
        )
        for one in islice(self._targets(), MAX_LABELS):
            provider, _, model = one.target.partition("/")
            state.add_metric([model, provider], STATES[one.state])
        yield state
        yield from self._money()

    def _money(self) -> Iterator[Metric]:
        """Of teams with a budget of which something was asked; of several budgets, the one that is fullest."""
        names = ["team", "team_alias"]
        left = GaugeMetricFamily("litellm_remaining_team_budget_metric", "Dollars", labels=names)
        most = GaugeMetricFamily("litellm_team_max_budget_metric", "Dollars", labels=names)
        hours = GaugeMetricFamily("litellm_team_budget_remaining_hours_metric", "Until it begins anew", labels=names)
        fullest: dict[str, tuple[What, Share, int]] = {}
        for what, share, used in self._budgets():
            before = fullest.get(what.id)
            if what.whose == "team" and (before is None or before[2] / before[1].most < used / share.most):
                fullest[what.id] = (what, share, used)
        for what, share, used in fullest.values():
            labels = [what.id, what.name or what.id]
            left.add_metric(labels, (share.most - used) / NUSD_PER_USD)
            most.add_metric(labels, share.most / NUSD_PER_USD)
            if share.ends_ms is not None:
                hours.add_metric(labels, max(share.ends_ms - self._now_ms(), 0) / 3_600_000)
        yield from (left, most, hours)
