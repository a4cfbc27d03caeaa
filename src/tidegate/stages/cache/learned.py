"""What does a route's engine know over a restart, and how do processes tell each other what they saw?

One record of each route, in the home of the vectors. Whoever has news reads what all know, adds them and writes it
back, unless another was first; then once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import numpy as np

from tidegate.core.errors import StoreDown
from tidegate.core.ports import Learned, Place, Vault, Vectors
from tidegate.core.world import World
from tidegate.stages.cache.semantic import Memory, Semantic
from tidegate.stages.cache.semantic import Policy as Promise
from tidegate.stages.cache.verifier import Features, Fit, Label, Noise, State, fit

SHARE_NS = 30 * 10**9  # news wait so long, or until they are enough for a new fit
TRIES = 5
MEMORY = Place("cache", column="memory")


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """A Memory as it is stored. Features are rows of float32; of labels, each flag is a byte."""

    width: int
    labels: bytes
    right: bytes
    check: bytes
    source: bytes  # its place in `sources`
    sources: list[str]
    lookups: bytes
    hits: bytes
    noise: dict[str, Noise]
    fit: Fit | None
    labels_seen: int
    fitted_at: int
    comparison: Noise
    counts: tuple[int, int, int]


_PACKED = msgspec.msgpack.Decoder(Packed)


def packed(memory: Memory) -> bytes:
    known = memory.verifier
    sources = sorted({label.source for label in known.labels})
    first = next((row for row in (*(label.features for label in known.labels[:1]), *known.lookups[:1])), ())
    return msgspec.msgpack.encode(
        Packed(
            len(first),
            _rows([label.features for label in known.labels]),
            bytes(label.right for label in known.labels),
            bytes(label.check for label in known.labels),
            bytes(sources.index(label.source) for label in known.labels),
            sources,
            _rows(known.lookups),
            _rows(known.hits),
            known.noise,
            known.fit,
            known.labels_seen,
            known.fitted_at,
            memory.comparison,
            (memory.lookups, memory.hits, memory.saved_nusd),
        )
    )


def unpacked(stored: bytes) -> Memory:
    """Raises ValueError."""
    one = _PACKED.decode(stored)
    rows = _read(one.labels, one.width)
    if not len(rows) == len(one.right) == len(one.check) == len(one.source):
        raise ValueError("its labels are not whole")
    labels = [
        Label(row, bool(right), one.sources[source], bool(check))
        for row, right, check, source in zip(rows, one.right, one.check, one.source, strict=True)
    ]
    known = State(
        labels, _read(one.lookups, one.width), _read(one.hits, one.width), one.noise, one.fit, one.labels_seen,
        one.fitted_at,
    )  # fmt: skip
    return Memory(known, one.comparison, *one.counts)


def _rows(rows: Sequence[Features]) -> bytes:
    return np.array(rows, "<f4").tobytes()


def _read(rows: bytes, width: int) -> list[Features]:
    if not rows:
        return []
    if width < 1:
        raise ValueError("its rows have no width")
    return [tuple(row) for row in np.frombuffer(rows, "<f4").reshape(-1, width).tolist()]


class Known:
    """The engine of one route, and what all processes know of it."""

    def __init__(self, world: World, vectors: Vectors, vault: Vault, name: str, engine: Semantic, promise: Promise):
        self.engine = engine
        self.promise = promise
        self._world = world
        self._vectors = vectors
        self._vault = vault
        self._route = name
        self._name = f"{promise.max_error:g} {name}"
        self._version = 0
        self._shared_ns = world.clock.now_ns()
        self._sharing = False

    @property
    def has_news(self) -> bool:
        """Enough to tell them now."""
        waited = self._world.clock.now_ns() - self._shared_ns
        return not self._sharing and (waited > SHARE_NS or self.engine.verifier.due)

    async def recall(self) -> None:
        """Take up what all know. Raises StoreDown."""
        there = await self._vectors.learned(self._name)
        self._version = there.version if there is not None else 0
        try:
            shared = unpacked(self._vault.unseal(there.state, MEMORY)) if there is not None else Memory()
        except (ValueError, IndexError) as wrong:  # it was damaged; what is known here takes its place
            self._world.events.notice("semantic_memory_lost", {"route": self._route, "error": str(wrong)})
            return
        self.engine.take_up(shared, Memory())

    async def share(self) -> None:
        """Our news to the others, theirs to us, and a new fit where one is due. Raises StoreDown."""
        if self._sharing:
            return
        self._sharing = True
        self._shared_ns = self._world.clock.now_ns()
        try:
            for _ in range(TRIES):
                if await self._told():
                    return
                await self.recall()
        finally:
            self._sharing = False

    async def _told(self) -> bool:
        told, all_of_it = self.engine.news(), self.engine.memory()
        shared, stored = await asyncio.to_thread(_fitted, all_of_it, self.promise.max_error)
        if not await self._vectors.teach(self._name, Learned(self._version + 1, self._vault.seal(stored, MEMORY))):
            return False
        self._version += 1
        self.engine.take_up(shared, told)
        return True

    async def end(self) -> None:
        """What is known is written down, if it can be."""
        try:
            await self.share()
        except StoreDown as down:
            self._world.events.notice("semantic_memory_lost", {"route": self._route, "error": down.message})


def _fitted(memory: Memory, max_error: float) -> tuple[Memory, bytes]:
    """With a new fit, if one is due; and as it is stored. Some milliseconds: in a thread."""
    known = memory.verifier
    if known.due:
        known = msgspec.structs.replace(known, fit=fit(known, max_error), fitted_at=known.labels_seen)
        memory = msgspec.structs.replace(memory, verifier=known)
    return memory, packed(memory)
