"""When? A date, a time, or how long ago, as people write it; and as it is told."""

from datetime import datetime, timedelta, tzinfo

from tidegate.core.errors import BadRequest
from tidegate.core.values import Duration

YEARS = (1970, 2200)


def moment(param: str, text: str, now: datetime) -> datetime:
    """A date, a time, or how long ago."""
    try:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            found = now - timedelta(seconds=Duration.parse(text))
        found = found.replace(tzinfo=now.tzinfo) if found.tzinfo is None else found.astimezone(now.tzinfo)
    except (ValueError, OverflowError):
        raise BadRequest(
            f"{param}: a date such as 2026-11-01, a time such as 2026-11-01T12:00:00Z (a + in it is sent as %2B) or "
            f"how long ago, such as 7d, is expected, not {text[:60]!r}",
            param=param,
        ) from None
    if not YEARS[0] < found.year < YEARS[1]:
        raise BadRequest(f"{param}: the year must be between {YEARS[0]} and {YEARS[1]}", param=param)
    return found


def iso(at_ms: int, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at_ms / 1000, zone).isoformat()


def duration(param: str, text: str, most_s: float) -> float:
    """How long, in seconds."""
    try:
        seconds = float(Duration.parse(text))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= most_s:
        raise BadRequest(
            f"{param}: how long is expected, such as 10m or 2h, {most_s / 86_400:g} days at most, not {text[:20]!r}",
            param=param,
        )
    return seconds
