"""Where are prompts made, labels moved, and versions deleted? The same for the API and everything that promotes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec

from tidegate.core.errors import BadRequest, Conflict, Forbidden, PromptNotFound, Superseded
from tidegate.core.experiments import Experiment, spec_of
from tidegate.core.ports import Clock, Setting, Store
from tidegate.core.prompts import (
    Label,
    Prompt,
    PromptMove,
    PromptVersion,
    Ready,
    Wording,
    check_label,
    check_name,
    included_by,
)
from tidegate.stages.prompts.library import STAMP, Library

MAX_NOTE = 2_000
TRIES = 20  # of two that make a version at once, the second takes the next number
FOR_EVER_MS = 2**53

_WORDING = msgspec.json.Decoder(Wording)


class PromptDesk:
    """Checks what is asked, and keeps it. `protected` are labels that only who insists may move."""

    def __init__(self, store: Store, clock: Clock, library: Library, protected: Iterable[str] = ()) -> None:
        self._store = store
        self._clock = clock
        self._library = library
        self.protected = frozenset(protected)

    @property
    def _now_ms(self) -> int:
        return self._clock.wall_ns() // 1_000_000

    # --- looking

    async def find(self, name: str) -> Prompt:
        """As the store has it now. Raises PromptNotFound."""
        found = await self._store.find(Prompt, name)
        if found is None:
            raise self._library.no_prompt(name)
        return found

    async def every(self) -> list[Prompt]:
        return sorted(await self._store.every(Prompt), key=lambda one: one.id)

    async def version(self, prompt: Prompt, number: int) -> PromptVersion:
        """Raises PromptNotFound."""
        found = await self._store.find(PromptVersion, f"{prompt.id}@{number}")
        if found is None or found.deleted_ms is not None:
            await self._library.version(prompt, number)  # which says why
            raise PromptNotFound(f"version {number} of prompt {prompt.id!r} was deleted", param="prompt.version")
        return found

    async def versions(self, prompt: Prompt, most: int = 100, before: int | None = None) -> list[PromptVersion]:
        """The newest first, or those before a number; deleted ones are not among them."""
        found: list[PromptVersion] = []
        for number in range(prompt.latest if before is None else min(before - 1, prompt.latest), 0, -1):
            one = await self._store.find(PromptVersion, f"{prompt.id}@{number}")
            if one is not None and one.deleted_ms is None:
                found.append(one)
            if len(found) >= most:
                break
        return found

    async def moves(self, prompt: Prompt, most: int = 100) -> list[PromptMove]:
        """Of its labels, the newest first."""
        steps = range(prompt.steps, max(prompt.steps - most, 0), -1)
        found = [await self._store.find(PromptMove, f"{prompt.id}#{step}") for step in steps]
        return [one for one in found if one is not None]

    # --- changing

    async def make(
        self, name: str, wording: Wording, *, by: str, author: str = "", note: str = "", labels: Sequence[str] = (),
        expected: int | None = None,
    ) -> tuple[PromptVersion, bool]:  # fmt: skip
        """A new version, and whether it is new: what says the same as the newest one is that one.

        `labels` point to it at once. `expected`: the newest version that whoever asks knows of; 0: there is none.
        Raises BadRequest, PromptNotFound (of what it includes), Conflict, Superseded, Forbidden.
        """
        if len(note) > MAX_NOTE or len(author) > 200:
            raise BadRequest(f"a note may have {MAX_NOTE} characters, an author's name 200", param="note")
        prompt, made, same = await self._tried(name, wording, labels)
        version = same or await self._added(prompt, made, by, author, note, expected)
        for label in labels:
            await self.move(name, label, version.number, by=by, why=note)
        return version, same is None

    async def preview(self, name: str, wording: Wording, labels: Sequence[str] = ()) -> tuple[Ready, bool]:
        """What `make` would make, and whether it would be new. Raises what that raises."""
        _, made, same = await self._tried(name, wording, labels)
        return made, same is None

    async def _tried(
        self, name: str, wording: Wording, labels: Sequence[str]
    ) -> tuple[Prompt | None, Ready, PromptVersion | None]:
        check_name(name)
        for label in labels:
            check_label(label)
        prompt = await self._store.find(Prompt, name)
        for label in labels:
            if prompt is not None and prompt.at(label) is not None:
                self._check_protected(label, insists=False)
        number = prompt.latest + 1 if prompt is not None else 1
        made = await self._library.made(name, number, wording)
        return prompt, made, await self._same(prompt, made)

    async def _same(self, prompt: Prompt | None, made: Ready) -> PromptVersion | None:
        if prompt is None or not prompt.latest:
            return None
        newest = await self._store.find(PromptVersion, f"{prompt.id}@{prompt.latest}")
        is_same = newest is not None and newest.deleted_ms is None and newest.hash == made.hash
        return newest if is_same else None

    async def _added(
        self, prompt: Prompt | None, made: Ready, by: str, author: str, note: str, expected: int | None
    ) -> PromptVersion:
        if expected is not None:
            await self._check_newest(made.prompt, prompt, expected)
        if prompt is None:
            prompt = Prompt(made.prompt, self._now_ms, by)
            try:
                await self._store.add(prompt)
            except ValueError:  # somebody else did, just now
                prompt = await self.find(made.prompt)
        wording = msgspec.json.encode(made.wording, order="sorted").decode()
        next_, tries = (prompt.latest + 1, TRIES) if expected is None else (expected + 1, 1)
        for number in range(next_, next_ + tries):
            version = PromptVersion(
                f"{prompt.id}@{number}", prompt.id, number, self._now_ms, by, author, note, made.hash, wording
            )
            try:
                await self._store.add(version)
            except ValueError:
                continue
            await self._noted_latest(prompt.id, number)
            await self.stamped()
            return version
        if expected is not None:
            await self._check_newest(prompt.id, prompt, expected)
        raise Conflict(f"others are making versions of {prompt.id!r} at this moment; try again")

    async def _check_newest(self, name: str, prompt: Prompt | None, expected: int) -> None:
        """Raises Superseded. Who has just made one may not have counted it yet."""
        newest = prompt.latest if prompt is not None else 0
        while await self._store.find(PromptVersion, f"{name}@{newest + 1}") is not None:
            newest += 1
        if newest != expected:
            said = f"its newest is version {newest}" if newest else "it has no version"
            raise Superseded(
                f"prompt {name!r} is not what you began from, version {expected}: {said}; look at what changed, and "
                "try again",
                newer=newest or None,
            )

    async def _noted_latest(self, name: str, number: int) -> None:
        while (prompt := await self.find(name)).latest < number:
            if await self._store.change(prompt, latest=number) is not None:
                return

    async def move(
        self, name: str, label: str, version: int | None, *, by: str, why: str = "", insists: bool = False,
        expected: int | None = None,
    ) -> PromptMove:  # fmt: skip
        """Point `label` to a version; None: take it away. `insists`: may move what is protected.

        `expected`: where whoever asks knows it to point; 0: nowhere. Raises PromptNotFound, Forbidden, Superseded,
        Conflict when somebody else moves it at the same moment.
        """
        check_label(label)
        prompt = await self.find(name)
        was = prompt.at(label)
        if expected is not None and (was or 0) != expected:
            there = f"points to version {was}" if was else "is not there"
            raise Superseded(f"the label {label!r} of {name!r} {there} by now; look, and try again", newer=was)
        if version is not None:
            await self._library.version(prompt, version)
        elif was is None:
            self._library.at(prompt, label)  # raises: it is not there
        if was is not None and was != version:
            self._check_protected(label, insists=insists)
        labels = {one.name: one for one in prompt.labels if one.name != label}
        if version is not None:
            labels[label] = Label(label, version)
        changed = await self._store.change(
            prompt,
            labels=tuple(labels[one] for one in sorted(labels)),
            deleted=prompt.deleted,  # as they were: nobody has deleted this version meanwhile
            steps=prompt.steps + 1,
        )
        if changed is None:
            raise Conflict(f"somebody else has changed prompt {name!r} at the same moment; look, and try again")
        move = PromptMove(f"{name}#{changed.steps}", name, label, self._now_ms, by, version, was, why[:MAX_NOTE])
        await self._store.add(move)
        await self.stamped()
        return move

    def _check_protected(self, label: str, *, insists: bool) -> None:
        if label in self.protected and not insists:
            raise Forbidden(
                f"the label {label!r} is protected: an administrator may move it, and must say so: --protected, or "
                '"protected": true'
            )

    async def delete(self, name: str, number: int) -> PromptVersion:
        """What it said is gone, its number is never given again. Raises PromptNotFound; Conflict while it is used."""
        prompt = await self.find(name)
        version = await self.version(prompt, number)
        await self._check_unused(prompt, number)
        if (
            await self._store.change(
                prompt, deleted=(*prompt.deleted, number), labels=prompt.labels, steps=prompt.steps
            )
            is None
        ):
            raise Conflict(f"somebody else has changed prompt {name!r} at the same moment; look, and try again")
        await self._store.change(version, wording="{}", note="", deleted_ms=self._now_ms)
        await self.stamped()
        return version

    async def _check_unused(self, prompt: Prompt, number: int) -> None:
        id = f"{prompt.id}@{number}"
        for label in prompt.labels:
            if label.version == number:
                raise Conflict(
                    f"{id} is in use: the label {label.name!r} points to it; move that first: "
                    f"tidegate prompts label {prompt.id} {label.name} VERSION"
                )
        for one in await self._store.every(PromptVersion):
            if one.deleted_ms is None and id in included_by(_WORDING.decode(one.wording)):
                raise Conflict(f"{id} is in use: {one.id} includes it; delete that first")
        for experiment in await self._store.every(Experiment):
            if experiment.archived_ms or experiment.state in ("rolled_back", "inconclusive", "stopped"):
                continue
            spec = spec_of(experiment)
            for arm in (spec.control, *spec.arms):
                if arm.prompts.get(prompt.id) == number:
                    raise Conflict(
                        f"{id} is in use: arm {arm.name!r} of experiment {spec.name!r}, which is {experiment.state}; "
                        "stop that, or archive it"
                    )

    async def stamped(self) -> None:
        """Every process sees within a second that something was changed; this one at once."""
        while True:
            found = await self._store.find(Setting, STAMP)
            if found is None:
                with suppress(ValueError):  # somebody else did, just now
                    await self._store.add(Setting(STAMP, "1", FOR_EVER_MS, "house", self._now_ms))
                    break
            elif await self._store.change(found, value=str(int(found.value) + 1)) is not None:
                break
        await self._library.read()
