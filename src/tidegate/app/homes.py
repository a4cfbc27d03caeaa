"""Where is what is kept? In this process and its data folder, or at servers that many processes share."""

from __future__ import annotations

from pathlib import Path

from tidegate import plugins, storage
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Blobs, Clock, Counters, Keyring, Relay, Vault, Vectors
from tidegate.stages import cache
from tidegate.storage.blobs import MemoryBlobs
from tidegate.storage.books import Home, Notice
from tidegate.storage.memory import MemoryCounters
from tidegate.storage.sqlite import SqliteStore
from tidegate.storage.standin import StandIn
from tidegate.storage.vault import PLAIN, PlainVault
from tidegate.storage.vault import Config as VaultConfig
from tidegate.storage.vault.envelope import EnvelopeVault
from tidegate.storage.vault.kek import Keks, load_keks
from tidegate.storage.vault.keyring import FILE, SqliteKeyring

POSTGRES = ("postgresql://", "postgres://")


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
    return StandIn(counters, MemoryCounters(clock), clock, config.on_store_down, config.local_share, notice)


async def open_blobs(config: storage.Config, clock: Clock, notice: Notice) -> tuple[Blobs, Relay | None]:
    """Valkey, where one is configured, which other processes read along; else this process alone."""
    if config.valkey is None:
        return MemoryBlobs(clock, config.max_cache), None
    kind = "valkey+cluster" if "+cluster://" in config.valkey.value else "valkey"
    shared = await plugins.find("blobs", kind).open(config.valkey.value, notice, timeout_s=config.valkey_timeout)
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


# --- what is encrypted


def keyring_place(config: VaultConfig, kept: storage.Config, data_dir: Path) -> str | Path:
    """The URL of a PostgreSQL, or a folder."""
    if config.keyring is not None:
        named = config.keyring.value
        return named if named.startswith(POSTGRES) else Path(named).expanduser()
    return kept.database.value if kept.database is not None else data_dir / "keyring"


def open_keyring(config: VaultConfig, kept: storage.Config, data_dir: Path) -> Keyring:
    """Blocks. Raises ConfigError."""
    place = keyring_place(config, kept, data_dir)
    if isinstance(place, Path):
        return SqliteKeyring(place)
    keyring: Keyring = plugins.find("keyrings", "postgres")(place, kept.database_prepares)
    return keyring


async def check_sealed(home: Home, vault: Vault, config: VaultConfig) -> None:
    """Rows of before there was a key are read only where that was said. Raises ConfigError."""
    if vault.seals and not config.plain and any(row[:1] == PLAIN for _, _, row in await home.books.after(0, 1)):
        raise ConfigError(
            "vault.plain: there are rows from before there was a key, and they would not be read; set it to true, or "
            "begin with an empty database"
        )


def open_vault(config: VaultConfig, kept: storage.Config, data_dir: Path) -> tuple[Vault, Keyring | None, Keks | None]:
    """Blocks. Raises ConfigError: where something is encrypted already, nothing starts without its keys."""
    if not config.keys:
        place = keyring_place(config, kept, data_dir)
        there = (place / FILE).exists() if isinstance(place, Path) else plugins.find("keyrings", "is_there")(place)
        if there:
            where = place / FILE if isinstance(place, Path) else "the database"
            raise ConfigError(
                f"vault.keys: names no key, and what is stored is encrypted (the keyring is in {where}): name the "
                "key-encrypting key that was used"
            )
        return PlainVault(), None, None
    keks = load_keks(config.keys)
    keyring = open_keyring(config, kept, data_dir)
    try:
        return EnvelopeVault(keyring, keks, plain=config.plain), keyring, keks
    except BaseException:
        keyring.close()
        raise
