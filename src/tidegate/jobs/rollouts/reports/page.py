"""What does somebody send around? One page: each effect over time with its interval, stages, and what was decided.

It fetches nothing and runs nothing: charts are SVG in the page, and its policy allows no more.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from tidegate.core.experiments import METRICS
from tidegate.core.findings import Finding
from tidegate.jobs.rollouts.reports import Look, Report
from tidegate.jobs.rollouts.reports.words import (
    FOLLOWS,
    VERDICTS,
    between,
    change,
    dollars,
    edge,
    headline,
    margin,
    minds,
    ratio,
    sentence,
    share,
)

WIDTH, HEIGHT = 640, 200
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1b2733;
  background: #fff }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(32rem, 1fr)); gap: 1rem }
figure { margin: 0; padding: .75rem 1rem; border: 1px solid #d9e1e8; border-radius: .5rem }
figcaption, small, th { color: #51606e } strong { font-weight: 600 } svg { width: 100%; height: auto }
.band { fill: #2f7fb8; fill-opacity: .22 } .path { fill: none; stroke: #2f7fb8; stroke-width: 2 }
.zero { stroke: #51606e; stroke-width: 1 } .margin { stroke: #b3261e; stroke-width: 1; stroke-dasharray: 5 4 }
.stage { stroke: #d9e1e8; stroke-width: 1 } text { fill: #51606e; font-size: 11px }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #d9e1e8; vertical-align: top }
.worse { color: #b3261e } .fine { color: #1b7a3d } .open { color: #8a6d00 }
@media (prefers-color-scheme: dark) { body { background: #14191f; color: #dfe6ec }
  figure, th, td { border-color: #33404c }
  figcaption, small, th { color: #9fb0bf } text { fill: #9fb0bf } .stage { stroke: #33404c } .zero { stroke: #9fb0bf }
  .path { stroke: #5aa9e0 } .band { fill: #5aa9e0 } .margin { stroke: #ff8a80 } .worse { color: #ff8a80 }
  .fine { color: #7ddc9a } .open { color: #e6c34d } }
"""


def written(report: Report) -> str:
    styled = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{styled}'"
    title = f"{report.name}: {headline(report)}"
    body = (
        f"<h1>{escape(report.name)}</h1><p><strong>{escape(headline(report))}</strong></p>",
        _summary(report),
        "<h2>Effects over time</h2><p>Each is the arm against the control. The band holds the truth at every look, "
        f"in {report.confidence:.0%} of experiments; the dashed line is what is allowed, or wanted.</p>",
        f"<main>{''.join(_figure(one, report) for one in report.findings) or '<p>None yet.</p>'}</main>",
        _table(report),
        _strata(report),
        _minds(report),
        _log(report),
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>{"".join(body)}</html>\n'
    )


def _summary(report: Report) -> str:
    rows = [
        ("why", report.why),
        ("note", report.note),
        (f"{report.unit}s", ", ".join(f"{arm}: {report.units.get(arm, 0):,}" for arm in report.arms)),
        ("cost so far", ", ".join(f"{arm}: {dollars(report.spent_usd.get(arm, 0.0))}" for arm in report.arms)),
        ("sample ratio", ratio(report)),
        ("stages", " → ".join(share(one) for one in report.ramp)),
        ("as of", when(report.now_ms)),
    ]
    if report.state == "running":
        rows.append(("what follows", f"{FOLLOWS.get(report.did, report.did)}: {report.found}"))
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(said)}</td></tr>" for name, said in rows if said)
    return f"<table>{cells}</table>"


def when(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_ms / 1000))


# --- effects


class Point(NamedTuple):
    at_ms: int
    units: int
    low: float
    estimate: float
    high: float


def sequence(report: Report, finding: Finding) -> list[Point]:
    """What was known of it, look by look; where an end is not known yet, it is not drawn."""
    found = []
    for look in report.looks:
        same = next((one for one in look.findings if (one.arm, one.metric) == (finding.arm, finding.metric)), None)
        if same is not None and same.estimate is not None and same.low is not None and same.high is not None:
            found.append(Point(look.at_ms, same.units, same.low, same.estimate, same.high))
    return found


def _figure(one: Finding, report: Report) -> str:
    points = sequence(report, one)
    drawn = _svg(points, one, report.looks) if len(points) > 1 else ""
    return (
        f"<figure><figcaption>{escape(one.arm)}: {escape(one.metric)}, {escape(METRICS[one.metric].what)}</figcaption>"
        f'<span class="{_kind(one)}">{escape(between(one))}</span>{drawn}'
        f"<small>{escape(sentence(one))}</small></figure>"
    )


def _kind(one: Finding) -> str:
    return {"worse": "worse", "better": "fine", "within": "fine"}.get(one.verdict, "open")


class Scale(NamedTuple):
    """Time from left to right, differences up to `top` and down to its opposite."""

    first_ms: int
    last_ms: int
    top: float

    def x(self, at_ms: int) -> float:
        return (at_ms - self.first_ms) / max(self.last_ms - self.first_ms, 1) * WIDTH

    def y(self, value: float) -> float:
        return HEIGHT / 2 - max(-self.top, min(self.top, value)) / self.top * (HEIGHT / 2 - 4)


def _svg(points: Sequence[Point], finding: Finding, looks: Sequence[Look]) -> str:
    """The first intervals are wide, and are cut off so that the later ones can be read."""
    later = points[len(points) // 3 :]
    ends = [abs(end) for one in later[-3:] for end in (one.low, one.high)]
    scale = Scale(
        points[0].at_ms, points[-1].at_ms, max(1.5 * finding.margin, *ends, *(abs(one.estimate) for one in later))
    )
    x, y = scale.x, scale.y
    upper = " ".join(f"{x(one.at_ms):.1f},{y(one.high):.1f}" for one in points)
    lower = " ".join(f"{x(one.at_ms):.1f},{y(one.low):.1f}" for one in reversed(points))
    path = " ".join(f"{x(one.at_ms):.1f},{y(one.estimate):.1f}" for one in points)
    marks = "".join(
        f'<circle cx="{x(one.at_ms):.1f}" cy="{y(one.estimate):.1f}" r="3" class="band"><title>{when(one.at_ms)}: '
        f"{change(finding, one.estimate)} ({change(finding, one.low)} to {change(finding, one.high)}), {one.units:,} "
        "units with it</title></circle>"
        for one in points
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(finding.metric)} over time">{"".join(_stages(looks, scale))}'
        f'<polygon class="band" points="{upper} {lower}"/>{_across("zero", y(0))}{_across("margin", y(edge(finding)))}'
        f'<polyline class="path" points="{path}"/>{marks}<text x="2" y="12">{change(finding, scale.top)}</text>'
        f'<text x="2" y="{HEIGHT - 3}">{change(finding, -scale.top)}</text></svg>'
    )


def _across(kind: str, y: float) -> str:
    return f'<line class="{kind}" x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _stages(looks: Sequence[Look], scale: Scale) -> Iterator[str]:
    """Where a stage began."""
    before = looks[0].stage if looks else 0
    for look in looks:
        if look.stage != before:
            before, x = look.stage, scale.x(look.at_ms)
            yield f'<line class="stage" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT}"/>'


def _table(report: Report) -> str:
    rows = "".join(
        f"<tr><td>{escape(one.arm)}</td><td>{escape(one.metric)}</td><td>{one.role}</td>"
        f'<td class="{_kind(one)}">{escape(between(one))}</td><td>{escape(margin(one))}</td><td>{one.units:,}</td>'
        f"<td>{one.control_units:,}</td><td>{escape(VERDICTS[one.verdict])}</td></tr>"
        for one in report.findings
    )
    names = ("arm", "metric", "role", "against the control", "margin", "units", "of the control", "")
    head = "".join(f"<th>{name}</th>" for name in names)
    return f"<h2>Metrics</h2><table><tr>{head}</tr>{rows}</table>" if rows else ""


def _strata(report: Report) -> str:
    """Who came in a later stage is not compared with who came in an earlier one."""
    rows = "".join(
        f"<tr><td>{escape(one.arm)}</td><td>{escape(one.metric)}</td><td>{each.stage + 1}</td>"
        f"<td>{change(one, each.estimate)}</td><td>{each.units:,}</td><td>{each.control_units:,}</td></tr>"
        for one in report.findings
        for each in one.strata
    )
    head = "".join(f"<th>{name}</th>" for name in ("arm", "metric", "stage", "effect", "units", "of the control"))
    return f"<h2>Stage by stage</h2><table><tr>{head}</tr>{rows}</table>" if rows else ""


def _minds(report: Report) -> str:
    said = "".join(f"<li>{escape(one)}</li>" for one in minds(report))
    return f"<h2>What would change my mind</h2><ul>{said}</ul>" if said else ""


def _log(report: Report) -> str:
    rows = "".join(
        f"<tr><td>{when(one.at_ms)}</td><td>{escape(one.did)}</td><td>{escape(one.was_state)} {one.was_stage + 1} → "
        f"{escape(one.state)} {one.stage + 1}</td><td>{escape(one.by)}</td><td>{escape(one.why)}</td>"
        f"<td><small>{escape(one.id)}</small></td></tr>"
        for one in report.decisions
    )
    head = "".join(f"<th>{name}</th>" for name in ("when (UTC)", "", "state and stage", "by", "why", "decision"))
    return f"<h2>Decisions</h2><table><tr>{head}</tr>{rows}</table>" if rows else ""
