"""Where are the peppers? In a file of the data folder, made once, or configured; keys' digests depend on them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from tidegate.core.errors import ConfigError
from tidegate.core.values import Secret

LENGTH = 32


def load_peppers(data_dir: Path, configured: Sequence[Secret] = ()) -> dict[int, bytes]:
    """All peppers by version: 1 is the file's, from 2 on the configured ones. The highest is for new keys.

    The file is made when nothing is configured; else it counts where it is there, for keys that were made with it.
    """
    found = {at: secret.value.encode() for at, secret in enumerate(configured, 2)}
    if not configured or (data_dir / "pepper").exists():
        found[1] = load_or_create_pepper(data_dir)
    return found


def load_or_create_pepper(data_dir: Path) -> bytes:
    """The 32 random bytes of `<data_dir>/pepper`, made when they are not there; two processes that start at once agree.

    Raises ConfigError when the file cannot be used: a new pepper in its place would make every key invalid, silently.
    """
    path = data_dir / "pepper"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _create(path)
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the pepper in {path}: {error}; {_DEPENDS}") from error
    try:
        pepper = bytes.fromhex(text)
    except ValueError:
        pepper = b""
    if len(pepper) != LENGTH:
        raise ConfigError(f"the pepper in {path} is damaged: {2 * LENGTH} hex digits are expected; {_DEPENDS}")
    return pepper


_DEPENDS = (
    "all API keys depend on it: give Tidegate the right to read it or restore it from a backup; "
    "only if there is none, delete it and make new keys"
)


def _create(path: Path) -> None:
    """Whole or not at all: written beside it, then linked, which fails where another process was first."""
    draft = path.with_name(f"pepper.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(LENGTH) + "\n")
            file.flush()
            os.fsync(handle)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links: only there may two that start at once disagree
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
