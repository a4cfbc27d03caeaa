"""tidegate cache: answers that are kept, of a gateway that is running."""

from __future__ import annotations

from urllib.parse import urlencode

import click

from tidegate.cli.chat import Line
from tidegate.core.errors import ConfigError


@click.group()
def cache() -> None:
    """Answers that are kept, so that the same is not bought again.

    \b
    tidegate cache purge --route fast
    """


@cache.command()
@click.option("--route", help="Those of this route.")
@click.option("--tag", help="Those of calls with this tag (x-tidegate-tags).")
@click.option("--prompt", help="Those of this prompt.")
@click.option("--team", help="Those of this team, by id.")
@click.option("--all", is_flag=True, help="All of them.")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Where Tidegate answers.")
@click.option("--key", envvar=["TIDEGATE_KEY", "TIDEGATE_ADMIN_KEY"], help="An admin key; or set TIDEGATE_KEY.")
def purge(url: str, key: str | None, all: bool, **named: str | None) -> None:
    """Drop answers; they are bought anew when they are asked for.

    \b
    tidegate cache purge --route fast
    tidegate cache purge --team search
    tidegate cache purge --all
    """
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create --role admin")
    said = {name: value for name, value in named.items() if value} | ({"all": "true"} if all else {})
    if len(said) != 1:
        raise ConfigError("say what to drop, one of: --route, --tag, --prompt, --team, --all")
    purged = Line(url, key).delete(f"/admin/cache?{urlencode(said)}")["purged"]
    click.echo(f"dropped {purged} answers")
