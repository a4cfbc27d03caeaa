"""How good is a judge? What it said, beside what people say of the same; and whether that is enough to gate.

A card is of one judge (a model, and the hash of its prompt and rubric) on one set of labels. Where either changes it is
another judge, or other labels: the card says nothing of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import combinations
from statistics import fmean
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tidegate.core.stats.agreement import Correlation, alpha, kappa, quadratic_kappa, spearman
from tidegate.core.stats.screening import Estimate, Screening, clopper_pearson, corrected
from tidegate.jobs.evals.labels import Item, Kind, Labels, Word

UNKNOWN = Estimate(None)
ORDERS = "agreement of both orders"
Bar = Annotated[float, Meta(ge=0, lt=1)]


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a judge must have shown before its verdict decides anything. Of each figure the lower bound counts.

    accuracy: the share of its verdicts that are what people say.
    kappa: agreement with people beyond chance; of points, what is twice as far apart agrees four times less.
    orders: of two answers, the share of items of which it says the same in both orders.
    items: how many items people must have labelled.
    days: how long a card holds.
    confidence: of the intervals, two-sided.
    """

    accuracy: Bar = 0.8
    kappa: Bar = 0.6
    orders: Bar = 0.8
    items: Annotated[int, Meta(ge=1)] = 30
    days: Annotated[float, Meta(gt=0)] = 90
    confidence: Annotated[float, Meta(gt=0.5, lt=1)] = 0.95


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """Figures stand with their interval: value, least, most."""

    judge: str  # model/hash of prompt and rubric
    labels: str  # their name
    labels_hash: str
    kind: Kind
    made: str  # ISO 8601, UTC
    items: int  # that people agree about
    split: int = 0  # left out: as many people say one thing as another
    people: int = 1
    malformed: int = 0  # verdicts that were none: they are wrong for `accuracy`, and agree with nothing
    pass_at: float | None = None  # of points: from where on it is a pass
    accuracy: Estimate = UNKNOWN
    kappa: Estimate = UNKNOWN  # as asked once: of two answers, in the first order
    kappa_both: float | None = None  # of two answers, each order as a verdict of its own
    sensitivity: Estimate = (
        UNKNOWN  # of what people pass, what it passes; of two answers, of those where the first is better
    )
    specificity: Estimate = UNKNOWN
    screening: Screening = Screening(0, 0, 0, 0)
    orders: Estimate = UNKNOWN
    first_share: float | None = None  # of two answers, how often it took the one that it was shown first
    length_bias: Correlation = Correlation(None, None)  # of the length with how much better it says than people do
    people_alpha: float | None = None  # Krippendorff's, of what people say
    ceiling: float | None = None  # how often two people say the same: no judge can be asked for more

    def corrected(self, passed: int, of: int, confidence: float = 0.95) -> Estimate:
        """The share that people would pass, when this judge passed so many of others (Rogan and Gladen)."""
        return corrected(passed, of, self.screening, confidence)


def made(judge: str, labels: Labels, now: datetime, *, pass_at: float = 7.0, confidence: float = 0.95) -> Card:
    """Raises ValueError where the judge said nothing of what people labelled."""
    held = [item for item in labels.items if item.gold is not None and item.verdicts]
    if not held:
        raise ValueError(f"of no item of {labels.name} there are both labels that agree and a verdict")
    common: dict[str, Any] = {
        "judge": judge,
        "labels": labels.name,
        "labels_hash": labels.hash,
        "kind": labels.kind,
        "made": now.isoformat(timespec="seconds"),
        "items": len(held),
        "split": sum(item.gold is None for item in labels.items),
        "people": max(len(item.labels) for item in labels.items),
        "malformed": sum(verdict is None for item in held for verdict in item.verdicts),
        "people_alpha": alpha(
            [list(item.labels.values()) for item in labels.items], "points" if labels.kind == "scale" else "names"
        ),
        "ceiling": _ceiling(labels.items, labels.kind, pass_at),
        "length_bias": _length_bias(held, labels.kind),
    }
    figures = _of_pairs(held, confidence) if labels.kind == "pair" else _of_one(held, labels.kind, pass_at, confidence)
    return Card(**common | figures)


def _of_one(held: Sequence[Item], kind: Kind, pass_at: float, confidence: float) -> dict[str, Any]:
    golds = [_passed(item.gold, pass_at) for item in held]
    said = [_passed(item.verdicts[0], pass_at) for item in held]
    screening = _screening(golds, said)
    points = [
        (item.gold, item.verdicts[0])
        for item in held
        if isinstance(item.gold, float) and isinstance(item.verdicts[0], float)
    ]
    return {
        "pass_at": pass_at if kind == "scale" else None,
        "accuracy": clopper_pearson(sum(map(_same, golds, said)), len(held), confidence),
        "kappa": quadratic_kappa(points, confidence)
        if kind == "scale"
        else kappa(list(zip(golds, said, strict=True)), confidence),
        "screening": screening,
        "sensitivity": screening.sensitivity(confidence),
        "specificity": screening.specificity(confidence),
    }


def _of_pairs(held: Sequence[Item], confidence: float) -> dict[str, Any]:
    """An item counts once: right in one of two orders is half right. Of two verdicts of one item, the interval of the
    accuracy knows that they are not independent."""
    twice = [item for item in held if len(item.verdicts) == 2]
    right = sum(fmean(_same(item.gold, verdict) for verdict in item.verdicts) for item in held)
    firsts = [
        verdict == place
        for item in held
        for verdict, place in zip(item.verdicts, ("1", "2"), strict=False)
        if verdict in ("1", "2")
    ]
    screening = _screening([item.gold for item in held], [item.verdicts[0] for item in held], "1", "2")
    return {
        "accuracy": clopper_pearson(right, len(held), confidence),
        "kappa": kappa([(item.gold, item.verdicts[0]) for item in held], confidence),
        "kappa_both": kappa([(item.gold, verdict) for item in held for verdict in item.verdicts]).value,
        "screening": screening,
        "sensitivity": screening.sensitivity(confidence),
        "specificity": screening.specificity(confidence),
        "orders": clopper_pearson(sum(_same(*item.verdicts) for item in twice), len(twice), confidence),
        "first_share": fmean(firsts) if firsts else None,
    }


def _same(gold: Word | None, said: Word | None) -> bool:
    """A verdict that is none is like nothing, another such among it."""
    return said is not None and gold == said


def _passed(word: Word | None, pass_at: float) -> Word | None:
    if isinstance(word, float):
        return "pass" if word >= pass_at else "fail"
    return word


def _screening(
    golds: Sequence[Word | None], said: Sequence[Word | None], so: str = "pass", not_so: str = "fail"
) -> Screening:
    """A verdict that is none found nothing, and calmed nobody."""
    pairs = list(zip(golds, said, strict=True))
    hits, calms = pairs.count((so, so)), pairs.count((not_so, not_so))
    return Screening(hits, list(golds).count(so) - hits, calms, list(golds).count(not_so) - calms)


def _ceiling(items: Sequence[Item], kind: Kind, pass_at: float) -> float | None:
    """Over the items, how often two people who said something of it said the same."""
    shares = [
        fmean(one == other for one, other in combinations([_passed(word, pass_at) for word in said], 2))
        for item in items
        if len(said := list(item.labels.values())) > 1
    ]
    return fmean(shares) if shares else None


def _length_bias(held: Sequence[Item], kind: Kind) -> Correlation:
    """People may like long answers too: it counts only by how much the judge likes them better."""
    worth = {"pass": 1.0, "fail": 0.0} if kind == "pass" else {"1": 1.0, "2": -1.0, "tie": 0.0}

    def points(word: Word | None) -> float:
        return word if isinstance(word, float) else worth[str(word)]

    pairs = [
        (item.length, fmean(points(verdict) for verdict in said) - points(item.gold))
        for item in held
        if item.length is not None and (said := [verdict for verdict in item.verdicts if verdict is not None])
    ]
    return spearman(pairs)


def why_not(card: Card, policy: Policy, now: datetime) -> list[str]:
    """Why this judge may not gate; nothing of one that may."""
    reasons = []
    if card.items < policy.items:
        reasons.append(f"people labelled {card.items} items, and {policy.items} are wanted")
    bars = [("accuracy", card.accuracy, policy.accuracy), ("kappa", card.kappa, policy.kappa)]
    if card.kind == "pair":
        bars.append((ORDERS, card.orders, policy.orders))
    for name, found, bar in bars:
        if found.value is None or found.low is None:
            why = "nothing was asked in both orders" if name == ORDERS else "people and the judge say one thing only"
            reasons.append(f"{name} is not known: {why}")
        elif found.low <= bar:
            reasons.append(f"{name} is {found.value:.3f} and may be {found.low:.3f}; it must be above {bar:g} for sure")
    if now - datetime.fromisoformat(card.made) > timedelta(days=policy.days):
        reasons.append(f"the card is of {card.made[:10]}, and holds for {policy.days:g} days")
    return reasons
