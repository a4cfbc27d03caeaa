"""How far are batches? Lines that ended here, that are under way and that wait, and for how long the oldest does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Worker(Protocol):
    pending: int

    @property
    def lines(self) -> Mapping[str, int]: ...

    @property
    def under_way(self) -> int: ...

    def lag_s(self) -> float: ...


class BatchLines(Collector):
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        ended = CounterMetricFamily("tidegate_batch_lines", "Lines of batches asked here", labels=["outcome"])
        for outcome in ("done", "failed", "again"):
            ended.add_metric([outcome], self._worker.lines.get(outcome, 0))
        yield ended
        now = GaugeMetricFamily(
            "tidegate_batch_lines_open", "Lines under way here, and all that wait", labels=["state"]
        )
        now.add_metric(["under_way"], self._worker.under_way)
        now.add_metric(["waiting"], self._worker.pending)
        yield now
        yield GaugeMetricFamily(
            "tidegate_batch_lag_seconds", "Since the oldest batch that has not ended was made", self._worker.lag_s()
        )
