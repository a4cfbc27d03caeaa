"""What would the guards of a route make of this text? Every one looks, whatever those before it say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from tidegate.core.call import Call
from tidegate.core.guard import RULING, Direction, Part, Ruling
from tidegate.core.ports import Answering, Watch
from tidegate.stages.guardrails import Config, Guard, Guards
from tidegate.stages.guardrails.masks import Masks, Placeholders, masked


class Span(msgspec.Struct, frozen=True):
    rule: str
    start: int  # by character
    end: int
    score: float


class Tried(msgspec.Struct, frozen=True):
    """What one guard would do. `text`: what it would leave; None where it blocks."""

    guard: str
    action: str
    verdict: Ruling | Literal["failed"]
    found: tuple[Span, ...] = ()
    text: str | None = None
    error: str | None = None


def guards_of(default: Config, routes: Mapping[str, Config | None], route: str | None) -> Config:
    """Those that are configured for `route`; those of all routes when it has none of its own, or none is named."""
    return (routes.get(route) if route is not None else None) or default


async def tried(guards: Guards, text: str, direction: Direction, role: str = "user") -> list[Tried]:
    """One after the other, each at what those before it have left."""
    found: list[Tried] = []
    masks, hidden = Masks(), Placeholders()
    side = guards.input if direction == "input" else guards.output
    if any(guard.action == "placeholder" for guard in side):
        text = hidden.escaped(text)
    for guard in side:
        one = await _try(guard, text, direction, role, masks, hidden)
        found.append(one)
        text = text if one.text is None else one.text
    return found


async def _try(guard: Guard, text: str, direction: Direction, role: str, masks: Masks, hidden: Placeholders) -> Tried:
    try:
        if direction == "input":
            findings: Sequence[Any] = (await guard.looks.check(_call(text), [Part("text", role, text)]))[0]
        else:
            watch = guard.looks.watch()
            if isinstance(guard.looks, Answering) and guard.whole:
                findings = (await guard.looks.check_answer(_call(text), [Part("0.text", "assistant", text)]))[0]
            else:
                findings = _watched(watch, text) if watch is not None else ()
    except Exception as wrong:  # noqa: BLE001 a guard is a plugin, and whatever it raises means the same
        return Tried(guard.name, guard.action, "failed", error=repr(wrong)[:200])
    spans = tuple(Span(one.rule, one.start, one.end, round(one.score, 4)) for one in findings)
    verdict: Ruling = RULING[guard.action] if findings else "pass"
    left = masked(text, findings, guard.action, masks, hidden) if verdict == "mask" else text
    return Tried(guard.name, guard.action, verdict, spans, None if verdict == "block" else left)


def _watched(watch: Watch, text: str) -> list[Any]:
    found: list[Any] = []
    at = 0
    for passed in (watch.feed(text), watch.end()):
        found += [one._replace(start=one.start + at, end=one.end + at) for one in passed.findings]
        at += len(passed.text)
    return found


async def _nothing() -> bytes:
    return b""


def _call(text: str) -> Call:
    """A call that says just this, for guards that look at more of it."""
    return Call(id="try", dialect="openai", operation="chat", at_ms=0, arrived_ns=0, intake=_nothing, kind="try")
