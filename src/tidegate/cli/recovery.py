"""tidegate backup, tidegate restore: what is kept, in one file, and back again."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from tidegate.app.recovery import back_up, copy_keys
from tidegate.app.recovery import restore as put_back
from tidegate.cli.shared import DATA, FILE, settings
from tidegate.core.money import usd_text
from tidegate.storage.backups import Backup, Manifest
from tidegate.storage.copies import Tell, nobody

WIDTH = 30
OFTEN_S = 0.1
FORCE = click.option("--force", is_flag=True, help="Even where something is there already.")
BACKUP = click.argument("backup", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))


@click.command()
@BACKUP
@click.option("--keys", "keys", type=click.Path(path_type=Path, file_okay=False), help="Copy the key files there.")
@FORCE
@FILE
@DATA
def backup(backup: Path, keys: Path | None, force: bool, file: Path | None, data_dir: str | None) -> None:
    """Write all that is kept to FILE, beside a gateway that may be serving. No key is in it.

    \b
    tidegate backup tidegate-monday.backup
    tidegate backup tidegate-monday.backup --keys /another/place
    """
    found = settings(file, data_dir=data_dir)
    made = back_up(found, backup, _bar, force=force)
    click.echo(f"wrote {backup} ({backup.stat().st_size:,} bytes): {_told(made)}")
    click.echo("these keys are not in it, and it is worth nothing without them:")
    for line in _needed(made):
        click.echo(f"  {line}")
    for path in copy_keys(found, None, keys) if keys is not None else ():
        click.echo(f"copied {path}")
    if keys is None:
        click.echo(
            "keep copies of them where backups are not: tidegate backup FILE --keys FOLDER copies those in files"
        )


@click.command()
@BACKUP
@click.option("--keys", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Where the key files are.")
@click.option("--check", is_flag=True, help="Verify every byte of FILE, and change nothing.")
@FORCE
@FILE
@DATA
def restore(backup: Path, keys: Path | None, check: bool, force: bool, file: Path | None, data_dir: str | None) -> None:
    """Put what is in FILE where the configuration keeps things. No gateway may be running there.

    \b
    tidegate restore tidegate-monday.backup --check
    tidegate restore tidegate-monday.backup --keys /another/place
    """
    if check:
        found = Backup(backup)
        found.unpack(None, _bar("verify"))
        click.echo(f"{backup} is whole: {_told(found.manifest)}; it needs")
        for line in _needed(found.manifest):
            click.echo(f"  {line}")
        return
    config = settings(file, data_dir=data_dir)
    for path in copy_keys(config, keys, None) if keys is not None else ():
        click.echo(f"copied {path}")
    made, aside = put_back(config, backup, _bar, force=force)
    click.echo(f"restored {_told(made)}")
    if aside is not None:
        click.echo(f"what was there before is in {aside}")
    if made.needs.keyring is not None:
        click.echo(
            "if the keyring is an older copy too, erase again who was erased since: tidegate subjects erase-again"
        )


def _told(made: Manifest) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(made.made_ms / 1000))
    counts = ", ".join(f"{made.counts.get(name, 0):,} {name}" for name in ("calls", "keys"))
    return f"{counts}, ${usd_text(made.cost_nusd)}, as of {when} UTC, schema {made.schema} of Tidegate {made.tidegate}"


def _needed(made: Manifest) -> list[str]:
    needs = made.needs
    found = [f"pepper {one} (version {version})" for version, one in needs.peppers.items()]
    found += [f"audit key {needs.audit}"] if needs.audit else []
    found += [f"keyring {needs.keyring}"] if needs.keyring else []
    return found + [f"key-encrypting key {one}" for one in needs.keks]


def _bar(what: str) -> Tell:
    """How far it is, for a person who waits; a script reads nothing of it."""
    if not sys.stderr.isatty():
        return nobody
    last = [0.0]

    def tell(done: int, of: int) -> None:
        now = time.monotonic()
        if done < of and now - last[0] < OFTEN_S:
            return
        last[0] = now
        full = WIDTH * done // of if of else WIDTH
        click.echo(f"\r{what:<24} [{'#' * full}{'-' * (WIDTH - full)}]", err=True, nl=done >= of)

    return tell
