"""What was said before, word for word?"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.upstream.shrink.repeats import referred, restored

LONG = "The tide comes in twice a day, and the gate is opened for it by whoever is on duty. " * 4
OTHER = "Nobody has opened the gate at night since the winter in which the keeper lost his lamp. " * 4
CODE = f"```\n{LONG}\n```"
BLOCKS = (LONG, OTHER, CODE, "short", "", LONG[:-10], f"{LONG}\n{OTHER}")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.sampled_from(BLOCKS), max_size=5).map("\n\n".join), max_size=5))
def test_all_that_is_left_out_can_be_put_back(texts: list[str]) -> None:
    short = referred(texts)
    assert restored(short) == texts
    assert sum(map(len, short)) <= sum(map(len, texts))


def test_a_text_that_was_said_before_is_only_referred_to() -> None:
    first, again = referred([f"{LONG}\n\n{OTHER}", f"{LONG}\n\n{OTHER}"])
    assert first == f"{LONG}\n\n{OTHER}"
    assert again == '[as said before, 690 characters from "The tide comes in twice a day, and the g…"]'


def test_a_paragraph_is_referred_to_within_its_own_text() -> None:
    [text] = referred([f"{LONG}\n\nand\n\n{LONG}"])
    assert text.startswith(f"{LONG}\n\nand\n\n[as said before, ")


def test_what_comes_later_changes_nothing_before_it() -> None:
    texts = [LONG, f"{OTHER}\n\n{LONG}", OTHER]
    assert [referred(texts[:many])[:many] for many in (1, 2)] == [referred(texts)[:1], referred(texts)[:2]]


def test_code_is_never_replaced() -> None:
    assert referred([CODE, CODE]) == [CODE, CODE]


def test_from_a_text_on_that_holds_a_reference_of_its_own_nothing_is_replaced() -> None:
    texts = [LONG, '[as said before, 3 characters from "x…"]', LONG]
    assert referred(texts) == texts


def test_two_texts_that_begin_alike_are_not_referred_to() -> None:
    one, two = LONG + "a", LONG + "b"
    assert referred([one, two, one, two]) == [one, two, one, two]
