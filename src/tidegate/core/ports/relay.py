"""How do processes share what one of them is buying just now?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Relay(Protocol):
    """Who buys the answer to a question, and what has come of it so far. A holder is PROCESS/PURCHASE.

    What was put into Blobs of the same server before is there before. Raises StoreDown when nobody answers in time.
    """

    async def take(
        self, key: bytes, me: str, ttl_s: float, *, look: bool = False
    ) -> tuple[str, bytes | None, Sequence[bytes]]:
        """Who holds it now, `me` for so long, or another, whose process hears that somebody wants to read along, where
        that is not the process of `me`; what is kept in Blobs under this key; and what `wanted` would tell the process
        of `me`, which is told once. `look`: where something is kept, nobody ("") is asked to hold anything."""

    async def renew(self, key: bytes, me: str, ttl_s: float) -> None: ...

    def give_back(self, key: bytes, me: str) -> None:
        """After all that was told and put before; what was told stays for those who read it. Nobody waits."""

    async def wanted(self, process: str) -> Sequence[bytes]:
        """Of what this process holds, the keys that others have wanted since."""

    async def tell(self, key: bytes, me: str, parts: Sequence[bytes]) -> bool:
        """Add these, all at once. False: nobody has read for a while."""

    async def read(self, key: bytes, holder: str, after: int) -> tuple[bool, Sequence[bytes]]:
        """Whether it is still this holder's, and what was told beyond the first `after` parts."""
