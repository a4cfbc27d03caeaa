"""The breaker, with a clock in hand: when a target is set aside, who tries it, and when it is asked again."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.values import Duration, Share
from tidegate.upstream.breaker import PROBE_S, Breaker, Config

S = 1_000_000_000
FIVE = Config(failures=5, open_for=Duration(60))


def after(*outcomes: bool, config: Config = FIVE, now_ns: int = 0, **fields: Any) -> Breaker:
    breaker = Breaker(config, now_ns)
    for ok in outcomes:
        breaker.ended(now_ns, ok, fields.get("slow", False), config)
    return breaker


def test_five_failures_in_a_row_set_a_target_aside_and_four_do_not() -> None:
    assert after(*[False] * 4).asks(0) == "ask"
    breaker = after(*[False] * 5)
    assert (breaker.state, breaker.asks(0), breaker.why) == ("open", "pass", "5 failures in a row")


def test_one_success_in_between_begins_the_row_anew() -> None:
    assert after(*[False] * 4, True, *[False] * 4).state == "closed"


def test_none_in_a_row_never_does_where_none_is_configured() -> None:
    config = Config(failures=0, min_calls=1_000)
    assert after(*[False] * 500, config=config).state == "closed"


def test_a_part_of_the_calls_sets_it_aside_once_there_are_enough() -> None:
    config = Config(failures=0, error_rate=Share(0.5), min_calls=20)
    assert after(*[False, True] * 9, False, config=config).state == "closed"
    breaker = after(*[False, True] * 9, True, False, config=config)
    assert (breaker.state, breaker.why) == ("open", "10 of 20 calls failed within 30 s")


def test_failures_that_are_older_than_the_window_are_forgotten() -> None:
    config = Config(failures=0, min_calls=20)
    breaker = after(*[False] * 19, config=config)
    assert not breaker.ended(31 * S, False, False, config)


def test_slow_answers_set_it_aside_too() -> None:
    config = Config(slow=Duration(2), slow_rate=Share(0.5), min_calls=20)
    breaker = after(*[True] * 20, config=config, slow=True)
    assert (breaker.state, breaker.why) == ("open", "20 of 20 calls were slow within 30 s")


def test_one_that_is_switched_off_sets_nobody_aside() -> None:
    assert after(*[False] * 100, config=Config(enabled=False)).state == "closed"


def test_when_its_time_is_over_one_call_tries_it_and_no_other() -> None:
    breaker = after(*[False] * 5)
    assert breaker.asks(60 * S - 1) == "pass" and breaker.asks(60 * S) == "probe"
    assert breaker.probing(60 * S) and breaker.state == "half_open"
    assert breaker.asks(61 * S) == "pass"


def test_a_probe_that_is_answered_closes_it_as_new() -> None:
    breaker = after(*[False] * 5)
    breaker.probing(60 * S)
    assert breaker.probe_answered(61 * S, 0.5, FIVE) and breaker.asks(61 * S) == "ask"
    assert not breaker.ended(62 * S, False, False, FIVE), "one failure after that is one failure"


def test_a_probe_that_fails_opens_it_for_as_long_again() -> None:
    breaker = after(*[False] * 5)
    breaker.probing(60 * S)
    assert breaker.probe_failed(61 * S, "HTTP 503", FIVE) and breaker.why == "HTTP 503"
    assert breaker.asks(121 * S - 1) == "pass" and breaker.asks(121 * S) == "probe"


def test_a_probe_that_is_still_slow_opens_it_again() -> None:
    config = Config(slow=Duration(2), open_for=Duration(60))
    breaker = after(*[False] * 5, config=config)
    breaker.probing(60 * S)
    assert breaker.probe_answered(61 * S, 3.0, config) and breaker.state == "open"


def test_a_probe_whose_client_left_says_nothing_and_the_next_call_tries() -> None:
    breaker = after(*[False] * 5)
    breaker.probing(60 * S)
    assert breaker.probe_left(61 * S) and breaker.asks(61 * S) == "probe"


def test_a_probe_that_is_never_heard_of_again_does_not_hold_it_for_ever() -> None:
    breaker = after(*[False] * 5)
    breaker.probing(60 * S)
    assert breaker.asks(round((60 + PROBE_S) * S)) == "probe"


def test_calls_that_were_under_way_when_it_opened_change_nothing() -> None:
    breaker = after(*[False] * 5)
    assert not breaker.ended(1 * S, True, False, FIVE) and breaker.state == "open"


def test_an_admin_keeps_it_open_or_closed_until_it_is_reset() -> None:
    breaker = after()
    assert breaker.force("open", 0) and breaker.asks(3600 * S) == "pass"
    assert not breaker.force("open", 1)
    breaker.force("closed", 2)
    for _ in range(100):
        assert not breaker.ended(3, False, False, FIVE)
    assert breaker.asks(4) == "ask"
    breaker.close("an admin says so", 5)
    for _ in range(5):
        breaker.ended(6, False, False, FIVE)
    assert breaker.state == "open", "it counts again"


def test_what_another_process_noticed_later_is_taken_over() -> None:
    breaker = after()
    assert breaker.agree("open", "5 failures in a row", 7, 60 * S, False) and breaker.asks(8) == "pass"
    assert breaker.agree("closed", "it answers again", 9, 0, False) and breaker.asks(9) == "ask"


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 100)), max_size=200))
def test_whatever_happens_it_is_asked_again_sooner_or_later(events: list[tuple[bool, bool, int]]) -> None:
    breaker, now = Breaker(FIVE, 0), 0
    for ok, left, seconds in events:
        now += seconds * S
        verdict = breaker.asks(now)
        if verdict == "probe":
            breaker.probing(now)
            if left:
                breaker.probe_left(now)
            elif ok:
                breaker.probe_answered(now, 0.1, FIVE)
            else:
                breaker.probe_failed(now, "said", FIVE)
        elif verdict == "ask":
            breaker.ended(now, ok, False, FIVE)
    assert breaker.asks(now + 60 * S) in ("ask", "probe")
