"""How is each target doing, and may it be asked now? What is known of it outlives a configuration.

Everything here is decided in this process and at once; only who tries a target that is set aside is asked of the
counters, for that is one call of all processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from tidegate.core.call import Call, Target
from tidegate.core.errors import StoreDown
from tidegate.core.ports import Provider, TargetSeen
from tidegate.core.values import Secret
from tidegate.core.world import World
from tidegate.upstream import breaker, retry
from tidegate.upstream.breaker import Breaker
from tidegate.upstream.keys import KeyRing, shown
from tidegate.upstream.latency import SHARE, Latency
from tidegate.upstream.retry import Budget, Failure
from tidegate.upstream.slots import Slots

MAX_STATES = 2_000  # clients choose the names of models, and what is known of one is a few kilobytes
NEXT_LOOK_S = 1.0  # after another process was seen to try a target
REST_S = 1.0  # of a key that was limited and does not say for how long
BUSY_S = 1.0  # when to come back, where all targets have as many calls as they may

Ended = Literal["well", "badly", "left"]


class State:
    """What is known of one target, by its name."""

    __slots__ = ("breaker", "budget", "first", "name", "slots", "took_s")

    def __init__(self, name: str, config: breaker.Config, now_ns: int) -> None:
        self.name = name
        self.breaker = Breaker(config, now_ns)
        self.slots = Slots()
        self.budget = Budget()
        self.first = Latency()  # until the first token
        self.took_s: float | None = None  # a whole reply, lately

    @property
    def busy(self) -> int:
        return self.slots.taken

    @property
    def first_s(self) -> float | None:
        return self.first.mean_s if self.first.count else None


class PassedOver(NamedTuple):
    """A target that is not asked, and why."""

    why: str
    retry_after_s: float


class Seat(msgspec.Struct, eq=False):
    """A place at a target, for one attempt: given back once, at once, however the attempt ends."""

    _targets: Targets
    state: State
    key: Secret | None
    is_probe: bool = False
    _given_back: bool = False

    def answered(self, now_ns: int, first_s: float) -> None:
        """The first event is there."""
        self.state.first.add(first_s)
        if self.is_probe:
            self.is_probe = False
            self._targets.settle(self.state, self.state.breaker.probe_answered(now_ns, first_s, self._targets.config))
            self._targets.end_probe(self.state)

    def give_back(self, now_ns: int, ended: Ended, *, first_s: float | None, took_s: float, why: str) -> None:
        if self._given_back:
            return
        self._given_back = True
        state, config = self.state, self._targets.config
        state.slots.give_back()
        if self.is_probe:
            self._targets.settle(state, self._probed(now_ns, ended, took_s, why))
            self._targets.end_probe(state)
        elif ended != "left":
            slow = config.slow is not None and (took_s if first_s is None else first_s) > config.slow
            changed = state.breaker.ended(now_ns, ended == "well", slow, config)
            if changed:
                self._targets.settle(state, changed)
            if ended == "well":
                before_s = state.took_s
                state.took_s = took_s if before_s is None else before_s + SHARE * (took_s - before_s)

    def _probed(self, now_ns: int, ended: Ended, took_s: float, why: str) -> bool:
        """It ended without a first event: what that says of the target."""
        about, config = self.state.breaker, self._targets.config
        if ended == "left":
            return about.probe_left(now_ns)
        if ended == "badly":
            return about.probe_failed(now_ns, why, config)
        return about.probe_answered(now_ns, took_s, config)  # it refused the request, so it is there


class Targets:
    """All that are known, by name, and the keys of their providers. One for the house: a reload keeps it."""

    def __init__(self, world: World, config: breaker.Config) -> None:
        self.config = config
        self.changed: set[str] = set()  # names whose breaker other processes should hear of
        self.holder = os.urandom(8).hex()  # this process, where leases are kept
        self._world = world
        self._states: dict[str, State] = {}
        self._keys: dict[str, KeyRing] = {}

    def __iter__(self) -> Iterator[State]:
        return iter(self._states.values())

    def of(self, target: Target) -> State:
        return self._states.get(target.name) or self.named(target.name)

    def expect(self, targets: Iterable[Target]) -> None:
        """Those that are configured can be seen before anybody asks them."""
        for target in targets:
            self.of(target)

    def knows(self, name: str) -> bool:
        return name in self._states

    def named(self, name: str) -> State:
        state = self._states.get(name)
        if state is None:
            if len(self._states) >= MAX_STATES:
                self._forget_one()
            state = self._states[name] = State(name, self.config, self._world.clock.now_ns())
        return state

    def keys_of(self, provider: Provider) -> KeyRing:
        ring = self._keys.get(provider.name)
        if ring is None:
            ring = self._keys[provider.name] = KeyRing()
        return ring

    # --- a place for an attempt

    async def seat(
        self, call: Call, target: Target, tried: Sequence[Secret] = (), *, early: bool = False
    ) -> Seat | PassedOver:
        """A place at `target` for one attempt of `call`, with a key that is not among `tried`; waits for it."""
        state = self.of(target)
        room = state.slots.take(target.max_concurrent) or await state.slots.wait(
            self._world, call.priority, target.max_queue, target.queue_timeout_s
        )
        if not room:
            return PassedOver(f"busy with {target.max_concurrent} calls, as many as it may have", BUSY_S)
        seat: Seat | PassedOver | None = None
        try:
            seat = await self._take(state, target, tried, early)
        finally:
            if not isinstance(seat, Seat):
                state.slots.give_back()
        return seat

    def seat_now(self, target: Target, tried: Sequence[Secret], now_ns: int) -> Seat | PassedOver | None:
        """The same without waiting for anything; None where something must be waited for."""
        state = self._states.get(target.name) or self.named(target.name)
        if state.breaker.state != "closed":
            verdict = state.breaker.asks(now_ns)
            if verdict == "pass":
                return self._set_aside(state)
            if verdict == "probe":
                return None
        if target.max_concurrent is not None and not state.slots.has_room(target.max_concurrent):
            return None
        key = self._key(target, tried, now_ns) if target.provider.keys else None
        if isinstance(key, PassedOver):
            return key
        state.slots.taken += 1
        return Seat(self, state, key)

    async def _take(self, state: State, target: Target, tried: Sequence[Secret], early: bool) -> Seat | PassedOver:
        """With a slot in hand: the breaker may have changed while we waited for it."""
        now_ns = self._world.clock.now_ns()
        key = self._key(target, tried, now_ns)
        if isinstance(key, PassedOver):
            return key
        verdict = state.breaker.asks(now_ns, early=early)
        if verdict == "pass" or (verdict == "probe" and not await self._may_probe(state)):
            return self._set_aside(state)
        return Seat(self, state, key, verdict == "probe")

    def _key(self, target: Target, tried: Sequence[Secret], now_ns: int) -> Secret | PassedOver | None:
        keys = target.provider.keys
        if not keys:
            return None
        ring = self._keys.get(target.provider.name) or self.keys_of(target.provider)
        key = ring.pick(keys, target.model, now_ns, tried)
        if key is None:
            left_s = (ring.back_ns(keys, target.model, now_ns) - now_ns) / 1e9
            return PassedOver("all its keys were refused and are set aside", left_s)
        return key

    def _set_aside(self, state: State) -> PassedOver:
        about = state.breaker
        left_s = max((about.until_ns - self._world.clock.now_ns()) / 1e9, 0.0)
        if about.forced:
            return PassedOver("set aside by an admin", left_s or NEXT_LOOK_S)
        if about.state == "half_open":
            return PassedOver("set aside, and another call tries just now whether it is well again", NEXT_LOOK_S)
        return PassedOver(f"set aside after {about.why}; asked again in {left_s:.0f} s", left_s)

    # --- who may try a target that is set aside

    async def _may_probe(self, state: State) -> bool:
        """Whether this call is the one of all processes that tries."""
        # Looked at by others of this process while we ask: they must not ask too.
        state.breaker.wait(self._world.clock.now_ns(), NEXT_LOOK_S)
        try:
            ours = await self._world.counters.lease(f"probe {state.name}", self.holder, breaker.PROBE_S)
        except StoreDown:
            ours = True  # nobody can say, so each process tries once
        now_ns = self._world.clock.now_ns()
        if not ours:
            return False
        self.settle(state, state.breaker.probing(now_ns))
        return True

    def end_probe(self, state: State) -> None:
        async def give_back() -> None:
            try:
                await self._world.counters.give_back(f"probe {state.name}", self.holder)
            except StoreDown:
                return  # it runs out by itself

        self._world.nursery.spawn(give_back(), f"end probe of {state.name}")

    # --- what is told

    def settle(self, state: State, changed: bool) -> None:
        """Tell everybody that a breaker has changed, if it has."""
        if changed:
            self.changed.add(state.name)
            self.tell(state)

    def tell(self, state: State) -> None:
        about = state.breaker
        self._world.events.notice(f"breaker_{about.state}", {"target": state.name, "why": about.why})

    def mind_key(self, target: Target, key: Secret | None, failure: Failure, config: retry.Config) -> float | None:
        """Set a key that was refused aside, let one that is limited rest. How long the next try must wait, at least."""
        if key is None or failure.kind not in ("key", "limited"):
            return failure.retry_after_s
        provider, now_ns = target.provider, self._world.clock.now_ns()
        ring = self.keys_of(provider)
        if failure.kind == "limited":
            ring.rest(key, now_ns + round((failure.retry_after_s or REST_S) * 1e9))
            return None if ring.fresh(provider.keys, target.model, now_ns) else failure.retry_after_s
        model = target.model if failure.status == 403 else ""  # which often is about the model, and clients choose it
        ring.set_aside(key, model, now_ns, now_ns + round(config.key_aside * 1e9))
        told = {"provider": provider.name, "key": shown(provider, key), "model": model or None, "said": failure.said}
        self._world.events.notice("key_set_aside", {**told, "for_s": float(config.key_aside)})
        return None

    # --- what can be seen and said from outside

    def seen(self) -> Iterator[TargetSeen]:
        """How each is doing now."""
        now_ns, now_ms = self._world.clock.now_ns(), self._world.clock.wall_ns() // 1_000_000
        for state in self._states.values():
            about = state.breaker
            waits = about.state != "closed" and not about.forced
            yield TargetSeen(
                target=state.name,
                state=about.state,
                forced=about.forced,
                why=about.why or None,
                since_ms=now_ms - (now_ns - about.since_ns) // 1_000_000,
                next_probe_ms=now_ms + max(about.until_ns - now_ns, 0) // 1_000_000 if waits else None,
                busy=state.slots.taken,
                waiting=state.slots.waiting,
                shed=state.slots.shed,
                first_token_ms=None if state.first_s is None else round(state.first_s * 1000, 1),
                waits=state.slots.waits,
                waited_s=state.slots.waited_ns / 1e9,
            )

    def keys_aside(self) -> dict[str, int]:
        """How many keys of each provider are set aside now."""
        now_ns = self._world.clock.now_ns()
        return {name: ring.aside(now_ns) for name, ring in self._keys.items()}

    def say(self, target: Target, wanted: Literal["open", "closed", "reset"]) -> None:
        """An admin's word: keep it open or closed; or forget what was held against it and its provider's keys."""
        state, now_ns = self.of(target), self._world.clock.now_ns()
        if wanted == "reset":
            self.keys_of(target.provider).forgive()
            changed = state.breaker.forced or state.breaker.state != "closed"
            state.breaker.close("an admin says so", now_ns)
        else:
            changed = not state.breaker.forced or state.breaker.state != wanted
            state.breaker.force(wanted, now_ns)
        self.settle(state, changed)

    def _forget_one(self) -> None:
        """The one that has been known longest and of which nothing needs to be known."""
        for name, state in self._states.items():
            if not state.slots.taken and state.breaker.state == "closed" and not state.breaker.forced:
                del self._states[name]
                return
