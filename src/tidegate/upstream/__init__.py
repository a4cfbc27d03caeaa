"""Who answers this call, and what if they do not? READ SECOND: the inner ring, once per attempt.

    route, or one of its tiers ─► shrink ─► router: targets in order ─► for each: breaker, key, room ─► attempt (maybe
    hedged) ─► retry: what next? ─► cascade: will it do, or a dearer tier?

The loop over attempts has returned before the first event is shown to anybody. So until then everything can be tried
again or elsewhere, and after it nothing is: what goes wrong later is the reply's last event.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

import msgspec

from tidegate.core.call import Asked, Attempt, Call, Route, Source, Target, Tier, Why
from tidegate.core.errors import BudgetSpent, LimitReached, TidegateError, UpstreamUnavailable
from tidegate.core.ports import Codecs, Timeouts
from tidegate.core.values import Duration, Secret
from tidegate.core.world import World
from tidegate.upstream import answers, breaker, handed, hedge, retry, router
from tidegate.upstream.answers import OwnAnswer
from tidegate.upstream.attempt import Stream
from tidegate.upstream.hedge import Extra
from tidegate.upstream.retry import ENDS_A_ROUTE, STEPS, Failure
from tidegate.upstream.shrink import Shrinks
from tidegate.upstream.targets import PassedOver, Seat, Targets
from tidegate.upstream.tiers import Tiers
from tidegate.upstream.tiers.cascade import Cascade, Held

FIRST: Why = "first"
OUT_OF_TIME = "the call's time is over"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How providers are asked.

    retry: how often, and how long to wait.
    breaker: when a target is set aside.
    connect: the time to reach a provider.
    first_token: the time until a reply begins; of one that is not streamed, until it is there.
    idle: the longest silence within a reply.
    """

    retry: retry.Config = retry.Config()
    breaker: breaker.Config = breaker.Config()
    connect: Duration = Duration(5)
    first_token: Duration = Duration(60)
    idle: Duration = Duration(60)


class Upstream:
    """`targets` is what is known of them so far; a reload hands it on."""

    def __init__(
        self,
        config: Config,
        world: World,
        codecs: Codecs,
        targets: Targets | None = None,
        shrinks: Shrinks | None = None,
        tiers: Tiers | None = None,
    ) -> None:
        self.config = config
        self.world = world
        self.codecs = codecs
        self.targets = targets or Targets(world, config.breaker)
        self.targets.config = config.breaker
        self.shrinks = shrinks or None  # nobody is asked where no route wants any
        self.tiers = tiers or Tiers({}, world)
        self._extra: dict[str, Extra] = {}  # by route

    def timeouts(self, route: Route, left_s: float) -> Timeouts:
        """Of an attempt when so much of the call's time is left."""
        config = self.config
        first_s = config.first_token if route.first_token_s is None else route.first_token_s
        return Timeouts(
            config.connect if route.connect_s is None else route.connect_s,
            min(first_s, left_s),
            config.idle if route.idle_s is None else route.idle_s,
            left_s,
        )

    def extra(self, route: Route) -> Extra:
        """How many calls of the route were asked twice lately."""
        return self._extra.setdefault(route.name, Extra())

    def patience_s(self, route: Route, seat: Seat) -> float | None:
        """How long this attempt is waited for before another is made beside it; None: for ever."""
        if route.hedge is None or seat.is_probe:
            return None
        self.extra(route).called(route.hedge.max_extra)
        return hedge.patience_s(route.hedge, seat.state.first)

    async def hand_over(self, call: Call) -> None:
        """Raises HandedOver, where its first target takes batches of its own; else it is asked like any other."""
        assert call.parceled is not None and call.route is not None
        if not call.is_bought and handed.may_go(call.route, call.parceled):
            if self.shrinks:
                await self.shrinks.shorten(call)
            route = call.route
            if route.tiers:
                tier, *_ = await self.tiers.choose(call)
                route = tier.route
            handed.over(call, router.plan(route, self.targets.of, random.random)[0], self.codecs)

    def open(self, call: Call) -> Opening | handed.Delivered:
        """`async with upstream.open(call) as source`: an answer, won. Raises what is left when nobody gave one."""
        if call.parceled is not None and call.parceled.target is not None:
            return handed.Delivered(call, call.parceled, call.parceled.target)
        return Opening(self, self.world, call)


class Opening(msgspec.Struct, eq=False):
    """One call's way through its targets; holds the exchange that won until it is left."""

    _ring: Upstream
    _world: World
    _call: Call
    _streams: list[Stream] = []
    _winner: Stream | None = None
    _first: Route | None = None  # whose first attempt the budget has paid for
    _tier: Tier | None = None  # that is asked
    _dearer: Sequence[Tier] = ()  # to go on with where it has not answered, or its answer will not do
    _cascade: Cascade | None = None  # who looks at answers
    _failures: list[str] = []
    _retry_after_s: float | None = None  # until the first of those that were passed over may be asked

    async def __aenter__(self) -> Source:
        """Ask route after route until one has begun to answer."""
        call = self._call
        assert call.route is not None and call.asked is not None
        own = self._own_answer(call.asked, call.route)
        if own is not None:
            return own
        route = call.route
        if self._ring.shrinks:
            await self._ring.shrinks.shorten(call)
        if route.tiers:
            self._tier, *self._dearer = await self._ring.tiers.choose(call)
            self._cascade = self._ring.tiers.checks_of(call) if self._dearer else None
            route = self._tier.route
        self._first = route
        try:
            source = await self._won(route, FIRST)
            return source if self._cascade is None else await self._looked_at(source, self._cascade)
        except BaseException:
            self._leave()  # what was never entered is never exited: a call that is cancelled here holds a connection
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        for stream in self._streams:
            stream.close()

    # --- the loops: answers, routes, targets, tries

    async def _looked_at(self, source: Source, cascade: Cascade) -> Source:
        """The first answer that will do, or that of the dearest tier. Nobody has seen a word of one before."""
        call = self._call
        while self._winner is not None and self._tier is not None and self._dearer:
            held = await cascade.held(call, source)
            if await cascade.will_do(call, self._tier.name, held):
                return held
            source = await self._instead_of(held, cascade)
        return source

    async def _instead_of(self, held: Held, cascade: Cascade) -> Source:
        """What a dearer tier says. Where none does it is `held` after all, or what is left, as the route says."""
        call, gives = self._call, cascade.gives and not held.is_broken
        before = call.answered_by, call.warnings
        self._winner, source = None, None
        try:
            source = await self._won(self._go_up(), "cascade")
        except TidegateError:
            if not gives:
                raise
        if self._winner is not None and self._tier is not None:
            self._ring.tiers.went_up(call, self._tier)
        if source is not None and (self._winner is not None or not gives):
            return source
        call.answered_by, call.warnings = before
        return cascade.given(call, held)

    async def _won(self, route: Route, why: Why) -> Source:
        """Ask route after route until one has begun to answer. Raises what is left when nobody did."""
        while True:
            failure = await self._ask_route(route, why)
            if self._winner is not None:
                return self._winner
            following = retry.following(route, failure) or self._next_tier(failure)
            if following is None:
                await self._ask_early(route)
                return self._winner or self._nobody(route, failure)
            route, why = following

    def _next_tier(self, failure: Failure | None) -> tuple[Route, Why] | None:
        """A dearer one, unless the request itself is refused."""
        if not self._dearer or (failure is not None and STEPS[failure.kind] in ("give_back", "content_policy")):
            return None
        return self._go_up(), "fallback"

    def _go_up(self) -> Route:
        self._tier, *self._dearer = self._dearer
        return self._tier.route

    async def _ask_route(self, route: Route, why: Why) -> Failure | None:
        """Ask target after target. Why the last that was asked did not answer; None when one did, or none was asked."""
        last: Failure | None = None
        for target in router.plan(route, self._ring.targets.of, random.random):
            failure = await self._ask_target(route, target, why)
            if self._winner is not None:
                return None
            if failure is not None:
                last, why = failure, "next"
                if STEPS[failure.kind] in ENDS_A_ROUTE:
                    break
        return last

    async def _ask_early(self, route: Route) -> None:
        """All who may be asked have failed: so try who is set aside before the time, if nobody else does just now.

        Without it an outage that ends just before another begins would leave calls without an answer.
        """
        asked = {attempt.target.name for attempt in self._call.attempts}
        for target in router.plan(route, self._ring.targets.of, random.random) if asked else ():
            is_open = self._ring.targets.of(target).breaker.state == "open"
            if self._winner is None and is_open and target.name not in asked:
                await self._ask_target(route, target, "next", early=True)

    async def _ask_target(self, route: Route, target: Target, why: Why, *, early: bool = False) -> Failure | None:
        """Ask one target, and again where that may help. None: it answers, or it was passed over."""
        call, ring, clock = self._call, self._ring, self._world.clock
        config = ring.config.retry
        refused: list[Secret] = []
        failure: Failure | None = None
        tries = 0
        while True:
            tries += 1
            now_ns = clock.now_ns()
            if call.deadline_ns <= now_ns:
                return Failure("timeout", OUT_OF_TIME)
            if call.bill is not None and (call.attempts or route is not self._first):
                await call.bill.extend(target)  # 402 429: what is asked beyond the first is paid for as well
                now_ns = clock.now_ns()
            seat = None if early else ring.targets.seat_now(target, refused, now_ns)
            if seat is None:
                seat = await ring.targets.seat(call, target, refused, early=early)
                now_ns = clock.now_ns()
            if isinstance(seat, PassedOver):
                if failure is None:
                    self._pass_over(target, seat)
                return failure
            if tries == 1:
                seat.state.budget.called(now_ns)
            stream = self._stream(target, seat, why)
            failure = await (self._run(route, stream, now_ns) if route.hedge is None else self._race(route, stream))
            if failure is None:
                self._winner = winner = self._winner or stream
                call.answered_by, call.warnings = winner.target.name, winner.warnings
                return None
            if route.hedge is None:
                self._lost(stream, failure)
            hint_s = ring.targets.mind_key(target, seat.key, failure, config)
            step = retry.next_step(failure, tries - len(refused), config, hint_s)
            if step == "key" and seat.key is not None:
                refused.append(seat.key)
                why = "key"
                continue
            wait_s = retry.wait_s(tries, config, hint_s, random.random())
            now_ns = clock.now_ns()
            if step != "again" or seat.is_probe or wait_s >= (call.deadline_ns - now_ns) / 1e9:
                return failure
            if not seat.state.budget.allows(now_ns, config.budget):
                return failure
            why = "again"
            await clock.sleep(wait_s)

    # --- one attempt

    def _stream(self, target: Target, seat: Seat, why: Why) -> Stream:
        shrinks, call = self._ring.shrinks, self._call
        mark = shrinks.mark(call) if shrinks else None
        if self._cascade is not None and self._dearer:
            mark = self._cascade.mark(call, mark)
        stream = Stream(self._world, call, seat, Attempt(target, self._world.clock.now_ns(), why), mark)
        self._streams.append(stream)
        return stream

    def _run(self, route: Route, stream: Stream, now_ns: int) -> Coroutine[Any, Any, Failure | None]:
        """Ask. None: it has begun to answer."""
        left_s = (self._call.deadline_ns - now_ns) / 1e9
        timeouts = self._ring.timeouts(route, left_s)
        # A client with little patience must not make a target look ill for all others.
        hurried = left_s < route.timeout_s / 2 and timeouts.first_byte == left_s
        return stream.win(self._ring.codecs, timeouts, hurried=hurried)

    def _lost(self, stream: Stream, failure: Failure) -> None:
        stream.close()
        self._failures.append(f"{stream.target.name}: {failure.said}")

    async def _race(self, route: Route, stream: Stream) -> Failure | None:
        """Ask, and beside it perhaps the next target, if this one is slow. None: `_winner` has begun to answer."""

        async def run(one: Stream) -> Failure | None:
            failure = await self._run(route, one, self._world.clock.now_ns())
            if failure is not None:
                self._lost(one, failure)
            return failure

        patience_s = self._ring.patience_s(route, stream.seat)
        if patience_s is None:
            return await run(stream)
        rival = partial(self._rival, route, stream.target)
        self._winner, failure = await hedge.race(self._world, stream, run, patience_s, rival)
        return failure

    async def _rival(self, route: Route, target: Target) -> Stream | None:
        """A second attempt beside the one at `target`: at another one that may be asked at once.

        Also at one that was set aside and whose time is over: where the first always answers nobody else would try it.
        """
        extra, targets = self._ring.extra(route), self._ring.targets
        if route.hedge is None or not extra.has_room():
            return None
        for other in router.plan(route, targets.of, random.random):
            if other.name == target.name:
                continue
            if not await self._can_pay(other):
                return None
            seat = targets.seat_now(other, (), self._world.clock.now_ns())
            if seat is None and targets.of(other).breaker.state != "closed":
                seat = await targets.seat(self._call, other)
            if isinstance(seat, Seat):
                extra.made()
                return self._stream(other, seat, "hedge")
        return None

    async def _can_pay(self, target: Target) -> bool:
        """Whether there is money, and tokens, for one more attempt beside the one that runs."""
        if self._call.bill is not None:
            try:
                await self._call.bill.extend(target)
            except (BudgetSpent, LimitReached):
                return False
        return True

    # --- when nobody answers

    def _own_answer(self, asked: Asked, route: Route) -> Source | None:
        """What we can answer ourselves, when no provider of the route can."""
        operation = asked.codec.operation
        for target in route.targets:
            if (target.provider.dialect, operation) in self._ring.codecs:
                return None
        event = asked.codec.own_answer(asked)
        return OwnAnswer(asked.codec.dialect, event) if event else None

    def _pass_over(self, target: Target, seat: PassedOver) -> None:
        self._call.passed_over.append(f"{target.name}: {seat.why}")
        before_s = self._retry_after_s
        self._retry_after_s = seat.retry_after_s if before_s is None else min(before_s, seat.retry_after_s)

    def _nobody(self, route: Route, failure: Failure | None) -> Source:
        """The text for that case, where it is not the request's own fault; else raise what is left."""
        call = self._call
        assert call.route is not None
        text = route.static_answer or call.route.static_answer
        own_fault = failure is not None and (STEPS[failure.kind] in ENDS_A_ROUTE or failure.kind == "foreign")
        if text is not None and not own_fault and call.operation in answers.WRITTEN:
            call.answered_by = answers.STATIC
            return answers.static(text)
        told = "; ".join([*self._failures, *call.passed_over]) or "no attempt was made"
        if failure is None:
            raise UpstreamUnavailable(
                f"route {call.route.name!r}: nobody may be asked just now ({told})", retry_after_s=self._retry_after_s
            )
        why = "nobody is left to ask"
        if failure.said == OUT_OF_TIME:
            why = f"{(call.deadline_ns - call.arrived_ns) / 1e9:g} s are over"
        raise failure.error(f"route {call.route.name!r}: {why} ({told})")
