"""Every call is told once, and every call whose key is known has one row that says what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import pytest

from tests.stages.test_auth import HandClock
from tests.stages.test_routes import Prices, provider
from tidegate.core.call import Asked, Attempt, Call, Event, Principal, ReplyHead, Route, Target
from tidegate.core.errors import (
    BadRequest,
    Internal,
    ModelNotFound,
    ShuttingDown,
    StorageFull,
    TidegateError,
    Unauthenticated,
    UpstreamCutOff,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamRefused,
    UpstreamTimeout,
)
from tidegate.core.flight import Flight, Hear
from tidegate.core.money import OWN_HARDWARE, Usage
from tidegate.core.ports import Closed, Opened, Record
from tidegate.core.world import Nursery, World
from tidegate.providers.openai.chat import Chat
from tidegate.stages.record import CLIENT_LEFT, Recorder
from tidegate.storage.memory import MemoryLedger


class Disk(MemoryLedger):
    """Keeps what was appended in order, until it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Record] = []
        self.full = False

    def append(self, record: Record) -> None:
        if self.full:
            raise StorageFull("the data folder is full")
        self.records.append(record)
        super().append(record)


class Told:
    def __init__(self) -> None:
        self.began: list[Call] = []
        self.ended: list[tuple[Call, Closed | None]] = []
        self.notices: list[str] = []

    def call_began(self, call: Call) -> None:
        self.began.append(call)

    def call_ended(self, call: Call, row: Closed | None) -> None:
        self.ended.append((call, row))

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        self.notices.append(name)


class Office:
    """A recorder, and what it writes and tells."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        nothing = cast(Any, None)
        self.clock, self.disk, self.told = HandClock(), Disk(), Told()
        self.world = World(loop, self.clock, Nursery(loop), nothing, nothing, self.disk, nothing, self.told)
        self.recorder = Recorder(self.world)

    def call(self, *, known: bool = True, model: str = "fast") -> Call:
        """A call as it is once it has been authenticated, understood and routed."""

        async def intake() -> bytes:
            return b""

        call = Call(
            id="req_1", dialect="openai", operation="chat", at_ms=7, arrived_ns=self.clock.now_ns(), intake=intake
        )
        call.asked = Asked(codec=Chat(), body=b"{}", model=model, stream=True)
        call.route = Route(model, (Target(provider("main"), "gpt", price=Prices.known),), 60.0)
        if known:
            call.principal = Principal("k1", "ci")
        return call

    def attempt(self, call: Call, **facts: Any) -> Attempt:
        assert call.route is not None
        attempt = Attempt(call.route.targets[0], self.clock.now_ns())
        for name, fact in facts.items():
            setattr(attempt, name, fact)
        call.attempts.append(attempt)
        call.answered_by = attempt.target.name
        return attempt

    @property
    def row(self) -> Closed:
        """The only one there is; whoever listens was told the same."""
        (row,) = [record for record in self.disk.records if isinstance(record, Closed)]
        assert [told for _, told in self.told.ended] == [row]
        return row


@pytest.fixture
async def office() -> Office:
    return Office()


async def record(office: Office, call: Call, inside: Callable[[], None]) -> None:
    with suppress(TidegateError, asyncio.CancelledError, ZeroDivisionError):
        with office.recorder.record(call):
            inside()


def raises(error: BaseException) -> Callable[[], None]:
    def inside() -> None:
        raise error

    return inside


# --- calls that never fly


@pytest.mark.parametrize(
    ("error", "outcome", "status", "code"),
    [
        (BadRequest("no JSON"), "refused", 400, "invalid_request"),
        (ModelNotFound("no model"), "refused", 404, "model_not_found"),
        (ShuttingDown("leaving"), "failed", 503, "shutting_down"),
        (Internal("oh"), "failed", 500, "internal_error"),
        (ZeroDivisionError("a bug"), "failed", 500, None),
        (asyncio.CancelledError(), "client_left", CLIENT_LEFT, None),
    ],
)
async def test_what_ends_a_call_before_it_flies_is_its_row(
    office: Office, error: BaseException, outcome: str, status: int, code: str | None
) -> None:
    call = office.call()
    await record(office, call, raises(error))
    assert (office.row.outcome, office.row.status, office.row.error) == (outcome, status, code)
    assert (office.row.attempts, office.row.usage, office.row.cost_nusd) == ((), {}, 0)
    assert office.told.began == [call]


async def test_a_call_whose_key_is_not_known_is_told_but_has_no_row(office: Office) -> None:
    call = office.call(known=False)
    await record(office, call, raises(Unauthenticated("who?")))
    assert office.disk.records == []
    assert office.told.ended == [(call, None)]
    assert (call.status, call.error and call.error.code) == (401, "invalid_api_key")


async def test_a_call_that_was_not_even_read_has_a_row_once_its_key_is_known(office: Office) -> None:
    call = office.call()
    call.asked = call.route = None
    await record(office, call, raises(BadRequest("no JSON")))
    assert (office.row.model, office.row.route, office.row.target) == (None, None, None)


# --- calls that fly


class Source:
    def __init__(self, target: Target) -> None:
        self.head = ReplyHead("openai", (), target)
        self.push: Callable[[list[Event]], None] = lambda events: None

    def begin(self, push: Callable[[list[Event]], None]) -> None:
        self.push = push
        push([Event(b"hel", opens=True)])

    def pause(self) -> None: ...

    def resume(self) -> None: ...


async def fly(office: Office, call: Call, *, failure: BaseException | None = None, last: Event | None = None) -> None:
    """A flight from its purchase to its landing; without a failure or a last event its client leaves."""
    assert call.route is not None
    source = Source(call.route.targets[0])

    async def buy(call: Call, hear: Hear) -> None:
        office.recorder.opened(call)
        if failure is not None:
            raise failure
        await hear(source)

    with office.recorder.record(call):
        call.flight = flight = Flight(office.world, buy, call, office.recorder.landed)
        reader = flight.board()
        with suppress(TidegateError):
            await reader.opened()
        if last is not None:
            source.push([last])
            await anext(reader)
        reader.leave()
    await office.world.nursery.wait(5)


@pytest.mark.parametrize(
    ("failure", "outcome", "status"),
    [
        (UpstreamFailed("nobody"), "failed", 502),
        (UpstreamTimeout("too late"), "failed", 504),
        (UpstreamLimited("slow down"), "failed", 429),
        (UpstreamRefused("wrong", status=422, dialect="openai", body=b"", content_type=""), "refused", 422),
        (UpstreamRefused("gone", status=410, dialect="openai", body=b"", content_type=""), "refused", 410),
        (ZeroDivisionError("a bug"), "failed", 500),
    ],
)
async def test_what_a_flight_failed_of_is_its_row(
    office: Office, failure: BaseException, outcome: str, status: int
) -> None:
    await fly(office, office.call(), failure=failure)
    assert [type(record) for record in office.disk.records] == [Opened, Closed]
    assert (office.row.outcome, office.row.status, office.row.target) == (outcome, status, None)
    assert office.row.error == (failure.code if isinstance(failure, TidegateError) else "internal_error")


async def test_a_complete_reply_is_a_row_before_its_last_event_is_released(office: Office) -> None:
    call = office.call()
    office.attempt(call, outcome="ok")
    await fly(office, call, last=Event(b"lo", last=True))
    assert (office.row.outcome, office.row.status, office.row.target) == ("ok", 200, "main/gpt")
    assert call.closed


async def test_a_reply_that_broke_keeps_its_status_and_says_why(office: Office) -> None:
    call = office.call()
    office.attempt(call, outcome="cut_off")
    await fly(office, call, last=Event(last=True, error=UpstreamCutOff("cut off")))
    assert (office.row.outcome, office.row.status, office.row.error) == ("cut_off", 200, "upstream_cut_off")
    assert office.row.target == "main/gpt"


async def test_a_client_that_left_in_the_middle_still_has_its_row(office: Office) -> None:
    call = office.call()
    office.attempt(call)
    await fly(office, call)
    assert (office.row.outcome, office.row.status, office.row.target) == ("client_left", 200, None)


# --- what a row says


async def test_what_a_call_cost_and_how_long_it_took(office: Office) -> None:
    call = office.call()
    office.clock.seconds += 0.010
    first = office.attempt(call, outcome="failed", status=503, said="HTTP 503")
    office.clock.seconds += 0.100
    first.ended_ns = office.clock.now_ns()
    second = office.attempt(call, outcome="ok", status=200)
    office.clock.seconds += 0.200
    second.first_ns = office.clock.now_ns()
    office.clock.seconds += 0.300
    second.ended_ns = office.clock.now_ns()
    first.usage, second.usage = Usage(input=1_000_000), Usage(input=2_000_000, output=1_000_000)
    second.usage_estimated = True
    office.recorder.close(call, "ok", 200)
    row = office.row
    assert (row.duration_us, row.overhead_us, row.first_us) == (610_000, 10_000, 310_000)
    assert row.usage == {"input": 3_000_000, "output": 1_000_000}
    assert row.cost_nusd == 1 + 2 + 2, "an attempt that failed after it had used tokens is not forgotten"
    assert row.usage_estimated
    assert [(one.outcome, one.sent_us, one.ended_us, one.first_us, one.cost_nusd) for one in row.attempts] == [
        ("failed", 10_000, 110_000, None, 1),
        ("ok", 110_000, 610_000, 310_000, 4),
    ]
    assert row.attempts[0].price == {"rates": {"input": 1, "output": 2}, "source": "a list"}
    assert (row.id, row.key_id, row.route, row.model, row.stream, row.at_ms) == ("req_1", "k1", "fast", "fast", True, 7)


async def test_a_price_that_is_not_known_is_not_nothing(office: Office) -> None:
    call = office.call()
    office.attempt(call, target=Target(provider("main"), "new"), usage=Usage(input=5), outcome="ok")
    office.recorder.close(call, "ok", 200)
    assert (office.row.cost_nusd, office.row.attempts[0].price) == (None, None)


async def test_own_hardware_costs_nothing_and_the_row_knows_that(office: Office) -> None:
    call = office.call()
    target = Target(provider("main"), "local", price=OWN_HARDWARE)
    office.attempt(call, target=target, usage=Usage(input=5), outcome="ok")
    office.recorder.close(call, "ok", 200)
    assert (office.row.cost_nusd, office.row.attempts[0].price and office.row.attempts[0].price["source"]) == (
        0,
        "own hardware",
    )


async def test_a_call_is_closed_once(office: Office) -> None:
    call = office.call()
    office.recorder.close(call, "ok", 200)
    office.recorder.close(call, "failed", 500)
    await record(office, call, raises(Internal("late")))
    assert office.row.outcome == "ok"


async def test_what_a_client_calls_itself_is_cut_to_what_a_row_can_carry(office: Office) -> None:
    call = office.call(model="m" * 10_000)
    call.user = "u" * 1_000_000
    office.recorder.opened(call)
    office.recorder.close(call, "ok", 200)
    for record in office.disk.records:
        assert len(record.user or "") == 256
        assert len(record.model or "") == 256


async def test_of_calls_that_are_alike_each_row_says_its_own(office: Office) -> None:
    for id, user in (("req_1", "ann"), ("req_2", None), ("req_3", "bob")):
        call = office.call()
        call.id, call.user = id, user
        office.recorder.opened(call)
        office.recorder.close(call, "ok", 200)
    said = [(one.id, one.user, one.key_id, one.model) for one in office.disk.records]
    for at, whose in enumerate((("req_1", "ann"), ("req_2", None), ("req_3", "bob"))):
        assert said[2 * at] == said[2 * at + 1] == (*whose, "k1", "fast")


async def test_a_key_that_was_changed_is_in_the_next_row_as_it_is_now(office: Office) -> None:
    for team in (None, "t1", "t2"):
        call = office.call()
        call.principal = Principal("k1", "ci", team_id=team)
        office.recorder.opened(call)
        office.recorder.close(call, "ok", 200)
    assert [one.team_id for one in office.disk.records] == [None, None, "t1", "t1", "t2", "t2"]


# --- a disk that is full


async def test_what_cannot_be_accounted_for_is_not_bought(office: Office) -> None:
    call = office.call()
    office.disk.full = True
    await fly(office, call)
    assert isinstance(call.error, StorageFull) and call.status == 503
    assert office.told.notices == [], "nothing was bought, so nothing is lost"
    assert len(office.told.ended) == 1


async def test_a_row_that_finds_no_room_is_told_and_holds_nobody_up(office: Office) -> None:
    call = office.call()
    office.attempt(call, outcome="ok")
    office.recorder.opened(call)
    office.disk.full = True
    office.recorder.close(call, "ok", 200)
    assert office.told.notices == ["row_lost"]
    ((_, row),) = office.told.ended
    assert row is not None and row.outcome == "ok"
