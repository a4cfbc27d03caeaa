"""Which questions mean the same? Texts as vectors, and what is near to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from tidegate.core.call import Call

Vector = bytes  # float32, little-endian, of length 1


class Embedder(Protocol):
    """A text as a vector: texts that mean the same are near each other."""

    @property
    def name(self) -> str:
        """Of the model and its exact weights: vectors of different names are never compared."""

    async def embed(self, text: str, parent: Call | None = None) -> Vector:
        """For the sake of `parent`. What is longer than the model reads is cut off; never on the loop.

        Raises TidegateError when it cannot be asked, and ValueError for an answer that is no vector.
        """

    async def aclose(self) -> None: ...


class Answer(msgspec.Struct, frozen=True):
    """What an entry answers, reduced to what comparing needs. Entries with the same answer share its id."""

    id: str
    digest: bytes  # of the exact text
    sketch: bytes  # its embedding, rounded to one signed byte per number
    marks: tuple[str, ...] = ()  # numbers, ids, URLs, negations: what must agree


class Entry(msgspec.Struct, frozen=True):
    """A prompt that was answered, and the reply, sealed."""

    id: str
    vector: Vector
    answer: Answer
    marks: tuple[str, ...] = ()
    reply: bytes = b""
    until_ms: int = 0  # how long the reply is good, since 1970
    tags: tuple[str, ...] = ()  # what it can be purged by


class Near(msgspec.Struct, frozen=True):
    """An entry beside a prompt."""

    id: str
    similarity: float  # cosine
    answer: str  # its id
    marks: tuple[str, ...]
    right: int  # how often it was found right, or wrong, when it was the candidate
    wrong: int


class Learned(msgspec.Struct, frozen=True):
    """What all processes know by a name; each time somebody adds to it, its version is one more."""

    version: int
    state: bytes


class Vectors(Protocol):
    """Entries by nearness, in partitions that never see each other (one per scope of the cache), and what was learned.

    Bounded: over the bound the least useful leave, those that were not near anything for longest. Raises StoreDown when
    it cannot be asked, and ValueError for a vector of another dimension than the partition holds.
    """

    async def nearest(self, partition: str, vector: Vector, count: int) -> Sequence[Near]:
        """At most `count`, nearest first."""

    async def answers(self, partition: str, ids: Sequence[str]) -> Sequence[Answer]:
        """The answers with these ids, in the same order; those that have left are left out."""

    async def reply(self, partition: str, entry: str, now_ms: int) -> bytes | None:
        """As it was sealed; None: it has left, or is good no longer."""

    async def add(self, partition: str, entry: Entry) -> Sequence[str]:
        """Remember it; what had its id is replaced. The ids of entries that left to make room."""

    async def judge(self, partition: str, entry: str, right: bool) -> None:
        """Add to its record; of one that has left, nothing happens."""

    async def forget(self, partition: str, entries: Sequence[str] | None = None) -> int:
        """Drop these, or the whole partition; how many there were."""

    async def purge(self, tag: str | None = None) -> int:
        """Drop what has this tag, of all partitions, or everything; how many there were."""

    async def learned(self, name: str) -> Learned | None: ...

    async def teach(self, name: str, learned: Learned) -> bool:
        """Put it in the place of the version before; False: somebody else was first, and nothing happens."""

    async def aclose(self) -> None: ...
