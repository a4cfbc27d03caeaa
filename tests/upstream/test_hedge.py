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


def test_extra_calls_are_earned_by_calls_and_saved_up_to_a_bound() -> None:
    extra = Extra()
    made = []
    for at in range(100):
        extra.called(0.05)
        if extra.has_room():
            extra.made()
            made.append(at)
    assert made == [19, 39, 59, 79, 99]
    for _ in range(1_000):
        extra.called(0.05)
    made_at_once = 0
    while extra.has_room():
        extra.made()
        made_at_once += 1
    assert made_at_once == BURST
