"""Which prompts are there, and what do they say? As the store has them, known here: a call waits for it once.

A version never changes, so it is known for as long as there is room. Labels move, and every process looks for that
each second; while the store is away they stay where they were.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from tidegate.core.chat import Conversation
from tidegate.core.errors import BadRequest, Conflict, PromptNotFound, StoreDown
from tidegate.core.nearest import nearest
from tidegate.core.ports import Setting, Store
from tidegate.core.prompts import (
    MAX_DEPTH,
    Prompt,
    PromptVersion,
    Ready,
    Wording,
    complete,
    included_by,
    ready,
)

STAMP = "prompts"  # a setting that is another whenever something was changed
LOOK_ALL = 30  # looks after which all is read, changed or not: whoever changed something may have died before the stamp
MAX_UNKNOWN = 1_000  # names that are not there, until the next look

_WORDING = msgspec.json.Decoder(Wording)


class Library:
    def __init__(
        self, store: Store, look_every_s: float, max_bytes: int, asks: Callable[[Wording], Conversation]
    ) -> None:
        """`asks` is what a wording asks for besides its texts. Raises BadRequest for what makes no sense."""
        self._asks = asks
        self._store = store
        self._look_every_s = look_every_s
        self._max_bytes = max_bytes
        self._prompts: Mapping[str, Prompt] = {}
        self._unknown: set[str] = set()
        self._ready: OrderedDict[str, Ready] = OrderedDict()  # by id
        self._bytes = 0
        self._stamp: str | None = None
        self._looks = 0
        self.looked = False  # once at least

    # --- what calls ask

    async def prompt(self, name: str) -> Prompt | None:
        """None: there is none of this name. Raises StoreDown where that cannot be known."""
        found = self._prompts.get(name)
        if found is None and name not in self._unknown:
            found = await self._store.find(Prompt, name)
            if found is None:
                if len(self._unknown) < MAX_UNKNOWN:
                    self._unknown.add(name)
            else:
                self._prompts = {**self._prompts, name: found}
        return found

    def at(self, prompt: Prompt, label: str) -> int:
        """The version that a label points to. Raises PromptNotFound."""
        number = prompt.latest if label == "latest" else prompt.at(label)
        if number is None:
            there = nearest(label, sorted(one.name for one in prompt.labels), "there is no label yet")
            raise PromptNotFound(
                f"prompt {prompt.id!r} has no label {label[:60]!r}; {there}; "
                f"or set it: tidegate prompts label {prompt.id} {label[:60]} {prompt.latest}",
                param="prompt.label",
            )
        return number

    def known(self, prompt: Prompt, number: int) -> Ready | None:
        """A version, where nobody need be asked for it."""
        if number in prompt.deleted:
            return None
        id = f"{prompt.id}@{number}"
        found = self._ready.get(id)
        if found is not None:
            self._ready.move_to_end(id)
        return found

    async def version(self, prompt: Prompt, number: int) -> Ready:
        """Raises PromptNotFound, StoreDown."""
        found = self.known(prompt, number)
        if found is not None:
            return found
        if number in prompt.deleted:
            raise PromptNotFound(f"version {number} of prompt {prompt.id!r} was deleted", param="prompt.version")
        return await self.load(f"{prompt.id}@{number}")

    # --- what is read

    async def load(self, id: str, depth: int = 0) -> Ready:
        """Parsed, with all that it includes. Raises PromptNotFound, StoreDown."""
        kept = await self._store.find(PromptVersion, id)
        if kept is None or kept.deleted_ms is not None:
            raise await self._no_version(id, deleted=kept is not None)
        wording = _WORDING.decode(kept.wording)
        included = await self.included(wording, depth)
        found = ready(kept.prompt, kept.number, wording, included, self._asks(wording))
        if found.hash != kept.hash:
            raise Conflict(
                f"{id} is not what it was when it was made: its hash was {kept.hash[:8]}, is {found.hash[:8]}"
            )
        self._put(found)
        return found

    async def included(self, wording: Wording, depth: int = 0) -> dict[str, Ready]:
        """All that it includes itself. Raises BadRequest where texts stand too deep in each other."""
        if depth > MAX_DEPTH:
            raise BadRequest(f"texts stand more than {MAX_DEPTH} deep in each other; include the inner ones directly")
        return {id: self._ready.get(id) or await self.load(id, depth + 1) for id in included_by(wording)}

    async def made(self, prompt: str, number: int, wording: Wording, *, draft: bool = False) -> Ready:
        """What it would be as this version. Raises BadRequest, PromptNotFound, StoreDown."""
        for id in included_by(wording):
            if id == f"{prompt}@{number}" or (id.rpartition("@")[0] == prompt and int(id.rpartition("@")[2]) >= number):
                raise BadRequest(
                    f"{{{{> {id}}}}}: includes itself; what is included must be there before, so a circle cannot be",
                    param="template",
                )
        included = await self.included(wording)
        whole = complete(wording, included, draft=draft)
        return ready(prompt, number, whole, included, self._asks(whole))

    async def _no_version(self, id: str, *, deleted: bool) -> PromptNotFound:
        name, _, number = id.rpartition("@")
        if deleted:
            return PromptNotFound(f"version {number} of prompt {name!r} was deleted", param="prompt.version")
        prompt = await self._store.find(Prompt, name)
        if prompt is None:
            return self.no_prompt(name)
        return PromptNotFound(
            f"prompt {name!r} has no version {number}; its newest is {prompt.latest}", param="prompt.version"
        )

    def no_prompt(self, name: str) -> PromptNotFound:
        return PromptNotFound(
            f"there is no prompt {name[:100]!r}; {nearest(name, sorted(self._prompts), 'there is no prompt yet')}",
            param="prompt.id",
        )

    def _put(self, found: Ready) -> None:
        self._drop(found.id)
        self._bytes += found.size
        self._ready[found.id] = found
        while self._bytes > self._max_bytes and len(self._ready) > 1:
            self._bytes -= self._ready.popitem(last=False)[1].size

    def _drop(self, id: str) -> None:
        if (found := self._ready.pop(id, None)) is not None:
            self._bytes -= found.size

    # --- what others have changed

    async def look(self) -> None:
        """Raises StoreDown; then all stays as it is known."""
        stamp = await self._store.find(Setting, STAMP)
        said = stamp.value if stamp is not None else ""
        self._looks += 1
        self._unknown.clear()
        if said == self._stamp and self._looks % LOOK_ALL:
            return
        await self.read()
        self._stamp = said

    async def read(self) -> None:
        """All prompts as they are now. What labels point to is fetched before they do: no call waits for a move."""
        found = {one.id: one for one in await self._store.every(Prompt)}
        for name, one in found.items():
            for number in one.deleted:
                self._drop(f"{name}@{number}")
            before = self._prompts.get(name)
            if before is None or before.labels == one.labels:
                continue
            if any(f"{name}@{label.version}" in self._ready for label in before.labels):
                for label in one.labels:
                    if f"{name}@{label.version}" not in self._ready:
                        with suppress(PromptNotFound, Conflict):  # whoever asks for it is told
                            await self.load(f"{name}@{label.version}")
        self._prompts = found
        self.looked = True

    async def run(self) -> None:
        while True:
            with suppress(StoreDown):
                await self.look()
            await asyncio.sleep(self._look_every_s)
