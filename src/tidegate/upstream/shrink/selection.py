"""Which sentences of long texts can be left out, when it is known what is asked?

Sentences stay or go as they are, with their numbers, names and quotations; nothing is put in other words. Code, data,
headings and orders stay. A gap within a paragraph is shown as `…`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

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
    """The paragraphs that are not wholly gone."""
    text = ""
    gone = False
    for _, some in groupby(numbers, lambda at: paragraphs[at]):
        left = _paragraph(said, kept, list(some))
        if left and gone and text and not text.endswith("\n") and not left.startswith("\n"):
            text += "\n"  # what parted them went with what stood between
        text += left
        gone = not left
    return text


def _paragraph(said: Sequence[str], kept: set[int], numbers: Sequence[int]) -> str:
    """The sentences of one that stay, with a mark where others stood; empty where none does."""
    if kept.isdisjoint(numbers):
        return ""
    text = ""
    gap = False
    for at in numbers:
        if at in kept:
            text += f"{GAP}{said[at]}" if gap else said[at]
        gap = at not in kept
    last = said[numbers[-1]]
    return f"{text.rstrip()} …{last[len(last.rstrip()) :]}" if gap else text
