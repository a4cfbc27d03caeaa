"""When? A date, a time, or how long ago, as people write it; and as it is told."""

from datetime import UTC, datetime, timedelta, tzinfo

from tidegate.core.errors import BadRequest
from tidegate.core.values import Duration

YEARS = (1970, 2200)
INSTANT = timedelta(milliseconds=1)


def span(
    since: str | None, until: str | None, now: datetime, back: timedelta, zone: tzinfo = UTC
) -> tuple[datetime, datetime]:
    """From when until when, in UTC as `now` is; where nobody says, until now, which is in it, and from `back` before.

    Raises BadRequest.
    """
    end = moment("until", until, now, zone) if until else now + INSTANT
    begin = moment("since", since, now, zone) if since else end - back
    if begin >= end:
        raise BadRequest(f"since ({begin.isoformat()}) must be before until ({end.isoformat()})", param="since")
    return begin, end


def moment(param: str, text: str, now: datetime, zone: tzinfo = UTC) -> datetime:
    """A date, a time, or how long ago; in UTC, as `now` is. `zone`: whose date and time, where the text does not say.

    By the clock on a wall in `zone` an hour comes twice when it goes back: nothing is added or compared there.
    """
    try:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            found = now - timedelta(seconds=Duration.parse(text))
        found = (found.replace(tzinfo=zone) if found.tzinfo is None else found).astimezone(UTC)
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
