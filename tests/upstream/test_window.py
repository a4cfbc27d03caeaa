"""Counts slide: what is older than the window is forgotten, and nothing younger is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate.upstream.window import STEPS, Window

S = 1_000_000_000


def test_counts_are_kept_by_kind_and_forgotten_after_their_time() -> None:
    window = Window(10, 2)
    window.add(100 * S, 0)
    window.add(105 * S, 0)
    window.add(105 * S, 1)
    assert list(window.totals(108 * S)) == [2, 1]
    assert list(window.totals(111 * S)) == [1, 1]
    assert list(window.totals(116 * S)) == [0, 0]


def test_a_window_that_is_cleared_is_empty() -> None:
    window = Window(10, 1)
    window.add(S, 0)
    window.clear()
    assert list(window.totals(S)) == [0] and list(window.totals(20 * S)) == [0]


@given(st.lists(st.integers(0, 40 * S), max_size=50), st.integers(0, 60 * S))
def test_it_says_what_counting_would_give_or_take_one_step(times: list[int], later: int) -> None:
    window, now = Window(10, 1), 0
    for now in sorted(times):
        window.add(now, 0)
    now += later
    (told,) = window.totals(now)
    step = 10 * S // STEPS
    least = sum(now - time < 10 * S - step for time in times)
    most = sum(now - time <= 10 * S for time in times)
    assert least <= told <= most
