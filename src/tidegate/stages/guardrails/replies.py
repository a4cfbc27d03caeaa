"""How is a reply changed while it streams by? Channel by channel, and never so that what was held back is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from tidegate.core.call import Call, Event, Reply, ReplyHead, Source
from tidegate.core.chat import Channel
from tidegate.core.errors import Blocked, GuardFailed, TidegateError
from tidegate.core.guard import RULING, Finding, Passed, verdict_of
from tidegate.core.places import Moved
from tidegate.core.ports import Watch
from tidegate.stages.guardrails.masks import Masks, Restoring, masked

if TYPE_CHECKING:
    from tidegate.stages.guardrails import Guard


class Text(Protocol):
    """One text that streams by, changed. All that comes out, joined, is what the whole would have become."""

    def feed(self, text: str) -> str: ...

    def end(self) -> str: ...


class Rewriting:
    """Events with other texts. `begin`: what becomes of a channel's text; a whole body has several texts in one."""

    def __init__(self, begin: Callable[[Channel], Text]) -> None:
        self._begin = begin
        self._open: dict[Channel, tuple[Text, Event]] = {}  # and the last event that said something there

    def feed(self, events: Sequence[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            self._rewrite(event, out)
        return out

    def _rewrite(self, event: Event, out: list[Event]) -> None:
        places = list(event.places())
        if not places and not event.last and not self._open:
            out.append(event)
            return
        if event.last and not self._open:
            changes = {path: (text, self._whole(channel, text)) for channel, path, text in places}
        else:
            changes = self._pieces(event, places, out)
        changes = {path: both for path, both in changes.items() if both[0] != both[1]}
        out.append(event.rewritten(changes) if changes else event)

    def _whole(self, channel: Channel, text: str) -> str:
        one = self._begin(channel)
        return one.feed(text) + one.end()

    def _pieces(
        self, event: Event, places: Sequence[tuple[Channel, str, str]], out: list[Event]
    ) -> dict[str, tuple[str, str]]:
        changes: dict[str, tuple[str, str]] = {}
        last_path: dict[Channel, str] = {}
        for channel, path, text in places:
            one = self._open[channel][0] if channel in self._open else self._begin(channel)
            self._open[channel] = one, event
            changes[path] = text, one.feed(text)
            last_path[channel] = path
        closing = set(event.closes())
        for channel in list(self._open):
            if event.last or (channel.choice, None) in closing or (channel.choice, channel.tool) in closing:
                one, said = self._open.pop(channel)
                rest = one.end()
                if rest and channel in last_path:
                    text, new = changes[last_path[channel]]
                    changes[last_path[channel]] = text, new + rest
                elif rest:
                    out.append(said.more(channel, rest))
        return changes


Failed = Callable[["Guard", Call, Exception], None]  # raises where nothing may pass unseen


class Looks:
    """What the guards of a route find in one reply, and what it becomes."""

    def __init__(self, call: Call, guards: Sequence[Guard], masks: Masks, failed: Failed) -> None:
        self._call = call
        self._masks = masks
        self._failed = failed
        self.guards = {guard: list[tuple[str, Finding]]() for guard in guards}
        self.out: set[Guard] = set()  # those that have failed
        self.looked = False

    def begin(self, channel: Channel) -> Text:
        return Looking(self, channel)

    def found(self, guard: Guard, channel: Channel, findings: Sequence[Finding]) -> None:
        """Raises Blocked."""
        self.guards[guard] += ((channel.kind, one) for one in findings)
        if findings and guard.action == "block":
            rules = dict.fromkeys(one.rule for one in findings)
            raise Blocked(f"guard {guard.name!r} does not let this answer pass: {', '.join(rules)}")

    def masked(self, guard: Guard, text: str, findings: Sequence[Finding]) -> str:
        return masked(text, findings, guard.action, self._masks) if RULING[guard.action] == "mask" else text

    def fail(self, guard: Guard, wrong: Exception) -> None:
        self.out.add(guard)
        self._failed(guard, self._call, wrong)

    def conclude(self, *, complete: bool) -> None:
        """Verdicts: of who has seen all of it, or has found something."""
        for guard, found in self.guards.items():
            if found or (complete and self.looked and guard not in self.out):
                verdict = verdict_of(guard.name, "output", guard.action, found)
                self._call.guarded = self._call.guarded.adding(verdict)


class Looking:
    """All guards, one after the other, at one text."""

    def __init__(self, looks: Looks, channel: Channel) -> None:
        looks.looked = True
        self._looks = looks
        self._channel = channel
        self._steps = [_Step(guard, watch) for guard in looks.guards if (watch := guard.looks.watch()) is not None]

    def feed(self, text: str) -> str:
        for step in self._steps:
            text = self._step(step, text, ending=False) if text else ""
        return text

    def end(self) -> str:
        text = ""
        for step in self._steps:
            text = self._step(step, text, ending=True)
        return text

    def _step(self, step: _Step, text: str, *, ending: bool) -> str:
        looks, guard = self._looks, step.guard
        step.held += text
        passed: list[Passed] = []
        try:
            if guard not in looks.out:
                passed += [step.watch.feed(text)] if text else []
                passed += [step.watch.end()] if ending else []
        except Exception as wrong:  # noqa: BLE001 a guard is a plugin, and whatever it raises means the same
            looks.fail(guard, wrong)
        out = ""
        for one in passed:
            step.held = step.held[len(one.text) :]
            looks.found(guard, self._channel, one.findings)
            out += looks.masked(guard, one.text, one.findings)
        if guard in looks.out:
            out, step.held = out + step.held, ""
        return out if guard.action != "flag" else text  # what is only noted need not wait


class _Step:
    __slots__ = ("guard", "held", "watch")

    def __init__(self, guard: Guard, watch: Watch) -> None:
        self.guard = guard
        self.watch = watch
        self.held = ""  # what was given to it and has not come back


class Shielded:
    """A source whose events were looked at. What comes before the first word waits for it: until then it may be
    refused."""

    def __init__(self, source: Source, call: Call, guards: Sequence[Guard], masks: Masks, failed: Failed) -> None:
        self.head = headed(source.head)
        self._source = source
        self._looks = Looks(call, guards, masks, failed)
        self._rewriting = Rewriting(self._looks.begin)
        self._waiting: list[Event] = []
        self._begun = self._over = False

    def begin(self, push: Callable[[list[Event]], None]) -> None:
        self._push = push
        self._source.begin(self._feed)

    def _feed(self, events: list[Event]) -> None:
        if self._over:
            return
        last = events[-1]
        try:
            events = self._rewriting.feed(events)
        except (TidegateError, Moved) as wrong:
            error = wrong if isinstance(wrong, TidegateError) else GuardFailed("what a guard found cannot be masked")
            self._over = True
            self._looks.conclude(complete=False)
            self._push([Event(last=True, error=error)])
            return
        if last.last:
            self._over = True
            self._looks.conclude(complete=last.error is None)
        self._begun = self._begun or last.last or any(event.opens for event in events)
        if not self._begun:
            self._waiting += events
        elif events:
            waiting, self._waiting = self._waiting, []
            self._push(waiting + events)

    def pause(self) -> None:
        self._source.pause()

    def resume(self) -> None:
        self._source.resume()


def headed(head: ReplyHead) -> ReplyHead:
    """A body may get another length."""
    kept = [one for one in head.headers if one[0] not in (b"content-length", b"content-md5", b"digest", b"etag")]
    return head if len(kept) == len(head.headers) else msgspec.structs.replace(head, headers=kept)


class Restored:
    """A reply whose events have the caller's own values."""

    def __init__(self, reply: Reply, values: Mapping[str, str]) -> None:
        self.head = headed(reply.head)
        self.as_asked = reply.as_asked
        self._events = reply.events
        within_json = {key: msgspec.json.encode(value).decode()[1:-1] for key, value in values.items()}
        self._rewriting = Rewriting(lambda channel: Restoring(within_json if channel.kind == "tool" else values))

    @property
    def events(self) -> AsyncIterator[list[Event]]:
        return self

    def __aiter__(self) -> AsyncIterator[list[Event]]:
        return self

    async def __anext__(self) -> list[Event]:
        while True:
            events = self._rewriting.feed(await anext(self._events))
            if events:
                return events
