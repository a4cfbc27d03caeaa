"""When may it be asked again? What the head of a failed response says of it, in all the words that providers use."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tidegate.core.ports import Head

LONGEST_S = 86_400.0  # who asks for more patience than a day makes no sense
_PARTS = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?", re.ASCII)
_SCALES = (86_400.0, 3600.0, 60.0, 1.0, 0.001)


def retry_after_s(head: Head, wall_s: float) -> float | None:
    """Seconds; None when it does not say, or what makes no sense. The first of these that is there counts:

    `retry-after-ms`, `retry-after` (seconds or a date), then the reset of each limit that has nothing left
    (`x-ratelimit-reset-*`: 6m0s; `anthropic-ratelimit-*-reset`: a date), the latest of them.
    """
    for name, scale in ((b"retry-after-ms", 1000.0), (b"retry-after", 1.0)):
        text = _text(head, name)
        if text is None:
            continue
        found = _sensible(_number(text, scale))
        if found is None and scale == 1.0:
            found = _sensible(_until(text, wall_s, parsedate_to_datetime))
        if found is not None:
            return found
    resets = [_sensible(reset) for reset in _resets(head, wall_s)]
    return max((reset for reset in resets if reset is not None), default=None)


def should_retry(head: Head) -> bool | None:
    """What OpenAI and Anthropic tell their own clients; None when they do not."""
    return {b"true": True, b"false": False}.get((head.header(b"x-should-retry") or b"").strip().lower())


def _resets(head: Head, wall_s: float) -> list[float | None]:
    found: list[float | None] = []
    for name, value in head.headers:
        if name.startswith(b"x-ratelimit-reset-"):
            left = head.header(name.replace(b"-reset-", b"-remaining-", 1))
            reset = _spelled(value.decode("latin-1"))
        elif name.startswith(b"anthropic-ratelimit-") and name.endswith(b"-reset"):
            left = head.header(name.removesuffix(b"reset") + b"remaining")
            reset = _until(value.decode("latin-1"), wall_s, datetime.fromisoformat)
        else:
            continue
        if left is None or left.strip() == b"0":
            found.append(reset)
    return found


def _spelled(text: str) -> float | None:
    """20ms, 1s, 6m0s, 1h2m3s; or a plain number of seconds."""
    parts = _PARTS.fullmatch(text.strip())
    if text.strip() and parts:
        return sum(float(part) * scale for part, scale in zip(parts.groups(), _SCALES, strict=True) if part)
    return _number(text, 1.0)


def _number(text: str, scale: float) -> float | None:
    try:
        return float(text) / scale
    except ValueError:
        return None


def _until(text: str, wall_s: float, parse: Callable[[str], datetime]) -> float | None:
    try:
        when = parse(text.strip())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - wall_s


def _sensible(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 <= seconds < LONGEST_S else None


def _text(head: Head, name: bytes) -> str | None:
    value = head.header(name)
    return None if value is None else value.decode("latin-1")
