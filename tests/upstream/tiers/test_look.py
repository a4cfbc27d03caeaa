"""What a question looks like, in numbers that anybody can check by reading it."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tests.effort import steps
from tidegate.upstream.tiers.look import MOST, NAMES, features


def seen(text: str) -> dict[str, float]:
    return dict(zip(NAMES, features(text), strict=True))


def test_counts_are_logarithms_and_shares_are_shares() -> None:
    look = seen("Is 12 more than 7? If so, why?")
    assert look["words"] == math.log1p(8) and look["numbers"] == math.log1p(2)
    assert look["number_share"] == 2 / 8 and look["sentences"] == math.log1p(2)
    assert look["compare"] == math.log1p(2) and look["logic"] == math.log1p(1) and look["why"] == math.log1p(1)


def test_code_mathematics_and_other_languages_are_seen() -> None:
    assert seen("def f(x): return x")["code"] == 1.0 and seen("tell me a story")["code"] == 0.0
    assert seen("x = 2*y + 1")["symbols"] > 0 and seen("Wie spät ist es?")["foreign"] > 0


def test_a_long_text_looks_as_long_as_it_is() -> None:
    short, long = seen("one two three, four. " * 20), seen("one two three, four. " * 2_000)
    assert long["words"] > short["words"] + 4 and abs(long["commas"] - math.log1p(2_000)) < 0.05
    assert abs(long["comma_share"] - short["comma_share"]) < 0.02


@given(st.text(st.characters(codec=None), max_size=3 * MOST))
def test_whatever_is_said_becomes_numbers(text: str) -> None:
    found = features(text)
    assert len(found) == len(NAMES) and all(math.isfinite(one) for one in found)


def test_looking_at_a_long_text_is_no_more_work_than_at_two_thousand_characters() -> None:
    text = "A train leaves at 9:40, and (if it is late) 3 of 4 people who wait say: how much is x = 2*y? "
    long, endless = text * 40, text * 4_000
    assert steps(lambda: features(long)) == steps(lambda: features(endless)) < 3_000
