"""Is in all processes what must be the same everywhere? As this one heard of the others last."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Alike(Collector):
    def __init__(self, must: Sequence[str], differs: Callable[[], Collection[str]]) -> None:
        """`must`: all that must be alike."""
        self._must = must
        self._differs = differs

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "tidegate_processes_differ", "1 where it is not the same in all processes", labels=["what"]
        )
        differs = self._differs()
        for what in self._must:
            family.add_metric([what], float(what in differs))
        yield family
