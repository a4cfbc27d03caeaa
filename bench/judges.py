"""How good are judges that others have recorded, and which of them would be let gate? Their cards, as we make them.

Five models judged 419 pairs of answers in both orders, with two prompts each; experts said which is better. A row
is one judge (a model and a prompt) on one set: the pairs as they occur, or those that were made to mislead.
"""

from __future__ import annotations

import argparse
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import report
from bench.procs import Unavailable
from bench.report import Report
from tidegate.core.stats.screening import Estimate
from tidegate.jobs.evals.card import Card, Policy, made, why_not
from tidegate.jobs.evals.labels import Item, Labels

RECORDED = "judges/llmbar_judge_verdicts.json.gz"
SETS = ("Natural", "Adversarial")
POLICY = Policy()


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> Report:
    if options.data is None:
        raise Unavailable(f"it needs recorded judges: --data DIR, the folder with {RECORDED} in it")
    found = Report("judges", bool(options.quick), report.machine(), report.versions(), {})
    now = datetime.now(UTC)
    verdicts = recorded(options.data)
    for judge, mode in dict.fromkeys((one["judge"], one["mode"]) for one in verdicts):
        for name in SETS:
            held = [
                one for one in verdicts if (one["judge"], one["mode"]) == (judge, mode) and one["id"].startswith(name)
            ]
            card = made(f"{judge}/{mode}", labels(name, held), now, confidence=POLICY.confidence)
            found.rows.append(row(judge, mode, card, why_not(card, POLICY, now)))
    found.rows.sort(key=lambda one: (SETS.index(one["set"]), one["mode"] != "Vanilla", -one["accuracy"]))
    found.figures = {
        "judges": len(found.rows),
        "may_gate": sum(one["may_gate"] for one in found.rows),
        "judgments": sum(2 * one["items"] for one in found.rows),
    }
    return found


def recorded(data: Path) -> list[dict[str, Any]]:
    path = data / RECORDED
    try:
        verdicts: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
    except OSError:
        raise Unavailable(f"{path} is not there; --data DIR is the folder that has judges/") from None
    return verdicts


def labels(name: str, verdicts: list[dict[str, Any]]) -> Labels:
    items = tuple(Item(one["id"], {"experts": str(one["gold"])}, (one["ab"], one["ba"])) for one in verdicts)
    return Labels(name, "", "pair", items)


def row(judge: str, mode: str, card: Card, reasons: list[str]) -> dict[str, Any]:
    """Nothing is rounded, so that others can hold their own computation beside it."""

    def least(found: Estimate) -> float | None:
        return found.low

    return {
        "judge": judge,
        "mode": mode,
        "set": card.labels,
        "items": card.items,
        "malformed": card.malformed,
        "accuracy": card.accuracy.value,
        "accuracy_low": least(card.accuracy),
        "kappa": card.kappa.value,
        "kappa_low": least(card.kappa),
        "kappa_both": card.kappa_both,
        "swap_agreement": card.orders.value,
        "swap_agreement_low": least(card.orders),
        "first_share": card.first_share,
        "sensitivity": card.sensitivity.value,
        "specificity": card.specificity.value,
        "may_gate": not reasons,
        "why_not": reasons,
    }


SHOWN = ("accuracy", "accuracy_low", "kappa", "kappa_low", "swap_agreement", "first_share")


def said(found: Report) -> str:
    rows = [
        (
            f"{one['judge']} {one['mode']}, {one['set']}",
            *(one[name] for name in SHOWN),
            "yes" if one["may_gate"] else "no",
        )
        for one in found.rows
    ]
    table = report.table(("judge", *SHOWN, "may gate"), rows)
    reasons = [
        f"{one['judge']} {one['mode']}, {one['set']}: {'; '.join(one['why_not'])}"
        for one in found.rows
        if one["why_not"]
    ]
    bars = (
        f"Lower bounds at {POLICY.confidence:.0%} must be above: accuracy {POLICY.accuracy:g}, kappa {POLICY.kappa:g}, "
        f"agreement of both orders {POLICY.orders:g}. kappa is of the first order, accuracy of both."
    )
    return "\n".join((table, "", bars, "", "Why not:", *reasons))
