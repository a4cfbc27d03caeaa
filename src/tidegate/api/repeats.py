"""Was this head said before? A client says the same with every request of a connection, but for the body's length.

What was parsed once, byte for byte, need not be parsed again: that is an eighth of what a call costs. Only a request
that has come whole, alone, and with a head that the parser took and that says its length is recognised; all else goes
to the parser.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tidegate.core.ports import Headers

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,10})\r\n", re.IGNORECASE)
_FRAMING = re.compile(rb"\r\n(?:transfer-encoding|expect|upgrade|trailer)[ \t]*:", re.IGNORECASE)
MOST_DIGITS = 10


class Repeated(NamedTuple):
    """A head, without the digits of its length, and what it means."""

    before: bytes
    after: bytes  # up to the blank line, and with it
    scope: Mapping[str, Any]
    headers: tuple[tuple[bytes, bytes], ...]
    length_at: int  # among `headers`

    def match(self, data: bytes) -> tuple[Headers, bytes] | None:
        """The headers and the body of `data`, if it is this request again."""
        before, after = self.before, self.after
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(b"\r", start, start + MOST_DIGITS + 1)
        digits = data[start:end]
        if end < 0 or not digits.isdigit() or not data.startswith(after, end):
            return None
        body_at = end + len(after)
        if len(data) - body_at != int(digits):
            return None
        headers = [*self.headers]
        headers[self.length_at] = (b"content-length", digits)
        return headers, data[body_at:]


def learnt(data: bytes, scope: Mapping[str, Any], max_head: int) -> Repeated | None:
    """What recognises `data`, which was understood as `scope`. None where it is not one request and no more."""
    end = data.find(b"\r\n\r\n") + 4
    head = data[:end]
    found = _LENGTH.search(head)
    if found is None or len(data) - end != int(found[1]):
        return None  # what it was understood as might be the request behind it
    if _FRAMING.search(head) or not 4 <= end < max_head - MOST_DIGITS:
        return None
    headers = tuple(scope["headers"])
    places = [at for at, (name, _) in enumerate(headers) if name == b"content-length"]
    if len(places) != 1 or scope["http_version"] != "1.1":
        return None
    kept = {name: value for name, value in scope.items() if name not in ("headers", "state", "extensions")}
    return Repeated(head[: found.start(1)], head[found.end(1) :], kept, headers, places[0])
