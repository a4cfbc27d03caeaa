"""How is a finding said? In plain words, and never that something is significant: how large, how sure, against what."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.core.experiments import METRICS
from tidegate.core.findings import Finding
from tidegate.core.rollout import WRONG_RATIO
from tidegate.jobs.rollouts.reports import Report

STATES = {
    "draft": "a draft: nobody gets an arm",
    "gate": "at the gate: the suite is asked, and nobody gets an arm yet",
    "running": "running",
    "promoted": "promoted",
    "rolled_back": "taken back: everybody has the control",
    "inconclusive": "ended without enough evidence: everybody has the control",
    "stopped": "stopped: everybody has the control",
}
FOLLOWS = {
    "wait": "nothing yet",
    "advance": "the next stage",
    "promote": "promotion",
    "roll_back": "taking it back",
    "inconclusive": "an end without enough evidence",
    "blocked": "nothing: decisions are blocked",
}


def headline(report: Report) -> str:
    said = STATES.get(report.state, report.state)
    if report.state == "running":
        said = f"running at stage {report.stage + 1} of {len(report.ramp)}, {share(report.ramp[report.stage])} of units"
    if report.state == "promoted":
        said = f"promoted: everybody has {report.arm}"
    return said


def change(one: Finding, value: float | None) -> str:
    """A difference: relative for what is compared as a ratio, in points for shares."""
    if value is None:
        return "unknown"
    match METRICS[one.metric].kind:
        case "ratio":
            return f"{value * 100:+.1f} %"
        case "share":
            return f"{value * 100:+.2f} points"
        case "mean":
            return f"{value:+.3f}"


def margin(one: Finding) -> str:
    return change(one, one.margin).lstrip("+-")


def between(one: Finding) -> str:
    if one.estimate is None:
        return "nothing is known yet"
    low, high = (change(one, end) if end is not None else "anything" for end in (one.low, one.high))
    return f"{change(one, one.estimate)} ({low} to {high})"


def edge(one: Finding) -> float:
    """Where its margin is, on the side on which it matters."""
    is_above = (METRICS[one.metric].better == "lower") == (one.role == "guard")
    return one.margin if is_above else -one.margin


VERDICTS = {
    "worse": "worse",
    "better": "better, as much as wanted",
    "within": "not worse by more than is allowed",
    "unsure": "not sure",
    "unknown": "too few to say",
}


def sentence(one: Finding) -> str:
    """What is known of it, for somebody who knows no statistics."""
    where = f"{one.arm}, {one.metric}: {between(one)} against the control"
    match one.verdict:
        case "worse":
            return f"{where}: it is worse, and likely by more than the {margin(one)} that matters"
        case "better":
            return f"{where}: it is better, and likely by the {margin(one)} wanted"
        case "within":
            return f"{where}: it is not worse by more than the {margin(one)} that is allowed"
        case "unsure" if one.role == "guard":
            return f"{where}: that it is not worse by more than {margin(one)} is not sure"
        case "unsure":
            return f"{where}: that it is better is not sure; {margin(one)} is wanted"
        case "unknown":
            return (
                f"{one.arm}, {one.metric}: too few have sent it: {one.units:,} with it, {one.control_units:,} without"
            )


def minds(report: Report) -> Iterator[str]:
    """What would change it."""
    for one in report.findings:
        if one.verdict in ("unsure", "unknown"):
            yield f"{one.arm}, {one.metric}: {_more(one, report.unit)}"
        elif one.verdict == "worse":
            yield f"{one.arm}, {one.metric}: nothing more of this; only that it was measured wrongly"


def _more(one: Finding, unit: str) -> str:
    if one.needs:
        return f"some {one.needs:,} more {unit}s with it would probably tell"
    return "it has to be seen of more of them first" if one.verdict == "unknown" else "more of them would hardly tell"


def ratio(report: Report) -> str:
    found = report.ratio
    if found is None:
        return ""
    said = ", ".join(
        f"{arm} {count:,} of {found.expected.get(arm, 0):,.0f} expected" for arm, count in found.units.items()
    )
    if found.chance < WRONG_RATIO:
        return f"wrong in stage {found.stage + 1}: {said}; decisions are blocked"
    return f"as it should be in stage {found.stage + 1}: {said}"


def share(value: float) -> str:
    return f"{value * 100:g} %"


def dollars(usd: float) -> str:
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.6f}"
