"""Where is a model that another process keeps for us? A file says it, for as long as it may be asked."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

from tidegate.core.errors import UpstreamFailed

VARIABLE = "TIDEGATE_LOCAL_KEPT"  # what the leader of several workers says to them, as JSON: provider → Told
READY_S = 60.0
LOOK_S = 0.05


class Told(msgspec.Struct, frozen=True):
    """settings: what it was started with; another configuration needs one of its own."""

    file: str
    key: str
    settings: str


def told_of(provider: str, settings: str) -> Told | None:
    """The one that is kept for all workers, where there is one."""
    found = msgspec.json.decode(os.environ.get(VARIABLE, "{}"), type=dict[str, Told]).get(provider)
    return found if found is not None and found.settings == settings else None


class Kept:
    """As a Supervised, but for who keeps it. A model's answer takes so long that reading a line for each is nothing."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)

    @property
    def address(self) -> str:
        try:
            return self._file.read_text("ascii")
        except OSError:
            return ""

    @property
    def trouble(self) -> str | None:
        return None if self.address else "the local model of all workers is being started"

    async def start(self) -> None:
        """Returns when it may be asked. Raises UpstreamFailed."""
        try:
            async with asyncio.timeout(READY_S):
                while not self.address:  # noqa: ASYNC110 at the start alone, and what is waited for is another process
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise UpstreamFailed(f"{self.trouble}, and was not ready after {READY_S:g} s") from None

    async def aclose(self) -> None:
        """It is not ours."""


def say(file: Path, address: str) -> None:
    """Whole or not at all; no address takes it away."""
    if not address:
        file.unlink(missing_ok=True)
        return
    draft = file.with_suffix(".draft")
    draft.write_text(address, "ascii")
    draft.replace(file)
