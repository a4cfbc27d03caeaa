"""Which tier answers? Whoever is worth its cost, where what a point of quality may cost is set by one promise.

Every tier has a chance to answer well and a cost, as a share of the dearest one's. The tier with the highest chance
less price × cost answers. The price is the highest with which the promise still held for the questions seen lately.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

Chances = Sequence[float]  # by tier, from the cheapest to the dearest
RESERVE = 0.1  # of the quality that may be lost, so much is not spent: what is foretold is a little too hopeful
STEPS = 40  # of halving: the price is then known to twelve digits


Kind = Literal["quality", "max_cost", "strong_share"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Promise(NamedTuple):
    """What must hold on average."""

    kind: Kind
    share: float  # of the quality, or the cost, of always asking the last tier; or of the calls, those that it gets


def chosen(chances: Chances, costs: Sequence[float], price: float, allowed: Iterable[int] | None = None) -> int:
    """The tier to ask; of two that are as good the cheaper. `allowed` names at least one."""
    best, most = -1, float("-inf")
    for tier in range(len(costs)) if allowed is None else allowed:
        worth = chances[tier] - price * costs[tier]
        if worth > most:
            best, most = tier, worth
    return best


def price_of(seen: Sequence[Chances], costs: Sequence[float], promise: Promise) -> float:
    """What quality may cost, so that the promise held for `seen`; as high, and so as thrifty, as it can be.

    For `max_cost` and `strong_share` it is as low as it can be: as good an answer as so much money buys.
    """
    if not seen or (promise.kind == "quality" and promise.share >= 1):
        return 0.0  # for an easier question than any that was seen, too
    steps = [later - before for before, later in pairwise(costs) if later > before]
    low, high = 0.0, 2.0 / min(steps, default=1.0)
    for _ in range(STEPS):
        middle = (low + high) / 2
        if keeps(seen, costs, promise, middle) == (promise.kind == "quality"):
            low = middle
        else:
            high = middle
    return low if promise.kind == "quality" else high


def keeps(seen: Sequence[Chances], costs: Sequence[float], promise: Promise, price: float) -> bool:
    tiers = [chosen(chances, costs, price) for chances in seen]
    last = len(costs) - 1
    if promise.kind == "strong_share":
        return tiers.count(last) <= promise.share * len(seen)
    if promise.kind == "max_cost":
        return sum(costs[tier] for tier in tiers) <= promise.share * costs[last] * len(seen)
    asked = promise.share + RESERVE * (1 - promise.share)
    got = sum(chances[tier] for chances, tier in zip(seen, tiers, strict=True))
    return got >= asked * sum(chances[last] for chances in seen)
