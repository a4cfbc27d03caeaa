"""How is PostgreSQL asked? By a few threads, each with its own connection, and never for longer than it may take."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tidegate.core.errors import ConfigError
from tidegate.core.ports import StoreDown
from tidegate.storage.books import Notice

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]
Work = Callable[[Connection], T]

REST_S = 1.0  # how long nobody asks after the database did not answer: whoever has an answer without it need not wait
SHORTEST_CONNECT_S = 2  # libpq's own least
WHAT_TO_DO = "keys that are known are still served and rows wait in the spool; see whether the server runs"


class Gone(StoreDown):
    """The database cannot be reached, or does not answer in time."""


class Address:
    """Where the database is, and how to reach it."""

    def __init__(self, url: str, timeout_s: float, prepares: bool) -> None:
        """Raises ConfigError."""
        try:
            said = conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            # Without what libpq says: it may quote the password.
            raise ConfigError(
                "storage.database: cannot be read as an address; like postgresql://user:password@host:5432/name, "
                "with what is neither letter nor digit in a password written as %40 for @"
            ) from None
        self.name = f"{said.get('host', 'localhost')}:{said.get('port', 5432)}/{said.get('dbname', '')}"
        self._url = url
        self._settings: dict[str, Any] = {
            "autocommit": True,
            # Behind a pooler that gives each transaction another connection, what one prepared the next does not know.
            "prepare_threshold": 5 if prepares else None,
            "connect_timeout": max(SHORTEST_CONNECT_S, round(timeout_s)),
            "application_name": said.get("application_name", "tidegate"),
        }

    def connect(self) -> Connection:
        return psycopg.connect(self._url, **self._settings)


class Lane:
    """A thread and its connection, made when it is needed, and made again when it was lost."""

    def __init__(self, name: str, address: Address) -> None:
        self._address = address
        self._thread = ThreadPoolExecutor(1, name)
        self._connection: Connection | None = None
        self.waiting = 0  # what was submitted and has not ended

    def submit(self, work: Work[T], *, again: bool) -> Future[T]:
        """`again`: it may be done twice, so that a connection that was lost while nobody looked is no error."""
        try:
            future = self._thread.submit(self._do, work, again)
        except RuntimeError:
            raise StoreDown(f"the database {self._address.name} was closed") from None
        self.waiting += 1
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: Future[Any]) -> None:
        self.waiting -= 1

    def _do(self, work: Work[T], again: bool) -> T:
        used = self._connection is not None and not self._connection.closed
        try:
            if not used:
                self._connection = self._address.connect()
            assert self._connection is not None
            return work(self._connection)
        except psycopg.Error as wrong:
            lost = self._connection is None or self._connection.closed
            if lost and used and again:
                return self._do(work, False)
            kind = Gone if lost else StoreDown
            said = str(wrong).strip().partition("\n")[0]
            raise kind(f"the database {self._address.name} does not answer: {said}") from wrong

    def cut(self) -> None:
        """End what it waits for, from another thread: closing a socket does not wake who reads it, this does."""
        with suppress(OSError, psycopg.Error, AttributeError):
            with socket.socket(fileno=os.dup(self._connection.fileno())) as line:  # type: ignore[union-attr]
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """When all that was submitted is done."""
        with suppress(RuntimeError):
            self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def join(self) -> None:
        self._thread.shutdown()


class Lanes:
    """As many connections as `size`, and one more for whoever may block. Work that was begun is finished, whoever
    waits for it."""

    def __init__(self, address: Address, size: int, timeout_s: float, notice: Notice) -> None:
        self._timeout_s = timeout_s
        self._notice = notice
        self._name = address.name
        self._lanes = [Lane(f"tidegate-postgres-{n}", address) for n in range(size)]
        self._own = Lane("tidegate-postgres-ledger", address)
        self._rests_until = 0.0
        self._told_down = False

    async def ask(self, work: Work[T], *, again: bool = False, within_s: float | None = None) -> T:
        """Raises StoreDown: at once for a moment after it did not answer, so that not every call waits for it."""
        if time.monotonic() < self._rests_until:
            raise Gone(f"the database {self._name} did not answer just now")
        lane = min(self._lanes, key=lambda lane: lane.waiting)
        future = lane.submit(work, again=again)
        try:
            async with asyncio.timeout(within_s or self._timeout_s):
                answer = await asyncio.wrap_future(future)
        except TimeoutError:
            if future.running():
                lane.cut()
            gone = Gone(f"the database {self._name} does not answer within {within_s or self._timeout_s:g} s")
            self._rest(gone)
            raise gone from None
        except Gone as gone:
            self._rest(gone)
            raise
        if self._told_down:
            self._told_down = False
            self._notice("store_back", {"database": self._name})
        return answer

    async def look(self, work: Work[T]) -> T:
        return await self.ask(work, again=True)

    async def alter(self, work: Work[T]) -> T:
        """In a transaction."""

        def within(db: Connection) -> T:
            with db.transaction():
                return work(db)

        return await self.ask(within)

    def _rest(self, gone: Gone) -> None:
        self._rests_until = time.monotonic() + REST_S
        if not self._told_down:
            self._told_down = True
            self._notice("store_down", {"error": gone.message, "what_to_do": WHAT_TO_DO})

    def do(self, work: Work[T], *, within_s: float | None = None) -> T:
        """For a thread, which may block; on a connection of its own."""
        future = self._own.submit(work, again=False)
        try:
            return future.result(within_s or self._timeout_s)
        except TimeoutError:
            self._own.cut()
            raise Gone(f"the database {self._name} does not answer within {within_s or self._timeout_s:g} s") from None

    async def aclose(self) -> None:
        lanes = [*self._lanes, self._own]
        for lane in lanes:
            lane.close()
        try:
            async with asyncio.timeout(self._timeout_s):
                while any(lane.waiting for lane in lanes):  # noqa: ASYNC110 at the end, and seldom
                    await asyncio.sleep(0.005)
        except TimeoutError:
            for lane in lanes:
                lane.cut()
        for lane in lanes:
            await asyncio.to_thread(lane.join)
