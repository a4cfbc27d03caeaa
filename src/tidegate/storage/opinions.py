"""How are opinions kept? One row each, with what it adds to the sums of its hour; the same for every database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from tidegate.core.opinions import OPINION_DIMENSIONS, OPINION_SUMS, Opinion, dimensions, sums
from tidegate.core.ports import Closed
from tidegate.core.usage import HOUR_MS
from tidegate.storage.rollups import LAST_MS, MAX_WORD, Rollup, clean

_COLUMNS = ("id", "request_id", "at_ms", "hour", *OPINION_DIMENSIONS, *OPINION_SUMS, "body")
_NAMES = ", ".join(f'"{name}"' for name in _COLUMNS)


class Database(Protocol):
    def execute(self, query: Any, params: Sequence[Any] = ..., /) -> Any: ...


class Said(NamedTuple):
    opinion: Opinion
    of: Closed
    sealed: bytes  # the opinion, as it is stored

    @property
    def rollup(self) -> Rollup:
        """What it adds, where."""
        hour = min(max(self.of.at_ms, 0), LAST_MS) // HOUR_MS * HOUR_MS
        names = tuple(clean(name)[:MAX_WORD] if name else "" for name in dimensions(self.of, self.opinion))
        return Rollup(hour, names, sums(self.opinion))


class OpinionTable:
    """`table` with its schema; `mark` is where a value goes; `as_bytes`: the driver wants its SQL so."""

    def __init__(self, table: str, mark: str, *, as_bytes: bool = False) -> None:
        def sql(text: str) -> Any:
            return text.encode() if as_bytes else text

        changes = ", ".join(f'"{name}" = excluded."{name}"' for name in _COLUMNS if name != "id")
        marks = ", ".join([mark] * len(_COLUMNS))
        self._put = sql(f"INSERT INTO {table} ({_NAMES}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {changes}")
        self._of = sql(f"SELECT body FROM {table} WHERE request_id = {mark} ORDER BY at_ms, id")

    def put(self, db: Database, said: Said) -> None:
        opinion, (hour, names, adds) = said.opinion, said.rollup
        db.execute(
            self._put,
            (clean(opinion.id), clean(opinion.request_id), opinion.at_ms, hour, *names, *adds, said.sealed),
        )

    def of(self, db: Database, call_id: str) -> list[bytes]:
        return [bytes(body) for (body,) in db.execute(self._of, (clean(call_id),)).fetchall()]
