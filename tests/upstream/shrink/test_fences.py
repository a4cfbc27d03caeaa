"""Where is code in a text?"""

from __future__ import annotations

import pytest

from tidegate.upstream.shrink.fences import pieces


def test_code_is_what_stands_in_a_fence() -> None:
    text = "before\n```python\nx = 1\n```\nafter\n~~~\n``` no end of it\n~~~\n"
    assert [(piece, code) for piece, code in pieces(text)] == [
        ("before\n", False),
        ("```python\nx = 1\n```", True),
        ("\nafter\n", False),
        ("~~~\n``` no end of it\n~~~", True),
        ("\n", False),
    ]


@pytest.mark.parametrize("text", ["", "no code", "```\nno end", "a\n```", "a ``` b", "~~~~\nx\n~~~\ny"])
def test_no_letter_is_lost(text: str) -> None:
    assert "".join(piece for piece, _ in pieces(text)) == text


def test_a_fence_without_an_end_goes_on_to_the_last_line() -> None:
    assert list(pieces("a\n```\nx\n\ny")) == [("a\n", False), ("```\nx\n\ny", True)]
