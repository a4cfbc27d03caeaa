"""How often does the semantic cache answer, and how often wrongly? On questions whose intent is known.

A cold cache gets every question of a labelled set once, in random order; a hit is right when the entry that is served
has the intent of the question. Beside it, caches with a fixed threshold. Then a replay of 20,000 calls with the exact
cache, single flight and the semantic cache, and real arrival times. The simulated model answers with the intent.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from statistics import fmean
from typing import Any

from bench import cache_stream, report
from bench.procs import Unavailable
from bench.report import Limit, Report
from tidegate.stages.cache.semantic import Policy

MAX_ERRORS = (0.01, 0.02, 0.03, 0.05)
THRESHOLDS = (*(round(0.80 + step * 0.02, 2) for step in range(10)), 0.985, 0.99)
NOISE = 0.05
AT_MOST_WRONG = 0.012
CHUNKS = 4
SEEDS, QUICK_SEEDS = 10, 3
LIMITS = {
    "warm_hits_at_3pct": Limit(0.60, 0.60, most=False, timed=False),
    "warm_wrong_at_3pct": Limit(0.03, 0.03, timed=False),
    "hits_at_1p2pct": Limit(0.30, 0.35, most=False, timed=False),
    "promise_held_share": Limit(0.95, 0.95, most=False, timed=False),
    "promise_worst": Limit(1.3, 1.3, timed=False),
    "warm_wrong_at_5pct_noise5": Limit(0.05, 0.05, timed=False),
    "replay_calls_saved": Limit(0.72, 0.72, most=False, timed=False),
    "replay_semantic_share_of_misses": Limit(0.30, 0.30, most=False, timed=False),
    "replay_wrong_share": Limit(0.01, 0.01, timed=False),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", default="banking77", metavar="NAME", help="DIR/cache/NAME_{train,test}.csv")


def run(options: argparse.Namespace) -> Report:
    if options.data is None:
        raise Unavailable("it needs labelled questions: --data DIR, the folder with cache/banking77_train.csv in it")
    seeds = range(options.seeds or (QUICK_SEEDS if options.quick else SEEDS))
    found = Report("cache", bool(options.quick), report.machine(), _versions(), {}, limits=LIMITS)
    path = cache_stream.prepared(options.data, options.set)
    jobs = list(_jobs(path, options.data, seeds, bool(options.quick)))
    shares = [jobs[at::CHUNKS] for at in range(CHUNKS)]  # few, for each reads the questions anew
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        found.rows = sorted((row for rows in pool.map(_some, shares) for row in rows), key=_place)
    _take_figures(found)
    found.judge()
    return found


def _versions() -> dict[str, str]:
    return report.versions() | {name: metadata.version(name) for name in ("numpy", "onnxruntime")}


Job = tuple[str, Path, Path, int, float]


def _jobs(path: Path, data: Path, seeds: Sequence[int], quick: bool) -> Iterator[Job]:
    for seed in seeds[: 1 if quick else 3]:
        yield "replay", path, data, seed, 0.0
        yield "replay, exact alone", path, data, seed, 0.0
    for seed in seeds:
        for max_error in MAX_ERRORS:
            yield "verified", path, data, seed, max_error
            yield "verified, noise 5 %", path, data, seed, max_error
        for threshold in THRESHOLDS:
            yield "static", path, data, seed, threshold


def _place(row: dict[str, Any]) -> tuple[str, float, int]:
    return row["kind"], row["setting"], row["seed"]


def _some(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    questions = cache_stream.loaded(jobs[0][1]) if jobs else None
    return [_one(questions, job) for job in jobs if questions]


def _one(questions: cache_stream.Questions, job: Job) -> dict[str, Any]:
    kind, _, data, seed, setting = job
    if kind.startswith("replay"):
        calls = cache_stream.arrivals(data, questions, seed)
        policy = Policy() if kind == "replay" else None
        result = cache_stream.replay(questions, calls, seed, policy)
    elif kind == "static":
        result = cache_stream.static(questions, setting, seed)
    else:
        result = cache_stream.stream(questions, setting, seed, NOISE if "noise" in kind else 0.0)
    return {"kind": kind, "seed": seed, "setting": setting, **result}


def _take_figures(found: Report) -> None:
    def of(kind: str, field: str, setting: float = 0.0) -> list[float]:
        return [row[field] for row in found.rows if row["kind"] == kind and row["setting"] == setting]

    def mean(name: str, kind: str, field: str, setting: float = 0.0) -> None:
        values = of(kind, field, setting)
        found.take(name, values)
        found.figures[name] = round(fmean(values), 4)

    def most_hits(name: str, kind: str, settings: Sequence[float]) -> None:
        fine = [one for one in settings if fmean(of(kind, "wrong", one)) <= AT_MOST_WRONG]
        if fine:
            mean(name, kind, "hits", max(fine, key=lambda one: fmean(of(kind, "hits", one))))
        else:
            found.take(name, [], f"no setting was wrong in at most {AT_MOST_WRONG:.1%} of its hits")

    mean("warm_hits_at_3pct", "verified", "warm_hits", 0.03)
    mean("warm_wrong_at_3pct", "verified", "warm_wrong", 0.03)
    most_hits("hits_at_1p2pct", "verified", MAX_ERRORS)
    most_hits("static_hits_at_1p2pct", "static", THRESHOLDS)
    kept = [row["wrong"] / row["setting"] for row in found.rows if row["kind"] == "verified"]
    found.figures["promise_held_share"] = round(fmean(ratio <= 1 for ratio in kept), 4)
    found.figures["promise_worst"] = round(max(kept), 4)
    mean("warm_hits_at_5pct_noise5", "verified, noise 5 %", "warm_hits", 0.05)
    mean("warm_wrong_at_5pct_noise5", "verified, noise 5 %", "warm_wrong", 0.05)
    for field in ("calls_saved", "semantic_share_of_misses", "wrong_share", "cost_saved"):
        mean(f"replay_{field}", "replay", field)


def said(found: Report) -> str:
    streams = [row for row in found.rows if not row["kind"].startswith("replay")]
    shown = ("hits", "wrong", "warm_hits", "warm_wrong", "calls_saved")
    lines = [_means(streams, shown, lambda row: f"{row['kind']} {row['setting']:g}"), ""]
    replays = [row for row in found.rows if row["kind"].startswith("replay")]
    parts = ("exact", "in_flight", "semantic", "wrong", "misses", "checks", "twice", "calls_saved", "saved_usd")
    lines += [_means(replays, parts, lambda row: str(row["kind"])), ""]
    silent = {row["serves_nothing_since"] for row in streams if row.get("serves_nothing_since")}
    lines += [f"at its end a stream served nothing: {why}" for why in sorted(silent)]
    quick = " (quick: fewer seeds)" if found.quick else ""
    return "\n".join((*lines, report.figures_table(found) + quick))


def _means(rows: Sequence[dict[str, Any]], fields: Sequence[str], name: Callable[[dict[str, Any]], str]) -> str:
    named: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        named.setdefault(name(row), []).append(row)
    means = ((one, *(float(fmean(row[field] for row in same)) for field in fields)) for one, same in named.items())
    return report.table(("mean over seeds", *fields), sorted(means))
