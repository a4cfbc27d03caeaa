"""What would the guards make of a text, before anybody says it?"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from tidegate import plugins
from tidegate.cli.shared import FILE, settings
from tidegate.core.errors import ConfigError
from tidegate.core.guard import Direction
from tidegate.core.ports import Reach
from tidegate.stages.guardrails import ready
from tidegate.stages.guardrails.trial import Tried, guards_of, tried

SHOWN = 60  # characters of what was found


@click.group()
def guard() -> None:
    """Try the guards that are configured."""


@guard.command("try")
@click.argument("text", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--route", help="Whose guards; those of all routes.")
@click.option("--output", is_flag=True, help="As an answer, and not as a question.")
@click.option("--role", default="user", show_default=True, help="Who says it: user, system, tool …")
@FILE
def attempt(text: Path, route: str | None, output: bool, role: str, file: Path | None) -> None:
    """Show what each guard finds in FILE, where, and what it would leave; - reads standard input.

    \b
    tidegate guard try question.txt
    tidegate guard try answer.txt --output --route fast
    """
    found = settings(file)
    if route is not None and route not in found.routes:
        raise ConfigError(f"no route {route!r}; there are: {', '.join(found.routes) or 'none'}")
    own = {name: one.guardrails for name, one in found.routes.items()}
    guards = ready(guards_of(found.guardrails, own, route), (), Reach(plugins.find))
    try:
        said = sys.stdin.read() if str(text) == "-" else text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(f"{text}: cannot be read: {wrong}") from None
    direction: Direction = "output" if output else "input"
    results = asyncio.run(tried(guards, said, direction, role)) if guards is not None else []
    if not results:
        click.echo(f"no guard looks at {direction}s here; configure some under guardrails.{direction}")
    for one in results:
        _show(one, said)
        said = said if one.text is None else one.text


def _show(one: Tried, text: str) -> None:
    click.echo(f"{one.guard}: {one.verdict}" + (f" ({one.error})" if one.error else ""))
    for span in one.found:
        score = f"  score {span.score:g}" if span.score != 1 else ""
        click.echo(f"  {span.start}-{span.end}  {span.rule}  {text[span.start : span.end][:SHOWN]!r}{score}")
    if one.verdict == "mask":
        click.echo(f"  leaves: {one.text!r}")
