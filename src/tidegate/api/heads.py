"""What does the head of a request say? Read once, for all requests of a connection that say it again.

And response heads, as the lines that they are on the wire: most of what we answer is rendered once, and never looked at
again.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from tidegate.core.ports import Headers

Scope = MutableMapping[str, Any]

JSON = b"application/json"
MAX_LABEL = 256  # characters of a user, a session or a tag: they go into every row
# What only some clients say, and what is looked for only in heads that hold any of it.
LABELS = frozenset(
    (b"x-tidegate-user", b"x-tidegate-session", b"x-claude-code-session-id", b"x-tidegate-tags", b"x-tidegate-kind")
)
WISHES = frozenset((b"cache-control", b"idempotency-key"))


class Head:
    """Of one request, or of many: nothing here changes. `scope` is what ASGI makes of it."""

    __slots__ = (
        "bodiless", "by_name", "credential", "has_body", "headers", "is_json", "is_labelled", "method", "path", "peer",
        "query", "raw_path", "scope", "wishes",
    )  # fmt: skip

    def __init__(self, scope: Scope) -> None:
        client = scope.get("client")
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope.get("path", "/")
        self.raw_path: str = scope["raw_path"].decode("latin-1") if "raw_path" in scope else self.path
        self.query: bytes = scope.get("query_string", b"")
        self.peer: str = client[0] if client else ""
        self.headers: Headers = scope.get("headers", ())
        self.by_name: Mapping[bytes, bytes] = dict(reversed(self.headers))  # of two alike, the first
        by_name = self.by_name
        self.bodiless = self.method == "HEAD"
        self.has_body = by_name.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in by_name
        self.is_json = by_name.get(b"content-type") == JSON and b"content-encoding" not in by_name
        self.is_labelled = not LABELS.isdisjoint(by_name)
        self.wishes = not WISHES.isdisjoint(by_name)
        self.credential = _credential(by_name)

    def text(self, name: bytes, most: int = MAX_LABEL) -> str | None:
        """A header as text of at most so many characters; None when it is absent or empty."""
        value = self.by_name.get(name)
        return value.decode("utf-8", "replace").strip()[:most] or None if value else None


def _credential(by_name: Mapping[bytes, bytes]) -> str | None:
    """The key that was presented, by either of the two headers that clients use."""
    key = by_name.get(b"authorization", b"").strip()
    scheme, _, rest = key.partition(b" ")
    if scheme.lower() == b"bearer":
        key = rest.strip()
    return (key or by_name.get(b"x-api-key", b"").strip()).decode("latin-1") or None


def lines(headers: Headers) -> bytes:
    """`headers` as they stand on the wire. Raises RuntimeError for one that would break out of its line."""
    return checked(b"".join([b"%b: %b\r\n" % one for one in headers]), len(headers))


def checked(fields: bytes, count: int) -> bytes:
    """`fields`, if they are so many lines. Raises RuntimeError for a header that would break out of its line."""
    if fields.count(b"\n") != count or fields.count(b"\r") != count or b"\0" in fields:
        raise RuntimeError("an application sent a header that holds a line end or NUL")
    return fields


def parted(fields: bytes) -> Sequence[tuple[bytes, bytes]]:
    """Lines as headers: the way back."""
    return [(name, value) for name, _, value in (line.partition(b": ") for line in fields.split(b"\r\n")[:-1])]
