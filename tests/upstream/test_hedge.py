"""When a second one is asked, and how often that may be."""

from __future__ import annotations

from tidegate.core.call import Hedge
from tidegate.core.values import Moment
from tidegate.upstream.hedge import Extra, patience_s
from tidegate.upstream.latency import Latency

S = 1_000_000_000


def test_the_first_is_waited_for_as_long_as_it_takes_lately_or_as_is_configured() -> None:
    first = Latency()
    assert patience_s(Hedge(Moment.parse("800ms"), 1.0), first) == 0.8
    assert patience_s(Hedge(Moment.parse("p95"), 1.0), first) is None, "nobody knows yet"
    for tenths in range(100):
        first.add(tenths / 10)
    assert patience_s(Hedge(Moment.parse("p95"), 1.0), first) == 9.5


def test_extra_calls_are_a_part_of_those_of_the_last_minute() -> None:
    extra = Extra()
    made = 0
    for _ in range(100):
        extra.called(S)
        if extra.has_room(S, 0.05):
            extra.made(S)
            made += 1
    assert made == 5
    assert not extra.has_room(70 * S, 0.05), "the calls are forgotten too"
