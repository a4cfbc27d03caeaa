"""Which of a route's models would be asked, and why?"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tidegate.app.rooms import make_providers
from tidegate.cli.shared import FILE, settings
from tidegate.core.errors import ConfigError
from tidegate.stages.routes import Routes
from tidegate.upstream.tiers import Explained, explained
from tidegate.upstream.tiers.choice import Promise

PARTS = 4  # of what makes a question hard


@click.group()
def route() -> None:
    """Look into routes with tiers."""


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
    _show(explained(config, said.strip(), tiers), config.promise)


def _show(one: Explained, promise: Promise) -> None:
    parts = ", ".join(f"{name} {part:+.2f}" for name, part in one.parts[:PARTS])
    click.echo(f"hard: {one.hard:+.2f}, more than {one.harder_than:.0%} of questions anywhere ({parts})")
    for name, chance, cost in one.tiers:
        worth = f"{chance:.3f} - {one.price:.3f} x {cost:.3f} = {chance - one.price * cost:+.3f}"
        click.echo(f"{'→' if name == one.tier else ' '} {name}: {worth}")
    click.echo(f"answers well, less price x cost; with this price {promise.kind} {promise.share:g} is kept on average")
