"""How many calls? Per time and at once, for everybody who is charged for a call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.core.addresses import neighbourhood
from tidegate.core.call import Call, Principal, Route
from tidegate.core.errors import BudgetSpent, LimitReached, LoopSuspected
from tidegate.core.limits import Charge, Claim, Full, Level, Limit, LimitConfig, Room, Rule
from tidegate.core.shares import Share, Shares, What
from tidegate.core.world import World
from tidegate.stages.limits import loops
from tidegate.stages.limits.gate import Gate
from tidegate.stages.limits.loops import Loops

CHAT = "/api/chat"
AT_DOOR = ("requests", "at_once")
REMEMBERED = 10_000
AT_ONCE_WAIT_S = 1.0  # until one of those at once has ended, as a guess


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many calls may be made, beside what a key, its user, team and organisation are set to.

    default: of each key that has no limits of its own.
    per_end_user: of each end user of an organisation, as clients name them.
    per_address: of each address that calls come from; of IPv6 a /64 counts as one, here and below.
    chat: of each address, for /api/chat.
    guesses: wrong keys that an address may present in a minute before it has to wait.
    loops: programs that ask themselves.
    """

    default: tuple[LimitConfig, ...] = ()
    per_end_user: tuple[LimitConfig, ...] = ()
    per_address: tuple[LimitConfig, ...] = ()
    chat: tuple[LimitConfig, ...] = (LimitConfig("requests", 10),)
    guesses: Annotated[int, Meta(ge=1)] = 60
    loops: loops.Config = loops.Config()


class Limits:
    def __init__(self, config: Config, world: World) -> None:
        self._world = world
        self._default = tuple(one.limit for one in config.default)
        self._per_end_user = _at_door(config.per_end_user)
        self._per_address = _at_door(config.per_address)
        self._chat = _at_door(config.chat)
        self._of_callers = bool(self._per_end_user or self._per_address)
        self._gate = Gate(config.guesses, world)
        self._plans: OrderedDict[tuple[str, int], Plan] = OrderedDict()
        self.loops = Loops(config.loops, world)
        self.shares = Shares()

    def bounds(self, level: Level) -> Sequence[Limit]:
        """Its own, or what the house gives a key that has none."""
        return level.limits or (self._default if level.kind == "key" else ())

    def gate(self, address: str, *, familiar: bool = False) -> Gate.Passing:
        """`async with limits.gate(address)`: around the look-up of a key. Raises LimitReached for who guesses keys.

        `familiar`: this key was good here lately, so it is no guess.
        """
        return self._gate.passing(address, familiar=familiar)

    def admit(self, call: Call) -> Admission | Unlimited:
        """`async with limits.admit(call)`: counted while it lasts. Raises LimitReached, or LoopSuspected for a circle.

        Of a call that was refused, here or where money is spent, no request is counted.
        """
        if call.is_bought:
            return UNLIMITED  # it was counted when it was handed over
        rules = self.rules(call)
        return Admission(self, self._world, call, rules) if rules or self.loops.looks_at(call) else UNLIMITED

    def rules(self, call: Call) -> Sequence[Rule]:
        """All that limit this call at the door."""
        assert call.principal is not None and call.route is not None
        if call.own is not None and call.own.purpose == "shadow":
            return ()  # nobody's calls are fewer because somebody's were answered twice
        rules: Sequence[Rule] = self._plan(call.principal, call.route).rules
        if not self._of_callers and call.path != CHAT:
            return rules
        house = call.principal.organisation_id
        if self._per_end_user and call.user:
            rules = [*rules, *_rules(f"{house}:end user:{call.user}", "this user", self._per_end_user)]
        if self._per_address:
            rules = [
                *rules,
                *_rules(f"{house}:address:{neighbourhood(call.address)}", "this address", self._per_address),
            ]
        if call.path == CHAT:
            rules = [*rules, *_rules(f"{house}:chat:{neighbourhood(call.address)}", "this address", self._chat)]
        return rules

    def _plan(self, principal: Principal, route: Route) -> Plan:
        """Remembered as long as neither changes: a key is looked up anew every second."""
        place = (principal.key_id, id(route))  # arms of a route have its name, and its limits
        plan = self._plans.get(place)
        if plan is None or plan.principal is not principal or plan.route is not route:
            plan = self._plans[place] = Plan(principal, route, self._default, self.shares)
            if len(self._plans) > REMEMBERED:
                self._plans.popitem(last=False)
        return plan


class Rules(list[Rule]):
    """Some that hold for many calls, and what each of these is charged for them."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        super().__init__(rules)
        self.shares: list[tuple[int, Share]] = []  # that are told how much is used, each with its place
        self.charges = [Charge(rule.meter, 1, 0 if rule.limit.of == "at_once" else 1) for rule in rules]


class Plan:
    """What limits the calls of one key on one route."""

    __slots__ = ("principal", "route", "rules")

    def __init__(self, principal: Principal, route: Route, default: Sequence[Limit], shares: Shares) -> None:
        self.principal = principal
        self.route = route
        rules: list[Rule] = []
        seen: list[What] = []
        for level in principal.levels:
            limits = level.limits or (default if level.kind == "key" else ())
            who = f"{level.kind} {level.name or level.id!r}"
            rules += _rules(f"{level.kind}:{level.id}", who, [one for one in limits if one.of in AT_DOOR])
            seen += [What(level.kind, level.id, level.name, one.of) for one in limits if one.of in AT_DOOR]
        owner = f"{principal.organisation_id}:route:{route.name}"
        rules += _rules(owner, f"route {route.name!r}", [one for one in route.limits if one.of in AT_DOOR])
        seen += [What("route", route.name, route.name, one.of) for one in route.limits if one.of in AT_DOOR]
        self.rules = Rules(rules)
        self.rules.shares = [
            (at, share) for at, what in enumerate(seen) if what.of != "at_once" and (share := shares.of(what))
        ]


class Unlimited:
    """For a call that nothing limits."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


UNLIMITED = Unlimited()


class Admission(msgspec.Struct, eq=False):
    _limits: Limits
    _world: World
    _call: Call
    _rules: Sequence[Rule]
    _claim: Claim | None = None

    async def __aenter__(self) -> None:
        call, rules, loops = self._call, self._rules, self._limits.loops
        looks = loops.looks_at(call)
        seen = loops.ask(call) if looks else None
        if rules:
            await self._charge(call, rules)
        if not looks:
            return
        try:
            await loops.look(call, seen)
        except BaseException:
            loops.leave(call)
            self._settle(refused=True)
            raise

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._limits.loops.leave(self._call)
        if self._claim is not None:
            self._settle(refused=isinstance(error, LimitReached | BudgetSpent | LoopSuspected))

    async def _charge(self, call: Call, rules: Sequence[Rule]) -> None:
        assert call.principal is not None
        plan = rules if isinstance(rules, Rules) else Rules(rules)
        charges = plan.charges
        claim = Claim(f"{call.id}:door", call.principal.organisation_id, charges)
        answer = await self._world.counters.claim(claim)
        if isinstance(answer, Full):
            raise reached(rules[answer.at], answer.wait_s)
        self._claim = claim
        for at, share in plan.shares:
            share.used, share.most = answer.used[at], rules[at].limit.most
            share.until_ms = call.at_ms + 1000 * rules[at].limit.per_s
        call.rooms = tuple(
            Room(rule.limit, max(rule.limit.most - used, 0)) for rule, used in zip(rules, answer.used, strict=True)
        )

    def _settle(self, *, refused: bool) -> None:
        claim = self._claim
        if claim is not None and (claim.held or refused):
            self._world.counters.settle(claim, [0 if refused else charge.kept for charge in claim.charges])


def reached(rule: Rule, wait_s: float | None) -> LimitReached:
    wrong = _said(rule, wait_s)
    wrong.limit = (rule.whose, rule.limit.of)
    return wrong


def _said(rule: Rule, wait_s: float | None) -> LimitReached:
    if rule.limit.of == "at_once":
        return LimitReached(f"{rule.who} may make {rule.shown}; wait for one to end", retry_after_s=AT_ONCE_WAIT_S)
    again = f"try again in {wait_s:.0f} s" if wait_s and wait_s >= 1 else "try again in a second"
    if wait_s is None:
        again = "none are allowed"
    return LimitReached(f"{rule.who} may make {rule.shown}; {again}", retry_after_s=wait_s)


def _rules(owner: str, who: str, limits: Sequence[Limit]) -> Sequence[Rule]:
    return [Rule.of(owner, who, one) for one in limits]


def _at_door(configured: Sequence[LimitConfig]) -> tuple[Limit, ...]:
    return tuple(one.limit for one in configured if one.of in AT_DOOR)
