"""A fall is told soon, and nothing seldom."""

from __future__ import annotations

import random
from statistics import median

from tidegate.core.stats.drift import LEARNT, Falling


def series(chance: random.Random, share: float = 0.85) -> Falling:
    found = Falling()
    for _ in range(LEARNT):
        assert not found.add(float(chance.random() < share))
    return found


def values_until(falling: Falling, chance: random.Random, share: float, most: int) -> int:
    for at in range(most):
        if falling.add(float(chance.random() < share)):
            return at + 1
    return most


def test_a_fall_is_told_soon():
    chance = random.Random(1)
    for share, soon in ((0.75, 800), (0.65, 90), (0.2, 20)):
        assert median(values_until(series(chance), chance, share, 5_000) for _ in range(20)) < soon


def test_where_nothing_falls_seldom_anything_is_told():
    chance = random.Random(2)
    told = sum(values_until(series(chance), chance, 0.85, 1_500) < 1_500 for _ in range(40))
    assert told <= 10
    better = sum(values_until(series(chance), chance, 0.95, 1_500) < 1_500 for _ in range(40))
    assert better == 0, "what rises is no fall"


def test_what_is_usual_is_learnt_anew_after_a_fall():
    found = series(random.Random(3), 1.0)
    assert found.usual == 1.0
    while not found.add(0.0):
        pass
    assert found.usual is None and not any(found.add(0.0) for _ in range(2_000))
