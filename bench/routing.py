"""How many calls can a cheaper model answer, and is the promised quality kept? On questions with known answers.

GPT-4 and Mixtral-8x7B answered MMLU and GSM8K, and it is known how well (RouteLLM's data). A router sees a question
and gives it to one of them. APGR is the mean share of the gap between both that is recovered, over all shares of strong
calls; `saved` is money, at the prices that RouteLLM counts with, when so much of the strong model's quality is left.
Nothing is scored by a router that has seen it, or whose prior was learned from the same set.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from bench import report, routing_data
from bench.procs import Unavailable
from bench.report import Limit, Report
from bench.routing_data import SETS, Questions
from tidegate.upstream.tiers.choice import Promise, chosen, price_of
from tidegate.upstream.tiers.heads import STRANGE_TRAFFIC, Examples, Heads, fit
from tidegate.upstream.tiers.look import features
from tidegate.upstream.tiers.prior import Prior, learned

COSTS = (0.24 / 24.7, 1.0)  # dollars per million tokens: Mixtral, GPT-4
KEPT = (0.90, 0.95, 0.98)
LABELS = 1_500
FOLDS, SEEDS, QUICK_SEEDS = 5, 10, 1
RESAMPLED = 200
LIMITS = {
    "mmlu_saved_at_95": Limit(0.48, 0.50, most=False, timed=False),
    "gsm8k_saved_at_95": Limit(0.32, 0.36, most=False, timed=False),
    "apgr_1500": Limit(0.60, 0.63, most=False, timed=False),
    "promise_min": Limit(0.94, 0.95, most=False, timed=False),
    "unseen_subjects_ahead_of_length": Limit(0, 0, most=False, timed=False),
    "unseen_data_ahead_of_length": Limit(0, 0, most=False, timed=False),
    "look_cpu_us": Limit(300, 300),
}
LONG = "A train leaves at 9:40, and (if it is late) 3 of 4 people who wait say: how much is x = 2*y? " * 400


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> Report:
    if options.data is None:
        raise Unavailable("it needs answered questions: --data DIR, the folder with routing/gsm8k_responses.csv in it")
    seeds = range(options.seeds or (QUICK_SEEDS if options.quick else SEEDS))
    versions = report.versions() | {name: metadata.version(name) for name in ("numpy", "onnxruntime")}
    found = Report("routing", bool(options.quick), report.machine(), versions, {}, limits=LIMITS)
    path = routing_data.prepared(options.data)
    jobs = [(path, kind, which, seed) for seed in seeds for kind in ROUTERS for which in range(len(SETS))]
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        found.rows = [row for row in pool.map(_one, jobs) if row]
    found.rows.sort(key=lambda row: (row["set"], list(ROUTERS).index(row["router"]), row["seed"]))
    _take_figures(found)
    found.figures["look_cpu_us"] = _look_us()
    found.judge()
    return found


# --- routers: each gives the scored rows, and their chances by tier; and the chances that set the price, if any


class Routed(NamedTuple):
    rows: Any
    chances: Any
    windows: Sequence[tuple[Any, Any]] = ()  # rows that were routed with a price of these chances


Router = Callable[[Questions, int, int], Routed | None]


def at_random(known: Questions, which: int, seed: int) -> Routed:
    return _scored(known, which, lambda rows: np.random.default_rng(seed).random(len(rows)))


def by_length(known: Questions, which: int, seed: int) -> Routed:
    return _scored(known, which, lambda rows: known.features[rows, 0])


def by_prior(known: Questions, which: int, seed: int) -> Routed:
    """As shipped, but learned from the other set alone."""
    prior = prior_without(known, which)
    return _scored(known, which, lambda rows: hardness(prior, known)[rows])


def by_labels(known: Questions, which: int, seed: int) -> Routed | None:
    rows = _rows(known, which, seed)
    if len(rows) < 2 * LABELS:
        return None
    return _pooled(known, which, [(rows[:LABELS], rows[LABELS:])], seed)


def by_all(known: Questions, which: int, seed: int) -> Routed:
    rows = _rows(known, which, seed)
    return _pooled(known, which, [(np.setdiff1d(rows, one), one) for one in np.array_split(rows, FOLDS)], seed)


def by_other_subjects(known: Questions, which: int, seed: int) -> Routed | None:
    rows = _rows(known, which, seed)
    subjects = np.random.default_rng(seed).permutation(np.unique(known.subject[rows]))
    if len(subjects) < FOLDS:
        return None
    held = [rows[np.isin(known.subject[rows], some)] for some in np.array_split(subjects, FOLDS)]
    return _pooled(known, which, [(np.setdiff1d(rows, one), one) for one in held], seed)


def by_other_data(known: Questions, which: int, seed: int) -> Routed:
    rows = np.flatnonzero(known.of == which)
    return _pooled(known, which, [(np.flatnonzero(known.of != which), rows)], seed)


ROUTERS: dict[str, Router] = {
    "random": at_random,
    "length": by_length,
    "prior": by_prior,
    f"{LABELS:,} labels": by_labels,
    "full": by_all,
    "unseen subjects": by_other_subjects,
    "unseen data": by_other_data,
}


def _rows(known: Questions, which: int, seed: int) -> Any:
    return np.random.default_rng(seed).permutation(np.flatnonzero(known.of == which))


def _scored(known: Questions, which: int, score: Callable[[Any], Any]) -> Routed:
    rows = np.flatnonzero(known.of == which)
    gains = score(rows)
    return Routed(rows, np.stack([np.zeros(len(rows)), gains], axis=1))


def _pooled(known: Questions, which: int, folds: Sequence[tuple[Any, Any]], seed: int) -> Routed:
    hard = hardness(prior_without(known, which), known)
    rows, chances, windows = [], [], []
    for train, score in folds:
        heads = taught(known, hard, train, seed)
        found = foretold(heads, known, hard, score)
        rows.append(score)
        chances.append(found)
        windows.append((heads.foretold, found))
    return Routed(np.concatenate(rows), np.concatenate(chances), windows)


def prior_without(known: Questions, which: int) -> Prior:
    return learned(known.seen(np.flatnonzero(known.of != which)), "bench")


def hardness(prior: Prior, known: Questions) -> Any:
    return np.array([prior.hard(row) for row in known.features.tolist()], np.float32)


def taught(known: Questions, hard: Any, rows: Any, seed: int) -> Heads:
    both = np.concatenate([rows, rows])
    tier = np.repeat(np.arange(2), len(rows))
    return fit(Examples(known.vectors[both], known.features[both], hard[both], tier, known.good[both, tier]), 2, seed)


def foretold(heads: Heads, known: Questions, hard: Any, rows: Any) -> Any:
    trust = heads.space.trust(known.vectors[rows])
    if trust.mean() < STRANGE_TRAFFIC:
        trust = np.zeros_like(trust)
    return heads.chances(known.vectors[rows], known.features[rows], hard[rows], trust)


# --- what they are worth


def _one(job: tuple[Path, str, int, int]) -> dict[str, Any] | None:
    path, kind, which, seed = job
    known = routing_data.loaded(path)
    routed = ROUTERS[kind](known, which, seed)
    if routed is None:
        return None
    good, gains = known.good[routed.rows], routed.chances[:, 1] - routed.chances[:, 0]
    row = {"set": SETS[which], "router": kind, "seed": seed, "questions": len(good), **worth(good, gains)}
    if seed == 0:
        row |= intervals(good, gains)
    return row | dict(promises(good, routed))


def worth(good: Any, gains: Any) -> dict[str, float]:
    """Of asking the strong model first where it gains most."""
    order = np.argsort(-gains, kind="stable")
    weak, strong = good.mean(axis=0)
    quality = weak + np.concatenate([[0.0], np.cumsum(good[order, 1] - good[order, 0])]) / len(good)
    found = {"apgr": float(np.trapezoid((quality - weak) / (strong - weak), dx=1 / len(good)))}
    for kept in KEPT:
        share = float(np.argmax(quality >= kept * strong - 1e-9)) / len(good)
        found[f"strong_at_{kept * 100:.0f}"] = share
        found[f"saved_at_{kept * 100:.0f}"] = 1 - share - (1 - share) * COSTS[0]
    return found


def intervals(good: Any, gains: Any) -> dict[str, tuple[float, float]]:
    """95 of 100 sets of such questions: drawn anew from these."""
    chance = np.random.default_rng(0)
    drawn = [chance.integers(len(good), size=len(good)) for _ in range(RESAMPLED)]
    worths = [worth(good[some], gains[some]) for some in drawn]
    return {
        f"{name}_interval": tuple(
            round(float(one), 4) for one in np.quantile([w[name] for w in worths], (0.025, 0.975))
        )
        for name in ("apgr", "saved_at_95")
    }


def promises(good: Any, routed: Routed) -> Iterator[tuple[str, float]]:
    """What was left of the strong model's quality, and saved, where it was asked for. Prices are set on other rows."""
    for kept in KEPT if routed.windows else ():
        tiers = []
        for window, chances in routed.windows:
            price = price_of(window.tolist(), COSTS, Promise("quality", kept))
            tiers += [chosen(one, COSTS, price) for one in chances.tolist()]
        asked = np.array(tiers)
        quality = float(good[np.arange(len(good)), asked].sum() / good[:, 1].sum())
        yield f"promised_{kept * 100:.0f}", quality
        yield f"promised_{kept * 100:.0f}_saved", float(1 - np.array(COSTS)[asked].mean())


def _take_figures(found: Report) -> None:
    def of(name: str, which: str, router: str) -> list[float]:
        return [row[name] for row in found.rows if (row["set"], row["router"]) == (which, router) and name in row]

    def mean(figure: str, values: Sequence[float]) -> None:
        found.take(figure, values, "the set has too few questions")
        if values:
            found.figures[figure] = round(fmean(values), 4)

    labels = f"{LABELS:,} labels"
    for which in SETS:
        mean(f"{which}_saved_at_95", of("saved_at_95", which, "full"))
        mean(f"random_{which}_saved_at_95", of("saved_at_95", which, "random"))
        mean(f"length_{which}_saved_at_95", of("saved_at_95", which, "length"))
    mean("apgr_1500", of("apgr", "mmlu", labels))
    kept = [of("promised_95", which, router) for which in SETS for router in (labels, "full")]
    found.figures["promise_min"] = round(min(fmean(values) for values in kept if values), 4)
    for router in ("unseen subjects", "unseen data"):
        ahead = [
            fmean(of("apgr", which, router)) - of("apgr", which, "length")[0]
            for which in SETS
            if of("apgr", which, router)
        ]
        found.figures[f"{router.replace(' ', '_')}_ahead_of_length"] = round(min(ahead), 4)


def _look_us() -> float:
    """Of the longest that is looked at whole."""
    began, rounds = time.process_time(), 300
    for _ in range(rounds):
        features(LONG)
    return round((time.process_time() - began) / rounds * 1e6, 1)


SHOWN = ("apgr", "saved_at_90", "saved_at_95", "saved_at_98", "strong_at_95", "promised_95", "promised_95_saved")


def said(found: Report) -> str:
    lines = []
    for which in SETS:
        for router in ROUTERS:
            rows = [row for row in found.rows if (row["set"], row["router"]) == (which, router)]
            if rows:
                means = [fmean(row[name] for row in rows) if name in rows[0] else None for name in SHOWN]
                spread = [
                    " … ".join(f"{one:.3f}" for one in rows[0][f"{name}_interval"]) for name in ("apgr", "saved_at_95")
                ]
                lines.append((f"{which}, {router}", len(rows), *means, *spread))
    head = ("set, router", "seeds", *SHOWN, "apgr, 95 of 100", "saved_at_95, 95 of 100")
    quick = " (quick: fewer seeds)" if found.quick else ""
    return "\n".join((report.table(head, lines), "", report.figures_table(found) + quick))
