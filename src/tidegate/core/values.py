"""What can a value of the configuration be, beyond text and numbers?"""

from __future__ import annotations

import re
from typing import ClassVar

import msgspec

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, None: 1.0}
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*(%)?", re.ASCII)
_QUANTILE = re.compile(r"p([5-9]\d)", re.ASCII)
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB)?", re.ASCII)
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, None: 1}


class Duration(float):
    """Seconds. Written as 250ms, 60s, 5m, 1h, 7d, or a number of seconds."""

    @classmethod
    def parse(cls, value: object) -> Duration:
        """Raises ValueError."""
        found = _DURATION.fullmatch(str(value)) if isinstance(value, str | int | float) else None
        if found is None or isinstance(value, bool):
            raise ValueError(f"a duration such as 250ms, 60s, 5m or 1h is expected, not {value!r}")
        return cls(float(found[1]) * _SECONDS[found[2]])

    def __repr__(self) -> str:
        return f"{float(self):.3f}".rstrip("0").rstrip(".") + "s"


class Size(int):
    """Bytes. Written as 64KiB, 32MiB, 1GiB, or a number of bytes."""

    @classmethod
    def parse(cls, value: object) -> Size:
        """Raises ValueError."""
        found = _SIZE.fullmatch(str(value)) if isinstance(value, str | int) else None
        if found is None or isinstance(value, bool):
            raise ValueError(f"a size such as 64KiB, 32MiB or 1GiB is expected, not {value!r}")
        return cls(int(found[1]) * _BYTES[found[2]])


class Share(float):
    """A part of a whole, 0 to 1. Written as 5%, or 0.05."""

    @classmethod
    def parse(cls, value: object) -> Share:
        """Raises ValueError."""
        found = _SHARE.fullmatch(str(value)) if isinstance(value, str | int | float) else None
        share = float(found[1]) / (100 if found[2] else 1) if found else -1.0
        if isinstance(value, bool) or not 0 <= share <= 1:
            raise ValueError(f"a share such as 5% or 0.05 is expected, at most 100%, not {value!r}")
        return cls(share)

    def __repr__(self) -> str:
        return f"{float(self) * 100:.3f}".rstrip("0").rstrip(".") + "%"


class Moment(float):
    """Seconds after something began, written as 800ms; or a quantile of how long it has taken lately: p95."""

    quantile: float | None = None

    @classmethod
    def parse(cls, value: object) -> Moment:
        """Raises ValueError."""
        found = _QUANTILE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            try:
                return cls(Duration.parse(value))
            except ValueError:
                raise ValueError(f"a duration such as 800ms, or p50 to p99, is expected, not {value!r}") from None
        moment = cls(0.0)
        moment.quantile = int(found[1]) / 100
        return moment

    def __repr__(self) -> str:
        return repr(Duration(self)) if self.quantile is None else f"p{self.quantile * 100:.0f}"


class Secret(msgspec.Struct, frozen=True):
    """A value that must not be shown, and where it came from: `env:OPENAI_API_KEY`, `file:PATH`, the configuration."""

    source_in_file: ClassVar[str] = "set in the configuration"

    value: str
    source: str = source_in_file

    def __repr__(self) -> str:
        return f"<{self.source}>"

    __str__ = __repr__
