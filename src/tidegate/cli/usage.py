"""tidegate usage: who used how much, and what did it cost?"""

from __future__ import annotations

import json
from typing import Any, NamedTuple
from urllib.parse import urlencode

import click

from tidegate.cli.chat import Line
from tidegate.cli.shared import KEY, URL
from tidegate.core.errors import ConfigError
from tidegate.core.money import usd_text

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 40  # of a sparkline
PAGE = 10_000


class Sum(NamedTuple):
    """What one group used in all, and what it cost in each period."""

    calls: int
    errors: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    cost_nusd: int
    costs: list[int]

    def plus(self, other: Sum) -> Sum:
        return Sum(
            self.calls + other.calls,
            self.errors + other.errors,
            self.unpriced + other.unpriced,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_nusd + other.cost_nusd,
            [a + b for a, b in zip(self.costs, other.costs, strict=True)],
        )


@click.command()
@click.option("--by", default="", help="What tells lines apart: team, key, route, target, end_user… with commas.")
@click.option("--per", type=click.Choice(["hour", "day", "month", "total"]), default="day", show_default=True)
@click.option("--since", help="2026-11-01, or how long ago: 7d. 30 days ago.")
@click.option("--until", help="The same; now.")
@click.option("--zone", help="Whose days and months: Europe/Berlin. UTC.")
@click.option("--own", is_flag=True, help="Only what this key used; any key may ask.")
@click.option("--csv", "as_csv", is_flag=True, help="Every line, for a spreadsheet.")
@URL
@KEY
def usage(own: bool, as_csv: bool, url: str, key: str | None, **asked: str | None) -> None:
    """What was used, and what it cost: a table, with a line of costs over time.

    \b
    tidegate usage --by team
    tidegate usage --by key,target --per hour --since 24h
    tidegate usage --own
    tidegate usage --by team --per month --csv > usage.csv
    """
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create")
    line = Line(url, key)
    path = "/v1/usage" if own else "/admin/usage"
    given = {name: value for name, value in asked.items() if value}
    if as_csv:
        _export(line, path, given)
        return
    try:
        periods, sums = _read(line, path, given)
    except ConfigError as wrong:
        hint = "; what this key itself used: tidegate usage --own" if "HTTP 403" in wrong.message and not own else ""
        raise ConfigError(f"{wrong.message}{hint}") from None
    for text in _table(_split(asked["by"]), periods, sums):
        click.echo(text)


def _export(line: Line, path: str, given: dict[str, str]) -> None:
    """All pages as one."""
    after: str | None = None
    while True:
        text, headers = line.get(f"{path}?{urlencode(_page(given, after) | {'format': 'csv'})}")
        click.echo(text if after is None else text.partition("\n")[2], nl=False)
        after = headers.get("x-tidegate-next")
        if after is None:
            return


def _page(given: dict[str, str], after: str | None) -> dict[str, str]:
    return given | {"limit": str(PAGE)} | ({"after": after} if after else {})


def _read(line: Line, path: str, given: dict[str, str]) -> tuple[list[str], dict[tuple[str, ...], Sum]]:
    found: dict[tuple[str, ...], Sum] = {}
    after: str | None = None
    while True:
        page = json.loads(line.get(f"{path}?{urlencode(_page(given, after))}")[0])
        places = {begin: place for place, begin in enumerate(page["periods"])}
        for one in page["lines"]:
            group = tuple(one[name] or "(none)" for name in _split(given.get("by")))
            found[group] = _add(found.get(group) or Sum(0, 0, 0, 0, 0, 0, [0] * len(places)), one, places[one["from"]])
        given = given | {"since": page["since"], "until": page["until"]}  # `now` is another one by the next page
        after = page["next"]
        if after is None:
            return page["periods"], found


def _split(names: str | None) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in (names or "").split(",") if name.strip()))


def _add(sum: Sum, one: dict[str, Any], place: int) -> Sum:
    sum.costs[place] += one["cost_nusd"]
    return sum._replace(**{name: getattr(sum, name) + one[name] for name in Sum._fields if name != "costs"})


def _table(by: list[str], periods: list[str], sums: dict[tuple[str, ...], Sum]) -> list[str]:
    """Rows by falling cost, and their sum."""
    rows = [[*by, "calls", "errors", "input", "output", "cost", ""]]
    ordered = sorted(sums.items(), key=lambda item: (-item[1].cost_nusd, -item[1].calls, item[0]))
    whole = Sum(0, 0, 0, 0, 0, 0, [0] * len(periods))
    for names, one in ordered:
        rows.append([*(name if name.isprintable() else repr(name) for name in names), *_cells(one)])
        whole = whole.plus(one)
    if by or not ordered:
        rows.append([*("all" if not place else "" for place in range(len(by))), *_cells(whole)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(_fit(row, widths, len(by))).rstrip() for row in rows]
    if whole.unpriced:
        lines.append(f"{whole.unpriced} calls are of unknown cost and count as nothing here")
    return lines


def _fit(row: list[str], widths: list[int], names: int) -> list[str]:
    """Names and sparklines to the left, numbers to the right."""
    last = len(row) - 1
    return [
        cell.ljust(width) if place < names or place == last else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _cells(one: Sum) -> list[str]:
    numbers = (one.calls, one.errors, one.input_tokens, one.output_tokens)
    return [*(f"{number:,}" for number in numbers), f"${usd_text(one.cost_nusd)[:-3]}", sparkline(one.costs)]


def sparkline(costs: list[int]) -> str:
    """Costs over time, the dearest as high as can be; many are put together."""
    step = -(-len(costs) // WIDTH) or 1
    heights = [sum(costs[begin : begin + step]) for begin in range(0, len(costs), step)]
    most = max(heights, default=0)
    return "".join(BARS[height * (len(BARS) - 1) // most] if most else BARS[0] for height in heights)
