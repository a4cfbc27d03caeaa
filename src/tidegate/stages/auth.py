"""Who is asking? A key, read from what the client presented, or a principal that the house already knows."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import zlib
from collections import OrderedDict

from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, Unauthenticated
from tidegate.core.ports import Clock, Key, Store

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH = 12
SECRET_LENGTH = 32  # 190 bits
CRC_LENGTH = 6
PEPPER_VERSION = 1
MAX_PRESENTED = 512
REMEMBERED = 10_000
REMEMBERED_NS = 1_000_000_000  # revoking a key is seen everywhere within this


class ParsedKey:
    """A key's parts, as its text says; whether it is one of ours is another question."""

    __slots__ = ("env", "id")

    def __init__(self, env: str, id: str) -> None:
        self.env = env
        self.id = id


def make_key(env: str) -> tuple[str, str]:
    """A new key and its id: `tg_<env>_<id>_<secret>_<crc>`. Shown once; we keep only its digest."""
    if not env.isascii() or not env.isalpha() or not env.islower() or len(env) > 16:
        raise BadRequest(f"env must be 1 to 16 small letters, such as live or test; got {env!r}", param="env")
    id = _random(ID_LENGTH)
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


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _crc(text: str) -> str:
    number = zlib.crc32(text.encode())
    digits = ""
    for _ in range(CRC_LENGTH):
        number, rest = divmod(number, 62)
        digits = ALPHABET[rest] + digits
    return digits


class KeyAuth:
    """Keys of the store, and one from the environment.

    A key that was found good is remembered for a second, whole, so that the store is asked once a second and not once a
    call. What is not found is not remembered. Finding it again tells nothing by the time it takes: Python compares the
    hashes of strings first, which are keyed at random, and only two whole keys that have the same are compared further.
    """

    def __init__(self, store: Store, pepper: bytes, clock: Clock, environment_key: str | None = None) -> None:
        self._store = store
        self._pepper = pepper
        self._clock = clock
        self._good: OrderedDict[str, tuple[int, Principal]] = OrderedDict()
        self._environment = digest(pepper, environment_key) if environment_key else None

    async def authenticate(self, credential: str | Principal | None) -> Principal:
        """Raises Unauthenticated, with the same words whether the key is malformed, unknown or revoked."""
        if isinstance(credential, Principal):
            return credential
        if not credential:
            raise Unauthenticated(
                "no API key: send it as 'Authorization: Bearer tg_…' or 'x-api-key: tg_…'; "
                "make one with: tidegate keys create"
            )
        if len(credential) > MAX_PRESENTED:
            raise _unknown()
        remembered = self._good.get(credential)
        if remembered is not None and self._clock.now_ns() < remembered[0]:
            return remembered[1]
        principal = await self._look_up(credential, digest(self._pepper, credential))
        self._good[credential] = (self._clock.now_ns() + REMEMBERED_NS, principal)
        if len(self._good) > REMEMBERED:
            self._good.popitem(last=False)
        return principal

    async def create(self, name: str, env: str, *, admin: bool) -> tuple[str, Key]:
        """A new key, stored; its text is only here. Raises BadRequest for an env that cannot be part of it."""
        text, id = make_key(env)
        key = Key(id, name, env, digest(self._pepper, text), PEPPER_VERSION, admin, self._clock.wall_ns() // 1_000_000)
        await self._store.add_key(key)
        return text, key

    async def _look_up(self, credential: str, presented: bytes) -> Principal:
        if self._environment is not None and hmac.compare_digest(self._environment, presented):
            return Principal("environment", "TIDEGATE_ADMIN_KEY", admin=True)
        parsed = parse_key(credential)
        key: Key | None = await self._store.key(parsed.id) if parsed else None
        # An unknown id costs a comparison too, so that time tells nothing about which ids exist.
        good = hmac.compare_digest(key.digest if key else bytes(32), presented)
        if key is None or not good or key.revoked_ms is not None:
            raise _unknown()
        return Principal(key.id, key.name, key.admin)


def _unknown() -> Unauthenticated:
    return Unauthenticated(
        "this API key is not valid: unknown, revoked or mistyped; make one with: tidegate keys create"
    )
