"""A candidate's features, by table."""

from __future__ import annotations

import pytest

from tidegate.core.ports import Near
from tidegate.stages.cache.neighbourhood import candidate


def near(id: str, similarity: float, answer: str, right: int = 0, wrong: int = 0) -> Near:
    return Near(id, similarity, answer, (), right, wrong)


def test_the_nearest_that_may_be_served_is_the_candidate():
    found = candidate([near("a", 0.9, "x"), near("b", 0.8, "y")], [False, True])
    assert found is not None
    assert found.entry.id == "b"
    assert found.features[1] == pytest.approx(-0.1), "what may not be served still speaks against it"


def test_where_nothing_may_be_served_there_is_none():
    assert candidate([], []) is None
    assert candidate([near("a", 0.9, "x")], [False]) is None


def test_the_margin_is_over_the_nearest_different_answer():
    entries = [near("a", 0.9, "x"), near("b", 0.85, "x"), near("c", 0.7, "y"), near("d", 0.6, "x")]
    found = candidate(entries, [True] * 4)
    assert found is not None
    similarity, margin, agreement, closeness, *_ = found.features
    assert (similarity, margin) == (0.9, pytest.approx(0.2))
    assert agreement > 2
    assert closeness == pytest.approx((0.9 + 0.85 + 0.6) / 3)


@pytest.mark.parametrize(("better", "worse"), [((3, 0), (0, 0)), ((0, 0), (0, 2)), ((5, 1), (1, 1))])
def test_a_better_record_speaks_for_an_entry(better, worse):
    found = [candidate([near("a", 0.9, "x", *record), near("b", 0.5, "y")], [True] * 2) for record in (better, worse)]
    first, second = (one.features for one in found if one)
    assert first[4] > second[4]
    assert first[5] > second[5]
