"""tidegate import: from another gateway's configuration to ours, and what became of each thing in it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from tidegate import config
from tidegate.cli.desk import at_desk, printable
from tidegate.cli.imports import bifrost as from_bifrost
from tidegate.cli.imports import litellm as from_litellm
from tidegate.cli.imports import portkey as from_portkey
from tidegate.cli.imports.keys import Theirs, make, read_keys
from tidegate.cli.imports.translation import Line
from tidegate.cli.shared import DATA, FILE
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Store
from tidegate.stages.auth.desk import Desk

ENV = re.compile(r"env:(\w+)")
THEIRS = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
OUT = click.option("--out", type=click.Path(path_type=Path), default=Path(config.DEFAULT_FILE), show_default=True)


@click.group("import")
def imports() -> None:
    """From the configuration of another gateway, or its keys.

    \b
    tidegate import litellm config.yaml --out tidegate.yaml
    tidegate import litellm-keys keys.json --out new-keys.csv
    tidegate import portkey config.json --route chat
    tidegate import bifrost config.json
    """


@imports.command()
@THEIRS
@OUT
def litellm(file: Path, out: Path) -> None:
    """Write a configuration from LiteLLM's config.yaml, and say what became of each key of it.

    \b
    tidegate import litellm config.yaml --out tidegate.yaml
    """
    _write("litellm", file, out, *from_litellm.translated(_mapping(file, "model_list: […]")))


@imports.command()
@THEIRS
@OUT
@click.option("--route", "name", help="What clients are going to ask for; the name of the file.")
def portkey(file: Path, out: Path, name: str | None) -> None:
    """Write a configuration from a Portkey config, which becomes one route, and say what became of each key of it.

    \b
    tidegate import portkey config.json --route chat --out tidegate.yaml
    """
    _write("portkey", file, out, *from_portkey.translated(_mapping(file, '"targets": […]'), name or file.stem))


@imports.command()
@THEIRS
@OUT
def bifrost(file: Path, out: Path) -> None:
    """Write a configuration from Bifrost's config.json, and say what became of each key of it.

    \b
    tidegate import bifrost config.json --out tidegate.yaml
    """
    _write("bifrost", file, out, *from_bifrost.translated(_mapping(file, '"providers": {…}')))


@imports.command("litellm-keys")
@click.argument("theirs", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@FILE
@DATA
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Where the new keys go; nobody else reads it."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be made.")
def litellm_keys(theirs: Path, file: Path | None, data_dir: str | None, out: Path, dry_run: bool) -> None:
    """Make a new key for each of LiteLLM's, with its team, routes, limits, budget and end; `out` says which is which.

    FILE is what GET /key/list?return_full_object=true answers, or rows of LiteLLM_VerificationToken as a JSON list.

    \b
    tidegate import litellm-keys keys.json --out new-keys.csv --dry-run
    tidegate import litellm-keys keys.json --out new-keys.csv
    """
    found = read_keys(_read(theirs))
    for one in found:
        _tell(one)
    good = [one for one in found if one.refused is None]
    if dry_run:
        click.echo(f"would make {len(good)} of {len(found)} keys")
        return
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as wrong:
        raise ConfigError(f"{out} cannot be made: {wrong.strerror}; name another with --out") from None
    refused: list[tuple[str, str]] = []
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as rows:

        async def work(store: Store, desk: Desk) -> None:
            refused.extend(await make(store, desk, good, rows))

        at_desk(file, data_dir, work)
    for name, why in refused:
        click.echo(f"left out   {printable(name)}: {why}")
    click.echo(f"made {len(good) - len(refused)} of {len(found)} keys; they are in {out}, and shown nowhere else")


def _tell(one: Theirs) -> None:
    if one.refused is not None:
        click.echo(f"left out   {printable(one.name)}: {one.refused}")
    for line in one.report if one.refused is None else ():
        click.echo(f"{line.what:<10} {printable(one.name)}: {line.path}{': ' if line.said else ''}{line.said}")


def _write(whose: str, file: Path, out: Path, found: Mapping[str, Any], report: Iterable[Line]) -> None:
    if out.exists():
        raise ConfigError(f"{out} is there already: take it away, or name another with --out")
    text = yaml.safe_dump(found, sort_keys=False)
    # Whatever the variables are going to be: what is written can be read.
    config.parse(text, dict(os.environ) | dict.fromkeys(ENV.findall(text), "set-before-it-is-served"), str(out))
    out.write_text(f"# From {file.name}, by tidegate import {whose}\n{text}", encoding="utf-8")
    count = 0
    for line in report:
        count += line.what == "left out"
        click.echo(f"{line.what:<10} {line.path}{': ' if line.said else ''}{line.said}")
    click.echo(f"wrote {out}; {count} keys are left out. See what it comes to with: tidegate check --config {out}")


def _mapping(file: Path, such_as: str) -> dict[str, Any]:
    found = _read(file)
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: keys and values are expected, such as {such_as}")
    return found


def _read(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
        return json.loads(text) if text.lstrip()[:1] in ("{", "[") else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as wrong:
        raise ConfigError(f"{file} cannot be read: {str(wrong).splitlines()[0]}") from None
