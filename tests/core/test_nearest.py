from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.effort import steps
from tidegate.core.nearest import nearest


def test_the_nearest_is_named_or_all_that_there_are() -> None:
    assert nearest("spar", ["main", "spare"]) == "did you mean 'spare'?"
    assert nearest("x", ["main", "spare"]) == "there are: main, spare"


def test_of_many_twenty_are_named_and_the_others_counted() -> None:
    said = nearest("x", [f"route-{at}" for at in range(23)])
    assert said.endswith("route-18, route-19 and 3 more") and said.startswith("there are: route-0, route-1,")


def test_where_there_is_nothing_it_says_so() -> None:
    assert nearest("x", []) == "there are: none"
    assert nearest("x", [], "there is no prompt yet") == "there is no prompt yet"


def test_of_a_thousand_names_the_one_that_was_meant_is_found_and_few_are_compared() -> None:
    there = [f"{team}-{what}-{at}" for team in ("sales", "legal") for what in ("fast", "good") for at in range(250)]
    there.insert(700, "support-chat")
    assert nearest("suport-chat", there) == "did you mean 'support-chat'?"
    assert steps(lambda: nearest("suport-chat", there)) < 20_000  # were all compared: over 100,000


@given(st.text(), st.lists(st.text(), max_size=30))
def test_any_name_has_an_answer(name: str, there: list[str]) -> None:
    assert nearest(name, there).startswith(("did you mean ", "there are: "))


def test_a_name_of_a_million_letters_is_no_more_work_than_one_of_two_hundred() -> None:
    there = [f"route-{at}" for at in range(50)]
    assert steps(lambda: nearest("rout" * 250_000, there)) == steps(lambda: nearest("rout" * 50, there))
