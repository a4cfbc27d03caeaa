"""What became of it? One row for every call whose key is known, one event for every call."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from tidegate.core.call import Attempt, Cached, Call, Principal, Route
from tidegate.core.errors import LoopSuspected, StorageFull, TidegateError, UpstreamRefused
from tidegate.core.flight import Flight
from tidegate.core.money import Price
from tidegate.core.parcels import COMES_AGAIN, HandedOver
from tidegate.core.ports import AttemptRow, Closed, Opened, ShrunkRow
from tidegate.core.trace import PARENT, received
from tidegate.core.world import World

MAX_WORD = 256  # characters of what a client calls itself, and the model: they stand in every row
REMEMBERED = 1_000  # prices in the form that rows have them in, and what rows have in common
CLIENT_LEFT = 499  # nginx's number for a client that closed before there was a status


def status_of(error: TidegateError) -> int:
    """The HTTP status a client sees for `error`."""
    return error.status_given if isinstance(error, UpstreamRefused) else error.status


class Recorder:
    def __init__(self, world: World, *, traced: bool = False) -> None:
        """`traced`: the steps of calls are told to somebody, and so providers are told of theirs."""
        self._world = world
        self.traced = traced
        self._usuals: dict[tuple[Any, ...], Usual] = {}
        self._prices: dict[int, tuple[Price, dict[str, Any]]] = {}

    def record(self, call: Call) -> Recording:
        """`with recorder.record(call)`: whatever happens inside, it is told, and rowed once the key is known."""
        return Recording(self, self._world, call)

    def opened(self, call: Call) -> None:
        """Before the first byte goes upstream. Raises StorageFull: what cannot be accounted for is not bought."""
        call.alike = known = self._usual(call)
        opened = replace(known.opened, id=call.id, at_ms=call.at_ms, reserved_nusd=call.reserved_nusd)
        if call.user or call.session or call.tags:
            opened = replace(opened, user=call.user and call.user[:MAX_WORD], session=call.session, tags=call.tags)
        if call.arms:
            opened = replace(opened, arms=call.arms)
        self._world.ledger.append(opened)

    def landed(self, flight: Flight) -> None:
        """Close the row of the call that paid: before its last event is released, even when its client has left."""
        call = flight.call
        if flight.deserted:
            self.close(call, "client_left", 200 if flight.head else CLIENT_LEFT)
        elif flight.ending == "complete":
            self.close(call, "ok", 200)
        elif flight.ending == "broken":
            call.error = flight.events[-1].error
            self.close(call, "cut_off", 200)
        elif flight.failure is not None:
            call.error = flight.failure
            status, ours = status_of(flight.failure), isinstance(flight.failure, LoopSuspected)
            self.close(call, "refused" if ours or (status < 500 and status != 429) else "failed", status)
        else:
            self.close(call, "client_left", 200 if flight.head else CLIENT_LEFT)

    def close(self, call: Call, outcome: str, status: int) -> None:
        """Write the row and tell everybody, once."""
        if call.closed:
            return
        call.closed = True
        call.status = status
        if isinstance(call.error, HandedOver) or (call.is_bought and isinstance(call.error, COMES_AGAIN)):
            self._world.events.call_ended(call, None)  # its row is that of the call that brings the answer
            return
        row = self._row(call, outcome, status) if call.principal else None
        if row is not None:
            try:
                self._world.ledger.append(row)
            except StorageFull as full:
                # Of a call that was refused for just that, nothing is lost: nothing was bought.
                if not isinstance(call.error, StorageFull):
                    self._world.events.notice("row_lost", {"request_id": call.id, "error": full.message})
        self._world.events.call_ended(call, row)

    def _row(self, call: Call, outcome: str, status: int) -> Closed:
        now = self._world.clock.now_ns()
        took = now - call.arrived_ns
        first = None
        for attempt in call.attempts:
            first = first or attempt.first_ns
        if first is not None and call.held_ns:
            first = _seen_first(call)
        attempts = tuple([self._attempt_row(call, attempt, now) for attempt in call.attempts])
        only = attempts[0] if len(attempts) == 1 else None  # almost always: nothing is to be summed
        row = replace(
            (call.alike or self._usual(call)).closed,
            id=call.id,
            at_ms=call.at_ms,
            outcome=outcome,
            status=status,
            duration_us=took // 1000,
            overhead_us=max(took - call.upstream_ns(now), 0) // 1000,
            target=call.answered_by if outcome in ("ok", "cut_off") else None,
            first_us=(first - call.arrived_ns) // 1000 if first else None,
            attempts=attempts,
            usage=only.usage if only else call.usage.said(),
            usage_estimated=only.usage_estimated if only else any(one.usage_estimated for one in attempts),
            cost_nusd=only.cost_nusd if only else call.cost_nusd,
        )
        if call.user or call.session or call.tags:
            row = replace(row, user=call.user and call.user[:MAX_WORD], session=call.session, tags=call.tags)
        if call.error is not None or call.passed_over:
            row = replace(row, error=call.error and call.error.code, passed_over=tuple(call.passed_over))
        if call.cached is not None:
            row = replace(row, **_what_the_cache_did(call.cached))
        if PARENT in call.named and (parent := received(call.named[PARENT])):
            row = replace(row, trace_id=parent.trace_id, parent_id=parent.step_id)
        if call.arms or call.tried:
            row = replace(row, arms=call.arms if call.tried is None else (call.tried, *call.arms))
        if call.shrunk is not None or call.marked:
            row = replace(row, shrunk=_what_was_made_cheaper(call))
        if call.chosen is not None:
            row = replace(row, chosen=call.chosen)
        if call.own is not None:
            row = replace(row, purpose=call.own.purpose, parent=call.own.parent)
        if call.guarded.verdicts or call.prompt or call.asked_again:
            row = replace(row, guards=call.guarded.verdicts, asked_again=call.asked_again)
            row = replace(row, prompt=call.prompt, rendered=call.rendered)
        return row

    def _usual(self, call: Call) -> Usual:
        """Remembered as long as key and route are the same: they are looked up anew every second, or with a reload."""
        principal, route, asked = call.principal, call.route, call.asked
        assert principal is not None
        model, stream = (asked.model[:MAX_WORD], asked.stream) if asked is not None else (None, False)
        place = (principal.key_id, id(route), call.dialect, call.operation, call.kind, model, stream)
        known = self._usuals.get(place)
        if known is None or known.principal is not principal or known.route is not route:
            if len(self._usuals) >= REMEMBERED:
                self._usuals.clear()
            known = self._usuals[place] = usual(call, principal)
        return known

    def _attempt_row(self, call: Call, attempt: Attempt, now_ns: int) -> AttemptRow:
        target, began_ns = attempt.target, call.arrived_ns
        return AttemptRow(
            provider=target.provider.name,
            model=target.model,
            outcome=attempt.outcome,
            sent_us=(attempt.sent_ns - began_ns) // 1000,
            ended_us=((attempt.ended_ns or now_ns) - began_ns) // 1000,
            first_us=(attempt.first_ns - began_ns) // 1000 if attempt.first_ns else None,
            status=attempt.status,
            said=attempt.said,
            why=attempt.why,
            usage=attempt.usage.said(),
            usage_estimated=attempt.usage_estimated,
            price=self._shown(target.price) if target.price else None,
            cost_nusd=attempt.cost_nusd,
        )

    def _shown(self, price: Price) -> dict[str, Any]:
        """Remembered by the price itself: it is one object as long as its configuration lasts."""
        known = self._prices.get(id(price))
        if known is None or known[0] is not price:
            if len(self._prices) >= REMEMBERED:
                self._prices.clear()
            known = self._prices[id(price)] = (price, msgspec.to_builtins(price))
        return known[1]


class Usual(NamedTuple):
    """What the records of calls with the same key and route, that ask for the same, have in common."""

    principal: Principal
    route: Route | None
    opened: Opened
    closed: Closed


def usual(call: Call, principal: Principal) -> Usual:
    asked, route = call.asked, call.route
    common: dict[str, Any] = {
        "id": "",
        "at_ms": 0,
        "key_id": principal.key_id,
        "dialect": call.dialect,
        "operation": call.operation,
        "kind": call.kind,
        "organisation_id": principal.organisation_id,
        "team_id": principal.team_id,
        "user_id": principal.user_id,
        "stream": asked.stream if asked else False,
    }
    name, model = route.name if route else None, asked.model[:MAX_WORD] if asked else None
    ended: dict[str, Any] = {
        "outcome": "",
        "status": 0,
        "duration_us": 0,
        "overhead_us": 0,
        "route": name,
        "model": model,
    }
    return Usual(principal, route, Opened(route=name or "", model=model or "", **common), Closed(**ended, **common))


def _what_was_made_cheaper(call: Call) -> ShrunkRow:
    shrunk, saved_nusd = call.shrunk, 0
    if call.marked:
        saved_nusd = sum(one.target.price.saved_nusd(one.usage) for one in call.attempts if one.target.price)
    if shrunk is None:
        return ShrunkRow(marked=call.marked, kept_saved_nusd=saved_nusd)
    return ShrunkRow(shrunk.level, shrunk.before, shrunk.after, shrunk.trimmed, call.marked, saved_nusd)


def _seen_first(call: Call) -> int:
    """When a client could see something, where an answer was held back."""
    after = (attempt.first_ns for attempt in call.attempts if attempt.first_ns and attempt.first_ns >= call.held_ns)
    return next(after, call.held_ns)


def _what_the_cache_did(cached: Cached) -> dict[str, Any]:
    return {
        "cache": cached.result,
        "cache_layer": cached.layer or None,
        "saved_nusd": cached.saved_nusd,
        "deduplicated": cached.result == "shared",
    }


class Recording(msgspec.Struct, eq=False):
    """The outermost of a call: enters first, leaves last, awaits nothing on the way out."""

    _recorder: Recorder
    _world: World
    _call: Call

    def __enter__(self) -> None:
        self._world.calls.add(self._call)
        self._call.traced = self._recorder.traced
        self._world.events.call_began(self._call)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        call = self._call
        self._world.calls.discard(call)
        if call.closed or call.flight is not None:
            return  # a flight still in the air closes the row when it lands
        if isinstance(error, TidegateError):
            call.error = error
            status = status_of(error)
            self._recorder.close(call, "refused" if status < 500 else "failed", status)
        elif isinstance(error, asyncio.CancelledError):
            begun = call.cached is not None and call.cached.found
            self._recorder.close(call, "client_left", 200 if begun else CLIENT_LEFT)
        else:
            self._recorder.close(call, "failed", 500)
