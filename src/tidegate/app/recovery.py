"""How does what is kept come back after a disaster? From a backup, and the keys that were kept elsewhere."""

from __future__ import annotations

import hmac
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.resources import files
from pathlib import Path

import msgspec

from tidegate import __version__, plugins
from tidegate.app.homes import data_folder, keyring_place, open_keyring, open_vault
from tidegate.config import Config
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Acted, Closed, Keyring, Opened
from tidegate.storage.audit.notes import FILE as SIGNER
from tidegate.storage.audit.notes import load_signer
from tidegate.storage.backups import (
    ASIDE,
    FORMAT,
    Backup,
    Draft,
    Manifest,
    Needs,
    Waiting,
    segment_of,
    spools,
    waiting,
)
from tidegate.storage.copies import Counted, Tell, copy, counted, nobody, trouble
from tidegate.storage.pepper import load_peppers
from tidegate.storage.personal import SPOOL
from tidegate.storage.spool import claim
from tidegate.storage.vault.envelope import HOUSE
from tidegate.storage.vault.kek import load_keks
from tidegate.storage.vault.keyring import FILE as KEYRING

FILE = "tidegate.sqlite"
DRAIN_S = 1.0  # several times what a ledger takes
DUMP = "tidegate.dump"
PEPPER = "pepper"
Doing = Callable[[str], Tell]  # something long begins


# --- backing up


def back_up(config: Config, path: Path, doing: Doing, *, force: bool = False) -> Manifest:
    """Write all that is kept to `path`, beside a gateway that may be serving. Raises ConfigError."""
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already: choose another name, or --force")
    folder, kept = Path(config.storage.data_dir).expanduser(), config.storage
    name = FILE if kept.database is None else DUMP
    needs = _needs(config, folder)
    ended = _ended(config, folder)  # before the database
    with Draft(path).written() as draft:
        made = draft.part.with_name(f"{draft.part.name}.{name}")
        try:
            tell = doing(f"copy {name}")
            if kept.database is None:
                found = _copied(folder / FILE, made, tell)
            else:
                os.close(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
                found = plugins.find("stores", "dump")(kept.database.value, made)
            draft.add(name, made, doing(f"write {name}"))
        finally:
            made.unlink(missing_ok=True)
        for spool, (id, records) in ended.items():
            where, left = spool.relative_to(folder).as_posix(), segment_of(records, found.spools.get(id, (0, 0)))
            for piece, data in [("id", f"{id}\n".encode()), *([left] if left else [])]:
                draft.add(f"{where}/{piece}", data, nobody)
        manifest = Manifest(
            FORMAT, __version__, time.time_ns() // 1_000_000, "sqlite" if name == FILE else "postgres",
            *found, needs, draft.pieces,
        )  # fmt: skip
        draft.finish(manifest)
    return manifest


def _ended(config: Config, folder: Path) -> dict[Path, tuple[str, list[Waiting]]]:
    """What waits in each spool, after a gateway that serves had time to store it: so hardly anything is left of it."""
    decoder: msgspec.json.Decoder[Opened | Closed | Acted] = msgspec.json.Decoder(Opened | Closed | Acted)
    vault, keyring, _ = open_vault(config.vault, config.storage, folder)
    try:
        found = {
            spool: (
                (spool / "id").read_text("ascii").strip(),
                waiting(spool, lambda stored: decoder.decode(vault.unseal(stored, SPOOL))),
            )
            for spool in spools(folder)
        }
    finally:
        if keyring is not None:
            keyring.close()
    if any(records for _, records in found.values()):
        time.sleep(DRAIN_S)
    return found


def _copied(source: Path, made: Path, tell: Tell) -> Counted:
    if not source.is_file():
        raise ConfigError(f"there is nothing to back up: {source} is not there; look at storage.data_dir")
    made.unlink(missing_ok=True)
    try:
        copy(source, made, tell)
        return counted(made)
    except sqlite3.Error as wrong:
        raise ConfigError(f"cannot copy {source}: {wrong}; make room, or see whether the file is in order") from None


# --- restoring


def restore(config: Config, path: Path, doing: Doing, *, force: bool = False) -> tuple[Manifest, str | None]:
    """Put a backup where the configuration keeps things, and where that is which was there. Raises ConfigError.

    Nothing is changed before every byte, every count and every key was looked at.
    """
    backup = Backup(path)
    manifest, folder = backup.manifest, data_folder(config.storage.data_dir)
    check_fits(config, manifest)
    aside = f"{ASIDE[0]}{time.strftime('%Y%m%d_%H%M%S', time.gmtime())}"
    staging = folder / f"{ASIDE[1]}{secrets.token_hex(4)}"
    with ExitStack() as undo:
        for spool in {folder / "spool", *spools(folder)}:
            undo.callback(os.close, claim(_made(spool)))
        there = list(_there(folder))
        if there and not force:
            raise ConfigError(f"{there[0]} is there already; --force moves it to {folder / aside} and restores")
        undo.callback(shutil.rmtree, staging, ignore_errors=True)
        backup.unpack(_made(staging), doing("unpack and verify"))
        if manifest.home == "postgres":
            assert config.storage.database is not None
            counts = _counted(manifest)
            doing("pg_restore")
            arguments = (config.storage.database.value, staging / DUMP, counts, f"tidegate_{aside}" if force else None)
            plugins.find("stores", "load")(*arguments)
            (staging / DUMP).unlink()
        else:
            _check_file(staging / FILE, manifest)
        for one in there:
            _move(one, folder / aside / one.relative_to(folder))
        for one in sorted(staging.rglob("*"), key=lambda one: one.name == FILE):  # the database last
            if one.is_file():
                _move(one, folder / one.relative_to(staging))
    return manifest, aside if there else None


def check_fits(config: Config, manifest: Manifest) -> None:
    """Raises ConfigError where a backup is of another kind, newer, or its keys are not here."""
    home = "sqlite" if config.storage.database is None else "postgres"
    if manifest.home != home:
        raise ConfigError(
            f"the backup is of a {_HOMES[manifest.home]}, and this configuration has a {_HOMES[home]}: "
            f"{'set' if home == 'sqlite' else 'leave out'} storage.database"
        )
    known = len(list(files("tidegate.storage").joinpath("migrations", home).iterdir()))
    if manifest.schema > known:
        raise ConfigError(
            f"the backup was made by Tidegate {manifest.tidegate} (schema {manifest.schema}, here {known} is known): "
            "restore it with that version or a later one"
        )
    missing = list(_missing(config, Path(config.storage.data_dir).expanduser(), manifest.needs))
    if missing:
        raise ConfigError("the keys of this backup are not here: " + "; ".join(missing))


_HOMES = {"sqlite": "file of the data folder", "postgres": "PostgreSQL"}


def _check_file(path: Path, manifest: Manifest) -> None:
    wrong = trouble(path)
    if wrong is None and counted(path) != _counted(manifest):
        wrong = "it has not the rows that its manifest names"
    if wrong is not None:
        raise ConfigError(f"the database in this backup is damaged: {wrong}; take another one")


def _counted(manifest: Manifest) -> Counted:
    return Counted(manifest.schema, manifest.counts, manifest.cost_nusd, manifest.spools)


def _there(folder: Path) -> Iterator[Path]:
    for name in (FILE, f"{FILE}-wal", f"{FILE}-shm"):
        if (folder / name).exists():
            yield folder / name
    for spool in spools(folder):
        segments = sorted(spool.glob("*.seg"))
        yield from segments
        if segments:
            yield spool / "id"


def _move(source: Path, target: Path) -> None:
    _made(target.parent)
    source.replace(target)


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


# --- keys


def copy_keys(config: Config, source: Path | None, target: Path | None) -> list[Path]:
    """The key files of the data folder, to or from a place of their own; never over one that is in use.

    Raises ConfigError.
    """
    folder = Path(config.storage.data_dir).expanduser()
    place = keyring_place(config.vault, config.storage, folder)
    homes = {PEPPER: folder / PEPPER, SIGNER: folder / SIGNER}
    homes |= {KEYRING: place / KEYRING} if isinstance(place, Path) else {}
    done = []
    try:
        for name, home in homes.items():
            one, to = (home, _made(target) / name) if target is not None else ((source or folder) / name, home)
            if not one.exists() or (target is None and to.exists()):
                continue
            draft = _made(to.parent) / f"{name}.{secrets.token_hex(4)}"
            try:
                copy(one, draft) if name == KEYRING else _copy_text(one, draft)
                draft.replace(to)
            finally:
                draft.unlink(missing_ok=True)
            done.append(to)
    except (OSError, sqlite3.Error) as wrong:
        raise ConfigError(f"cannot copy the keys: {wrong}") from None
    return done


def _copy_text(source: Path, target: Path) -> None:
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(source.read_bytes())


def _fingerprint(pepper: bytes) -> str:
    return hmac.digest(pepper, b"tidegate pepper", "sha256")[:8].hex()


def _peppers(config: Config, folder: Path) -> dict[str, str]:
    """Those that are here; none is made."""
    if not config.auth.peppers and not (folder / PEPPER).exists():
        return {}
    return {str(at): _fingerprint(one) for at, one in load_peppers(folder, config.auth.peppers).items()}


@contextmanager
def _keyring(config: Config, folder: Path) -> Iterator[Keyring | None]:
    """The one that is here; none is made."""
    place = keyring_place(config.vault, config.storage, folder)
    there = (place / KEYRING).exists() if isinstance(place, Path) else plugins.find("keyrings", "is_there")(place)
    if not there:
        yield None
        return
    keyring = open_keyring(config.vault, config.storage, folder)
    try:
        yield keyring
    finally:
        keyring.close()


def _needs(config: Config, folder: Path) -> Needs:
    signs = config.audit.enabled and (config.audit.key is not None or (folder / SIGNER).exists())
    needs = Needs(_peppers(config, folder), audit=load_signer(config.audit.key, folder).verifier if signs else None)
    if not config.vault.keys:
        return needs
    with _keyring(config, folder) as keyring:
        if keyring is None:
            return needs
        (house,) = keyring.of(HOUSE) or (None,)
        return msgspec.structs.replace(needs, keyring=house and house.id, keks=tuple(keyring.count()))


def _missing(config: Config, folder: Path, needs: Needs) -> Iterator[str]:
    here = _peppers(config, folder)
    for version, fingerprint in needs.peppers.items():
        if here.get(version) != fingerprint:
            where = folder / PEPPER if version == "1" else f"auth.peppers[{int(version) - 2}]"
            state = f"another is there, {here[version]}" if version in here else "none is there"
            yield f"pepper {fingerprint} belongs in {where}, and {state}"
    if needs.audit is not None:
        signer = None
        with suppress(ConfigError):
            if config.audit.key is not None or (folder / SIGNER).exists():
                signer = load_signer(config.audit.key, folder).verifier
        if signer != needs.audit:
            state = f"{signer} is there" if signer else "none is there"
            yield f"the audit log was signed by {needs.audit} ({folder / SIGNER}, or audit.key), and {state}"
    if needs.keyring is not None:
        yield from _missing_of_vault(config, folder, needs)


def _missing_of_vault(config: Config, folder: Path, needs: Needs) -> Iterator[str]:
    place = keyring_place(config.vault, config.storage, folder)
    where = place / KEYRING if isinstance(place, Path) else "its PostgreSQL (schema tidegate_keys)"
    configured = load_keks(config.vault.keys).fingerprints if config.vault.keys else []
    with _keyring(config, folder) as keyring:
        house = keyring.of(HOUSE) if keyring is not None else []
        if not house or house[0].id != needs.keyring:
            state = "another one is there" if house else "it is not"
            under = ", ".join(needs.keks)
            yield f"keyring {needs.keyring} belongs in {where}, and {state}; it was sealed under {under}"
        sealed = keyring.count() if keyring is not None and house else dict.fromkeys(needs.keks, 0)
    for kek in sealed:
        if kek not in configured:
            yield f"key-encrypting key {kek} belongs in vault.keys"
