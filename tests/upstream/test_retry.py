"""What a failed attempt means, where the call goes next, and how long it waits: decided by a table."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.errors import TidegateError, UpstreamFailed, UpstreamLimited, UpstreamTimeout
from tidegate.upstream.retry import NEXT_STEP, Config, Failure, Kind, classify, next_step, wait_s

KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ((400, 404, 405, 409, 413, 415, 422, 451), "refused"),
        ((401, 402, 403), "key"),
        ((429,), "limited"),
        ((408, 425, 500, 502, 503, 504, 520, 529, 599), "server"),
        ((100, 201, 204, 301, 302, 304, 307), "nonsense"),
    ],
)
def test_what_a_status_means(statuses: tuple[int, ...], kind: Kind) -> None:
    assert {status: classify(status) for status in statuses} == dict.fromkeys(statuses, kind)


@given(st.integers(100, 999).filter(lambda status: status != 200))
def test_every_status_means_something(status: int) -> None:
    assert classify(status) in KINDS


@pytest.mark.parametrize(
    ("kind", "tries", "retry_after_s", "step"),
    [
        ("refused", 1, None, "give_back"),  # it would be wrong anywhere
        ("refused", 3, 9.0, "give_back"),
        ("key", 1, None, "next"),  # it does not get better by asking again
        ("timeout", 1, None, "next"),  # it has had its time
        ("server", 1, None, "again"),
        ("server", 2, None, "again"),
        ("server", 3, None, "next"),
        ("server", 4, None, "next"),
        ("unreachable", 1, None, "again"),
        ("unreachable", 3, None, "next"),
        ("nonsense", 1, None, "again"),
        ("nonsense", 3, None, "next"),
        ("limited", 1, None, "again"),
        ("limited", 1, 0.0, "again"),
        ("limited", 1, 5.0, "again"),
        ("limited", 1, 5.1, "next"),  # longer than we would ever wait
        ("limited", 3, 0.1, "next"),
        ("server", 1, 60.0, "next"),
    ],
)
def test_where_a_call_goes_next(kind: Kind, tries: int, retry_after_s: float | None, step: str) -> None:
    config = Config(tries=3, base_s=0.1, max_s=5.0)
    assert next_step(Failure(kind, "said", retry_after_s=retry_after_s), tries, config) == step


def test_every_kind_of_failure_has_a_step_of_its_own() -> None:
    assert set(NEXT_STEP) == set(KINDS)


def test_one_try_is_one_try() -> None:
    assert {kind: next_step(Failure(kind, ""), 1, Config(tries=1)) for kind in KINDS if kind != "refused"} == {
        kind: "next" for kind in KINDS if kind != "refused"
    }


@pytest.mark.parametrize(
    ("tries", "retry_after_s", "rand", "seconds"),
    [
        (1, None, 0.0, 0.05),
        (1, None, 1.0, 0.1),
        (2, None, 1.0, 0.2),
        (3, None, 1.0, 0.4),
        (10, None, 1.0, 5.0),  # never longer than max_s
        (10, None, 0.0, 2.5),
        (1, 2.0, 0.5, 2.0),  # what the provider asks for is kept
        (10, 2.0, 1.0, 5.0),
        (1, 0.0, 1.0, 0.1),
    ],
)
def test_how_long_it_waits(tries: int, retry_after_s: float | None, rand: float, seconds: float) -> None:
    config = Config(base_s=0.1, max_s=5.0)
    assert wait_s(Failure("limited", "", retry_after_s=retry_after_s), tries, config, rand) == pytest.approx(seconds)


@given(
    st.integers(1, 20),
    st.floats(0, 10),
    st.floats(0, 60),
    st.none() | st.floats(0, 100),
    st.floats(0, 1),
)
def test_a_wait_is_bounded_from_both_sides(
    tries: int, base_s: float, max_s: float, retry_after_s: float | None, rand: float
) -> None:
    config = Config(base_s=base_s, max_s=max_s)
    waited = wait_s(Failure("limited", "", retry_after_s=retry_after_s), tries, config, rand)
    asked = retry_after_s or 0.0
    assert asked <= waited <= max(asked, max_s)


@pytest.mark.parametrize(
    ("kind", "error", "outcome"),
    [
        ("refused", UpstreamFailed, "refused"),
        ("key", UpstreamFailed, "failed"),
        ("limited", UpstreamLimited, "limited"),
        ("server", UpstreamFailed, "failed"),
        ("timeout", UpstreamTimeout, "timeout"),
        ("unreachable", UpstreamFailed, "failed"),
        ("nonsense", UpstreamFailed, "failed"),
    ],
)
def test_what_the_client_is_told_and_the_row_says(kind: Kind, error: type[TidegateError], outcome: str) -> None:
    failure = Failure(kind, "said", retry_after_s=7.0)
    told = failure.error("nobody is left to ask")
    assert type(told) is error
    assert told.message == "nobody is left to ask"
    assert failure.outcome == outcome


def test_a_rate_limit_tells_the_client_when_to_come_back() -> None:
    assert Failure("limited", "said", retry_after_s=7.0).error("all are limiting").retry_after_s == 7.0
