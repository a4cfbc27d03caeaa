"""What is left when all that can go wrong has gone wrong? The storm of tests/e2e, for ten minutes, and its figures.

Machines, PostgreSQL behind PgBouncer, two Valkeys and Envoy; meanwhile everything dies, is parted, fills up, jumps or
fails, and a crowd asks on. It wants what ./run test installs, and Debian's pgbouncer. As root, `--machines 3` gives
each machine a network of its own, in which packets are lost as well.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import environments, report
from bench.procs import Unavailable, require_linux
from bench.report import Limit, Report

LIMITS = {
    "terminal_rows_missing": Limit(0, 0, timed=False),
    "cost_difference_nusd": Limit(0, 0, timed=False),
    "budgets_exceeded": Limit(0, 0, timed=False),
    "double_lines": Limit(0, 0, timed=False),
    "rss_mb_per_10k": Limit(1, 0.5, timed=False),
    "leaked_sockets": Limit(0, 0, timed=False),
    "leaked_files": Limit(0, 0, timed=False),
    "leaked_tasks": Limit(0, 0, timed=False),
    "loop_stall_ms_max": Limit(200, 50),
}
TEST = "tests/e2e/test_storm_of_two.py"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, help="10; --quick: each kind of weather once, about one")
    parser.add_argument(
        "--machines", type=int, default=0, help="so many, in networks of their own; two on one loopback"
    )


def run(options: argparse.Namespace) -> Report:
    require_linux()
    if importlib.util.find_spec("pytest") is None:
        raise Unavailable("the storm is a test, and pytest is not installed: ./run test")
    into = Report("storm", bool(options.quick), report.machine(), report.versions(), {}, limits=LIMITS)
    minutes = options.minutes if options.minutes is not None else 0 if options.quick else 10
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "figures.json")
        environment = environments.importing_ours() | {
            "TIDEGATE_WEATHER": str(minutes),
            "TIDEGATE_MACHINES": str(options.machines),
            "TIDEGATE_STORM_SEED": str(options.seeds or 0),
            "TIDEGATE_STORM_FIGURES": str(file),
        }
        command = [sys.executable, "-m", "pytest", "-q", "-s", TEST]
        done = subprocess.run(command, cwd=environments.ROOT, env=environment, stdout=sys.stderr, check=False)
        found = json.loads(file.read_text()) if file.exists() else {}
    if not found:
        raise Unavailable(f"the storm ended with {done.returncode} and no figures; what it said stands above")
    for name, value in found.items():
        into.take(name, [] if value is None else [value], "it takes ten minutes, so that caches have filled")
    into.take("minutes", [minutes])
    if done.returncode:
        into.doubts.append("the storm found something wrong; what it is stands above")
    into.judge()
    return into


def said(found: Report) -> str:
    """For a person."""
    return report.figures_table(found)
