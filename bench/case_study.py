"""The guide's case study, replayed: what is a gateway worth to a support chatbot with 50,000 users?

Two providers with books of their own answer at the list prices of real models, as slowly and as unreliably as the guide
has it; without a gateway one strong model is asked once. The gateway is a real `tidegate serve`, asked over HTTP. Each
lever is measured alone and on top of the others (seed 0), everything together with every seed. One second of the case
study is a tenth of one of ours, for the gateway's own milliseconds too: what this machine adds counts ten times.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench import report
from bench.procs import Unavailable
from bench.report import Limit, Report
from tidegate.core.errors import ConfigError
from tidegate.study.course import Course
from tidegate.study.course import run as run_all
from tidegate.study.levers import EVERYTHING, alone, together
from tidegate.study.machine import MAX_OTHERS
from tidegate.study.page import Found, headline, lines, page, waterfall
from tidegate.study.workload import Law

LIMITS = {
    "cost_vs_naive": Limit(0.2, 0.1, timed=False),
    "mean_vs_naive": Limit(0.27, 0.2),
    "p99_vs_naive": Limit(0.25, 0.25),
    "success": Limit(0.999, 0.9995, most=False),  # a client leaves after three seconds of ours
    "wrong_added": Limit(0.01, 0.005, timed=False),
    "leaks": Limit(0, 0, timed=False),
    "runaway_usd": Limit(5, 1, timed=False),
    "books_differ_nusd": Limit(0, 0, timed=False),
}
FEW = 5_000  # calls: with fewer, no share of a hundredth is judged
QUICK = ("+ cache", "+ semantic", "+ routing")  # of the waterfall


def add_options(parser: argparse.ArgumentParser) -> None:
    of = _at_least
    parser.add_argument("--users", type=of(1), default=50_000, help="of the month that the stretch stands for")
    parser.add_argument("--days", type=of(1), default=30, help="of that month")
    parser.add_argument("--calls", type=of(100), help="that are measured, for each arm and seed")
    parser.add_argument("--before", type=of(0), help="calls that caches have seen before them")
    parser.add_argument("--workers", type=of(1), default=1, help="processes of the gateway")
    parser.add_argument("--html", type=Path, metavar="FILE", help="a page with the waterfall")
    parser.add_argument(
        "--only-seeds", action="store_true", help="naive and everything alone: no single levers, no laws"
    )


def _at_least(least: int) -> Callable[[str], int]:
    def number(said: str) -> int:
        if not said.lstrip("-").isdecimal() or int(said) < least:
            raise argparse.ArgumentTypeError(f"a whole number, {least} at least, is expected, not {said!r}")
        return int(said)

    return number


def run(options: argparse.Namespace) -> Report:
    found = Report("case-study", options.quick, report.machine(), report.versions(), {}, limits=dict(LIMITS))
    levers = tuple(arm for arm in (*alone(), *together()) if arm != EVERYTHING)
    if options.quick:
        levers = tuple(arm for arm in levers if arm.name in QUICK)
    course = Course(
        seeds=options.seeds or (1 if options.quick else 5),
        calls=options.calls or (500 if options.quick else 2_000),
        before=options.before if options.before is not None else (700 if options.quick else 2_000),
        once=() if options.only_seeds else levers,
        laws=not (options.quick or options.only_seeds),
        law=Law(users=options.users),
        days=options.days,
        data=options.data,
        workers=options.workers,
    )
    if options.seeds is not None and options.seeds < 1:
        raise Unavailable(f"--seeds {options.seeds}: one at least is expected")
    if options.html and not options.html.absolute().parent.is_dir():
        raise Unavailable(f"--html {options.html}: there is no such folder")
    began = time.perf_counter()
    try:
        told = run_all(course, _Progress(began))
    except ConfigError as wrong:
        raise Unavailable(wrong.message) from None
    _take(found, told)
    if options.html:
        options.html.write_text(page(told), "utf-8")
    found.rows.append({"took_s": round(time.perf_counter() - began, 1), "found": msgspec.to_builtins(told)})
    return found


def _take(found: Report, told: Found) -> None:
    each = [headline(naive, ours) for naive, ours in zip(told.naive, told.everything, strict=True)]
    for name in each[0]:
        found.take(name, [one[name] for one in each])
    found.take("calls_saved", [one.calls_saved for one in told.everything])
    found.take("month_usd_naive", [one.month_usd(told.law, told.days) for one in told.naive])
    found.take("month_usd", [one.month_usd(told.law, told.days) for one in told.everything])
    found.left_out |= told.left_out
    if len(each) * told.naive[0].calls < FEW:
        found.doubts.append(f"{len(each)} seed(s) of {told.naive[0].calls} calls: a hundredth of them is a handful")
        found.limits["wrong_added"] = msgspec.structs.replace(LIMITS["wrong_added"], timed=True)
    if told.others is None:
        found.doubts.append("this system does not say whether other programs used the cores")
    elif told.others > MAX_OTHERS:
        found.doubts.append(f"other programs used {told.others:.0%} of the cores, more than {MAX_OTHERS:.0%}")
    found.judge()


class _Progress:
    """On standard error, a line for each run."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._last = ""

    def __call__(self, name: str, share: float) -> None:
        if name != self._last:
            self._last = name
            print(f"{share:4.0%} {time.perf_counter() - self._began:5.0f} s  {name}", file=sys.stderr, flush=True)


def said(found: Report) -> str:
    told = msgspec.convert(found.rows[-1]["found"], Found)
    steps = report.table(("what a month costs", "$"), waterfall(told))
    names = ("cost_vs_naive", "mean_vs_naive", "p99_vs_naive", "wrong_added")
    rests = [(what, *map(of.get, names)) for what, of in told.instead().items()]
    laws = report.table(("what it rests on", "cost", "mean", "p99", "wrong added"), rests)
    return "\n\n".join(("\n".join(lines(told)), steps, laws, report.figures_table(found)))
