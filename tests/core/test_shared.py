"""A flight that others join: everybody gets all of it, nobody's leaving ends it, and nobody joins what is about to."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.core.test_flight import END, Sky, a_call, rest_of, said, turns
from tidegate.core.call import Event
from tidegate.core.errors import (
    ShuttingDown,
    TidegateError,
    UpstreamCutOff,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimeout,
)
from tidegate.core.flight import MAX_UNREAD, Reader
from tidegate.core.shared import SharedFlight, Table, may_lead

KEY = b"key"


class OpenSky(Sky):
    """Flights that can be joined."""

    def __init__(self) -> None:
        super().__init__()
        self.table: Table = {}
        self.told: list[Event] = []

    def share(self, most: int = 1000, *, goes_on: bool = False) -> SharedFlight:
        return SharedFlight(
            self.world, self.buy, a_call(), self._land, table=self.table, keys=[KEY], most=most, goes_on=goes_on
        )

    async def followed(self, flight: SharedFlight) -> Reader:
        reader = flight.follow(self.told.append)
        await reader.opened()
        return reader


def raws(events: list[Event]) -> list[bytes]:
    return [event.raw for event in events]


async def test_who_comes_late_gets_what_has_come_and_then_the_rest() -> None:
    sky = OpenSky()
    sky.source.first = [said(b"a"), said(b"b")]
    flight = sky.share()
    first = flight.board()
    await first.opened()
    assert raws(await anext(first)) == [b"a", b"b"]
    late = await sky.followed(sky.table[KEY])
    assert raws(await anext(late)) == [b"a", b"b"]
    sky.source.push([said(b"c")])
    assert raws(await anext(first)) == raws(await anext(late)) == [b"c"]
    sky.source.push([END])
    assert await rest_of(first) == await rest_of(late) == [END]
    assert sky.told == [END] and not sky.table and sky.log == ["bought", "given back", "landed"]


async def test_who_pays_may_leave_and_the_others_read_on() -> None:
    sky = OpenSky()
    sky.source.first = [said(b"a")]
    flight = sky.share()
    payer = flight.board()
    await payer.opened()
    follower = await sky.followed(flight)
    payer.leave()
    await turns(3)
    sky.source.push([said(b"b"), END])
    assert raws(await rest_of(follower)) == [b"a", b"b", b"end"]
    assert flight.ending == "complete"


async def test_the_last_to_leave_takes_it_out_of_the_table_in_the_same_breath() -> None:
    sky = OpenSky()
    sky.source.first = [said(b"a")]
    flight = sky.share()
    readers = [flight.board(), flight.follow(sky.told.append)]
    await readers[0].opened()
    readers[0].leave()
    assert sky.table == {KEY: flight}
    readers[1].leave()
    assert not sky.table, "nobody awaited anything"
    again = sky.share()
    assert sky.table == {KEY: again}
    await turns(5)
    assert flight.ending == "abandoned" and sky.table == {KEY: again}
    again.board().leave()
    await sky.quiet()
    assert sky.empty() and not sky.told


async def test_what_is_promised_goes_on_when_nobody_reads_and_can_be_joined_again() -> None:
    sky = OpenSky()
    sky.source.first = [said(b"a")]
    flight = sky.share(goes_on=True)
    payer = flight.board()
    await payer.opened()
    payer.leave()
    sky.source.push([said(b"b")])
    await turns(3)
    follower = await sky.followed(sky.table[KEY])
    sky.source.push([END])
    assert raws(await rest_of(follower)) == [b"a", b"b", b"end"]


async def test_what_goes_on_without_a_reader_is_never_held_up() -> None:
    sky = OpenSky()
    sky.source.first = [said(b"a")]
    flight = sky.share(most=MAX_UNREAD, goes_on=True)
    reader = flight.board()
    await reader.opened()
    for _ in range(5):
        sky.source.push([said(b"x" * MAX_UNREAD)])
    assert sky.source.paused
    reader.leave()
    assert not sky.source.paused
    sky.source.push([said(b"x" * MAX_UNREAD)])
    assert not sky.source.paused and not flight.events, "it is too large to keep, so nothing of it is"
    sky.source.push([END])
    await sky.quiet()
    assert flight.ending == "complete" and not flight.whole


async def test_above_the_bound_nobody_joins_and_who_reads_gets_everything() -> None:
    sky = OpenSky()
    sky.source.first = [said(b"a" * 600)]
    flight = sky.share(most=1000)
    first = flight.board()
    await first.opened()
    slow = await sky.followed(flight)
    await anext(first)
    sky.source.push([said(b"b" * 600)])
    assert not sky.table and not flight.whole
    assert raws(await anext(first)) == [b"b" * 600]
    sky.source.push([said(b"c"), END])
    assert raws(await rest_of(slow)) == [b"a" * 600, b"b" * 600, b"c", b"end"]
    assert raws(await rest_of(first)) == [b"c", b"end"]


async def test_the_fastest_sets_the_pace_while_it_is_whole_and_then_the_slowest() -> None:
    sky = OpenSky()
    half = b"x" * (MAX_UNREAD // 2)
    sky.source.first = [said(half)]
    flight = sky.share(most=3 * MAX_UNREAD)
    fast = flight.board()
    await fast.opened()
    slow = await sky.followed(flight)
    for _ in range(5):
        sky.source.push([said(half)])
        await anext(fast)
        assert not sky.source.paused
    sky.source.push([said(half)])  # now it is over the bound, and `slow` has read nothing
    await anext(fast)
    sky.source.push([said(b"y")])
    assert sky.source.paused
    await anext(fast)
    assert sky.source.paused, "the fastest has everything, and the slowest still nothing"
    await anext(slow)
    assert not sky.source.paused and not flight.events
    sky.source.push([END])
    assert await rest_of(fast) == await rest_of(slow) == [END]


async def test_when_the_slowest_leaves_nobody_waits_for_it() -> None:
    sky = OpenSky()
    sky.source.first = [said(b"x" * MAX_UNREAD)]
    flight = sky.share(most=10)
    fast = flight.board()
    await fast.opened()
    slow = await sky.followed(flight)
    await anext(fast)
    sky.source.push([said(b"y")])
    await anext(fast)
    sky.source.push([said(b"z")])
    assert sky.source.paused
    slow.leave()
    assert not sky.source.paused


async def test_an_error_after_the_first_event_is_everybodys_last_event() -> None:
    sky = OpenSky()
    sky.source.first = [said(b"a")]
    flight = sky.share()
    first = flight.board()
    await first.opened()
    follower = await sky.followed(flight)
    sky.source.push([Event(last=True, error=UpstreamCutOff("cut"))])
    for reader in (first, follower):
        assert isinstance((await rest_of(reader))[-1].error, UpstreamCutOff)
    assert sky.told[0].error is not None


class Refused(TidegateError):
    status = 402


@pytest.mark.parametrize(
    ("failure", "again", "leads"),
    [
        (Refused("the payer's budget is spent"), False, True),
        (Refused("the payer's budget is spent"), True, True),
        (UpstreamFailed("down"), False, True),
        (UpstreamFailed("down"), True, False),
        (UpstreamTimeout("late"), False, True),
        (UpstreamLimited("slow down"), False, True),
        (UpstreamLimited("slow down"), True, False),
        (ShuttingDown("closing"), False, False),
    ],
)
def test_a_follower_leads_once_when_the_provider_fails_and_whenever_the_payer_may_not(
    failure: TidegateError, again: bool, leads: bool
) -> None:
    assert may_lead(failure, again=again) is leads


@pytest.mark.parametrize("seed", range(20))
async def test_however_readers_come_and_go_each_gets_everything_in_order(seed: int) -> None:
    dice = random.Random(seed)
    sky = OpenSky()
    sky.source.first = [said(b"0")]
    flight = sky.share(most=dice.choice((5, 50, 10_000)))
    got: dict[Reader, list[bytes]] = {flight.board(): []}
    keep = next(iter(got))
    await keep.opened()
    sent = 1
    for _ in range(200):
        step = dice.choice(("push", "read", "join", "leave"))
        reader = dice.choice(list(got))
        if step == "push":
            sky.source.push([said(b"%d" % (sent + at)) for at in range(dice.randrange(1, 4))])
            sent = int(flight.events[-1].raw) + 1
        elif step == "read" and len(got[reader]) < sent:
            got[reader] += raws(await anext(reader))
        elif step == "join" and KEY in sky.table:
            got[await sky.followed(sky.table[KEY])] = []
        elif step == "leave" and reader is not keep:
            reader.leave()
            del got[reader]
    sky.source.push([END])
    for reader, heard in got.items():
        async with asyncio.timeout(30):
            heard += raws(await rest_of(reader))
        assert heard == [b"%d" % number for number in range(sent)] + [b"end"]
    await sky.quiet()
    assert sky.empty() and not sky.table
