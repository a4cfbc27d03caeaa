"""What does somebody look at? One page with charts, every case, and what changed word by word; it fetches nothing."""

from __future__ import annotations

import base64
import difflib
import hashlib
import re
from collections.abc import Iterator, Sequence
from html import escape

from tidegate.jobs.evals.compare import Change, Comparison, Example
from tidegate.jobs.evals.reports import (
    SIGNS,
    Told,
    between,
    change_name,
    dollars,
    headline,
    number,
    points,
    share,
    shortage,
)
from tidegate.jobs.evals.tally import CaseLine, Criterion, Tally

WIDTH, HEIGHT, BINS = 320, 60, 10
LONGEST = 20_000  # characters of an answer
WORDS = 2_000  # of which two answers are held beside each other word by word

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1b2733;
  background: #fff }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem }
figure { margin: 0; padding: .75rem 1rem; border: 1px solid #d9e1e8; border-radius: .5rem }
figcaption, small, th { color: #51606e } strong { font-size: 1.5rem; font-weight: 600 }
svg { width: 100%; height: 4rem } rect { fill: #2f7fb8 }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #d9e1e8; vertical-align: top }
.regressed, .no { color: #b3261e } .improved, .yes { color: #1b7a3d } .none { color: #8a6d00 }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem } pre { white-space: pre-wrap; overflow-wrap: anywhere;
  margin: 0; padding: .75rem; border: 1px solid #d9e1e8; border-radius: .5rem; font-size: .85rem }
del { background: #fbd5d2; text-decoration: none } ins { background: #cdebd6; text-decoration: none }
details { margin: .5rem 0 } summary { cursor: pointer }
@media (prefers-color-scheme: dark) { body { background: #14191f; color: #dfe6ec }
  figure, pre, th, td { border-color: #33404c } figcaption, small, th { color: #9fb0bf } rect { fill: #5aa9e0 }
  .regressed, .no { color: #ff8a80 } .improved, .yes { color: #7ddc9a } .none { color: #e6c34d }
  del { background: #5c2320 } ins { background: #1d4a2c } }
"""


def written(told: Told, before: str = "") -> str:
    """`before`: what stands above all else of it, as HTML."""
    tally, comparison = told.tally, told.comparison
    title = f"{tally.run.suite}: {tally.run.subject}"
    styled = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{styled}'"
    body = [f"<h1>{escape(title)}</h1><p>{escape(headline(told))}</p>{before}"]
    if comparison is not None:
        body += [_changes(comparison), _examples(comparison.examples)]
    body += [
        f"<h2>Criteria</h2><main>{''.join(_tile(one) for one in tally.criteria)}</main>",
        _besides(tally),
        _tags(tally),
        _cases(tally),
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>{"".join(body)}</html>\n'
    )


# --- what has changed


def _changes(comparison: Comparison) -> str:
    base = f"{comparison.base.subject}, {comparison.base.id}"
    allowed = "".join(f"<p>Allowed: {escape(why)}</p>" for why in comparison.allowed)
    rows = "".join(_change(one, comparison.rule.matters) for one in (*comparison.changes, *comparison.tags))
    head = "".join(
        f"<th>{name}</th>" for name in ("", "criterion", "before", "now", "change", "p", "worse, better", "finds")
    )
    return f"<h2>Against {escape(base)}</h2>{allowed}<table><tr>{head}</tr>{rows}</table>"


def _change(one: Change, matters: float) -> str:
    word = f"{SIGNS[one.verdict]} {one.verdict}" + (", advisory" if one.advisory else "")
    finds = "nothing" if one.smallest is None else f"from {number(one.smallest, one)} on"
    note = f"<br><small>{escape(shortage(one, matters))}</small>" if one.verdict == "underpowered" else ""
    cells = (
        escape(change_name(one)) + note,
        number(one.base, one),
        number(one.head, one),
        between(one),
        f"{one.adjusted:.2g}",
        f"{one.lost}, {one.gained} of {one.cases}" + (f"; {one.left_out} left out" if one.left_out else ""),
        finds,
    )
    kind = one.verdict if one.verdict in ("improved", "regressed") else "quiet"
    return f'<tr><td class="{kind}">{word}</td>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _examples(examples: Sequence[Example]) -> str:
    return "<h2>Examples</h2>" + "".join(_example(one) for one in examples) if examples else ""


def _example(one: Example) -> str:
    word, kind = ("better", "improved") if one.better else ("worse", "regressed")
    before, now = beside(one.base_text[:LONGEST], one.head_text[:LONGEST])
    return (
        f'<details><summary><span class="{kind}">{word}</span>: {escape(one.case)}, {escape(one.criterion)} '
        f'{one.base:g} → {one.head:g}</summary><div class="pair">'
        f"<div><small>before: {escape(one.base_why)}</small><pre>{before}</pre></div>"
        f"<div><small>now: {escape(one.head_why)}</small><pre>{now}</pre></div></div></details>"
    )


def beside(before: str, now: str) -> tuple[str, str]:
    """Both as HTML, what only one of them has marked."""
    left, right = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (before, now))
    if len(left) > WORDS or len(right) > WORDS:
        return escape(before), escape(now)
    was, has = [], []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        gone, new = escape("".join(left[a:b])), escape("".join(right[c:d]))
        was.append(gone if kind == "equal" or not gone else f"<del>{gone}</del>")
        has.append(new if kind == "equal" or not new else f"<ins>{new}</ins>")
    return "".join(was), "".join(has)


# --- what there is


def _tile(one: Criterion) -> str:
    counts = (("malformed", one.malformed), ("refused", one.refused), ("failed", one.failed))
    said = [f"passed {share(one.passed)}"] if one.passed.value is not None else []
    said += [f"as people would: {share(one.corrected)}"] if one.corrected.value is not None else []
    said += [f"{count} {word}" for word, count in counts if count]
    said += ["advisory: this judge may not gate"] if one.advisory else []
    return (
        f"<figure><figcaption>{escape(one.name)}</figcaption><strong>{points(one.mean)}</strong>"
        f"{chart(one.values)}<small>{escape('; '.join(said))}</small></figure>"
    )


def chart(values: Sequence[float]) -> str:
    """How many answers have which score."""
    if not values:
        return ""
    low, high = min(0.0, *values), max(1.0, *values)
    bins = [0] * BINS
    for value in values:
        bins[min(int((value - low) / (high - low) * BINS), BINS - 1)] += 1
    most, step, bars = max(bins), WIDTH / BINS, []
    for at, count in enumerate(bins):
        high_px = max(HEIGHT * count / most, 1) if count else 0
        start, end = (low + (high - low) * edge / BINS for edge in (at, at + 1))
        bars.append(
            f'<rect x="{at * step:.1f}" y="{HEIGHT - high_px:.1f}" width="{step - 2:.1f}" height="{high_px:.1f}">'
            f"<title>{start:g} to {end:g}: {count} answers</title></rect>"
        )
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img">{"".join(bars)}</svg>'


def _besides(tally: Tally) -> str:
    times = (
        f", half in {tally.p50_ms:,.0f} ms, 95 of 100 in {tally.p95_ms:,.0f} ms"
        if tally.p50_ms and tally.p95_ms
        else ""
    )
    lines = [
        f"{len(tally.run.cases)} cases, each asked {tally.run.repeats} times; {tally.answers} answers{times}",
        f"{dollars(tally.cost_nusd)}, and {dollars(tally.judging_nusd)} for judging",
    ]
    if tally.flaky:
        lines.append(f"flaky: {', '.join(tally.flaky)}")
    if tally.missing:
        lines.append(f"missing: {', '.join(f'{case} #{repeat + 1}' for case, repeat in tally.missing)}")
    if tally.errors:
        lines.append(f"without an answer: {', '.join(f'{code} ({count})' for code, count in tally.errors.items())}")
    if tally.undecided:
        lines.append(f"of {tally.undecided} answers nobody who may decide has said anything")
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _tags(tally: Tally) -> str:
    rows = "".join(f"<tr><td>{escape(tag)}</td><td>{share(found)}</td></tr>" for tag, found in tally.tags.items())
    return f"<h2>Tags</h2><table><tr><th>tag</th><th>passed</th></tr>{rows}</table>" if rows else ""


def _cases(tally: Tally) -> str:
    head = "<tr><th>case</th><th>every repeat</th><th>tags</th><th></th></tr>"
    return f"<h2>Cases</h2><table>{head}{''.join(_case(line) for line in tally.cases)}</table>"


def _case(line: CaseLine) -> str:
    marks = "".join(_marks(line))
    flaky = " <small>flaky</small>" if line.flaky else ""
    return (
        f"<tr><td>{escape(line.case)}{flaky}</td><td>{marks}</td><td>{escape(', '.join(line.tags))}</td>"
        f"<td>{escape(line.why)}</td></tr>"
    )


def _marks(line: CaseLine) -> Iterator[str]:
    for passed in line.passed:
        kind, sign = ("yes", "✓") if passed else ("none", "?") if passed is None else ("no", "✗")
        yield f'<span class="{kind}">{sign}</span> '
    yield "– " * line.missing
