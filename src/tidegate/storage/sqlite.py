"""What is kept on one machine? Keys, rows and sums in one SQLite file, which several processes may use at once."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.core.money import Usage
from tidegate.core.ports import Closed, Key, StoreDown, Totals
from tidegate.storage.ledger import Position, Row, add, tally

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_S = 5.0  # how long to wait for another process that writes
MAX_INTEGER = 2**63 - 1


# --- the file -----------------------------------------------------------------------------------------------------


class Database:
    """One file, one thread that writes and one that reads. Work that was begun is finished, whoever waits for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writes = ThreadPoolExecutor(1, "tidegate-sqlite-write")
        self._reads = ThreadPoolExecutor(1, "tidegate-sqlite-read")

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Raises ConfigError when the file cannot be used, and says what to do."""
        database = cls(path)
        try:
            database._writer = await asyncio.wrap_future(database._writes.submit(_open, path))
            database._reader = await asyncio.wrap_future(database._reads.submit(_connect, path))
        except BaseException:
            database._abandon()
            raise
        return database

    async def read(self, work: Work[T]) -> T:
        return await asyncio.wrap_future(self._submit(self._reads, self._reader, work))

    async def write(self, work: Work[T]) -> T:
        return await asyncio.wrap_future(self._submit(self._writes, self._writer, work))

    def write_now(self, work: Work[T]) -> T:
        """The same, for a thread that may block."""
        return self._submit(self._writes, self._writer, work).result()

    def _submit(self, thread: ThreadPoolExecutor, connection: sqlite3.Connection, work: Work[T]) -> Future[T]: ...
