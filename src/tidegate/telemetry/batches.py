"""How far are batches? Lines that ended here, that are under way and that wait, and for how long the oldest does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Courier(Protocol):
    away: int

    @property
    def lines(self) -> Mapping[str, int]: ...


class Worker(Protocol):
    pending: int

    @property
    def lines(self) -> Mapping[str, int]: ...

    @property
    def under_way(self) -> int: ...

    @property
    def courier(self) -> Courier: ...

    def lag_s(self) -> float: ...


class BatchLines(Collector):
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        ended = CounterMetricFamily("tidegate_batch_lines", "Lines of batches asked here", labels=["outcome"])
        for outcome in ("done", "failed", "again"):
            ended.add_metric([outcome], self._worker.lines.get(outcome, 0))
        yield ended
        moved = CounterMetricFamily(
            "tidegate_batch_lines_delegated", "Lines and a provider's own batches", labels=["step"]
        )
        for step in ("handed_over", "brought_back", "came_home"):
            moved.add_metric([step], self._worker.courier.lines.get(step, 0))
        yield moved
        now = GaugeMetricFamily(
            "tidegate_batch_lines_open", "Lines under way here, all that wait or are with a provider", labels=["state"]
        )
        now.add_metric(["under_way"], self._worker.under_way)
        now.add_metric(["waiting"], self._worker.pending)
        now.add_metric(["away"], self._worker.courier.away)
        yield now
        yield GaugeMetricFamily(
            "tidegate_batch_lag_seconds", "Since the oldest batch that has not ended was made", self._worker.lag_s()
        )
