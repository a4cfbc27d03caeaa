"""Where are the keys that many machines share? In a schema of their own, best of a database of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import psycopg

from tidegate.core.errors import StoreDown
from tidegate.storage.postgres.lanes import Address, Connection, reason, refused
from tidegate.storage.postgres.schema import LOCK
from tidegate.storage.vault.keyring import TABLES, KeyringSql

T = TypeVar("T")

TIMEOUT_S = 5.0
SCHEMA = "tidegate_keys"


class PostgresKeyring(KeyringSql):
    """A Keyring. Its connection is made again when it was lost."""

    def __init__(self, url: str, prepares: bool = True) -> None:
        """Makes the tables. Raises ConfigError."""
        super().__init__(self._do, _sql)
        self._address = Address(url, TIMEOUT_S, prepares)
        self._lock = threading.Lock()
        self._db: Connection | None = None
        try:
            self._do(_make)
        except StoreDown as down:
            self.close()
            raise refused("vault.keyring", down.message) from None

    def _do(self, work: Callable[[Connection], T]) -> T:
        with self._lock:
            used = self._db is not None and not self._db.closed
            try:
                try:
                    return self._once(work)
                except psycopg.Error:
                    if not used or (self._db is not None and not self._db.closed):
                        raise
                    return self._once(work)  # it was lost while nobody looked
            except psycopg.Error as wrong:
                raise StoreDown(f"the keyring {self._address.name} does not answer: {reason(wrong)}") from wrong

    def _once(self, work: Callable[[Connection], T]) -> T:
        if self._db is None or self._db.closed:
            self._db = self._address.connect()
        with self._db.transaction():
            return work(self._db)

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()


def _sql(text: str) -> bytes:
    for table in ("wrapped", "destroyed"):
        for word in ("FROM", "INTO", "UPDATE"):
            text = text.replace(f"{word} {table}", f"{word} {SCHEMA}.{table}")
    return text.replace("?", "%s").encode()


def _make(db: Connection) -> None:
    db.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    if db.execute("SELECT to_regnamespace(%s)", (SCHEMA,)).fetchone() == (None,):
        db.execute(f"CREATE SCHEMA {SCHEMA}".encode())
    for table in TABLES:
        text = table.replace("BLOB", "BYTEA").replace("INTEGER", "BIGINT").replace("TEXT", 'TEXT COLLATE "C"')
        for place in ("NOT EXISTS wrapped (", "ON wrapped", "NOT EXISTS destroyed ("):
            text = text.replace(
                place, place.replace("wrapped", f"{SCHEMA}.wrapped").replace("destroyed", f"{SCHEMA}.destroyed")
            )
        db.execute(text.encode())


def is_there(url: str) -> bool:
    """Whether a keyring was ever made there. Raises ConfigError."""
    address = Address(url, TIMEOUT_S, False)
    try:
        with address.connect() as db:
            found = db.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.wrapped",)).fetchone()
    except psycopg.Error as wrong:
        raise refused("storage.database", f"{address.name} does not answer: {reason(wrong)}") from None
    return found is not None and found[0] is not None
