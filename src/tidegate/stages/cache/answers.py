"""Do two answers say the same? Told in process, and how often that is mistaken is counted."""

from __future__ import annotations

import hashlib

import numpy as np

from tidegate.core.ports import Answer, Vector
from tidegate.stages.cache.guard import marks
from tidegate.stages.cache.verifier import Noise

ALIKE = 0.9  # cosine of two answers' embeddings from which on they count as the same


def answer(id: str, text: str, vector: Vector) -> Answer:
    digest = hashlib.blake2b(" ".join(text.split()).encode(), digest_size=16).digest()
    values = np.frombuffer(vector, np.float32)
    return Answer(id, digest, np.rint(values * (127 / np.abs(values).max())).astype(np.int8).tobytes(), marks(text))


def same(one: Answer, other: Answer, alike: float = ALIKE) -> bool:
    """Word for word, or alike in meaning with the same numbers, names and negations."""
    if one.digest == other.digest:
        return True
    return one.marks == other.marks and cosine(one.sketch, other.sketch) >= alike


def cosine(one: bytes, other: bytes) -> float:
    """Of two sketches."""
    a, b = (np.frombuffer(sketch, np.int8).astype(np.float32) for sketch in (one, other))
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


class Comparison:
    """How often the comparison errs, counted on pairs whose truth is known.

    Answers to the same prompt, asked twice, should be called the same: what is called different there is the model's
    own wavering and ours. Answers to prompts that have nothing to do with each other should be called different: those
    that are called the same include some that truly are, so this rate is on the safe side.
    """

    def __init__(self, known: Noise | None = None) -> None:
        self.known = known or Noise()  # as it was shared last
        self.news = Noise()  # since then

    @property
    def noise(self) -> Noise:
        return self.known + self.news

    def twice(self, called_same: bool) -> None:
        self.news += Noise(pairs=1, differ=int(not called_same))

    def strangers(self, called_same: bool) -> None:
        self.news += Noise(strangers=1, alike=int(called_same))

    def take_up(self, shared: Noise, told: Noise) -> None:
        """What all know by now; `told`, of our news, is in it."""
        self.known = shared
        self.news -= told
