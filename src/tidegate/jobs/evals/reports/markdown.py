"""What stands below a pull request? The verdict first, then the figures, then examples to unfold; in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tidegate.jobs.evals.compare import Change, Comparison
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
from tidegate.jobs.evals.tally import Tally

LONGEST = 600  # characters of an answer
FEW = 10  # of anything that is listed
MOST = 60_000  # characters: GitHub takes 65,536


def written(told: Told) -> str:
    text = "\n".join(_lines(told)) + "\n"
    return text if len(text) <= MOST else text[:MOST].rsplit("\n<details>", 1)[0] + "\n\n… and more than fits here.\n"


def _lines(told: Told) -> Iterator[str]:
    tally, comparison = told.tally, told.comparison
    yield f"### {plain(tally.run.suite)}: {plain(headline(told))}"
    yield ""
    if comparison is not None:
        yield from _changes(comparison)
    yield from _criteria(tally)
    yield from _besides(tally)
    if comparison is not None:
        yield from _examples(comparison)


def _changes(comparison: Comparison) -> Iterator[str]:
    yield from (f"> {plain(why)}\n" for why in comparison.allowed)
    yield f"Against {plain(comparison.base.id)} ({plain(comparison.base.subject)}):"
    yield ""
    yield "| | criterion | before | now | change | p | cases worse, better |"
    yield "|---|---|---|---|---|---|---|"
    tags = [one for one in comparison.tags if one.verdict in ("improved", "regressed")]
    for one in (*comparison.changes, *tags):
        yield _row(one)
    short = [one for one in comparison.changes if one.verdict == "underpowered"]
    yield ""
    for one in short:
        yield f"{plain(one.criterion)}: {shortage(one, comparison.rule.matters)}."
    if short:
        yield ""


def _row(one: Change) -> str:
    word = f"{SIGNS[one.verdict]} {one.verdict}" + (", advisory" if one.advisory else "")
    cells = (
        f"**{word}**" if one.verdict == "regressed" else word,
        plain(change_name(one)),
        number(one.base, one),
        number(one.head, one),
        between(one),
        f"{one.adjusted:.2g}",
        f"{one.lost}, {one.gained} of {one.cases}" + (f" ({one.left_out} left out)" if one.left_out else ""),
    )
    return f"| {' | '.join(cells)} |"


def _criteria(tally: Tally) -> Iterator[str]:
    yield "| criterion | mean | passed | as people would | no verdict |"
    yield "|---|---|---|---|---|"
    for one in tally.criteria:
        name = plain(one.name) + (" (advisory)" if one.advisory else "")
        counts = (("malformed", one.malformed), ("refused", one.refused), ("failed", one.failed))
        none = ", ".join(f"{count} {word}" for word, count in counts if count) or "–"
        yield f"| {name} | {points(one.mean)} | {share(one.passed)} | {share(one.corrected)} | {none} |"
    yield ""


def _besides(tally: Tally) -> Iterator[str]:
    repeats = f", each {tally.run.repeats} times" if tally.run.repeats > 1 else ""
    cost = f"{dollars(tally.cost_nusd)}, and {dollars(tally.judging_nusd)} for judging"
    yield f"{len(tally.run.cases)} cases{repeats}; {cost}."
    if tally.flaky:
        yield f"Flaky: {_some(tally.flaky)}."
    if tally.missing:
        cases = list(dict.fromkeys(case for case, _ in tally.missing))
        yield f"Missing: {len(tally.missing)} answers, of {_some(cases)}."
    if tally.errors:
        yield f"Without an answer: {_some([f'{code} ({count})' for code, count in tally.errors.items()])}."
    if tally.undecided:
        yield f"Of {tally.undecided} answers nobody who may decide has said anything."
    yield ""


def _examples(comparison: Comparison) -> Iterator[str]:
    for one in comparison.examples:
        what = f"{'better' if one.better else 'worse'}: {tagless(one.case)}, {tagless(one.criterion)}"
        yield f"<details><summary>{what} {one.base:g} → {one.head:g}</summary>"
        yield ""
        yield from _quoted("before", one.base_text, one.base_why)
        yield from _quoted("now", one.head_text, one.head_why)
        yield "</details>"


def _quoted(what: str, text: str, why: str) -> Iterator[str]:
    """In a fence that is longer than any in the text, so that an answer stays what it is."""
    cut = text[:LONGEST] + ("…" if len(text) > LONGEST else "")
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", cut)), default=0))
    yield f"{what}: {plain(why[:LONGEST])}" if why else f"{what}:"
    yield fence
    yield cut
    yield fence


def plain(text: str) -> str:
    """On one line, and nothing but text: no table, link, tag or mention is made of it."""
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", tagless(text)).replace("&\\#", "&#")


def tagless(text: str) -> str:
    """The same inside of HTML, where Markdown is not read."""
    line = " ".join(text.split())
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("@", "&#64;")):
        line = line.replace(sign, instead)
    return line


def _some(names: Sequence[str]) -> str:
    return ", ".join(plain(name) for name in names[:FEW]) + (
        f" and {len(names) - FEW} more" if len(names) > FEW else ""
    )
