"""tidegate vault: the keys of what is encrypted, beside a gateway that may be serving."""

from __future__ import annotations

from pathlib import Path

import click

from tidegate.app import data_folder, open_keyring
from tidegate.cli.shared import DATA, FILE, settings
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Keyring
from tidegate.storage.vault.kek import Keks, load_keks
from tidegate.storage.vault.rotation import rotate as rotation


@click.group()
def vault() -> None:
    """The keys of what is encrypted.

    \b
    tidegate vault status
    tidegate vault rotate
    """


@vault.command()
@FILE
@DATA
def status(file: Path | None, data_dir: str | None) -> None:
    """Which key-encrypting keys there are, and how many keys are sealed under each.

    \b
    tidegate vault status
    """
    keyring, keks = _keys(file, data_dir)
    try:
        count = keyring.count()
    finally:
        keyring.close()
    for fingerprint in [*keks.fingerprints, *(one for one in count if one not in keks.fingerprints)]:
        state = "for new keys" if fingerprint == keks.last.fingerprint else "reads"
        state = state if fingerprint in keks.fingerprints else "NOT CONFIGURED: put it back into vault.keys"
        click.echo(f"{fingerprint}  {count.get(fingerprint, 0):>9,} keys  {state}")


@vault.command()
@FILE
@DATA
def rotate(file: Path | None, data_dir: str | None) -> None:
    """Seal every key under the last of vault.keys. A gateway that serves goes on, if it knows that one too.

    \b
    tidegate vault rotate
    """
    keyring, keks = _keys(file, data_dir)
    done = 0
    try:
        for done, left in rotation(keyring, keks):
            click.echo(f"sealed {done:,} keys, {left:,} are left")
    except ValueError as wrong:
        raise ConfigError(str(wrong)) from None
    finally:
        keyring.close()
    older = [one for one in keks.fingerprints if one != keks.last.fingerprint]
    click.echo(f"{done:,} keys were sealed under {keks.last.fingerprint}")
    if older:
        click.echo(f"no key needs {', '.join(older)} now: take it out of vault.keys, then destroy it")


def _keys(file: Path | None, data_dir: str | None) -> tuple[Keyring, Keks]:
    found = settings(file, data_dir=data_dir)
    if not found.vault.keys:
        raise ConfigError("nothing is encrypted: vault.keys names no key")
    keks = load_keks(found.vault.keys)
    return open_keyring(found.vault, found.storage, data_folder(found.storage.data_dir)), keks
