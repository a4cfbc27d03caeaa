"""What if the first provider is gone, whole, for minutes? Who still asks it, what falling back costs, how it returns.

A steady load on a route with two scripted providers, of which the first fails every call for three minutes: that is
replayed with a clock that jumps (virtual.py). What falling back adds to a call is then measured by the clock on the
wall, call beside call: a route whose first target is set aside, and one that has only the second.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter
from typing import Any, NamedTuple

from bench import report, virtual
from bench.report import Limit, Report
from bench.resilience import quantile
from bench.virtual import VirtualClock
from bench.weather import Heard, Outage, Weather, ask, body, forecast, house
from tidegate.plugins import loop_factory
from tidegate.providers.scripted.script import Script

CALLS_PER_S = 20.0
GONE = Outage(60.0, 240.0)
LASTS_S = 420.0
WINDOW_S = 10.0  # after it the primary is to be left in peace
STEADY = 0.95  # of a second's calls: then the traffic is back

CONFIG = """
logs: {calls: false}
limits: {loops: {policy: "off"}}  # whoever measures says the same again and again
budgets: {default_day: 0}
providers:
  main: {type: scripted, price: {input: 0.15, output: 0.6}}
  spare: {type: scripted, price: {input: 0.15, output: 0.6}}
routes:
  fast: {targets: [{provider: main, model: m, order: 1}, {provider: spare, model: m, order: 2}]}
  direct: {targets: [{provider: spare, model: m}]}
"""

LIMITS = {
    "primary_share_while_open": Limit(0.02, 0.002, timed=False),
    "fallback_added_p99_ms": Limit(5, 1),
    "recovery_s": Limit(60, 30, timed=False),
    "recovery_peak_vs_load": Limit(1.5, 1.2, timed=False),
    "failed": Limit(0, 0, timed=False),
}


class Told(NamedTuple):
    """One outage: what clients heard, and when the primary was asked."""

    heard: list[Heard]
    primary_s: list[float]


async def outage(clock: VirtualClock, seed: int) -> Told:
    loop = asyncio.get_running_loop()
    dice = random.Random(seed)
    asked: list[float] = []
    async with house(CONFIG, clock) as app:
        began_s = loop.time()

        def now_s() -> float:
            return loop.time() - began_s

        class Watched(Weather):
            def script(self, at_s: float) -> Script:
                asked.append(at_s)
                return super().script(at_s)

        calm: dict[str, Any] = {"median_s": 0.3, "stalls": 0.0, "errors": 0.0}
        forecast(app, "main", Watched(random.Random(f"{seed} main"), [GONE], **calm), now_s)
        forecast(app, "spare", Weather(random.Random(f"{seed} spare"), **calm), now_s)
        text = body()
        calls = []
        while now_s() < LASTS_S:
            await asyncio.sleep(dice.expovariate(CALLS_PER_S))
            calls.append(loop.create_task(ask(app, now_s, text)))
        return Told(await asyncio.gather(*calls), asked)


async def added_ms(calls: int) -> float:
    """What falling back adds once the primary is set aside: p99 of such calls, less that of direct ones."""
    async with house(CONFIG) as app:
        spare = Weather(random.Random(0), median_s=0.0, stalls=0.0, errors=0.0)
        forecast(app, "spare", spare, time.perf_counter)
        forecast(app, "main", Weather(random.Random(0), errors=1.0), time.perf_counter)
        fast, direct = body(), body(model="direct")
        for _ in range(30):
            await ask(app, time.perf_counter, fast)
        taken: dict[bytes, list[float]] = {fast: [], direct: []}
        for at in range(calls):
            for text in (fast, direct) if at % 2 else (direct, fast):
                taken[text].append((await ask(app, time.perf_counter, text)).lasted_s)
        return (quantile(taken[fast], 0.99) - quantile(taken[direct], 0.99)) * 1000


# --- what it comes to -------------------------------------------------------------------------------------------------


def between(times_s: list[float], begins_s: float, ends_s: float) -> int:
    return sum(begins_s <= at < ends_s for at in times_s)


def figures(told: Told) -> dict[str, float]:
    calls_s = [one.asked_s for one in told.heard]
    window = (GONE.begins_s + WINDOW_S, GONE.ends_s)
    primary, calls = (Counter(int(at) for at in times) for times in (told.primary_s, calls_s))
    after = range(int(GONE.ends_s), int(LASTS_S) - 1)
    back = [second for second in after if primary[second] >= STEADY * calls[second]]
    return {
        "primary_share_while_open": between(told.primary_s, *window) / between(calls_s, *window),
        "recovery_s": back[0] - GONE.ends_s if back else LASTS_S,
        "recovery_peak_vs_load": max(primary[second] / max(calls[second], 1) for second in after),
        "failed": sum(not one.good for one in told.heard),
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> Report:
    seeds = options.seeds or (2 if options.quick else 5)
    found = Report("outage", options.quick, report.machine(), report.versions(), {}, limits=LIMITS)
    taken: dict[str, list[float]] = {}
    for seed in range(seeds):
        row = figures(virtual.run(lambda clock, seed=seed: outage(clock, seed)))
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            row["fallback_added_p99_ms"] = runner.run(added_ms(500 if options.quick else 2_000))
        found.rows.append({"seed": seed, **row})
        for name, value in row.items():
            taken.setdefault(name, []).append(value)
    for name, values in taken.items():
        found.take(name, values)
    found.judge()
    return found


def said(found: Report) -> str:
    head = f"{CALLS_PER_S:g} calls per second; the primary is gone for {GONE.ends_s - GONE.begins_s:g} s"
    return "\n".join((head, "", report.figures_table(found)))
