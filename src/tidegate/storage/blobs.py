"""Which replies are kept in this process? As many bytes as are allowed; what was not read for longest leaves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from tidegate.core.ports import Clock

OVERHEAD = 400  # bytes that an entry takes besides its own: measured, by ./run bench cache-speed


class Blob(NamedTuple):
    value: bytes
    until_ns: int
    tags: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.value) + OVERHEAD


class MemoryBlobs:
    """A value is one object for the collector to look at, however long the reply was."""

    def __init__(self, clock: Clock, most: int) -> None:
        self._clock = clock
        self._most = most
        self._kept: OrderedDict[bytes, Blob] = OrderedDict()  # the one that was read last is at the end
        self.size = 0  # bytes

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: bytes) -> bytes | None:
        blob = self._kept.get(key)
        if blob is None:
            return None
        if self._clock.now_ns() >= blob.until_ns:
            self._forget(key)
            return None
        self._kept.move_to_end(key)
        return blob.value

    def put(self, key: bytes, value: bytes, ttl_s: float, tags: Sequence[str] = ()) -> None:
        self._forget(key)
        blob = Blob(value, self._clock.now_ns() + round(ttl_s * 1e9), tuple(tags))
        self._kept[key] = blob
        self.size += blob.size
        while self.size > self._most:
            self._forget(next(iter(self._kept)))

    async def purge(self, tag: str | None = None) -> int:
        # Nobody is in a hurry, so there is no index of tags, which would take room in every entry.
        now = self._clock.now_ns()
        found = [key for key, blob in self._kept.items() if tag is None or tag in blob.tags]
        live = sum(now < self._kept[key].until_ns for key in found)
        for key in found:
            self._forget(key)
        return live

    def _forget(self, key: bytes) -> None:
        blob = self._kept.pop(key, None)
        if blob is not None:
            self.size -= blob.size

    async def aclose(self) -> None:
        self._kept.clear()
        self.size = 0
