"""What waits for a person's word? The answers of a run that somebody has not labelled yet, in an order of their own.

The order is chance's, another one for each person, and does not know what a judge said: were answers chosen by its
verdict, how often it is right about good ones and bad ones could not be told from them. Nor is the verdict shown.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Collection, Mapping
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Literal, NamedTuple

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.core.stats.agreement import alpha, kappa
from tidegate.jobs.evals.labels import Item, Labels, Word, read
from tidegate.jobs.evals.results import Answer, Results
from tidegate.jobs.evals.verdicts import item_of


class Said(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one person says of one answer: a line of a file of labels."""

    item: str
    label: str | float
    labeller: str
    comment: str = ""
    run: str = ""
    length: int | None = None  # two answers that are equally long differ by 0, which is kept


def waiting(results: Results, labels: Path, labeller: str) -> list[Answer]:
    """Raises ConfigError for labels that cannot be read."""
    done = _done(labels, labeller)
    answers = list(results.answers)
    random.Random(f"{results.run.id}\n{labeller}").shuffle(answers)
    return [answer for answer in answers if answer.text and item_of(answer) not in done]


def first(results: Results, item: str, labeller: str) -> Literal["1", "2"]:
    """Which of two answers is to be shown first: chance's, so that no place is a run's; seen again it is the same."""
    return random.Random(f"{results.run.id}\n{labeller}\n{item}").choice(("1", "2"))


def _done(labels: Path, labeller: str) -> Collection[str]:
    if not labels.exists() or not labels.stat().st_size:
        return ()
    return {item.id for item in read(labels).items if labeller in item.labels}


def add(labels: Path, said: Said) -> None:
    """At the end, in one write: several people may label into one file. Raises ConfigError."""
    try:
        file = os.open(labels, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)  # comments may be private
        try:
            os.write(file, msgspec.json.encode(said) + b"\n")
        finally:
            os.close(file)
    except OSError as wrong:
        raise ConfigError(f"cannot write {labels}: {wrong.strerror or wrong}") from None


class Agreement(NamedTuple):
    """How far people say the same."""

    items: int  # of which at least two said something
    alpha: float | None  # Krippendorff's, of all
    same: float | None  # how often two of them say the same
    pairs: Mapping[tuple[str, str], tuple[int, float | None]]  # of two people: items, Cohen's kappa
    split: list[Item]  # of which as many say one thing as another, or points are far apart


APART = 3.0  # points


def agreement(labels: Labels) -> Agreement:
    held = [item for item in labels.items if len(item.labels) > 1]
    both: Mapping[tuple[str, str], list[tuple[Word, Word]]] = defaultdict(list)
    for item in held:
        for one, other in combinations(sorted(item.labels), 2):
            both[one, other].append((item.labels[one], item.labels[other]))
    same = [one == other for said in both.values() for one, other in said]
    return Agreement(
        len(held),
        alpha([list(item.labels.values()) for item in held], "points" if labels.kind == "scale" else "names"),
        fmean(same) if same else None,
        {people: (len(said), kappa(said).value) for people, said in both.items()},
        [item for item in held if _split(item)],
    )


def _split(item: Item) -> bool:
    said = [word for word in item.labels.values() if isinstance(word, float)]
    return max(said) - min(said) >= APART if said else item.gold is None
