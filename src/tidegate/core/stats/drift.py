"""Has it begun to fall? A sum of how far values lie below what they were at first, which starts again at nothing.

Page's CUSUM (1954), one-sided. A lasting fall adds up and is told soon; single bad values do not.
"""

from __future__ import annotations

import math

LEARNT = 200  # values that say what is usual
SLACK = 0.5  # deviations that a value may lie below without adding anything
BAR = 12.0  # deviations that the sum may come to: where nothing has changed, one alarm in some 15,000 values
LEAST = 0.05  # of the scale: no series is taken to be more even than that


class Falling:
    """One series of values of a scale from 0 to 1."""

    __slots__ = ("_count", "_mean", "_squares", "_sum")

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._count = 0
        self._mean = self._squares = self._sum = 0.0

    @property
    def usual(self) -> float | None:
        """The mean of the first; None until it is known."""
        return self._mean if self._count >= LEARNT else None

    def add(self, value: float) -> bool:
        """Whether this is where it is told: once for each fall. What is usual is learnt anew then."""
        if self._count < LEARNT:
            self._learn(value)
            return False
        deviation = max(math.sqrt(self._squares / (self._count - 1)), LEAST)
        self._sum = max(0.0, self._sum + (self._mean - value) / deviation - SLACK)
        if self._sum <= BAR:
            return False
        self._begin()
        return True

    def _learn(self, value: float) -> None:
        """Welford's way: mean and squares in one pass."""
        self._count += 1
        apart = value - self._mean
        self._mean += apart / self._count
        self._squares += apart * (value - self._mean)
