"""What does a terminal show? How it stands, a line with an interval for each metric, and what was decided."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from tidegate.core.findings import Finding
from tidegate.jobs.rollouts.reports import Report
from tidegate.jobs.rollouts.reports.words import (
    FOLLOWS,
    change,
    dollars,
    edge,
    headline,
    margin,
    minds,
    ratio,
    sentence,
)

WIDE = 41  # of a chart; odd, so that it has a middle


def written(report: Report) -> Iterator[str]:
    yield f"{report.name}: {headline(report)}"
    if report.why:
        yield f"  why: {report.why}"
    people = ", ".join(f"{arm} {report.units.get(arm, 0):,}" for arm in report.arms)
    yield f"  {report.unit}s: {people}"
    spent = ", ".join(f"{arm} {dollars(report.spent_usd.get(arm, 0.0))}" for arm in report.arms)
    yield f"  cost: {spent}"
    if report.ratio is not None:
        yield f"  sample ratio: {ratio(report)}"
    if report.state == "running":
        yield f"  what follows: {FOLLOWS.get(report.did, report.did)}: {report.found}"
        if not report.automatic:
            yield "  a person decides: tidegate experiments advance | promote | rollback"
    if report.findings:
        yield ""
        yield f"  against the control, right in {report.confidence:.0%} of experiments at every look ({legend()})"
        for one in report.findings:
            yield from _line(one)
        yield ""
        yield from (f"  {sentence(one)}" for one in report.findings)
    changing = list(minds(report))
    if changing:
        yield ""
        yield "  what would change this:"
        yield from (f"    {one}" for one in changing)
    if report.decisions:
        yield ""
        yield "  decisions:"
        for said in report.decisions:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(said.at_ms / 1000))
            yield f"    {at}  {said.did:<12}  by {said.by}: {said.why}"
    if report.can:
        yield ""
        yield f"  you can: {', '.join(report.can)}"


def legend() -> str:
    return "│ no difference, ┊ what is allowed or wanted"


def _line(one: Finding) -> Iterator[str]:
    role = f"{'must be better by' if one.role == 'primary' else 'at most'} {margin(one)}"
    units = f"{one.units:,} against {one.control_units:,}"
    yield f"  {one.metric:<16} {one.arm:<12} {chart(one)} {change(one, one.estimate):>14}   {role}; {units}"


def chart(one: Finding) -> str:
    """An interval around no difference, as far to both sides as it or its margin goes."""
    middle = WIDE // 2
    if one.estimate is None:
        return " " * middle + "│" + " " * middle
    low = -math.inf if one.low is None else one.low
    high = math.inf if one.high is None else one.high
    # One that knows little must not push the margin out of sight.
    reach = min(max(abs(low), abs(high), 1.5 * one.margin), 8 * one.margin)

    def at(value: float) -> int:
        return round((max(-reach, min(reach, value)) / reach + 1) / 2 * (WIDE - 1))

    cells = [" "] * WIDE
    cells[at(low) : at(high) + 1] = "─" * (at(high) - at(low) + 1)
    cells[at(edge(one))] = "┊"
    cells[middle] = "│"
    cells[at(low)] = "◂" if low < -reach else "├"
    cells[at(high)] = "▸" if high > reach else "┤"
    cells[at(one.estimate)] = "●"
    return "".join(cells)
