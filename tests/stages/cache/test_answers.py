"""Two answers say the same, or not; and how often that is mistaken is counted."""

from __future__ import annotations

import numpy as np

from tidegate.stages.cache.answers import Comparison, answer, same


def vector(*values: float) -> bytes:
    one = np.array(values, "<f4")
    return (one / np.linalg.norm(one)).tobytes()


def test_word_for_word_is_the_same_whatever_the_vectors_say():
    assert same(answer("a", "It is  open.", vector(1, 0)), answer("b", "It is open.", vector(0, 1)))


def test_alike_in_meaning_is_the_same():
    assert same(answer("a", "It is open.", vector(1, 0.1)), answer("b", "Yes, open.", vector(1, 0.2)))
    assert not same(answer("a", "It is open.", vector(1, 0)), answer("b", "Ask your bank.", vector(1, 1)))


def test_another_number_or_a_negation_is_another_answer():
    assert not same(answer("a", "It costs $5.", vector(1, 0.1)), answer("b", "It costs $6.", vector(1, 0.1)))
    assert not same(answer("a", "It is open.", vector(1, 0.1)), answer("b", "It is not open.", vector(1, 0.1)))


def test_errors_of_the_comparison_are_counted_on_pairs_whose_truth_is_known():
    comparison = Comparison()
    for called_same in (True, True, False):
        comparison.twice(called_same)
    comparison.strangers(True)
    comparison.strangers(False)
    assert comparison.noise.rates() == (1 / 2, 1 / 3)
