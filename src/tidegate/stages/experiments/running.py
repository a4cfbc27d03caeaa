"""Which experiments are there now? Looked for every second, so that all processes try the same within two."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from tidegate.core.errors import BadRequest, StoreDown
from tidegate.core.experiments import Experiment, Known, Spec, spec_of
from tidegate.core.ports import Events, Store

LOOK_S = 1.0


class Running:
    """`known` is another tuple whenever anything has changed, and the very same while nothing has."""

    def __init__(self, store: Store, events: Events) -> None:
        self._store = store
        self._events = events
        self.known: tuple[Known, ...] = ()  # that are not archived, oldest first
        self._found: Sequence[Experiment] = ()
        self._specs: dict[str, Spec | None] = {}  # by id; None: a version of ours wrote it that knew more

    async def look(self) -> None:
        """Raises StoreDown."""
        found = [one for one in await self._store.every(Experiment) if not one.archived_ms]
        if found == self._found:
            return
        self._specs = {one.id: self._specs[one.id] if one.id in self._specs else self._read(one) for one in found}
        self._found = found
        self.known = tuple([Known(one, spec) for one in found if (spec := self._specs[one.id]) is not None])

    def _read(self, one: Experiment) -> Spec | None:
        try:
            return spec_of(one)
        except BadRequest as wrong:
            self._events.notice("experiment_unreadable", {"experiment": one.name, "error": wrong.message})
            return None

    async def run(self) -> None:
        while True:
            with suppress(StoreDown):  # what is known holds on, and whoever keeps the store has told the operator
                await self.look()
            await asyncio.sleep(LOOK_S)
