"""Which keys seal the keys? Those that the configuration names, 32 bytes each, from wherever they are kept."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import shlex
import subprocess
from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tidegate.core.errors import ConfigError
from tidegate.core.ports import Wrapped
from tidegate.core.values import Secret

LENGTH = 32
NONCE = 12
EXEC = "exec:"
COMMAND_S = 30.0

_AAD = msgspec.msgpack.Encoder().encode


class Kek:
    """One key-encrypting key. It seals keys only, each under a nonce drawn by lot: far fewer than 2³² of them."""

    def __init__(self, key: bytes) -> None:
        self._seal = AESGCM(key)
        self.fingerprint = hmac.digest(key, b"tidegate key-encrypting key", "sha256")[:8].hex()

    def wrap(self, id: str, lookup: bytes, tenant: str, key: bytes) -> bytes:
        nonce = os.urandom(NONCE)
        return nonce + self._seal.encrypt(nonce, key, _AAD(("keyring", id, lookup, tenant)))

    def unwrap(self, wrapped: Wrapped) -> bytes:
        """Raises ValueError when it was changed, or moved to somebody else's place."""
        aad = _AAD(("keyring", wrapped.id, wrapped.lookup, wrapped.tenant))
        try:
            return self._seal.decrypt(wrapped.sealed[:NONCE], wrapped.sealed[NONCE:], aad)
        except (InvalidTag, ValueError):
            raise ValueError(f"key {wrapped.id} of the keyring was changed, or stands in another's place") from None


class Keks:
    """All that are configured; the last one seals."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        made = [Kek(key) for key in keys]
        self.last = made[-1]
        self._by_fingerprint = {one.fingerprint: one for one in made}

    @property
    def fingerprints(self) -> list[str]:
        return list(self._by_fingerprint)

    def unwrap(self, wrapped: Wrapped) -> bytes:
        """Raises ValueError."""
        kek = self._by_fingerprint.get(wrapped.kek)
        if kek is None:
            raise ValueError(
                f"key {wrapped.id} is sealed under {wrapped.kek}, and vault.keys has "
                f"{', '.join(self._by_fingerprint)}: put the one that it was sealed under back, before the others"
            )
        return kek.unwrap(wrapped)


def load_keks(configured: Sequence[Secret]) -> Keks:
    """Raises ConfigError: nothing is started half protected."""
    return Keks([_read(f"vault.keys[{at}]", secret) for at, secret in enumerate(configured)])


def _read(where: str, secret: Secret) -> bytes:
    text = secret.value
    if text.startswith(EXEC):
        text = _said(where, text.removeprefix(EXEC))
    try:
        key = bytes.fromhex(text)
    except ValueError:
        try:
            key = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise ConfigError(
                f"{where} ({secret.source}): is neither hex nor base64; make one with: openssl rand -hex 32"
            ) from None
    if len(key) != LENGTH:
        raise ConfigError(
            f"{where} ({secret.source}): must be {LENGTH} bytes, 64 hex digits, and not {len(key)}; "
            "make one with: openssl rand -hex 32"
        )
    return key


def _said(where: str, command: str) -> str:
    """What the operator's own command prints: a key that a KMS has decrypted, say."""
    try:
        ended = subprocess.run(
            shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_S, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as wrong:
        raise ConfigError(f"{where}: the command cannot be run: {type(wrong).__name__}: {command[:100]}") from None
    if ended.returncode:
        said = ended.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ConfigError(f"{where}: {command[:100]} ended with {ended.returncode}: {said[-1][:200] if said else ''}")
    return ended.stdout.decode("ascii", "replace").strip()
