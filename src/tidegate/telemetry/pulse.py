"""Does the event loop keep up? How late its timers are, how many tasks it has, and what is on its way to providers.

A timer that is late says that something held the loop up, and with it every call. What is shorter than the pulse may
be missed. Linux counts how long our thread was ready and waited for a core: a lag less that wait is a stall of our own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.core.ports import Backlog, Transport
from tidegate.telemetry.metrics import Buckets

WAITED = "/proc/thread-self/schedstat"  # nanoseconds that it ran, and that it waited
EVERY_S = 0.02  # costs less than a thousandth of a core
LAG = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
WINDOW_S = 60.0  # for how long the longest lag is remembered, at least; at most twice as long


class Pulse(Collector):
    """Beats between `start` and `stop`; tells of tasks and connections whether it beats or not."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: Transport, backlog: Callable[[], Backlog]) -> None:
        self._loop = loop
        self._transport = transport
        self._backlog = backlog
        self._lag = Buckets(LAG)
        self._longest = [0.0, 0.0]  # of the window before, and of this one
        self._stalled = [0.0, 0.0]  # the same
        self._window_until = 0.0
        self._waited_s = 0.0
        self._file: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._window_until = monotonic() + WINDOW_S
        with suppress(OSError):  # it is Linux's
            self._file = os.open(WAITED, os.O_RDONLY)
        self._arm()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _arm(self) -> None:
        self._waited_s = self._waits_s()
        self._timer = self._loop.call_later(EVERY_S, self._beat, monotonic() + EVERY_S)

    def _beat(self, due: float) -> None:
        now = monotonic()
        lag = max(now - due, 0.0)
        self.late(lag, now, lag - (self._waits_s() - self._waited_s))
        self._arm()

    def _waits_s(self) -> float:
        """How long this thread has waited for a core so far."""
        return int(os.pread(self._file, 64, 0).split()[1]) / 1e9 if self._file is not None else 0.0

    def late(self, lag: float, now: float, stall: float | None = None) -> None:
        """A timer was so late, and `stall` of it was nobody else's doing."""
        self._lag.observe(lag)
        if now > self._window_until:
            self._longest, self._stalled = [self._longest[1], 0.0], [self._stalled[1], 0.0]
            self._window_until = now + WINDOW_S
        self._longest[1] = max(self._longest[1], lag)
        self._stalled[1] = max(self._stalled[1], lag if stall is None else stall)

    def collect(self) -> Iterator[Metric]:
        lag = HistogramMetricFamily("tidegate_loop_lag_seconds", "How late the event loop's timers are")
        lag.add_metric([], buckets=self._lag.cumulative(), sum_value=self._lag.total)
        yield lag
        yield GaugeMetricFamily(
            "tidegate_loop_lag_max_seconds", "The longest of the last minute or two", max(self._longest)
        )
        yield GaugeMetricFamily(
            "tidegate_loop_stall_max_seconds",
            "The longest of the last minute or two, less what its thread waited for a core",
            max(self._stalled),
        )
        yield GaugeMetricFamily("tidegate_tasks", "Tasks of the event loop", len(asyncio.all_tasks(self._loop)))
        yield GaugeMetricFamily(
            "tidegate_provider_connections_busy",
            "Connections to providers that carry a call or are being made",
            self._transport.busy,
        )
        waits = self._backlog()
        yield GaugeMetricFamily("tidegate_ledger_waiting_rows", "Rows that are spooled, not stored yet", waits.rows)
        yield GaugeMetricFamily("tidegate_spool_bytes", "Of the files of the spool", waits.bytes)
        yield CounterMetricFamily("tidegate_ledger_lost_rows", "Rows that could not be read again", waits.lost)
