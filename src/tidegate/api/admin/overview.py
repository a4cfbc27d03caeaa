"""How is it going, at one glance? The last minutes, the last day, the month; once, or again every two seconds."""

# No postponed annotations here: FastAPI evaluates them.
import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Annotated, Any

import msgspec
from fastapi import Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from tidegate.api.admin.analytics import ShownForecast, expected
from tidegate.api.admin.live import LONGEST_S, live
from tidegate.api.admin.moments import iso
from tidegate.api.admin.policy import House
from tidegate.api.admin.requests import EVENTS
from tidegate.api.admin.shapes import paths
from tidegate.api.admin.usage import Looking, visible
from tidegate.core.call import Principal
from tidegate.core.money import NUSD_PER_USD, Usage
from tidegate.core.ports import Closed
from tidegate.core.search import CallsAsked
from tidegate.core.usage import HOUR_MS, UsageAsked, periods
from tidegate.gateway import Gateway

router = paths("/admin/overview", "overview")

WINDOW_MS, BUCKET_MS = 300_000, 10_000
SAMPLE = 1000  # of the newest calls: so that a busy house is looked at as fast as a quiet one
HOURS = 24
SLOW_S = 30.0  # what changes by the hour is looked at as often
SPENT = ("calls", "errors", "cost_nusd", "saved_nusd")


class LiveQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    seconds: Annotated[float, Field(ge=0, le=LONGEST_S, description="How long, at most.")] = 3600


class Overview(BaseModel):
    at: str
    since: Annotated[str, Field(description="Of `now` and `series`: 5 minutes ago, or when the oldest of them began.")]
    sampled: Annotated[int, Field(description=f"Calls that these are made of: the newest, at most {SAMPLE}.")]
    running: Annotated[int, Field(description="Calls under way, in the process that answers.")]
    now: Annotated[dict[str, float | None], Field(description="How many, how fast, how good, how dear.")]
    series: Annotated[list[dict[str, Any]], Field(description="The same every 10 seconds, oldest first.")]
    routes: Annotated[list[dict[str, Any]], Field(description="The same by route, the busiest first.")]
    guards: Annotated[dict[str, int], Field(description="What guards ruled, other than pass: {pii.mask: 3}.")]
    errors: dict[str, int]
    hours: Annotated[list[dict[str, Any]], Field(description="The last 24 hours, oldest first.")]
    forecast: Annotated[ShownForecast | None, Field(description="null when there are fewer than four whole days.")]
    targets: Annotated[list[dict[str, Any]] | None, Field(description="For an admin.")]
    alerts: Annotated[list[dict[str, Any]] | None, Field(description="The same.")]


@router.get("")
async def overview(principal: Looking, house: House) -> Overview:
    """How it is going; for a manager or a viewer of a team, with the team."""
    return await Glance(house, principal).look()


@router.get("/live", response_class=StreamingResponse, responses=EVENTS)
async def overview_live(asked: Annotated[LiveQuery, Query()], principal: Looking, house: House) -> StreamingResponse:
    """The same every two seconds, one event each, for as long as somebody listens."""
    glance = Glance(house, principal)

    async def look() -> bytes:
        return (await glance.look()).model_dump_json().encode()

    return await live(house.world, look, asked.seconds)


class Glance:
    """Of one who looks, at what they may see."""

    def __init__(self, house: Gateway, principal: Principal) -> None:
        self.house = house
        self._only = visible(principal)
        self._admin = principal.admin
        self._slow_at_ns: int | None = None
        self._slow: tuple[list[dict[str, Any]], ShownForecast | None] = ([], None)

    async def look(self) -> Overview:
        """Raises StoreDown."""
        world, now_ms = self.house.world, self.house.world.clock.wall_ns() // 1_000_000
        asked = CallsAsked(now_ms - WINDOW_MS, now_ms + 1, self._only, most=SAMPLE)
        (hours, forecast), found = await asyncio.gather(self._slowly(now_ms), world.ledger.calls(asked))
        since_ms = min((row.at_ms for row in found.rows), default=now_ms) if found.reached else now_ms - WINDOW_MS
        seconds = max(now_ms - since_ms, 1) / 1000
        by_route: dict[str, list[Closed]] = {}
        for row in found.rows:
            by_route.setdefault(row.route or "", []).append(row)
        busiest = sorted(by_route.items(), key=lambda one: -len(one[1]))
        return Overview(
            at=iso(now_ms, UTC),
            since=iso(since_ms, UTC),
            sampled=len(found.rows),
            running=len(world.calls),
            now=summed(found.rows, seconds),
            series=series(found.rows, since_ms, now_ms),
            routes=[{"route": name or None, **summed(rows, seconds)} for name, rows in busiest],
            guards=Counter(
                f"{one.guard}.{one.verdict}" for row in found.rows for one in row.guards if one.verdict != "pass"
            ),
            errors=Counter(row.error for row in found.rows if row.error),
            hours=hours,
            forecast=forecast,
            targets=[msgspec.to_builtins(one) for one in self.house.upstream.targets.seen()] if self._admin else None,
            alerts=[
                {"at": iso(one.at_ms, UTC), "event": one.event, "text": one.text, "outcome": one.outcome}
                for one in self.house.outlets.alerts.lately
            ]
            if self._admin
            else None,
        )

    async def _slowly(self, now_ms: int) -> tuple[list[dict[str, Any]], ShownForecast | None]:
        now_ns = self.house.world.clock.now_ns()
        if self._slow_at_ns is None or now_ns - self._slow_at_ns >= SLOW_S * 1e9:
            ledger, now = self.house.world.ledger, datetime.fromtimestamp(now_ms / 1000, UTC)
            begin = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
            spans = tuple(periods(begin, begin + timedelta(hours=HOURS), "hour"))
            lines, forecast = await asyncio.gather(
                ledger.usage(UsageAsked(spans, (), self._only, sums=SPENT)), expected(ledger, self._only, now)
            )
            told = {line.begin_ms: line.sums for line in lines}
            self._slow = [_hour(one.begin_ms, told.get(one.begin_ms, {})) for one in spans], forecast
            self._slow_at_ns = now_ns
        return self._slow


# --- sums of a few calls --------------------------------------------------------------------------------------------


def summed(rows: Sequence[Closed], seconds: float) -> dict[str, float | None]:
    """Shares and times are None where there is nothing to tell them from."""
    durations = sorted(row.duration_us for row in rows if row.outcome == "ok")
    firsts = sorted(row.first_us for row in rows if row.first_us is not None)
    asked_cache = [row.cache for row in rows if row.cache in ("hit", "shared", "miss")]
    output = sum(msgspec.convert(row.usage, Usage).output_total for row in rows)
    cost = sum(row.cost_nusd or 0 for row in rows)
    good = sum(row.status < 400 and row.outcome in ("ok", "client_left") for row in rows)
    return {
        "calls": len(rows),
        "calls_per_s": round(len(rows) / seconds, 3),
        "success_rate": round(good / len(rows), 4) if rows else None,
        **{f"p{percent}_ms": _percentile_ms(durations, percent) for percent in (50, 95, 99)},
        **{f"first_p{percent}_ms": _percentile_ms(firsts, percent) for percent in (50, 95)},
        "output_tokens_per_s": round(output / seconds, 2),
        "cache_hit_rate": round(1 - asked_cache.count("miss") / len(asked_cache), 4) if asked_cache else None,
        "cost_usd": cost / NUSD_PER_USD,
        "cost_usd_per_hour": round(cost / NUSD_PER_USD / seconds * 3600, 9),
    }


def series(rows: Sequence[Closed], since_ms: int, now_ms: int) -> list[dict[str, Any]]:
    """By when they began, in steps of the clock."""
    found: dict[int, list[Closed]] = {at: [] for at in range(since_ms // BUCKET_MS, now_ms // BUCKET_MS + 1)}
    for row in rows:
        found.setdefault(row.at_ms // BUCKET_MS, []).append(row)
    return [
        {
            "at": iso(at * BUCKET_MS, UTC),
            "calls": len(inside),
            "failed": sum(row.status >= 400 for row in inside),
            "p95_ms": _percentile_ms(sorted(row.duration_us for row in inside if row.outcome == "ok"), 95),
        }
        for at, inside in sorted(found.items())
    ]


def _percentile_ms(sorted_us: Sequence[int], percent: int) -> float | None:
    return sorted_us[ceil(len(sorted_us) * percent / 100) - 1] / 1000 if sorted_us else None


def _hour(begin_ms: int, sums: Mapping[str, int]) -> dict[str, Any]:
    return {
        "at": iso(begin_ms, UTC),
        "until": iso(begin_ms + HOUR_MS, UTC),
        "calls": sums.get("calls", 0),
        "errors": sums.get("errors", 0),
        "cost_usd": sums.get("cost_nusd", 0) / NUSD_PER_USD,
        "saved_usd": sums.get("saved_nusd", 0) / NUSD_PER_USD,
    }
