"""How are limits and budgets said on a command line? requests=60/1m, at_once=4; 5/day, 100/month@Europe/Berlin."""

from __future__ import annotations

from typing import Any, get_args

import click

from tidegate.core.errors import BadRequest
from tidegate.core.limits import Budget, Limit, Of, Period
from tidegate.core.money import NUSD_PER_USD, usd_text
from tidegate.core.values import Duration

MOST_USD = 1_000_000

LIMIT = click.option(
    "--limit", "limits", multiple=True, help="requests=60/1m, tokens=100000/1d, at_once=4; several, or '' for none."
)
BUDGET = click.option(
    "--budget", "budgets", multiple=True, help="Dollars: 5/day, 100/month@Europe/Berlin, 20/week/rolling, 50/total."
)


def limit(text: str) -> Limit:
    """Raises BadRequest."""
    of, equals, rest = text.partition("=")
    most, slash, within = rest.partition("/")
    if of not in get_args(Of) or not equals or not most.isdigit() or (of == "at_once") == bool(slash):
        raise BadRequest(f"--limit {text[:60]!r}: say it as requests=60/1m, tokens=100000/1d or at_once=4")
    try:
        per_s = round(Duration.parse(within)) if slash else 0
    except ValueError as wrong:
        raise BadRequest(f"--limit {text[:60]!r}: {wrong}") from None
    return Limit(of, int(most), per_s)  # type: ignore[arg-type]


def budget(text: str) -> Budget:
    """Raises BadRequest."""
    plain, at, zone = text.partition("@")
    usd, _, period = plain.partition("/")
    per, _, rolling = period.partition("/")
    try:
        dollars = float(usd)
    except ValueError:
        dollars = -1.0
    words = per in get_args(Period) and rolling in ("", "rolling") and bool(at) == bool(zone)
    if not words or not 0 <= dollars <= MOST_USD:
        raise BadRequest(
            f"--budget {text[:60]!r}: say it as 5/day, 100/month@Europe/Berlin, 20/week/rolling or 50/total"
        )
    return Budget(round(dollars * NUSD_PER_USD), per, bool(rolling), zone or "UTC")  # type: ignore[arg-type]


def limit_text(limit: Limit) -> str:
    return f"{limit.of}={limit.most}" + (f"/{limit.per_s}s" if limit.per_s else "")


def budget_text(budget: Budget) -> str:
    zone = "" if budget.zone == "UTC" else f"@{budget.zone}"
    usd = usd_text(budget.nusd).rstrip("0").rstrip(".")
    return f"{usd}/{budget.per}{'/rolling' if budget.rolling else ''}{zone}"


def bounds(limits: tuple[str, ...], budgets: tuple[str, ...]) -> dict[str, Any]:
    """Limits and budgets, where some were said."""
    fields: dict[str, Any] = {}
    if limits:
        fields["limits"] = tuple(limit(text) for text in limits if text)
    if budgets:
        fields["budgets"] = tuple(budget(text) for text in budgets if text)
    return fields
