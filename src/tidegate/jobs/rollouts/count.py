"""How is what the ledger has seen of an experiment counted? Some thousand units after the other, and none is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tidegate.core.experiments import UnitLine
from tidegate.core.tally import Counting

# Of an experiment, by its id, the lines of the next units behind one, as `Ledger.units` has them.
Units = Callable[[str, str], Awaitable[Sequence[UnitLine]]]


async def count(units: Units, experiment: str, into: Counting) -> None:
    """Not on the event loop, but where the ledger is asked."""
    behind = ""
    while lines := await units(experiment, behind):
        await asyncio.to_thread(into.add, lines)
        behind = lines[-1].unit
