"""Every error has a code of its own, a status that fits, and a sentence for the documentation."""

from __future__ import annotations

import pytest

from tidegate.core import errors
from tidegate.core.errors import LoopSuspected, MethodNotAllowed, TidegateError, UpstreamRefused

CLASSES = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, TidegateError)]
TOLD = [cls for cls in CLASSES if cls is not TidegateError]  # those that are raised


def test_there_are_errors() -> None:
    assert len(TOLD) > 10


@pytest.mark.parametrize("cls", TOLD)
def test_an_error_says_what_it_is(cls: type[TidegateError]) -> None:
    assert cls.__doc__ and cls.__doc__.strip().endswith("."), "a sentence of its own"
    assert cls.code.isascii() and cls.code.replace("_", "").isalpha() and cls.code.islower()
    assert 400 <= cls.status <= 599
    assert isinstance(cls.retryable, bool)


def test_codes_are_unique() -> None:
    codes = {cls: cls.code for cls in TOLD}
    assert len(set(codes.values())) == len(codes), codes


@pytest.mark.parametrize("cls", TOLD)
def test_what_may_be_asked_again_is_what_time_can_mend(cls: type[TidegateError]) -> None:
    """SDKs retry by status; `retryable` must not contradict what they will do anyway, unless they are told not to."""
    told_not_to = cls is LoopSuspected  # x-should-retry: false
    assert cls.retryable == (cls.status in (408, 429, 502, 503, 504) and not told_not_to)


@pytest.mark.parametrize("cls", [cls for cls in TOLD if "__init__" not in vars(cls)])
def test_an_error_carries_its_words_and_where_they_belong(cls: type[TidegateError]) -> None:
    error = cls("what happened", param="messages[2].role", retry_after_s=3.0)
    assert (error.message, str(error)) == ("what happened", "what happened")
    assert (error.param, error.retry_after_s) == ("messages[2].role", 3.0)


def test_a_refusal_keeps_what_the_provider_said() -> None:
    refused = UpstreamRefused("too long", status=413, dialect="openai", body=b"{}", content_type="application/json")
    assert (refused.status_given, refused.dialect, refused.body) == (413, "openai", b"{}")


def test_a_wrong_method_names_the_right_ones() -> None:
    assert MethodNotAllowed("GET, not PUT", allowed="GET").allowed == "GET"
