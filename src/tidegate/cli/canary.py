"""tidegate canary: another configuration, for a share of the units first."""

from __future__ import annotations

import json
from typing import Any

import click

from tidegate.cli.chat import Line
from tidegate.cli.desk import printable
from tidegate.cli.shared import KEY, URL
from tidegate.core.errors import ConfigError

PATH = "/admin/config/canary"
UNITS = click.Choice(["key", "user", "session", "request"])


@click.group()
def canary() -> None:
    """Try a configuration on a share of the units: tidegate.canary.yaml, beside tidegate.yaml.

    \b
    tidegate canary start --share 5%
    tidegate canary show
    tidegate canary advance 25%
    tidegate canary promote
    tidegate canary rollback
    """


@canary.command()
@click.option("--share", default="5%", show_default=True, help="Of the units.")
@click.option("--unit", type=UNITS, default="key", show_default=True, help="What gets one of the two and keeps it.")
@click.option("--promote-after", help="Promote it by itself when nothing was worse for so long: 30m.")
@click.option("--promote-calls", type=click.IntRange(min=1), default=100, show_default=True, help="And so many calls.")
@URL
@KEY
def start(share: str, unit: str, promote_after: str | None, promote_calls: int, url: str, key: str | None) -> None:
    """Give the gateway's tidegate.canary.yaml to a share of the units.

    \b
    tidegate canary start --share 5%
    tidegate canary start --share 10% --unit user --promote-after 30m --promote-calls 500
    """
    asked = {"share": share, "unit": unit, "promote_calls": promote_calls}
    if promote_after is not None:
        asked["promote_after"] = promote_after
    _say(_line(url, key).post(PATH, asked))


@canary.command()
@click.option("--json", "as_json", is_flag=True, help="Everything.")
@URL
@KEY
def show(as_json: bool, url: str, key: str | None) -> None:
    """The one that runs, or the last, and how both do.

    \b
    tidegate canary show
    """
    text = _line(url, key).get(PATH)[0]
    if as_json:
        click.echo(text)
        return
    found = json.loads(text)
    _say(found)
    click.echo(f"{'':<10} {'calls':>7} {'failed':>7} {'refused':>8} {'units':>6} {'latency':>9} {'cost':>11}")
    for arm in ("control", "candidate"):
        one = found[arm]
        latency = "" if one["latency_s"] is None else f"{one['latency_s']:.3f} s"
        cost = "" if one["cost_usd"] is None else f"${one['cost_usd']:.6f}"
        counts = f"{one['calls']:>7} {one['failed']:>7} {one['refused']:>8} {one['units']:>6}"
        click.echo(f"{arm:<10} {counts} {latency:>9} {cost:>11}")
    if found["state"] == "running" and not found["here"]:
        click.echo("the process that answered this has no such candidate: see canary_missing in its log")


@canary.command()
@click.argument("share")
@URL
@KEY
def advance(share: str, url: str, key: str | None) -> None:
    """Give it to more; who has it keeps it.

    \b
    tidegate canary advance 25%
    """
    _say(_line(url, key).patch(PATH, {"share": share}))


@canary.command()
@URL
@KEY
def promote(url: str, key: str | None) -> None:
    """It becomes the configuration, for everybody.

    \b
    tidegate canary promote
    """
    _say(_line(url, key).post(f"{PATH}/promote"))


@canary.command()
@click.option("--why", default="", help="For the log.")
@URL
@KEY
def rollback(why: str, url: str, key: str | None) -> None:
    """Nobody has it any more.

    \b
    tidegate canary rollback --why "the bill"
    """
    _say(_line(url, key).post(f"{PATH}/rollback", {"why": why}))


def _say(found: Any) -> None:
    why = f": {printable(found['why'])}" if found["why"] else ""
    share = f" {found['share']:.1%} of the units ({found['unit']}) have it" if found["state"] == "running" else ""
    click.echo(f"{found['config']}  {found['state']}{share}{why}")
    if found["state"] == "running":
        itself = found["promote_after_s"]
        auto = f", or is promoted after {itself:g} s and {found['promote_calls']} calls" if itself is not None else ""
        click.echo(f"it is taken back by itself if it is worse, or at {found['until'][:19]}{auto}")


def _line(url: str, key: str | None) -> Line:
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create --role admin")
    return Line(url, key)
