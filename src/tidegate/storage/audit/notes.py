"""How is the state of a log signed? As a checkpoint: origin, size, root, and an Ed25519 signature under them.

The form is that of C2SP's tlog-checkpoint and signed-note, so that witnesses and tools of others can read it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tidegate.core.audit import Broken
from tidegate.core.errors import ConfigError
from tidegate.core.values import Secret

ORIGIN = "tidegate/audit/"  # and the writer
ED25519 = b"\x01"
SEED = 32
FILE = "audit.key"


class Checkpoint(NamedTuple):
    writer: str
    size: int
    root: bytes
    at_ms: int
    note: str  # all of it, signed


class Signer:
    """`name` stands in every signature; a verifier key is name, hash and public key."""

    def __init__(self, seed: bytes, name: str = "tidegate") -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.name = name
        self._public = self._key.public_key().public_bytes_raw()
        self._id = key_id(name, self._public)

    @property
    def verifier(self) -> str:
        """What others check with: tidegate+1f2e3d4c+AX…"""
        return f"{self.name}+{self._id.hex()}+{base64.b64encode(ED25519 + self._public).decode()}"

    def sign(self, writer: str, size: int, root: bytes, at_ms: int) -> Checkpoint:
        text = f"{ORIGIN}{writer}\n{size}\n{base64.b64encode(root).decode()}\nat_ms {at_ms}\n"
        signature = base64.b64encode(self._id + self._key.sign(text.encode())).decode()
        return Checkpoint(writer, size, root, at_ms, f"{text}\n— {self.name} {signature}\n")


def key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(f"{name}\n".encode() + ED25519 + public).digest()[:4]


class Verifiers:
    """Those whose signature counts, by verifier keys."""

    def __init__(self, keys: list[str]) -> None:
        """Raises ConfigError."""
        self._keys: Mapping[tuple[str, bytes], Ed25519PublicKey] = dict(_verifier(key) for key in keys)

    def read(self, note: str, where: str) -> Checkpoint:
        """Raises Broken for what is no checkpoint, or that none of them has signed."""
        text, gap, signatures = note.partition("\n\n")
        text += "\n"
        lines = text.split("\n")
        try:
            if not gap or not lines[0].startswith(ORIGIN):
                raise ValueError("no checkpoint")
            size, root = int(lines[1]), base64.b64decode(lines[2], validate=True)
            at_ms = int(lines[3].removeprefix("at_ms ")) if len(lines) > 4 else 0
            if len(root) != hashlib.sha256().digest_size or str(size) != lines[1] or size < 0:
                raise ValueError("size or root")
        except (ValueError, IndexError, binascii.Error):
            raise Broken(f"{where}: is no checkpoint of an audit log") from None
        if not any(self._is_good(line, text) for line in signatures.splitlines()):
            raise Broken(f"{where}: the checkpoint of {size} entries is signed by no key that was given")
        return Checkpoint(lines[0].removeprefix(ORIGIN), size, root, at_ms, note)

    def _is_good(self, line: str, text: str) -> bool:
        dash, _, rest = line.partition(" ")
        name, _, signature = rest.rpartition(" ")
        try:
            raw = base64.b64decode(signature, validate=True)
            key = self._keys.get((name, raw[:4]))
            if dash != "—" or key is None:
                return False
            key.verify(raw[4:], text.encode())
        except (ValueError, InvalidSignature):
            return False
        return True


def _verifier(text: str) -> tuple[tuple[str, bytes], Ed25519PublicKey]:
    name, _, rest = text.strip().partition("+")
    id, _, key = rest.partition("+")
    try:
        raw = base64.b64decode(key, validate=True)
        if raw[:1] != ED25519 or key_id(name, raw[1:]).hex() != id:
            raise ValueError
        return (name, bytes.fromhex(id)), Ed25519PublicKey.from_public_bytes(raw[1:])
    except (ValueError, binascii.Error):
        raise ConfigError(f"{text[:60]!r} is no verifier key; `tidegate audit key` prints one: name+hash+key") from None


def load_signer(configured: Secret | None, data_dir: Path, where: str = "audit.key") -> Signer:
    """The configured seed, or that of `<data_dir>/audit.key`, made when it is not there. Raises ConfigError."""
    if configured is None:
        return Signer(_own_seed(data_dir / FILE))
    text = configured.value
    try:
        seed = bytes.fromhex(text) if len(text) == 2 * SEED else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        seed = b""
    if len(seed) != SEED:
        raise ConfigError(f"{where} ({configured.source}): must be {SEED} bytes as hex; openssl rand -hex 32 makes one")
    return Signer(seed)


def _own_seed(path: Path) -> bytes:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            draft = path.with_name(f"{FILE}.{secrets.token_hex(8)}")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(SEED) + "\n")
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        seed = bytes.fromhex(path.read_text("ascii").strip())
    except (OSError, ValueError) as wrong:
        raise ConfigError(f"audit: the key in {path} cannot be used: {wrong}; restore it, or set audit.key") from None
    if len(seed) != SEED:
        raise ConfigError(f"audit: the key in {path} is damaged: {2 * SEED} hex digits are expected; restore it")
    return seed
