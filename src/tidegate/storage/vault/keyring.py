"""Where are the keys? In a file of their own, apart from what they seal, so that a backup of that has none of them."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tidegate.core.errors import ConfigError, StoreDown
from tidegate.core.ports import Wrapped

T = TypeVar("T")

FILE = "keyring.sqlite"
BUSY_S = 5.0
COLUMNS = ", ".join(Wrapped.__struct_fields__)
MARKS = ", ".join("?" * len(Wrapped.__struct_fields__))
TABLES = (
    "CREATE TABLE IF NOT EXISTS wrapped (id TEXT PRIMARY KEY, lookup BLOB NOT NULL UNIQUE, tenant TEXT NOT NULL, "
    "kek TEXT NOT NULL, sealed BLOB NOT NULL, created_ms INTEGER NOT NULL, name BLOB NOT NULL)",
    "CREATE INDEX IF NOT EXISTS wrapped_by_kek ON wrapped (kek)",
    "CREATE TABLE IF NOT EXISTS destroyed (id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL)",
)


class KeyringSql:
    """The statements of a Keyring, on any database. `run` does some work in a transaction, and blocks."""

    def __init__(self, run: Callable[[Callable[[Any], Any]], Any], sql: Callable[[str], Any]) -> None:
        self._run = run
        self._sql = sql
        self._by_lookup = sql(f"SELECT {COLUMNS} FROM wrapped WHERE lookup = ?")
        self._insert = sql(f"INSERT INTO wrapped ({COLUMNS}) VALUES ({MARKS}) ON CONFLICT (lookup) DO NOTHING")

    def _rows(self, text: str, *values: Any) -> list[Any]:
        sql = self._sql(text)
        found: list[Any] = self._run(lambda db: db.execute(sql, values).fetchall())
        return found

    def _changed(self, text: str, *values: Any) -> int:
        sql = self._sql(text)
        count: int = self._run(lambda db: db.execute(sql, values).rowcount)
        return count

    def find(self, id: str) -> Wrapped | None:
        return _one(self._rows(f"SELECT {COLUMNS} FROM wrapped WHERE id = ?", id))

    def of(self, *lookups: bytes) -> list[Wrapped]:
        return self._run(lambda db: self._of(db, lookups))  # type: ignore[no-any-return]

    def _of(self, db: Any, lookups: Iterable[bytes]) -> list[Wrapped]:
        found = (db.execute(self._by_lookup, (lookup,)).fetchone() for lookup in lookups)
        return [_wrapped(row) for row in found if row is not None]

    def add(self, *keys: Wrapped) -> list[Wrapped]:
        def add(db: Any) -> list[Wrapped]:
            db.cursor().executemany(self._insert, [msgspec.structs.astuple(key) for key in keys])
            return self._of(db, [key.lookup for key in keys])

        return self._run(add)  # type: ignore[no-any-return]

    def rewrap(self, key: Wrapped, kek: str, sealed: bytes) -> bool:
        sql = "UPDATE wrapped SET kek = ?, sealed = ? WHERE id = ? AND kek = ?"
        return self._changed(sql, kek, sealed, key.id, key.kek) > 0

    def under_others(self, kek: str, most: int) -> list[Wrapped]:
        sql = f"SELECT {COLUMNS} FROM wrapped WHERE kek <> ? ORDER BY kek LIMIT ?"
        return [_wrapped(row) for row in self._rows(sql, kek, most)]

    def destroy(self, id: str, at_ms: int) -> bool:
        gone, noted = (
            self._sql("DELETE FROM wrapped WHERE id = ?"),
            self._sql("INSERT INTO destroyed (id, at_ms) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"),
        )

        def destroy(db: Any) -> bool:
            there = bool(db.execute(gone, (id,)).rowcount)
            db.execute(noted, (id, at_ms))
            return there

        there: bool = self._run(destroy)
        return there

    def was_destroyed(self, id: str) -> bool:
        return bool(self._rows("SELECT 1 FROM destroyed WHERE id = ?", id))

    def tenants(self) -> Sequence[str]:
        return [row[0] for row in self._rows("SELECT DISTINCT tenant FROM wrapped ORDER BY tenant")]

    def count(self) -> dict[str, int]:
        return dict(self._rows("SELECT kek, count(*) FROM wrapped GROUP BY kek ORDER BY kek"))


def _one(rows: list[Any]) -> Wrapped | None:
    return _wrapped(rows[0]) if rows else None


def _wrapped(row: Any) -> Wrapped:
    id, lookup, tenant, kek, sealed, created_ms, name = row
    return Wrapped(id, bytes(lookup), tenant, kek, bytes(sealed), created_ms, bytes(name))


class SqliteKeyring(KeyringSql):
    """A Keyring in one file. What is deleted there is overwritten, and not only forgotten."""

    def __init__(self, folder: Path, busy_s: float = BUSY_S) -> None:
        """Raises ConfigError."""
        super().__init__(self._do, lambda text: text)
        self.path = folder / FILE
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(self.path, timeout=busy_s, isolation_level=None, check_same_thread=False)
            # No write-ahead log: it would keep a page that a destroyed key stood on until its next checkpoint.
            self._db.execute("PRAGMA journal_mode = TRUNCATE")
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute("PRAGMA synchronous = FULL")
            for table in TABLES:
                self._db.execute(table)
        except (OSError, sqlite3.Error) as wrong:
            raise ConfigError(
                f"vault.keyring: {self.path} cannot be used: {wrong}; everything encrypted depends on it: let Tidegate "
                "write there, or restore the newest copy"
            ) from None

    def _do(self, work: Callable[[Any], T]) -> T:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    done = work(self._db)
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as wrong:
                raise StoreDown(f"the keyring {self.path} does not answer: {wrong}") from wrong
        return done

    def close(self) -> None:
        with self._lock:
            self._db.close()


class MemoryKeyring(SqliteKeyring):
    """Gone with the process: for tests."""

    def __init__(self) -> None:
        KeyringSql.__init__(self, self._do, lambda text: text)
        self.path = Path(":memory:")
        self._lock = threading.Lock()
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        for table in TABLES:
            self._db.execute(table)
