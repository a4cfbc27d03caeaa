"""When a provider may be asked again, in all the words that there are for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.ports import Head
from tidegate.upstream.hints import retry_after_s, should_retry

NOON = 1_767_268_800.0  # 2026-01-01, 12:00 UTC


def head(**headers: str) -> Head:
    return Head(429, [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()])


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "4"}, 4.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after_ms": "250", "retry_after": "4"}, 0.25),
        ({"retry_after_ms": "soon", "retry_after": "4"}, 4.0),
        ({"retry_after": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30.0),
        ({"retry_after": "Thu, 01 Jan 2026 11:00:00 GMT"}, None),  # has been
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),  # nobody waits for so long
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "1e9"}, None),
        ({"x_ratelimit_reset_requests": "20ms"}, 0.02),
        ({"x_ratelimit_reset_requests": "1s"}, 1.0),
        ({"x_ratelimit_reset_tokens": "6m0s"}, 360.0),
        ({"x_ratelimit_reset_tokens": "1h2m3.5s"}, 3723.5),
        ({"x_ratelimit_reset_requests": "7"}, 7.0),
        ({"x_ratelimit_reset_requests": "1s", "x_ratelimit_remaining_requests": "12"}, None),
        (
            {
                "x_ratelimit_reset_requests": "1s",
                "x_ratelimit_remaining_requests": "12",
                "x_ratelimit_reset_tokens": "3s",
                "x_ratelimit_remaining_tokens": "0",
            },
            3.0,
        ),
        ({"anthropic_ratelimit_requests_reset": "2026-01-01T12:00:09Z"}, 9.0),
        (
            {"anthropic_ratelimit_tokens_reset": "2026-01-01T12:00:09Z", "anthropic_ratelimit_tokens_remaining": "5"},
            None,
        ),
        ({"anthropic_ratelimit_requests_reset": "tomorrow"}, None),
        ({"retry_after": "2", "x_ratelimit_reset_requests": "9s"}, 2.0),
    ],
)
def test_when_it_may_be_asked_again(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(head(**headers), NOON) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(("said", "advice"), [("true", True), (" False ", False), ("maybe", None), ("", None)])
def test_whether_to_ask_again_at_all(said: str, advice: bool | None) -> None:
    assert should_retry(head(x_should_retry=said)) is advice
    assert should_retry(head()) is None


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_any_text_is_a_time_or_none(text: str) -> None:
    for name in ("retry_after", "retry_after_ms", "x_ratelimit_reset_x", "anthropic_ratelimit_x_reset"):
        seconds = retry_after_s(head(**{name: text}), NOON)
        assert seconds is None or 0 <= seconds < 86_400
