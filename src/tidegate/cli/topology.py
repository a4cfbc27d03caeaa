"""tidegate topology: who serves, and do they agree?"""

from __future__ import annotations

import json

import click

from tidegate.cli.chat import Line
from tidegate.cli.desk import printable
from tidegate.cli.shared import KEY, URL
from tidegate.core.errors import ConfigError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Everything.")
@URL
@KEY
def topology(as_json: bool, url: str, key: str | None) -> None:
    """Who serves: machines, workers, versions, configurations; and what is not alike, and what to do (exit code 1).

    \b
    tidegate topology
    """
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create --role admin")
    text = Line(url, key).get("/admin/topology")[0]
    found = json.loads(text)
    if as_json:
        click.echo(text)
    else:
        for one in found["processes"]:
            counts = one["counts_in"] or "itself"
            click.echo(
                f"{printable(one['host'])} {one['worker']}  pid {one['pid']}  {printable(one['version'])}  "
                f"configuration {one['configuration']}  counts in {printable(counts)}  since {one['since'][:19]}"
            )
        click.echo("\n".join(printable(said) for said in found["disagreements"]) or "they agree")
    if found["disagreements"]:
        raise SystemExit(1)
