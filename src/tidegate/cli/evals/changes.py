"""tidegate eval compare: has it become better or worse?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from tidegate.cli.evals.cards import FILE, read_run
from tidegate.cli.evals.reports import outputs, write
from tidegate.core.errors import ConfigError
from tidegate.jobs.evals import deck
from tidegate.jobs.evals.compare import Change, Comparison, Rule, compared, differing
from tidegate.jobs.evals.reports import Told, between, change_name, number, shortage
from tidegate.jobs.evals.results import Results
from tidegate.jobs.evals.tally import counted

REGRESSED, COULD_NOT_RUN = 2, 3
SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command()
@click.argument("base", type=FILE)
@click.argument("head", type=FILE)
@click.option("--alpha", type=SHARE, default=0.05, show_default=True, help="How often chance may seem a change.")
@click.option(
    "--matters", type=SHARE, default=0.1, show_default=True, help="The share of the scale that must not be overlooked."
)
@click.option(
    "--allow",
    type=click.Choice(["suite", "judge", "missing"]),
    multiple=True,
    help="Compare all the same, where the suite or a judge has changed, or answers are missing.",
)
@outputs
def compare(
    base: Path, head: Path, alpha: float, matters: float, allow: tuple[str, ...], cards: Path, **files: Path | None
) -> None:
    """Say of each criterion, and of each tag, whether HEAD is better or worse than BASE.

    Exit codes: 0 nothing is worse, 2 something is, 3 they could not be compared.

    \b
    tidegate eval compare base.jsonl head.jsonl
    tidegate eval compare base.jsonl head.jsonl --html changes.html --markdown -
    tidegate eval compare base.jsonl head.jsonl --allow judge
    """
    after = read_run(head)
    found = comparison(read_run(base), after, Rule(alpha=alpha, matters=matters), allow)
    if not write(Told(after, counted(after, deck.card_of(cards)), found), files):
        for line in told(found):
            click.echo(line)
    raise click.exceptions.Exit(exit_code(found, allow))


def comparison(base: Results, head: Results, rule: Rule, allow: Sequence[str]) -> Comparison:
    """Raises ConfigError where the two are no runs of one suite, and that was not allowed."""
    differs = differing(base, head)
    refused = {name: why for name, why in differs.items() if name not in allow}
    if refused:
        ways = " ".join(f"--allow {name}" for name in refused)
        raise ConfigError(f"{'; '.join(refused.values())}. What is common can be compared all the same with {ways}")
    try:
        return compared(base, head, rule, list(differs.values()))
    except ValueError as wrong:
        raise ConfigError(f"they cannot be compared: {wrong}") from None


def exit_code(found: Comparison, allow: Sequence[str]) -> int:
    """What is worse is worse, whatever is missing; that nothing is worse is only known when all is there."""
    if found.regressed:
        return REGRESSED
    return COULD_NOT_RUN if found.missing and "missing" not in allow else 0


def told(found: Comparison) -> Iterator[str]:
    yield f"{found.head.suite}: {found.base.subject} ({found.base.id}), now {found.head.subject} ({found.head.id})"
    yield from (f"  allowed: {why}" for why in found.allowed)
    for change in found.changes:
        yield from _change(change, found.rule)
    moved = [one for one in found.tags if one.verdict in ("improved", "regressed")]
    quiet = len(found.tags) - len(moved)
    for change in moved:
        yield from _change(change, found.rule)
    if quiet:
        short = sum(one.verdict == "underpowered" for one in found.tags)
        yield f"  by tag: of {quiet} others there is no evidence, {short} of them underpowered"
    worse = {change.criterion for change in found.changes if change.verdict == "regressed"}
    for one in found.examples:
        if one.criterion in worse and not one.better:
            yield f"  worse: {one.case} {one.criterion} {one.base:g} → {one.head:g}  {one.head_why}"[:120].rstrip()
    if found.missing:
        cases = list(dict.fromkeys(case for case, _ in found.missing))
        more = f" and {len(cases) - 5} more" if len(cases) > 5 else ""
        yield f"  missing: {len(found.missing)} answers, of {', '.join(cases[:5])}{more}"


def _change(one: Change, rule: Rule) -> Iterator[str]:
    name = change_name(one)
    word = f"{one.verdict}{' (advisory)' if one.advisory else ''}"
    yield f"  {name:32} {word:22} {_figures(one)}"
    if one.verdict == "underpowered":
        yield f"  {'':32} {shortage(one, rule.matters)}"


def _figures(one: Change) -> str:
    return (
        f"{number(one.base, one)} → {number(one.head, one)}  ({between(one)}, "
        f"p {one.adjusted:.2g}, {one.lost} of {one.cases} cases worse, {one.gained} better)"
    )
