"""What do guards say that look at an answer when it is whole? They ask somebody, or read one sentence by the next.

While one of them may change or refuse it, an answer is held until all have looked. Where they only flag, it streams by,
and just its last event waits for them, so that the verdict stands in the row.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from tidegate.core.call import Call, Event, Source
from tidegate.core.chat import Channel
from tidegate.core.errors import GuardFailed, TidegateError
from tidegate.core.guard import Part
from tidegate.core.places import replaced
from tidegate.core.ports import Answering
from tidegate.core.world import World
from tidegate.stages.guardrails import bodies
from tidegate.stages.guardrails.asking import Asking, Found, in_place, together
from tidegate.stages.guardrails.replies import Looks, Rewriting, headed

if TYPE_CHECKING:
    from tidegate.stages.guardrails import Guard

WHOLE = Channel()  # of a body whose meaning nobody knows


class Said(NamedTuple):
    channel: Channel
    part: Part


class Answer(Protocol):
    """All events of one, by what is said in them."""

    def texts(self) -> dict[Hashable, Said]:
        """Raises ValueError for what cannot be read."""

    def rewritten(self, texts: Mapping[Hashable, str]) -> list[Event]:
        """With other texts. Raises Moved."""


class Spoken:
    """An answer of a dialect that we know: a text per channel, whatever pieces it came in."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def texts(self) -> dict[Hashable, Said]:
        pieces: dict[Channel, list[str]] = {}
        for event in self._events:
            for channel, _, text in event.places():
                pieces.setdefault(channel, []).append(text)
        return {one: Said(one, Part(_path(one), "assistant", "".join(some))) for one, some in pieces.items()}

    def rewritten(self, texts: Mapping[Hashable, str]) -> list[Event]:
        return Rewriting(lambda channel: Instead(texts.get(channel))).feed(self._events)


class Instead:
    """A text that takes the place of another, when that has ended; None: the other stays."""

    def __init__(self, text: str | None) -> None:
        self._text = text

    def feed(self, text: str) -> str:
        return text if self._text is None else ""

    def end(self) -> str:
        return self._text or ""


class Body:
    """An answer whose meaning nobody knows: every string of its JSON."""

    def __init__(self, events: list[Event]) -> None:
        self._last = events[-1]
        self._body = b"".join([event.raw for event in events])

    def texts(self) -> dict[Hashable, Said]:
        found = bodies.texts_of(self._body)
        return {path: Said(WHOLE, Part(path, "assistant", text)) for path, text in found}

    def rewritten(self, texts: Mapping[Hashable, str]) -> list[Event]:
        said = self.texts()
        body = replaced(self._body, {str(path): (said[path].part.text, text) for path, text in texts.items()})
        return [Event(body, opens=True, last=True, usage=self._last.usage)]


class Awaited:
    """A source whose answer waits for `guards`."""

    def __init__(self, source: Source, call: Call, guards: Sequence[Guard], looks: Looks, world: World) -> None:
        self._holds = any(guard.action != "flag" for guard in guards)
        self.head = headed(source.head) if self._holds else source.head
        self._source = source
        self._call = call
        self._guards = guards
        self._looks = looks
        self._world = world
        self._events: list[Event] = []
        self._size = 0
        self._over = self._unseen = False

    def begin(self, push: Callable[[list[Event]], None]) -> None:
        self._push = push
        self._source.begin(self._feed)

    def _feed(self, events: list[Event]) -> None:
        if self._over or self._unseen:
            if self._unseen and not self._over:
                self._push(events)
            return
        last = events[-1]
        self._size += sum([len(event.raw) for event in events])
        self._events += events
        if last.last:
            self._over = True
        if last.error is not None:
            self._looks.conclude(complete=False)
            self._push([last] if self._holds else events)  # half of an answer has no end that anybody could look at
        elif self._size > bodies.MOST:
            self._let_pass(events)
        elif last.last:
            if not self._holds and len(events) > 1:
                self._push(events[:-1])
            self._world.nursery.spawn(self._look(), "guards of an answer")
        elif not self._holds:
            self._push(events)

    def _let_pass(self, events: list[Event]) -> None:
        """What is longer than anybody looks at: only where all may be done without."""
        self._unseen = True
        held, self._events = self._events if self._holds else events, []
        try:
            self._cannot(f"it is longer than {bodies.MOST} bytes")
        except GuardFailed as wrong:
            self._over = True
            held = [Event(last=True, error=wrong)]
        self._push(held)

    def _cannot(self, why: str) -> None:
        for guard in self._guards:
            self._looks.fail(guard, ValueError(f"this answer cannot be looked at: {why}"))

    async def _look(self) -> None:
        last, complete = self._events[-1], False
        out = self._events if self._holds else [last]
        try:
            changed = await self._changed()
            complete = True
            if changed:
                out = self._answer().rewritten(changed)
        except Exception as wrong:  # noqa: BLE001 whatever it is, somebody waits for the end of this answer
            error = wrong if isinstance(wrong, TidegateError) else GuardFailed("what a guard found cannot be masked")
            out = [Event(last=True, error=error)]
        if self._call.flight is None:  # whoever asked has left, and its row is written
            return
        self._looks.conclude(complete=complete)
        self._push(out)

    def _answer(self) -> Answer:
        return Body(self._events) if self._call.operation == "raw" else Spoken(self._events)

    async def _changed(self) -> dict[Hashable, str]:
        """What texts have become, of those that are others now. Raises Blocked, and GuardFailed."""
        try:
            said = self._answer().texts()
        except (ValueError, RecursionError, msgspec.DecodeError):
            self._cannot("it is no JSON")
            return {}
        if not said:
            return {}
        looks = self._looks
        looks.looked = True
        channels, parts = [one.channel for one in said.values()], [one.part for one in said.values()]
        before = [part.text for part in parts]
        for group in together(self._guards):
            shown = parts
            with Asking(self._world, group, lambda guard, shown=shown: self._findings(guard, shown)) as asking:  # type: ignore[misc]
                for guard in group:
                    findings = await asking.of(guard) or [()] * len(parts)
                    for at, (channel, some) in enumerate(zip(channels, findings, strict=True)):
                        looks.found(guard, channel, some)
                        if some:
                            parts[at] = parts[at]._replace(text=looks.masked(guard, parts[at].text, some))
        return {key: part.text for key, part, old in zip(said, parts, before, strict=True) if part.text != old}

    async def _findings(self, guard: Guard, parts: Sequence[Part]) -> Found | None:
        """None: it has failed, and may be done without."""
        try:
            assert isinstance(guard.looks, Answering)
            found = await guard.looks.check_answer(self._call, parts)
            in_place(parts, found)
            return found
        except Exception as wrong:  # noqa: BLE001 a guard is a plugin, and whatever it raises means the same
            self._looks.fail(guard, wrong)
            return None

    def pause(self) -> None:
        self._source.pause()

    def resume(self) -> None:
        self._source.resume()


def _path(channel: Channel) -> str:
    """How an answer's text is named to whoever is asked: 0.text, 1.reasoning, 0.tool.2."""
    return f"{channel.choice}.{channel.kind}" + (f".{channel.tool}" if channel.tool else "")
