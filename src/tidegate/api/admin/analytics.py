"""How fast, how good, how dear? The numbers that a business asks for, of the ledger's sums."""

# No postponed annotations here: FastAPI evaluates them.
import asyncio
from calendar import monthrange
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from tidegate.api.admin.moments import iso, span
from tidegate.api.admin.policy import House
from tidegate.api.admin.shapes import paths
from tidegate.api.admin.usage import MAX_PERIODS, Looking, visible
from tidegate.core.analytics import OF, PeopleAsked, PeopleLine, TimesAsked, TimesLine, merged, percentile_us
from tidegate.core.errors import BadRequest, Forbidden
from tidegate.core.money import KINDS, NUSD_PER_USD, Usage
from tidegate.core.ports import Ledger
from tidegate.core.stats import forecast
from tidegate.core.usage import Period, UsageAsked, ms, periods

router = paths(tag="analytics")

BACK = timedelta(days=30)
BY = ("route", "target", "team", "key", "prompt")
TIMED = {"route", "target"}  # by which times are kept
SHARES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
LEARNT_FROM = 28  # days that a forecast looks back
MAX_LINES = 10_000
Key = tuple[int, tuple[str, ...]]
Name = Annotated[str | None, Field(max_length=256)]


class AnalyticsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    since: Annotated[Name, Field(description="A date, a time (ISO 8601), or how long ago: 7d. 30 days ago.")] = None
    until: Annotated[Name, Field(description="The same; now.")] = None
    per: Annotated[Literal["hour", "day", "month", "total"], Field(description="Of UTC.")] = "day"
    by: Annotated[list[str], Field(description=f"Any of {', '.join(BY)}; with commas.")] = []
    team: Name = None
    key: Name = None
    organisation: Name = None


class ShownForecast(BaseModel):
    month: str
    spent_usd: float
    likely_usd: Annotated[float, Field(description="The whole month, if its days go on like the last 28.")]
    least_usd: Annotated[float, Field(description="With nine chances in ten it is between this and the next.")]
    most_usd: float


class ShownAnalytics(BaseModel):
    since: str
    until: str
    lines: Annotated[list[dict[str, Any]], Field(description="How fast, how good and how dear, by period and `by`.")]
    people: Annotated[list[dict[str, Any]], Field(description="Who was there, by period; not by the hour.")]
    forecast: Annotated[ShownForecast | None, Field(description="null when there are fewer than four whole days.")]


@router.get("/admin/analytics")
async def analytics(asked: Annotated[AnalyticsQuery, Query()], principal: Looking, house: House) -> ShownAnalytics:
    """How fast, how good and how dear answers were, who was there, and what the month will cost."""
    now = datetime.fromtimestamp(house.world.clock.wall_ns() / 1e9, UTC)
    only = _only(asked, visible(principal))
    by = tuple(dict.fromkeys(name.strip() for names in asked.by for name in names.split(",") if name.strip()))
    for name in by:
        if name not in BY:
            raise BadRequest(f"by: there is no {name[:40]!r}; there are: {', '.join(BY)}", param="by")
    spans = _periods(asked, now)
    ledger = house.world.ledger
    # At once, so that what waits to be stored is waited for once.
    people, (lines, spent), ahead = await asyncio.gather(
        ledger.people(PeopleAsked(spans if asked.per != "hour" else (), only)),
        _lines(ledger, spans, by, only),
        expected(ledger, only, now),
    )
    return ShownAnalytics(
        since=iso(spans[0].begin_ms, UTC),
        until=iso(spans[-1].until_ms, UTC),
        lines=[{"from": iso(begin, UTC), **dict(zip(by, _none(names), strict=True)), **line}
               for (begin, names), line in lines.items()],
        people=[_people(one, spent.get(one.begin_ms, 0)) for one in people],
        forecast=ahead,
    )  # fmt: skip


def _only(asked: AnalyticsQuery, seen: Mapping[str, str]) -> dict[str, str]:
    given = {name: value for name in OF if (value := getattr(asked, name)) is not None}
    for name, value in seen.items():
        if given.setdefault(name, value) != value:
            raise Forbidden(f"{name}: only {value!r} can be seen here")
    return given


def _periods(asked: AnalyticsQuery, now: datetime) -> tuple[Period, ...]:
    """Whole hours, or whole days of UTC."""
    unit = timedelta(hours=1) if asked.per == "hour" else timedelta(days=1)
    since, until = span(asked.since, asked.until, now, BACK)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    begin, end = epoch + (since - epoch) // unit * unit, epoch - (epoch - until) // unit * unit
    found = tuple(islice(periods(begin, max(end, begin + unit), asked.per), MAX_PERIODS + 1))
    if len(found) > MAX_PERIODS:
        raise BadRequest(f"since, until: more than {MAX_PERIODS} {asked.per}s; ask for less, or per=month", param="per")
    return found


# --- how fast, how good, how dear -----------------------------------------------------------------------------------


async def _lines(
    ledger: Ledger, spans: tuple[Period, ...], by: tuple[str, ...], only: Mapping[str, str]
) -> tuple[dict[Key, dict[str, Any]], dict[int, int]]:
    """By period and names; and what was spent, by period."""
    usage, opinions, times = await asyncio.gather(
        ledger.usage(UsageAsked(spans, (*by, "cache"), only, most=MAX_LINES)),
        ledger.opined(UsageAsked(spans, by, only, most=MAX_LINES)),
        ledger.times(TimesAsked(spans if TIMED.issuperset(by) and not only else (), by)),
    )
    if len(usage) == MAX_LINES:
        raise BadRequest(f"by: more than {MAX_LINES} lines; ask for fewer periods, or by less", param="by")
    said = {(line.begin_ms, line.names): line.sums for line in opinions}
    sums: dict[Key, dict[str, int]] = {}
    spent: dict[int, int] = {}
    for line in usage:
        *names, cache = line.names
        spent[line.begin_ms] = spent.get(line.begin_ms, 0) + line.sums["cost_nusd"]
        total = sums.setdefault((line.begin_ms, tuple(names)), dict.fromkeys((*line.sums, "hits", "asked_cache"), 0))
        for name, value in line.sums.items():
            total[name] += value
        total["hits"] += line.sums["calls"] if cache in ("hit", "shared") else 0
        total["asked_cache"] += line.sums["calls"] if cache in ("hit", "shared", "miss") else 0
    shown = {key: _line(total, said.get(key, {})) for key, total in sums.items()}
    for key, percentiles in _times(times).items():
        shown.setdefault(key, {}).update(percentiles)
    return shown, spent


def _line(sums: Mapping[str, int], said: Mapping[str, int]) -> dict[str, Any]:
    usage = Usage(*(sums[kind] for kind in KINDS))
    calls, cost, completed = sums["calls"], sums["cost_nusd"], said.get("completed", 0)
    writing_us = sums["duration_us"] - sums["first_us"]
    return {
        "calls": calls,
        "success_rate": _share(calls - sums["errors"], calls),
        "cache_hit_rate": _share(sums["hits"], sums["asked_cache"]),
        "input_tokens": usage.input_total,
        "output_tokens": usage.output_total,
        "output_tokens_per_s": round(usage.output_total / writing_us * 1e6, 2) if writing_us > 0 else None,
        "mean_overhead_ms": _share(sums["overhead_us"], calls * 1000),
        "cost_usd": _usd(cost),
        "unpriced": sums["unpriced"],
        "cost_per_call_usd": _usd(cost / calls) if calls else None,
        "saved_by_cache_usd": _usd(sums["saved_nusd"]),
        "satisfaction": _share(said.get("good", 0), said.get("good", 0) + said.get("bad", 0)),
        "completion_rate": _share(completed, said.get("tasks", 0)),
        "cost_per_completed_task_usd": _usd(cost / completed) if completed else None,
    }


def _times(lines: Sequence[TimesLine]) -> dict[Key, dict[str, float | None]]:
    shown: dict[Key, dict[str, float | None]] = {}
    for (begin, names, what), counts in merged(lines).items():
        prefix = "" if what == "duration" else "first_"
        for name, share in SHARES.items():
            us = percentile_us(counts, share)
            shown.setdefault((begin, names), {})[prefix + name] = None if us is None else round(us / 1000, 3)
    return shown


# --- who was there --------------------------------------------------------------------------------------------------


def _people(line: PeopleLine, cost_nusd: int) -> dict[str, Any]:
    sessions = line.sessions
    return {
        "from": iso(line.begin_ms, UTC),
        "end_users": line.end_users,
        "sessions": sessions,
        "calls_per_session": _share(line.session_calls, sessions),
        "minutes_per_session": round(line.session_ms / sessions / 60_000, 3) if sessions else None,
        "retry_rate": _share(line.asked_again, line.session_calls),
        "cost_per_end_user_usd": _usd(cost_nusd / line.end_users) if line.end_users else None,
    }


# --- what the month will cost ---------------------------------------------------------------------------------------


async def expected(ledger: Ledger, only: Mapping[str, str], now: datetime) -> ShownForecast | None:
    """What this month will cost. Days before the first call are no days without calls."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    month, learnt_from = today.replace(day=1), today - timedelta(days=LEARNT_FROM)
    days = tuple(periods(min(month, learnt_from), today + timedelta(days=1), "day"))
    asked = UsageAsked(days, (), only, sums=("cost_nusd",))
    told = {line.begin_ms: line.sums["cost_nusd"] for line in await ledger.usage(asked)}
    learnt = [one.begin_ms for one in days if ms(learnt_from) <= one.begin_ms < ms(today)]
    daily = [told.get(begin, 0) for begin in learnt if told and begin >= min(told)]
    left = monthrange(now.year, now.month)[1] - (now - month) / timedelta(days=1)
    found = forecast(daily, left)
    if found is None:
        return None
    spent = sum(nusd for begin, nusd in told.items() if begin >= ms(month))
    least, likely, most = (_usd(spent + more) for more in found)
    return ShownForecast(month=f"{now:%Y-%m}", spent_usd=_usd(spent), likely_usd=likely, least_usd=least, most_usd=most)


def _share(part: float, of: float) -> float | None:
    return round(part / of, 4) if of else None


def _usd(nusd: float) -> float:
    return round(nusd / NUSD_PER_USD, 9)


def _none(names: Sequence[str]) -> list[str | None]:
    return [name or None for name in names]
