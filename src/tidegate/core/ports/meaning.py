"""Which questions mean the same? Texts as vectors, and what is near to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

Vector = bytes  # float32, little-endian, of length 1


class Embedder(Protocol):
    """A text as a vector: texts that mean the same are near each other."""

    name: str  # of the model and its exact weights: vectors of different names are never compared
    dimensions: int

    async def embed(self, text: str) -> Vector:
        """The same bytes for the same text; what is longer than the model reads is cut off. Never on the loop."""

    async def aclose(self) -> None: ...


class Answer(msgspec.Struct, frozen=True):
    """What an entry answers, reduced to what comparing needs. Entries with the same answer share its id."""

    id: str
    digest: bytes  # of the exact text
    sketch: bytes  # its embedding, rounded to one signed byte per number
    marks: tuple[str, ...] = ()  # numbers, ids, URLs, negations: what must agree


class Entry(msgspec.Struct, frozen=True):
    """A prompt that was answered. The reply itself lies elsewhere, under the same id."""

    id: str
    vector: Vector
    answer: Answer
    marks: tuple[str, ...] = ()


class Near(msgspec.Struct, frozen=True):
    """An entry beside a prompt."""

    id: str
    similarity: float  # cosine
    answer: str  # its id
    marks: tuple[str, ...]
    right: int  # how often it was found right, or wrong, when it was the candidate
    wrong: int


class Vectors(Protocol):
    """Entries by nearness, in partitions that never see each other (one per scope of the cache).

    Bounded: over the bound the least useful leave, those that were not near anything for longest. Raises StoreDown when
    it cannot be asked, and ValueError for a vector of another dimension than the partition holds.
    """

    async def nearest(self, partition: str, vector: Vector, count: int) -> Sequence[Near]:
        """At most `count`, nearest first."""

    async def answers(self, partition: str, ids: Sequence[str]) -> Sequence[Answer]:
        """The answers with these ids, in the same order; those that have left are left out."""

    async def add(self, partition: str, entry: Entry) -> Sequence[str]:
        """Remember it; what had its id is replaced. The ids of entries that left to make room."""

    async def judge(self, partition: str, entry: str, right: bool) -> None:
        """Add to its record; of one that has left, nothing happens."""

    async def forget(self, partition: str, entries: Sequence[str] | None = None) -> int:
        """Drop these, or the whole partition; how many there were."""

    async def aclose(self) -> None: ...
