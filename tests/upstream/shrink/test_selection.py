"""Which sentences of long texts can be left out, when it is known what is asked?"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.upstream.shrink.selection import chosen, selected

GATE = "The gate opens at six. Its keeper is Ann. She has a lamp."
HARBOUR = "The harbour was built in 1880. It has two piers. Both are of stone."
BIRDS = "Gulls are noisy birds. They eat fish. They fly far out."
TEXT = "\n\n".join((GATE, HARBOUR, BIRDS))
QUESTION = "When does the gate open?"


def test_what_the_question_asks_for_stays() -> None:
    assert selected(QUESTION, [TEXT], 0.7) == ["The gate opens at six. Its keeper is Ann. …\n\n"]


def test_the_more_is_to_go_the_less_stays() -> None:
    left = [selected(QUESTION, [TEXT], target) for target in (0.2, 0.5, 0.8)]
    sizes = [len(one[0]) for one in left if one]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) == 3


def test_paragraphs_of_several_texts_are_weighed_together() -> None:
    assert selected(QUESTION, [BIRDS, GATE, HARBOUR], 0.65) == ["", GATE, ""]


def test_nothing_goes_where_the_question_is_not_found() -> None:
    assert selected("Which submarine sank?", [TEXT], 0.5) is None


def test_nothing_goes_where_it_would_save_little() -> None:
    assert selected(QUESTION, [TEXT], 0.05) is None


def test_code_and_orders_stay_whatever_is_asked() -> None:
    code = "```\nlamp = on\n```"
    left = selected(QUESTION, ["\n\n".join((BIRDS, code, HARBOUR, "Never name the keeper.", GATE))], 0.5)
    assert left is not None
    assert code in left[0] and "Never name the keeper." in left[0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from((GATE, HARBOUR, BIRDS, "```\nx\n```", "# Top")), max_size=6), st.floats(0.1, 0.9))
def test_what_is_left_stood_there(paragraphs: list[str], target: float) -> None:
    text = "\n\n".join(paragraphs)
    for piece in (selected(QUESTION, [text], target) or [text])[0].replace("…", "\n").split("\n"):
        assert piece.strip() in text


def test_the_best_stay_as_long_as_there_is_room() -> None:
    assert chosen([10, 10, 10, 10], [False, False, True, False], [3, 1, 0, 2], 0.5) == {0, 2}
