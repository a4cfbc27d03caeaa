"""Which sentences of long texts can be left out, when it is known what is asked?

Sentences stay or go as they are, with their numbers, names and quotations; nothing is put in other words. Code, data,
headings and orders stay. A gap within a paragraph is shown as `…`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.upstream.shrink.ranking import ranked
from tidegate.upstream.shrink.sentences import Sentence, sentences

FOUND = 0.3  # of the question: less, and nobody can say what it asks for
LEAST = 0.1  # of the texts: what saves less is not worth it
GAP = "… "


def selected(question: str, texts: Sequence[str], target: float) -> list[str] | None:
    """The texts without what the question asks for least, about `target` of their length.

    None where it is not worth it, or where the question is not found in them.
    """
    split = [sentences(text) for text in texts]
    said = [text[one.start : one.end] for text, some in zip(texts, split, strict=True) for one in some]
    paragraphs = _numbered(split)
    scores, found = ranked(question, said, paragraphs)
    if found < FOUND:
        return None
    fixed = [one.fixed for some in split for one in some]
    kept = chosen([len(one) for one in said], fixed, scores, target)
    parts: list[str] = []
    at = 0
    for some in split:
        parts.append(_joined(said, kept, paragraphs, range(at, at + len(some))))
        at += len(some)
    before, after = sum(map(len, texts)), sum(map(len, parts))
    return parts if after <= before * (1 - LEAST) else None


def chosen(sizes: Sequence[int], fixed: Sequence[bool], scores: Sequence[float], target: float) -> set[int]:
    """Who stays, by number: those that are fixed, then the best, as long as there is room."""
    room = sum(sizes) * (1 - target)
    kept = {at for at, stays in enumerate(fixed) if stays}
    room -= sum(sizes[at] for at in kept)
    for at in sorted(range(len(sizes)), key=lambda at: (-scores[at], at)):
        if at not in kept and sizes[at] <= room:
            kept.add(at)
            room -= sizes[at]
    return kept


def _numbered(split: Sequence[Sequence[Sentence]]) -> list[int]:
    """The paragraph of each sentence, counted over all texts."""
    numbers: list[int] = []
    first = 0
    for some in split:
        numbers += [first + one.paragraph for one in some]
        first += some[-1].paragraph + 1 if some else 0
    return numbers


def _joined(said: Sequence[str], kept: set[int], paragraphs: Sequence[int], numbers: range) -> str:
    """The sentences that stay, with a mark where a paragraph that is not wholly gone has a gap."""
    text = ""
    before: int | None = None  # the last that stays
    for at in [*(one for one in numbers if one in kept), None]:
        here, there = _of(paragraphs, before), _of(paragraphs, at)
        first = numbers.start if before is None else before + 1
        gone = range(first, numbers.stop if at is None else at)
        if here is not None and any(paragraphs[one] == here for one in gone):
            blanks = said[max(one for one in gone if paragraphs[one] == here)]
            text = f"{text.rstrip()} …{' ' if here == there else blanks[len(blanks.rstrip()) :]}"
        elif there is not None and here != there and any(paragraphs[one] == there for one in gone):
            text += GAP
        if at is not None:
            if gone and text and here != there and not text.endswith(("\n", GAP)) and not said[at].startswith("\n"):
                text += "\n"
            text += said[at]
        before = at
    return text


def _of(paragraphs: Sequence[int], at: int | None) -> int | None:
    return None if at is None else paragraphs[at]
