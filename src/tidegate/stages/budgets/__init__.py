"""How much money, and how many tokens?

The most that a call can use is set aside before it is bought, and becomes what it was in truth when it ends, whatever
its end is.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from math import inf
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tidegate.core.call import Call, Principal, Route, Target
from tidegate.core.errors import BudgetSpent, LimitReached, StoreDown
from tidegate.core.limits import MOST, Budget, Charge, Claim, Full, Level, Meter, Room, Rule, Taken
from tidegate.core.money import NO_USAGE, NUSD_PER_USD, PER_TOKENS, Price, usd_text
from tidegate.core.parcels import COMES_AGAIN, HandedOver
from tidegate.core.shares import Shares, What
from tidegate.core.usage import HOUR_MS, UsageAsked
from tidegate.core.usage import Period as UsagePeriod
from tidegate.core.world import World
from tidegate.stages.budgets import velocity
from tidegate.stages.budgets.bound import bound_of
from tidegate.stages.budgets.period import FAR, Period, period_of, zone_of
from tidegate.stages.budgets.velocity import Velocity

REMEMBERED = 10_000
BOUNDED = ("chat", "complete")  # operations whose answers have a `max_tokens`
DAYS = {"day": 1, "week": 7, "month": 30}
TOLD = 10_000  # thresholds that were told
PATIENCE_S = 0.5  # of a call, for what a ledger has that others count beside
AGAIN_MS = 30_000  # after which a ledger that did not answer is asked again: nobody's call waits for it often
MAX_USD = MOST // NUSD_PER_USD


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much may be spent, beside what a key, its user, team and organisation are set to.

    default_day: dollars a day of each key that has no budget of its own; 0: no bound.
    zone: the time zone of that day.
    unknown_price: a call to a model whose price is not known is refused, or counted as `ceiling_usd`.
    ceiling_usd: what such a call is taken to cost; also what a path that is passed on as it is may cost.
    velocity: spending that is much faster than before.
    """

    default_day: Annotated[float, Meta(ge=0, le=MAX_USD)] = 5.0
    zone: str = "UTC"
    unknown_price: Literal["refuse", "ceiling"] = "ceiling"
    ceiling_usd: Annotated[float, Meta(gt=0, le=MAX_USD)] = 0.05
    velocity: velocity.Config = velocity.Config()


class Budgets:
    def __init__(self, config: Config, world: World) -> None:
        """Raises ConfigError for a time zone that there is not."""
        zone_of(config.zone)
        self.config = config
        self.world = world
        self.ceiling_nusd = round(config.ceiling_usd * NUSD_PER_USD)
        nusd = round(config.default_day * NUSD_PER_USD)
        self._default = (Budget(nusd, "day", zone=config.zone),) if nusd else ()
        self._plans: OrderedDict[tuple[str, int], Plan] = OrderedDict()
        self._rates: dict[tuple[int, bool], tuple[Price, tuple[int | None, int | None]]] = {}
        self._told: OrderedDict[tuple[str, float], None] = OrderedDict()
        self._asking: dict[str, asyncio.Task[None]] = {}  # by meter
        self._ask_ms = 0  # not before
        self.velocity = Velocity(config.velocity, world)
        self.shares = Shares()

    def reserve(self, call: Call) -> Reservation | Unbounded:
        """`async with budgets.reserve(call)`: set the most that it can use aside, settle to the truth on leaving.

        The most is its input and `max_tokens` at the dearest target of the route, in nano-dollars. Raises BudgetSpent
        or LimitReached: nothing is left for the key, or for whom it belongs to.
        """
        assert call.principal is not None and call.route is not None
        plan = self._plan(call.principal, call.route)
        return Reservation(self, call, plan) if plan.rules or plan.budgets else UNBOUNDED

    def highest_nusd(self, call: Call, target: Target) -> int:
        """What `call` can cost at `target`, at most."""
        asked = call.asked
        assert asked is not None and call.route is not None
        metering, price = asked.codec.metering, target.price
        if metering == "free" or (metering == "unknown" and call.method != "POST"):
            return 0
        bound = bound_of(call, target, call.route.max_tokens) if price is None or any(price.rates.values()) else None
        if bound is None:
            return 0
        heard, said = self._dearest(price, audio=bound.audio) if price else (None, None)
        if heard is None or (said is None and bound.output):
            if self.config.unknown_price == "refuse":
                raise BudgetSpent(
                    f"the price of {target.name} is not known, so no budget can allow it; set providers."
                    f"{target.provider.name}.price, or budgets.unknown_price: ceiling"
                )
            return self.ceiling_nusd
        highest = -(-(bound.input * heard + bound.output * (said or 0)) // PER_TOKENS)
        return max(highest, self.ceiling_nusd) if metering == "unknown" else highest

    def _dearest(self, price: Price, *, audio: bool) -> tuple[int | None, int | None]:
        """Remembered by the price itself: it is one object as long as its configuration lasts."""
        known = self._rates.get((id(price), audio))
        if known is None or known[0] is not price:
            if len(self._rates) >= REMEMBERED:
                self._rates.clear()
            known = self._rates[(id(price), audio)] = (price, price.dearest(audio=audio))
        return known[1]

    def truth_nusd(self, call: Call, reserved_nusd: int) -> int:
        """What it cost. Where nobody knows, what was set aside for it: never nothing."""
        total = 0
        for attempt in call.attempts:
            cost = attempt.cost_nusd
            total += cost if cost is not None else max(reserved_nusd, self.ceiling_nusd)
        return total

    def bounds(self, level: Level) -> Sequence[Budget]:
        """Its own, or what the house gives a key that has none."""
        return level.budgets or (self._default if level.kind == "key" else ())

    async def remember(self, house: str, budgets: Sequence[tuple[Level, Budget, Period]]) -> None:
        """Charge what the ledger has of each period and the counters have not: what a process counts alone may end with
        it, and a store of counters may lose what it had. The ledger stays. Raises StoreDown."""
        counters, now_ms = self.world.counters, self.world.clock.wall_ns() // 1_000_000
        if self._ask_ms - AGAIN_MS <= now_ms < self._ask_ms:  # a clock may jump back
            return
        asking = [
            self._asked(house, level, period)
            for level, _, period in budgets
            if not counters.knows(period.meter, period.begins_ms)
        ]
        if asking:
            await asyncio.wait(asking)  # and not `gather`: another call may wait for the same
            for task in asking:
                task.result()

    def _asked(self, house: str, level: Level, period: Period) -> asyncio.Task[None]:
        """Once for all calls that want to know; side by side with other budgets."""
        name = period.meter.name
        if name not in self._asking:
            work = self._ask(house, level, period)
            self._asking[name] = self.world.nursery.spawn(work, f"ask for {name}", partial(self._heard, name))
        return self._asking[name]

    def _heard(self, name: str, _: asyncio.Task[None]) -> None:
        del self._asking[name]

    async def _ask(self, house: str, level: Level, period: Period) -> None:
        counters, now_ms = self.world.counters, self.world.clock.wall_ns() // 1_000_000
        begins = period.begins_ms // HOUR_MS
        if counters.together:  # they have the rest of that hour; what is charged twice stays
            begins = -(-period.begins_ms // HOUR_MS)
        hours = UsagePeriod(begins * HOUR_MS, (now_ms // HOUR_MS + 1) * HOUR_MS)
        try:
            async with asyncio.timeout(PATIENCE_S if counters.together else None):
                lines = await self.world.ledger.usage(UsageAsked((hours,), only={level.kind: level.id}))
        except (StoreDown, TimeoutError):
            self._ask_ms = now_ms + AGAIN_MS
            return  # calls go on without a database
        await counters.raise_to(house, period.meter, sum(line.sums["cost_nusd"] for line in lines))

    def tell(self, level_name: str, period: Period, budget: Budget, used: int, call: Call) -> None:
        """Each threshold once a period, and each client whose call is above one."""
        for share in budget.warn_at:
            if used < share * budget.nusd:
                continue
            call.notes = (*call.notes, f"{share:.0%} of a budget of {level_name} is spent or set aside")
            mark = (period.meter.name, share)
            if mark not in self._told:
                self._told[mark] = None
                if len(self._told) > TOLD:
                    self._told.popitem(last=False)
                fields = {"whose": level_name, "share": share, "per": budget.per, "budget_usd": usd_text(budget.nusd)}
                self.world.events.notice("budget_warning", fields)

    def _plan(self, principal: Principal, route: Route) -> Plan:
        place = (principal.key_id, id(route))  # arms of a route have its name, and its limits
        now_ms = self.world.clock.wall_ns() // 1_000_000
        plan = self._plans.get(place)
        if (
            plan is None
            or plan.principal is not principal
            or plan.route is not route
            or not plan.begins_ms <= now_ms < plan.ends_ms
        ):
            paces = velocity.meters_of(principal.key_id) if self.velocity.shared else ()
            plan = self._plans[place] = Plan(principal, route, self._default, now_ms, paces, self.shares)
            if len(self._plans) > REMEMBERED:
                self._plans.popitem(last=False)
        return plan


class Plan:
    """What bounds the purchases of one key on one route, until the first of its budgets begins anew."""

    __slots__ = (
        "begins_ms",
        "budgets",
        "day_nusd",
        "ends_ms",
        "meters",
        "paces",
        "principal",
        "route",
        "rules",
        "shares",
        "since_ms",
        "told_from",
    )

    def __init__(
        self, principal: Principal, route: Route, default: Sequence[Budget], now_ms: int, paces: Sequence[Meter],
        shares: Shares,
    ) -> None:  # fmt: skip
        self.paces = [Charge(meter, 0, 0) for meter in paces]  # nothing is set aside of them: they hear the truth
        self.principal = principal
        self.route = route
        self.begins_ms = now_ms  # a clock that jumps back may be in another period
        self.rules: list[Rule] = []
        self.budgets: list[tuple[Level, Budget, Period]] = []
        for level in principal.levels:
            owner, who = f"{level.kind}:{level.id}", _who(level)
            self.rules += [Rule.of(owner, who, one) for one in level.limits if one.of in TOKENS]
            budgets = level.budgets or (default if level.kind == "key" else ())
            self.budgets += [(level, budget, period_of(owner, budget, now_ms)) for budget in budgets]
        owner, who = f"{principal.organisation_id}:route:{route.name}", f"route {route.name!r}"
        self.rules += [Rule.of(owner, who, one) for one in route.limits if one.of in TOKENS]
        self.day_nusd = min((one.nusd // DAYS[one.per] for _, one, _ in self.budgets if one.per in DAYS), default=0)
        self.meters = [period.meter for _, _, period in self.budgets]
        self.since_ms = [period.begins_ms for _, _, period in self.budgets]
        self.told_from = [min(one.warn_at) * one.nusd if one.warn_at else inf for _, one, _ in self.budgets]
        found = [shares.of(What(level.kind, level.id, level.name, one.per)) for level, one, _ in self.budgets]
        self.shares = [(at, share) for at, share in enumerate(found) if share is not None]
        for at, share in self.shares:
            _, budget, period = self.budgets[at]
            share.most, share.until_ms = budget.nusd, period.ends_ms
            share.ends_ms = None if period.ends_ms == FAR else period.ends_ms
        self.ends_ms = min((period.ends_ms for _, _, period in self.budgets), default=2**62)


TOKENS = ("tokens", "input_tokens", "output_tokens")


class Unbounded:
    """For a purchase that nothing bounds: no Bill."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


UNBOUNDED = Unbounded()


class Reservation:
    """A Bill, while its call is in the air."""

    __slots__ = ("_budgets", "_call", "_claims", "_plan", "_tokens", "reserved_nusd")

    def __init__(self, budgets: Budgets, call: Call, plan: Plan) -> None:
        self._budgets = budgets
        self._call = call
        self._plan = plan
        self._claims: list[Claim] = []
        self._tokens = (0, 0)  # input and output that are set aside for the whole call
        self.reserved_nusd = 0

    async def __aenter__(self) -> Reservation:
        call = self._call
        assert call.route is not None and call.asked is not None
        call.bill = self
        plan, budgets, targets = self._plan, self._budgets, call.route.targets
        if call.parceled is not None and call.parceled.target is not None:
            targets = (call.parceled.target,)
        if not all(map(budgets.world.counters.knows, plan.meters, plan.since_ms)):
            await budgets.remember(plan.principal.organisation_id, plan.budgets)
        if budgets.velocity.may_be_fast(call) and not call.is_bought:
            await budgets.velocity.check(call, plan.day_nusd)
        highest = budgets.highest_nusd(call, targets[0])
        for target in targets[1:]:
            highest = max(highest, budgets.highest_nusd(call, target))
        if highest or plan.rules:
            if call.asked.max_tokens is None and call.asked.codec.operation in BOUNDED:
                call.asked.ceiling = call.route.max_tokens
            await self._claim(highest, targets[0])
        if call.parceled is not None:
            call.parceled.charged = call.is_bought
        return self

    async def extend(self, target: Target) -> None:
        call = self._call
        if not self._claims:
            return
        needed = self._budgets.highest_nusd(call, target)
        for attempt in call.attempts:
            over = attempt.ended_ns is not None
            cost = attempt.cost_nusd if over else self._budgets.highest_nusd(call, attempt.target)
            needed += self.reserved_nusd if cost is None else cost
        used = call.usage
        missing = needed - self.reserved_nusd
        if missing > 0 or (self._plan.rules and used != NO_USAGE):
            await self._claim(max(missing, 0), target)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, HandedOver):
            self._call.bill = None
            error.release = self._release  # what comes back is paid by another call
            return
        if self._call.is_bought and isinstance(error, COMES_AGAIN):
            self._call.bill = None
            self._release()
            return
        claims, call = self._claims, self._call
        call.bill = None  # nothing is bought any more
        if not claims:
            return
        plan, spent = self._plan, self._budgets.truth_nusd(call, self.reserved_nusd)
        truth = [spent] * (len(plan.meters) + len(plan.paces))
        if plan.rules:
            usage = call.usage
            truth = [self._amount(rule, usage.input_total, usage.output_total) for rule in plan.rules] + truth
        for claim in claims:
            # Each is settled to a share of the truth that it has room for, so that no sum is too high in between.
            share = truth
            if claim is not claims[-1]:
                share = [min(left, charge.amount) for left, charge in zip(truth, claim.charges, strict=True)]
                truth = [left - given for left, given in zip(truth, share, strict=True)]
            self._budgets.world.counters.settle(claim, share)
        if spent > self.reserved_nusd:
            fields = {"request_id": call.id, "reserved_usd": usd_text(self.reserved_nusd), "cost_usd": usd_text(spent)}
            self._budgets.world.events.notice("budget_overrun", fields)
        self._budgets.velocity.spent(call, spent)

    def _release(self) -> None:
        for claim in self._claims:
            self._budgets.world.counters.settle(claim, [0] * len(claim.charges))

    async def _claim(self, nusd: int, target: Target) -> None:
        call, plan = self._call, self._plan
        assert call.principal is not None and call.route is not None
        charges = [Charge(meter, nusd, 0) for meter in plan.meters]
        if plan.rules:
            heard, said, _ = bound_of(call, target, call.route.max_tokens)
            charges = [Charge(rule.meter, self._amount(rule, heard, said), 0) for rule in plan.rules] + charges
        charges += plan.paces
        claim = Claim(f"{call.id}:{len(self._claims)}", call.principal.organisation_id, charges)
        counters = self._budgets.world.counters
        answer = await counters.claim(claim, unasked=call.is_bought)  # then it is paid for, whatever is left
        if counters.standing_in and not call.is_bought and not all(map(counters.knows, plan.meters, plan.since_ms)):
            # They went away just now, and what others have spent is not known yet.
            if isinstance(answer, Taken):
                counters.settle(claim, [0] * len(charges))
            await self._budgets.remember(claim.house, plan.budgets)
            claim = Claim(f"{claim.id}:anew", claim.house, charges)
            answer = await counters.claim(claim)
        if isinstance(answer, Full):
            raise self._refusal(answer, claim)
        self._claims.append(claim)
        self.reserved_nusd += nusd
        call.reserved_nusd = self.reserved_nusd
        self._look(answer)

    def _look(self, answer: Taken) -> None:
        plan, call = self._plan, self._call
        rules, paces = len(plan.rules), len(plan.rules) + len(plan.meters)
        if plan.paces:
            self._budgets.velocity.heard(plan.principal.key_id, answer.used[paces:])
        for at, used in enumerate(answer.used[rules:paces]):
            if used >= plan.told_from[at]:
                level, budget, period = plan.budgets[at]
                self._budgets.tell(_who(level), period, budget, used, call)
        for at, share in plan.shares:
            share.used = answer.used[rules + at]
        if plan.rules:
            call.rooms += tuple(
                Room(rule.limit, max(rule.limit.most - used, 0))
                for rule, used in zip(plan.rules, answer.used, strict=False)
            )

    def _amount(self, rule: Rule, heard: int, said: int) -> int:
        of = rule.limit.of
        return heard if of == "input_tokens" else said if of == "output_tokens" else heard + said

    def _refusal(self, full: Full, claim: Claim) -> BudgetSpent | LimitReached:
        plan = self._plan
        amount = claim.charges[full.at].amount
        if full.at < len(plan.rules):
            rule = plan.rules[full.at]
            again = f"try again in {full.wait_s:.0f} s" if full.wait_s is not None else "ask for less"
            wrong = LimitReached(
                f"{rule.who} may use {rule.shown}, and this call can use {amount}; {again}", retry_after_s=full.wait_s
            )
            wrong.limit = (rule.whose, rule.limit.of)
            return wrong
        level, budget, period = plan.budgets[full.at - len(plan.rules)]
        who = _who(level)
        left = max(budget.nusd - full.used[full.at], 0)
        wait_s = full.wait_s if budget.rolling else period.wait_s(self._budgets.world.clock.wall_ns() // 1_000_000)
        spent = BudgetSpent(
            f"{who} may spend ${_usd(budget.nusd)} per {budget.per}: ${_usd(left)} is left, and this call can cost "
            f"${_usd(amount)}; ask for less (max_tokens), or have the budget raised",
            retry_after_s=wait_s,
        )
        spent.limit = (level.kind, "money")
        return spent


def _who(level: Level) -> str:
    return f"{level.kind} {level.name or level.id!r}"


def _usd(nusd: int) -> str:
    """Dollars, as exactly as people want to know."""
    return f"{nusd / NUSD_PER_USD:.6f}".rstrip("0").rstrip(".")
