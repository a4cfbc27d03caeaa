"""When? As people say it; an hour that comes twice is two, and none is lost between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.core.test_usage import MOMENTS, ZONES
from tidegate.api.admin.moments import moment, span
from tidegate.api.admin.usage import UsageQuery, question_of
from tidegate.core.errors import BadRequest
from tidegate.core.usage import ms

BERLIN = ZoneInfo("Europe/Berlin")
TWICE = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)  # in Berlin 02:30, for the second time
MONTH = timedelta(days=30)


@given(MOMENTS, st.sampled_from(ZONES))
@example(TWICE.replace(tzinfo=None), "Europe/Berlin")
@example(datetime(2000, 3, 12, 3, 30), "America/Santiago")
def test_now_is_in_what_is_asked_for_whatever_the_clocks_say(at: datetime, zone: str) -> None:
    now = at.replace(tzinfo=UTC)
    asked = question_of(UsageQuery(per="day"), {}, now, ZoneInfo(zone))
    assert asked.periods[0].begin_ms <= ms(now - MONTH) and ms(now) < asked.periods[-1].until_ms


@given(MOMENTS, st.sampled_from(ZONES), st.integers(1, 40_000))
@example(TWICE.replace(tzinfo=None), "Europe/Berlin", 90)
def test_how_long_ago_is_so_long_and_not_by_the_clock_on_the_wall(at: datetime, zone: str, minutes: int) -> None:
    now = at.replace(tzinfo=UTC)
    since, until = span(f"{minutes}m", None, now, MONTH, ZoneInfo(zone))
    assert (now - since, since.tzinfo, until.tzinfo) == (timedelta(minutes=minutes), UTC, UTC)


def test_from_an_hour_to_its_second_coming_is_an_hour() -> None:
    since, until = span("2026-10-25T02:30:00+02:00", "2026-10-25T02:15:00+01:00", TWICE, MONTH, BERLIN)
    assert until - since == timedelta(minutes=45)
    with pytest.raises(BadRequest, match="must be before until"):
        span("2026-10-25T02:15:00+01:00", "2026-10-25T02:30:00+02:00", TWICE, MONTH, BERLIN)


def test_a_date_is_that_of_the_zone_and_an_offset_goes_before_it() -> None:
    assert moment("since", "2026-07-01", TWICE, BERLIN) == datetime(2026, 6, 30, 22, tzinfo=UTC)
    assert moment("since", "2026-07-01T00:00:00Z", TWICE, BERLIN) == datetime(2026, 7, 1, tzinfo=UTC)
    assert moment("since", "2026-07-01", TWICE) == datetime(2026, 7, 1, tzinfo=UTC)
