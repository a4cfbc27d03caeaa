"""When a second one is asked, and how often that may be."""

from __future__ import annotations

from tidegate.core.call import Hedge
from tidegate.core.values import Moment
from tidegate.upstream.hedge import BURST, Extra, patience_s
from tidegate.upstream.latency import Latency


def test_the_first_is_waited_for_as_long_as_it_takes_lately_or_as_is_configured() -> None:
    first = Latency()
    assert patience_s(Hedge(Moment.parse("800ms"), 1.0), first) == 0.8
    assert patience_s(Hedge(Moment.parse("p95"), 1.0), first) is None, "nobody knows yet"
    for tenths in range(100):
        first.add(tenths / 10)
    assert patience_s(Hedge(Moment.parse("p95"), 1.0), first) == 9.5


def test_each_call_earns_a_part_of_an_extra_one() -> None:
    extra = Extra()
    made = 0
    for _ in range(100):
        extra.called(0.05)
        if extra.has_room():
            extra.made()
            made += 1
    assert made == 5


def test_what_quiet_calls_have_earned_is_kept_but_not_without_end() -> None:
    extra = Extra()
    for _ in range(100_000):
        extra.called(0.05)
    made = 0
    while extra.has_room():
        extra.made()
        made += 1
    assert made == BURST
