"""How far are experiments, and what was decided? For Prometheus; asked whenever somebody looks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.core.call import Call
from tidegate.core.ports import Closed

MOST = 50  # experiments that have series
TOLD = "experiment_"  # before the word of a decision, in the name of its notice

Stages = Callable[[], Iterable[tuple[str, str, int]]]  # name, state, stage
Units = Callable[[], Mapping[str, Mapping[str, int]]]  # by name and arm


class Trials(Collector):
    """A listener too: a decision is told by the process that made it, and so it is counted once."""

    def __init__(self, stages: Stages, units: Units) -> None:
        self._stages = stages
        self._units = units
        self._decisions: defaultdict[str, int] = defaultdict(int)

    def call_began(self, call: Call) -> None:
        """Calls are not counted here."""

    def call_ended(self, call: Call, row: Closed | None) -> None: ...

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        if name.startswith(TOLD):
            self._decisions[name.removeprefix(TOLD)] += 1

    def collect(self) -> Iterator[Metric]:
        stages = GaugeMetricFamily(
            "tidegate_experiment_stage", "Stage of the ramp, from 1", labels=["experiment", "state"]
        )
        for name, state, stage in islice(self._stages(), MOST):
            stages.add_metric([name, state], stage + 1)
        units = GaugeMetricFamily(
            "tidegate_experiment_units",
            "Units that have an arm, as they were counted here last",
            labels=["experiment", "arm"],
        )
        for name, arms in islice(self._units().items(), MOST):
            for arm, count in arms.items():
                units.add_metric([name, arm], count)
        decisions = CounterMetricFamily(
            "tidegate_experiment_decisions", "Decisions that were made here", labels=["did"]
        )
        for did, count in self._decisions.items():
            decisions.add_metric([did], count)
        yield from (stages, units, decisions)
