"""Days and months are those of people, and every hour lies in exactly one of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.core.usage import HOUR_MS, PER, ms, periods, whole_hours, zone_named

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/Santiago",
    "Asia/Kolkata",
    "Pacific/Apia",
    "Africa/Cairo",
)
MOMENTS = st.datetimes(datetime(1980, 1, 1), datetime(2030, 1, 1))


@given(MOMENTS, st.integers(1, 3000), st.sampled_from(ZONES), st.sampled_from(PER))
def test_periods_follow_one_another_without_gap_or_overlap(at, hours, zone, per):
    since = at.replace(tzinfo=UTC)
    begin, end = whole_hours(since, since + timedelta(hours=hours), ZoneInfo(zone))
    found = list(periods(begin, end, per))
    assert (found[0].begin_ms, found[-1].until_ms) == (ms(begin), ms(end))
    assert all(one.until_ms == other.begin_ms for one, other in pairwise(found))
    assert all(one.begin_ms < one.until_ms for one in found)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_a_day_has_the_hours_that_it_has(day, hours):
    begin = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    (one, *_) = periods(begin, begin + timedelta(days=2), "day")
    assert one.until_ms - one.begin_ms == hours * HOUR_MS


def test_months_end_where_the_next_one_begins():
    zone = ZoneInfo("Europe/Berlin")
    found = list(periods(datetime(2026, 1, 15, tzinfo=zone), datetime(2026, 4, 1, tzinfo=zone), "month"))
    starts = [datetime.fromtimestamp(one.begin_ms / 1000, zone).isoformat() for one in found]
    assert starts == ["2026-01-15T00:00:00+01:00", "2026-02-01T00:00:00+01:00", "2026-03-01T00:00:00+01:00"]


@given(MOMENTS, st.sampled_from(ZONES))
@example(datetime(2000, 3, 12, 2, 0), "America/Santiago")  # an hour that comes twice
def test_whole_hours_touch_what_was_asked_for(at, zone):
    since, minute = at.replace(tzinfo=UTC), timedelta(minutes=1)
    begin, end = whole_hours(since, since + minute, ZoneInfo(zone))
    assert ms(begin) % HOUR_MS == ms(end) % HOUR_MS == 0 and begin.tzinfo == end.tzinfo == ZoneInfo(zone)
    assert begin.astimezone(UTC) <= since < since + minute <= end.astimezone(UTC)
    assert ms(end) - ms(begin) <= 2 * HOUR_MS


@pytest.mark.parametrize("name", ["", "Mars", "../UTC", "/etc/passwd", "UTC\0", "a" * 300, "Europe"])
def test_a_zone_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match="use a name such as UTC"):
        zone_named(name)
