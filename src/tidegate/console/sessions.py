"""Who has logged in here? A cookie that holds the key itself, sealed: no script can read it, and we keep nothing.

So a session is worth what its key is worth at this moment: whoever revokes the key, or takes something from its role,
has done so for every session of it. All processes of a Tidegate open each other's, and so does the next start.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tidegate.core.errors import BadRequest

NONCE = 12
MOST = 2500  # bytes of a key or a token: browsers drop a cookie of more than 4096
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Session(msgspec.Struct, frozen=True):
    id: str
    credential: str
    until_s: int  # since 1970


def begun(credential: str, until_s: int) -> Session:
    """Raises BadRequest for what no cookie can hold."""
    if len(credential) > MOST:
        raise BadRequest(f"this token is longer than the {MOST} characters that a cookie can hold; use a key")
    return Session(secrets.token_hex(16), credential, until_s)


def sealed(session: Session, secret: bytes) -> str:
    nonce = secrets.token_bytes(NONCE)
    kept = AESGCM(secret).encrypt(nonce, msgspec.json.encode(session), None)
    return base64.urlsafe_b64encode(nonce + kept).decode().rstrip("=")


def opened(text: str, secret: bytes, now_s: float) -> Session | None:
    """None for what is not of ours, or over."""
    try:
        kept = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        session = msgspec.json.decode(AESGCM(secret).decrypt(kept[:NONCE], kept[NONCE:], None), type=Session)
    except (ValueError, InvalidTag):
        return None
    return session if now_s < session.until_s else None


def token(session: Session, secret: bytes) -> str:
    """What a page must say with each request: another site can send a cookie, and cannot read a page."""
    return hmac.digest(secret, b"page of " + session.id.encode(), "sha256").hex()[:32]


def is_of_page(said: str, session: Session, secret: bytes) -> bool:
    """Whether a request said its page's word; how long it took to tell says nothing of the word."""
    return hmac.compare_digest(said.encode("utf-8", "replace"), token(session, secret).encode())


# --- how a browser keeps it


def is_loopback(host: str) -> bool:
    """Whether a browser that calls us so is on this machine, or at the other end of a tunnel from it."""
    return host.rpartition(":")[0] in LOOPBACK if ":" in host.removeprefix("[::1]") else host in LOOPBACK


def cookie_name(host: str, *, secure: bool) -> str:
    """`__Host-`: no other host, and nobody on the way, can have set it. Over plain HTTP on this machine browsers refuse
    that prefix; there the port is in the name, since all ports of a host share their cookies."""
    if secure:
        return "__Host-tidegate"
    port = host.rpartition(":")[2] if ":" in host.removeprefix("[::1]") else "80"
    return f"tidegate-{port}"


def set_cookie(name: str, value: str, seconds: int, *, secure: bool) -> str:
    """`seconds`: 0 takes it away."""
    return f"{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}" + ("; Secure" if secure else "")


def cookies(header: str) -> Mapping[str, str]:
    """Of two alike the first, as browsers send the nearer one first."""
    pairs = [pair.strip().partition("=") for pair in header.split(";")]
    return {name: value for name, _, value in reversed(pairs)}
