"""Which sentences does a question ask for? By its words, theirs, those around them and those of their paragraph.

BM25 (Robertson and Zaragoza, 2009) over the sentences and again over the paragraphs. A word of the question that
stands nowhere is looked for among those that begin or are spelt like it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from tidegate.upstream.shrink.words import like, words

SATURATION, LENGTH = 1.2, 0.75  # BM25's k1 and b
OWN, PARAGRAPH, NEIGHBOUR = 1.0, 1.5, 0.5  # what each counts for; of each, the best is 1
MOST_ASKED, MOST_NAMES = 64, 16  # words of a question, and names, that are looked for
NUMBER = 0.1  # a sentence with a number in it, where the question asks for one
NAME = 0.1  # for each name of the question, or quotation of it, that stands in it word for word

_ASKS_NUMBER = re.compile(
    r"\b(?:how (?:many|much|old|long|far|often|large|big|tall)|when|"
    r"(?:what|which) (?:year|date|day|percentage|number))\b",
    re.IGNORECASE,
)
_NAME = re.compile(
    r"\"([^\"]{2,60})\"|“([^”]{2,60})”|(?<!^)(?<![.?!] )\b([A-Z][\w'-]+(?: [A-Z][\w'-]+)*)|\b(\d[\d.,:/-]*\d|\d)\b"
)


class Ranked(NamedTuple):
    """`scores`, one for each sentence; `found`: how much of the question stands in its best paragraph, 0–1."""

    scores: list[float]
    found: float


def ranked(question: str, sentences: Sequence[str], paragraphs: Sequence[int]) -> Ranked:
    """`paragraphs` says which one each sentence is of; those of one stand together."""
    stems: dict[str, str] = {}
    said = [words(one, stems) for one in sentences]
    together: dict[int, list[str]] = {}
    for paragraph, some in zip(paragraphs, said, strict=True):
        together.setdefault(paragraph, []).extend(some)
    asked = dict.fromkeys(words(question)[:MOST_ASKED], 1.0)
    rare = _rarity(said)
    wanted = dict(asked)
    for word in asked:
        if word not in rare:
            for other, worth in like(word, rare).items():
                wanted.setdefault(other, worth)
    own = _shares(_bm25(wanted, said, rare))
    around = dict(zip(together, _shares(_bm25(wanted, list(together.values()), rare)), strict=True))
    unknown = math.log(1 + 2 * (len(said) + 0.5))
    whole = sum(rare.get(word, unknown) for word in asked)
    best = max((_known(wanted, set(some), rare) for some in together.values()), default=0.0)
    names, asks_number = _names(question), _ASKS_NUMBER.search(question) is not None
    scores: list[float] = []
    for at, (paragraph, text) in enumerate(zip(paragraphs, sentences, strict=True)):
        beside = [own[near] for near in (at - 1, at + 1) if 0 <= near < len(own) and paragraphs[near] == paragraph]
        score = OWN * own[at] + PARAGRAPH * around[paragraph] + NEIGHBOUR * max(beside, default=0.0)
        if asks_number and any(one.isdigit() for one in text):
            score += NUMBER
        scores.append(score + NAME * sum(name in text for name in names))
    return Ranked(scores, best / whole if whole else 0.0)


def _rarity(said: Sequence[Sequence[str]]) -> dict[str, float]:
    """Of each word: how seldom a sentence has it."""
    having: Counter[str] = Counter()
    for some in said:
        having.update(set(some))
    return {word: math.log(1 + (len(said) - many + 0.5) / (many + 0.5)) for word, many in having.items()}


def _bm25(wanted: Mapping[str, float], texts: Sequence[Sequence[str]], rare: Mapping[str, float]) -> list[float]:
    usual = sum(map(len, texts)) / len(texts) if texts else 0.0
    scores: list[float] = []
    for text in texts:
        counts = Counter(word for word in text if word in wanted)
        damped = SATURATION * (1 - LENGTH + LENGTH * len(text) / usual) if counts else 0.0
        scores.append(
            sum(wanted[word] * rare[word] * many * (SATURATION + 1) / (many + damped) for word, many in counts.items())
        )
    return scores


def _known(wanted: Mapping[str, float], text: set[str], rare: Mapping[str, float]) -> float:
    return sum(worth * rare[word] for word, worth in wanted.items() if word in text)


def _shares(scores: Sequence[float]) -> list[float]:
    most = max(scores, default=0.0)
    return [score / most if most else 0.0 for score in scores]


def _names(question: str) -> set[str]:
    """What is asked for by name, by number or in quotes."""
    return {next(filter(None, found.groups())) for found in islice(_NAME.finditer(question), MOST_NAMES)}
