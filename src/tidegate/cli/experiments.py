"""tidegate experiments: what is tried on a share of the users, of a gateway that is running."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click
import yaml

from tidegate.cli.chat import Line
from tidegate.cli.desk import printable
from tidegate.cli.shared import KEY, URL
from tidegate.core.errors import ConfigError

PATH = "/v1/experiments"


@click.group()
def experiments() -> None:
    """What is tried on a share of the users, before all get it.

    \b
    tidegate experiments new shorter.yaml
    tidegate experiments list
    tidegate experiments assign shorter --user ann
    """


@experiments.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@URL
@KEY
def new(file: Path, url: str, key: str | None) -> None:
    """Make a draft of what FILE describes, in YAML or JSON; it is tried when it is started.

    \b
    tidegate experiments new shorter.yaml
    """
    try:
        described = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as wrong:
        raise ConfigError(f"{file} cannot be read: {wrong}") from None
    if not isinstance(described, dict):
        raise ConfigError(f"{file} must be keys and values, such as name: shorter; see docs/guides/experiments.md")
    made = _line(url, key).post(PATH, described)
    for one in made["warnings"]:
        click.echo(f"know that {printable(one)}")
    click.echo(f"{made['name']} is a draft; try it with: tidegate experiments start {made['name']}")


@experiments.command("list")
@click.option("--all", "archived", is_flag=True, help="Archived ones too.")
@click.option("--json", "as_json", is_flag=True, help="Everything.")
@URL
@KEY
def list_(archived: bool, as_json: bool, url: str, key: str | None) -> None:
    """All that there are.

    \b
    tidegate experiments list
    tidegate experiments list --all
    """
    text = _line(url, key).get(f"{PATH}?archived={str(archived).lower()}")[0]
    if as_json:
        click.echo(text)
        return
    found = json.loads(text)
    for one in found:
        click.echo(_told(one))
    if not found:
        click.echo("nothing is tried; see docs/guides/experiments.md")


@experiments.command()
@click.argument("name")
@click.option("--user", help="Or the session, of an experiment that goes by those.")
@click.option("--team", help="Of an experiment that goes by teams.")
@click.option("--organisation", default="default", show_default=True, help="Whose it is.")
@URL
@KEY
def assign(name: str, user: str | None, team: str | None, organisation: str, url: str, key: str | None) -> None:
    """Which arm a unit gets, and why.

    \b
    tidegate experiments assign shorter --user ann
    """
    unit = user or team
    if unit is None or (user and team):
        raise ConfigError("say whom: --user ann, or --team search")
    path = f"{PATH}/{quote(name, safe='')}/units/{quote(unit, safe='')}?{urlencode({'organisation': organisation})}"
    found = json.loads(_line(url, key).get(path)[0])
    click.echo(f"{printable(unit)}: {found['arm'] or 'takes no part'}; {printable(found['why'])}")


@experiments.command()
@click.argument("name")
@URL
@KEY
def archive(name: str, url: str, key: str | None) -> None:
    """Put a draft or one that has ended away. What it promoted holds no more: write it down in the configuration first.

    \b
    tidegate experiments archive shorter
    """
    gone = _line(url, key).delete(f"{PATH}/{quote(name, safe='')}")
    click.echo(f"{gone['name']} is archived; its decisions stay to be read")


def _told(one: dict[str, Any]) -> str:
    since = time.strftime("%Y-%m-%d %H:%M", time.gmtime(one["since_ms"] / 1000))
    state = f"running at {one['share']:.0%}" if one["state"] == "running" else one["state"]
    state = "archived" if one["archived_ms"] else state
    arms = ", ".join(arm["name"] for arm in one["spec"]["arms"])
    return f"{one['name'][:30]:30}  {state:16}  since {since}  {printable(arms)}"


def _line(url: str, key: str | None) -> Line:
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create --role admin")
    return Line(url, key)
