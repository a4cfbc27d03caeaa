"""Where does everything meet? `build(config)` makes the house, and nothing else knows all of its rooms."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tidegate import plugins
from tidegate.api.arms import Chooser
from tidegate.api.crowd import Crowd
from tidegate.api.edge import Apart, Edge
from tidegate.api.incoming import Receive, Scope, Send
from tidegate.app.bottom import base_of
from tidegate.app.canaries import Hands, Keeper, Side
from tidegate.app.candidate import Candidate
from tidegate.app.candidate import Files as Files
from tidegate.app.ground import compares, ground_of, learns
from tidegate.app.homes import data_folder as data_folder
from tidegate.app.homes import open_home as open_home
from tidegate.app.homes import open_keyring as open_keyring
from tidegate.app.homes import open_vault as open_vault
from tidegate.app.inside import Inside
from tidegate.app.place import place_in
from tidegate.app.presence import Presence
from tidegate.app.resolved import settings
from tidegate.app.rooms import Ground, Providers, start_providers
from tidegate.app.rooms import check as check
from tidegate.app.rooms import codecs as codecs
from tidegate.app.rooms import make_providers as make_providers
from tidegate.app.told import listen, listeners
from tidegate.config import Config
from tidegate.core.errors import ConfigError, ShuttingDown
from tidegate.core.ports import Clock, Key, Provider
from tidegate.core.settings import Setting
from tidegate.core.shares import Share, What
from tidegate.core.topology import ALIKE
from tidegate.core.world import World
from tidegate.gateway import Gateway
from tidegate.jobs.batches.worker import Worker
from tidegate.stages.budgets.period import zone_of
from tidegate.telemetry import Listeners
from tidegate.telemetry.aliases import Aliases
from tidegate.telemetry.alike import Alike
from tidegate.telemetry.batches import BatchLines
from tidegate.telemetry.kept import Kept
from tidegate.telemetry.logs import Log
from tidegate.telemetry.metrics import Metrics
from tidegate.telemetry.pulse import Pulse
from tidegate.telemetry.room import Room
from tidegate.telemetry.tiers import TierLines
from tidegate.telemetry.together import Together
from tidegate.telemetry.trials import Trials
from tidegate.upstream.sharing import Sharing

# What a running house is built on: it changes with a start only.
FIXED = (
    *(
        "api",
        "console",
        "storage",
        "vault",
        "audit",
        "cache",
        "logs",
        "alerts",
        "traces",
        "sinks",
        "metrics",
        "transport",
    ),
    *("prices", "prompts", "batches", "experiments"),
)
SHORTEST_KEY = 20
RETIRE_S = 0.1  # how often to look whether the calls of the last configuration have ended
LAST_EVENTS_S = 2.0  # for replies that were ended to reach their clients


class SystemClock:
    now_ns = staticmethod(time.monotonic_ns)  # asked ten times for each call
    wall_ns = staticmethod(time.time_ns)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class App:
    """The house, ready: an ASGI callable, with a way to change it while it serves, and a way to leave it in order."""

    def __init__(
        self,
        config: Config,
        gateway: Gateway,
        ground: Ground,
        inside: Inside,
        metrics: Metrics,
        listeners: Listeners,
        undo: AsyncExitStack,
        presence: Presence,
        files: Files | None = None,
    ) -> None:
        """`files`: where the configuration stands, and what is tried beside it."""
        self.config = config
        self.gateway = gateway
        self.world = world = gateway.world
        self.pulse = Pulse(world.loop, world.transport, world.ledger.backlog)  # beats when who serves starts it
        self._ground = ground
        self._inside = inside
        self.metrics = metrics
        self.presence = presence
        self._file = files.file if files is not None else None
        self._undo = undo
        self._renewing = asyncio.Lock()
        self._take_up(config, gateway)
        targets = gateway.upstream.targets
        metrics.watch(targets.seen, targets.keys_aside)
        metrics.registry.register(self.pulse)
        self.crowd = Crowd(config.api)  # is counted by who serves
        metrics.registry.register(self.crowd)
        hands = Hands(lambda: self.config, self._beside, self._become, self._let_go, self._choose)
        self.canaries = Keeper(world, listeners, files, hands)
        metrics.registry.register(self.canaries.tallies)
        metrics.registry.register(Alike([must.what for must in ALIKE], lambda: presence.differs))
        console = self._load_console if config.console.enabled else None
        apart = config.console.port is not None
        self.edge = Edge(
            config.api,
            lambda: self.gateway,
            metrics,
            self._load_pages,
            None if apart else console,
            lambda: presence.differs,
        )
        self.console = (
            Apart(config.api, lambda: self.gateway, metrics, console, self.edge) if apart and console else None
        )
        undo.callback(world.loop.create_task(self.canaries.run(), name="go along with the canary").cancel)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.edge(scope, receive, send)

    def now_ms(self) -> int:
        return self.world.clock.wall_ns() // 1_000_000

    def limits_used(self) -> Iterable[tuple[What, Share, int]]:
        """How much of each is used, of organisations, teams and routes."""
        return self.gateway.limits.shares.now(self.now_ms())

    def budgets_used(self) -> Iterable[tuple[What, Share, int]]:
        return self.gateway.budgets.shares.now(self.now_ms())

    async def first_key(self) -> str | None:
        """An admin key's text, when there was none at all; it is shown now and never again."""
        if any(key.role == "admin" and key.revoked_ms is None for key in await self.world.store.every(Key)):
            return None
        text, _ = await self.gateway.auth.create("first admin key", "live", admin=True)
        return text

    def _load_pages(self) -> Any:
        create = plugins.find("pages", "admin")
        rooms = {"canaries": self.canaries, "topology": self.presence, "configured": self._configured}
        return partial(create, **rooms, evals_in=Path(self.config.storage.data_dir).expanduser() / "evals")

    def _configured(self) -> list[Setting]:
        return settings(self.config, os.environ)

    def _load_console(self) -> Any:
        return partial(plugins.find("pages", "console"), self.config.console)

    async def reload(self, config: Config) -> None:
        """New calls are answered as `config` says, those under way as they began.

        Raises ConfigError, and changes nothing then.
        """
        was = self.config
        await self._renew(config, {})
        await self.presence.took_up(self._file)
        await self.canaries.changed(was, config)

    async def _renew(self, config: Config, tried: Providers) -> None:
        """`tried`: providers that `config` has been tried with."""
        async with self._renewing:
            self._may_change(config)
            ears = await self._ground.ears(config)
            before, was = self.gateway, self.config
            known = {name: (config.providers.get(name), one) for name, one in tried.items()}
            made = make_providers(config, _known(was, before) | known)
            gateway = self._ground.gateway(config, made, ears, before, was)
            there = [*before.providers.values(), *tried.values()]
            await start_providers(self.world, [one for one in made.values() if one not in there])
            self._take_up(config, gateway)
            self._retire_of(before, gateway)
            self.world.events.notice("reloaded", {"providers": list(made), "routes": gateway.routes.names[:20]})

    def _may_change(self, config: Config) -> None:
        for part in FIXED:
            if getattr(config, part) != getattr(self.config, part):
                raise ConfigError(f"{part}: cannot change while serving; put it back, or start again")
        if self.gateway.cache.meanings is None and compares(config):
            raise ConfigError("routes: the first one with a semantic cache cannot come while serving; start again")
        if self._ground.pupil is None and learns(config):
            raise ConfigError("routes: the first one with tiers that learns cannot come while serving; start again")

    def _retire_of(self, former: Gateway, now: Gateway) -> None:
        stale = [one for one in former.providers.values() if one not in now.providers.values()]
        self.world.nursery.spawn(_retire(self.world, stale), "retire providers")

    # --- another configuration, for a share of the units

    async def _beside(self, candidate: Candidate) -> Side:
        """Raises ConfigError. What it finds of its targets is its own: it must not set those of the others aside."""
        config, inside = candidate.config, Inside()
        self._may_change(config)
        ears = await self._ground.ears(config, inside.hear)
        made = make_providers(config, _known(self.config, self.gateway))
        ground = replace(self._ground, ask=inside.ask)
        gateway = ground.gateway(config, made, ears, self.gateway, self.config, apart=True)
        inside.gateway = gateway
        await start_providers(self.world, [one for one in made.values() if one not in self.gateway.providers.values()])
        self.metrics.expect(gateway.routes.labels)
        self._expect_traces(self.config, config)
        return Side(candidate.fingerprint, config, gateway)

    async def _become(self, side: Side) -> None:
        await self._renew(side.config, side.gateway.providers)

    def _let_go(self, side: Side) -> None:
        self._expect_traces(self.config)
        self._retire_of(side.gateway, self.gateway)

    def _choose(self, chooser: Chooser | None) -> None:
        self.edge.choose = chooser

    def _expect_traces(self, *configs: Config) -> None:
        if self._ground.traces is not None:
            told = [name for config in configs for name, route in config.routes.items() if route.store.traces]
            self._ground.traces.expect(told)

    def _take_up(self, config: Config, gateway: Gateway) -> None:
        self.config = config
        self.gateway = self._inside.gateway = gateway
        self.metrics.expect(gateway.routes.labels)
        self._expect_traces(config)
        gateway.upstream.targets.expect(gateway.routes.targets)

    async def leave(self) -> None:
        """No new purchases; replies go on for `api.drain`, then they are ended with a last event that says so.

        When cancelled they are ended at once.
        """
        world = self.world
        world.closing.set()
        try:
            await world.nursery.wait(self.config.api.drain)
        finally:  # cancelled by who cannot wait: their rows are closed all the same
            for flight in list(world.flights):
                flight.stop(ShuttingDown("Tidegate is shutting down; ask again in a moment", retry_after_s=1))
        await world.nursery.wait(LAST_EVENTS_S)

    async def aclose(self) -> None:
        """Flush what is written, end what we started. After `leave`."""
        self.pulse.stop()
        there = {id(one): one for one in [*self.gateway.providers.values(), *self.canaries.providers]}
        await asyncio.gather(*(provider.aclose() for provider in there.values()))
        await self._undo.aclose()


def _known(config: Config, gateway: Gateway) -> dict[str, tuple[Any, Provider]]:
    return {name: (config.providers.get(name), one) for name, one in gateway.providers.items()}


async def _retire(world: World, providers: Iterable[Provider]) -> None:
    """End what the last configuration had, when no call is left that began with it, be its body still on its way."""
    begun = world.calls | {flight.call for flight in world.flights}
    while begun & world.calls:  # noqa: ASYNC110 a reload is seldom, and nobody waits for its end
        await asyncio.sleep(RETIRE_S)
    for flight in list(world.flights):
        if flight.call in begun:
            await flight.landed()
    await asyncio.gather(*(provider.aclose() for provider in providers))


async def build(
    config: Config, environment: Mapping[str, str], *, clock: Clock | None = None, files: Files | None = None
) -> App:
    """The house that `config` describes, started. Raises ConfigError; then nothing is left running.

    `files`: where the configuration stands.
    """
    clock, place = clock or SystemClock(), place_in(environment)
    providers = make_providers(config, {})
    environment_key = _environment_key(environment)
    check(config, providers)  # before anything is opened
    async with AsyncExitStack() as undo:
        log = Log(config.logs)
        undo.callback(log.close)
        metrics = Metrics()
        events = Listeners([log, metrics])
        base = await base_of(config, clock, events, undo, place)
        world = base.world
        if place.of > 1:
            metrics.together = Together(data_folder(config.storage.data_dir), place.number, metrics.page)
            undo.push_async_callback(metrics.together.aclose)
            metrics.together.start()
        metrics.registry.register(Kept(base.bodies, base.notary))
        words = codecs()
        outlets, traces, dropped = await listeners(config, base, events, log, metrics, words, undo)
        inside = Inside()
        ground = await ground_of(config, environment_key, base, inside, undo, outlets, traces, words)
        if ground.pupil is not None:
            events.add(ground.pupil)
            metrics.registry.register(TierLines(ground.pupil))
        gateway = ground.gateway(config, providers, await ground.ears(config))
        if world.counters.together:  # alone, there is nobody to agree with
            sharing = world.loop.create_task(Sharing(world, gateway.upstream.targets).run(), name="share breakers")
            undo.callback(sharing.cancel)
        await start_providers(world, providers.values())
        if config.batches.at_once:
            worker = Worker(world, base.batches, inside, zone_of(config.batches.zone))
            metrics.registry.register(BatchLines(worker))
            undo.push_async_callback(worker.aclose)
            worker.start()
        await base.presence.took_up(files.file if files is not None else None)
        base.presence.start()
        app = App(config, gateway, ground, inside, metrics, events, undo.pop_all(), base.presence, files)
        metrics.registry.register(ground.shadowing)
        metrics.registry.register(Room(app.limits_used, app.budgets_used, dropped))
        events.add(ground.rollouts.wires)
        listen(events, Trials(ground.rollouts.stages, lambda: ground.rollouts.units), metrics)
        if config.metrics.litellm_names:
            aliases = Aliases(gateway.upstream.targets.seen, app.budgets_used, app.now_ms)
            events.add(aliases)
            metrics.registry.register(aliases)
        return app


def _environment_key(environment: Mapping[str, str]) -> str | None:
    """An admin key that a container is given. Whoever guesses it may do everything."""
    key = environment.get("TIDEGATE_ADMIN_KEY", "").strip()
    if not key:
        return None
    if not key.isascii() or not key.isprintable() or " " in key or len(key) < SHORTEST_KEY:
        raise ConfigError(f"TIDEGATE_ADMIN_KEY: at least {SHORTEST_KEY} letters and digits, and no blanks")
    return key
