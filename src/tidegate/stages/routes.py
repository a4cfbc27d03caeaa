"""Which targets does a model name stand for? A route, an alias, a pattern, or `provider/model`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tidegate.core.call import Call, Hedge, OnDisconnect, Principal, Route, Strategy, Target, Tier
from tidegate.core.errors import BadRequest, ConfigError, Forbidden, ModelNotFound, NotFound
from tidegate.core.limits import LimitConfig
from tidegate.core.nearest import nearest
from tidegate.core.ports import Provider
from tidegate.core.values import Duration, Moment, Share

DEFAULT_TIMEOUT = Duration(120)
MAX_REMEMBERED = 1_000  # routes made from provider/model and from patterns; clients choose those names
MAX_NAME = 256  # characters of such a name: it is remembered, and goes into rows
REFERENCES = ("fallback", "longer", "content_policy")
BATCHES = ("batch", "eval")  # kinds of calls that nobody waits for


class TargetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model at a provider.

    provider: a name from `providers`.
    model: as that provider calls it; `*` is the name that the client asked for.
    weight: its share among targets of the same order, with the strategy `weighted`.
    order: lower ones are asked first.
    max_concurrent: calls that it may have at once; null, any number.
    max_queue: calls that wait for it when it has as many; more are sent on at once.
    queue_timeout: how long they wait.
    """

    provider: str
    model: Annotated[str, Meta(min_length=1)]
    weight: Annotated[int, Meta(ge=0)] = 1
    order: int = 1
    max_concurrent: Annotated[int, Meta(ge=1)] | None = None
    max_queue: Annotated[int, Meta(ge=0)] = 0
    queue_timeout: Duration = Duration(2)


class TimeoutsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long each step of an attempt may take; null, as `upstream` says.

    connect: to reach the provider.
    first_token: until its reply begins; of one that is not streamed, until it is there.
    idle: the longest silence within a reply.
    """

    connect: Duration | None = None
    first_token: Duration | None = None
    idle: Duration | None = None


class HedgeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask a second target when the first is slow, and take who answers first.

    after: so long without a first token; `p95` is what 95 of 100 calls to that target need; null, never.
    max_extra: of the calls in a minute, at most so many are asked twice.
    """

    after: Moment | None = None
    max_extra: Share = Share(0.05)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name that clients ask for as `model`; with a `*` in it, all names that fit.

    targets: who may answer.
    tiers: in place of targets, routes or provider/model by a name of your own, from the cheapest to the dearest; one
        of them is chosen for each call, as `router` says.
    aliases: other names of the same route.
    strategy: who is asked first, of targets of the same order.
    timeout: how long a call may take, all attempts together.
    timeouts: how long each attempt may take.
    fallback: a route, or provider/model, that is asked when no target has answered.
    longer: the same, for conversations that do not fit into the targets' context windows.
    content_policy: the same, for what the targets' content filters refuse.
    static_answer: the answer, when nobody is left to ask; null, an error.
    hedge: whether a second target is asked when the first is slow.
    on_disconnect: when the client has left, end the reply (cancel), or hear it out (drain), within `timeout`.
    owner: the team whose keys alone may ask for it, by id; null lets every team.
    limits: of all who ask for it together.
    max_tokens: of an answer whose client does not say; it is sent to the provider where money or tokens are bounded.
    """

    targets: tuple[TargetConfig, ...] = ()
    tiers: dict[str, str] = {}
    aliases: tuple[str, ...] = ()
    strategy: Strategy = "ordered"
    timeout: Duration = DEFAULT_TIMEOUT
    timeouts: TimeoutsConfig = TimeoutsConfig()
    fallback: str | None = None
    longer: str | None = None
    content_policy: str | None = None
    static_answer: str | None = None
    hedge: HedgeConfig = HedgeConfig()
    on_disconnect: OnDisconnect = "cancel"
    owner: str | None = None
    limits: tuple[LimitConfig, ...] = ()
    max_tokens: Annotated[int, Meta(ge=1)] = 4096


def mistakes(routes: Mapping[str, Config], providers: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """What is wrong with these routes as they stand, before any part is made: the key, and what to do."""
    for name, config in routes.items():
        for at, target in enumerate(config.targets):
            if target.provider not in providers:
                hint = nearest(target.provider, providers)
                yield f"routes.{name}.targets[{at}].provider", f"no provider {target.provider!r}; {hint}"
        if name.count("*") > 1:
            yield f"routes.{name}", "a name may have one '*'"
        yield from _tier_mistakes(name, config, routes)
        for field, named in _named(config):
            if named not in routes and named.partition("/")[0] not in providers:
                yield f"routes.{name}.{field}", f"no route {named!r}; {nearest(named, routes)}"
            elif "*" in named:
                yield f"routes.{name}.{field}", "names one route, so it cannot have a '*'"
            elif named == name:
                yield f"routes.{name}.{field}", "a route cannot fall back to itself; name another, or leave it out"
            elif circle := _circle(routes, name, named):
                path = " → ".join([name, *circle])
                yield f"routes.{name}.{field}", f"goes in a circle: {path}; one of them must end it"


def _named(config: Config) -> Iterator[tuple[str, str]]:
    """All that it names of other routes, by the key where it does."""
    for field in REFERENCES:
        named = getattr(config, field)
        if named is not None:
            yield field, named
    for tier, named in config.tiers.items():
        yield f"tiers.{tier}", named


def _tier_mistakes(name: str, config: Config, routes: Mapping[str, Config]) -> Iterator[tuple[str, str]]:
    if not config.targets and not config.tiers:
        yield f"routes.{name}.targets", "needs at least one; or give the route tiers, to choose from for each call"
    if config.targets and config.tiers:
        yield f"routes.{name}.tiers", "a route has targets or tiers; leave one of them out"
    if len(config.tiers) == 1:
        yield f"routes.{name}.tiers", "needs at least two, or there is nothing to choose"
    if config.tiers and "*" in name:
        yield f"routes.{name}.tiers", "a route with a '*' in its name has targets, and no tiers"
    for tier, named in config.tiers.items():
        if named in routes and routes[named].tiers:
            yield f"routes.{name}.tiers.{tier}", f"{named!r} has tiers itself; name a route with targets"


def _circle(routes: Mapping[str, Config], start: str, named: str, way: tuple[str, ...] = ()) -> list[str]:
    """The way from `named` back to `start`, if there is one."""
    if named == start:
        return [*way, start]
    if named in way or named not in routes:
        return []
    for _, further in _named(routes[named]):
        if found := _circle(routes, start, further, (*way, named)):
            return found
    return []


class Routes:
    """All names that can be asked for, frozen."""

    def __init__(self, routes: Mapping[str, Config], providers: Mapping[str, Provider]) -> None:
        self._providers = providers
        self._by_name: dict[str, Route] = {}
        self._patterns: list[tuple[str, str, str]] = []  # what stands before the `*` and after it, and the route
        self._direct: OrderedDict[str, Route] = OrderedDict()
        for path, message in mistakes(routes, providers):
            raise ConfigError(f"{path}: {message}")
        made: dict[str, Route] = {}
        for name in routes:
            self._make(name, routes, made)
        for name in routes:
            self._add(name, made[name])
        for name, config in routes.items():
            for alias in config.aliases:
                self._add(alias, made[name])
        # The longest beginning goes first: gpt-4* before gpt-* before *.
        self._patterns.sort(key=lambda pattern: -len(pattern[0]))
        self._owners = _owners(self._by_name.values())
        self._narrow: dict[tuple[str, tuple[str, ...]], Route] = {}  # routes with some of their tiers
        if not routes:
            # Nothing was said, so every model that is served is a route of its own name; the first to serve it wins.
            for provider in providers.values():
                for model in provider.models:
                    target = Target(provider, model, price=provider.price(model))
                    self._by_name.setdefault(model, Route(model, (target,), DEFAULT_TIMEOUT))

    @property
    def names(self) -> list[str]:
        """Routes and aliases, as `/v1/models` lists them: chat models first, in the order of the configuration."""
        return [name for name in self._by_name if "*" not in name]

    @property
    def labels(self) -> list[str]:
        """What rows and metrics call the routes."""
        return list(self._by_name)

    @property
    def targets(self) -> list[Target]:
        """Of all routes that are configured; those whose model is the client's to choose are not."""
        return [target for route in self._by_name.values() for target in route.targets if target.model != "*"]

    def target(self, name: str) -> Target:
        """Raises ModelNotFound."""
        return self._by_provider(name).targets[0]

    # --- the route of a call

    def match(self, call: Call) -> Route:
        """Raises ModelNotFound, naming the nearest; Forbidden for what is not the key's to ask for; BadRequest for a
        header that makes no sense."""
        assert call.asked is not None and call.principal is not None
        named, principal = call.named, call.principal
        route = self._asked(call, named)
        if (principal.routes or self._owners or route.owner) and not self.is_open(route, call.asked.model, principal):
            raise Forbidden(_not_yours(route, principal), param="model")
        if route.tiers:
            route = self._narrowed(route, principal)
        timeout_s = route.timeout_s
        if b"x-tidegate-timeout-ms" in named:
            timeout_s = _timeout_s(named[b"x-tidegate-timeout-ms"], timeout_s)
        call.deadline_ns = call.arrived_ns + int(timeout_s * 1e9)
        if call.kind in BATCHES or named.get(b"x-tidegate-priority") == b"batch":
            call.priority = "batch"
        return route

    def is_open(self, route: Route, asked: str, principal: Principal) -> bool:
        """Whether this principal may ask for `route`, by the name `asked`."""
        named = principal.routes
        if named and route.name not in named and asked not in named:
            return False
        owners: Collection[str] = (route.owner,) if route.owner is not None else self._owners.get(route.name, ())
        if not owners and route.name not in self._by_name:  # asked for by provider/model
            owners = self._owners.get(f"{route.name.partition('/')[0]}/*", ())
        return not owners or principal.team_id in owners or principal.admin

    def _narrowed(self, route: Route, principal: Principal) -> Route:
        """With those tiers alone that the key may use. Raises Forbidden where there are none.

        A key that names routes, and the one with tiers among them, may use all of its tiers, unless it names some.
        """
        tiers = route.tiers
        if any(tier.named in principal.routes for tier in tiers):
            tiers = tuple(tier for tier in tiers if tier.named in principal.routes)
        whose = principal.team_id
        if not principal.admin:
            tiers = tuple(tier for tier in tiers if tier.route.owner is None or tier.route.owner == whose)
        if len(tiers) == len(route.tiers):
            return route
        if not tiers:
            raise Forbidden(f"no tier of {route.name!r} is yours to use; ask an admin for one", param="model")
        place = route.name, tuple(tier.name for tier in tiers)
        if place not in self._narrow:
            self._narrow[place] = msgspec.structs.replace(route, tiers=tiers, targets=_targets_of(tiers))
        return self._narrow[place]

    def open_to(self, principal: Principal) -> list[str]:
        """Those of `names` that this principal may ask for."""
        return [
            name for name, route in self._by_name.items() if "*" not in name and self.is_open(route, name, principal)
        ]

    def _asked(self, call: Call, named: Mapping[bytes, bytes]) -> Route:
        assert call.asked is not None
        target = named.get(b"x-tidegate-target")
        if target:
            return self._at(call, target.decode("latin-1"))
        if call.asked.model or call.operation != "raw":
            return self.find(call.asked.model)
        route = named.get(b"x-tidegate-route")
        return self.find(route.decode("latin-1")) if route else self._by_dialect(call.dialect)

    def _at(self, call: Call, target: str) -> Route:
        """The target that a call itself names, whatever its model stands for."""
        if call.principal is None or not call.principal.admin:
            raise Forbidden("x-tidegate-target is for admin keys; ask for a model by its name")
        return self._by_provider(target)

    def _by_dialect(self, dialect: str) -> Route:
        """For what names no model, such as a list of files: the first provider that speaks the client's dialect."""
        for provider in self._providers.values():
            if provider.dialect == dialect:
                return Route(provider.name, (Target(provider, ""),), DEFAULT_TIMEOUT)
        raise NotFound(f"no provider speaks {dialect}, so nobody can be asked; say which with x-tidegate-route")

    def find(self, model: str) -> Route:
        route = self._by_name.get(model) or self._direct.get(model)
        return route or self._by_pattern(model) or self._by_provider(model)

    def _by_pattern(self, model: str) -> Route | None:
        for before, after, name in self._patterns:
            if model.startswith(before) and model.endswith(after) and len(before) + len(after) < len(model) <= MAX_NAME:
                route = self._by_name[name]
                targets = tuple(_filled(target, model) for target in route.targets)
                targets = tuple(target for target in targets if target.provider.serves(target.model))
                if targets:
                    return self._remember(model, msgspec.structs.replace(route, targets=targets))
        return None

    def _by_provider(self, model: str) -> Route:
        name, slash, rest = model.partition("/")
        provider = self._providers.get(name)
        if not slash or not rest or provider is None or not provider.serves(rest) or len(model) > MAX_NAME:
            raise ModelNotFound(self._unknown(model), param="model")
        route = Route(model, (Target(provider, rest, price=provider.price(rest)),), DEFAULT_TIMEOUT)
        return self._remember(model, route)

    def _remember(self, model: str, route: Route) -> Route:
        self._direct[model] = route
        if len(self._direct) > MAX_REMEMBERED:
            self._direct.popitem(last=False)
        return route

    def _unknown(self, model: str) -> str:
        return f"no model {model[:200]!r}; {nearest(model, self.names, 'there are: none yet')}"

    # --- made once

    def _make(self, name: str, routes: Mapping[str, Config], made: dict[str, Route]) -> Route:
        """The route, and before it those that it falls back to."""
        if name in made:
            return made[name]
        if name not in routes:
            return self._by_provider(name)
        config = routes[name]
        further: dict[str, Any] = {
            field: self._make(named, routes, made)
            for field in REFERENCES
            if (named := getattr(config, field)) is not None
        }
        targets = [self._target(f"routes.{name}.targets[{at}]", one) for at, one in enumerate(config.targets)]
        tiers = tuple(Tier(tier, self._make(named, routes, made), named) for tier, named in config.tiers.items())
        after = config.hedge.after
        made[name] = Route(
            name,
            _targets_of(tiers) if tiers else tuple(sorted(targets, key=lambda target: target.order)),
            config.timeout,
            strategy=config.strategy,
            connect_s=config.timeouts.connect,
            first_token_s=config.timeouts.first_token,
            idle_s=config.timeouts.idle,
            static_answer=config.static_answer,
            hedge=None if after is None else Hedge(after, config.hedge.max_extra),
            on_disconnect=config.on_disconnect,
            owner=config.owner,
            limits=tuple(one.limit for one in config.limits),
            max_tokens=config.max_tokens,
            tiers=tiers,
            **further,
        )
        return made[name]

    def _add(self, name: str, route: Route) -> None:
        if name in self._by_name:
            raise ConfigError(f"routes.{route.name}: the name {name!r} is taken by route {self._by_name[name].name!r}")
        self._by_name[name] = route
        if "*" in name:
            before, _, after = name.partition("*")
            self._patterns.append((before, after, name))

    def _target(self, where: str, config: TargetConfig) -> Target:
        provider = self._providers[config.provider]
        if config.model != "*" and not provider.serves(config.model):
            there = ", ".join(provider.models)
            raise ConfigError(f"{where}.model: {config.provider} has no model {config.model!r}; there are: {there}")
        return Target(
            provider,
            config.model,
            config.weight,
            config.order,
            provider.price(config.model),
            config.max_concurrent,
            config.max_queue,
            config.queue_timeout,
        )


def _targets_of(tiers: Iterable[Tier]) -> tuple[Target, ...]:
    """Of all of them, each once."""
    return tuple({target.name: target for tier in tiers for target in tier.route.targets}.values())


def _filled(target: Target, model: str) -> Target:
    if target.model != "*":
        return target
    return msgspec.structs.replace(target, model=model, price=target.provider.price(model))


def _timeout_s(said: bytes, most_s: float) -> float:
    """The route's, or the client's if it is shorter."""
    try:
        timeout_s = float(said) / 1000
    except ValueError:
        timeout_s = 0.0
    if not timeout_s > 0:
        raise BadRequest("x-tidegate-timeout-ms: a number of milliseconds above 0 is expected")
    return min(timeout_s, most_s)


def _owners(routes: Iterable[Route]) -> dict[str, set[str]]:
    """Targets that only teams' own routes have, by provider/model: asking for one directly is no way around."""
    found: dict[str, set[str]] = {}
    for route in routes:
        if route.owner is not None:
            for target in route.targets:
                found.setdefault(target.name, set()).add(route.owner)
    for route in routes:
        if route.owner is None and not route.tiers:  # what a tier leads to belongs to that tier's route
            for target in route.targets:
                found.pop(target.name, None)
    return found


def _not_yours(route: Route, principal: Principal) -> str:
    if principal.routes and route.name not in principal.routes:
        there = ", ".join(sorted(principal.routes))[:200]
        return f"key {principal.name!r} may ask for {there}, and not for {route.name!r}"
    whose = f"it belongs to team {route.owner!r}" if route.owner else "it belongs to other teams"
    mine = f"your key to team {principal.team_id!r}" if principal.team_id else "your key to no team"
    return f"{route.name!r} is not yours to ask for: {whose}, {mine}"
