"""How is the same said in fewer tokens? Once per call, on its way to a provider, where its route wants that.

Level 0 loses nothing (`lossless`): JSON without blanks or as tables, what was said before by reference. Level 1 leaves
out of long context what the question does not ask for (`relevant`). Before either, the oldest turns of a long chat may
become a summary (`trimming`). And what will be sent again soon, its provider is
told to keep (`marks`). What the client sent stays what it was for limits, guards, keys of the cache, and for whoever
keeps bodies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import msgspec

from tidegate.core.call import Asked, Call, Route, Shrunk, Target, size
from tidegate.core.errors import BadRequest
from tidegate.core.money import estimated_tokens
from tidegate.core.nearest import nearest
from tidegate.core.places import Moved, replaced
from tidegate.core.ports import Codec
from tidegate.core.values import Share
from tidegate.core.world import World
from tidegate.upstream.attempt import Mark
from tidegate.upstream.shrink import marks, trimming
from tidegate.upstream.shrink.lossless import lossless
from tidegate.upstream.shrink.marks import Marked, Seen
from tidegate.upstream.shrink.parts import OPERATIONS, Part, parts_of
from tidegate.upstream.shrink.plug import Plug
from tidegate.upstream.shrink.plug import Plugged as Plugged
from tidegate.upstream.shrink.relevant import Select, relevant
from tidegate.upstream.shrink.selection import selected
from tidegate.upstream.shrink.trimming import Trims

SMALL = 8 * 1024  # bytes of a body that is shortened at once; a longer one in a thread, so that others go on
LARGEST = 4 * 1024 * 1024  # bytes of one that is looked at at all

Level = Literal["lossless", "relevant", "custom"]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether prompts are made shorter before they are sent to a provider.

    level: `lossless` writes JSON of users and tools as tables, and what they say twice by reference; `relevant` also
        leaves out, of long context, the sentences that the question asks for least; `custom` has that done by
        `compressor`; null changes nothing.
    target: of `relevant` and `custom`, the share of such context that goes.
    compressor: one of your own, by its `type`, its settings beside it; `timeout` is how long it is waited for (2s).
    trim: whether the oldest turns of a long chat go out as a summary.
    cache_hints: tell Anthropic what to keep (`cache_control`), where it is likely to be sent again soon and the client
        has not said so itself.
    """

    level: Level | None = None
    target: Share = Share(0.35)
    compressor: Plugged | None = None
    trim: trimming.Config = trimming.Config()
    cache_hints: bool = False

    @property
    def wants(self) -> bool:
        return self.level is not None or self.cache_hints or self.trim.route is not None


def trouble(config: Config, route: str, known: Sequence[str]) -> tuple[str, str] | None:
    """Which key is wrong, and what to do. `known`: names of routes and providers."""
    asked = config.trim.route
    if asked == route:
        return "trim.route", "a route cannot summarise for itself; name another, or leave it out"
    if asked is not None and asked not in known and asked.partition("/")[0] not in known:
        return "trim.route", f"no route {asked!r}; {nearest(asked, known)}"
    if not 0.1 <= config.target <= 0.9:
        return "target", "must be from 10 % to 90 %; 35 % is safe, 50 % and 70 % lose more"
    if (config.level == "custom") != (config.compressor is not None):
        return "compressor", "goes with `level: custom`, and that with it: set both, or neither"
    return None


class Shrinks:
    """Of the routes that want it."""

    def __init__(
        self, routes: Mapping[str, Config], world: World, trims: Trims | None = None, before: Shrinks | None = None
    ) -> None:
        """Of `before` stays what is known, and compressors that nothing was changed of: making one may mean loading a
        model."""
        self._routes = {name: one for name, one in routes.items() if one.wants}
        self._plugs: dict[str, Plug] = {
            name: _plug(one.compressor, world, before._plugs.get(name) if before else None)
            for name, one in self._routes.items()
            if one.compressor is not None
        }
        self._world = world
        self._seen: Seen = before._seen if before else Seen()
        self._trims = trims

    def __bool__(self) -> bool:
        return bool(self._routes)

    async def shorten(self, call: Call) -> None:
        """Set what goes out, where that is shorter than what came."""
        route, asked = call.route, call.asked
        assert route is not None and asked is not None
        config = self._routes.get(route.policy)
        if config is None or asked.codec.operation not in OPERATIONS or len(asked.body) > LARGEST:
            return
        if call.kind == "guard":  # a guard is shown everything, or it guards nothing
            return
        if config.trim.route is not None and self._trims is not None:
            asked = await self._trims.trimmed(call, asked, config.trim)
        if config.level is not None:
            call.shrunk = await self._shorter(call, route, asked, config.level, config.target)
        if call.asked is not None and asked is not call.asked:
            call.shrunk = _with_trimmed(call.asked, asked, call.shrunk)

    async def _shorter(self, call: Call, route: Route, asked: Asked, level: Level, target: float) -> Shrunk:
        keeps = any(_keeps(target) for target in route.targets)
        work = partial(shrunk, asked, level, target, keeps)
        if route.policy in self._plugs:
            found = await self._plugs[route.policy].with_it(call, work)
            if found is not None:
                return found
            work = partial(shrunk, asked, "lossless", target, keeps)
        return work() if len(asked.body) <= SMALL else await self._world.loop.run_in_executor(None, work)

    def mark(self, call: Call) -> Mark | None:
        """How a body is told what its provider shall keep; None where nobody wants that."""
        assert call.route is not None
        config = self._routes.get(call.route.policy)
        return self._marked if config is not None and config.cache_hints else None

    def _marked(self, codec: Codec, body: bytes) -> Marked:
        if codec.dialect != marks.DIALECT or codec.operation != marks.OPERATION or len(body) > LARGEST:
            return Marked(body, 0)
        return marks.marked(body, self._seen, self._world.clock.now_ns())


def _with_trimmed(came: Asked, trimmed: Asked, shorter: Shrunk | None) -> Shrunk:
    """What has become of it altogether."""
    before, between = (estimated_tokens(sum(size(text) for _, text in one.codec.texts(one))) for one in (came, trimmed))
    if shorter is None:
        return Shrunk(None, before, between, trimmed, trimmed=True)
    return Shrunk(shorter.level, before, shorter.after, shorter.asked, trimmed=True)


def _plug(plugged: Plugged, world: World, before: Plug | None) -> Plug:
    return before if before is not None and before.plugged == plugged else Plug(plugged, world)


def shrunk(asked: Asked, level: Level, target: float, keeps: bool, select: Select = selected) -> Shrunk:
    """`asked` in fewer tokens. `keeps`: a provider keeps the beginning of a conversation, and sells it for less."""
    before = sum(size(text) for _, text in asked.codec.texts(asked))
    parts, turn = parts_of(asked)
    texts = lossless([part.text for part in parts])
    if level != "lossless" and not (turn and keeps):
        texts = _with_turn(parts, texts, turn, target, select)
    changes = {part.path: (part.text, text) for part, text in zip(parts, texts, strict=True) if part.text != text}
    after = before - sum(size(old) - size(new) for old, new in changes.values())
    if changes and after < before:
        try:
            out = asked.codec.parse_request(replaced(asked.body, changes))
        except (Moved, BadRequest):  # a key that stands twice: such a body goes out as it came
            after = before
        else:
            out.ceiling = asked.ceiling
            return Shrunk(level, estimated_tokens(before), estimated_tokens(after), out)
    return Shrunk(level, estimated_tokens(before), estimated_tokens(before), asked)


def _with_turn(parts: Sequence[Part], texts: Sequence[str], turn: int, target: float, select: Select) -> list[str]:
    """The texts, those of the last turn without what is not asked for."""
    first = next((at for at, part in enumerate(parts) if part.message >= turn), len(parts))
    last = [part._replace(text=text) for part, text in zip(parts[first:], texts[first:], strict=True)]
    return [*texts[:first], *relevant(last, target, select)]


def _keeps(target: Target) -> bool:
    """Whether what it was sent before costs less when it is sent again; where nobody knows, it may."""
    rates = target.price.rates if target.price is not None else None
    return rates is None or ("cached_read" in rates and rates["cached_read"] < rates.get("input", 0))
