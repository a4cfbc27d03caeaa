"""tidegate case-study: what a gateway is worth to a support chatbot, replayed on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from tidegate.core.errors import ConfigError
from tidegate.study.course import Course, run
from tidegate.study.page import lines, page

STEPS = 1000  # of the bar

STEPS = 1000  # of the bar


@click.command("case-study")
@click.option("--calls", type=click.IntRange(100, 100_000), default=600, show_default=True, help="That are measured.")
@click.option("--before", type=click.IntRange(0, 100_000), default=1_000, show_default=True, help="Asked before them.")
@click.option("--seeds", type=click.IntRange(1, 100), default=1, show_default=True, help="Rounds, each of its own.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="A page of its own, with charts.")
@click.option("--json", "as_json", is_flag=True, help="Everything that was measured.")
def case_study(calls: int, before: int, seeds: int, html: Path | None, as_json: bool) -> None:
    """A support chatbot with 50,000 users, without a gateway and with this one; half a minute.

    Two made-up providers on this machine answer, at the list prices of real models; no key and no network is needed.

    \b
    tidegate case-study
    tidegate case-study --seeds 3 --html case-study.html
    """
    course = Course(seeds=seeds, calls=calls, before=before)
    with click.progressbar(length=STEPS, label="asking", file=sys.stderr) as bar:
        found = run(course, lambda _, share: bar.update(round(share * STEPS) - bar.pos))
        bar.update(STEPS - bar.pos)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        for line in lines(found):
            click.echo(line)
    if html is not None:
        try:
            html.write_text(page(found), encoding="utf-8")
        except OSError as wrong:
            raise ConfigError(f"cannot write {html}: {wrong.strerror or wrong}") from None
        click.echo(f"wrote {html}", err=True)
