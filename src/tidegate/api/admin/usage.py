"""Who used how much, and what did it cost? The ledger's sums, for whoever may see them, as JSON or CSV."""

# No postponed annotations here: FastAPI evaluates them.
import asyncio
import base64
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from tidegate.api.admin.moments import iso, span
from tidegate.api.admin.policy import EVERY_KEY, House, Policy, sees
from tidegate.api.admin.shapes import paths
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, Forbidden
from tidegate.core.money import KINDS, Usage, usd_text
from tidegate.core.ports import StoreDown
from tidegate.core.usage import DIMENSIONS, Per, UsageAsked, UsageLine, periods, whole_hours, zone_named
from tidegate.core.world import World
from tidegate.gateway import Gateway
from tidegate.stages.auth import ENVIRONMENT

router = paths(tag="usage")
LOOK = Policy(
    "look", "admin", "manager", "viewer", instead="; its own usage is at GET /v1/usage, or: tidegate usage --own"
)
Own = Annotated[Principal, Depends(EVERY_KEY)]
AS_TABLE: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
Looking = Annotated[Principal, Depends(LOOK)]

MAX_PERIODS = 1000
MAX_LINES = 10_000
BACK = timedelta(days=30)  # when nobody says since when
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a cell begins that a spreadsheet would compute
MEANS = {
    "mean_duration_ms": ("duration_us", "calls"),
    "mean_overhead_ms": ("overhead_us", "calls"),
    "mean_first_ms": ("first_us", "firsts"),
}

Name = Annotated[str | None, Field(max_length=256)]


class UsageQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    since: Annotated[Name, Field(description="A date, a time (ISO 8601), or how long ago: 7d. 30 days ago.")] = None
    until: Annotated[Name, Field(description="The same; now.")] = None
    by: Annotated[list[str], Field(description=f"Any of {', '.join(DIMENSIONS)}; with commas.")] = []
    per: Annotated[Per, Field(description="A line for each of these.")] = "day"
    zone: Annotated[str, Field(max_length=64, description="Whose days and months: Europe/Berlin.")] = "UTC"
    limit: Annotated[int, Field(ge=1, le=MAX_LINES, description="Lines of one page.")] = 1000
    after: Annotated[str | None, Field(max_length=4000, description="`next` of the page before.")] = None
    # Only calls of these; empty: of none.
    organisation: Name = None
    team: Name = None
    user: Name = None
    key: Name = None
    end_user: Name = None
    route: Name = None
    target: Name = None
    operation: Name = None
    outcome: Name = None
    kind: Name = None
    prompt: Name = None
    cache: Name = None


class TableQuery(UsageQuery):
    format: Annotated[str, Field(pattern="^(json|csv)$")] = "json"


class ShownUsage(BaseModel):
    since: str
    until: str
    periods: Annotated[list[str], Field(description="When each begins; those without calls have no lines.")]
    lines: list[dict[str, Any]]
    next: Annotated[str | None, Field(description="`after` of the next page; null on the last.")]


@router.get("/v1/usage", response_model=ShownUsage, responses=AS_TABLE)
async def own_usage(asked: Annotated[TableQuery, Query()], principal: Own, house: House) -> Any:
    """What the calls of this key used and cost."""
    return await _page(asked, {"key": principal.key_id}, house)


@router.get("/admin/usage", response_model=ShownUsage, responses=AS_TABLE)
async def all_usage(asked: Annotated[TableQuery, Query()], principal: Looking, house: House) -> Any:
    """What all calls used and cost, by whatever tells them apart; for a manager or a viewer of a team, the team's."""
    return await _page(asked, visible(principal), house)


async def _page(asked: TableQuery, only: Mapping[str, str], house: Gateway) -> Any:
    world = house.world
    now = datetime.fromtimestamp(world.clock.wall_ns() / 1e9, UTC)
    zone = await asyncio.to_thread(zone_of, asked.zone)
    question = question_of(asked, only, now, zone)
    lines = await world.ledger.usage(question)
    following = cursor(lines[-1]) if len(lines) == asked.limit else None
    if asked.format == "csv":
        headers = {"content-disposition": 'attachment; filename="usage.csv"'}
        headers |= {"x-tidegate-next": following} if following else {}
        return Response(table(question.by, lines, zone), media_type="text/csv; charset=utf-8", headers=headers)
    return ShownUsage(
        since=iso(question.periods[0].begin_ms, zone),
        until=iso(question.periods[-1].until_ms, zone),
        periods=[iso(one.begin_ms, zone) for one in question.periods],
        lines=[_shown(question.by, line, zone) for line in lines],
        next=following,
    )


def visible(principal: Principal) -> dict[str, str]:
    """Whose usage this principal sees. Raises Forbidden."""
    if sees(principal, None):
        return {}
    if principal.team_id is not None:
        return {"team": principal.team_id}
    raise Forbidden(f"key {principal.name!r} has no team whose usage it could see{LOOK.instead}")


async def key_names(world: World, ids: Iterable[str]) -> dict[str, str]:
    """By id. A list without names is better than none."""
    names = {ENVIRONMENT.key_id: ENVIRONMENT.name}
    asked = {*ids} - names.keys()
    try:
        return names | await world.store.key_names(asked) if asked else names
    except StoreDown:
        return names


# --- the question ---------------------------------------------------------------------------------------------------


def question_of(
    asked: UsageQuery, only: Mapping[str, str], now: datetime, zone: tzinfo, known: Sequence[str] = DIMENSIONS
) -> UsageAsked:
    """Days and months are those of `zone`. What is in `only` cannot be asked otherwise. Raises BadRequest."""
    by = tuple(dict.fromkeys(name.strip() for names in asked.by for name in names.split(",") if name.strip()))
    for name in by:
        if name not in known:
            raise BadRequest(f"by: there is no {name[:40]!r}; there are: {', '.join(known)}", param="by")
    since, until = span(asked.since, asked.until, now, BACK, zone)
    found = tuple(islice(periods(*whole_hours(since, until, zone), asked.per), MAX_PERIODS + 1))
    if len(found) > MAX_PERIODS:
        longer = {"hour": "day", "day": "month", "month": "total"}[asked.per]
        raise BadRequest(
            f"since, until: more than {MAX_PERIODS} {asked.per}s; ask for less, or per={longer}", param="since"
        )
    given = {name: value for name in known if (value := getattr(asked, name)) is not None}
    for name, value in only.items():
        if given.setdefault(name, value) != value:
            raise Forbidden(f"{name}: only {value!r} can be seen here")
    return UsageAsked(found, by, given, _after(asked.after, len(by)), asked.limit)


def zone_of(name: str) -> tzinfo:
    try:
        return zone_named(name)
    except ValueError as wrong:
        raise BadRequest(f"zone: {wrong}", param="zone") from None


def cursor(line: UsageLine) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((line.begin_ms, line.names))).decode().rstrip("=")


def _after(text: str | None, names: int) -> tuple[Any, ...] | None:
    if text is None:
        return None
    try:
        plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        begin, said = msgspec.json.decode(plain, type=tuple[int, list[str]])
        if abs(begin) < 2**62 and len(said) == names:
            return (begin, *said)
    except ValueError:
        pass
    raise BadRequest("after: must be `next` of the page before, with the same `by`", param="after")


# --- the answer -----------------------------------------------------------------------------------------------------


def _shown(by: Sequence[str], line: UsageLine, zone: tzinfo) -> dict[str, Any]:
    sums = line.sums
    usage = Usage(*(sums[kind] for kind in KINDS))
    return {
        "from": iso(line.begin_ms, zone),
        **{name: value or None for name, value in zip(by, line.names, strict=True)},
        **{name: sums[name] for name in ("calls", "errors", "unpriced", "cost_nusd")},
        "cost_usd": usd_text(sums["cost_nusd"]),
        "input_tokens": usage.input_total,
        "output_tokens": usage.output_total,
        "tokens": {kind: sums[kind] for kind in KINDS if sums[kind]},
        **{name: round(sums[sum] / sums[of] / 1000, 3) if sums[of] else None for name, (sum, of) in MEANS.items()},
    }


def table(by: Sequence[str], lines: Sequence[UsageLine], zone: tzinfo) -> str:
    """As CSV, each kind of token in a column of its own."""
    plain = ("calls", "errors", "unpriced", "cost_nusd", "cost_usd", "input_tokens", "output_tokens")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["from", *by, *plain, *KINDS, *MEANS])
    for line in lines:
        shown = _shown(by, line, zone)
        row = [shown["from"], *(_cell(name) for name in line.names), *(shown[name] for name in plain)]
        writer.writerow([*row, *(line.sums[kind] for kind in KINDS), *(shown[name] for name in MEANS)])
    return text.getvalue()


def _cell(text: str) -> str:
    """Names come from clients, and a spreadsheet must not compute them."""
    return f"'{text}" if text.startswith(FORMULA) else text
