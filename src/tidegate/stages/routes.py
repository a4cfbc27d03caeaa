"""Which targets does a model name stand for? A route, an alias, or `provider/model`."""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.core.call import Call, Principal, Route, Target
from tidegate.core.errors import ConfigError, Forbidden, ModelNotFound, NotFound
from tidegate.core.limits import LimitConfig
from tidegate.core.ports import Provider
from tidegate.core.values import Duration

DEFAULT_TIMEOUT = Duration(60)
MAX_REMEMBERED = 1_000  # routes made from provider/model; clients choose those names
MAX_NAME = 256  # characters of such a name: it is remembered, and goes into rows


class TargetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model at a provider.

    provider: a name from `providers`.
    model: as that provider calls it.
    weight: its share among targets of the same order.
    order: lower ones are asked first.
    """

    provider: str
    model: Annotated[str, Meta(min_length=1)]
    weight: Annotated[int, Meta(ge=0)] = 1
    order: int = 1


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name that clients ask for as `model`.

    targets: who may answer.
    aliases: other names of the same route.
    timeout: how long a call may take, all attempts together.
    owner: the team whose keys alone may ask for it, by id; null lets every team.
    limits: of all who ask for it together.
    max_tokens: of an answer whose client does not say; it is sent to the provider where money or tokens are bounded.
    """

    targets: Annotated[tuple[TargetConfig, ...], Meta(min_length=1)]
    aliases: tuple[str, ...] = ()
    timeout: Duration = DEFAULT_TIMEOUT
    owner: str | None = None
    limits: tuple[LimitConfig, ...] = ()
    max_tokens: Annotated[int, Meta(ge=1)] = 4096


class Routes:
    """All names that can be asked for, frozen."""

    def __init__(self, routes: Mapping[str, Config], providers: Mapping[str, Provider]) -> None:
        self._providers = providers
        self._by_name: dict[str, Route] = {}
        self._direct: OrderedDict[str, Route] = OrderedDict()
        for name, config in routes.items():
            targets = [self._target(f"routes.{name}.targets[{at}]", one) for at, one in enumerate(config.targets)]
            by_order = tuple(sorted(targets, key=lambda target: target.order))
            limits = tuple(one.limit for one in config.limits)
            self._add(name, Route(name, by_order, config.timeout, config.owner, limits, config.max_tokens))
        for name, config in routes.items():
            for alias in config.aliases:
                self._add(alias, self._by_name[name])
        self._owners = _owners(self._by_name.values())
        if not routes:
            # Nothing was said, so every model that is served is a route of its own name; the first to serve it wins.
            for provider in providers.values():
                for model in provider.models:
                    target = Target(provider, model, price=provider.price(model))
                    self._by_name.setdefault(model, Route(model, (target,), DEFAULT_TIMEOUT))

    @property
    def names(self) -> list[str]:
        """Routes and aliases, as `/v1/models` lists them: chat models first, in the order of the configuration."""
        return list(self._by_name)

    def match(self, call: Call) -> Route:
        """Raises ModelNotFound, naming the nearest; Forbidden for what is not the key's to ask for."""
        assert call.asked is not None and call.principal is not None
        route = self._asked(call)
        if not self.is_open(route, call.asked.model, call.principal):
            raise Forbidden(_not_yours(route, call.principal), param="model")
        return route

    def is_open(self, route: Route, asked: str, principal: Principal) -> bool:
        """Whether this principal may ask for `route`, by the name `asked`."""
        named = principal.routes
        if named and route.name not in named and asked not in named:
            return False
        owners = (route.owner,) if route.owner is not None else self._owners.get(route.name, ())
        return not owners or principal.team_id in owners or principal.admin

    def open_to(self, principal: Principal) -> list[str]:
        """Those of `names` that this principal may ask for."""
        return [name for name, route in self._by_name.items() if self.is_open(route, name, principal)]

    def _asked(self, call: Call) -> Route:
        assert call.asked is not None
        if call.asked.model or call.operation != "raw":
            return self.find(call.asked.model)
        named = next((value.decode("latin-1") for key, value in call.headers if key == b"x-tidegate-route"), None)
        return self.find(named) if named else self._by_dialect(call.dialect)

    def _by_dialect(self, dialect: str) -> Route:
        """For what names no model, such as a list of files: the first provider that speaks the client's dialect."""
        for provider in self._providers.values():
            if provider.dialect == dialect:
                return Route(provider.name, (Target(provider, ""),), DEFAULT_TIMEOUT)
        raise NotFound(f"no provider speaks {dialect}, so nobody can be asked; say which with x-tidegate-route")

    def find(self, model: str) -> Route:
        route = self._by_name.get(model) or self._direct.get(model)
        return route or self._by_provider(model)

    def _by_provider(self, model: str) -> Route:
        name, slash, rest = model.partition("/")
        provider = self._providers.get(name)
        if not slash or not rest or provider is None or not provider.serves(rest) or len(model) > MAX_NAME:
            raise ModelNotFound(self._unknown(model), param="model")
        route = Route(model, (Target(provider, rest, price=provider.price(rest)),), DEFAULT_TIMEOUT)
        self._direct[model] = route
        if len(self._direct) > MAX_REMEMBERED:
            self._direct.popitem(last=False)
        return route

    def _unknown(self, model: str) -> str:
        near = difflib.get_close_matches(model[:200], self._by_name, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(self.names[:10]) or 'none yet'}"
        return f"no model {model[:200]!r}; {hint}"

    def _add(self, name: str, route: Route) -> None:
        if name in self._by_name:
            raise ConfigError(f"routes.{route.name}: the name {name!r} is taken by route {self._by_name[name].name!r}")
        self._by_name[name] = route

    def _target(self, where: str, config: TargetConfig) -> Target:
        provider = self._providers.get(config.provider)
        if provider is None:
            near = difflib.get_close_matches(config.provider, self._providers, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(self._providers) or 'none'}"
            raise ConfigError(f"{where}.provider: no provider {config.provider!r}; {hint}")
        if not provider.serves(config.model):
            there = ", ".join(provider.models)
            raise ConfigError(f"{where}.model: {config.provider} has no model {config.model!r}; there are: {there}")
        return Target(provider, config.model, config.weight, config.order, provider.price(config.model))


def _owners(routes: Iterable[Route]) -> dict[str, set[str]]:
    """Targets that only teams' own routes have, by provider/model: asking for one directly is no way around."""
    found: dict[str, set[str]] = {}
    for route in routes:
        if route.owner is not None:
            for target in route.targets:
                found.setdefault(target.name, set()).add(route.owner)
    for route in routes:
        if route.owner is None:
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
