"""How does a receiver know that we have sent it? By a signature that only who has the secret can make."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from urllib.parse import urlsplit


def signature(secret: str, at_s: int, body: bytes) -> str:
    """`t=SECONDS,v1=HEX`: HMAC-SHA-256 of `SECONDS.BODY`, so that an old message cannot be sent again as a new one."""
    return f"t={at_s},v1={hmac.new(secret.encode(), b'%d.%b' % (at_s, body), hashlib.sha256).hexdigest()}"


def is_address(url: str) -> bool:
    """Whether something can be sent there."""
    with suppress(ValueError):
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isascii()
    return False
