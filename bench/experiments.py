"""Is a rollout decided rightly? Thousands of them with arms of known quality, each looked at after every call.

Tests of nothing with nothing: units that come often or seldom and differ from each other, while everything gets slower,
dearer and fails more during the ramp. Then arms that are worse in one thing, and an arm that is better by as much as was
said before. Beside our rules, on the same calls: a plain p-value that is peeked at, calls taken for units, and stages
taken for one.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from bench import report
from bench.report import Report
from bench.rollouts import ARM, CONTROL, Apart, Calls, Flags, Floats, Numbers, Rollouts
from tidegate.core.experiments import ArmSpec, GuardMetric, Spec
from tidegate.core.stats.screening import wilson
from tidegate.core.values import Share

LATENCY, COST, ERRORS = 0.5, 0.7, 0.02  # spreads of logarithms, and the share of calls that fail
AT_ONCE = 250  # rollouts, as arrays of this many rows
ONE_SIDED = 1.6449  # deviations: p below 0.05


class Kind(NamedTuple):
    """What the arm does, and how units are."""

    errors: float = ERRORS
    latency: float = 1.0
    cost: float = 1.0
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
        fails = np.where(arm, kind.errors, ERRORS) * np.exp(own[2] - own.any() * 0.5 + grown)
        latency = chance.normal(0, kind.latency_spread, size) + own[0] + grown + np.log(np.where(arm, kind.latency, 1))
        cost = chance.normal(0, kind.cost_spread, size) + own[1] + grown + np.log(np.where(arm, kind.cost, 1))
        return Calls(unit, arm, chance.random(size) < fails, 1e6 * np.exp(latency), 1e6 * np.exp(cost))


class Ended(NamedTuple):
    """How each rollout ended, and how many units had the arm by then."""

    back: Flags
    promoted: Flags
    odd: Flags
    gained: Flags  # at some look the primary metric was certainly better
    better: Flags
    certain: Flags  # at some look something was certainly worse
    treated: Floats


def followed(spec: Spec, kind: Kind, rollouts: int, calls: int, seed: int, naive: Naive | None = None) -> Ended:
    """Until it is decided, or the calls are over. Nothing is stopped when `naive` looks on: it sees all calls."""
    world, many = World(kind, rollouts, calls, seed), Rollouts(spec, rollouts, kind.crowd)
    ramp = np.asarray(spec.ramp)
    back, promoted, odd, gained, better, certain = (np.zeros(rollouts, bool) for _ in range(6))
    treated = np.full(rollouts, np.nan)
    for at in range(calls):
        call = world.next(at, ramp[many.stage])
        many.call(call)
        apart = many.apart()
        said = many.said(apart)
        over = back | promoted
        odd |= said.odd & ~over
        gained |= said.gains
        better |= said.better
        certain |= said.certain
        ends = ~over & (said.worse | many.promotes(said))
        treated[ends] = many.treated[ends]
        back |= ends & said.worse
        promoted |= ends & ~said.worse
        if naive:
            naive.look(many, call, apart["latency"])
        elif (back | promoted).all():
            break
        many.stage = many.stage + many.moves_on(said)
    return Ended(back, promoted, odd, gained, better, certain, treated)


class Naive:
    """What others would have said, on the same calls: better, at whatever look, with p below 0.05 on this side."""

    def __init__(self, rollouts: int, stages: int) -> None:
        self.peeked, self.calls, self.pooled = (np.zeros(rollouts, bool) for _ in range(3))
        self._sums = np.zeros((3, rollouts, stages, 2))
        self._rows = np.arange(rollouts)

    def look(self, many: Rollouts, at: Calls, apart: Apart) -> None:
        value, cell = np.log(at.took_us), (self._rows, many.stage, np.where(at.arm, ARM, CONTROL))
        for sums, power in zip(self._sums, (value**0, value, value * value), strict=True):
            sums[cell] += np.where(at.failed, 0.0, power)
        means = many.means["latency"]
        enough = apart.units >= 20
        with np.errstate(all="ignore"):
            self.peeked |= enough & (apart.estimate / np.sqrt(apart.variance) < -ONE_SIDED)
        self.calls |= enough & (_plain(*self._sums) < -ONE_SIDED)
        sums = (means.n.sum(axis=1), means.sum.sum(axis=1), means.squares.sum(axis=1))
        self.pooled |= enough & (_plain(*(one[:, None] for one in sums)) < -ONE_SIDED)


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
