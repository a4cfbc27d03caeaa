"""In which order are the targets of a route asked? Pure: what is known of each, and a die, decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Protocol

from tidegate.core.call import Route, Target

EXPLORED = 0.05  # of the calls of `fastest` go to another one first, or none could ever show that it has improved


class Known(Protocol):
    """What is known of a target."""

    @property
    def busy(self) -> int:
        """Calls under way."""

    @property
    def took_s(self) -> float | None:
        """A whole reply, lately; None: nobody knows."""

    @property
    def first_s(self) -> float | None:
        """The first token, lately; None: nobody knows."""


def plan(route: Route, known: Callable[[Target], Known], rand: Callable[[], float]) -> Sequence[Target]:
    """All targets of the route: lower `order` first, and within it as the route's strategy says."""
    targets = route.targets
    if route.strategy == "ordered" or len(targets) == 1:
        return targets
    planned: list[Target] = []
    for _, group in groupby(targets, key=lambda target: target.order):
        planned += _within(route.strategy, list(group), known, rand)
    return planned


def _within(
    strategy: str, group: list[Target], known: Callable[[Target], Known], rand: Callable[[], float]
) -> list[Target]:
    if len(group) == 1:
        return group
    if strategy == "weighted":
        return weighted(group, rand)
    if strategy == "least_busy":
        return least_busy(group, known, rand)
    return fastest(group, known, rand)


def weighted(group: list[Target], rand: Callable[[], float]) -> list[Target]:
    """Each first as often as its weight says; those of weight 0 last, in order."""
    draws = [rand() ** (1.0 / target.weight) if target.weight else -1.0 for target in group]
    return [target for _, target in sorted(zip(draws, group, strict=True), key=lambda pair: -pair[0])]


def least_busy(group: list[Target], known: Callable[[Target], Known], rand: Callable[[], float]) -> list[Target]:
    """Two by chance, and of them the less busy: looking at all would send everybody to the same one at once."""
    least = min((one for one in (known(target).took_s for target in group) if one is not None), default=1.0)

    def load(target: Target) -> float:
        about = known(target)
        return (about.busy + 1) * (least if about.took_s is None else about.took_s)

    first = int(rand() * len(group))
    second = (first + 1 + int(rand() * (len(group) - 1))) % len(group)
    best = min(group[first], group[second], key=load)
    return [best, *sorted((target for target in group if target is not best), key=load)]


def fastest(group: list[Target], known: Callable[[Target], Known], rand: Callable[[], float]) -> list[Target]:
    """By the time to the first token; those that nobody has asked yet go first."""

    def speed(target: Target) -> float:
        first_s = known(target).first_s
        return -1.0 if first_s is None else first_s

    ranked = sorted(group, key=speed)
    draw = rand()
    if draw < EXPLORED:
        ranked.insert(0, ranked.pop(1 + int(draw / EXPLORED * (len(ranked) - 1))))
    return ranked
