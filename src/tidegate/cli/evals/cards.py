"""tidegate eval calibrate · judges: how good is a judge, and may it gate?"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from tidegate.core.errors import ConfigError
from tidegate.core.stats.screening import Estimate
from tidegate.jobs.evals import deck, labels, results, verdicts
from tidegate.jobs.evals.card import Card, Policy, made, why_not

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
CARDS = click.option(
    "--cards",
    type=click.Path(path_type=Path, file_okay=False),
    default=deck.FOLDER,
    show_default=True,
    help="The folder of the cards; keep it beside the suites.",
)
BARS = Policy()


def _bar(name: str, what: str) -> Any:
    return click.option(f"--{name}", type=float, default=getattr(BARS, name), show_default=True, help=what)


POLICY = (
    _bar("accuracy", "What the lower bound of its accuracy must be above."),
    _bar("kappa", "The same of its agreement with people beyond chance."),
    _bar("orders", "The same of the agreement of both orders of two answers."),
    click.option("--items", type=int, default=BARS.items, show_default=True, help="How many must be labelled."),
    _bar("days", "How long a card holds."),
)


def policed(command: Any) -> Any:
    for option in reversed(POLICY):
        command = option(command)
    return command


@click.command()
@click.argument("file", metavar="LABELS", type=FILE)
@click.option("--judge", help="Whose verdicts: model/hash of prompt and rubric, as a run names it.")
@click.option("--run", type=FILE, help="The run whose answers were labelled; without it, verdicts stand in LABELS.")
@click.option("--scorer", help="Which of its judgments, where there are several: judge.accuracy.")
@click.option("--two", is_flag=True, help="Labels say which of two answers is better: 1, 2 or tie.")
@click.option("--pass-at", type=float, default=7.0, show_default=True, help="Of points: from where on it is a pass.")
@click.option("--json", "as_json", is_flag=True, help="The card itself.")
@click.option("--strict", is_flag=True, help="Exit 1 when it may not gate.")
@CARDS
@policed
def calibrate(
    file: Path,
    judge: str | None,
    run: Path | None,
    scorer: str | None,
    two: bool,
    pass_at: float,
    as_json: bool,
    strict: bool,
    cards: Path,
    **bars: Any,
) -> None:
    """Try a judge against what people say of the same answers, and keep its card.

    \b
    tidegate eval calibrate labels.jsonl --run base.jsonl
    tidegate eval calibrate labels.csv --judge gpt-4o/3f6c0d9a
    """
    policy, now = _policy(bars), datetime.now(UTC)
    said = labels.read(file, "pair" if two else None)
    if run is not None:
        judge, said = verdicts.judged(said, read_run(run), judge, scorer)
    elif not judge:
        raise ConfigError("whose verdicts are in these labels? Say so with --judge MODEL/HASH, or give the --run")
    try:
        card = made(judge, said, now, pass_at=pass_at, confidence=policy.confidence)
    except ValueError as wrong:
        raise ConfigError(str(wrong)) from None
    kept = deck.keep(cards, card, file)
    reasons = why_not(card, policy, now)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(card), indent=1))
    else:
        for line in (*told(card), *_verdict(reasons), f"kept in {kept}"):
            click.echo(line)
    if strict and reasons:
        raise click.exceptions.Exit(1)


@click.command()
@CARDS
@policed
def judges(cards: Path, **bars: Any) -> None:
    """Which judges have a card, and which may gate today.

    \b
    tidegate eval judges
    """
    found = deck.read(cards)
    if not found:
        click.echo(f"no judge has a card in {cards}: tidegate eval calibrate")
    policy, now = _policy(bars), datetime.now(UTC)
    for judge in sorted({kept.card.judge for kept in found}):
        reasons = deck.against(cards, judge, policy, now)
        click.echo(f"{judge}: {'may gate' if not reasons else 'advisory'}")
        for reason in reasons:
            click.echo(f"  {reason}")


def read_run(path: Path) -> results.Results:
    try:
        return results.read(path)
    except (OSError, ValueError) as wrong:
        raise ConfigError(str(wrong)) from None


def _policy(bars: dict[str, Any]) -> Policy:
    try:
        return msgspec.convert(bars, Policy)
    except msgspec.ValidationError as wrong:
        raise ConfigError(f"no bar that a judge could be held to: {wrong}") from None


def told(card: Card) -> list[str]:
    """As lines that a person reads."""
    lines = [
        f"{card.judge} on {card.labels}: {card.items} items, labelled by {card.people}"
        + (f", {card.split} left out since people are split" if card.split else "")
        + (f", {card.malformed} verdicts that were none" if card.malformed else "")
    ]
    for name, found in (
        ("accuracy", card.accuracy),
        ("kappa", card.kappa),
        ("sensitivity", card.sensitivity),
        ("specificity", card.specificity),
        ("same in both orders", card.orders),
    ):
        if found.value is not None:
            lines.append(f"  {name:20} {interval(found)}")
    for name, value in (("takes the first", card.first_share), ("people with each other", card.ceiling)):
        if value is not None:
            lines.append(f"  {name:20} {value:.3f}")
    if card.people_alpha is not None:
        lines.append(f"  {'alpha of people':20} {card.people_alpha:.3f}")
    bias = card.length_bias
    if bias.value is not None and bias.p is not None:
        lines.append(f"  {'likes them long':20} {bias.value:+.3f} (p {bias.p:.2g})")
    return lines


def interval(found: Estimate) -> str:
    if found.value is None:
        return "not known"
    return f"{found.value:.3f}" + (f"  ({found.low:.3f} to {found.high:.3f})" if found.low is not None else "")


def _verdict(reasons: list[str]) -> list[str]:
    if not reasons:
        return ["It may gate."]
    return ["Its verdict is advisory:", *(f"  {reason}" for reason in reasons)]
