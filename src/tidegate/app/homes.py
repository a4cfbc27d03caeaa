"""Where is what is kept? In this process and its data folder, or at servers that many processes share."""

from __future__ import annotations

from pathlib import Path

from tidegate import plugins, storage
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Blobs, Clock, Counters, Relay, Vectors
from tidegate.stages import cache
from tidegate.storage.blobs import MemoryBlobs
from tidegate.storage.ledger import Home, Notice
from tidegate.storage.memory import MemoryCounters
from tidegate.storage.sqlite import SqliteStore
from tidegate.storage.standin import StandIn


def data_folder(name: str) -> Path:
    """Made where it is not there. Raises ConfigError."""
    path = Path(name).expanduser()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as wrong:
        raise ConfigError(f"storage.data_dir: {path} cannot be made: {wrong.strerror}; choose another folder") from None
    return path


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


async def open_counters(config: storage.Config, clock: Clock, notice: Notice) -> Counters:
    """Valkey, where one is configured, and this process in its place while it is away; else this process alone."""
    if config.valkey is None:
        return MemoryCounters(clock)
    try:
        shared = plugins.find("counters", "valkey")
        counters: Counters = await shared.open(config.valkey.value, notice, timeout_s=config.valkey_timeout)
    except ConfigError as wrong:
        raise ConfigError(f"storage.valkey: {wrong.message}") from None
    return StandIn(counters, MemoryCounters(clock), config.on_store_down, config.local_share, notice)


async def open_blobs(config: storage.Config, clock: Clock, notice: Notice) -> tuple[Blobs, Relay | None]:
    """Valkey, where one is configured, which other processes read along; else this process alone."""
    if config.valkey is None:
        return MemoryBlobs(clock, config.max_cache), None
    shared = await plugins.find("blobs", "valkey").open(config.valkey.value, notice, timeout_s=config.valkey_timeout)
    return shared, shared.relay


async def open_vectors(config: storage.Config, house: cache.House, data_dir: Path, notice: Notice) -> Vectors:
    """PostgreSQL with pgvector, where one is configured, else a file of the data folder; or this process alone.

    Raises ConfigError.
    """
    if house.kept == "process":
        found: Vectors = plugins.find("vectors", "memory")(house.entries)
    elif config.database is None:
        found = await plugins.find("vectors", "file").open(data_dir / "semantic.sqlite", house.entries)
    else:
        found = await plugins.find("vectors", "postgres").open(
            config.database.value, house.entries, notice, prepares=config.database_prepares, look_s=house.timeout
        )
    return found
