"""Has something changed? Of cases that were seen before and after, one value or one difference each."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from itertools import product
from statistics import fmean
from typing import NamedTuple

from tidegate.core.stats.distributions import coin_at_most

DRAWS = 9_999
FEW = 12  # differences of which every combination of signs is tried
PLANES = 20  # bits of a difference


class McNemar(NamedTuple):
    exact: float
    mid: float  # half the weight of what was seen: nearer to what it promises, where few have changed


def mcnemar(lost: int, gained: int) -> McNemar:
    """The two-sided p of pairs that passed before only, and after only."""
    less, of = min(lost, gained), lost + gained
    if not of:
        return McNemar(1.0, 1.0)
    tail, here = coin_at_most(less, of), math.comb(of, less) / 2**of
    return McNemar(min(1.0, 2 * tail), min(1.0, 2 * tail - here))


def sign_test(differences: Sequence[float]) -> float:
    """The two-sided p of as many above 0 as there are; what is 0 says nothing."""
    return mcnemar(sum(one < 0 for one in differences), sum(one > 0 for one in differences)).exact


def flipped(differences: Sequence[float], draws: int = DRAWS, seed: int = 0) -> float:
    """The two-sided p of a sum as far from 0 as theirs, were each sign that of a coin.

    Every combination of few, drawn ones of many. Pieces of a cluster are made one difference first: their signs are not
    independent. Where a tenth of the first thousand are as far there is nothing to find, and no more are drawn.
    """
    sizes = [abs(one) for one in differences if one]
    seen = abs(math.fsum(differences))
    if len(sizes) <= FEW:
        sums = [abs(math.fsum(signs)) for signs in product(*((-one, one) for one in sizes))]
        return sum(one >= seen * (1 - 1e-12) for one in sums) / len(sums)
    # Whole numbers, of which each bit is a mask over the cases: a draw is a few counts of bits, however many there are.
    unit, off = _unit(sizes)
    whole = [round(size / unit) for size in sizes]
    planes = max(whole).bit_length()
    masks = [sum(1 << at for at, size in enumerate(whole) if size >> plane & 1) for plane in range(planes)]
    far, total = seen / unit - off * len(whole), sum(whole)  # what rounding may have taken off counts as being as far
    chance, as_far = random.Random(seed), 0
    for drawn in range(1, draws + 1):
        signs = chance.getrandbits(len(whole))
        above = sum((signs & mask).bit_count() << plane for plane, mask in enumerate(masks))
        as_far += abs(2 * above - total) >= far
        if drawn == 1_000 and as_far >= 100:
            draws = drawn
            break
    return (as_far + 1) / (draws + 1)


def _unit(sizes: Sequence[float]) -> tuple[float, float]:
    """What they are multiples of, points and means of few points for instance, and how far off one may be then."""
    most, different = max(sizes), set(sizes)
    for steps in range(1, 128):
        unit = most / steps
        if all(abs(size / unit - round(size / unit)) < 1e-6 for size in different):
            return unit, 1e-5
    return most / 2**PLANES, 1.0


def bootstrap(
    values: Sequence[float], confidence: float = 0.95, draws: int = 2_000, seed: int = 0
) -> tuple[float, float]:
    """Between which the mean of others like these lies: one value for each cluster, drawn with putting back."""
    chance, of = random.Random(seed), len(values)
    if of < 2 or min(values) == max(values):
        return fmean(values), fmean(values)
    means = sorted(math.fsum(chance.choices(values, k=of)) / of for _ in range(draws))
    return _at(means, (1 - confidence) / 2), _at(means, (1 + confidence) / 2)


def _at(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """Each p as it counts where so many were looked at: those up to 0.05 are wrong in one of twenty on average."""
    return [adjusted for _, adjusted in sorted(_adjusted(ps))]


def _adjusted(ps: Sequence[float]) -> Iterator[tuple[int, float]]:
    least = 1.0
    for rank, at in sorted(enumerate(sorted(range(len(ps)), key=lambda at: ps[at]), 1), reverse=True):
        least = min(least, ps[at] * len(ps) / rank)
        yield at, least
