"""tidegate experiments: what is tried on whom, and what came of it."""

from __future__ import annotations

import click

from tidegate.cli.replays import replay, shadow


@click.group()
def experiments() -> None:
    """What is tried, on whom, and what comes of it.

    \b
    tidegate experiments shadow cheaper
    tidegate experiments replay --route fast --target other/m --max-usd 1
    """


for command in (shadow, replay):
    experiments.add_command(command)
