"""tidegate alerts, tidegate logs: who is told what, and how much the log says, of a gateway that is running."""

from __future__ import annotations

import json
from urllib.parse import quote

import click

from tidegate.cli.chat import Line
from tidegate.cli.desk import printable
from tidegate.cli.shared import KEY, URL
from tidegate.core.errors import ConfigError

LEVELS = click.Choice(["debug", "info", "warning", "error"])


@click.group()
def alerts() -> None:
    """Who is told when something happens.

    \b
    tidegate alerts list
    tidegate alerts test
    tidegate alerts silence budget_warning --for 2h
    """


@alerts.command("list")
@click.option("--json", "as_json", is_flag=True, help="Everything.")
@URL
@KEY
def list_(as_json: bool, url: str, key: str | None) -> None:
    """Receivers, silences, and what happened lately.

    \b
    tidegate alerts list
    """
    text = _line(url, key).get("/admin/alerts")[0]
    if as_json:
        click.echo(text)
        return
    found = json.loads(text)
    for one in found["receivers"]:
        trouble = f"  last: {printable(one['why'])}" if one["why"] else ""
        click.echo(f"{printable(one['name'])}: {one['sent']} sent, {one['dropped']} dropped{trouble}")
        click.echo(f"  of: {', '.join(one['events'])}")
    if not found["receivers"]:
        click.echo("nobody is told: set alerts.webhooks or alerts.emails")
    for one in found["silences"]:
        click.echo(f"silenced: {one['name']} until {one['until'][:19]}, by {one['by']}")
    for one in found["lately"]:
        click.echo(f"{one['at'][:19]}  {one['outcome']:<8}  {printable(one['text'])}")


@alerts.command()
@URL
@KEY
def test(url: str, key: str | None) -> None:
    """Tell everybody that this is a test, and see who takes it.

    \b
    tidegate alerts test
    """
    taken = _line(url, key).post("/admin/alerts/test")["taken"]
    for name, why in taken.items():
        click.echo(f"{printable(name)}: {'taken' if why is None else f'not taken: {printable(why)}'}")
    if any(why is not None for why in taken.values()):
        raise ConfigError("not everybody was told")


@alerts.command()
@click.argument("name")
@click.option("--for", "seconds", default="1h", show_default=True, help="So long: 2h.")
@click.option("--end", is_flag=True, help="Tell of it again.")
@URL
@KEY
def silence(name: str, seconds: str, end: bool, url: str, key: str | None) -> None:
    """Tell nobody of an alert, or of `all`, for a while.

    \b
    tidegate alerts silence budget_warning --for 2h
    tidegate alerts silence budget_warning --end
    """
    path = f"/admin/alerts/{quote(name, safe='')}/silence"
    if end:
        _line(url, key).delete(path)
        click.echo(f"{name} is told of again")
        return
    found = _line(url, key).put(path, {"for": seconds})
    click.echo(f"nobody is told of {found['name']} until {found['until'][:19]} UTC")


@click.group()
def logs() -> None:
    """How much the log says.

    \b
    tidegate logs level debug --for 10m
    """


@logs.command()
@click.argument("level", type=LEVELS, required=False)
@click.option("--for", "seconds", default="1h", show_default=True, help="So long: 10m.")
@click.option("--reset", is_flag=True, help="As it is configured.")
@URL
@KEY
def level(level: str | None, seconds: str, reset: bool, url: str, key: str | None) -> None:
    """What the log says now; or from now on, for a while, in all processes.

    \b
    tidegate logs level
    tidegate logs level debug --for 10m
    tidegate logs level --reset
    """
    line, path = _line(url, key), "/admin/logs/level"
    if reset:
        found = line.delete(path)
    elif level is not None:
        found = line.put(path, {"level": level, "for": seconds})
    else:
        found = json.loads(line.get(path)[0])
    until = f" until {found['until'][:19]} UTC" if found["until"] else ", as it is configured"
    click.echo(f"{found['level']}{until}")


def _line(url: str, key: str | None) -> Line:
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create --role admin")
    return Line(url, key)
