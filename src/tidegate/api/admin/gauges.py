"""How much of each limit and budget is used now? Of keys, page by page, and of those that they belong to."""

# No postponed annotations here: FastAPI evaluates them.
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from tidegate.api.admin.moments import iso
from tidegate.api.admin.policy import House, Looking, sees
from tidegate.api.admin.shapes import paths
from tidegate.api.admin.usage import key_names, visible
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, StoreDown
from tidegate.core.limits import Charge, Claim, Level, Rule
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.ports import DEFAULT_ORGANISATION, Key, Organisation, Team, User
from tidegate.core.usage import UsageAsked, periods
from tidegate.gateway import Gateway
from tidegate.stages.auth.bearers import levels
from tidegate.stages.budgets.period import FAR, period_of

router = paths("/admin/use", "keys")

MONEY = "money"
BACK = timedelta(days=30)
SPENDERS = 10
PAGE = 500  # keys that are read at once


class UseQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=500, description="Keys of one page.")] = 50
    after: Annotated[str | None, Field(max_length=128, description="`next` of the page before.")] = None


class ShownGauge(BaseModel):
    """A limit or a budget, and what is used of it."""

    of: Annotated[str, Field(description="requests, input_tokens, output_tokens, tokens, at_once; money: in dollars")]
    most: float
    used: Annotated[float | None, Field(description="Or set aside; null while those who count cannot be asked.")]
    per_s: Annotated[int, Field(description="Of a limit; 0: at once.")] = 0
    per: Annotated[str | None, Field(description="Of a budget: day, week, month or total.")] = None
    until: Annotated[str | None, Field(description="When a budget begins anew.")] = None


class ShownUse(BaseModel):
    kind: Annotated[str, Field(description="organisation, team, user or key")]
    id: str
    name: str
    gauges: list[ShownGauge]


class KeyUse(ShownUse):
    role: str
    team_id: str | None
    works: Annotated[bool, Field(description="Neither ended, nor disabled, nor expired.")]
    last_used_ms: int | None


class Spender(BaseModel):
    key_id: str
    name: str | None
    calls: int
    cost_usd: float


class Use(BaseModel):
    at: str
    keys: Annotated[list[KeyUse], Field(description="Those that are yours to see, newest first.")]
    next: Annotated[str | None, Field(description="`after` of the next page; null on the last.")]
    above: Annotated[list[ShownUse], Field(description="Organisations and teams that have bounds.")]
    spenders: Annotated[list[Spender], Field(description="The keys that cost most in 30 days.")]


@router.get("")
async def use(asked: Annotated[UseQuery, Query()], principal: Looking, house: House) -> Use:
    """What is used of the bounds of keys, teams and organisations, and who spends most."""
    store, now_ms = house.world.store, house.world.clock.wall_ns() // 1_000_000
    users = {one.id: one.team_id for one in await store.every(User)}
    teams = {one.id: one for one in await store.every(Team)}
    keys, following = await _keys(asked, principal, house, users)
    whole = sees(principal, None)
    above: list[Bounded] = [_of_team(one) for one in teams.values() if sees(principal, one.id)]
    for one in await store.every(Organisation):
        if whole or one.id == principal.organisation_id:
            above.append(Bounded(one.id, levels(one, None, None, None)[0]))
    mine = [_of_key(key, users, teams) for key in keys]
    found = await gauges(house, [*above, *mine])
    return Use(
        at=iso(now_ms, UTC),
        keys=[_shown_key(key, one, now_ms, users) for key, one in zip(keys, found[len(above) :], strict=True)],
        next=following,
        above=[one for one in found[: len(above)] if one.gauges],
        spenders=await _spenders(principal, house, now_ms),
    )


async def _keys(
    asked: UseQuery, principal: Principal, house: Gateway, users: dict[str, str | None]
) -> tuple[list[Key], str | None]:
    """A page of those that this principal sees."""
    found: list[Key] = []
    after = asked.after
    if after is not None and await house.world.store.find(Key, after) is None:
        raise BadRequest("after: must be `next` of the page before", param="after")
    while len(found) <= asked.limit:
        page = await house.world.store.newest(Key, after, PAGE)
        found += [key for key in page if sees(principal, key.team_id or users.get(key.user_id or ""))]
        if len(page) < PAGE:
            break
        after = page[-1].id
    some = found[: asked.limit]
    return some, some[-1].id if len(found) > asked.limit else None


async def _spenders(principal: Principal, house: Gateway, now_ms: int) -> list[Spender]:
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    since = (now - BACK).replace(minute=0, second=0, microsecond=0)
    span = tuple(periods(since, now + timedelta(hours=1), "total"))
    asked = UsageAsked(span, ("key",), visible(principal), most=100_000, sums=("calls", "cost_nusd"))
    lines = sorted(await house.world.ledger.usage(asked), key=lambda line: -line.sums["cost_nusd"])[:SPENDERS]
    names = await key_names(house.world, [line.names[0] for line in lines])
    return [
        Spender(
            key_id=line.names[0],
            name=names.get(line.names[0]),
            calls=line.sums["calls"],
            cost_usd=line.sums["cost_nusd"] / NUSD_PER_USD,
        )
        for line in lines
    ]


# --- gauges


class Bounded(NamedTuple):
    """Somebody with limits and budgets, counted where the organisation is."""

    organisation_id: str
    level: Level


async def gauges(house: Gateway, bounded: Sequence[Bounded]) -> list[ShownUse]:
    """In the same order; one question to those who count for each organisation."""
    now_ms = house.world.clock.wall_ns() // 1_000_000
    used: dict[str, int] = {}
    for id in dict.fromkeys(one.organisation_id for one in bounded):
        used |= await _used(house, id, [one.level for one in bounded if one.organisation_id == id], now_ms)
    return [_shown(house, one.level, used, now_ms) for one in bounded]


async def _used(house: Gateway, organisation_id: str, of: Sequence[Level], now_ms: int) -> dict[str, int]:
    """By the meter's name: nothing is charged, so that it is only heard what each has."""
    budgets = [
        (level, one, period_of(_owner(level), one, now_ms)) for level in of for one in house.budgets.bounds(level)
    ]
    counters, limits = house.world.counters, [(level, one) for level in of for one in house.limits.bounds(level)]
    try:
        await house.budgets.remember(organisation_id, budgets)
        meters = [period.meter for _, _, period in budgets if counters.knows(period.meter, period.begins_ms)]
        meters += [Rule.of(_owner(level), "", one).meter for level, one in limits]
        if not meters:
            return {}
        claim = Claim(f"gauges:{organisation_id}:{now_ms}", organisation_id, [Charge(one, 0, 0) for one in meters])
        taken = await counters.claim(claim, unasked=True)
    except StoreDown:
        return {}
    return {meter.name: count for meter, count in zip(meters, taken.used, strict=True)}


def _shown(house: Gateway, level: Level, used: dict[str, int], now_ms: int) -> ShownUse:
    found = []
    for limit in house.limits.bounds(level):
        meter = Rule.of(_owner(level), "", limit).meter
        found.append(ShownGauge(of=limit.of, most=limit.most, used=used.get(meter.name), per_s=limit.per_s))
    for budget in house.budgets.bounds(level):
        period = period_of(_owner(level), budget, now_ms)
        spent = used.get(period.meter.name)
        found.append(
            ShownGauge(
                of=MONEY,
                most=budget.nusd / NUSD_PER_USD,
                used=None if spent is None else spent / NUSD_PER_USD,
                per=budget.per,
                until=iso(period.ends_ms, UTC) if period.ends_ms < FAR else None,
            )
        )
    return ShownUse(kind=level.kind, id=level.id, name=level.name, gauges=found)


def _owner(level: Level) -> str:
    return f"{level.kind}:{level.id}"


def _of_team(team: Team) -> Bounded:
    return Bounded(team.organisation_id, levels(None, team, None, None)[0])


def _of_key(key: Key, users: dict[str, str | None], teams: dict[str, Team]) -> Bounded:
    team = teams.get(key.team_id or users.get(key.user_id or "") or "")
    return Bounded(team.organisation_id if team else DEFAULT_ORGANISATION, levels(None, None, None, key)[0])


def _shown_key(key: Key, use: ShownUse, now_ms: int, users: dict[str, str | None]) -> KeyUse:
    ended = key.revoked_ms or key.disabled_ms or (key.expires_ms is not None and key.expires_ms <= now_ms)
    return KeyUse(
        **use.model_dump(),
        role=key.role,
        team_id=key.team_id or users.get(key.user_id or ""),
        works=not ended,
        last_used_ms=key.last_used_ms,
    )
