"""What became of it? One row for every call whose key is known, one event for every call."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

import msgspec

from tidegate.core.call import Attempt, Cached, Call
from tidegate.core.errors import LoopSuspected, StorageFull, TidegateError, UpstreamRefused
from tidegate.core.flight import Flight
from tidegate.core.money import Price
from tidegate.core.ports import AttemptRow, Closed, Opened
from tidegate.core.trace import PARENT, received
from tidegate.core.world import World

MAX_WORD = 256  # characters of what a client calls itself, and the model: they stand in every row
UNASKED = Cached("bypass")
PRICES = 1_000  # remembered in the form that rows have them in
CLIENT_LEFT = 499  # nginx's number for a client that closed before there was a status


def status_of(error: TidegateError) -> int:
    """The HTTP status a client sees for `error`."""
    return error.status_given if isinstance(error, UpstreamRefused) else error.status


class Recorder:
    def __init__(self, world: World, *, traced: bool = False) -> None:
        """`traced`: the steps of calls are told to somebody, and so providers are told of theirs."""
        self._world = world
        self.traced = traced
        self._prices: dict[int, tuple[Price, dict[str, Any]]] = {}

    def record(self, call: Call) -> Recording:
        """`with recorder.record(call)`: whatever happens inside, it is told, and rowed once the key is known."""
        return Recording(self, self._world, call)

    def opened(self, call: Call) -> None:
        """Before the first byte goes upstream. Raises StorageFull: what cannot be accounted for is not bought."""
        principal, asked = call.principal, call.asked
        assert principal is not None and call.route is not None and asked is not None
        self._world.ledger.append(
            Opened(
                id=call.id,
                at_ms=call.at_ms,
                key_id=principal.key_id,
                dialect=call.dialect,
                operation=call.operation,
                route=call.route.name,
                model=asked.model[:MAX_WORD],
                stream=asked.stream,
                user=call.user and call.user[:MAX_WORD],
                session=call.session,
                tags=call.tags,
                kind=call.kind,
                organisation_id=principal.organisation_id,
                team_id=principal.team_id,
                user_id=principal.user_id,
                reserved_nusd=call.reserved_nusd,
            )
        )

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
        principal, asked = call.principal, call.asked
        assert principal is not None
        now = self._world.clock.now_ns()
        took = now - call.arrived_ns
        first = None
        for attempt in call.attempts:
            first = first or attempt.first_ns
        attempts = tuple([self._attempt_row(call, attempt, now) for attempt in call.attempts])
        answered = call.answered_by if outcome in ("ok", "cut_off") else None
        only = attempts[0] if len(attempts) == 1 else None  # almost always: nothing is to be summed
        cached = call.cached or UNASKED
        parent = received(call.named[PARENT]) if PARENT in call.named else None
        return Closed(
            id=call.id,
            at_ms=call.at_ms,
            key_id=principal.key_id,
            dialect=call.dialect,
            operation=call.operation,
            outcome=outcome,
            status=status,
            duration_us=took // 1000,
            overhead_us=max(took - call.upstream_ns(now), 0) // 1000,
            route=call.route.name if call.route else None,
            model=asked.model[:MAX_WORD] if asked else None,
            target=answered,
            stream=asked.stream if asked else False,
            first_us=(first - call.arrived_ns) // 1000 if first else None,
            error=call.error.code if call.error else None,
            passed_over=tuple(call.passed_over),
            attempts=attempts,
            usage=only.usage if only else call.usage.said(),
            usage_estimated=only.usage_estimated if only else any(one.usage_estimated for one in attempts),
            cost_nusd=only.cost_nusd if only else call.cost_nusd,
            user=call.user and call.user[:MAX_WORD],
            session=call.session,
            tags=call.tags,
            kind=call.kind,
            organisation_id=principal.organisation_id,
            team_id=principal.team_id,
            user_id=principal.user_id,
            prompt=call.prompt,
            cache=cached.result if call.cached else None,
            cache_layer=cached.layer or None,
            saved_nusd=cached.saved_nusd,
            deduplicated=cached.result == "shared",
            guards=call.guarded.verdicts,
            purpose=call.own.purpose if call.own else None,
            parent=call.own.parent if call.own else None,
            asked_again=call.asked_again,
            trace_id=parent and parent.trace_id,
            parent_id=parent and parent.step_id,
        )

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
            if len(self._prices) >= PRICES:
                self._prices.clear()
            known = self._prices[id(price)] = (price, msgspec.to_builtins(price))
        return known[1]


class Recording:
    """The outermost of a call: enters first, leaves last, awaits nothing on the way out."""

    __slots__ = ("_call", "_recorder", "_world")

    def __init__(self, recorder: Recorder, world: World, call: Call) -> None:
        self._recorder = recorder
        self._world = world
        self._call = call

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
