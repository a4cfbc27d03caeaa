"""What becomes of the calls of both arms, while another configuration is tried?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.core.call import Call
from tidegate.core.canary import Arm, Canary, Outcome, Seen, Tally
from tidegate.core.errors import Blocked, UpstreamRefused
from tidegate.core.experiments import Assigned
from tidegate.core.ports import Closed
from tidegate.core.world import World

REFUSED = (401, 402, 403, 404, 429)  # by what is configured; what else is refused, a client got wrong
COUNTED: tuple[tuple[Arm, Outcome], ...] = (
    *(("control", "ok"), ("control", "failed"), ("control", "refused")),
    *(("candidate", "ok"), ("candidate", "failed"), ("candidate", "refused")),
)


class Tallies(Collector):
    """A listener, while there is something to count; `wake` is called when the candidate fails again and again."""

    def __init__(self, world: World, wake: Callable[[], None]) -> None:
        self._world = world
        self._wake = wake
        self._most = 0
        self._experiment, self._stage = "", -1
        self.control, self.candidate = Tally(1.0), Tally(1.0)
        self._counts = dict.fromkeys(COUNTED, 0)
        self._share = 0.0

    def begin(self, known: Canary) -> None:
        """A stage: of another one nothing is counted any more."""
        self._experiment, self._stage = known.experiment, known.stage
        self._most, self._share = known.config.failures, known.wish.share
        self.control, self.candidate = Tally(known.config.window), Tally(known.config.window)

    def end(self) -> None:
        self._experiment, self._share = "", 0.0

    def seen(self) -> tuple[Seen, Seen]:
        now_ns = self._world.clock.now_ns()
        return self.candidate.seen(now_ns), self.control.seen(now_ns)

    def call_began(self, call: Call) -> None:
        """There is nothing to count yet."""

    def notice(self, name: str, fields: Mapping[str, Any]) -> None: ...

    def call_ended(self, call: Call, row: Closed | None) -> None:
        one = call.tried
        if one is not None and one.experiment == self._experiment and one.stage == self._stage:
            outcome = outcome_of(call, row)
            if outcome is not None:
                self._count(call, one, outcome)

    def _count(self, call: Call, one: Assigned, outcome: Outcome) -> None:
        arm: Arm = "candidate" if one.arm == "candidate" else "control"
        tally = self.candidate if arm == "candidate" else self.control
        self._counts[arm, outcome] += 1
        now_ns = self._world.clock.now_ns()
        # What a cache answers took no time and cost nothing, and the candidate's has only begun to fill.
        bought = outcome == "ok" and not (call.cached is not None and call.cached.found)
        took_s = (now_ns - call.arrived_ns) / 1e9 if bought else None
        tally.add(now_ns, one.unit, outcome, took_s, call.cost_nusd if bought else None)
        if tally.in_a_row >= self._most and tally is self.candidate:
            self._wake()

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("tidegate_canary_share", "Of units that have another configuration first", self._share)
        calls = CounterMetricFamily(
            "tidegate_canary_calls", "Calls while a configuration is tried", labels=["arm", "outcome"]
        )
        for key, count in self._counts.items():
            calls.add_metric(key, count)
        yield calls


def outcome_of(call: Call, row: Closed | None) -> Outcome | None:
    """None where nothing of it says anything of the configuration: a client left, or asked for nonsense."""
    error = call.error
    if error is None:
        return "ok" if row is not None and row.outcome == "ok" else None
    if row is not None and row.outcome in ("failed", "cut_off"):
        return "failed"
    if error.status in REFUSED or isinstance(error, UpstreamRefused | Blocked):
        return "refused"
    return "failed" if error.status >= 500 else None
