"""What is asked in a turn, and what is only given to answer it from?"""

from __future__ import annotations

import pytest

from tidegate.upstream.shrink.question import Said, asked

CONTEXT = "\n\n".join("The gate opens at six and closes at nine, unless it rains. " * 8 for _ in range(4))


@pytest.mark.parametrize(
    "text",
    [
        f"{CONTEXT}\n\nQuestion: When does it open?",
        f"When does it open?\n\n{CONTEXT}",
        f"Answer from what follows.\n\n{CONTEXT}\n\nWhen does it open?",
        f"Question: When does it open?\n\n{CONTEXT}\n\nAnswer:",
    ],
)
def test_the_question_stands_at_an_edge(text: str) -> None:
    found = asked([Said(text)])
    assert found.question.removeprefix("Question: ") == "When does it open?"
    assert [text[one.start : one.end].strip() for one in found.context] == [CONTEXT.strip()]


def test_a_short_text_is_the_question_and_a_long_one_the_context() -> None:
    found = asked([Said(CONTEXT), Said("Tell me when it opens")])
    assert (found.question, len(found.context)) == ("Tell me when it opens", 1)


def test_in_what_a_tool_answers_nobody_asks() -> None:
    found = asked([Said("When does it open?"), Said(f"{CONTEXT}\n\nWhy?", given=True)])
    assert found.question == "When does it open?"
    assert found.context[0].end == len(CONTEXT) + 6


def test_a_labelled_question_is_found_in_the_middle() -> None:
    assert asked([Said(f"{CONTEXT}\n\nQuestion: When?\n\n{CONTEXT}")]).question == "When?"


def test_a_label_begins_a_question_on_a_line_of_its_own() -> None:
    text = f"Context:\n{CONTEXT.strip()}\nQuestion: When does it open?\nHelpful answer:"
    found = asked([Said(text)])
    assert found.question == "When does it open?\nHelpful answer:"
    assert [text[one.start : one.end].strip() for one in found.context] == [f"Context:\n{CONTEXT.strip()}"]


def test_what_is_short_is_no_context() -> None:
    assert asked([Said("The gate opens at six.\n\nWhen does it open?")]).context == []


def test_where_nothing_is_short_nothing_is_asked() -> None:
    assert asked([Said(CONTEXT)]).question == ""
    assert asked([]).question == ""


@pytest.mark.parametrize(
    "said",
    [
        "Summarise this.",
        "Please translate it to French",
        "Read it, then list who is named.",
        "Could you proofread what follows?",
        "What is the main idea of it?",
        "Is there anything wrong in the whole text?",
        "tl;dr",
    ],
)
def test_who_wants_all_of_a_text_asks_for_no_part_of_it(said: str) -> None:
    assert asked([Said(f"{said}\n\n{CONTEXT}")]).question == ""


@pytest.mark.parametrize(
    "said",
    [
        "When does it open?",
        "Which list was it on?",
        "Who corrected the height?",
        "Which review praised it?",
        "When, says the text above?",
    ],
)
def test_who_asks_for_something_in_it_does(said: str) -> None:
    assert asked([Said(f"{CONTEXT}\n\n{said}")]).question == said
