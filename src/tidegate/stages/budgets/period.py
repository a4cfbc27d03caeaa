"""When does a budget begin anew? At a midnight, on a Monday, on a first, or never; or it moves on all the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tidegate.core.errors import ConfigError
from tidegate.core.limits import DAY_S, Budget, Meter

DAYS = {"day": 1, "week": 7, "month": 30}
FAR = 2**62


class Period(NamedTuple):
    """One count of a budget, and when the next one begins."""

    meter: Meter
    ends_ms: int  # since 1970
    begins_ms: int = 0

    def wait_s(self, now_ms: int) -> float | None:
        return (self.ends_ms - now_ms) / 1000 if self.ends_ms < FAR else None


def zone_of(name: str) -> ZoneInfo:
    """Raises ConfigError for a time zone that there is not."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"no time zone {name!r}; they are named as Europe/Berlin, America/New_York or UTC") from None


def period_of(owner: str, budget: Budget, at_ms: int) -> Period:
    """The period of `budget` that `at_ms` is in. `owner` names the count."""
    name = f"{owner}:money:{budget.per}"
    if budget.per == "total":
        return Period(Meter(name, budget.nusd), FAR)
    if budget.rolling:
        per_s = DAYS[budget.per] * DAY_S
        return Period(Meter(f"{name}:rolling", budget.nusd, per_s), FAR, at_ms - per_s * 1000)
    here = datetime.fromtimestamp(at_ms / 1000, zone_of(budget.zone))
    begins, ends = _around(here, budget.per)
    # Kept long after its end: a clock that jumps back finds what was spent then.
    meter = Meter(f"{name}:{budget.zone}:{begins:%Y-%m-%d}", budget.nusd, forget_s=2 * DAYS[budget.per] * DAY_S)
    return Period(meter, _ms(ends), _ms(begins))


def _ms(moment: datetime) -> int:
    return round(moment.astimezone(UTC).timestamp() * 1000)


def _around(here: datetime, per: str) -> tuple[datetime, datetime]:
    midnight = here.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if per == "day":
        return midnight, midnight + timedelta(days=1)
    if per == "week":
        begins = midnight - timedelta(days=here.weekday())
        return begins, begins + timedelta(days=7)
    begins = midnight.replace(day=1)
    return begins, (begins + timedelta(days=32)).replace(day=1)
