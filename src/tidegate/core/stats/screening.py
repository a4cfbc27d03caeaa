"""How often is a test right? Sensitivity, specificity, and the share that it would have found were it never wrong."""

from __future__ import annotations

import math
from typing import NamedTuple

from tidegate.core.stats import NORMAL, share_between
from tidegate.core.stats.distributions import beta_quantile


class Estimate(NamedTuple):
    """A figure, and the interval that holds the true one as often as its confidence says. None: nothing is known."""

    value: float | None
    low: float | None = None
    high: float | None = None


def wilson(hits: float, of: float, confidence: float = 0.95) -> Estimate:
    low, high = share_between(hits, of, (1 + confidence) / 2)
    return Estimate(hits / of if of else None, low, high)


def clopper_pearson(hits: float, of: float, confidence: float = 0.95) -> Estimate:
    """Never narrower than it says. Half a hit, of somebody who was asked twice, counts as one."""
    if of <= 0:
        return Estimate(None, 0.0, 1.0)
    beyond = (1 - confidence) / 2
    low = beta_quantile(beyond, hits, of - hits + 1) if hits > 0 else 0.0
    high = beta_quantile(1 - beyond, hits + 1, of - hits) if hits < of else 1.0
    return Estimate(hits / of, low, high)


class Screening(NamedTuple):
    """What a test said of those that are so, and of those that are not."""

    true_pass: int
    false_fail: int
    true_fail: int
    false_pass: int

    @property
    def so(self) -> int:
        return self.true_pass + self.false_fail

    @property
    def not_so(self) -> int:
        return self.true_fail + self.false_pass

    def sensitivity(self, confidence: float = 0.95) -> Estimate:
        return clopper_pearson(self.true_pass, self.so, confidence)

    def specificity(self, confidence: float = 0.95) -> Estimate:
        return clopper_pearson(self.true_fail, self.not_so, confidence)


def corrected(passed: int, of: int, test: Screening, confidence: float = 0.95) -> Estimate:
    """The true share, when the test let `passed` of `of` others pass (Rogan and Gladen 1978).

    The interval is Lang's and Reiczigel's (2014), which knows that sensitivity and specificity are estimates too. There
    is none, and no share, where the test may be no better than chance.
    """
    if not (of and test.so and test.not_so):
        return Estimate(None)
    right = test.true_pass / test.so + test.true_fail / test.not_so - 1
    if right <= 0:
        return Estimate(None)
    z = NORMAL.inv_cdf((1 + confidence) / 2)
    value = (passed / of + test.true_fail / test.not_so - 1) / right
    n, so, not_so = of + z * z, test.so + 2, test.not_so + 2
    seen, hit, calm = (passed + z * z / 2) / n, (test.true_pass + 1) / so, (test.true_fail + 1) / not_so
    better = hit + calm - 1
    share = (seen + calm - 1) / better
    hit_noise, calm_noise = hit * (1 - hit) / so, calm * (1 - calm) / not_so
    middle = share + 2 * z * z * (share * hit_noise - (1 - share) * calm_noise)
    noise = seen * (1 - seen) / n + share**2 * hit_noise + (1 - share) ** 2 * calm_noise
    reach = z * math.sqrt(noise) / better
    return Estimate(_share(value), _share(middle - reach), _share(middle + reach))


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))
