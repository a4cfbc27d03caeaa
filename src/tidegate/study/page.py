"""How is it told? As lines for a terminal, and as one page with a waterfall that fetches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from html import escape
from statistics import median

import msgspec

from tidegate.study.figures import Figures
from tidegate.study.goals import AIMS, Goal, goals
from tidegate.study.levers import LEVERS
from tidegate.study.machine import MAX_OTHERS
from tidegate.study.workload import Law

WIDTH, BAR = 640, 26  # of the waterfall
TOLD = ("cost_vs_naive", "mean_vs_naive", "p99_vs_naive", "success", "wrong_added", "leaks", "runaway_usd")


class Found(msgspec.Struct, frozen=True):
    """All that was measured. `arms`: by name, for each seed; `naive` and the last of them are always there.

    rests_on: by what was changed, our cost as a share of the naive one.
    """

    law: Law
    before: int
    days: int
    naive: list[Figures]
    arms: dict[str, list[Figures]]
    prices: dict[str, float] = {}
    laws: dict[str, dict[str, float]] = {}
    left_out: dict[str, str] = {}
    goals: list[Goal] = []

    @property
    def everything(self) -> list[Figures]:
        return list(self.arms.values())[-1]

    @property
    def others(self) -> float | None:
        """The most of the cores that other programs used, of naive and of everything; None: nobody knows."""
        shares = [one.others for one in (*self.naive, *self.everything)]
        return None if None in shares else max(share for share in shares if share is not None)

    def judged(self) -> Found:
        """With its goals, and what they rest on."""
        each = [headline(naive, ours) for naive, ours in zip(self.naive, self.everything, strict=True)]
        medians = {name: median(one[name] for one in each) for name in AIMS}
        return msgspec.structs.replace(
            self, goals=goals(medians, self.instead(), busy=self.others is None or self.others > MAX_OTHERS)
        )

    def instead(self) -> dict[str, dict[str, float]]:
        """What else was tried: other prices, other laws."""
        return {f"prices of {name}": {"cost_vs_naive": value} for name, value in self.prices.items()} | self.laws


def headline(naive: Figures, ours: Figures) -> dict[str, float]:
    """The figures of one seed."""
    return {
        "cost_vs_naive": ours.cost_nusd / ours.calls / (naive.cost_nusd / naive.calls),
        "mean_vs_naive": ours.mean_s / naive.mean_s,
        "p99_vs_naive": ours.p99_s / naive.p99_s,
        "success": ours.success,
        "success_naive": naive.success,
        "wrong_added": ours.wrong - naive.wrong,
        "leaks": ours.leaks,
        "runaway_usd": ours.runaway_nusd / 1e9,
        "books_differ_nusd": ours.books.differ if ours.books else 0,
    }


def waterfall(found: Found) -> list[tuple[str, float]]:
    """What a month costs: without a gateway, then with one lever more each time."""
    steps = [("naive", found.naive), *((name, each) for name, each in found.arms.items() if not _is_alone(name))]
    return [(name, median(one.month_usd(found.law, found.days) for one in each)) for name, each in steps]


def _is_alone(name: str) -> bool:
    return name.startswith("only ")


def lines(found: Found) -> list[str]:
    """For a terminal."""
    rows = [_row("arm", "a month", "saved", "mean", "P50", "P95", "P99", "first", "success", "wrong", "leaks")]
    for name, each in (("naive", found.naive), *found.arms.items()):
        rows.append(_told(name, each, found))
    first = found.naive[0]
    said = [
        f"{first.calls} calls of {found.law.users:,} users, after {found.before} before them, "
        f"{len(found.naive)} seed(s); seconds and dollars are those of the case study",
        "",
        *rows,
        "",
        *_by_why(found),
        "",
        *map(str, found.goals),
    ]
    said += [f"left out: {name}, since {why}" for name, why in found.left_out.items()]
    return said


def _told(name: str, each: Sequence[Figures], found: Found) -> str:
    of = partial(_median, each)

    return _row(
        name, f"${median(one.month_usd(found.law, found.days) for one in each):,.0f}",
        f"{median(one.calls_saved for one in each):.0%}", *(f"{of(f'{at}_s'):.2f} s" for at in ("mean", "p50", "p95")),
        f"{of('p99_s'):.2f} s", f"{of('first_s'):.2f} s", f"{of('success'):.2%}", f"{of('wrong'):.2%}",
        f"{of('leaks'):.0f}",
    )  # fmt: skip


def _median(each: Sequence[Figures], field: str) -> float:
    found: float = median(getattr(one, field) for one in each)
    return found


def _row(*cells: str) -> str:
    return f"{cells[0]:18}" + "".join(f"{cell:>9}" for cell in cells[1:])


def _by_why(found: Found) -> list[str]:
    """What a reader will ask next."""
    said = []
    for who, each in (("naive", found.naive), ("with everything", found.everything)):
        why = {name: sum(one.unavailable.get(name, 0) for one in each) for one in each for name in one.unavailable}
        told = ", ".join(f"{times} x {name}" for name, times in sorted(why.items())) or "none"
        said.append(f"calls without an answer, {who}: {told}")
    ours, naive = found.everything, found.naive
    said.append(
        f"an agent that asks itself: ${median(one.runaway_nusd for one in ours) / 1e9:.4f}, then refused; "
        f"without a gateway ${median(one.runaway_nusd for one in naive) / 1e9:.2f} in the same time"
    )
    said += _doubtful(found)
    books = [one.books for one in ours if one.books]
    if books:
        differ, calls = sum(one.differ for one in books), sum(one.calls for one in books)
        estimated, charged = sum(one.estimated for one in books) / 1e9, sum(one.charged for one in books) / 1e9
        said.append(
            f"books of ledger, metrics, usage, report and providers: {differ} nano-dollars apart over {calls} closed "
            f"purchases; attempts that were given up are estimated at ${estimated:.4f}, and ${charged:.4f} was charged"
        )
    return said


def _doubtful(found: Found) -> list[str]:
    """What spoils a figure, and is not the gateway's doing."""
    said = [
        f"the semantic cache served nothing, seed {one.seed}: {one.semantic}"
        for one in found.everything
        if one.semantic
    ]
    if found.others is not None and found.others > MAX_OTHERS:
        said.append(f"other programs used {found.others:.0%} of the cores: what calls waited for them counts ten times")
    return said


# --- the page


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1b2733;
  background: #fff }
table { border-collapse: collapse; width: 100% } td, th { padding: .25rem .5rem; text-align: right;
  border-bottom: 1px solid #d9e1e8 } td:first-child, th:first-child { text-align: left } rect { fill: #2f7fb8 }
text { font: 13px system-ui, sans-serif; fill: currentColor } small { color: #51606e }
@media (prefers-color-scheme: dark) { body { background: #14191f; color: #dfe6ec } td, th { border-color: #33404c }
  rect { fill: #5aa9e0 } small { color: #9fb0bf } }
"""


def page(found: Found) -> str:
    """Everything in one file: no script, nothing fetched."""
    table = "".join(
        f"<tr>{_cells(name, each, found)}</tr>" for name, each in (("naive", found.naive), *found.arms.items())
    )
    head = ("arm", "a month", "mean", "P95", "P99", "success", "wrong", "leaks")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>The case study, replayed</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>The case study, replayed</h1><p>{escape(lines(found)[0])}.</p><h2>What a month costs</h2>"
        f"{_bars(waterfall(found))}<h2>Each lever</h2>"
        f"<table><tr>{''.join(f'<th>{one}</th>' for one in head)}</tr>{table}</table>"
        f"<h2>What it rests on</h2>{_listed(map(str, found.goals))}{_rests(found)}"
        f"<h2>What else was seen</h2>{_listed(_by_why(found))}</html>\n"
    )


def _listed(some: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(one)}</li>' for one in some)}</ul>"


def _cells(name: str, each: Sequence[Figures], found: Found) -> str:
    of = partial(_median, each)

    what = LEVERS.get(name.removeprefix("only ").removeprefix("+ "), "one model, asked directly")
    cells = (
        f"${median(one.month_usd(found.law, found.days) for one in each):,.0f}", f"{of('mean_s'):.2f} s",
        f"{of('p95_s'):.2f} s", f"{of('p99_s'):.2f} s", f"{of('success'):.2%}", f"{of('wrong'):.2%}",
        f"{of('leaks'):.0f}",
    )  # fmt: skip
    return f"<td>{escape(name)}<br><small>{escape(what)}</small></td>" + "".join(f"<td>{one}</td>" for one in cells)


def _bars(steps: Sequence[tuple[str, float]]) -> str:
    most, bars = steps[0][1] or 1, []
    for at, (name, usd) in enumerate(steps):
        long, y = max(WIDTH * usd / most, 1), at * (BAR + 6)
        bars.append(
            f'<text x="0" y="{y + 18}">{escape(name)}</text><rect x="130" y="{y}" width="{long:.1f}" height="{BAR}"/>'
            f'<text x="{136 + long:.1f}" y="{y + 18}">${usd:,.0f}</text>'
        )
    high = len(steps) * (BAR + 6)
    return f'<svg viewBox="0 0 {WIDTH + 220} {high}" role="img">{"".join(bars)}</svg>'


def _rests(found: Found) -> str:
    names = ("cost_vs_naive", "mean_vs_naive", "p99_vs_naive", "wrong_added")
    cells = "".join(
        f"<tr><td>{escape(what)}</td>" + "".join(f"<td>{_share(of.get(name))}</td>" for name in names) + "</tr>"
        for what, of in found.instead().items()
    )
    return f"<table><tr><th>changed</th>{''.join(f'<th>{one}</th>' for one in names)}</tr>{cells}</table>"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
