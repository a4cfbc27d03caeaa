"""What does a key look like, and what do we keep of it? `tg_<env>_<id>_<secret>_<crc>`; a digest."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import zlib
from collections.abc import Mapping

from tidegate.core.errors import BadRequest

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH = 12
SECRET_LENGTH = 32  # 190 bits
CRC_LENGTH = 6

Peppers = Mapping[int, bytes]  # by version; the highest is for new keys


class ParsedKey:
    """A key's parts, as its text says; whether it is one of ours is another question."""

    __slots__ = ("env", "id")

    def __init__(self, env: str, id: str) -> None:
        self.env = env
        self.id = id


def make_key(env: str, id: str | None = None) -> tuple[str, str]:
    """A new key and its id, or a new secret for an id. Shown once; we keep only its digest."""
    if not env.isascii() or not env.isalpha() or not env.islower() or len(env) > 16:
        raise BadRequest(f"env must be 1 to 16 small letters, such as live or test; got {env!r}", param="env")
    id = id or _random(ID_LENGTH)
    text = f"tg_{env}_{id}_{_random(SECRET_LENGTH)}"
    return f"{text}_{_crc(text)}", id


def parse_key(text: str) -> ParsedKey | None:
    """None for what cannot be a key of ours: the checksum tells a typing mistake without asking anybody."""
    parts = text.split("_")
    if len(parts) != 5 or parts[0] != "tg" or not text.isascii():
        return None
    body, _, crc = text.rpartition("_")
    return ParsedKey(parts[1], parts[2]) if crc == _crc(body) else None


def digest(pepper: bytes, text: str) -> bytes:
    """What is stored of a key."""
    return hmac.digest(pepper, text.encode("utf-8", "surrogatepass"), hashlib.sha256)


def digests(peppers: Peppers, text: str) -> dict[int, bytes]:
    """Under every pepper: so that nothing that is presented costs more than anything else."""
    return {version: digest(pepper, text) for version, pepper in peppers.items()}


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _crc(text: str) -> str:
    number = zlib.crc32(text.encode())
    found = ""
    for _ in range(CRC_LENGTH):
        number, rest = divmod(number, 62)
        found = ALPHABET[rest] + found
    return found
