"""How is it kept that something is done once? The same few statements for every database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tidegate.core.ports import Once


class Database(Protocol):
    def execute(self, query: Any, params: Sequence[Any] = ..., /) -> Any: ...


class OnceTable:
    """`table` with its schema; `mark` is where a value goes; `as_bytes`: the driver wants its SQL so."""

    def __init__(self, table: str, mark: str, *, as_bytes: bool = False) -> None:
        def sql(text: str) -> Any:
            text = text.replace("ONCE", table).replace("?", mark)
            return text.encode() if as_bytes else text

        self._sweep = sql("DELETE FROM ONCE WHERE until_ms <= ?")
        self._begin = sql(
            "INSERT INTO ONCE (id, holder, asked, until_ms) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
        )
        self._find = sql("SELECT id, holder, asked, until_ms, done FROM ONCE WHERE id = ?")
        self._end = sql("UPDATE ONCE SET until_ms = ?, done = ? WHERE id = ? AND holder = ? AND done IS NULL")
        self._drop = sql("DELETE FROM ONCE WHERE id = ? AND holder = ? AND done IS NULL")
        self._forget = sql("DELETE FROM ONCE WHERE done IS NULL")

    def begin(self, db: Database, once: Once, now_ms: int) -> Once | None:
        """Each statement by itself: whoever inserts is the one, and the others find what it inserted."""
        db.execute(self._sweep, (now_ms,))
        while True:
            if db.execute(self._begin, (once.id, once.holder, once.asked, once.until_ms)).rowcount:
                return None
            row = db.execute(self._find, (once.id,)).fetchone()
            if row is not None:  # else it was given up just now
                return Once(*row)

    def end(self, db: Database, once: Once) -> None:
        if once.done is None:
            db.execute(self._drop, (once.id, once.holder))
        else:
            db.execute(self._end, (once.until_ms, once.done, once.id, once.holder))

    def forget(self, db: Database) -> int:
        count: int = db.execute(self._forget).rowcount
        return count
