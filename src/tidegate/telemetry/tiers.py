"""How good are routes with tiers that learn, what has choosing saved, and are questions others now? For Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.core.tiers import Estimate, Figures

MOST = 50  # of routes and organisations that have series
WHOSE = ["route", "organisation"]


class Learning(Protocol):
    @property
    def figures(self) -> Sequence[Figures]: ...


class TierLines(Collector):
    """As they were found last: at most some seconds ago."""

    def __init__(self, of: Learning) -> None:
        self._of = of

    def collect(self) -> Iterator[Metric]:
        quality = _gauge("quality", "How good answers were that clients got, from 0 to 1", "source", "bound")
        regret = _gauge("regret", "How much better another tier was, where both were asked", "bound")
        overpaid = _gauge("overpaid_ratio", "Of those, where the cheaper would have been as good", "bound")
        saving = _gauge("saving_ratio", "Of what the dearest tier would have cost, since this process began")
        strange = _gauge("strange_ratio", "Of the last questions, those far from all that was learned from")
        labels = _gauge("labels", "Answers of which somebody has said how good they were")
        for one in islice(self._of.figures, MOST):
            whose = [one.route, one.organisation]
            labels.add_metric(whose, one.labels)
            for source, found in one.found.quality.items():
                _add(quality, [*whose, source], found)
            _add(regret, whose, one.found.regret)
            _add(overpaid, whose, one.found.overpaid)
            for family, value in ((saving, one.saving), (strange, one.strange)):
                if value is not None:
                    family.add_metric(whose, value)
        yield from (quality, regret, overpaid, saving, strange, labels)


def _gauge(name: str, said: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"tidegate_tiers_{name}", said, labels=[*WHOSE, *labels])


def _add(family: GaugeMetricFamily, labels: Sequence[str], one: Estimate | None) -> None:
    for bound, value in () if one is None else (("value", one.value), ("low", one.low), ("high", one.high)):
        family.add_metric([*labels, bound], value)
