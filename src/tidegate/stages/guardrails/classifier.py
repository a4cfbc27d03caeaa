"""How much does a text read like an attack? A line through hashed words and letters, learned from labelled texts.

The weights are data: one line of JSON that says where they come from, then a signed byte per feature. Whoever learns
them (tools/train_injection.py) uses the same `features`.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

from tidegate.core.errors import ConfigError

WINDOW = 120  # words that are looked at together
STEP = 60
LETTERS = (4, 6)  # in a row, of a word and the blanks around it
SIGNS = (2, 4)  # the same where a word is more than ASCII: some scripts say as much with fewer
LONGEST_WORD = 96  # letters of a word that are looked at
PIECE = 24  # of a longer one each such piece counts as a word
# Whoever looks often enough finds something: each doubling of the windows of a text asks for so much more.
PER_DOUBLING = 0.5
LIMIT = 40.0  # a score beyond is as good as sure


class Card(msgspec.Struct, frozen=True):
    """Where weights come from, and how they are read. `thresholds`: share of benign texts above it → score."""

    buckets: int
    scale: float
    bias: float
    thresholds: dict[str, float]
    sources: list[dict[str, Any]] = []
    digest: str = ""  # SHA-256 of the weights
    made: str = ""


def windows(text: str) -> Iterator[list[str]]:
    """The words of `text`, so many at a time; each half twice."""
    words = text.split()
    for at in range(0, max(len(words) - STEP, 1), STEP):
        yield words[at : at + WINDOW]


def features(words: list[str], buckets: int) -> set[int]:
    """Numbers of the words, of pairs of words, and of letters in a row. `buckets` is a power of two."""
    mask = buckets - 1
    pieces = [piece.encode("utf-8", "surrogatepass") for word in words for piece in _pieces(word)]
    found = {crc32(piece) & mask for piece in pieces}
    before = b"^"
    for piece in pieces:
        found.add(crc32(before + b" " + piece) & mask)
        before = piece
    for word in set(words):
        padded = f"_{word[:LONGEST_WORD]}_"
        if padded.isascii():
            coded = padded.encode()
            for size in LETTERS:
                found.update([crc32(coded[at : at + size], 1) & mask for at in range(len(coded) - size + 1)])
        else:
            for size in SIGNS:
                for at in range(len(padded) - size + 1):
                    found.add(crc32(padded[at : at + size].encode("utf-8", "surrogatepass"), 1) & mask)
    return found


def _pieces(word: str) -> Sequence[str]:
    if len(word) <= PIECE:
        return (word,)
    word = word[:LONGEST_WORD]
    return [word[at : at + PIECE] for at in range(0, len(word), PIECE)] if word.isascii() else (word,)


def weighed(scores: Sequence[float]) -> float:
    """What a text weighs, of what each of its windows does: the highest, less what so many looks find by chance."""
    return max(scores) - PER_DOUBLING * math.log2(len(scores)) if scores else -LIMIT


def share(score: float) -> float:
    """Between 0 and 1."""
    return 1 / (1 + math.exp(-max(min(score, LIMIT), -LIMIT)))


class Classifier:
    def __init__(self, card: Card, weights: bytes) -> None:
        self.card = card
        self._weights = array("b", weights)
        self.digest = card.digest

    @classmethod
    def load(cls, path: Path) -> Classifier:
        """Raises ConfigError for what is no file of weights, or was changed."""
        try:
            head, _, weights = path.read_bytes().partition(b"\n")
            card = msgspec.json.decode(head, type=Card)
        except (OSError, msgspec.DecodeError) as wrong:
            raise ConfigError(f"{path}: holds no weights: {wrong}") from None
        if len(weights) != card.buckets or card.buckets & (card.buckets - 1):
            raise ConfigError(f"{path}: {len(weights)} weights, and its first line says {card.buckets}")
        if hashlib.sha256(weights).hexdigest() != card.digest:
            raise ConfigError(f"{path}: the weights are not those that its first line tells of")
        return cls(card, weights)

    def score(self, readings: Iterable[str]) -> float:
        """Between 0 and 1, of a text made plain, and of what else it may say."""
        return share(weighed([self._score(words) for text in readings for words in windows(text)]))

    def _score(self, words: list[str]) -> float:
        found = features(words, self.card.buckets)
        if not found:
            return -LIMIT
        weights = self._weights
        return sum([weights[one] for one in found]) * self.card.scale / math.sqrt(len(found)) + self.card.bias
