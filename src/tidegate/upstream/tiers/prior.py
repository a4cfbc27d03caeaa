"""How hard does a question look to somebody who has seen no answer yet? By how much of it there is to keep in mind.

The weights are a file with the names of what they were learned from. They are never negative, and are held near to
each other: what is learned about one kind of question should do no harm to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import NamedTuple

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.upstream.tiers.look import NAMES

OURS = Path(__file__).with_name("prior.json")
AMOUNTS = (
    "words", "sentences", "sentence_length", "commas", "logic", "compare", "person", "negation", "quantity",
)  # fmt: skip
AT = {name: at for at, name in enumerate(NAMES)}
ALIKE = 0.1  # of each, in logits per standard deviation, before anything is learned
HELD = 0.1  # how strongly: what one question teaches on average is at most a quarter of a squared deviation
CLIP = 4.0  # standard deviations
ROUNDS = 500


class Weight(msgspec.Struct, frozen=True):
    name: str  # of a feature
    mean: float
    deviation: float
    weight: float  # logits per standard deviation


class Source(msgspec.Struct, frozen=True):
    """What was learned from: how many questions, and how often each tier answered well."""

    name: str
    questions: int
    good: tuple[float, ...]


class Prior(msgspec.Struct, frozen=True):
    weights: tuple[Weight, ...]
    good: tuple[float, float]  # how often a cheap model and a dear one answered well
    usual: tuple[float, ...]  # how hard questions are, least to most, as far as anybody knows
    sources: tuple[Source, ...] = ()
    made_by: str = ""

    @classmethod
    def load(cls, path: Path = OURS) -> Prior:
        """Raises ConfigError for what is no file of weights."""
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Prior)
        except (OSError, msgspec.DecodeError) as wrong:
            raise ConfigError(f"{path}: holds no weights: {wrong}") from None
        for one in found.weights:
            if one.name not in AT or not one.deviation > 0:
                raise ConfigError(f"{path}: {one.name!r} is no feature of a question, or never differs")
        if not found.usual or not all(0 < share < 1 for share in found.good):
            raise ConfigError(f"{path}: does not say how hard questions are, or how often they are answered well")
        return found

    def hard(self, features: Sequence[float]) -> float:
        """As a logit that is taken off the usual one; 0: like most."""
        return sum([part for _, part in self.parts(features)])

    def parts(self, features: Sequence[float]) -> list[tuple[str, float]]:
        """What each feature that has a weight adds to that."""
        return [
            (one.name, one.weight * max(min((features[AT[one.name]] - one.mean) / one.deviation, CLIP), -CLIP))
            for one in self.weights
        ]

    def common(self, tiers: int) -> tuple[float, ...]:
        """The logits of tiers for a question like most, from the first to the last in equal steps."""
        low, high = (log(share / (1 - share)) for share in self.good)
        return tuple(low + (high - low) * at / max(tiers - 1, 1) for at in range(tiers))


class Seen(NamedTuple):
    """A question of which is known how two tiers answered it. Questions are compared within a source alone."""

    source: str
    features: Sequence[float]
    cheap: bool
    dear: bool


def learned(rows: Sequence[Seen], made_by: str) -> Prior:
    """Least squares within each source, no weight below 0, each held to ALIKE."""
    at = [AT[name] for name in AMOUNTS]
    means, spread = _measured([[row.features[one] for one in at] for row in rows])
    good = (sum(row.cheap for row in rows) / len(rows), sum(row.dear for row in rows) / len(rows))
    sums = _Sums(len(at))
    told = []
    for name in dict.fromkeys(row.source for row in rows):
        some = [row for row in rows if row.source == name]
        right = tuple(
            round(sum(one) / len(some), 4) for one in ([row.cheap for row in some], [row.dear for row in some])
        )
        told.append(Source(name, len(some), right))
        sums.add(
            [[(row.features[one] - m) / s for one, m, s in zip(at, means, spread, strict=True)] for row in some],
            [float(not row.cheap) for row in some],
        )
    curve = good[0] * (1 - good[0]) / len(rows)  # of the logistic, where most questions are
    products = [[one * curve for one in line] for line in sums.products]
    weights = _held(products, [one / len(rows) for one in sums.towards])
    made = tuple(
        Weight(name, round(mean, 5), round(deviation, 5), round(weight, 5))
        for name, mean, deviation, weight in zip(AMOUNTS, means, spread, weights, strict=True)
    )
    prior = Prior(made, (round(good[0], 4), round(good[1], 4)), (0.0,), tuple(told), made_by)
    usual = sorted(prior.hard(row.features) for row in rows)
    steps = [round(usual[min(step * len(usual) // 100, len(usual) - 1)], 4) for step in range(101)]
    return msgspec.structs.replace(prior, usual=tuple(steps))


def _measured(table: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    """The mean and the standard deviation of each column."""
    means = [sum(column) / len(table) for column in zip(*table, strict=True)]
    squares = [
        sum((value - m) ** 2 for value in column) for column, m in zip(zip(*table, strict=True), means, strict=True)
    ]
    return means, [max((one / len(table)) ** 0.5, 0.01) for one in squares]


class _Sums:
    """What least squares needs, summed over sources."""

    def __init__(self, width: int) -> None:
        self.products = [[0.0] * width for _ in range(width)]
        self.towards = [0.0] * width

    def add(self, table: Sequence[Sequence[float]], missed: Sequence[float]) -> None:
        """One source: its own means are taken off."""
        middle, _ = _measured(table)
        share = sum(missed) / len(missed)
        for values, error in zip(table, missed, strict=True):
            away = [max(min(v - m, CLIP), -CLIP) for v, m in zip(values, middle, strict=True)]
            for line, one in zip(self.products, away, strict=True):
                for at, other in enumerate(away):
                    line[at] += one * other
            for at, one in enumerate(away):
                self.towards[at] += one * (error - share)


def _held(products: list[list[float]], towards: list[float]) -> list[float]:
    """The weights, none below 0, downhill with a step that cannot overshoot."""
    step = 1 / (max(sum(map(abs, line)) for line in products) + HELD)
    weights = [ALIKE] * len(towards)
    for _ in range(ROUNDS):
        slopes = [sum(p * w for p, w in zip(line, weights, strict=True)) for line in products]
        weights = [
            max(w - step * (s - t + HELD * (w - ALIKE)), 0.0) for w, s, t in zip(weights, slopes, towards, strict=True)
        ]
    return weights
