"""Which of a route's models would be asked, and why? And what came of asking them?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from tidegate.app.rooms import make_providers
from tidegate.cli.chat import Line
from tidegate.cli.desk import printable
from tidegate.cli.shared import FILE, KEY, URL, settings
from tidegate.core.errors import ConfigError
from tidegate.stages.routes import Routes
from tidegate.upstream.tiers import Config, Explained, begins_cheap, explained

PARTS = 4  # of what makes a question hard


@click.group()
def route() -> None:
    """Look into routes with tiers.

    \b
    tidegate route explain question.txt --route auto
    tidegate route report auto
    """


@route.command("explain")
@click.argument("text", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--route", "name", help="Which one; the first that has tiers.")
@FILE
def explain(text: Path, name: str | None, file: Path | None) -> None:
    """Show how hard the question in FILE looks, and which tier would answer it; - reads standard input.

    It is about one question, as if it were the first: a session and what a call needs may lead elsewhere, which the
    call's row tells (tidegate requests show ID).

    \b
    tidegate route explain question.txt
    tidegate route explain question.txt --route auto
    """
    found = settings(file)
    tiered = [one for one, config in found.routes.items() if config.tiers]
    name = name or next(iter(tiered), None)
    if name is None:
        raise ConfigError("no route has tiers; see docs/guides/routing.md for how to give it some")
    if name not in tiered:
        raise ConfigError(f"no route {name!r} with tiers; there are: {', '.join(tiered) or 'none'}")
    try:
        said = sys.stdin.read() if str(text) == "-" else text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(f"{text}: cannot be read: {wrong}") from None
    tiers = Routes(found.routes, make_providers(found, {})).find(name).tiers
    config = found.routes[name].router
    _show(explained(config, said.strip(), tiers), config)


def _show(one: Explained, config: Config) -> None:
    promise, checks = config.promise, config.cascade.checks
    parts = ", ".join(f"{name} {part:+.2f}" for name, part in one.parts[:PARTS])
    click.echo(f"hard: {one.hard:+.2f}, more than {one.harder_than:.0%} of questions anywhere ({parts})")
    for name, chance, cost in one.tiers:
        worth = f"{chance:.3f} - {one.price:.3f} x {cost:.3f} = {chance - one.price * cost:+.3f}"
        click.echo(f"{'→' if name == one.tier else ' '} {name}: {worth}")
    if begins_cheap(config):
        click.echo("nothing is promised, so the cheapest tier begins")
    else:
        kept = f"with this price {promise.kind} {promise.share:g} is kept on average"
        click.echo(f"answers well, less price x cost; {kept}")
    dearer = [name for name, *_ in one.tiers][[name for name, *_ in one.tiers].index(one.tier) + 1 :]
    if checks and dearer:
        click.echo(f"its answer is looked at ({', '.join(checks)}); where it will not do, {dearer[0]} is asked")


# --- what came of it


SAID = {"said": "as users and agents say", "judge": "as judges say", "shadow": "beside another tier"}


@route.command("report")
@click.argument("name", metavar="ROUTE")
@click.option("--json", "as_json", is_flag=True, help="Everything.")
@URL
@KEY
def report(name: str, as_json: bool, url: str, key: str | None) -> None:
    """How good the answers of a route with tiers are, what choosing has saved and lost, and whether questions changed.

    \b
    tidegate route report auto
    """
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create --role admin")
    text = Line(url, key).get(f"/admin/routes/{quote(name, safe='')}/tiers")[0]
    if as_json:
        click.echo(text)
        return
    found = json.loads(text)["data"]
    for one in found:
        click.echo("\n".join(_lines(one)))
    if not found:
        click.echo(f"nothing is known of {name} yet: it learns where `learn` is on and somebody says how answers were")


def _lines(one: dict[str, Any]) -> Iterator[str]:
    by = "what was learned" if one["learned"] else "the prior"
    yield f"{one['route']}, {printable(one['organisation'])}: {one['labels']} labels; chosen by {by}"
    found = one["found"]
    for source, quality in found["quality"].items():
        yield f"  quality {_estimate(quality)}, {SAID.get(source, source)}"
    if found["regret"] is not None:
        yield f"  regret  {_estimate(found['regret'])}: so much better was the other tier, where both were asked"
        yield f"  overpaid {_estimate(found['overpaid'])}: the cheaper one would have been as good"
    if one["saving"] is not None:
        yield f"  saved   {one['saving']:.1%} of what the dearest tier would have cost, since this process began"
    if one["strange"] is not None:
        yield f"  strange {one['strange']:.1%} of the last questions are unlike all that was learned from; 5% is usual"


def _estimate(one: dict[str, Any]) -> str:
    return f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f}, of {one['of']})"
