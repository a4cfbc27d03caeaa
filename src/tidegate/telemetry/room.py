"""How much room is left, and what had none? Shares of limits and budgets, and events that were dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.core.shares import Share, What

Used = Callable[[], Iterable[tuple[What, Share, int]]]


class Room(Collector):
    """Asked whenever somebody looks; nothing is counted here."""

    def __init__(self, limits: Used, budgets: Used, dropped: Mapping[str, Callable[[], int]]) -> None:
        """`dropped`: by class of events. Of the ledger's none may ever be."""
        self._limits = limits
        self._budgets = budgets
        self._dropped = dropped

    def collect(self) -> Iterator[Metric]:
        yield self._shares("tidegate_limit_used_ratio", "Share of a limit that is used", "of", self._limits())
        yield self._shares("tidegate_budget_used_ratio", "Share of a budget that is used", "per", self._budgets())
        dropped = CounterMetricFamily("tidegate_events_dropped", "Events that were told to nobody", labels=["class"])
        for name, count in self._dropped.items():
            dropped.add_metric([name], count())
        yield dropped

    def _shares(self, name: str, said: str, of: str, used: Iterable[tuple[What, Share, int]]) -> Metric:
        family = GaugeMetricFamily(name, said, labels=["whose", "name", of])
        found: dict[tuple[str, str, str], float] = {}
        for what, share, now in used:
            at = (what.whose, what.name or what.id, what.of)  # of two of one name, the fuller
            found[at] = max(found.get(at, 0.0), now / share.most)
        for labels, ratio in found.items():
            family.add_metric(labels, ratio)
        return family
