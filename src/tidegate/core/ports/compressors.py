"""What of this is not needed? What a compressor of anybody's must be able to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Compressor(Protocol):
    """Made from its own Config, once for a route. Behind the door `tidegate.routers`."""

    def compress(self, question: str, texts: Sequence[str], target: float, /) -> Sequence[str] | None:
        """As many texts, without what `question` does not need, about `target` of their length (0 to 1); None: as they
        are. Called in a thread, by several at once, and not waited for longer than its route says. Whatever is raised
        means: it has not looked."""
