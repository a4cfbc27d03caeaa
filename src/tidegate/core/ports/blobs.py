"""What is kept for a while?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Blobs(Protocol):
    """Replies that were bought, by the digest of what was asked. Bounded: what was not read for longest leaves.

    Whoever asks can always do without: `get` raises StoreDown when nobody answers in time, and what cannot be put or
    purged in time is not heard of again.
    """

    async def get(self, key: bytes) -> bytes | None: ...

    def put(self, key: bytes, value: bytes, ttl_s: float, tags: Sequence[str] = ()) -> None:
        """Before any later `get` of this process. `tags` are what it can be purged by."""

    async def purge(self, tag: str | None = None) -> int:
        """Drop what has this tag, or everything; how many there were. Raises StoreDown."""

    async def aclose(self) -> None: ...
