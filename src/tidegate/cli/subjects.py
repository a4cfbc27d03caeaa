"""tidegate subjects, tidegate bodies: what is kept of end users, of a gateway that is running."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import click

from tidegate.app import data_folder, open_keyring
from tidegate.cli.chat import Line
from tidegate.cli.shared import DATA, FILE, KEY, URL, settings
from tidegate.core.errors import ConfigError

ORGANISATION = click.option("--organisation", help="Only there; in all of them when left out.")


@click.group()
def subjects() -> None:
    """What is kept of an end user.

    \b
    tidegate subjects export ann --out ann.jsonl
    tidegate subjects erase ann
    tidegate subjects erase-again audit.jsonl
    """


@subjects.command()
@click.argument("id")
@ORGANISATION
@click.option("--out", type=click.Path(path_type=Path), help="Where to; standard output when left out.")
@URL
@KEY
def export(id: str, organisation: str | None, out: Path | None, url: str, key: str | None) -> None:
    """Everything that is kept of an end user: a line of JSON for each row, body and entry of the audit log.

    \b
    tidegate subjects export ann --out ann.jsonl
    """
    found = _line(url, key).get(f"/admin/subjects?{_asked(id, organisation)}")[0]
    if out is None:
        click.echo(found, nl=False)
        return
    out.write_text(found, encoding="utf-8")
    click.echo(f"wrote {found.count(chr(10))} lines to {out}", err=True)


@subjects.command()
@click.argument("id")
@ORGANISATION
@click.option("--yes", is_flag=True, help="Do not ask.")
@URL
@KEY
def erase(id: str, organisation: str | None, yes: bool, url: str, key: str | None) -> None:
    """Destroy the key of an end user: what is stored of them is unreadable from then on, for ever.

    \b
    tidegate subjects erase ann
    """
    if not yes and sys.stdin.isatty():
        click.confirm(f"What is stored of {id} cannot be read by anybody after this. Go on?", abort=True)
    done = _line(url, key).delete(f"/admin/subjects?{_asked(id, organisation)}")
    click.echo(f"erased: {len(done['aliases'])} keys destroyed, {done['bodies']} bodies deleted")
    click.echo(f"the audit log has it under {', '.join(done['aliases'])}")


@subjects.command("erase-again")
@click.argument("log", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@FILE
@DATA
def erase_again(log: Path, file: Path | None, data_dir: str | None) -> None:
    """Destroy the keys of everybody whose erasure an exported audit log has: after an older keyring was restored.

    \b
    tidegate subjects erase-again audit.jsonl
    """
    found = settings(file, data_dir=data_dir)
    if not found.vault.keys:
        raise ConfigError("nothing is encrypted, so that there is no key to destroy: set vault.keys")
    with log.open("rb") as lines:
        aliases = list(erased(lines))
    keyring = open_keyring(found.vault, found.storage, data_folder(found.storage.data_dir))
    try:
        again = sum(keyring.destroy(alias, time.time_ns() // 1_000_000) for alias in aliases)
    finally:
        keyring.close()
    click.echo(f"{len(aliases)} were erased before, and {again} of them were there again: their keys are destroyed")


def erased(lines: Iterable[bytes]) -> Iterator[str]:
    """The aliases in the receipts of an exported audit log."""
    for line in lines:
        entry = json.loads(line).get("entry")
        if entry is not None and '"did":"subject_erased"' in entry:
            yield from json.loads(entry)["of"].split(",")


@click.group()
def bodies() -> None:
    """What was said, where a route keeps it.

    \b
    tidegate bodies show req_019b…
    """


@bodies.command()
@click.argument("id")
@URL
@KEY
def show(id: str, url: str, key: str | None) -> None:
    """What was asked and answered in one call, as it went out and came back.

    \b
    tidegate bodies show req_019b…
    """
    found = json.loads(_line(url, key).get(f"/admin/bodies/{quote(id, safe='')}")[0])
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))


def _asked(id: str, organisation: str | None) -> str:
    return urlencode({"id": id} | ({"organisation": organisation} if organisation else {}))


def _line(url: str, key: str | None) -> Line:
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create --role admin")
    return Line(url, key)
