"""Where does everything meet? `build(config)` makes the house, and nothing else knows all of its rooms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from random import Random
from typing import Any, NamedTuple

from tidegate import plugins
from tidegate.api.crowd import Crowd
from tidegate.api.edge import Edge
from tidegate.api.incoming import Receive, Scope, Send
from tidegate.app.homes import check_sealed, open_blobs, open_counters, open_vectors
from tidegate.app.homes import data_folder as data_folder
from tidegate.app.homes import open_home as open_home
from tidegate.app.homes import open_keyring as open_keyring
from tidegate.app.homes import open_vault as open_vault
from tidegate.app.rooms import SUITES, Ground, start_providers
from tidegate.app.rooms import check as check
from tidegate.app.rooms import codecs as codecs
from tidegate.app.rooms import make_providers as make_providers
from tidegate.config import Config
from tidegate.core.call import Call, Event, Route
from tidegate.core.errors import ConfigError, ShuttingDown, StoreDown
from tidegate.core.ports import Blobs, Clock, Closed, Codecs, Key, Provider, Relay, Vault
from tidegate.core.shared import Table
from tidegate.core.shares import Share, What
from tidegate.core.world import Nursery, World
from tidegate.gateway import Gateway
from tidegate.jobs.evals.online import Online
from tidegate.stages.auth.used import LastUsed
from tidegate.stages.cache import Shelf
from tidegate.stages.cache.elsewhere import Elsewhere
from tidegate.stages.record import Recorder
from tidegate.storage.archive import Archive
from tidegate.storage.audit.notary import Exports, Notary
from tidegate.storage.audit.notes import load_signer
from tidegate.storage.bodies import BodyStore
from tidegate.storage.days import keep_folded
from tidegate.storage.ledger import Home, SpoolLedger
from tidegate.storage.personal import Rows
from tidegate.storage.retention import Kind, keep
from tidegate.storage.vault import PlainVault
from tidegate.telemetry import Listeners
from tidegate.telemetry.alerts import Alerts
from tidegate.telemetry.aliases import Aliases
from tidegate.telemetry.kept import Kept
from tidegate.telemetry.logs import Log
from tidegate.telemetry.metrics import Metrics
from tidegate.telemetry.outlets import Outlets
from tidegate.telemetry.pulse import Pulse
from tidegate.telemetry.room import Room
from tidegate.telemetry.settings import Settings
from tidegate.telemetry.sinks.clickhouse import ClickHouse
from tidegate.telemetry.traces import Traces
from tidegate.upstream.sharing import Sharing

# What a running house is built on: it changes with a start only.
FIXED = (
    *("api", "storage", "vault", "audit", "cache", "logs", "alerts", "traces", "sinks", "metrics", "transport"),
    "prices",
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
        assert self.gateway is not None
        return self.gateway.routes.find(name)


class App:
    """The house, ready: an ASGI callable, with a way to change it while it serves, and a way to leave it in order."""

    def __init__(
        self, config: Config, gateway: Gateway, ground: Ground, inside: Inside, metrics: Metrics, undo: AsyncExitStack
    ) -> None:
        self.config = config
        self.gateway = gateway
        self.world = world = gateway.world
        self.pulse = Pulse(world.loop, world.transport, world.ledger.backlog)  # beats when who serves starts it
        self._ground = ground
        self._inside = inside
        self.metrics = metrics
        self._undo = undo
        self._take_up(config, gateway)
        targets = gateway.upstream.targets
        metrics.watch(targets.seen, targets.keys_aside)
        metrics.registry.register(self.pulse)
        self.crowd = Crowd(config.api)  # is counted by who serves
        metrics.registry.register(self.crowd)
        self.edge = Edge(config.api, lambda: self.gateway, metrics, partial(plugins.find, "pages", "admin"))

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

    async def reload(self, config: Config) -> None:
        """New calls are answered as `config` says, those under way as they began.

        Raises ConfigError, and changes nothing then.
        """
        for part in FIXED:
            if getattr(config, part) != getattr(self.config, part):
                raise ConfigError(f"{part}: cannot change while serving; put it back, or start again")
        if self.gateway.cache.meanings is None and _compares(config):
            raise ConfigError("routes: the first one with a semantic cache cannot come while serving; start again")
        if self._ground.pupil is None and _learns(config):
            raise ConfigError("routes: the first one with tiers that learns cannot come while serving; start again")
        ears = await self._ground.ears(config)
        before, was = self.gateway, self.config
        made = make_providers(config, {name: (was.providers.get(name), one) for name, one in before.providers.items()})
        gateway = self._ground.gateway(config, made, ears, before, was)
        await start_providers(self.world, [one for one in made.values() if one not in before.providers.values()])
        self._take_up(config, gateway)
        stale = [one for one in before.providers.values() if one not in made.values()]
        self.world.nursery.spawn(_retire(self.world, stale), "retire providers")
        self.world.events.notice("reloaded", {"providers": list(made), "routes": gateway.routes.names[:20]})

    def _take_up(self, config: Config, gateway: Gateway) -> None:
        self.config = config
        self.gateway = self._inside.gateway = gateway
        self.metrics.expect(gateway.routes.labels)
        if self._ground.traces is not None:
            self._ground.traces.expect(name for name, route in config.routes.items() if route.store.traces)
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
        await asyncio.gather(*(provider.aclose() for provider in self.gateway.providers.values()))
        await self._undo.aclose()


async def _retire(world: World, providers: Iterable[Provider]) -> None:
    """End what the last configuration had, when no call is left that began with it, be its body still on its way."""
    begun = world.calls | {flight.call for flight in world.flights}
    while begun & world.calls:  # noqa: ASYNC110 a reload is seldom, and nobody waits for its end
        await asyncio.sleep(RETIRE_S)
    for flight in list(world.flights):
        if flight.call in begun:
            await flight.landed()
    await asyncio.gather(*(provider.aclose() for provider in providers))


async def build(config: Config, environment: Mapping[str, str], *, clock: Clock | None = None) -> App:
    """The house that `config` describes, started. Raises ConfigError; then nothing is left running."""
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
        app = App(config, gateway, ground, inside, metrics, undo.pop_all())
        metrics.registry.register(Room(app.limits_used, app.budgets_used, dropped))
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
        ledger, bodies, home.log, vault, partial(_purge, purges), notary=notary, keyring=keyring, keks=keks
    )
    kinds = {"bodies": Kind(0.0, bodies.forget)}
    kinds |= {} if kept.keep_rows is None else {"rows": Kind(kept.keep_rows, home.books.forget)}
    kinds |= {} if config.audit.keep is None else {"audit_entries": Kind(config.audit.keep, home.log.forget)}
    undo.callback(loop.create_task(keep(kinds, clock.wall_ns, notice), name="delete what is old").cancel)
    undo.callback(loop.create_task(keep_folded(home.books.fold, clock.wall_ns), name="fold days").cancel)
    world = World(loop, clock, Nursery(loop), transport, home, ledger, counters, events)
    return Base(world, home, vault, archive, bodies, blobs, relay, purges, notary)


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
    pupil = None
    if _learns(config):
        pupil = plugins.find("pupils", "tiers")(world, await _embedder(config, world, inside))
        undo.push_async_callback(pupil.aclose)
    table: Table = {}
    elsewhere = Elsewhere(world, base.relay, base.blobs, vault, table) if base.relay is not None else None
    if config.storage.database is None:
        await world.store.forget_begun()  # the data folder is ours alone, and we have only begun
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
        bodies=base.bodies,
        outlets=outlets,
        online=Online(world, inside.hear, SUITES),
        traces=traces,
        pupil=pupil,
    )


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
