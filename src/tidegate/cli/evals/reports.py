"""tidegate eval report: a run for a pipeline, for a pull request, and as a page with charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from tidegate.cli.evals.cards import CARDS, FILE, read_run
from tidegate.core.errors import ConfigError
from tidegate.jobs.evals import deck
from tidegate.jobs.evals.reports import Told, as_json, junit, markdown, page
from tidegate.jobs.evals.tally import counted

TO = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
FORMS: Mapping[str, tuple[str, Callable[[Told], str]]] = {
    "html": ("A page of its own, with charts; it fetches nothing.", page.written),
    "markdown": ("What stands below a pull request.", markdown.written),
    "junit": ("JUnit's XML, for a pipeline.", junit.written),
    "json": ("Everything.", as_json),
}


def outputs(command: Any) -> Any:
    """Options for where it is written; - is standard output."""
    for name, (what, _) in reversed(list(FORMS.items())):
        command = click.option(f"--{name}", type=TO, metavar="FILE", help=what)(command)
    return CARDS(command)


@click.command()
@click.argument("run", type=FILE)
@outputs
def report(run: Path, cards: Path, **files: Path | None) -> None:
    """What a run came to: each criterion with its interval, every repeat of every case; as Markdown, or where you say.

    \b
    tidegate eval report run.jsonl
    tidegate eval report run.jsonl --html run.html --junit run.xml
    """
    results = read_run(run)
    told = Told(results, counted(results, deck.card_of(cards)))
    if not write(told, files):
        click.echo(markdown.written(told), nl=False)


def write(told: Told, files: Mapping[str, Path | None]) -> bool:
    """Whether anything was asked for on standard output. Raises ConfigError."""
    said = False
    for name, (_, written) in FORMS.items():
        path = files.get(name)
        if path is None:
            continue
        if str(path) == "-":
            click.echo(written(told), nl=False)
            said = True
            continue
        try:
            path.write_text(written(told), encoding="utf-8", errors="replace")
        except OSError as wrong:
            raise ConfigError(f"cannot write {path}: {wrong.strerror or wrong}") from None
        click.echo(f"wrote {path}", err=True)
    return said
