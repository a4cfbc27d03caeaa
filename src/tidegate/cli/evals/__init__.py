"""tidegate eval: how good are the answers? Exit codes: 0 good, 1 not, 2 worse than before, 3 it could not be run."""

from __future__ import annotations

from typing import Any

import click

from tidegate.cli.evals.cards import calibrate, judges
from tidegate.cli.evals.changes import compare
from tidegate.cli.evals.imports import bring, keep
from tidegate.cli.evals.labelling import agreement, label
from tidegate.cli.evals.reports import report
from tidegate.cli.evals.suites import run
from tidegate.core.errors import TidegateError

COULD_NOT_RUN = 3


class Stopped(click.ClickException):
    exit_code = COULD_NOT_RUN


class Misused(click.UsageError):
    exit_code = COULD_NOT_RUN


class Evaluating(click.Group):
    """Whatever keeps a command from its end has an exit code of its own: a pipeline tells it from a bad answer."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TidegateError as wrong:
            raise Stopped(str(wrong)) from None
        except click.UsageError as wrong:
            raise Misused(wrong.format_message(), wrong.ctx) from None


@click.group("eval", cls=Evaluating)
def evaluation() -> None:
    """Suites of cases, judges that are tested themselves, and what has changed.

    \b
    tidegate eval run suite.yaml                         ask, score, and say who has failed
    tidegate eval run suite.yaml --repeats 3 --max-cost 0.50
    tidegate eval run suite.yaml --replay recorded.jsonl ask nobody: what was said is there
    tidegate eval import samples.jsonl --from openai     a suite of another tool's file
    tidegate eval case req_019b… --suite suite.yaml      a case of a request that was stored
    tidegate eval compare base.jsonl head.jsonl          what has become better, or worse
    tidegate eval report head.jsonl --html report.html   a page with every answer
    tidegate eval label head.jsonl                       say yourself which answers are good
    tidegate eval calibrate labels.csv                   may this judge gate?
    """


for command in (run, bring, keep, report, compare, label, agreement, calibrate, judges):
    evaluation.add_command(command)
