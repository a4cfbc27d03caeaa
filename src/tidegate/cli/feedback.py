"""tidegate feedback: what was the answer worth?"""

from __future__ import annotations

import click

from tidegate.cli.chat import Line
from tidegate.cli.shared import KEY, URL
from tidegate.core.errors import ConfigError


@click.command()
@click.argument("request")
@click.option("--up", "thumbs", flag_value="up", help="It was good.")
@click.option("--down", "thumbs", flag_value="down", help="It was bad.")
@click.option("--score", type=click.FloatRange(0, 1), help="0 is as bad, 1 as good as can be.")
@click.option("--label", help="A word of yours: wrong_language.")
@click.option("--comment", help="In a sentence.")
@click.option("--correction", help="What should have been said.")
@click.option("--completed/--not-completed", "task_completed", default=None, help="Whether the task was done.")
@click.option("--source", type=click.Choice(["user", "agent", "judge"]), default="user", show_default=True)
@URL
@KEY
def feedback(request: str, url: str, key: str | None, **said: object) -> None:
    """Say what an answer was worth; REQUEST is the x-tidegate-request-id that came with it.

    \b
    tidegate feedback req_019b… --up
    tidegate feedback req_019b… --down --label wrong_language --comment "It is German."
    tidegate feedback req_019b… --completed
    """
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create")
    words = {name: value for name, value in said.items() if value is not None}
    Line(url, key).post("/v1/feedback", {"request_id": request, **words})
    click.echo("said; saying it again replaces it")
