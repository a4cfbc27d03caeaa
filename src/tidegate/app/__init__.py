"""Where does everything meet? `build(config)` makes the house, and nothing else knows all of its rooms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, NamedTuple

from tidegate import plugins
from tidegate.api.arms import Chooser
from tidegate.api.crowd import Crowd
from tidegate.api.edge import Edge
from tidegate.api.incoming import Receive, Scope, Send
from tidegate.app.canaries import Hands, Keeper, Side
from tidegate.app.candidate import Candidate
from tidegate.app.candidate import Files as Files
from tidegate.app.homes import check_sealed, open_blobs, open_counters, open_vectors
from tidegate.app.homes import data_folder as data_folder
from tidegate.app.homes import open_home as open_home
from tidegate.app.homes import open_keyring as open_keyring
from tidegate.app.homes import open_vault as open_vault
from tidegate.app.rooms import SUITES, Ground, Providers, start_providers
from tidegate.app.rooms import check as check
from tidegate.app.rooms import codecs as codecs
from tidegate.app.rooms import make_providers as make_providers
from tidegate.app.trials import rollouts, running
from tidegate.config import Config
from tidegate.core.call import Call, Event, Route
from tidegate.core.errors import ConfigError, ShuttingDown, StoreDown
from tidegate.core.experiments import Experiment
from tidegate.core.ports import Blobs, Clock, Closed, Codecs, Key, Provider, Relay, Vault
from tidegate.core.shared import Table
from tidegate.core.shares import Share, What
from tidegate.core.world import Nursery, World
from tidegate.gateway import Gateway
from tidegate.jobs.batches.worker import Worker
from tidegate.jobs.evals.online import Online
from tidegate.jobs.shadows import Shadowing
from tidegate.stages.auth.used import LastUsed
from tidegate.stages.budgets.period import zone_of
from tidegate.stages.cache import Shelf
from tidegate.stages.cache.elsewhere import Elsewhere
from tidegate.stages.prompts import Prompts, asks
from tidegate.stages.prompts.desk import PromptDesk
from tidegate.stages.prompts.library import Library
from tidegate.stages.record import Recorder
from tidegate.storage.archive import Archive
from tidegate.storage.audit.notary import Exports, Notary
from tidegate.storage.audit.notes import load_signer
from tidegate.storage.batches import BatchStore
from tidegate.storage.bodies import BodyStore
from tidegate.storage.days import keep_folded
from tidegate.storage.ledger import Home, SpoolLedger
from tidegate.storage.personal import Rows
from tidegate.storage.retention import Kind, keep
from tidegate.storage.rollups import LAST_MS
from tidegate.storage.vault import PlainVault
from tidegate.telemetry import Listeners
from tidegate.telemetry.alerts import Alerts
from tidegate.telemetry.aliases import Aliases
from tidegate.telemetry.batches import BatchLines
from tidegate.telemetry.kept import Kept
from tidegate.telemetry.logs import Log
from tidegate.telemetry.metrics import Metrics
from tidegate.telemetry.outlets import Outlets
from tidegate.telemetry.pulse import Pulse
from tidegate.telemetry.room import Room
from tidegate.telemetry.settings import Settings
from tidegate.telemetry.sinks.clickhouse import ClickHouse
from tidegate.telemetry.traces import Traces
from tidegate.telemetry.trials import Trials
from tidegate.upstream.sharing import Sharing
from tidegate.upstream.shrink.trimming import Trims

# What a running house is built on: it changes with a start only.
FIXED = (
    *("api", "storage", "vault", "audit", "cache", "logs", "alerts", "traces", "sinks", "metrics", "transport"),
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


class Inside:
    """The front door seen from inside: for calls of our own."""

    def __init__(self) -> None:
        self.gateway: Gateway | None = None

    async def hear(self, call: Call) -> list[Event]:
        """The whole reply. Raises TidegateError."""
        assert self.gateway is not None
        return await self.gateway.heard(call)

    async def ask(self, call: Call) -> str:
        """What is said to it. Raises TidegateError."""
        assert self.gateway is not None
        return await self.gateway.said(call)

    def route(self, name: str) -> Route:
        """As it is just now. Raises ModelNotFound."""
        return self.house().routes.find(name)

    def house(self) -> Gateway:
        """The one that answers now."""
        assert self.gateway is not None
        return self.gateway


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
        self.edge = Edge(config.api, lambda: self.gateway, metrics, self._load_pages)
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
        return partial(plugins.find("pages", "admin"), canaries=self.canaries)

    async def reload(self, config: Config) -> None:
        """New calls are answered as `config` says, those under way as they began.

        Raises ConfigError, and changes nothing then.
        """
        was = self.config
        await self._renew(config, {})
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
        if self.gateway.cache.meanings is None and _compares(config):
            raise ConfigError("routes: the first one with a semantic cache cannot come while serving; start again")
        if self._ground.pupil is None and _learns(config):
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
    clock = clock or SystemClock()
    providers = make_providers(config, {})
    environment_key = _environment_key(environment)
    check(config, providers)  # before anything is opened
    async with AsyncExitStack() as undo:
        log = Log(config.logs)
        undo.callback(log.close)
        metrics = Metrics()
        events = Listeners([log, metrics])
        base = await _base(config, clock, events, undo)
        world = base.world
        metrics.registry.register(Kept(base.bodies, base.notary))
        words = codecs()
        outlets, traces, dropped = await _listeners(config, base, events, log, metrics, words, undo)
        inside = Inside()
        ground = await _ground(config, environment_key, base, inside, undo, outlets, traces, words)
        if ground.pupil is not None:
            events.add(ground.pupil)
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
        app = App(config, gateway, ground, inside, metrics, events, undo.pop_all(), files)
        metrics.registry.register(ground.shadowing)
        metrics.registry.register(Room(app.limits_used, app.budgets_used, dropped))
        events.add(ground.rollouts.wires)
        _listen(events, Trials(ground.rollouts.stages, lambda: ground.rollouts.units), metrics)
        if config.metrics.litellm_names:
            aliases = Aliases(gateway.upstream.targets.seen, app.budgets_used, app.now_ms)
            events.add(aliases)
            metrics.registry.register(aliases)
        return app


Count = Callable[[], int]


def _listen(events: Listeners, one: Any, metrics: Metrics) -> None:
    events.add(one)
    metrics.registry.register(one)


async def _listeners(
    config: Config,
    base: Base,
    events: Listeners,
    log: Log,
    metrics: Metrics,
    words: Codecs,
    undo: AsyncExitStack,
) -> tuple[Outlets, Traces | None, dict[str, Count]]:
    """All who are told of what happens besides the log and the metrics; and how much of what was lost."""
    world, ledger, bodies, traces = base.world, base.world.ledger, base.bodies, None
    outlets = await _outlets(config, log, world, undo)
    alerts = outlets.alerts
    dropped: dict[str, Count] = {
        "ledger": lambda: ledger.backlog().lost + metrics.rows_lost,
        "log": lambda: log.dropped,
        "bodies": lambda: bodies.dropped,
    }
    if alerts.lines:
        dropped["alerts"] = lambda: alerts.dropped
        _listen(events, alerts, metrics)
    if config.sinks.clickhouse is not None:
        masked = Rows(base.vault).masked if base.vault.seals else _as_it_is
        sink = ClickHouse(config.sinks.clickhouse, world, masked)
        dropped["clickhouse"] = lambda: sink.dropped
        undo.push_async_callback(sink.aclose)
        _listen(events, sink, metrics)
    if config.traces.to:
        traces = told = Traces(config.traces, world, words)
        dropped["traces"] = lambda: told.dropped
        undo.push_async_callback(traces.aclose)
        _listen(events, traces, metrics)
    return outlets, traces, dropped


def _as_it_is(row: Closed) -> Closed:
    return row


async def _outlets(config: Config, log: Log, world: World, undo: AsyncExitStack) -> Outlets:
    settings = Settings(world.store, world.clock)
    outlets = Outlets(log, Alerts(config.alerts, world, settings), settings)
    undo.push_async_callback(outlets.alerts.aclose)
    settings.heard.append(outlets.take_up)
    undo.callback(world.loop.create_task(settings.run(), name="look for settings").cancel)
    return outlets


Purge = Callable[[str], Awaitable[int]]


class Base(NamedTuple):
    """What is at the bottom of a house, beside its World."""

    world: World
    home: Home
    vault: Vault
    archive: Archive
    bodies: BodyStore
    batches: BatchStore
    blobs: Blobs
    relay: Relay | None
    purges: list[Purge]  # of all that keep answers, by tag
    notary: Notary | None


async def _base(config: Config, clock: Clock, events: Listeners, undo: AsyncExitStack) -> Base:
    loop, kept, notice = asyncio.get_running_loop(), config.storage, events.notice
    data_dir = data_folder(kept.data_dir)
    vault, keyring, keks = await asyncio.to_thread(open_vault, config.vault, kept, data_dir)
    if keyring is not None:
        undo.callback(keyring.close)
    home = await open_home(kept, data_dir, notice)
    undo.push_async_callback(home.aclose)
    await check_sealed(home, vault, config.vault)
    bodies = BodyStore(home.tables, vault, notice)
    undo.push_async_callback(bodies.aclose)
    batches = BatchStore(home.tables, vault, config.batches)
    ledger = await SpoolLedger.open(
        data_dir, home.books, vault, notice, max_spool_bytes=kept.max_spool, audited=config.audit.enabled
    )
    undo.push_async_callback(ledger.aclose)
    transport = plugins.find("transports", config.transport.kind)(config.transport, loop=loop)
    undo.push_async_callback(transport.aclose)
    notary = None
    if config.audit.enabled:
        signer, exports = load_signer(config.audit.key, data_dir), Exports(config.audit.export, transport)
        notary = Notary(home.log, signer, ledger.id, exports, notice, clock.wall_ns)
        undo.push_async_callback(_sign_last, ledger, notary)
        undo.callback(loop.create_task(notary.run(config.audit.checkpoint), name="sign the audit log").cancel)
    counters = await open_counters(kept, clock, notice)
    undo.push_async_callback(counters.aclose)
    blobs, relay = await open_blobs(kept, clock, notice)
    purges: list[Purge] = [blobs.purge]
    undo.push_async_callback(blobs.aclose)
    archive = Archive(
        ledger, bodies, home.log, vault, partial(_purge, purges), batches, notary=notary, keyring=keyring, keks=keks,
        experiments=partial(home.every, Experiment),
    )  # fmt: skip
    kinds = {"bodies": Kind(0.0, bodies.forget), "batches": Kind(0.0, batches.forget)}
    if kept.keep_rows is not None:
        kinds |= {"rows": Kind(kept.keep_rows, home.books.forget)}
        kinds |= {"trials": Kind(kept.keep_rows, home.books.forget_trials)}
    kinds |= {} if config.audit.keep is None else {"audit_entries": Kind(config.audit.keep, home.log.forget)}
    undo.callback(loop.create_task(keep(kinds, clock.wall_ns, notice), name="delete what is old").cancel)
    undo.callback(loop.create_task(keep_folded(home.books.fold, clock.wall_ns), name="fold days").cancel)
    world = World(loop, clock, Nursery(loop), transport, home, ledger, counters, events)
    return Base(world, home, vault, archive, bodies, batches, blobs, relay, purges, notary)


async def _purge(purges: Iterable[Purge], tag: str) -> int:
    return sum([await one(tag) for one in purges])


async def _sign_last(ledger: SpoolLedger, notary: Notary) -> None:
    """What was done until the end is signed, where it can be."""
    with suppress(StoreDown):
        await ledger.flush()
        await notary.sign()


async def _ground(
    config: Config,
    environment_key: str | None,
    base: Base,
    inside: Inside,
    undo: AsyncExitStack,
    outlets: Outlets,
    traces: Traces | None,
    words: Codecs,
) -> Ground:
    world, many = base.world, config.storage.valkey is not None
    used = LastUsed(world.store, world.nursery)
    undo.push_async_callback(used.aclose)
    # In memory there is nothing at rest, but what is known of meanings may stand in a file.
    at_rest = many or (_compares(config) and config.cache.kept != "process")
    vault: Vault = base.vault if at_rest else PlainVault()
    meanings = await _meanings(config, world, inside, base.blobs, vault) if _compares(config) else None
    if meanings is not None:
        undo.push_async_callback(meanings.aclose)
        base.purges.append(meanings.purge)
    prompts = _prompts(config, world, words)
    undo.callback(world.loop.create_task(prompts.library.run(), name="look for prompts").cancel)
    pupil = None
    if _learns(config):
        pupil = plugins.find("pupils", "tiers")(world, await _embedder(config, world, inside))
        undo.push_async_callback(pupil.aclose)
    table: Table = {}
    elsewhere = Elsewhere(world, base.relay, base.blobs, vault, table) if base.relay is not None else None
    trims = Trims(world, inside.ask)
    base.purges.append(trims.purge)
    if config.storage.database is None:
        await world.store.forget_begun()  # the data folder is ours alone, and we have only begun
        await base.batches.release(None, LAST_MS)
    there = await running(world, undo)
    return Ground(
        world=world,
        codecs=words,
        recorder=Recorder(world, traced=traces is not None),
        shelf=Shelf(base.blobs, vault, base.vault, elsewhere, meanings, table),
        used=used,
        data_dir=data_folder(config.storage.data_dir),
        environment_key=environment_key,
        ask=inside.ask,
        archive=base.archive,
        batches=base.batches,
        bodies=base.bodies,
        outlets=outlets,
        online=Online(world, inside.hear, SUITES),
        shadowing=Shadowing(world, inside.hear, lambda: there.known, SUITES),
        running=there,
        rollouts=rollouts(world, config.experiments, there, inside.house, SUITES, undo),
        traces=traces,
        prompts=prompts,
        trims=trims,
        pupil=pupil,
    )


def _prompts(config: Config, world: World, words: Codecs) -> Prompts:
    house = config.prompts
    library = Library(world.store, house.look_every, house.max_bytes, partial(asks, words["openai", "chat"]))
    return Prompts(library, PromptDesk(world.store, world.clock, library, house.protected))


def _compares(config: Config) -> bool:
    return any(route.cache.semantic.max_error is not None for route in config.routes.values())


def _learns(config: Config) -> bool:
    return any(route.tiers and route.router.learn for route in config.routes.values())


async def _embedder(config: Config, world: World, inside: Inside) -> Any:
    """Loading the model takes a moment. Raises ConfigError."""
    house = config.cache
    if house.embedding_route is not None:
        asked = plugins.find("embedders", "route")
        return asked(world, house.embedding_route, house.embedder_timeout, inside.hear, inside.route)
    return await asyncio.to_thread(plugins.find("embedders", house.embedder))


async def _meanings(config: Config, world: World, inside: Inside, blobs: Blobs, vault: Vault) -> Any:
    """For routes that compare by meaning. Raises ConfigError."""
    house, folder = config.cache, data_folder(config.storage.data_dir)
    embedder = await _embedder(config, world, inside)
    vectors = await open_vectors(config.storage, house, folder, world.events.notice)
    return plugins.find("stages", "semantic")(world, embedder, vectors, inside.ask, Random(), blobs, vault)


def _environment_key(environment: Mapping[str, str]) -> str | None:
    """An admin key that a container is given. Whoever guesses it may do everything."""
    key = environment.get("TIDEGATE_ADMIN_KEY", "").strip()
    if not key:
        return None
    if not key.isascii() or not key.isprintable() or " " in key or len(key) < SHORTEST_KEY:
        raise ConfigError(f"TIDEGATE_ADMIN_KEY: at least {SHORTEST_KEY} letters and digits, and no blanks")
    return key
