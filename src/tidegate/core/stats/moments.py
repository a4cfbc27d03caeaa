"""What are values like, and how do they vary together, however many there are? What is known of pieces adds up.

Around the means and not around 0 (Chan, Golub and LeVeque 1979): nothing is lost where values are large and alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import mul

import msgspec


class Moments(msgspec.Struct, frozen=True, array_like=True):
    """Of `n` rows: the mean of each column, and of each two the sum of the products of how far values are off."""

    n: int
    means: tuple[float, ...]
    products: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, *columns: Sequence[float]) -> Moments:
        """One column of values or more, each as long, and not empty."""
        n = len(columns[0])
        means = tuple(sum(column) / n for column in columns)
        apart = [[value - mean for value in column] for column, mean in zip(columns, means, strict=True)]
        return cls(n, means, tuple(tuple(sum(map(mul, one, other)) for other in apart) for one in apart))

    def __add__(self, other: Moments) -> Moments:
        n, apart = self.n + other.n, tuple(b - a for a, b in zip(self.means, other.means, strict=True))
        part, weight = other.n / n, self.n * other.n / n
        means = tuple(a + part * way for a, way in zip(self.means, apart, strict=True))
        products = tuple(
            tuple(a + b + weight * way * across for a, b, across in zip(ours, theirs, apart, strict=True))
            for ours, theirs, way in zip(self.products, other.products, apart, strict=True)
        )
        return Moments(n, means, products)

    def mean(self, weights: Sequence[float], begin: int = 0) -> float:
        """Of what the values from there on come to with these weights."""
        return sum(weight * self.means[begin + at] for at, weight in enumerate(weights))

    def product(self, weights: Sequence[float], begin: int = 0) -> float:
        """Of what the first values come to, with what those from there on come to."""
        return sum(
            one * other * self.products[at][begin + across]
            for at, one in enumerate(weights)
            for across, other in enumerate(weights)
        )
