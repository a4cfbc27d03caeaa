"""Periods of a budget follow one another without gap or overlap, whatever clocks on walls do."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from tests.core.test_usage import MOMENTS, ZONES
from tidegate.core.limits import Budget
from tidegate.stages.budgets.period import period_of

# Clocks go over midnight: back at 24:00 or at 01:00, forth at 24:00; a day that there never was.
AT_MIDNIGHT = ("America/Havana", "Asia/Beirut", "Atlantic/Azores", "America/Sao_Paulo", "Asia/Tehran")


@given(MOMENTS, st.sampled_from((*ZONES, *AT_MIDNIGHT)), st.sampled_from(("day", "week", "month")))
@example(datetime(2011, 12, 30, 9, 59), "Pacific/Apia", "day")
@example(datetime(2000, 3, 12, 3, 30), "America/Santiago", "day")
@example(datetime(2026, 11, 1, 4, 30), "America/Havana", "day")
def test_every_moment_is_in_one_period_and_the_next_begins_where_it_ends(at: datetime, zone: str, per: str) -> None:
    budget, at_ms = Budget(nusd=1, per=per, zone=zone), round(at.replace(tzinfo=UTC).timestamp() * 1000)
    now = period_of("k", budget, at_ms)
    assert now.begins_ms <= at_ms < now.ends_ms
    assert period_of("k", budget, now.begins_ms) == period_of("k", budget, now.ends_ms - 1) == now
    before, after = period_of("k", budget, now.begins_ms - 1), period_of("k", budget, now.ends_ms)
    assert (before.ends_ms, after.begins_ms) == (now.begins_ms, now.ends_ms)
    assert len({before.meter.name, now.meter.name, after.meter.name}) == 3
