"""How hard is this question, and which of a route's models need be asked to answer it well enough? Once per call.

    look (what stands there) ─► prior (how hard that is) ─► chances by tier ─► choice, at a price that keeps the promise

Nothing here waits, but for a route that learns: there the question is embedded, in a thread, and its pupil says what he
has learned. A session keeps its tier for a while, or goes up: half a conversation with a weaker model is worse than
all of it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from math import exp
from pathlib import Path
from random import Random
from typing import Annotated, Any, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from tidegate.core.call import Call, Route, Tier
from tidegate.core.errors import BadRequest, ConfigError
from tidegate.core.ports import Events
from tidegate.core.tiers import Chosen, Figures
from tidegate.core.values import Duration, Share
from tidegate.core.world import World
from tidegate.upstream.answers import WRITTEN
from tidegate.upstream.tiers import cascade
from tidegate.upstream.tiers.cascade import Ask, Cascade
from tidegate.upstream.tiers.choice import KINDS, Chances, Kind, Promise, chosen, price_of
from tidegate.upstream.tiers.look import features
from tidegate.upstream.tiers.prior import OURS, Prior

QUALITY = Promise("quality", 0.95)
SEEN = 400  # questions that the price is set by
ANEW = 100  # questions after which it is set again
SESSIONS = 10_000  # that are remembered, in each process
BYTES_A_TOKEN = 4
INPUT_WEIGHT = 3  # input tokens to one of output, in what a tier is taken to cost


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which tier of a route answers a call. One promise at most; without one, a quality of 0.95.

    quality: of that of the last tier, so much is kept on average.
    max_cost: of what it would cost to ask the last tier always, at most so much is spent on average.
    strong_share: at most this share of the calls begins at the last tier.
    tools: the first tier that may answer calls with tools; null, any. The same with images and json.
    images: for calls with pictures or documents in them.
    json: for calls whose answer has to be JSON.
    context: by tier, how many tokens a call may have at most, by about four bytes to a token.
    stick: how long a session stays at its tier, or goes up, after each call.
    weights: a file in place of ours that says how hard questions look, as tools/train_tiers.py writes it.
    learn: whether tiers are chosen by what was said of their answers, once that is enough. Needs the extra `semantic`.
    explore: where it learns, the share of calls that begin at another tier, by chance.
    keep: how long what was said of answers is kept, with the vector of the question; 0s, in memory alone.
    shadow_share: where it learns, the share of calls that another tier answers too, in the background and unseen; the
        suite of the route's judge says which answer is better.
    shadow_max_usd_per_day: what those calls and their judges may cost; the owner of the route pays.
    cascade: whether answers are looked at before anybody sees them, and a dearer tier asked where they will not do.
    """

    quality: Share | None = None
    max_cost: Share | None = None
    strong_share: Share | None = None
    tools: str | None = None
    images: str | None = None
    json: str | None = None
    context: dict[str, Annotated[int, Meta(ge=1)]] = {}
    stick: Duration = Duration(30 * 60)
    weights: str | None = None
    learn: bool = False
    explore: Share = Share(0.01)
    keep: Duration = Duration(90 * 86_400)
    shadow_share: Share = Share(0.0)
    shadow_max_usd_per_day: Annotated[float, Meta(gt=0)] = 1.0
    cascade: cascade.Config = cascade.Config()

    @property
    def promise(self) -> Promise:
        for kind, share in _promises(self):
            return Promise(kind, share)
        return QUALITY


def _promises(config: Config) -> Iterator[tuple[Kind, float]]:
    for kind in KINDS:
        share = getattr(config, kind)
        if share is not None:
            yield kind, float(share)


def begins_cheap(config: Config) -> bool:
    """In a cascade that nothing is promised of."""
    return bool(config.cascade.checks) and not any(_promises(config))


def trouble(
    config: Config, tiers: Collection[str], *, judged: bool = True, route: str = "", known: Iterable[str] = ()
) -> tuple[str, str] | None:
    """Which key is wrong, and what to do.

    `tiers`: names of those that the route has; `judged`: it has a suite; `known`: names of routes and providers.
    """
    amiss = cascade.trouble(config.cascade, route, len(tiers), known)
    if amiss is not None:
        return f"cascade.{amiss[0]}", amiss[1]
    if config != Config() and not tiers:
        return "quality", "a router chooses between tiers; give the route tiers, or leave the router out"
    if config.shadow_share and not config.learn:
        return "shadow_share", "nobody learns from it; set learn: true, or leave it out"
    if config.shadow_share and not judged:
        return "shadow_share", "nobody says which answer is better; name a suite in the route's judge"
    promised = [kind for kind, _ in _promises(config)]
    if len(promised) > 1:
        return promised[1], f"only one promise can be kept, and {promised[0]} is one; leave one of them out"
    named = [(field, getattr(config, field)) for field in ("tools", "images", "json")]
    named += [(f"context.{tier}", tier) for tier in config.context]
    for field, tier in named:
        if tier is not None and tier not in tiers:
            return field, f"no tier {tier!r}; there are: {', '.join(tiers)}"
    if config.weights is not None:
        try:
            Prior.load(Path(config.weights))
        except ConfigError as wrong:
            return "weights", wrong.message
    return None


class Explained(NamedTuple):
    """What would be decided for a question that needs nothing special, and why."""

    hard: float
    harder_than: float  # of questions that are usual anywhere, this share
    parts: Sequence[tuple[str, float]]  # what makes it hard or easy, the most first
    tiers: Sequence[tuple[str, float, float]]  # name, chance to answer well, cost
    price: float
    tier: str


class Room:
    """One route: what was seen of its questions lately, and the price that follows from it."""

    def __init__(self, config: Config, world: World) -> None:
        self.config = config
        self.prior = prior_of(config)
        self._world = world
        self._seen: deque[float] = deque(maxlen=SEEN)  # how hard questions were
        self._fresh = 0  # since a price was set
        self._prices: dict[tuple[str, ...], float] = {}  # by the tiers that there are

    def saw(self, hard: float) -> None:
        self._seen.append(hard)
        self._fresh += 1

    def price(self, tiers: Sequence[Tier]) -> float:
        """At first by the questions that are usual anywhere, later by those that were seen."""
        names = tuple(tier.name for tier in tiers)
        if names not in self._prices:
            self._prices[names] = _price(self.prior, self.prior.usual, costs(tiers), self.config.promise)
        elif self._fresh >= ANEW:
            self._fresh = 0
            self._world.nursery.spawn(self._set_anew(names, costs(tiers)), "price of quality")
        return self._prices[names]

    async def _set_anew(self, names: tuple[str, ...], costs: Sequence[float]) -> None:
        """Some milliseconds: in a thread."""
        self._prices[names] = await asyncio.to_thread(_price, self.prior, list(self._seen), costs, self.config.promise)


def prior_of(config: Config) -> Prior:
    """Raises ConfigError."""
    return Prior.load(Path(config.weights) if config.weights else OURS)


def chances_of(prior: Prior, hard: float, tiers: int) -> Chances:
    return [1 / (1 + exp(hard - one)) for one in prior.common(tiers)]


def _price(prior: Prior, hard: Iterable[float], costs: Sequence[float], promise: Promise) -> float:
    return price_of([chances_of(prior, one, len(costs)) for one in hard], costs, promise)


def explained(config: Config, text: str, tiers: Sequence[Tier]) -> Explained:
    """Raises ConfigError for weights that cannot be read."""
    prior, look, each = prior_of(config), features(text), costs(tiers)
    hard = prior.hard(look)
    chances, price = chances_of(prior, hard, len(tiers)), _price(prior, prior.usual, each, config.promise)
    at = 0 if begins_cheap(config) else chosen(chances, each, price)
    return Explained(
        hard,
        bisect_left(prior.usual, hard) / len(prior.usual),
        sorted(prior.parts(look), key=lambda part: -abs(part[1])),
        [(tier.name, chance, cost) for tier, chance, cost in zip(tiers, chances, each, strict=True)],
        price,
        tiers[at].name,
    )


class Pupil(Events, Protocol):
    """Who learns: plugins know him, since he needs more than the base has."""

    async def foretell(
        self, call: Call, question: tuple[str, Sequence[float], float], tiers: Sequence[Tier], costs: Sequence[float],
        promise: Promise, keep_s: float,
    ) -> Sequence[Any] | None:  # fmt: skip
        """Chances and price, or None."""

    def told(
        self, id: str, good: float, source: Any, *, tier: str | None = None, share: float = 0.0, served: bool = True
    ) -> bool:
        """What the answer of a call was worth, or that of another tier would have been: the one door to learning."""

    @property
    def figures(self) -> Sequence[Figures]: ...

    async def run(self) -> None:
        """For ever: ours to the other processes, theirs to us."""

    async def aclose(self) -> None: ...


class Tiers:
    """`configs`: of the routes that have tiers. What those of `before` know stays, where nothing was changed.

    `pupil`: where any of them learns; `ask`: the front door, seen from inside, for judges.
    """

    def __init__(
        self,
        configs: Mapping[str, Config],
        world: World,
        before: Tiers | None = None,
        pupil: Pupil | None = None,
        chance: Random | None = None,
        ask: Ask | None = None,
    ) -> None:
        self._pupil = pupil
        self._ask = ask
        self._chance = chance or Random()
        known = before.rooms if before is not None else {}
        self.rooms: dict[str, Room] = {
            name: known[name] if name in known and known[name].config == config else Room(config, world)
            for name, config in configs.items()
        }
        self._world = world
        self._sessions: OrderedDict[tuple[str, str, str], tuple[str, int]] = (
            before._sessions if before is not None else OrderedDict()
        )

    async def choose(self, call: Call) -> Sequence[Tier]:
        """The tier to ask first, and after it those to go on with where it fails. Says so on the call."""
        route = call.route
        assert route is not None and call.asked is not None
        if call.own is not None and call.own.tier is not None:
            return _as_told(call, route, call.own.tier)
        room = self.rooms[route.policy]  # as an arm of an experiment it has another name
        able, needs = _able(call, route, room.config)
        text = call.asked.codec.last_turn(call.asked)
        look = features(text)
        hard, each = room.prior.hard(look), costs(route.tiers)
        room.saw(hard)
        chances, price = chances_of(room.prior, hard, len(route.tiers)), room.price(route.tiers)
        why = f"{_said(room.config.promise)}{needs}"
        if room.config.learn and self._pupil is not None:
            told = await self._pupil.foretell(
                call, (text, look, hard), route.tiers, each, room.config.promise, room.config.keep
            )
            if told is not None:
                (chances, price), why = told, f"{why}, as learned"
        at = chosen(chances, each, price, able)
        if begins_cheap(room.config):
            at, why = able[0], f"cascade{needs}"
        if room.config.learn and self._chance.random() < room.config.explore:
            at, why = self._chance.choice(able), "explored"
        before = self._kept(call, route, at)
        if before is not None and before > at and before in able:
            at, why = before, "as before in this session"
        self._keep(call, route, at, room.config.stick)
        rounded = tuple(round(one, 3) for one in chances)
        beside, share = self._beside(call, room.config, at, able) if room.config.shadow_share else (None, 0.0)
        name = route.tiers[beside].name if beside is not None else ""
        call.chosen = Chosen(route.tiers[at].name, why, rounded, round(hard, 3), round(each[at], 4), name, share)
        return [route.tiers[tier] for tier in able if tier >= at]

    def _beside(self, call: Call, config: Config, at: int, able: Sequence[int]) -> tuple[int | None, float]:
        """Which tier answers, too, and nobody sees it; and how likely that was.

        The last one beside the others, and beside the last one any of them.
        """
        if call.kind != "live" or call.own is not None or self._chance.random() >= config.shadow_share:
            return None, 0.0
        others = able[-1:] if at != able[-1] else able[:-1]
        return (self._chance.choice(others), config.shadow_share / len(others)) if others else (None, 0.0)

    def checks_of(self, call: Call) -> Cascade | None:
        """Whether answers to this call are looked at, and how."""
        assert call.route is not None
        config = self.rooms[call.route.policy].config
        if not config.cascade.checks or call.operation not in WRITTEN:
            return None
        told = self._pupil.told if config.learn and self._pupil is not None else None
        return Cascade(self._world, config.cascade, self._ask, told)

    def went_up(self, call: Call, tier: Tier) -> None:
        """Its session stays there."""
        assert call.route is not None
        route = call.route
        self._keep(call, route, route.tiers.index(tier), self.rooms[route.policy].config.stick)

    @property
    def figures(self) -> Sequence[Figures]:
        """What routes have learned, and what came of it."""
        return self._pupil.figures if self._pupil is not None else ()

    # --- sessions

    def _kept(self, call: Call, route: Route, at: int) -> int | None:
        """The tier that its session was at; None: it has none, or was there too long ago."""
        name, until_ns = self._sessions.get(_session(call, route), ("", 0))
        names = [tier.name for tier in route.tiers]
        return names.index(name) if until_ns > self._world.clock.now_ns() and name in names else None

    def _keep(self, call: Call, route: Route, at: int, stick_s: float) -> None:
        if call.session is None or stick_s <= 0:
            return
        place = _session(call, route)
        self._sessions[place] = route.tiers[at].name, self._world.clock.now_ns() + round(stick_s * 1e9)
        self._sessions.move_to_end(place)
        if len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)


def _as_told(call: Call, route: Route, name: str) -> Sequence[Tier]:
    """A call of our own that is to know what this tier says, and no other. Raises BadRequest where there is none."""
    tier = next((tier for tier in route.tiers if tier.name == name), None)
    if tier is None:
        raise BadRequest(f"{route.name!r} has no tier {name[:60]!r} any more")
    call.chosen = Chosen(name, "asked beside another")
    return [tier]


def _session(call: Call, route: Route) -> tuple[str, str, str]:
    return route.policy, call.principal.key_id if call.principal else "", call.session or ""


def _said(promise: Promise) -> str:
    return f"{promise.kind} {promise.share:g}"


def costs(tiers: Sequence[Tier]) -> list[float]:
    """Of each tier, by the price of its first target, a share of the dearest; in equal steps where one is not known."""
    each = []
    for tier in tiers:
        price = tier.route.targets[0].price
        heard, said = price.dearest(audio=False) if price is not None else (None, None)
        each.append(None if heard is None or said is None else INPUT_WEIGHT * heard + said)
    known = [one for one in each if one is not None]
    most = max(known, default=0)
    if len(known) < len(tiers) or not most:
        return [(at + 1) / len(tiers) for at in range(len(tiers))]
    return [one / most for one in known]


# --- what a call needs


Needs = tuple[str, Callable[[Call], bool]]


def _has_tools(call: Call) -> bool:
    return call.asked is not None and not call.asked.spans.keys().isdisjoint(("tools", "functions"))


def _has_images(call: Call) -> bool:
    body = call.asked.body if call.asked is not None else b""
    return any(word in body for word in (b'"image_url"', b'"image"', b'"document"', b'"file"', b'"input_audio"'))


def _wants_json(call: Call) -> bool:
    return call.asked is not None and not call.asked.spans.keys().isdisjoint(("response_format", "output_config"))


NEEDS: tuple[Needs, ...] = (("tools", _has_tools), ("images", _has_images), ("json", _wants_json))


def _able(call: Call, route: Route, config: Config) -> tuple[Sequence[int], str]:
    """Tiers that can do what the call needs, and in words what that is. Where none can, the last: it says so itself."""
    names = [tier.name for tier in route.tiers]
    least, needs = 0, []
    for field, has in NEEDS:
        tier = getattr(config, field)
        if tier is not None and has(call):
            least = max(least, names.index(tier) if tier in names else len(names) - 1)
            needs.append(field)
    able = list(range(least, len(names)))
    if config.context:
        tokens = len(call.outgoing) // BYTES_A_TOKEN
        room = [at for at in able if tokens <= config.context.get(names[at], tokens)]
        if len(room) < len(able):
            able = room or able[-1:]
            needs.append(f"{tokens} tokens")
    return able, f"; it has {', '.join(needs)}" if needs else ""
