"""tidegate eval: how good are the answers, and how sure is that?"""

from __future__ import annotations

import click

from tidegate.cli.eval_cards import calibrate, judges


@click.group("eval")
def evaluation() -> None:
    """Trust the answers: suites, judges that are tested themselves, and what has changed."""


for command in (calibrate, judges):
    evaluation.add_command(command)
