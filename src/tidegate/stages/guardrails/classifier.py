"""How much does a text read like an attack? A line through hashed words and letters, learned from labelled texts.

The weights are data: one line of JSON that says where they come from, then a signed byte per feature. Whoever learns
them (tools/train_injection.py) uses the same `features`.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

from tidegate.core.errors import ConfigError

WINDOW = 120  # words that are looked at together
STEP = 60
LETTERS = (4, 6)  # in a row, of a word and the blanks around it
LONGEST_WORD = 24  # letters of a word that are looked at


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
    coded = [word[:LONGEST_WORD].encode("utf-8", "surrogatepass") for word in words]
    found = {crc32(word) & mask for word in coded}
    before = b"^"
    for word in coded:
        found.add(crc32(before + b" " + word) & mask)
        before = word
    for word in set(coded):
        padded = b"_" + word + b"_"
        for size in LETTERS:
            for at in range(len(padded) - size + 1):
                found.add(crc32(padded[at : at + size], 1) & mask)
    return found


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

    def score(self, text: str) -> float:
        """Between 0 and 1, of text made plain: the highest of its windows."""
        return max((self._score(words) for words in windows(text)), default=0.0)

    def _score(self, words: list[str]) -> float:
        found = features(words, self.card.buckets)
        if not found:
            return 0.0
        weights = self._weights
        total = sum([weights[one] for one in found]) * self.card.scale / math.sqrt(len(found)) + self.card.bias
        return 1 / (1 + math.exp(-max(min(total, 40.0), -40.0)))
