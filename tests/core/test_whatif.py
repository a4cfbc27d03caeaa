"""What each lever would have saved: bounds that hold, and nothing claimed that a log does not say."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.money import Price
from tidegate.core.whatif import Asked, Lever, Seen, WhatIf, supposed

CHEAP = Price({"input": 150_000_000, "output": 600_000_000}, "test")
HOUR_MS = 3_600_000


def call(at_s: float = 0, **more: object) -> Seen:
    usual = {"input_tokens": 1000, "output_tokens": 100, "cost_nusd": 3_500_000, "input_nusd": 2_500_000, "key": "k"}
    return Seen(**({"at_ms": round(at_s * 1000), "duration_ms": 1000.0} | usual | more))  # type: ignore[arg-type]


def lever(found: WhatIf, name: str) -> Lever:
    return next(one for one in found.levers if one.name == name)


def test_without_calls_nothing_is_claimed():
    found = supposed([], Asked())
    assert (found.calls, found.cost_usd, found.success, found.p99_s) == (0, 0, None, None)


def test_without_texts_what_repeats_lies_between_nothing_and_what_may_have_been_the_same():
    found = lever(supposed([call(0), call(1), call(2, input_tokens=999)], Asked()), "exact cache")
    assert (found.saved_least_usd, found.saved_most_usd, found.calls) == (0, 0.0035, 1)


def test_with_texts_what_repeats_is_known():
    found = lever(supposed([call(0, same="a"), call(1, same="b"), call(2, same="a")], Asked()), "exact cache")
    assert found.saved_least_usd == found.saved_most_usd == 0.0035


@pytest.mark.parametrize(("other", "saved"), [({"at_s": 25 * 3600}, 0), ({"key": "another"}, 0), ({"at_s": 5}, 1)])
def test_only_an_answer_that_is_fresh_and_ones_own_would_have_been_given(other: dict[str, object], saved: int):
    found = lever(supposed([call(0, same="a"), call(**{"same": "a"} | other)], Asked()), "exact cache")
    assert found.calls == saved


def test_what_the_cache_has_answered_is_not_saved_again():
    found = supposed([call(0), call(1, cached=True, cost_nusd=0, saved_nusd=3_500_000)], Asked(cheap=CHEAP))
    assert found.saved_already_usd == 0.0035
    assert lever(found, "a smaller model").calls == 1
    assert lever(found, "exact cache").calls == 0


def test_of_meaning_and_of_a_model_that_nobody_named_nothing_is_known():
    found = supposed([call()], Asked())
    assert lever(found, "semantic cache").saved_most_usd is None
    assert lever(found, "a smaller model").saved_most_usd is None


def test_a_smaller_model_saves_the_difference_at_most():
    found = lever(supposed([call()], Asked(cheap=CHEAP)), "a smaller model")
    assert found.saved_most_usd == pytest.approx((3_500_000 - 210_000) / 1e9)
    assert found.saved_least_usd == 0


def test_a_call_that_somebody_may_wait_for_goes_in_no_batch():
    found = supposed([call(), call(stream=True), call(session="s"), call(batch=True)], Asked())
    assert lever(found, "providers' batches").calls == 1


def test_a_session_that_only_grows_looks_like_a_loop_after_eight():
    growing = [call(at, session="s", input_tokens=1000 + at) for at in range(12)]
    assert lever(supposed(growing, Asked()), "stopped loops").calls == 4
    slow = [call(at * 100, session="s", input_tokens=1000 + at) for at in range(12)]
    assert lever(supposed(slow, Asked()), "stopped loops").calls == 0


def test_what_goes_beyond_a_budget_is_told_by_key_and_day():
    dear = [call(at, key="agent", cost_nusd=4_000_000_000) for at in range(3)]
    assert supposed([*dear, call()], Asked()).over_budget == {"agent": 7.0}


def test_what_providers_failed_may_have_been_answered_and_what_clients_did_wrong_not():
    found = supposed([call(), call(status=502), call(status=400), call()], Asked())
    assert (found.success, found.success_most) == (0.5, 0.75)


def test_a_hedge_shortens_the_slowest_alone():
    calls = [call(at, duration_ms=1000.0 if at % 25 else 9000.0) for at in range(1000)]
    found = supposed(calls, Asked())
    assert (found.p99_s, found.p99_hedged_s) == (9.0, 2.0)


@st.composite
def logs(draw: st.DrawFn) -> Sequence[Seen]:
    tokens = st.integers(0, 5000)
    return [
        call(
            draw(st.integers(0, 100_000)), input_tokens=draw(tokens), output_tokens=draw(tokens),
            cost_nusd=(cost := draw(st.integers(0, 10**9))), input_nusd=cost // 2, stream=draw(st.booleans()),
            session=draw(st.sampled_from(["", "s"])), same=draw(st.sampled_from([None, "a", "b"])),
        )
        for _ in range(draw(st.integers(0, 30)))
    ]  # fmt: skip


@given(logs())
def test_no_lever_saves_more_than_was_paid_and_bounds_are_in_order(calls: Sequence[Seen]):
    found = supposed(calls, Asked(cheap=CHEAP))
    for one in found.levers:
        if one.saved_most_usd is not None and one.saved_least_usd is not None:
            assert 0 <= one.saved_least_usd <= one.saved_most_usd <= found.cost_usd + 1e-9
    remaining = [step.most_usd for step in found.waterfall]
    assert remaining == sorted(remaining, reverse=True)
    assert all(step.least_usd <= step.most_usd + 1e-12 for step in found.waterfall)
