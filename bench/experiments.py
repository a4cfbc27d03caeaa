"""Is a rollout decided rightly? Thousands of them with arms of known quality, each looked at after every call.

Tests of nothing with nothing: users who come often or seldom and differ from each other, while everything gets slower,
dearer and fails more during the ramp, or less. Then arms that are worse in one thing, and an arm that is better by as
much as was said before. Beside our rules, on the same calls: a plain p-value that is peeked at, calls taken for units,
and stages taken for one.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from bench import report
from bench.report import Limit, Report
from bench.rollouts import ARM, CONTROL, Apart, Calls, Flags, Floats, Numbers, Rollouts
from tidegate.core.experiments import ArmSpec, GuardMetric, Spec
from tidegate.core.promise import promised
from tidegate.core.stats.screening import wilson
from tidegate.core.values import Share

LATENCY, COST, ERRORS = 0.5, 0.7, 0.02  # spreads of logarithms, and the share of calls that fail
AT_ONCE = 1_000  # rollouts, as arrays of so many rows
CALLS = 1_000_000  # of many rollouts, likewise
ONE_SIDED, BOTH_SIDED = 1.6449, 1.96  # deviations: p below 0.05
PLAIN = ("naive", "calls", "pooled")  # what others do


class Kind(NamedTuple):
    """What the arm does, each a number or one for each rollout; and how units are."""

    errors: float | Floats = ERRORS
    latency: float | Floats = 1.0
    cost: float | Floats = 1.0
    usual_errors: float = ERRORS  # without it
    latency_spread: float = LATENCY
    cost_spread: float = COST
    trend: float = 0.0  # what everything grows by in the logarithm, from the first call to the last
    crowd: int = 0  # users who come again, few of them very often; 0: each call is of a new one


class World:
    """Where calls come from: one of each rollout at a time."""

    def __init__(self, kind: Kind, rollouts: int, calls: int, seed: int) -> None:
        self.kind, self.calls, self._chance = kind, calls, np.random.default_rng(seed)
        self._rows = np.arange(rollouts)
        self._place = self._chance.random((rollouts, kind.crowd))
        self._come = np.zeros(0)
        self._own = np.zeros((3, 1, 1))
        if kind.crowd:
            often = 1 / np.arange(1, kind.crowd + 1)  # as words in texts are: of 2,000 the first makes an eighth
            self._come = np.cumsum(often / often.sum())
            self._own = self._chance.normal(0, 1, (3, rollouts, kind.crowd)) * np.array([[[0.7]], [[0.7]], [[1.0]]])

    def next(self, at: int, share: Floats) -> Calls:
        kind, chance, size = self.kind, self._chance, len(self._rows)
        own: Any = np.zeros((3, size))
        unit: Numbers = np.zeros(size, np.int64)
        if kind.crowd:
            unit = np.searchsorted(self._come, chance.random(size)).astype(np.int64)
            own = self._own[:, self._rows, unit]
        arm = (self._place[self._rows, unit] if kind.crowd else chance.random(size)) < share
        grown = kind.trend * at / self.calls
        fails = np.where(arm, kind.errors, kind.usual_errors) * np.exp(own[2] - own.any() * 0.5 + grown)
        latency = chance.normal(0, kind.latency_spread, size) + own[0] + grown + np.log(np.where(arm, kind.latency, 1))
        cost = chance.normal(0, kind.cost_spread, size) + own[1] + grown + np.log(np.where(arm, kind.cost, 1))
        return Calls(unit, arm, chance.random(size) < fails, 1e6 * np.exp(latency), 1e6 * np.exp(cost))


class Ended(NamedTuple):
    """How each rollout ended, and how many units had the arm by then: infinitely many, where it did not."""

    back: Flags
    promoted: Flags
    odd: Flags  # the sample ratio was told to be wrong
    gained: Flags  # at some look the primary metric was certainly better, were it by a trifle
    treated: Floats


def followed(spec: Spec, kind: Kind, rollouts: int, calls: int, seed: int, naive: Naive | None = None) -> Ended:
    """Until all is decided, or the calls are over. While `naive` looks on nothing is stopped: it sees all calls."""
    world, many = World(kind, rollouts, calls, seed), Rollouts(spec, rollouts, kind.crowd)
    ramp = np.asarray(spec.ramp)
    back, promoted, odd, gained = (np.zeros(rollouts, bool) for _ in range(4))
    treated = np.full(rollouts, np.inf)
    for at in range(calls):
        call = world.next(at, ramp[many.stage])
        many.call(call)
        apart = many.apart()
        said = many.said(apart)
        over = back | promoted
        odd |= said.odd & ~over
        gained |= said.gains
        ends = ~over & (said.worse | many.promotes(said))
        treated[ends] = many.treated[ends]
        back |= ends & said.worse
        promoted |= ends & ~said.worse
        if naive:
            naive.look(many, call, apart["latency"])
        elif (back | promoted).all():
            break
        many.stage = many.stage + many.moves_on(said)
    return Ended(back, promoted, odd, gained, treated)


def looked(spec: Spec, kind: Kind, rollouts: int, calls: int, seed: int) -> Ended:
    """The same as `followed`, of one stage and calls of new units, looked at after every unit with the arm."""
    parts = []
    for at in range(0, rollouts, size := max(1, CALLS // calls)):
        here = min(size, rollouts - at)
        chance = np.random.default_rng((seed, at))
        call = _calls(kind, chance, float(spec.ramp[0]), (here, calls))
        many = Rollouts.of_looks(spec, call, call.arm)
        said = many.said()
        ends = np.flatnonzero(said.worse | many.promotes(said))
        rows = np.nonzero(call.arm)[0]
        over, first = np.unique(rows[ends], return_index=True)
        back, promoted, odd, gained = (np.zeros(here, bool) for _ in range(4))
        treated = np.full(here, np.inf)
        back[over] = said.worse[ends[first]]
        promoted[over] = ~said.worse[ends[first]]
        treated[over] = many.treated[ends[first]]
        odd[rows[said.odd]], gained[rows[said.gains]] = True, True
        parts.append(Ended(back, promoted, odd, gained, treated))
    return Ended(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _calls(kind: Kind, chance: np.random.Generator, share: float, shape: tuple[int, int]) -> Calls:
    arm = chance.random(shape) < share
    failed = chance.random(shape) < np.where(arm, kind.errors, kind.usual_errors)
    latency = np.exp(chance.normal(0, kind.latency_spread, shape)) * np.where(arm, kind.latency, 1)
    cost = np.exp(chance.normal(0, kind.cost_spread, shape)) * np.where(arm, kind.cost, 1)
    return Calls(np.zeros(shape, np.int64), arm, failed, latency, cost)


class Naive:
    """What others would have said, on the same calls, at whatever look: `better`, with p below 0.05 on this side;
    `either`, better or worse, with p below 0.05 on both. A plain p-value; calls for units; stages for one."""

    def __init__(self, rollouts: int, stages: int) -> None:
        self.better = {name: np.zeros(rollouts, bool) for name in PLAIN}
        self.either = {name: np.zeros(rollouts, bool) for name in PLAIN}
        self._sums = np.zeros((3, rollouts, stages, 2))
        self._rows = np.arange(rollouts)

    def look(self, many: Rollouts, at: Calls, apart: Apart) -> None:
        value, cell = np.log(at.took_us), (self._rows, many.stage, np.where(at.arm, ARM, CONTROL))
        for sums, power in zip(self._sums, (value**0, value, value * value), strict=True):
            sums[cell] += np.where(at.failed, 0.0, power)
        means = many.means["latency"]
        pooled = [one.sum(axis=1)[:, None] for one in (means.n, means.sum, means.squares)]
        with np.errstate(all="ignore"):
            looks = (np.nan_to_num(apart.estimate / np.sqrt(apart.variance)), _plain(*self._sums), _plain(*pooled))
        for name, z in zip(PLAIN, looks, strict=True):
            self.better[name] |= (apart.units >= 20) & (z < -ONE_SIDED)
            self.either[name] |= (apart.units >= 20) & (abs(z) > BOTH_SIDED)


def _plain(n: Floats, sums: Floats, squares: Floats) -> Floats:
    """Deviations between the arm and the control, over stages weighted by what they compare."""
    with np.errstate(all="ignore"):
        mean = sums / n
        noise = (squares - n * mean * mean) / (n - 1) / n
        valid = (n > 1).all(axis=2)
        weight = np.where(valid, n[:, :, ARM] * n[:, :, CONTROL] / n.sum(axis=2), 0.0)
        apart = np.where(valid, weight * (mean[:, :, ARM] - mean[:, :, CONTROL]), 0.0).sum(axis=1)
        spread = np.where(valid, weight**2 * noise.sum(axis=2), 0.0).sum(axis=1)
        return np.nan_to_num(apart / np.sqrt(spread))


# --- what is tried


def rollout_of(*ramp: float, primary: GuardMetric | None = None, min_units: int = 100) -> Spec:
    """With the guards that every experiment has if it names none: errors, latency and cost."""
    shares = tuple(map(Share, ramp))
    return Spec(name="bench", arms=(ArmSpec("b"),), ramp=shares, primary=primary, min_units=min_units)


NOTHING = {
    "slower": Kind(trend=0.7, crowd=2_000),
    "faster": Kind(trend=-0.7, crowd=2_000),
    "steady": Kind(),
}
HARMS = {
    "error_2_6": (Kind(errors=0.06), 500),
    "error_2_12": (Kind(errors=0.12), 150),
    "latency_20": (Kind(latency=1.2), 300),
    "cost_25": (Kind(cost=1.25), 300),
}
RAMP = rollout_of(0.05, 0.25, 0.5)
HEAVY = {"latency_spread": 1.0, "cost_spread": 1.4}
GAIN = rollout_of(0.5, primary=GuardMetric("cost", 0.05))
GAINS = Kind(cost=0.85, errors=0.005, usual_errors=0.005)
POWER = 0.8

LIMITS = {
    "aa_wrong_better": Limit(0.05, 0.05, timed=False),
    "aa_wrong_rollback": Limit(0.05, 0.05, timed=False),
    **{f"rollback_units_{name}": Limit(most, most, timed=False) for name, (_, most) in HARMS.items()},
    "bad_promoted": Limit(0, 0, timed=False),
    "power_at_promise": Limit(POWER, POWER, most=False, timed=False),
}


def nothing(found: Report, seeds: int, calls: int) -> None:
    """The same in both arms. A figure is that of the world in which it is worst."""
    spec = rollout_of(0.05, 0.25, 0.5, primary=GuardMetric("latency", 0.05), min_units=50)
    for name, kind in NOTHING.items():
        counts: Counter[str] = Counter()
        for at, rollouts in enumerate(_parts(seeds)):
            naive = Naive(rollouts, len(spec.ramp))
            ended = followed(spec, kind, rollouts, calls, at, naive)
            counts["aa_wrong_better"] += int(ended.gained.sum())
            counts["aa_wrong_rollback"] += int(ended.back.sum())
            counts["aa_promoted"] += int(ended.promoted.sum())
            counts["aa_wrong_ratio"] += int(ended.odd.sum())
            for other in PLAIN:
                counts[f"{other}_wrong_better"] += int(naive.better[other].sum())
                counts[f"{other}_wrong_either"] += int(naive.either[other].sum())
        shares = {figure: count / seeds for figure, count in counts.items()}
        found.rows.append({"of": "nothing", "world": name, "seeds": seeds, "calls": calls, **shares})
        for figure, count in counts.items():
            if count / seeds >= (found.figures.get(figure) or 0):
                _share(found, figure, count, seeds)


def harms(found: Report, seeds: int) -> None:
    """Units that had the arm when it was taken back. A figure is the median where that is highest, of one call each;
    heavier tails are beside it."""
    for name, (kind, limit) in HARMS.items():
        most = 3 * limit
        figure = f"rollback_units_{name}"
        found.figures[figure] = 0
        for share in (0.05, 0.25, 0.5):
            row = harm(kind, rollout_of(share), seeds, int(most / share))
            found.rows.append({"of": "harm", "harm": name, "ramp": f"{share:.0%}", "tails": "light"} | row)
            highest = found.figures[figure]
            if highest is not None and (row["median"] is None or row["median"] > highest):
                found.figures[figure] = row["median"]
        if found.figures[figure] is None:
            found.missing[figure] = f"fewer than half were taken back before {most} units had the arm"
        few = max(seeds // 4, 25)
        beside = [("50%", "heavy", kind._replace(**HEAVY), 4 * most)]
        if not found.quick:  # one after the other: minutes
            beside += [("5-25-50%", "light", kind, 20 * most), ("50%", "users", kind._replace(crowd=4_000), 4 * most)]
        for ramp, tails, other, calls in beside:
            row = harm(other, rollout_of(0.5) if ramp == "50%" else RAMP, few, calls)
            found.rows.append({"of": "harm", "harm": name, "ramp": ramp, "tails": tails} | row)


def harm(kind: Kind, spec: Spec, seeds: int, calls: int) -> dict[str, Any]:
    if kind.crowd or len(spec.ramp) > 1:
        parts = [followed(spec, kind, rollouts, calls, at) for at, rollouts in enumerate(_parts(seeds))]
    else:
        parts = [looked(spec, kind, seeds, calls, 0)]
    units = np.sort(np.concatenate([one.treated for one in parts]))
    quantiles = {of: units[min(int(share * len(units)), len(units) - 1)] for of, share in QUANTILES.items()}
    return {
        "seeds": seeds,
        "back": float(np.mean(np.concatenate([one.back for one in parts]))),
        **{of: float(one) if np.isfinite(one) else None for of, one in quantiles.items()},
    }


QUANTILES = {"p10": 0.1, "median": 0.5, "p90": 0.9}


def bad(found: Report, arms: int, calls: int) -> None:
    """Arms that are clearly bad, in one thing or more, along a ramp; without a primary metric, which is laxest."""
    ways = [(0.06, 1.0, 1.0), (0.12, 1.0, 1.0), (0.02, 1.2, 1.0), (0.02, 1.0, 1.25), (0.05, 1.2, 0.5), (0.02, 0.7, 1.3)]
    errors, latency, cost = (np.resize(np.array(one), arms) for one in zip(*ways, strict=True))
    ended = followed(RAMP, Kind(errors, latency, cost), arms, calls, 0)
    promoted, back = int(ended.promoted.sum()), int(ended.back.sum())
    found.figures["bad_promoted"] = promoted * 1_000 / arms
    found.rows.append({"of": "bad", "arms": arms, "calls": calls, "promoted": promoted, "back": back})


def gains(found: Report, seeds: int) -> None:
    """An arm that saves 15 % and harms nothing, with as many units as were promised to do."""
    share = float(GAIN.ramp[0])
    spreads = {"cost": COST, "latency": LATENCY, "error_rate": GAINS.usual_errors}
    each = promised(GAIN, share, 1 - float(GAINS.cost), spreads, POWER)
    units = max(math.inf if one is None else one for one in each.values())
    ended = looked(GAIN, GAINS, seeds, math.ceil(units / share), 0)
    treated = np.sort(ended.treated)
    _share(found, "power_at_promise", int(ended.promoted.sum()), seeds)
    found.figures["units_promised"] = round(units)
    row = {"promoted": float(ended.promoted.mean()), "back": float(ended.back.mean()), "seeds": seeds}
    middle = float(treated[len(treated) // 2])
    found.rows.append(
        {"of": "gain", "promised": POWER, "units": round(units), "of_each": each, "median": middle, **row}
    )


def _parts(seeds: int) -> list[int]:
    return [min(AT_ONCE, seeds - at) for at in range(0, seeds, AT_ONCE)]


def _share(found: Report, figure: str, hits: int, of: int) -> None:
    """With Wilson's interval as its spread."""
    estimate = wilson(hits, of)
    found.figures[figure] = hits / of
    found.spread[figure] = (round(estimate.low or 0.0, 4), round(estimate.high or 0.0, 4))


# --- the bench


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--calls", type=int, metavar="N", help="of each rollout of nothing with nothing, and of bad arms"
    )


def run(options: argparse.Namespace) -> Report:
    seeds = options.seeds or (150 if options.quick else 2_000)
    found = Report("experiments", bool(options.quick), report.machine(), report.versions(), {}, limits=LIMITS)
    nothing(found, seeds, options.calls or (2_500 if options.quick else 5_000))
    harms(found, seeds)
    bad(found, 1_000, options.calls or (3_000 if options.quick else 20_000))
    gains(found, seeds)
    if options.quick:
        found.doubts.append(f"{seeds} seeds: shares are as sure as their intervals; the full bench takes 2,000")
    found.judge()
    return found


def said(found: Report) -> str:
    aa = ("world", "seeds", "aa_wrong_better", "aa_wrong_rollback", "aa_wrong_ratio")
    others = ("world", *(f"{other}_wrong_{what}" for what in ("better", "either") for other in PLAIN))
    back = ("harm", "ramp", "tails", "seeds", "back", "p10", "median", "p90")

    def rows(of: str, columns: tuple[str, ...]) -> str:
        return report.table(columns, [[row[name] for name in columns] for row in found.rows if row["of"] == of])

    gain, arms = (next(row for row in found.rows if row["of"] == of) for of in ("gain", "bad"))
    return "\n".join(
        (
            "Nothing with nothing, looked at after every call: shares of rollouts that were ever told to be better, or",
            "taken back.",
            rows("nothing", aa),
            "",
            "What others would have called better, or better or worse, on the same calls: a plain p-value at every",
            "look, calls for units, stages for one.",
            rows("nothing", others),
            "",
            "Units that had a worse arm when it was taken back. light: a call per unit, logarithms of latency and cost",
            "vary by 0.5 and 0.7; heavy: by 1.0 and 1.4; users: who come again, few of them very often.",
            rows("harm", back),
            "",
            f"Of {arms['arms']} bad arms {arms['back']} were taken back and {arms['promoted']} promoted.",
            f"A gain of 15 % was promoted in {gain['promoted']:.1%}, after {gain['median']:.0f} units in the middle; "
            f"promised were {gain['promised']:.0%} with {gain['units']}.",
            "",
            report.figures_table(found),
        )
    )
