"""Which thread does what with an SQLite file? One writes and one reads, and several processes may use it at once."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from tidegate.core.errors import ConfigError
from tidegate.core.ports import (
    StoreDown,
)
from tidegate.storage.copies import keep_copy

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_S = 5.0  # how long to wait for another process that writes
OURS = int.from_bytes(b"TGAT", "big")  # the application_id of a file of ours, set by the first migration


class _Worker:
    """A thread and the connection that is its own."""

    def __init__(self, name: str, path: Path, busy_s: float) -> None:
        self._path = path
        self._busy_s = busy_s
        self._thread = ThreadPoolExecutor(1, name)
        self._connection: sqlite3.Connection | None = None
        self._closing: Future[None] | None = None

    def connect(self, prepare: Work[None]) -> Future[None]:
        return self._thread.submit(self._connect, prepare)

    def _connect(self, prepare: Work[None]) -> None:
        try:
            self._connection = sqlite3.connect(self._path, timeout=self._busy_s, isolation_level=None)
            self._patiently(prepare, self._connection)
        except sqlite3.Error as error:
            raise _unusable(self._path, error) from error

    def _patiently(self, prepare: Work[None], connection: sqlite3.Connection) -> None:
        """SQLite itself does not wait when two switch a new file to WAL at once."""
        until = time.monotonic() + self._busy_s
        while True:
            try:
                return prepare(connection)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
            time.sleep(0.005)

    def submit(self, work: Work[T]) -> Future[T]:
        try:
            return self._thread.submit(self._do, work)
        except RuntimeError as error:
            raise StoreDown(f"the database {self._path} was closed") from error

    def _do(self, work: Work[T]) -> T:
        assert self._connection is not None
        try:
            return work(self._connection)
        except sqlite3.Error as error:
            raise StoreDown(f"the database {self._path} does not answer: {error}") from error

    def close(self, *after: Future[None]) -> Future[None]:
        """When all that was submitted is done, and these."""
        if self._closing is None:
            self._closing = self._thread.submit(self._close, after)
            self._thread.shutdown(wait=False)
        return self._closing

    def _close(self, after: Sequence[Future[None]]) -> None:
        wait(after)
        if self._connection is not None:
            self._connection.close()

    def join(self) -> None:
        self._thread.shutdown()


class Database:
    """One file, one thread that writes and one that reads. Work that was begun is finished, whoever waits for it."""

    def __init__(self, path: Path, busy_s: float) -> None:
        self._writer = _Worker("tidegate-sqlite-write", path, busy_s)
        self._reader = _Worker("tidegate-sqlite-read", path, busy_s)

    @classmethod
    async def open(cls, path: Path, busy_s: float = BUSY_S, steps: str = "sqlite") -> Database:
        """Make the file, or bring it up to date by the `steps` of this name.

        Raises ConfigError when it cannot be used, and says what to do.
        """
        _create(path)
        database = cls(path, busy_s)
        try:
            await asyncio.wrap_future(
                database._writer.connect(partial(_bring_up_to_date, _migrations(steps), steps == "sqlite"))
            )
            await asyncio.wrap_future(database._reader.connect(_read_only))
        except BaseException:
            await database.aclose()
            raise
        return database

    async def read(self, work: Work[T]) -> T:
        return await asyncio.wrap_future(self._reader.submit(work))

    async def write(self, work: Work[T]) -> T:
        return await asyncio.wrap_future(self._writer.submit(work))

    async def look(self, work: Work[T]) -> T:
        return await self.read(work)

    async def alter(self, work: Work[T]) -> T:
        """In a transaction."""

        def within(db: sqlite3.Connection) -> T:
            with transaction(db):
                return work(db)

        return await self.write(within)

    def write_now(self, work: Work[T]) -> T:
        """The same for a thread, which may block."""
        return self._writer.submit(work).result()

    async def aclose(self) -> None:
        closing = self._writer.close(
            self._reader.close()
        )  # who is last tidies up, and two at once both think they are not
        await asyncio.wait([asyncio.wrap_future(closing)])  # which, unlike gather, cancels nothing when it is cancelled
        self._reader.join()
        self._writer.join()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


# --- opening it ---------------------------------------------------------------------------------------------------


def _create(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigError(
            f"cannot write the database {path}: {error.strerror or error}; "
            "storage.data_dir must be a folder that Tidegate may write to"
        ) from error


def _read_only(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")
    connection.execute("SELECT * FROM sqlite_master").fetchall()


def _bring_up_to_date(migrations: Sequence[str], keeps: bool, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    version = _pragma(connection, "user_version")
    # In this order: another process may be making the file right now, and then both come at once.
    if connection.execute("SELECT * FROM sqlite_master").fetchone() and _pragma(connection, "application_id") != OURS:
        raise ConfigError(f"the database {path} belongs to another program: choose another file for Tidegate")
    if version > len(migrations):
        raise ConfigError(
            f"the database {path} was written by a newer Tidegate (schema {version}, here {len(migrations)} is known): "
            "start that version or a later one, or restore the backup from before the upgrade"
        )
    if 0 < version < len(migrations) and keeps:
        keep_copy(Path(path), version)
    while version < len(migrations):
        try:  # all steps or none, so that no other process ever finds it halfway
            steps = "\n".join(migrations[version:])
            connection.executescript(f"BEGIN IMMEDIATE;\n{steps}\nPRAGMA user_version = {len(migrations)};\nCOMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if _pragma(connection, "user_version") == version:  # else another process did it just now
                raise
        version = _pragma(connection, "user_version")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _migrations(steps: str) -> list[str]:
    folder = files("tidegate.storage").joinpath("migrations", steps)
    return [file.read_text("utf-8") for file in sorted(folder.iterdir(), key=lambda file: file.name)]


def _unusable(path: Path, error: sqlite3.Error) -> ConfigError:
    advice = _ADVICE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "see whether the disk and the file are in order")
    return ConfigError(f"cannot use the database {path}: {error}; {advice}")


_ADVICE = {
    sqlite3.SQLITE_NOTADB: "this file is not Tidegate's: move it away, or choose another",
    sqlite3.SQLITE_CORRUPT: "restore it from a backup; what can be saved, `sqlite3 FILE .recover` prints",
    sqlite3.SQLITE_READONLY: "Tidegate must be allowed to write to the file and to its folder",
    sqlite3.SQLITE_CANTOPEN: "Tidegate must be allowed to write to the file and to its folder",
    sqlite3.SQLITE_BUSY: "another process keeps it locked: wait for that one, or stop it",
    sqlite3.SQLITE_FULL: "free some space on the disk",
}
