"""tidegate eval label · agreement: what do people say of answers, and do they say the same?"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from pathlib import Path

import click

from tidegate.cli.evals.cards import FILE, read_run
from tidegate.cli.evals.suites import PLUGINS
from tidegate.core.errors import ConfigError
from tidegate.jobs.evals import queue
from tidegate.jobs.evals.labels import Word, read
from tidegate.jobs.evals.results import Answer
from tidegate.jobs.evals.suite import load
from tidegate.jobs.evals.verdicts import item_of

WORDS = {"p": "pass", "f": "fail", "pass": "pass", "fail": "fail"}
POINTS = range(1, 11)
HOW = "p pass · f fail · s skip · q quit"
HOW_POINTS = "1 to 10 · s skip · q quit"


@click.command()
@click.argument("run", type=FILE)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("labels.jsonl"),
    show_default=True,
    help="Where they are written; several people may share it.",
)
@click.option("--as", "labeller", help="Your name; that of your account.")
@click.option("--points", is_flag=True, help="Give 1 to 10 points instead of pass or fail.")
@click.option("--suite", type=FILE, help="The suite, so that what was asked is shown too.")
@click.option("--most", type=click.IntRange(min=1), default=50, show_default=True, help="How many this time.")
def label(run: Path, labels: Path, labeller: str | None, points: bool, suite: Path | None, most: int) -> None:
    """Go through the answers of a run that you have not labelled yet, and say what they are worth.

    What a judge said is not shown, and the order is another one for everybody.

    \b
    tidegate eval label base.jsonl
    tidegate eval label base.jsonl --suite suite.yaml
    tidegate eval label base.jsonl --as ann --labels ours.jsonl --most 20
    """
    name = (labeller or getpass.getuser()).strip()
    if not name:
        raise ConfigError("whose labels are these? Say so with --as NAME")
    results = read_run(run)
    left = queue.waiting(results, labels, name)
    if not left:
        click.echo(f"{name} has labelled everything there is in {run}")
        return
    asked = load(suite, PLUGINS).asked if suite is not None else {}
    said = 0
    for at, answer in enumerate(left[:most], 1):
        click.echo(f"\n--- {at} of {min(most, len(left))}: {shown(answer.case)} #{answer.repeat + 1}")
        for turn in asked.get(answer.case, ()):
            click.echo(f"{turn['role']}: {shown(turn['content'])}")
        click.echo(f"answer: {shown(answer.text)}" if asked else shown(answer.text))
        word = _asked(points)
        if word is None:
            break
        if word == "s":
            continue
        comment = click.prompt("comment", default="", show_default=False)
        queue.add(labels, _line(answer, word, name, comment, results.run.id))
        said += 1
    click.echo(
        f"{said} labelled in {labels}, {len(left) - said} to go; then: tidegate eval calibrate {labels} --run {run}"
    )


def _asked(points: bool) -> Word | None:
    """None: enough for today."""
    while True:
        typed = click.prompt(HOW_POINTS if points else HOW, prompt_suffix=" > ").strip().lower()
        if typed in ("q", "quit"):
            return None
        if typed in ("s", "skip"):
            return "s"
        if points and typed.isdigit() and int(typed) in POINTS:
            return float(typed)
        if not points and typed in WORDS:
            return WORDS[typed]


def _line(answer: Answer, word: Word, name: str, comment: str, run: str) -> queue.Said:
    return queue.Said(
        item=item_of(answer), label=word, labeller=name, comment=comment.strip(), run=run, length=len(answer.text)
    )


def shown(text: str) -> str:
    """Without what a terminal would obey: an answer must not move the cursor or paint over another one."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)


@click.command()
@click.argument("file", metavar="LABELS", type=FILE)
def agreement(file: Path) -> None:
    """How far people agree; no judge can be asked for more.

    \b
    tidegate eval agreement labels.jsonl
    """
    labels = read(file)
    found = queue.agreement(labels)
    if not found.items:
        click.echo(f"of no item in {file} two people have said something")
        return
    click.echo(f"{found.items} items of which two or more said something")
    click.echo(f"  they say the same of {found.same:.1%}; alpha {_number(found.alpha)}")
    for (one, other), (items, kappa) in _sorted(found.pairs):
        click.echo(f"  {shown(one)} and {shown(other)}: {items} items, kappa {_number(kappa)}")
    for item in found.split[:20]:
        said = ", ".join(f"{who} {word}" for who, word in item.labels.items())
        click.echo(f"  split: {shown(item.id)}: {shown(said)}")
    if len(found.split) > 20:
        click.echo(f"  … and {len(found.split) - 20} more")


def _sorted(
    pairs: Mapping[tuple[str, str], tuple[int, float | None]],
) -> list[tuple[tuple[str, str], tuple[int, float | None]]]:
    """The most first."""
    return sorted(pairs.items(), key=lambda pair: (-pair[1][0], pair[0]))[:20]


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3f}"
