"""What is kept beside the books? How many bodies, and how far the audit log is signed and beyond anybody's reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Bodies(Protocol):
    kept: int
    dropped: int


class Notary(Protocol):
    signed: int  # entries of this process's chain
    exported: int


class Kept(Collector):
    def __init__(self, bodies: Bodies, notary: Notary | None) -> None:
        self._bodies = bodies
        self._notary = notary

    def collect(self) -> Iterator[Metric]:
        bodies = CounterMetricFamily("tidegate_bodies", "Questions and answers that routes keep", labels=["outcome"])
        bodies.add_metric(["kept"], self._bodies.kept)
        bodies.add_metric(["dropped"], self._bodies.dropped)
        yield bodies
        if self._notary is not None:
            audit = GaugeMetricFamily("tidegate_audit_entries", "Entries of this process's chain", labels=["state"])
            audit.add_metric(["signed"], self._notary.signed)
            audit.add_metric(["exported"], self._notary.exported)
            yield audit
