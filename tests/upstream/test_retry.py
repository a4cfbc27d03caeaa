"""What a failed attempt means, where the call goes next, and how long it waits: decided by a table."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.call import Route
from tidegate.core.errors import BadRequest, Complaint, TidegateError, UpstreamFailed, UpstreamLimited, UpstreamTimeout
from tidegate.upstream.retry import (
    BUDGET_FLOOR,
    MEANINGS,
    STEPS,
    TABLE,
    Budget,
    Config,
    Failure,
    Kind,
    classify,
    following,
    next_step,
    wait_s,
)

KINDS: tuple[Kind, ...] = get_args(Kind)
S = 1_000_000_000


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
@pytest.mark.parametrize("dialect", ["openai", "anthropic", "another"])
def test_what_a_status_means_when_nothing_is_said(dialect: str, statuses: tuple[int, ...], kind: Kind) -> None:
    assert {status: classify(dialect, status) for status in statuses} == dict.fromkeys(statuses, kind)


@pytest.mark.parametrize(
    ("dialect", "status", "complaint", "kind"),
    [
        ("openai", 400, Complaint("", "invalid_request_error", "context_length_exceeded"), "too_long"),
        (
            "openai",
            400,
            Complaint("This model's maximum context length is 8192 tokens.", "BadRequestError"),
            "too_long",
        ),
        ("openai", 400, Complaint("", "exceed_context_size_error", "400"), "too_long"),  # llama.cpp
        ("anthropic", 400, Complaint("prompt is too long: 208310 tokens > 200000 maximum"), "too_long"),
        ("anthropic", 413, Complaint("too large", "request_too_large"), "too_long"),
        ("openai", 400, Complaint("", "invalid_request_error", "content_policy_violation"), "policy"),
        ("openai", 400, Complaint("", "", "content_filter"), "policy"),  # Azure
        ("anthropic", 400, Complaint("Output blocked by content filtering policy"), "policy"),
        ("openai", 429, Complaint("", "insufficient_quota", "insufficient_quota"), "key"),
        ("openai", 429, Complaint("", "requests", "rate_limit_exceeded"), "limited"),
        ("anthropic", 400, Complaint("Your credit balance is too low"), "key"),
        ("anthropic", 403, Complaint("", "permission_error"), "key"),
        ("openai", 404, Complaint("", "invalid_request_error", "model_not_found"), "missing"),
        ("openai", 403, Complaint("", "invalid_request_error", "model_not_found"), "missing"),
        ("anthropic", 404, Complaint("model: claude-9", "not_found_error"), "missing"),
        ("openai", 404, Complaint("no such file", "invalid_request_error"), "refused"),
        ("anthropic", 529, Complaint("Overloaded", "overloaded_error"), "server"),
        ("anthropic", 429, Complaint("", "rate_limit_error"), "limited"),
        ("openai", 200, Complaint("overloaded", "server_error"), "server"),  # in place of an answer
        ("openai", 200, Complaint(), "server"),
        ("openai", 200, Complaint("", "", "context_length_exceeded"), "too_long"),
        ("openai", 200, Complaint("", "invalid_request_error"), "refused"),
        ("anthropic", 200, Complaint("Overloaded", "overloaded_error"), "server"),
        ("anthropic", 200, Complaint("", "rate_limit_error"), "limited"),
        ("openai", 400, Complaint("prompt is too long"), "refused"),  # the other dialect's words
    ],
)
def test_what_an_error_means_in_its_dialect(dialect: str, status: int, complaint: Complaint, kind: Kind) -> None:
    assert classify(dialect, status, complaint) == kind


@given(st.integers(100, 999), st.text(max_size=20), st.text(max_size=20), st.sampled_from(["openai", "anthropic"]))
def test_every_error_means_something(status: int, message: str, code: str, dialect: str) -> None:
    assert classify(dialect, status, Complaint(message, code, code)) in KINDS


def test_every_kind_of_failure_has_a_step_and_a_meaning_and_every_rule_a_kind() -> None:
    assert set(STEPS) == set(MEANINGS) == set(KINDS)
    assert {rule.kind for rule in TABLE} <= set(KINDS)


@pytest.mark.parametrize(
    ("kind", "tries", "hint_s", "step"),
    [
        ("refused", 1, None, "give_back"),  # it would be wrong anywhere
        ("refused", 3, 9.0, "give_back"),
        ("too_long", 1, None, "longer"),
        ("policy", 1, None, "content_policy"),
        ("missing", 1, None, "next"),
        ("foreign", 1, None, "next"),
        ("key", 1, None, "key"),  # it does not get better by asking again
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
def test_where_a_call_goes_next(kind: Kind, tries: int, hint_s: float | None, step: str) -> None:
    config = Config(tries=3, base_s=0.1, max_s=5.0)
    assert next_step(Failure(kind, "said"), tries, config, hint_s) == step


@pytest.mark.parametrize(
    ("kind", "advice", "tries", "step"),
    [
        ("server", False, 1, "next"),
        ("limited", False, 1, "next"),
        ("refused", True, 1, "again"),
        ("refused", True, 3, "give_back"),
        ("refused", False, 1, "give_back"),
        ("timeout", True, 1, "again"),
        ("key", True, 1, "key"),
        ("key", False, 1, "key"),
    ],
)
def test_a_provider_may_say_itself_whether_to_ask_again(kind: Kind, advice: bool, tries: int, step: str) -> None:
    assert next_step(Failure(kind, "said", should_retry=advice), tries, Config(tries=3)) == step


def test_one_try_is_one_try() -> None:
    assert "again" not in {next_step(Failure(kind, ""), 1, Config(tries=1)) for kind in KINDS}


@pytest.mark.parametrize(
    ("tries", "hint_s", "rand", "seconds"),
    [
        (1, None, 0.0, 0.0),
        (1, None, 1.0, 0.1),
        (2, None, 1.0, 0.2),
        (3, None, 0.5, 0.2),
        (10, None, 1.0, 5.0),  # never longer than max_s
        (10, None, 0.5, 2.5),
        (1, 2.0, 0.5, 2.05),  # what the provider asks for is kept, and not all come back in the same instant
        (10, 2.0, 1.0, 2.1),
        (1, 0.0, 1.0, 0.1),
    ],
)
def test_how_long_it_waits(tries: int, hint_s: float | None, rand: float, seconds: float) -> None:
    assert wait_s(tries, Config(base_s=0.1, max_s=5.0), hint_s, rand) == pytest.approx(seconds)


@given(st.integers(1, 20), st.floats(0, 10), st.floats(0, 60), st.none() | st.floats(0, 100), st.floats(0, 1))
def test_a_wait_is_bounded_from_both_sides(
    tries: int, base_s: float, max_s: float, hint_s: float | None, rand: float
) -> None:
    waited = wait_s(tries, Config(base_s=base_s, max_s=max_s), hint_s, rand)
    asked = hint_s or 0.0
    assert asked <= waited <= (asked + base_s if asked else max_s)


# --- which route goes on


LONGER, STRICT, SPARE = (Route(name, (), 60.0) for name in ("longer", "strict", "spare"))
FAST = Route("fast", (), 60.0, longer=LONGER, content_policy=STRICT, fallback=SPARE)


@pytest.mark.parametrize(
    ("kind", "route"),
    [
        ("too_long", LONGER),
        ("policy", STRICT),
        ("refused", None),
        *((kind, SPARE) for kind in ("missing", "foreign", "key", "limited", "server", "timeout", "nonsense")),
    ],
)
def test_why_a_route_failed_says_which_one_goes_on(kind: Kind, route: Route | None) -> None:
    found = following(FAST, Failure(kind, "said"))
    assert (found and found[0]) == route
    assert following(Route("alone", (), 60.0), Failure(kind, "said")) is None


def test_a_route_whose_targets_were_all_passed_over_falls_back_too() -> None:
    assert following(FAST, None) == (SPARE, "fallback")


# --- not to make an outage worse


def test_retries_are_a_part_of_the_calls_of_the_last_ten_seconds() -> None:
    budget = Budget()
    for _ in range(200):
        budget.called(5 * S)
    assert sum(budget.allows(5 * S, 0.2) for _ in range(200)) == 40
    assert not budget.allows(14 * S, 0.2)
    assert budget.allows(16 * S, 0.2), "those are forgotten by now"


def test_few_calls_may_always_be_retried() -> None:
    budget = Budget()
    budget.called(0)
    assert sum(budget.allows(0, 0.2) for _ in range(100)) == BUDGET_FLOOR


@pytest.mark.parametrize(
    ("kind", "error", "outcome"),
    [
        ("refused", UpstreamFailed, "refused"),
        ("missing", UpstreamFailed, "refused"),
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


def test_what_is_the_requests_own_fault_is_given_back_as_it_is() -> None:
    refusal = BadRequest("no such tool")
    assert Failure("refused", "said", refusal=refusal).error("nobody is left") is refusal
