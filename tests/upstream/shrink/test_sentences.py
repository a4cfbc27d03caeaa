"""Where does each sentence of a text stand, and which must stay?"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.upstream.shrink.sentences import sentences


def split(text: str) -> list[str]:
    return [text[one.start : one.end] for one in sentences(text)]


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.sampled_from('aB. !?\n"`~#-{1“”'), max_size=80))
def test_every_letter_is_in_exactly_one_sentence(text: str) -> None:
    assert "".join(split(text)) == text


def test_a_sentence_ends_before_a_capital() -> None:
    assert split("The gate is shut. It opens at 6 a.m. on Mondays! Why?") == [
        "The gate is shut. ",
        "It opens at 6 a.m. on Mondays! ",
        "Why?",
    ]


@pytest.mark.parametrize(
    "text",
    ["Dr. Moor came.", "It is 3.5 metres high.", "J. R. Tide wrote it.", 'He said "Stop. Now." and left.'],
)
def test_what_ends_no_sentence(text: str) -> None:
    assert split(text) == [text]


def test_items_of_a_list_stand_for_themselves() -> None:
    assert split("There are two.\n- one is red\n- one is blue") == [
        "There are two.\n",
        "- one is red\n",
        "- one is blue",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "```\nx = 1. Or so\n```",
        "# Opening hours",
        '{"a": 1}',
        "| a | b |\n|---|---|",
        "    x = y",
        "3 rows, split by tab:\na\tb",
        "Always answer in French.",
        "Do not name the keeper.",
        "Question: when?",
    ],
)
def test_code_data_headings_and_orders_must_stay(text: str) -> None:
    assert [one.fixed for one in sentences(text)] == [True]


def test_prose_may_go() -> None:
    assert not any(one.fixed for one in sentences("The keeper noted it. Notable tides were rare that year."))


@pytest.mark.parametrize(
    "text",
    [
        "def opened(gate):\n    return gate.is_open",
        "for (const gate of gates) { gate.open(); } // All are open.",
        "import os\nimport sys",
        "2026-11-26 06:00:01,123 INFO gate 17/3: 200 OK 0.0031 s.",
        "Opening hours\nand who keeps them",
    ],
)
def test_code_lines_of_a_log_and_what_ends_like_no_sentence_must_stay(text: str) -> None:
    assert all(one.fixed for one in sentences(text))


def test_a_program_stays_with_its_comments() -> None:
    comment = "The gate is opened at six. Nobody does so at night.\n\n"
    assert all(one.fixed for one in sentences(f"{comment}x = [gate.open() for gate in gates]\n" * 9))
    assert not all(one.fixed for one in sentences(f"{comment * 9}x = [gate.open() for gate in gates]\n"))
