"""What may pass? Guards look at what goes out to a provider and at what comes back, as the route says.

    check     once per call, before the cache: everything of the request that is text; it refuses, masks or flags
    shield    inside the purchase: everything of the reply that is text, as it streams by
    restore   outside the cache: the caller gets its own values back for the placeholders that went out

A guard says what it found, the route says what is done about it, and a verdict is what became of both. There is a
verdict only of a guard that has looked at all there was: one that failed has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from tidegate.core.call import Asked, Call, Reply, Source
from tidegate.core.errors import Blocked, ConfigError, GuardFailed
from tidegate.core.guard import RULING, Action, Direction, Finding, Guarding, Part, verdict_of
from tidegate.core.nearest import nearest
from tidegate.core.places import Moved, replaced
from tidegate.core.ports import Answering, Guardrail, Reach, Reaching
from tidegate.core.world import World
from tidegate.stages.guardrails.answers import Awaited
from tidegate.stages.guardrails.asking import Asking, Found, in_place, together
from tidegate.stages.guardrails.bodies import WholeShielded
from tidegate.stages.guardrails.masks import Masks, Placeholders, masked
from tidegate.stages.guardrails.parts import parts_of, unreadable
from tidegate.stages.guardrails.replies import Looks, Restored, Shielded

DEFAULT = ""  # the guards of routes that name none


class Guarded(NamedTuple):
    """A guard in a route: its `type`, what is done about its findings, and its own settings."""

    type: str
    action: Action
    on_failure: Literal["closed", "open"]
    plugin: Callable[[msgspec.Struct, Sequence[str]], Guardrail]
    settings: msgspec.Struct


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Guards, in their order. Each sees what those before it have left.

    input: look at what is asked: every role, tools and their results.
    output: look at what is answered, streamed or not. Those that look at whole answers only (webhook, model, onnx,
        deep_pii) look last; with another action than flag the answer is held until they have, up to 4 MiB of it.
    """

    input: tuple[Guarded, ...] = ()
    output: tuple[Guarded, ...] = ()


class Guard(NamedTuple):
    """One of a route, ready."""

    name: str
    action: Action
    closed: bool  # what it could not look at does not pass
    looks: Guardrail
    waits: bool = False  # for an answer from elsewhere
    whole: bool = False  # looks at an answer when all of it is there

    @property
    def identity(self) -> str:
        return f"{self.name} {self.looks.fingerprint}"

    @property
    def changes(self) -> bool:
        return RULING[self.action] == "mask"


class Guards(NamedTuple):
    """All of a route."""

    input: tuple[Guard, ...]
    output: tuple[Guard, ...]
    fingerprint: str  # another one when other texts would pass, or pass otherwise

    def without(self, identities: Sequence[str]) -> Guards:
        """For a call that serves some of them."""
        left = [tuple(one for one in side if one.identity not in identities) for side in (self.input, self.output)]
        return Guards(left[0], left[1], _fingerprint(left))


class Guardrails:
    """`known`: secrets that the house itself has, which must leave by no way."""

    def __init__(
        self, default: Config, routes: Mapping[str, Config | None], world: World, known: Sequence[str], reach: Reach
    ) -> None:
        self._world = world
        self._routes: dict[str, Guards | None] = {}
        self._masks = Masks()
        for name, config in {DEFAULT: default, **{name: one or default for name, one in routes.items()}}.items():
            where = f"routes.{name}.guardrails" if name else "guardrails"
            self._routes[name] = guards = ready(config, known, reach, f"{where}.")
            _check_routes(where, guards, routes)
        self.on = any(self._routes.values())  # else nobody looks at anything

    def of(self, route: str) -> Guards | None:
        """Those of a route; None when it has none. A name that is no route's own is guarded by default."""
        guards = self._routes.get(route, self)
        return self._routes[DEFAULT] if guards is self else guards  # type: ignore[return-value]

    async def check(self, call: Call) -> None:
        """Look at the request. From here on what goes out is fixed. Raises Blocked and GuardFailed."""
        if not self.on:
            return
        assert call.route is not None and call.asked is not None
        guards = self.of(call.route.policy)
        if guards is not None:
            if call.asked_by:
                guards = guards.without(call.asked_by)
            call.guarded = Guarding(by=guards.fingerprint)
            _refuse_unseen(call, guards)
            await self._look(call, call.asked, guards.input)

    async def _look(self, call: Call, asked: Asked, guards: Sequence[Guard]) -> None:
        if not guards or unreadable(asked):
            return
        before = parts = parts_of(asked)
        hidden = Placeholders() if any(guard.action == "placeholder" for guard in guards) else None
        if hidden is not None:
            parts = [part._replace(text=hidden.escaped(part.text)) for part in parts]
        for group in together(guards):
            parts = await self._ask(call, group, parts, hidden)
        _change(call, asked, before, parts)
        if hidden is not None:
            call.guarded = msgspec.structs.replace(call.guarded, withheld=hidden.values)

    async def _ask(
        self, call: Call, group: Sequence[Guard], parts: list[Part], hidden: Placeholders | None
    ) -> list[Part]:
        """What guards that see the same make of it: those that wait for others do so while the rest looks."""
        shown = parts
        with Asking(self._world, group, lambda guard: self._findings(call, guard, shown)) as asking:
            for guard in group:
                findings = await asking.of(guard)
                if findings is not None:
                    parts = self._conclude(call, guard, parts, findings, hidden)
        return parts

    def _conclude(
        self, call: Call, guard: Guard, parts: list[Part], findings: Found, hidden: Placeholders | None
    ) -> list[Part]:
        """The verdict, and what is left of the texts. Raises Blocked."""
        found = [(part.role, one) for part, some in zip(parts, findings, strict=True) for one in some]
        verdict = verdict_of(guard.name, "input", guard.action, found)
        call.guarded = call.guarded.adding(verdict)
        if verdict.verdict == "block":
            raise Blocked(refusal(guard.name, verdict.rules, "this request"), param=_first(parts, findings))
        if verdict.verdict != "mask":
            return parts
        return [
            part._replace(text=masked(part.text, some, guard.action, self._masks, hidden)) if some else part
            for part, some in zip(parts, findings, strict=True)
        ]

    async def _findings(self, call: Call, guard: Guard, parts: Sequence[Part]) -> Found | None:
        """None: it has failed, and may be done without."""
        try:
            found = await guard.looks.check(call, parts)
            in_place(parts, found)
            return found
        except Exception as wrong:  # noqa: BLE001 a guard is a plugin, and whatever it raises means the same
            self.failed(guard, call, wrong)
            return None

    def failed(self, guard: Guard, call: Call, wrong: Exception) -> None:
        """Raises GuardFailed, where nothing may pass unseen."""
        fields = {"guard": guard.name, "request_id": call.id, "error": repr(wrong)[:200], "passes": not guard.closed}
        self._world.events.notice("guardrail_failed", fields)
        if guard.closed:
            raise GuardFailed(f"guard {guard.name!r} could not look at this call, so it does not pass") from None

    def shield(self, call: Call, source: Source) -> Source:
        """What comes in, looked at. The same source where nobody looks."""
        if not self.on:
            return source
        assert call.route is not None
        guards = self.of(call.route.policy)
        if guards is None or not guards.output or source.head.target is None:  # what we say ourselves is known
            return source
        if call.operation == "raw" and call.asked is not None and call.asked.stream:
            return source  # all of its guards may be done without, or it would have been refused
        if call.asked_by:
            guards = guards.without(call.asked_by)
        whole = [guard for guard in guards.output if guard.whole]
        by_the_word = [guard for guard in guards.output if not guard.whole]
        if by_the_word:
            kind = WholeShielded if call.operation == "raw" else Shielded
            source = kind(source, call, by_the_word, self._masks, self.failed)
        if whole:
            source = Awaited(source, call, whole, Looks(call, whole, self._masks, self.failed), self._world)
        return source

    def restore(self, call: Call, reply: Reply) -> Reply:
        """The reply with the caller's own values. The same one where none were withheld."""
        return Restored(reply, call.guarded.withheld) if call.guarded.withheld else reply


def ready(config: Config, known: Sequence[str], reach: Reach, where: str = "") -> Guards | None:
    """None: nobody looks. Raises ConfigError."""
    sides = [
        tuple(_made(f"{where}{side}[{at}]", side, one, known, reach) for at, one in enumerate(guarded))
        for side, guarded in _sides(config)
    ]
    return Guards(sides[0], sides[1], _fingerprint(sides)) if any(sides) else None


def _sides(config: Config) -> Iterable[tuple[Direction, tuple[Guarded, ...]]]:
    return ("input", config.input), ("output", config.output)


def _made(where: str, side: Direction, guarded: Guarded, known: Sequence[str], reach: Reach) -> Guard:
    """Raises ConfigError."""
    try:
        looks: Guardrail = guarded.plugin(guarded.settings, known)
        if isinstance(looks, Reaching):
            looks.join(reach)
    except ConfigError as wrong:
        raise ConfigError(f"{where}: {wrong.message}") from None
    whole = side == "output" and looks.watch() is None
    if whole and not isinstance(looks, Answering):
        raise ConfigError(f"{where}: the guard {guarded.type!r} looks at requests only; put it under input")
    waits = isinstance(looks, Reaching) and looks.waits
    return Guard(guarded.type, guarded.action, guarded.on_failure == "closed", looks, waits, whole)


def _check_routes(where: str, guards: Guards | None, routes: Mapping[str, object]) -> None:
    """A guard may ask a route, which must be there. Raises ConfigError."""
    sides = (("input", guards.input), ("output", guards.output)) if guards is not None else ()
    for side, at, guard in ((side, at, guard) for side, some in sides for at, guard in enumerate(some)):
        route = getattr(guard.looks, "route", None)
        if route is not None and route not in routes and "/" not in route:
            raise ConfigError(f"{where}.{side}[{at}].route: no route {route!r}; {nearest(route, routes)}")


def refusal(guard: str, rules: Sequence[str], what: str) -> str:
    """What a client is told: which guard and which rules, never what was found."""
    return f"guard {guard!r} does not let {what} pass: {', '.join(rules[:5])}"


def _first(parts: Sequence[Part], findings: Sequence[Sequence[Finding]]) -> str:
    return next(part.path for part, some in zip(parts, findings, strict=True) if some)


def _fingerprint(sides: Sequence[Sequence[Guard]]) -> str:
    said = [[(guard.name, guard.action, guard.looks.fingerprint) for guard in side] for side in sides]
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:16]


def _refuse_unseen(call: Call, guards: Guards) -> None:
    """Raises Blocked for what guards cannot read, unless all of them may be done without."""
    assert call.asked is not None and call.route is not None
    why = unreadable(call.asked)
    if why and any(guard.closed for guard in guards.input):
        raise Blocked(f"the guards of route {call.route.name!r} cannot read this request: {why}")
    if call.operation == "raw" and call.asked.stream and any(guard.closed for guard in guards.output):
        raise Blocked(
            f"the guards of route {call.route.name!r} cannot read streamed answers of this path; ask without stream"
        )


def _change(call: Call, asked: Asked, before: Sequence[Part], after: Sequence[Part]) -> None:
    changes = {
        old.path: (old.text, new.text) for old, new in zip(before, after, strict=True) if old.text is not new.text
    }
    changes = {path: both for path, both in changes.items() if both[0] != both[1]}
    if not changes:
        return
    try:
        body = replaced(asked.body, changes)
    except Moved as wrong:
        raise GuardFailed(f"what a guard found cannot be masked: {wrong}") from None
    call.asked = asked.codec.parse_request(body)
    call.outgoing = body
