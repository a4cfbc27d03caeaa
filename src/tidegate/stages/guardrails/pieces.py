"""Which ids does a text come to, for a classifier of the operator's? As the tokenizer.json beside the model says.

Two kinds are read, which all known classifiers of injections use: Unigram (DeBERTa, XLM-R) and WordPiece (BERT). The
normalisation of Unigram is NFKC here, which is what nearly all such files hold as a table.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tidegate.core.errors import ConfigError
from tidegate.core.wordpiece import WordPiece, words

BLANK = "\u2581"  # what stands for one
BEGINS, ENDS = ("[CLS]", "<s>", "<bos>"), ("[SEP]", "</s>", "<eos>")
UNKNOWN_SCORE = -10.0  # below the worst piece, as in the reference


class Pieces(Protocol):
    begin: int
    end: int

    def ids(self, text: str) -> list[int]:
        """Of all of the text, without the marks at its ends."""


class Unigram:
    """The pieces whose scores together are highest."""

    def __init__(self, scores: Sequence[tuple[str, float]], unknown: int, begin: int, end: int) -> None:
        self.begin, self.end = begin, end
        self._scores = {piece: (score, number) for number, (piece, score) in enumerate(scores)}
        self._longest = max(len(piece) for piece in self._scores)
        self._unknown = unknown, min(score for _, score in scores) + UNKNOWN_SCORE

    def ids(self, text: str) -> list[int]:
        found: list[int] = []
        for word in unicodedata.normalize("NFKC", text).split():
            found += self._word(BLANK + word)
        return found

    def _word(self, word: str) -> list[int]:
        best = [0.0] + [-math.inf] * len(word)
        last: list[tuple[int, int]] = [(0, 0)] * (len(word) + 1)  # where the piece begins, and which it is
        for at in range(len(word)):
            for to in range(at + 1, min(at + self._longest, len(word)) + 1):
                score, number = self._scores.get(word[at:to], (None, 0))
                if score is None and to == at + 1:
                    number, score = self._unknown
                if score is not None and best[at] + score > best[to]:
                    best[to], last[to] = best[at] + score, (at, number)
        found: list[int] = []
        to = len(word)
        while to:
            at, number = last[to]
            if not (number == self._unknown[0] and found and found[-1] == number):  # unknown ones beside each other
                found.append(number)
            to = at
        return found[::-1]


class Words:
    """BERT's."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self.begin, self.end = vocabulary["[CLS]"], vocabulary["[SEP]"]
        self._vocabulary = vocabulary

    def ids(self, text: str) -> list[int]:
        return WordPiece(self._vocabulary, len(text) + 2).ids(text)[1:-1] if any(True for _ in words(text)) else []


def read(path: Path) -> Pieces:
    """Raises ConfigError."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        kind = said["model"].get("type", "?")
        if kind == "Unigram":
            return _unigram(said)
        if kind == "WordPiece":
            return Words(said["model"]["vocab"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise ConfigError(f"tokenizer: {path} is no tokenizer.json that can be read: {wrong!r}") from None
    raise ConfigError(f"tokenizer: {path} is of the kind {kind}; Unigram and WordPiece are read")


def _unigram(said: Any) -> Unigram:
    pieces = [(str(piece), float(score)) for piece, score in said["model"]["vocab"]]
    numbers = {piece: number for number, (piece, _) in enumerate(pieces)}
    numbers |= {one["content"]: one["id"] for one in said.get("added_tokens", ())}
    begin, end = (next(numbers[one] for one in names if one in numbers) for names in (BEGINS, ENDS))
    return Unigram(pieces, int(said["model"]["unk_id"]), begin, end)
