"""Level 1: what of the context of a turn is not asked for? What stands in one message is weighed together.

The question is what the user says in the turn. What a later message brings changes nothing in an earlier one: so the
steps of an agent send the same beginning again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tidegate.upstream.shrink.parts import Part
from tidegate.upstream.shrink.question import Said, Span, asked
from tidegate.upstream.shrink.selection import selected


class Select(Protocol):
    """Texts without what a question does not ask for; None: as they are."""

    def __call__(self, question: str, texts: Sequence[str], target: float, /) -> Sequence[str] | None: ...


def relevant(parts: Sequence[Part], target: float, select: Select = selected) -> list[str]:
    """The texts of `parts`, which are of one turn, without what its question asks for least."""
    texts = [part.text for part in parts]
    question, context = asked([Said(part.text, part.given) for part in parts])
    if not question:
        return texts
    for message in dict.fromkeys(parts[span.text].message for span in context):
        spans = [span for span in context if parts[span.text].message == message]
        short = select(question, [texts[span.text][span.start : span.end] for span in spans], target)
        for span, text in zip(spans, short or (), strict=short is not None):
            texts[span.text] = _spliced(texts[span.text], span, text)
    return texts


def _spliced(text: str, span: Span, new: str) -> str:
    return f"{text[: span.start]}{new}{text[span.end :]}"
