"""Where is what was handed over? Parcels, each with the provider's id for it, and the lines that are in it.

Lines go into a parcel before anything is sent, and its id at the provider is written before anything else happens: so
after a crash it is known what has to be looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tidegate.core.parcels import HOME, Parcel
from tidegate.storage.tables import Tables

FIELDS = Parcel.__struct_fields__
PARCEL = ", ".join(FIELDS)


class ParcelStore:
    """The part of Batches that is about parcels."""

    _tables: Tables

    async def hand_over(self, parcel: Parcel, lines: Sequence[int], holder: str, until_ms: int) -> bool:
        sql = self._tables.sql
        move = sql(
            "UPDATE LINES SET state = 'away', parcel = ?, lease = '' WHERE batch = ? AND line = ? AND state = 'leased' "
            "AND lease = ?"
        )
        look = sql("SELECT count(*) FROM LINES WHERE batch = ? AND parcel = ?")
        add = sql(f"INSERT INTO PARCELS ({PARCEL}, lease, lease_ms) VALUES ({', '.join('?' * (len(FIELDS) + 2))})")

        def work(db: Any) -> bool:
            db.cursor().executemany(move, [(parcel.id, parcel.batch, line, holder) for line in lines])
            moved = int(db.execute(look, (parcel.batch, parcel.id)).fetchone()[0])
            if moved < len(lines):  # a lease has ended: nothing is sent, and whoever has the others asks them
                db.execute(sql(_BACK), (0, *_of(parcel)))
                db.execute(sql("UPDATE LINES SET parcel = '' WHERE batch = ? AND parcel = ?"), _of(parcel))
                return False
            db.execute(add, (*_row(parcel), holder, until_ms))
            return True

        return bool(await self._tables.home.alter(work))

    async def parcels(self) -> list[Parcel]:
        rows = await self._tables.rows(f"SELECT {PARCEL} FROM PARCELS ORDER BY made_ms, id")
        return [msgspec.convert(dict(zip(FIELDS, row, strict=True)), Parcel, strict=False) for row in rows]

    async def take_parcel(self, id: str, holder: str, now_ms: int, until_ms: int) -> bool:
        sql = "UPDATE PARCELS SET lease = ?, lease_ms = ? WHERE id = ? AND (lease = '' OR lease = ? OR lease_ms < ?)"
        return bool(await self._tables.changed(sql, holder, until_ms, id, holder, now_ms))

    async def note_parcel(self, parcel: Parcel) -> None:
        sql = "UPDATE PARCELS SET state = ?, remote = ?, look_ms = ?, tries = ?, cancelled = ?, lease = '' WHERE id = ?"
        values = (parcel.state, parcel.remote, parcel.look_ms, parcel.tries, int(parcel.cancelled), parcel.id)
        await self._tables.changed(sql, *values)

    async def end_parcel(self, parcel: Parcel, at_ms: int, *, home: bool) -> int:
        """Lines without a result are asked from `at_ms` on; `home`: by us. How many."""
        sql = self._tables.sql

        def work(db: Any) -> int:
            count = int(db.execute(sql(_BACK), (parcel.batch, at_ms, *_of(parcel))).rowcount)
            if home:
                db.execute(sql("UPDATE LINES SET parcel = ? WHERE batch = ? AND parcel = ?"), (HOME, *_of(parcel)))
            db.execute(sql("UPDATE LINES SET parcel = '' WHERE batch = ? AND parcel = ?"), _of(parcel))
            db.execute(sql("DELETE FROM PARCELS WHERE id = ?"), (parcel.id,))
            return count

        return int(await self._tables.home.alter(work))

    async def away(self) -> int:
        return int((await self._tables.rows("SELECT count(*) FROM LINES WHERE state = 'away'"))[0][0])


# Of a batch that was cancelled meanwhile nothing is asked by us, not even before somebody sees that it is over.
_BACK = (
    "UPDATE LINES SET state = CASE WHEN (SELECT cancelled_ms FROM BATCHES WHERE id = ?) IS NULL THEN 'pending' "
    "ELSE 'cancelled' END, at_ms = ? WHERE batch = ? AND parcel = ? AND state = 'away'"
)


def _of(parcel: Parcel) -> tuple[str, str]:
    return parcel.batch, parcel.id


def _row(parcel: Parcel) -> tuple[Any, ...]:
    return (
        parcel.id, *(parcel.batch, parcel.provider, parcel.model, parcel.lines, parcel.made_ms, parcel.state),
        *(parcel.remote, parcel.look_ms, parcel.tries, int(parcel.cancelled), parcel.price),
    )  # fmt: skip
