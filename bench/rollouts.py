"""What would many rollouts do, looked at after every call? The rules of `core/rollout.py`, for all of them at once.

`decide` looks at all lines anew, which takes milliseconds; two thousand rollouts that are looked at six thousand times
each would take days. Here sums are kept up to date call by call, in arrays with one row per rollout. A test holds both
to the same decisions (tests/test_bench_experiments.py).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.core.experiments import METRICS, Spec
from tidegate.core.findings import HAD, NEVER, SIZE, Level, chance_of, looked_at
from tidegate.core.rollout import WRONG_RATIO
from tidegate.core.stats.sequential_counts import WEIGHT
from tidegate.core.stats.sequential_means import ALIKE, FEWEST
from tidegate.core.stats.sequential_shares import stakes_above, stakes_below

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]
ARM, CONTROL = 0, 1


class Calls(NamedTuple):
    """One of each rollout."""

    unit: Numbers
    arm: Flags
    failed: Flags
    took_us: Floats
    cost_nusd: Floats


class Apart(NamedTuple):
    """As Difference, of each rollout; NaN where there is none."""

    estimate: Floats
    variance: Floats
    free: Floats
    units: Floats


class Means:
    """Of one metric: units' means, their sums by stage and group, and what units of several stages have in common."""

    def __init__(self, rollouts: int, units: int, stages: int, logs: bool) -> None:
        """No units: each call is of a new one, and none is kept."""
        self._rows = np.arange(rollouts)
        self._logs, self._again = logs, units > 0
        self._count = np.zeros((rollouts, units, stages))
        self._total = np.zeros((rollouts, units, stages))
        self._group = np.full((rollouts, units, stages), -1, np.int8)
        self.n = np.zeros((rollouts, stages, 2))
        self.sum = np.zeros((rollouts, stages, 2))
        self.squares = np.zeros((rollouts, stages, 2))
        # Of two cells of different stages: how many units they share, the sums of both, and of the products.
        self._both = np.zeros((rollouts, 2 * stages, 2 * stages, 4))
        self._stages = stages

    def add(self, at: Calls, stage: Numbers, counts: Flags, value: Floats) -> tuple[Floats, Floats, Flags]:
        """The unit's mean before and after, and whether it had one."""
        rows, group = self._rows, np.where(at.arm, ARM, CONTROL)
        here = (rows, at.unit, stage)
        old, known, count, total = np.zeros(len(rows)), np.zeros(len(rows), bool), 0.0 + counts, value * counts
        if self._again:
            before, sums = self._count[here], self._total[here]
            old, known = self._mean(before, sums), before > 0
            count, total = count + before, total + sums
            self._count[here], self._total[here] = count, total
            self._group[here] = np.where(count > 0, group, -1)
        new = self._mean(count, total)
        first = (count > 0) & ~known
        cell = (rows, stage, group)
        self.n[cell] += first
        self.sum[cell] += new - old
        self.squares[cell] += new * new - old * old
        for earlier in range(self._stages - 1 if self._again else 0):
            self._share(at, stage, group, earlier, new - old, first, count > 0)
        return old, new, known

    def fill(self, arm: Flags, counts: Flags, value: Floats, looks: Flags) -> Floats:
        """Of calls of new units, one stage, and a column for each call: each look becomes a row. Units' means."""
        new = self._mean(0.0 + counts, value * counts)
        for group, chosen in ((ARM, counts & arm), (CONTROL, counts & ~arm)):
            for sums, power in ((self.n, 1.0), (self.sum, new), (self.squares, new * new)):
                sums[:, 0, group] = np.cumsum(chosen * power, axis=1)[looks]
        return new

    def _share(
        self, at: Calls, stage: Numbers, group: Numbers, earlier: int, more: Floats, first: Flags, counts: Flags
    ) -> None:
        """Units of this stage that were seen in an earlier one."""
        other = self._group[self._rows, at.unit, earlier]
        rows = np.flatnonzero((other >= 0) & (earlier < stage) & counts)
        if not len(rows):
            return
        theirs = self._mean(*(kept[rows, at.unit[rows], earlier] for kept in (self._count, self._total)))
        both = (rows, 2 * earlier + other[rows], 2 * stage[rows] + group[rows])
        self._both[(*both, 0)] += first[rows]
        self._both[(*both, 1)] += np.where(first[rows], theirs, 0.0)
        self._both[(*both, 2)] += more[rows]
        self._both[(*both, 3)] += theirs * more[rows]

    def _mean(self, count: Floats, total: Floats) -> Floats:
        mean = total / np.maximum(count, 1)
        if self._logs:
            mean = np.log(np.where(count > 0, mean, 1.0))
        return np.where(count > 0, mean, 0.0)

    def apart(self) -> Apart:
        """What `compared` says."""
        with np.errstate(all="ignore"):
            n = self.n
            valid = (n > 1).all(axis=2)
            mean = self.sum / n
            squares = np.maximum(self.squares - n * mean * mean, 0.0)
            size = np.where(valid, n[:, :, ARM] * n[:, :, CONTROL] / n.sum(axis=2), 0.0)
            weight = size / size.sum(axis=1, keepdims=True)
            estimate = np.where(valid, weight * (mean[:, :, ARM] - mean[:, :, CONTROL]), 0.0).sum(axis=1)
            shared = squares.sum(axis=2) / (n.sum(axis=2) - 2)
            variance = np.maximum((squares + ALIKE * shared[:, :, None]) / (n - 1 + ALIKE), 1 / n)
            parts = np.where(valid[:, :, None], weight[:, :, None] ** 2 * variance / n, 0.0)
            whole = parts.sum(axis=(1, 2))
            free = whole**2 / np.where(valid[:, :, None], parts**2 / (n - 1 + ALIKE), 0.0).sum(axis=(1, 2))
            slope = np.stack([weight, -weight], axis=2) * np.sqrt(variance / n / squares)
            slope = np.where(valid[:, :, None] & (squares > 1e-12 * variance), slope, 0.0)
            units = np.where(valid[:, :, None], n, 0.0).sum(axis=1).min(axis=1)
            together = 2 * self._together(mean, slope)
        none = size.sum(axis=1) <= 0
        return Apart(np.where(none, np.nan, estimate), np.maximum(whole + together, 1e-12), free, units)

    def _together(self, mean: Floats, slope: Floats) -> Floats:
        if not self._again or self._stages == 1:
            return np.zeros(len(mean))
        mean, slope = np.nan_to_num(mean).reshape(len(mean), -1), slope.reshape(len(slope), -1)
        a, b, both = mean[:, :, None], mean[:, None, :], self._both
        apart = both[..., 3] - b * both[..., 1] - a * both[..., 2] + both[..., 0] * a * b
        return np.asarray((apart * slope[:, :, None] * slope[:, None, :]).sum(axis=(1, 2)))


class Bets:
    """Of one metric that is a share: what the bets against a difference have grown to."""

    def __init__(self, spec: Spec, rollouts: int, units: int, margin: float) -> None:
        stages, (arm,) = len(spec.ramp), spec.arms
        chances = [
            [chance_of(spec, arm.name, stage, before) for before in range(-1, stages)] for stage in range(stages)
        ]
        self._chance = np.array(chances)
        above, below = (
            np.moveaxis(np.array([[of(chance) for chance in row] for row in chances]), 2, 0)
            for of in (stakes_above, stakes_below)
        )
        self._bets = ((above, 0.0), (below, margin))
        self._logs = [np.zeros((len(stakes), rollouts)) for stakes, _ in self._bets]
        self._before = np.full((rollouts, units), NEVER, np.int8)  # of the stage in which it is
        self._last = np.full((rollouts, units), NEVER, np.int8)  # after that stage
        self._stage = np.full((rollouts, units), -1, np.int8)
        self._rows, self._again = np.arange(rollouts), units > 0

    def before(self, at: Calls, stage: Numbers) -> Numbers:
        """What chance had decided of the unit before this stage; called once for each call."""
        if not self._again:
            return np.full(len(stage), NEVER)
        here = (self._rows, at.unit)
        moved = self._stage[here] != stage
        self._before[here] = np.where(moved, self._last[here], self._before[here])
        self._stage[here] = stage
        self._last[here] = np.where(at.arm, HAD, stage)
        return self._before[here].astype(np.int64)

    def add(self, at: Calls, stage: Numbers, before: Numbers, old: Floats, new: Floats, known: Flags) -> None:
        chance = self._chance[stage, np.maximum(before, NEVER) + 1]
        counts = (before != HAD) & (chance > 0) & (chance < 1)
        chance = np.where(counts, chance, 0.5)
        weight = np.where(at.arm, 1 / chance, -1 / (1 - chance))
        for logs, (stakes, beyond) in zip(self._logs, self._bets, strict=True):
            stake = np.where(counts, stakes[:, stage, np.maximum(before, NEVER) + 1], 0.0)
            grown = np.log1p(stake * (weight * new - beyond))
            logs += grown - np.where(known, np.log1p(stake * (weight * old - beyond)), 0.0)

    def fill(self, arm: Flags, value: Floats, looks: Flags) -> None:
        chance = self._chance[0, 0]
        weight = np.where(arm, 1 / chance, -1 / (1 - chance))
        for logs, (stakes, beyond) in zip(self._logs, self._bets, strict=True):
            for row, stake in zip(logs, stakes[:, 0, 0], strict=True):
                row[:] = np.cumsum(np.log1p(stake * (weight * value - beyond)), axis=1)[looks]

    def evidence(self) -> tuple[Floats, Floats]:
        """That the arm is above the control; that it is above by less than the margin."""
        above, below = (np.logaddexp.reduce(logs, axis=0) - math.log(len(logs)) for logs in self._logs)
        return above, below


class Said(NamedTuple):
    """What one look says, of each rollout."""

    worse: Flags  # something is: it is taken back
    certain: Flags  # something is certainly worse, were it by a trifle
    worrying: Flags
    wins: Flags
    better: Flags  # the primary metric certainly is, by as much as wanted
    gains: Flags  # it certainly is, were it by a trifle
    odd: Flags  # the sample ratio is wrong
    lacks: Flags  # units in this stage


class Rollouts:
    """Of one spec with one arm. `stage` is moved on from outside, by what `said` tells."""

    def __init__(self, spec: Spec, rollouts: int, units: int) -> None:
        self.spec, self.stage = spec, np.zeros(rollouts, np.int64)
        self._rows, self._again = np.arange(rollouts), units > 0
        self._level = Level.of(spec)
        stages = len(spec.ramp)
        names = {metric.metric for _, metric in looked_at(spec)}
        self.means = {name: Means(rollouts, units, stages, METRICS[name].kind == "ratio") for name in sorted(names)}
        self._bets = {
            guard.metric: Bets(spec, rollouts, units, guard.margin)
            for guard in spec.guards
            if METRICS[guard.metric].kind == "share"
        }
        self._seen = np.zeros((rollouts, stages, 2))
        self._ever = np.zeros((rollouts, units), bool)
        self._in = np.zeros((rollouts, units, stages), bool)
        self._ratio = np.zeros((rollouts, stages))
        self._counted = np.zeros((rollouts, stages, 2))
        self.treated = np.zeros(rollouts)  # units that have had the arm
        self._had = np.zeros((rollouts, units), bool)

    def call(self, at: Calls) -> None:
        rows, stage, group = self._rows, self.stage, np.where(at.arm, ARM, CONTROL)
        never = new = had = np.ones(len(rows), bool)
        if self._again:
            there = (rows, at.unit)
            never, new, had = ~self._ever[there], ~self._in[(*there, stage)], ~self._had[there]
            self._ever[there], self._in[(*there, stage)] = True, True
            self._had[there] |= at.arm
        self._give_out(never, stage, group)
        self._counted[rows, stage, group] += new
        self.treated += at.arm & had
        given = _given(at)
        for name, means in self.means.items():
            changed = means.add(at, stage, *given[name])
            if name in self._bets:
                bets = self._bets[name]
                bets.add(at, stage, bets.before(at, stage), *changed)

    @classmethod
    def of_looks(cls, spec: Spec, at: Calls, looks: Flags) -> Rollouts:
        """Of one stage, where each call is of a new unit: `at` has a row for each rollout and a column for each call,
        and each of the looks becomes a row of what is returned. Much quicker than one after the other."""
        many, given = cls(spec, int(looks.sum()), 0), _given(at)
        for name, means in many.means.items():
            values = means.fill(at.arm, *given[name], looks)
            if name in many._bets:
                many._bets[name].fill(at.arm, values, looks)
        share, place = float(spec.ramp[0]), np.arange(at.arm.shape[1])
        treated = np.cumsum(at.arm, axis=1)
        own = np.where(at.arm, treated, place + 1 - treated) - 1
        chance = np.where(at.arm, share, 1 - share)
        guessed = (WEIGHT * chance + own) / (WEIGHT + place)
        many._ratio[:, 0] = np.cumsum(np.log(guessed / chance), axis=1)[looks]
        many._seen[:, 0, ARM] = many._counted[:, 0, ARM] = many.treated = treated[looks].astype(float)
        many._seen[:, 0, CONTROL] = (place + 1 - treated)[looks]
        return many

    def _give_out(self, new: Flags, stage: Numbers, group: Numbers) -> None:
        share = np.asarray(self.spec.ramp)[stage]
        chance = np.where(group == ARM, share, 1 - share)
        cell, seen = (self._rows, stage, group), self._seen[self._rows, stage]
        guessed = (WEIGHT * chance + self._seen[cell]) / (WEIGHT + seen.sum(axis=1))
        self._ratio[self._rows, stage] += np.where(new, np.log(guessed / chance), 0.0)
        self._seen[cell] += new

    def apart(self) -> dict[str, Apart]:
        return {name: means.apart() for name, means in self.means.items()}

    def said(self, apart: dict[str, Apart] | None = None) -> Said:
        size = len(self.stage)
        worse, certain, worrying = (np.zeros(size, bool) for _ in range(3))
        wins = np.ones(size, bool)
        better, gains = np.zeros(size, bool), np.zeros(size, bool)
        apart = apart or self.apart()
        for role, metric in looked_at(self.spec):
            found, logs = apart[metric.metric], METRICS[metric.metric].kind == "ratio"
            margin = math.log1p(metric.margin) if logs else metric.margin
            known = ~np.isnan(found.estimate)
            if metric.metric in self._bets:
                above, below = self._bets[metric.metric].evidence()
                harm = known & (above >= -math.log(self._level.harm))
                within = known & (below >= -math.log(self._level.safe)) & (found.estimate < margin)
            else:
                known &= found.units >= FEWEST
                harm = known & _surely(found, found.estimate, SIZE * margin, self._level.harm)
                within = known & _surely(found, margin - found.estimate, SIZE * margin, self._level.safe)
            beyond = ~np.isnan(found.estimate) & (found.estimate > margin)
            certain |= harm
            worse |= harm & beyond
            worrying |= beyond
            if role == "guard":
                wins &= within & ~(harm & beyond)
                continue
            gains = known & _surely(found, -found.estimate, SIZE * margin, self._level.safe)
            wanted = -math.log1p(-metric.margin) if logs else metric.margin
            better = gains & (-found.estimate >= wanted)
            wins &= better
        return Said(worse, certain, worrying, wins, better, gains, self._odd(), self._lacks())

    def _odd(self) -> Flags:
        began = self._seen.sum(axis=2) > 0
        logs = np.where(began, self._ratio, -np.inf)
        mixed = np.logaddexp.reduce(logs, axis=1) - np.log(np.maximum(began.sum(axis=1), 1))
        return np.asarray(mixed > -math.log(WRONG_RATIO))

    def _lacks(self) -> Flags:
        return np.asarray(self._counted[self._rows, self.stage, ARM] < self.spec.min_units)

    def moves_on(self, said: Said) -> Flags:
        """Which of them advance; those that promote are at their last stage, or could not be compared at the next."""
        last = self.stage >= len(self.spec.ramp) - 1
        coming = np.asarray([*self.spec.ramp[1:], 1.0])[self.stage]
        calm = ~(said.worse | said.odd | said.lacks | said.worrying)
        return np.asarray(calm & ~last & ((coming < 1) | said.wins))

    def promotes(self, said: Said) -> Flags:
        last = self.stage >= len(self.spec.ramp) - 1
        return np.asarray(last & said.wins & ~(said.worse | said.odd | said.lacks))


def _given(at: Calls) -> dict[str, tuple[Flags, Floats]]:
    """Of each metric, whether the call counts, and its value."""
    whole = np.ones(at.arm.shape, bool)
    return {
        "error_rate": (whole, at.failed.astype(float)),
        "latency": (~at.failed, at.took_us),
        "cost": (whole, at.cost_nusd),
    }


def _surely(found: Apart, distance: Floats, size: float, alpha: float) -> Flags:
    """Whether the evidence that `distance` is above 0 is 1/alpha."""
    with np.errstate(all="ignore"):
        t = distance / np.sqrt(found.variance)
        free, gain = found.free, size * size / found.variance
        z = (8 * free + 1) / (8 * free + 3) * np.sqrt(free * np.log1p(t * t / free))
        part = gain / (1 + gain)
        logs = math.log(2) + np.log(_below(z * np.sqrt(part))) + part * z * z / 2 - np.log1p(gain) / 2
        return np.asarray((t > 0) & (logs >= -math.log(alpha)))


def _below(z: Floats) -> Floats:
    """A normal distribution's share below z > 0, to 1e-7 (Abramowitz and Stegun 26.2.17): numpy has none."""
    t = 1 / (1 + 0.2316419 * z)
    tail = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    return np.asarray(1 - np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * tail)
