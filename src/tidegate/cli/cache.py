"""tidegate cache: answers that are kept, of a gateway that is running."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote, urlencode

import click

from tidegate.cli.chat import Line
from tidegate.cli.shared import KEY, URL
from tidegate.core.errors import ConfigError


@click.group()
def cache() -> None:
    """Answers that are kept, so that the same is not bought again.

    \b
    tidegate cache report
    tidegate cache purge --route fast
    """


@cache.command()
@click.option("--days", type=click.IntRange(1, 366), default=7, show_default=True, help="So many days back.")
@URL
@KEY
def report(url: str, key: str | None, days: int) -> None:
    """What the caches did, by day and route; of the semantic ones, how sure they are.

    \b
    tidegate cache report --days 30
    """
    found = json.loads(_line(url, key).get(f"/admin/cache?days={days}")[0])
    for one in found["days"]:
        day = time.strftime("%Y-%m-%d", time.gmtime(one["day_ms"] / 1000))
        click.echo(
            f"{day}  {one['route'][:24]:24}  {one['result']:8}  {one['calls']:>9,} calls  ${one['cost_usd']:.4f}"
        )
    for one in found["semantic"]:
        click.echo(f"semantic  {_told(one)}")
    if not found["days"] and not found["semantic"]:
        click.echo("no route has a cache, or none was asked; see docs/guides/caching.md")


@cache.command()
@click.argument("hit")
@URL
@KEY
def wrong(url: str, key: str | None, hit: str) -> None:
    """Say that an answer of the semantic cache was wrong; HIT is the id of the call that got it.

    \b
    tidegate cache wrong req_019b…
    """
    _line(url, key).post(f"/admin/cache/{quote(hit, safe='')}/wrong")
    click.echo("it is not given again")


@cache.command()
@click.option("--route", help="Those of this route.")
@click.option("--tag", help="Those of calls with this tag (x-tidegate-tags).")
@click.option("--prompt", help="Those of this prompt.")
@click.option("--team", help="Those of this team, by id.")
@click.option("--all", is_flag=True, help="All of them.")
@URL
@KEY
def purge(url: str, key: str | None, all: bool, **named: str | None) -> None:
    """Drop answers; they are bought anew when they are asked for.

    \b
    tidegate cache purge --route fast
    tidegate cache purge --team search
    tidegate cache purge --all
    """
    said = {name: value for name, value in named.items() if value} | ({"all": "true"} if all else {})
    if len(said) != 1:
        raise ConfigError("say what to drop, one of: --route, --tag, --prompt, --team, --all")
    dropped = _line(url, key).delete(f"/admin/cache?{urlencode(said)}")
    asked = f", and {dropped['questions']} questions that were compared by meaning" if dropped["questions"] else ""
    click.echo(f"dropped {dropped['purged']} answers{asked}")


def _told(one: dict[str, Any]) -> str:
    wrong = f"{one['error']:.1%}, at most {one['error_upper']:.1%}" if one["error"] is not None else "not known yet"
    return (
        f"{one['route']}: {one['hits']:,} hits of {one['lookups']:,} looks, ${one['saved_usd']:.4f} saved; "
        f"wrong: {wrong}; promised: {one['max_error']:.1%}" + (f"; {one['why']}" if one["why"] else "")
    )


def _line(url: str, key: str | None) -> Line:
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create --role admin")
    return Line(url, key)
