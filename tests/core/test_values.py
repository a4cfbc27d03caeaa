"""Durations, sizes and secrets, as people write them and as they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.values import Duration, Secret, Size


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("250ms", 0.25),
        ("60s", 60.0),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("7d", 604_800.0),
        ("1.5h", 5400.0),
        ("5 m", 300.0),
        ("10", 10.0),
        (10, 10.0),
        (0.5, 0.5),
        (0, 0.0),
    ],
)
def test_a_duration_is_seconds(written: object, seconds: float) -> None:
    duration = Duration.parse(written)
    assert isinstance(duration, Duration)
    assert duration == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    ["", "s", "5 minutes", "-5s", -1, "1h30m", "5M", "٥s", True, None, [], {}, "1e3s", "1_000", ".5s", float("nan")],
)
def test_what_is_no_duration_is_refused_with_examples(written: object) -> None:
    with pytest.raises(ValueError, match=r"a duration such as 250ms, 60s, 5m or 1h is expected, not ") as refused:
        Duration.parse(written)
    assert repr(written) in str(refused.value)


@given(st.integers(0, 10**6), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_a_duration_that_is_shown_can_be_read_again(number: int, unit: str) -> None:
    duration = Duration.parse(f"{number}{unit}")
    assert Duration.parse(repr(duration)) == pytest.approx(duration, abs=0.0005)


@pytest.mark.parametrize(
    ("written", "size"),
    [("64KiB", 65_536), ("32MiB", 33_554_432), ("1GiB", 1_073_741_824), ("7B", 7), ("7", 7), (7, 7), ("5 KiB", 5120)],
)
def test_a_size_is_bytes(written: object, size: int) -> None:
    found = Size.parse(written)
    assert isinstance(found, Size)
    assert found == size


@pytest.mark.parametrize("written", ["", "1.5MiB", "32MB", "32mib", "-1", -1, True, None, 1.5, [], "MiB", "٣KiB"])
def test_what_is_no_size_is_refused_with_examples(written: object) -> None:
    with pytest.raises(ValueError, match=r"a size such as 64KiB, 32MiB or 1GiB is expected, not ") as refused:
        Size.parse(written)
    assert repr(written) in str(refused.value)


def test_a_secret_is_shown_by_where_it_came_from() -> None:
    secret = Secret("sk-very-secret", "env:OPENAI_API_KEY")
    for shown in (repr(secret), str(secret), f"{secret}", f"{[secret]}", "%s" % secret):  # noqa: UP031
        assert "sk-very-secret" not in shown
        assert "env:OPENAI_API_KEY" in shown


def test_a_secret_that_stands_in_the_file_says_so() -> None:
    assert repr(Secret("sk-very-secret")) == "<set in the configuration>"
