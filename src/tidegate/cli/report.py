"""tidegate report: how fast, how good, how dear? In the terminal, or as one page with charts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import click

from tidegate.cli.chat import Line
from tidegate.cli.shared import KEY, URL
from tidegate.cli.usage import sparkline
from tidegate.core.errors import ConfigError


class Figure(NamedTuple):
    """One number, by period."""

    name: str
    title: str
    unit: str  # % · ms · $ · nothing
    of_people: bool = False


FIGURES = (
    Figure("calls", "Calls", ""),
    Figure("success_rate", "Answered", "%"),
    Figure("p50_ms", "Time of an answer, half of them", "ms"),
    Figure("p95_ms", "Time of an answer, 95 of 100", "ms"),
    Figure("p99_ms", "Time of an answer, 99 of 100", "ms"),
    Figure("first_p50_ms", "Until the first word, half of them", "ms"),
    Figure("first_p95_ms", "Until the first word, 95 of 100", "ms"),
    Figure("output_tokens_per_s", "Tokens a second", ""),
    Figure("cache_hit_rate", "Answered by the cache", "%"),
    Figure("cost_usd", "Cost", "$"),
    Figure("cost_per_call_usd", "Cost of a call", "$"),
    Figure("saved_by_cache_usd", "Saved by the cache", "$"),
    Figure("end_users", "End users", "", of_people=True),
    Figure("cost_per_end_user_usd", "Cost of an end user", "$", of_people=True),
    Figure("sessions", "Sessions", "", of_people=True),
    Figure("calls_per_session", "Calls of a session", "", of_people=True),
    Figure("minutes_per_session", "Minutes of a session", "", of_people=True),
    Figure("retry_rate", "Asked again", "%", of_people=True),
    Figure("satisfaction", "Content, of those who said", "%"),
    Figure("completion_rate", "Tasks that were done", "%"),
    Figure("cost_per_completed_task_usd", "Cost of a task that was done", "$"),
)
WIDTH, HEIGHT = 320, 60  # of a chart


@click.command()
@click.option("--since", default="30d", show_default=True, help="2026-11-01, or how long ago.")
@click.option("--until", help="The same; now.")
@click.option("--per", type=click.Choice(["day", "month"]), default="day", show_default=True)
@click.option("--team", help="Only of this team; without times, which are not kept by team.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="A page of its own, with charts.")
@URL
@KEY
def report(url: str, key: str | None, html: Path | None, **asked: str | None) -> None:
    """How fast, how good and how dear answers were, who was there, and what the month will cost.

    \b
    tidegate report
    tidegate report --since 2026-11-01 --html november.html
    """
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create")
    line, given = Line(url, key), {name: value for name, value in asked.items() if value}
    found = json.loads(line.get(f"/admin/analytics?{urlencode(given)}")[0])
    whole = json.loads(line.get(f"/admin/analytics?{urlencode(given | {'per': 'total'})}")[0])
    if html is None:
        for text in _told(found, whole):
            click.echo(text)
        return
    try:
        html.write_text(_page(found, whole), encoding="utf-8")
    except OSError as wrong:
        raise ConfigError(f"cannot write {html}: {wrong.strerror or wrong}") from None
    click.echo(f"wrote {html}")


def _series(found: dict[str, Any], figure: Figure) -> list[float | None]:
    """By period; of those without calls, nothing is known of what is a share or a time."""
    lines = {line["from"]: line for line in found["people" if figure.of_people else "lines"]}
    return [lines.get(one["from"], {}).get(figure.name) for one in found["people"]]


def _whole(whole: dict[str, Any], figure: Figure) -> float | None:
    lines = whole["people" if figure.of_people else "lines"]
    value: float | None = lines[0].get(figure.name) if lines else None
    return value


def _told(found: dict[str, Any], whole: dict[str, Any]) -> list[str]:
    lines = [f"{found['since'][:10]} to {found['until'][:10]}"]
    for figure in FIGURES:
        value = _whole(whole, figure)
        if value is not None:
            bars = sparkline([round((one or 0) * 1e6) for one in _series(found, figure)])
            lines.append(f"{figure.title:36} {_shown(value, figure.unit):>12}  {bars}")
    return [*lines, *_month(found)]


def _month(found: dict[str, Any]) -> list[str]:
    month = found["forecast"]
    if month is None:
        return []
    return [
        f"{month['month']}: ${month['spent_usd']:,.2f} so far, about ${month['likely_usd']:,.2f} in all "
        f"(nine in ten: ${month['least_usd']:,.2f} to ${month['most_usd']:,.2f})"
    ]


def _shown(value: float, unit: str) -> str:
    if unit == "%":
        return f"{value:.1%}"
    if unit == "$":
        return f"${value:,.2f}" if value >= 1 else f"${value:.6f}"
    if unit == "ms":
        return f"{value / 1000:,.2f} s" if value >= 1000 else f"{value:.0f} ms"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


# --- the page -------------------------------------------------------------------------------------------------------

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1b2733;
  background: #fff }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem }
figure { margin: 0; padding: .75rem 1rem; border: 1px solid #d9e1e8; border-radius: .5rem }
figcaption { color: #51606e } strong { font-size: 1.5rem; font-weight: 600 } svg { width: 100%; height: 4rem }
rect { fill: #2f7fb8 } small { color: #51606e }
@media (prefers-color-scheme: dark) { body { background: #14191f; color: #dfe6ec } figure { border-color: #33404c }
  figcaption, small { color: #9fb0bf } rect { fill: #5aa9e0 } }
"""


def _page(found: dict[str, Any], whole: dict[str, Any]) -> str:
    """Everything in one file: no script, nothing fetched."""
    days = [one["from"][:10] for one in found["people"]]
    charts = [
        f"<figure><figcaption>{escape(figure.title)}</figcaption><strong>{_shown(value, figure.unit)}</strong>"
        f"{_chart(days, _series(found, figure), figure.unit)}</figure>"
        for figure in FIGURES
        if (value := _whole(whole, figure)) is not None
    ]
    head = f"{found['since'][:10]} to {found['until'][:10]}"
    month = "".join(f"<p>{escape(text)}</p>" for text in _month(found))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Tidegate, {head}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{head}</h1>{month}<main>{''.join(charts)}</main>"
        "<p><small>Days are those of UTC. Times are right to 2.5 %; everything else was counted.</small></p></html>\n"
    )


def _chart(days: Sequence[str], values: Sequence[float | None], unit: str) -> str:
    most = max((value for value in values if value is not None), default=0) or 1
    step = WIDTH / max(len(values), 1)
    bars = []
    for at, (day, value) in enumerate(zip(days, values, strict=True)):
        if value is not None:
            high = max(HEIGHT * value / most, 1)
            bars.append(
                f'<rect x="{at * step:.1f}" y="{HEIGHT - high:.1f}" width="{max(step - 1, 1):.1f}" '
                f'height="{high:.1f}"><title>{day}: {_shown(value, unit)}</title></rect>'
            )
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img">{"".join(bars)}</svg>'
