"""The house owns a reply: whoever comes, waits, leaves or crashes, it lands once, in order, and nothing is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.call import Call, Event, ReplyHead
from tidegate.core.errors import Internal, ShuttingDown, TidegateError, UpstreamCutOff, UpstreamFailed
from tidegate.core.flight import MAX_UNREAD, Flight, Hear, Reader
from tidegate.core.world import Nursery, World


class Noted:
    """What operators were told."""

    def __init__(self) -> None:
        self.notices: list[tuple[str, Mapping[str, Any]]] = []

    def call_began(self, call: Call) -> None: ...

    def call_ended(self, call: Call, row: object) -> None: ...

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        self.notices.append((name, fields))


class Sky:
    """A world with nothing in it but flights, a provider to buy from, and a log of what happened in which order."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.noted = Noted()
        nothing = cast(Any, None)
        self.world = World(loop, nothing, Nursery(loop), nothing, nothing, nothing, nothing, self.noted)
        self.log: list[str] = []
        self.source = Source()
        self.before: Callable[[], Any] = lambda: None  # what `buy` does before the first event
        self.leaving: Callable[[], Any] = lambda: None  # what giving back does
        self.landed: list[Flight] = []
        self.landing: Callable[[Flight], None] = lambda flight: None

    async def buy(self, call: Call, hear: Hear) -> None:
        self.log.append("bought")
        try:
            waiting = self.before()
            if waiting is not None:
                await waiting
            await hear(self.source)
        finally:
            self.log.append("given back")
            leaving = self.leaving()
            if leaving is not None:
                await leaving

    def take_off(self) -> Flight:
        return Flight(self.world, self.buy, a_call(), self._land)

    def _land(self, flight: Flight) -> None:
        self.log.append("landed")
        self.landed.append(flight)
        self.landing(flight)

    async def quiet(self) -> None:
        """Until every task of the house has ended and what they set off has run."""
        await self.world.nursery.wait(5)
        assert not self.world.nursery.tasks
        await turns(2)

    def empty(self) -> bool:
        return not self.world.flights and not self.world.nursery.tasks


class Source:
    """A reply that says what the test tells it to."""

    def __init__(self, *first: Event) -> None:
        self.head = ReplyHead("openai", (), cast(Any, None))
        self.first = list(first)
        self.push: Callable[[list[Event]], None] = lambda events: None
        self.begun = asyncio.Event()
        self.paused = False
        self.turned: list[str] = []

    def begin(self, push: Callable[[list[Event]], None]) -> None:
        self.push = push
        self.begun.set()
        if self.first:
            push(list(self.first))

    def pause(self) -> None:
        self.paused = True
        self.turned.append("paused")

    def resume(self) -> None:
        self.paused = False
        self.turned.append("resumed")


def a_call() -> Call:
    async def intake() -> bytes:
        return b""

    return Call(id="req_1", dialect="openai", operation="chat", at_ms=0, arrived_ns=0, intake=intake)


def said(text: bytes) -> Event:
    return Event(text, opens=True)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def rest_of(reader: Reader) -> list[Event]:
    return [event async for events in reader for event in events]


END = Event(b"end", opens=True, last=True)


# --- an ordinary flight


async def test_a_reader_sees_every_event_once_and_in_order() -> None:
    sky = Sky()
    sky.source.first = [said(b"a"), said(b"b")]
    reader = sky.take_off().board()
    assert await reader.opened() is sky.source.head
    assert [event.raw for event in await anext(reader)] == [b"a", b"b"]
    sky.source.push([said(b"c")])
    sky.source.push([said(b"d"), END])
    assert [event.raw for event in await rest_of(reader)] == [b"c", b"d", b"end"]
    with pytest.raises(StopAsyncIteration):
        await anext(reader)
    reader.leave()
    await sky.quiet()
    assert sky.landed[0].ending == "complete"
    assert sky.empty()


async def test_a_reply_of_one_event_is_a_flight_like_any_other() -> None:
    sky = Sky()
    sky.source.first = [END]
    reader = sky.take_off().board()
    await reader.opened()
    assert await anext(reader) == [END]
    with pytest.raises(StopAsyncIteration):
        await anext(reader)
    assert sky.log == ["bought", "given back", "landed"]


async def test_it_lands_in_order_and_the_last_event_is_released_at_the_end() -> None:
    """Given back → out of the table → last event appended → landing → readers woken."""
    sky = Sky()
    sky.source.first = [said(b"a")]
    flight = sky.take_off()
    reader = flight.board()
    await reader.opened()
    await anext(reader)
    seen: list[tuple[str, object]] = []

    async def read() -> None:
        seen.append(("read", await anext(reader)))

    reading = asyncio.create_task(read())
    await turns(1)

    def giving_back() -> None:
        seen.append(("given back", (flight in sky.world.flights, flight.ending, list(flight.events))))

    def landing(landed: Flight) -> None:
        seen.append(("landing", (landed in sky.world.flights, landed.ending, list(landed.events))))

    sky.leaving, sky.landing = giving_back, landing
    sky.source.push([END])
    await reading
    assert seen == [
        ("given back", (True, None, [])),
        ("landing", (False, "complete", [END])),
        ("read", [END]),
    ]


async def test_a_reader_that_boards_late_still_gets_everything() -> None:
    sky = Sky()
    sky.source.first = [said(b"a"), END]
    flight = sky.take_off()
    await sky.quiet()
    reader = flight.board()
    await reader.opened()
    assert [event.raw for event in await rest_of(reader)] == [b"a", b"end"]


# --- what fails


async def test_a_failure_before_the_first_event_is_raised_to_the_reader() -> None:
    sky = Sky()
    failure = UpstreamFailed("nobody is left to ask")

    def fail() -> None:
        raise failure

    sky.before = fail
    flight = sky.take_off()
    with pytest.raises(UpstreamFailed) as raised:
        await flight.board().opened()
    assert raised.value is failure
    assert (flight.ending, flight.failure, flight.events) == ("failed", failure, [])
    assert sky.log == ["bought", "given back", "landed"]
    await sky.quiet()
    assert sky.empty()


async def test_an_error_after_the_first_event_is_the_last_event() -> None:
    sky = Sky()
    sky.source.first = [said(b"hel")]
    flight = sky.take_off()
    reader = flight.board()
    await reader.opened()
    error = UpstreamCutOff("it was cut off")
    sky.source.push([Event(last=True, error=error)])
    events = await rest_of(reader)
    assert [event.raw for event in events] == [b"hel", b""]
    assert events[-1].last and events[-1].error is error
    assert (flight.ending, flight.failure) == ("broken", None)


async def test_what_giving_back_refuses_after_the_first_event_is_the_last_event() -> None:
    sky = Sky()
    sky.source.first = [said(b"hel")]
    flight = sky.take_off()
    reader = flight.board()
    await reader.opened()

    def refuse() -> None:
        raise UpstreamFailed("it would not close")

    sky.leaving = refuse
    flight.stop(ShuttingDown("closing"))
    events = await rest_of(reader)
    assert events[-1].last and isinstance(events[-1].error, UpstreamFailed)
    assert flight.ending == "broken"


async def test_a_crash_before_the_first_event_is_an_internal_error_and_a_notice() -> None:
    sky = Sky()

    def crash() -> None:
        raise ZeroDivisionError("a bug")

    sky.before = crash
    flight = sky.take_off()
    with pytest.raises(Internal) as raised:
        await flight.board().opened()
    assert "a bug" not in raised.value.message, "the log has the details, not the client"
    assert sky.noted.notices == [("flight_crashed", {"request_id": "req_1", "error": "ZeroDivisionError('a bug')"})]
    assert sky.log == ["bought", "given back", "landed"]
    await sky.quiet()
    assert sky.empty()


async def test_a_crash_after_the_first_event_ends_the_reply_with_an_internal_error() -> None:
    sky = Sky()
    sky.source.first = [said(b"hel")]
    flight = sky.take_off()
    reader = flight.board()
    await reader.opened()

    def crash() -> None:
        raise ZeroDivisionError("a bug")

    sky.leaving = crash
    flight.stop(ShuttingDown("closing"))
    events = await rest_of(reader)
    assert events[-1].last and isinstance(events[-1].error, Internal)
    assert flight.ending == "broken"
    assert [name for name, _ in sky.noted.notices] == ["flight_crashed"]


async def test_a_landing_that_crashes_leaves_no_reader_waiting() -> None:
    sky = Sky()
    sky.source.first = [said(b"a")]
    flight = sky.take_off()
    reader = flight.board()
    await reader.opened()
    await anext(reader)
    reading = asyncio.create_task(rest_of(reader))
    await turns(1)

    def crash(landed: Flight) -> None:
        raise ZeroDivisionError("a bug")

    sky.landing = crash
    sky.source.push([END])
    async with asyncio.timeout(30):
        assert await reading == [END]
    await sky.quiet()
    assert [name for name, _ in sky.noted.notices] == ["flight_crashed"]
    assert sky.log.count("landed") == 1


# --- who leaves


async def test_a_reader_that_is_cancelled_while_it_waits_loses_nothing() -> None:
    sky = Sky()
    sky.source.first = [said(b"a")]
    reader = sky.take_off().board()
    opening = asyncio.create_task(reader.opened())
    opening.cancel()
    await asyncio.wait([opening])
    await reader.opened()
    await anext(reader)
    reading = asyncio.create_task(anext(reader))
    await turns(1)
    sky.source.push([said(b"b")])  # woken and cancelled in the same breath
    reading.cancel()
    sky.source.push([said(b"c")])
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert [event.raw for event in await anext(reader)] == [b"b", b"c"]
    sky.source.push([END])
    assert await rest_of(reader) == [END]


async def test_the_last_reader_that_leaves_takes_the_flight_with_it() -> None:
    sky = Sky()
    sky.source.first = [said(b"a")]
    flight = sky.take_off()
    first, second = flight.board(), flight.board()
    await first.opened()
    first.leave()
    await turns(3)
    assert flight.ending is None, "one is still reading"
    second.leave()
    second.leave()
    await sky.quiet()
    assert flight.ending == "abandoned"
    assert sky.log == ["bought", "given back", "landed"]
    assert sky.empty()


async def test_leaving_before_anything_was_bought_buys_nothing_and_still_lands() -> None:
    """A task that is cancelled before its first step never runs: the flight lands from its done-callback."""
    sky = Sky()
    flight = sky.take_off()
    flight.board().leave()
    await sky.quiet()
    assert sky.log == ["landed"]
    assert flight.ending == "abandoned"
    assert sky.empty()


async def test_leaving_while_it_is_bought_gives_back_what_was_held() -> None:
    sky = Sky()
    sky.before = asyncio.Event().wait
    flight = sky.take_off()
    reader = flight.board()
    await turns(2)
    reader.leave()
    await sky.quiet()
    assert sky.log == ["bought", "given back", "landed"]
    assert (flight.ending, flight.head) == ("abandoned", None)


async def test_leaving_after_the_landing_changes_nothing() -> None:
    sky = Sky()
    sky.source.first = [END]
    flight = sky.take_off()
    reader = flight.board()
    await sky.quiet()
    reader.leave()
    flight.stop(ShuttingDown("closing"))
    await sky.quiet()
    assert flight.ending == "complete"
    assert sky.log == ["bought", "given back", "landed"]


async def test_two_cancels_and_a_slow_return_land_once() -> None:
    sky = Sky()
    sky.source.first = [said(b"a")]
    slow = asyncio.Event()
    sky.leaving = slow.wait
    flight = sky.take_off()
    reader = flight.board()
    await reader.opened()
    reader.leave()
    await turns(3)
    assert flight.ending is None, "it is still giving back"
    flight.stop(ShuttingDown("closing"))  # a second cancel, into the waiting return
    flight.stop(ShuttingDown("closing"))
    await sky.quiet()
    assert sky.log == ["bought", "given back", "landed"]
    assert sky.empty()


# --- the house closes


async def test_a_flight_that_is_stopped_before_the_first_event_raises_why() -> None:
    sky = Sky()
    sky.before = asyncio.Event().wait
    flight = sky.take_off()
    reader = flight.board()
    await turns(2)
    why = ShuttingDown("Tidegate is shutting down")
    flight.stop(why)
    with pytest.raises(ShuttingDown) as raised:
        await reader.opened()
    assert raised.value is why
    assert flight.ending == "failed"


async def test_a_flight_that_is_stopped_at_take_off_raises_why() -> None:
    sky = Sky()
    flight = sky.take_off()
    reader = flight.board()
    flight.stop(ShuttingDown("Tidegate is shutting down"))
    with pytest.raises(ShuttingDown):
        await reader.opened()
    assert sky.log == ["landed"]


async def test_a_flight_that_is_stopped_in_the_air_ends_with_why() -> None:
    sky = Sky()
    sky.source.first = [said(b"a")]
    flight = sky.take_off()
    reader = flight.board()
    await reader.opened()
    why = ShuttingDown("Tidegate is shutting down")
    flight.stop(why)
    events = await rest_of(reader)
    assert [event.raw for event in events] == [b"a", b""]
    assert events[-1].error is why
    assert flight.ending == "broken"


async def test_a_reply_that_was_complete_when_it_was_stopped_is_complete() -> None:
    sky = Sky()
    sky.source.first = [said(b"a")]
    flight = sky.take_off()
    reader = flight.board()
    await reader.opened()
    sky.source.push([END])
    flight.stop(ShuttingDown("closing"))
    assert (await rest_of(reader))[-1] is END
    assert flight.ending == "complete"


# --- a reader that lets events through


class Poured:
    """Where events go while a reader waits, as long as it is open."""

    def __init__(self) -> None:
        self.open = True
        self.got: list[bytes] = []

    def is_open(self) -> bool:
        return self.open

    def take(self, events: list[Event]) -> None:
        self.got += [event.raw for event in events]


async def pouring() -> tuple[Sky, Reader, Poured, asyncio.Task[list[Event]]]:
    sky = Sky()
    sky.source.first = [said(b"a")]
    reader = sky.take_off().board()
    await reader.opened()
    await anext(reader)
    reader.pour = poured = Poured()
    reading = asyncio.create_task(rest_of(reader))
    await turns(1)
    return sky, reader, poured, reading


async def test_events_go_at_once_where_a_waiting_reader_lets_them_through_and_the_last_one_is_its_own() -> None:
    sky, _, poured, reading = await pouring()
    sky.source.push([said(b"b"), said(b"c")])
    assert poured.got == [b"b", b"c"], "before anything else has run"
    sky.source.push([said(b"d"), END])
    assert [event.raw for event in await reading] == [b"end"]
    assert poured.got == [b"b", b"c", b"d"] and sky.landed[0].ending == "complete"


async def test_what_is_not_let_through_is_read_in_order() -> None:
    sky, _, poured, reading = await pouring()
    sky.source.push([said(b"b")])
    poured.open = False
    sky.source.push([said(b"c")])
    poured.open = True
    sky.source.push([said(b"d")])  # its reader was woken and has not come yet
    assert poured.got == [b"b"]
    await turns(1)
    sky.source.push([said(b"e")])
    sky.source.push([END])
    assert [event.raw for event in await reading] == [b"c", b"d", b"end"]
    assert poured.got == [b"b", b"e"]


async def test_what_was_let_through_holds_nothing_up() -> None:
    sky, _, poured, reading = await pouring()
    for _ in range(5):
        sky.source.push([said(b"x" * MAX_UNREAD)])
    assert len(poured.got) == 5 and not sky.source.paused
    sky.source.push([END])
    await reading


# --- a slow reader


async def test_a_slow_reader_pauses_the_source_and_goes_on_where_it_was() -> None:
    sky = Sky()
    piece = b"x" * 65_536
    sky.source.first = [said(piece)]
    reader = sky.take_off().board()
    await reader.opened()
    for _ in range(MAX_UNREAD // len(piece) - 1):
        sky.source.push([said(piece)])
    assert not sky.source.paused, "as much as may wait is waiting"
    sky.source.push([said(b"y")])
    assert sky.source.paused
    sky.source.push([said(b"z")])  # what was in the socket's hands already
    assert sky.source.turned == ["paused"]
    events = await anext(reader)
    assert not sky.source.paused
    assert sum(len(event.raw) for event in events) == MAX_UNREAD + 2
    sky.source.push([said(piece)])
    await anext(reader)
    assert sky.source.turned == ["paused", "resumed"]


async def test_the_end_of_a_reply_comes_through_a_pause() -> None:
    sky = Sky()
    sky.source.first = [said(b"x" * (MAX_UNREAD + 1))]
    reader = sky.take_off().board()
    await reader.opened()
    assert sky.source.paused
    sky.source.push([END])
    await sky.quiet()
    assert (await rest_of(reader))[-1] is END


# --- anything, in any order


@given(st.lists(st.sampled_from(["push", "end", "break", "fail", "crash", "read", "give up", "leave", "stop", "turn"])))
def test_whatever_happens_in_whatever_order_it_lands_once_and_nothing_is_left(steps: list[str]) -> None:
    asyncio.run(live_through(steps))


async def live_through(steps: list[str]) -> None:
    """One reader, one provider, and everything that can happen to both."""
    sky = Sky()
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    sky.before = lambda: gate
    sky.source.first = [said(b"0")]
    flight = sky.take_off()
    reader = flight.board()
    sent, got = [b"0"], []
    left = False
    raised: BaseException | None = None

    async def read() -> None:
        nonlocal raised
        try:
            await reader.opened()
            got.extend(await anext(reader))
        except StopAsyncIteration:
            pass
        except TidegateError as failure:
            raised = failure

    async def settled(task: asyncio.Task[None]) -> None:
        await turns(4)
        task.cancel()
        await asyncio.wait([task])

    ended = False
    for step in steps:
        flying = sky.source.begun.is_set() and not ended and "given back" not in sky.log
        if step == "push" and flying:
            sent.append(b"%d" % len(sent))
            sky.source.push([said(sent[-1])])
        elif step in ("end", "break") and flying:
            ended = True
            sky.source.push([Event(last=True, error=UpstreamCutOff("cut") if step == "break" else None)])
        elif step in ("fail", "crash") and not gate.done():
            gate.set_exception(UpstreamFailed("no") if step == "fail" else ZeroDivisionError("a bug"))
        elif step == "push" and not gate.done():
            gate.set_result(None)
        elif step == "read" and not left:
            await settled(asyncio.create_task(read()))
        elif step == "give up" and not left:
            task = asyncio.create_task(read())
            await turns(1)
            task.cancel()
            await asyncio.wait([task])
        elif step == "leave":
            left = True
            reader.leave()
        elif step == "stop":
            flight.stop(ShuttingDown("closing"))
        elif step == "turn":
            await turns(3)
    if not left:
        flight.stop(ShuttingDown("closing"))
        await sky.quiet()
        await asyncio.wait_for(drain(reader, got), 5)
    reader.leave()
    await sky.quiet()
    if gate.done() and not gate.cancelled():
        gate.exception()  # nobody may have waited for it
    assert sky.landed == [flight]
    assert flight.ending is not None
    assert sky.empty()
    assert sky.log.count("given back") == sky.log.count("bought") <= 1
    heard = [event.raw for event in got if not event.last]
    assert heard == sent[: len(heard)], "in order, nothing twice, nothing left out"
    if not left and flight.head is not None:
        assert heard == sent
        assert [event.last for event in got] == [False] * len(sent) + [True]


async def drain(reader: Reader, got: list[Event]) -> None:
    try:
        await reader.opened()
    except TidegateError:
        return
    got.extend([event async for events in reader for event in events])


async def test_a_flight_costs_little() -> None:
    """Printed, never failing: what the house adds to every call by owning it."""
    sky = Sky()
    began = time.perf_counter()
    count = 500
    for _ in range(count):
        sky.source = Source(END)
        reader = sky.take_off().board()
        await reader.opened()
        await anext(reader)
        reader.leave()
    print(f"\none flight: {(time.perf_counter() - began) / count * 1e6:.0f} µs")
    assert len(sky.landed) == count
