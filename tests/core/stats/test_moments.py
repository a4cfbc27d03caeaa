"""What is known of pieces is what is known of the whole."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.stats.moments import Moments


@given(st.integers(0, 10**6), st.integers(1, 5), st.floats(0, 1e6))
def test_pieces_add_up_to_what_numpy_says_of_all(seed, pieces, far):
    chance = np.random.default_rng(seed)
    rows = [chance.normal(far, 1, (int(chance.integers(1, 50)), 3)) for _ in range(pieces)]
    found = reduce(add, (Moments.of(*(column.tolist() for column in piece.T)) for piece in rows))
    whole = np.concatenate(rows)
    apart = whole - whole.mean(axis=0)
    assert found.n == len(whole) and found.means == pytest.approx(tuple(whole.mean(axis=0)))
    for ours, theirs in zip(found.products, apart.T @ apart, strict=True):
        assert ours == pytest.approx(tuple(theirs), rel=1e-6, abs=1e-5)


def test_values_that_are_large_and_alike_keep_their_spread():
    found = reduce(add, (Moments.of([1e9 + at % 2]) for at in range(10_000)))
    assert found.products[0][0] / found.n == pytest.approx(0.25, rel=1e-9)
