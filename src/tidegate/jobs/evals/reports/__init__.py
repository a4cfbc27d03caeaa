"""How is it told? To a pipeline (JUnit, JSON), below a pull request (Markdown), and on a page of its own (HTML)."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from tidegate.core.stats.screening import Estimate
from tidegate.jobs.evals.compare import Change, Comparison, Verdict
from tidegate.jobs.evals.results import Results
from tidegate.jobs.evals.tally import Tally

SIGNS: dict[Verdict, str] = {"improved": "▲", "regressed": "▼", "no evidence": "=", "underpowered": "?"}


class Told(NamedTuple):
    """A run, and what it was compared with."""

    results: Results
    tally: Tally
    comparison: Comparison | None = None


def as_json(told: Told) -> str:
    whole = {"tally": told.tally, "comparison": told.comparison}
    return msgspec.json.format(msgspec.json.encode(whole), indent=1).decode() + "\n"


def headline(told: Told) -> str:
    """What somebody must know who reads nothing else."""
    tally, comparison = told.tally, told.comparison
    said = f"{share(tally.passed)} of {tally.answers} answers passed" if tally.passed.value is not None else ""
    parts = [said or f"{tally.answers} answers, and nobody who may say whether they pass"]
    if comparison is not None:
        worse = [change_name(one) for one in comparison.regressed]
        better = [change_name(one) for one in comparison.changes if one.verdict == "improved" and not one.advisory]
        parts.append(f"worse: {', '.join(worse)}" if worse else "nothing is worse for sure")
        if better:
            parts.append(f"better: {', '.join(better)}")
    if tally.missing:
        parts.append(f"{len(tally.missing)} answers are missing")
    if tally.flaky:
        parts.append(f"{len(tally.flaky)} cases are flaky")
    return "; ".join(parts)


def change_name(one: Change) -> str:
    return f"{one.criterion} [{one.tag}]" if one.tag else one.criterion


def share(found: Estimate) -> str:
    if found.value is None:
        return "–"
    return f"{found.value:.1%}" + (f" ({found.low:.0%} to {found.high:.0%})" if found.low is not None else "")


def points(found: Estimate) -> str:
    if found.value is None:
        return "–"
    return f"{found.value:.2f}" + (f" ({found.low:.2f} to {found.high:.2f})" if found.low is not None else "")


def number(value: float, one: Change, sign: str = "") -> str:
    return f"{value:{sign}.1%}" if one.kind == "share" else f"{value:{sign}.2f}"


def between(one: Change) -> str:
    return f"{number(one.difference.low or 0.0, one, '+')} to {number(one.difference.high or 0.0, one, '+')}"


def shortage(one: Change, matters: float) -> str:
    """What an underpowered comparison can see, and what it would take."""
    least = "nothing is found" if one.smallest is None else f"only a change of {number(one.smallest, one)} is found"
    return f"with {one.cases} cases {least}; about {one.wanted} would show {matters:.0%} of the scale"


def dollars(nusd: int) -> str:
    return f"${nusd / 1e9:,.2f}" if nusd >= 1e9 else f"${nusd / 1e9:.6f}"
