"""How is a SQLite file copied while others write to it? As it was at one moment, page by page."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tidegate.core.errors import ConfigError

PAGES = 1024  # at a time, 4 MiB
Tell = Callable[[int, int], None]  # how many are done, of how many


class Counted(NamedTuple):
    """What is in a database: enough to see that a copy of it is whole."""

    schema: int
    counts: dict[str, int]  # rows, by table
    cost_nusd: int
    spools: dict[str, tuple[int, int]]  # how far each was read: segment and byte


def nobody(done: int, of: int) -> None:
    """Is told."""


def copy(source: Path, target: Path, tell: Tell = nobody, busy_s: float = 5.0) -> None:
    """`target` is one file, readable by its owner only. Raises sqlite3.Error, OSError."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with (
        closing(sqlite3.connect(source, timeout=busy_s, isolation_level=None)) as old,
        closing(sqlite3.connect(target, isolation_level=None)) as new,
    ):
        # What is read stands still within a transaction: else whoever writes would make it begin again, for ever.
        old.execute("BEGIN")
        old.execute("SELECT count(*) FROM sqlite_master").fetchone()
        old.backup(new, pages=PAGES, progress=lambda _, left, all: tell(all - left, all))
        new.execute("PRAGMA journal_mode = DELETE")
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def counted(path: Path) -> Counted:
    """Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        counts = {name: db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}
        (cost,) = db.execute("SELECT coalesce(sum(cost_nusd), 0) FROM spools").fetchone()
        read = {id: (segment, byte) for id, segment, byte in db.execute("SELECT id, segment, byte FROM spools")}
        return Counted(db.execute("PRAGMA user_version").fetchone()[0], counts, cost, read)


def trouble(path: Path) -> str | None:
    """What SQLite finds wrong with the file."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            (said,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as wrong:
        return str(wrong)
    return None if said == "ok" else said


def keep_copy(path: Path, version: int) -> None:
    """Beside it, before it is brought up to date: the way back to the version that wrote it. One is kept.

    Of several processes that come at once each makes one, and the last is as good as the first.
    Raises ConfigError.
    """
    kept, draft = path.with_name(f"{path.name}.schema-{version}"), path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        copy(path, draft)
        if counted(draft).schema == version:  # else another process was first, and has kept what was before
            draft.replace(kept)
            for older in {*path.parent.glob(f"{path.name}.schema-*")} - {kept}:
                older.unlink()
    except (OSError, sqlite3.Error) as wrong:
        raise ConfigError(
            f"cannot copy {path} before it is brought up to date: {wrong}; make room for it twice, or name a larger "
            "disk in storage.data_dir"
        ) from None
    finally:
        draft.unlink(missing_ok=True)
