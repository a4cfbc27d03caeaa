"""What is a Gateway made of? Its rooms, as the configuration says, on what stays when that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate import plugins
from tidegate.config import Config
from tidegate.config.reading import Configured
from tidegate.core.call import Call
from tidegate.core.errors import TidegateError
from tidegate.core.ports import Codecs, Provider, Reach
from tidegate.core.world import World
from tidegate.gateway import Gateway
from tidegate.jobs.evals.online import Hear, Online, panel
from tidegate.jobs.evals.suite import Plugins
from tidegate.jobs.rollouts.rounds import Rollouts
from tidegate.jobs.shadows import Compares, Shadowing
from tidegate.providers.prices import PriceList
from tidegate.stages.auth import KeyAuth
from tidegate.stages.auth.used import LastUsed
from tidegate.stages.bodies import Bodies
from tidegate.stages.budgets import Budgets
from tidegate.stages.budgets.period import zone_of
from tidegate.stages.cache import Cache, Shelf, policies
from tidegate.stages.experiments import Experiments
from tidegate.stages.experiments.running import Running
from tidegate.stages.formed import Formed
from tidegate.stages.guardrails import Guardrails
from tidegate.stages.judging import Ear, Judging
from tidegate.stages.limits import Limits
from tidegate.stages.prompts import Prompts
from tidegate.stages.record import Recorder
from tidegate.stages.routes import Routes
from tidegate.stages.shadows import Shadows
from tidegate.storage.archive import Archive
from tidegate.storage.batches import BatchStore
from tidegate.storage.bodies import BodyStore
from tidegate.storage.pepper import load_peppers
from tidegate.telemetry.outlets import Outlets
from tidegate.telemetry.traces import Traces
from tidegate.upstream import Upstream
from tidegate.upstream.shrink import Shrinks
from tidegate.upstream.shrink.trimming import Trims
from tidegate.upstream.tiers import Pupil, Tiers

SUITES = Plugins(plugins.find, plugins.config_of)
QUICK_START_S = 0.25  # a provider that is ready by then is waited for; others get ready while calls come in

Providers = dict[str, Provider]


@dataclass(frozen=True, slots=True)
class Ground:
    """What every Gateway of this process stands on."""

    world: World
    codecs: Codecs
    recorder: Recorder
    shelf: Shelf
    used: LastUsed
    data_dir: Path
    environment_key: str | None
    ask: Callable[[Call], Awaitable[str]]  # the front door, seen from inside
    archive: Archive
    batches: BatchStore
    bodies: BodyStore
    outlets: Outlets
    online: Online
    shadowing: Shadowing
    running: Running
    rollouts: Rollouts
    traces: Traces | None
    prompts: Prompts
    trims: Trims
    pupil: Pupil | None  # where a route with tiers learns

    async def ears(self, config: Config, hear: Hear | None = None) -> Mapping[str, Ear]:
        """Who judges live answers. Suites and cards are files. Raises ConfigError."""
        judges = {name: route.judge for name, route in config.routes.items()}
        return await asyncio.to_thread(self.online.ears, judges, hear)

    def gateway(
        self,
        config: Config,
        providers: Providers,
        ears: Mapping[str, Ear],
        before: Gateway | None = None,
        was: Config | None = None,
        *,
        apart: bool = False,
    ) -> Gateway:
        """As `config` says. Rooms of `before` that nothing was changed of since `was` stay, and so what they know.

        `apart`: it answers beside `before`, and knows of its targets what it finds itself. Raises ConfigError.
        """
        world, recorder, words = self.world, self.recorder, self.codecs
        routes = Routes(config.routes, providers)

        def stays(part: str) -> bool:
            return was is not None and getattr(was, part) == getattr(config, part)

        return Gateway(
            world=world,
            codecs=words,
            providers=providers,
            recorder=recorder,
            auth=before.auth if before and stays("auth") else self._auth(config),
            routes=routes,
            experiments=Experiments(world, self.running, routes, words, config.prompts.protected),
            limits=before.limits if before and stays("limits") else Limits(config.limits, world),
            prompts=self.prompts,
            guardrails=_guardrails(config, world, providers, Reach(plugins.find, world, self.ask)),
            budgets=before.budgets if before and stays("budgets") else Budgets(config.budgets, world),
            cache=Cache(
                world, self.shelf, words, recorder, policies(config.routes, config.providers, config.guardrails)
            ),
            bodies=Bodies(
                {name: route.store for name, route in config.routes.items()},
                self.bodies,
                self.traces.said if self.traces is not None else None,
            ),
            judging=Judging(ears),
            shadows=Shadows(config.shadows, self.shadowing.hand(_compares(config)), self.shadowing.hear),
            formed=Formed(self.rollouts.wires),
            archive=self.archive,
            batches=self.batches,
            outlets=self.outlets,
            upstream=_upstream(config, world, words, before.upstream if before and not apart else None, self),
        )

    def _auth(self, config: Config) -> KeyAuth:
        issuers, world = config.auth.issuers, self.world
        tokens = plugins.find("stages", "tokens")(issuers, world) if issuers else None
        peppers = load_peppers(self.data_dir, config.auth.peppers)
        return KeyAuth(world.store, peppers, world.clock, self.environment_key, self.used.note, tokens)


def _compares(config: Config) -> Callable[[str], Compares | None]:
    return {
        name: Compares(route.judge, route.router.shadow_max_usd_per_day) for name, route in config.routes.items()
    }.get


def _upstream(config: Config, world: World, words: Codecs, before: Upstream | None, ground: Ground) -> Upstream:
    routers = {name: route.router for name, route in config.routes.items() if route.tiers}
    shrinks = {name: route.shrink for name, route in config.routes.items()}
    return Upstream(
        config.upstream,
        world,
        words,
        before.targets if before else None,
        Shrinks(shrinks, world, ground.trims, before.shrinks if before else None),
        Tiers(routers, world, before.tiers if before else None, ground.pupil, ask=ground.ask),
    )


def _guardrails(config: Config, world: World, providers: Providers, reach: Reach) -> Guardrails:
    """They know the keys of the providers, so that none of them leaves by any way."""
    known = [secret for provider in providers.values() for secret in provider.secrets()]
    own = {name: route.guardrails for name, route in config.routes.items()}
    return Guardrails(config.guardrails, own, world, known, reach)


def check(config: Config, providers: Providers | None = None) -> None:
    """Raise ConfigError for what only shows when the parts meet; starts nothing."""
    zone_of(config.budgets.zone)
    zone_of(config.batches.zone)
    plugins.find("transports", config.transport.kind)
    if config.api.tls.certificate is not None:
        plugins.find("listeners", "tls")(config.api.tls)
    Routes(config.routes, make_providers(config, {}) if providers is None else providers)
    for name, route in config.routes.items():
        if route.judge.suite is not None:
            panel(name, route.judge, SUITES)


def codecs() -> Codecs:
    found = [plugins.find("codecs", name)() for name in plugins.names("codecs")]
    return {(codec.dialect, codec.operation): codec for codec in found}


def make_providers(config: Config, before: Mapping[str, tuple[Configured | None, Provider]]) -> Providers:
    """Those of `config`; the very same as before where nothing was changed, so that what they know is kept."""
    prices = PriceList.load(Path(config.prices.file) if config.prices.file else None)
    made: Providers = {}
    for name, configured in config.providers.items():
        was, provider = before.get(name, (None, None))
        same = provider is not None and was == configured
        if not same or provider is None:
            provider = configured.plugin(name, configured.settings, prices)
            provider.why = configured.why or provider.why
        made[name] = provider
    return made


async def start_providers(world: World, providers: Iterable[Provider]) -> None:
    """All at once; none is waited for that takes its time, and none that cannot start ends the others."""

    async def start(provider: Provider) -> None:
        try:
            await provider.start()
        except TidegateError as wrong:  # `trouble()` says so to every call; the others can answer
            world.events.notice("provider_not_started", {"provider": provider.name, "error": wrong.message})

    tasks: list[asyncio.Task[Any]] = [world.nursery.spawn(start(one), f"start {one.name}") for one in providers]
    if tasks:
        await asyncio.wait(tasks, timeout=QUICK_START_S)
