"""What may be answered from memory? As the route says, and as the client of one call says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from tidegate.core.call import Call, Route
from tidegate.core.nearest import nearest
from tidegate.core.ports import Vault
from tidegate.core.values import Duration, Share, Size
from tidegate.stages.cache.keys import Scope

HOUR = Duration(3600)
# Of a route's configuration, what does not change its answers.
BESIDES = ("aliases", "timeout", "timeouts", "owner", "cache", "limits", "hedge", "on_disconnect", "strategy", "store")


class SemanticConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether an answer is given to a question that only means the same. Needs the extra `semantic`.

    max_error: the share of wrong answers among them that is promised, above 0 and below 1; null gives none.
    messages: conversations of at most so many messages.
    checks: of the hits, so many are answered upstream too, to see whether they were right.
    twice: of the misses, so many are asked a second time, to see how much answers waver by themselves.
    """

    max_error: Share | None = None
    messages: Annotated[int, Meta(ge=1, le=20)] = 3
    checks: Share = Share(0.04)
    twice: Share = Share(0.02)


class House(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all routes with a semantic cache have together.

    embedder: who makes vectors of texts: `minilm`, in this process; route:NAME, a route of yours that answers
        embeddings, all of whose targets have the same model.
    embedder_timeout: how long a call waits for that route; longer, and nothing is compared, for a while.
    entries: how many questions are remembered; the least useful leave.
    kept: where they are, and what was learned of them: in the `database` (storage.database with pgvector, so that all
        processes share them, or else a file of data_dir), or in the `process`, which forgets them at its end.
    timeout: how long a call waits for that database; longer, and it goes on without, and nobody asks until it is back.
    """

    embedder: str = "minilm"
    embedder_timeout: Duration = Duration(1)
    entries: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000
    kept: Literal["database", "process"] = "database"
    timeout: Duration = Duration(0.05)

    @property
    def embedding_route(self) -> str | None:
        kind, _, name = self.embedder.partition(":")
        return name if kind == "route" else None


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a call is answered with what was answered before.

    exact: the same question gets the same answer, for `ttl`.
    single_flight: calls that ask the same at the same time are bought once, and all read along.
    ttl: how long an answer is good.
    scope: among whom answers are shared.
    max_bytes: a longer answer is not kept, and nobody joins it.
    semantic: whether a question that only means the same gets the answer too.
    """

    exact: bool = False
    single_flight: bool = False
    ttl: Duration = HOUR
    scope: Scope = "team"
    max_bytes: Size = Size(1024 * 1024)
    semantic: SemanticConfig = SemanticConfig()


def trouble(config: Config) -> tuple[str, str] | None:
    """Which key is wrong, and what to do."""
    if config.ttl <= 0:
        return "ttl", "must be longer than nothing; to keep no answers, set exact: false"
    if config.max_bytes <= 0:
        return "max_bytes", "must be more than nothing; to keep no answers, set exact: false"
    if config.semantic.max_error is not None and not 0 < config.semantic.max_error < 1:
        return "semantic.max_error", "must lie between 0 and 100%, both excluded, such as 2%"
    return None


def house_trouble(house: House, routes: Mapping[str, Any]) -> tuple[str, str] | None:
    """The same for what all routes have together."""
    if house.timeout <= 0 or house.embedder_timeout <= 0:
        return "timeout" if house.timeout <= 0 else "embedder_timeout", "must be longer than nothing"
    name = house.embedding_route
    if name is None:
        return None
    if name not in routes:
        return "embedder", f"no route {name!r}; {nearest(name, routes, 'configure one')}"
    models = {target.model for target in routes[name].targets}
    if len(models) != 1 or "*" in models:
        return "embedder", f"the targets of {name!r} must all have one model: vectors of two cannot be compared"
    return None


class Policy(msgspec.Struct, frozen=True):
    """Of one route. `fingerprint`: another one when its answers may be others."""

    exact: bool
    single_flight: bool
    ttl_s: float
    scope: Scope
    max_bytes: int
    fingerprint: bytes
    semantic: SemanticConfig | None = None

    @property
    def keeps(self) -> bool:
        """Whether answers are kept."""
        return self.exact or self.semantic is not None


def policies(routes: Mapping[str, Any], providers: Mapping[str, Any], *besides: object) -> dict[str, Policy]:
    """Of the routes that have one; the others ask nobody here. `besides`: what else decides what is answered."""
    found: dict[str, Policy] = {}
    for name, route in routes.items():
        config: Config = route.cache
        semantic = config.semantic if config.semantic.max_error is not None else None
        if config.exact or config.single_flight or semantic is not None:
            fingerprint = _digest(repr([*_said(name, routes, providers, set()), besides]))
            found[name] = Policy(
                config.exact, config.single_flight, config.ttl, config.scope, config.max_bytes, fingerprint, semantic
            )
    return found


def _said(name: str, routes: Mapping[str, Any], providers: Mapping[str, Any], seen: set[str]) -> Iterator[Any]:
    """All that decides who answers a route, and how: its own words, and those of whom it names."""
    if name in seen or name not in routes:
        return
    seen.add(name)
    route = routes[name]
    for field in route.__struct_fields__:
        value = getattr(route, field)
        if field in BESIDES:
            continue
        yield field, value
        for named in value.values() if isinstance(value, Mapping) else (value,):
            if isinstance(named, str):
                yield from _said(named, routes, providers, seen)
    for target in route.targets:
        yield target.provider, repr(providers.get(target.provider))


def plain(route: Route) -> Policy:
    """For a caller that asks for it (`use_cache`) where the route says nothing."""
    targets = ",".join(target.name for target in route.targets)
    return Policy(True, False, HOUR, "team", 1024 * 1024, _digest(f"plain {targets}"))


class Wish(NamedTuple):
    """What one call says: whether an old answer will do, whether its own may be kept, how old one may be."""

    read: bool = True
    store: bool = True
    max_age_s: float | None = None


ANYTHING = Wish()


def wish_of(call: Call) -> Wish:
    """Its `Cache-Control`; what makes no sense there is passed over, as everywhere in HTTP."""
    if call.wishes.use_cache is False:
        return Wish(read=False, store=False)
    if call.wishes.cache_control is None:
        return ANYTHING
    words = [word.strip().lower() for word in call.wishes.cache_control.split(",")]
    ages = [word.removeprefix("max-age=") for word in words if word.startswith("max-age=")]
    age = int(ages[0]) if ages and ages[0].isascii() and ages[0].isdigit() else None
    store = "no-store" not in words
    return Wish(store and "no-cache" not in words and age != 0, store, age)


def tags_of(call: Call) -> list[str]:
    """What an answer can be purged by."""
    assert call.route is not None and call.principal is not None
    tags = [f"route:{call.route.name}", *(f"tag:{tag}" for tag in call.tags)]
    if call.principal.team_id is not None:
        tags.append(f"team:{call.principal.team_id}")
    if call.prompt is not None:
        tags += (f"prompt:{call.prompt}", f"prompt:{call.prompt.partition('@')[0]}")  # a version, or all of them
    return tags


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def kept_as(tag: str, vault: Vault) -> str:
    """How a tag is called where answers are kept. Callers choose theirs, and who reads a store need not know them."""
    kind, _, name = tag.partition(":")
    return f"tag:{vault.word(name)}" if kind == "tag" else tag
