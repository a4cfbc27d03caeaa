"""Where does everything meet? `build(config)` makes the house, and nothing else knows all of its rooms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tidegate import plugins, storage
from tidegate.api.edge import Edge
from tidegate.api.incoming import Receive, Scope, Send
from tidegate.config import Config, Configured
from tidegate.core.call import Call
from tidegate.core.errors import ConfigError, ShuttingDown, TidegateError
from tidegate.core.ports import Blobs, Clock, Codecs, Counters, Events, Key, Provider
from tidegate.core.world import Nursery, World
from tidegate.gateway import Gateway
from tidegate.providers.prices import PriceList
from tidegate.stages.auth import KeyAuth
from tidegate.stages.auth.used import LastUsed
from tidegate.stages.budgets import Budgets
from tidegate.stages.budgets.period import zone_of
from tidegate.stages.cache import Cache, Shelf, policies
from tidegate.stages.guardrails import Guardrails
from tidegate.stages.limits import Limits
from tidegate.stages.record import Recorder
from tidegate.stages.routes import Routes
from tidegate.storage.blobs import MemoryBlobs
from tidegate.storage.ledger import Home, Notice, SpoolLedger
from tidegate.storage.memory import MemoryCounters
from tidegate.storage.pepper import load_peppers
from tidegate.storage.retention import keep
from tidegate.storage.sqlite import SqliteStore
from tidegate.storage.standin import StandIn
from tidegate.storage.vault import PlainVault
from tidegate.telemetry import Listeners
from tidegate.telemetry.alerts import Alerts
from tidegate.telemetry.logs import Log
from tidegate.telemetry.metrics import Metrics
from tidegate.telemetry.pulse import Pulse
from tidegate.upstream import Upstream
from tidegate.upstream.sharing import Sharing

FIXED = (
    "api",
    "storage",
    "cache",
    "logs",
    "alerts",
    "transport",
    "prices",
)  # parts of the configuration that a running house is built on
SHORTEST_KEY = 20
QUICK_START_S = 0.25  # a provider that is ready by then is waited for; others get ready while calls come in
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

    async def ask(self, call: Call) -> str:
        """What is said to it. Raises TidegateError."""
        assert self.gateway is not None
        return await self.gateway.said(call)


class App:
    """The house, ready: an ASGI callable, with a way to change it while it serves, and a way to leave it in order."""

    def __init__(
        self,
        config: Config,
        gateway: Gateway,
        metrics: Metrics,
        pulse: Pulse,
        auth: Callable[[Config], KeyAuth],
        cache: Callable[[Config], Cache],
        inside: Inside,
        undo: AsyncExitStack,
    ) -> None:
        self.config = config
        self.gateway = gateway
        self.world = gateway.world
        self._undo = undo
        self.pulse = pulse  # beats when who serves starts it
        self._auth = auth
        self._cache = cache
        self._inside = inside
        self._metrics = metrics
        metrics.expect(gateway.routes.labels)
        targets = gateway.upstream.targets
        targets.expect(gateway.routes.targets)
        metrics.watch(targets.seen, targets.keys_aside)
        self.edge = Edge(config.api, lambda: self.gateway, metrics, partial(plugins.find, "pages", "admin"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.edge(scope, receive, send)

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
        before = self.gateway
        made = make_providers(
            config, {name: (self.config.providers.get(name), one) for name, one in before.providers.items()}
        )
        routes = Routes(config.routes, made)
        fresh = [provider for name, provider in made.items() if before.providers.get(name) is not provider]
        await _start(self.world, fresh)
        upstream = Upstream(config.upstream, self.world, before.codecs, before.upstream.targets)
        self.gateway = replace(
            before,
            providers=made,
            auth=before.auth if config.auth == self.config.auth else self._auth(config),
            routes=routes,
            limits=before.limits if config.limits == self.config.limits else Limits(config.limits, self.world),
            guardrails=_guardrails(config, self.world, made),
            budgets=before.budgets if config.budgets == self.config.budgets else Budgets(config.budgets, self.world),
            cache=self._cache(config),
            upstream=upstream,
        )
        self._inside.gateway = self.gateway
        self.config = config
        self._metrics.expect(routes.labels)
        upstream.targets.expect(routes.targets)
        stale = [one for one in before.providers.values() if one not in made.values()]
        self.world.nursery.spawn(_retire(self.world, stale), "retire providers")
        self.world.events.notice("reloaded", {"providers": list(made), "routes": routes.names[:20]})

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
    loop = asyncio.get_running_loop()
    clock = clock or SystemClock()
    providers = make_providers(config, {})
    routes = Routes(config.routes, providers)
    words = codecs()
    environment_key = _environment_key(environment)
    data_dir = data_folder(config.storage.data_dir)
    async with AsyncExitStack() as undo:
        log = Log(config.logs)
        undo.callback(log.close)
        metrics = Metrics()
        events = Listeners([log, metrics])
        store = await open_home(config.storage, data_dir, events.notice)
        undo.push_async_callback(store.aclose)
        ledger = await SpoolLedger.open(
            data_dir, store.books, PlainVault(), events.notice, max_spool_bytes=config.storage.max_spool
        )
        undo.push_async_callback(ledger.aclose)
        if config.storage.keep_rows is not None:
            keeping = keep(store.books, config.storage.keep_rows, clock.wall_ns, events.notice)
            undo.callback(loop.create_task(keeping, name="delete old rows").cancel)
        transport = plugins.find("transports", config.transport.kind)(config.transport, loop=loop)
        undo.push_async_callback(transport.aclose)
        counters = await _counters(config, clock, events)
        undo.push_async_callback(counters.aclose)
        world = World(loop, clock, Nursery(loop), transport, store, ledger, counters, events)
        if config.alerts.webhooks:
            alerts = Alerts(config.alerts, world)
            events.add(alerts)
            metrics.registry.register(alerts)
            undo.push_async_callback(alerts.aclose)
        used = LastUsed(store, world.nursery)
        undo.push_async_callback(used.aclose)
        auth = partial(_auth, world, environment_key, used, data_dir)
        inside = Inside()
        shelf = await _shelf(config, world, inside.ask, undo)
        recorder = Recorder(world)
        cache = partial(_cache, world, shelf, words, recorder)
        gateway = Gateway(
            world=world,
            codecs=words,
            providers=providers,
            recorder=recorder,
            auth=auth(config),
            routes=routes,
            limits=Limits(config.limits, world),
            guardrails=_guardrails(config, world, providers),
            budgets=Budgets(config.budgets, world),
            cache=cache(config),
            upstream=Upstream(config.upstream, world, words),
        )
        if not isinstance(world.counters, MemoryCounters):  # alone, there is nobody to agree with
            sharing = loop.create_task(Sharing(world, gateway.upstream.targets).run(), name="share breakers")
            undo.callback(sharing.cancel)
        inside.gateway = gateway
        await _start(world, providers.values())
        pulse = Pulse(loop, transport)
        metrics.registry.register(pulse)
        undo.callback(pulse.stop)
        return App(config, gateway, metrics, pulse, auth, cache, inside, undo.pop_all())


def _auth(world: World, environment_key: str | None, used: LastUsed, data_dir: Path, config: Config) -> KeyAuth:
    issuers = config.auth.issuers
    tokens = plugins.find("stages", "tokens")(issuers, world) if issuers else None
    peppers = load_peppers(data_dir, config.auth.peppers)
    return KeyAuth(world.store, peppers, world.clock, environment_key, used.note, tokens)


def _guardrails(config: Config, world: World, providers: Mapping[str, Provider]) -> Guardrails:
    """They know the keys of the providers, so that none of them leaves by any way."""
    known = [secret for provider in providers.values() for secret in provider.secrets()]
    own = {name: route.guardrails for name, route in config.routes.items()}
    return Guardrails(config.guardrails, own, world, known)


async def _shelf(config: Config, world: World, ask: Callable[[Call], Awaitable[str]], undo: AsyncExitStack) -> Shelf:
    """Where answers are kept, and what is known of their meaning. Raises ConfigError."""
    meanings = await _meanings(config, world, ask)
    if meanings is not None:
        undo.push_async_callback(meanings.aclose)
    blobs = await _blobs(config.storage, world.clock, world.events)
    undo.push_async_callback(blobs.aclose)
    if config.storage.database is None:
        await world.store.forget_begun()  # the data folder is ours alone, and we have only begun
    return Shelf(blobs, PlainVault(), many=config.storage.valkey is not None, meanings=meanings)


def _compares(config: Config) -> bool:
    return any(route.cache.semantic.max_error is not None for route in config.routes.values())


async def _meanings(config: Config, world: World, ask: Callable[[Call], Awaitable[str]]) -> Any:
    """Where a route compares by meaning. Loading the model takes a moment. Raises ConfigError."""
    if not _compares(config):
        return None
    embedder = plugins.find("embedders", config.cache.embedder)
    vectors = plugins.find("vectors", "memory")(config.cache.entries)
    return plugins.find("stages", "semantic")(world, await asyncio.to_thread(embedder), vectors, ask, Random())


def _cache(world: World, shelf: Shelf, codecs: Codecs, recorder: Recorder, config: Config) -> Cache:
    return Cache(world, shelf, codecs, recorder, policies(config.routes, config.providers))


def check(config: Config) -> None:
    """Raise ConfigError for what only shows when the parts meet; starts nothing."""
    zone_of(config.budgets.zone)
    plugins.find("transports", config.transport.kind)
    Routes(config.routes, make_providers(config, {}))


async def open_home(config: storage.Config, data_dir: Path, notice: Notice) -> Home:
    """PostgreSQL, where one is configured, else a file of the data folder."""
    if config.database is None:
        return await SqliteStore.open(data_dir / "tidegate.sqlite")
    home: Home = await plugins.find("stores", "postgres").open(
        config.database.value,
        notice,
        connections=config.database_connections,
        timeout_s=config.database_timeout,
        prepares=config.database_prepares,
    )
    return home


async def _counters(config: Config, clock: Clock, events: Events) -> Counters:
    """Valkey, where one is configured, else this process alone."""
    kept = config.storage
    if kept.valkey is None:
        return MemoryCounters(clock)
    try:
        shared = plugins.find("counters", "valkey")
        counters: Counters = await shared.open(kept.valkey.value, events.notice, timeout_s=kept.valkey_timeout)
    except ConfigError as wrong:
        raise ConfigError(f"storage.valkey: {wrong.message}") from None
    return StandIn(counters, MemoryCounters(clock), kept.on_store_down, kept.local_share, events.notice)


async def _blobs(config: storage.Config, clock: Clock, events: Events) -> Blobs:
    """Valkey, where one is configured, else this process alone."""
    if config.valkey is None:
        return MemoryBlobs(clock, config.max_cache)
    shared: Blobs = await plugins.find("blobs", "valkey").open(
        config.valkey.value, events.notice, timeout_s=config.valkey_timeout
    )
    return shared


def _environment_key(environment: Mapping[str, str]) -> str | None:
    """An admin key that a container is given. Whoever guesses it may do everything."""
    key = environment.get("TIDEGATE_ADMIN_KEY", "").strip()
    if not key:
        return None
    if not key.isascii() or not key.isprintable() or " " in key or len(key) < SHORTEST_KEY:
        raise ConfigError(f"TIDEGATE_ADMIN_KEY: at least {SHORTEST_KEY} letters and digits, and no blanks")
    return key


def data_folder(name: str) -> Path:
    """Made where it is not there. Raises ConfigError."""
    path = Path(name).expanduser()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as wrong:
        raise ConfigError(f"storage.data_dir: {path} cannot be made: {wrong.strerror}; choose another folder") from None
    return path


def make_providers(config: Config, before: Mapping[str, tuple[Configured | None, Provider]]) -> dict[str, Provider]:
    """Those of `config`; the very same as before where nothing was changed, so that what they know is kept."""
    prices = PriceList.load(Path(config.prices.file) if config.prices.file else None)
    made: dict[str, Provider] = {}
    for name, configured in config.providers.items():
        was, provider = before.get(name, (None, None))
        same = provider is not None and was == configured
        if not same or provider is None:
            provider = configured.plugin(name, configured.settings, prices)
            provider.why = configured.why or provider.why
        made[name] = provider
    return made


def codecs() -> Codecs:
    found = [plugins.find("codecs", name)() for name in plugins.names("codecs")]
    return {(codec.dialect, codec.operation): codec for codec in found}


async def _start(world: World, providers: Iterable[Provider]) -> None:
    async def start(provider: Provider) -> None:
        try:
            await provider.start()
        except TidegateError as wrong:  # `trouble()` says so to every call; the others can answer
            world.events.notice("provider_not_started", {"provider": provider.name, "error": wrong.message})

    tasks: list[asyncio.Task[Any]] = [world.nursery.spawn(start(one), f"start {one.name}") for one in providers]
    if tasks:
        await asyncio.wait(tasks, timeout=QUICK_START_S)
