"""Where are the entries? In a table beside the rows: appended in their transaction, read in pages, never changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from tidegate.core.audit import Head, Link, chained
from tidegate.core.ports import Acted, Closed
from tidegate.storage.audit.notes import Checkpoint
from tidegate.storage.facts import each
from tidegate.storage.tables import Dialect, Tables

PAGE = 500
HASHES = 20_000  # at once
COLUMNS = "writer, seq, hash, entry, id, at_ms, subject"


class Database(Protocol):
    def execute(self, query: Any, params: Sequence[Any] = ..., /) -> Any: ...

    def cursor(self) -> Any: ...


class Signed(NamedTuple):
    """A checkpoint, with what the next one is made from."""

    checkpoint: Checkpoint
    peaks: bytes
    exported: bool


class Chains:
    """What is done within somebody else's transaction."""

    def __init__(self, dialect: Dialect, many: Callable[[Any, Any, Any], None] = each) -> None:
        """`many`: who takes a statement for many rows."""
        self._many = many
        self._head = dialect.sql("SELECT seq, hash FROM LOG WHERE writer = ? ORDER BY seq DESC LIMIT 1")
        self._insert = dialect.sql(f"INSERT INTO LOG ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)")
        self._known = dialect.sql("SELECT 1 FROM LOG WHERE id = ?")

    def head(self, db: Database, writer: str) -> Head:
        found = db.execute(self._head, (writer,)).fetchone()
        return Head(found[0] + 1, bytes(found[1])) if found else Head()

    def append(self, db: Database, writer: str, said: Sequence[Closed | Acted]) -> list[Link]:
        """Within a transaction. `said` is new, but for acts, of which some may be there already."""
        new = [one for one in said if isinstance(one, Closed) or db.execute(self._known, (one.id,)).fetchone() is None]
        links = chained(writer, self.head(db, writer), new) if new else []
        if links:
            self._many(db, self._insert, links)
        return links


class Log:
    """The audit log of a database, as the rest of the house sees it. Raises StoreDown."""

    def __init__(self, tables: Tables, chains: Chains) -> None:
        self._tables = tables
        self._chains = chains
        self._rows = tables.rows

    async def append(self, writer: str, said: Sequence[Closed | Acted]) -> list[Link]:
        """For who has no spool."""
        return await self._tables.home.alter(lambda db: self._chains.append(db, writer, said))

    async def heads(self) -> dict[str, int]:
        """How many entries each writer has."""
        return dict(await self._rows("SELECT writer, max(seq) + 1 FROM LOG GROUP BY writer ORDER BY writer"))

    async def size(self, writer: str) -> int:
        """How many entries one writer has, whatever the others have."""
        rows = await self._rows("SELECT seq FROM LOG WHERE writer = ? ORDER BY seq DESC LIMIT 1", writer)
        return rows[0][0] + 1 if rows else 0

    async def page(self, writer: str, after: int, most: int = PAGE) -> list[Link]:
        """The next entries behind `after`."""
        sql = f"SELECT {COLUMNS} FROM LOG WHERE writer = ? AND seq > ? ORDER BY seq LIMIT ?"
        return [_link(row) for row in await self._rows(sql, writer, after, most)]

    async def latest(self, before_ms: int, before_id: str, most: int) -> list[Link]:
        """The newest first, of all writers."""
        sql = f"SELECT {COLUMNS} FROM LOG WHERE (at_ms, id) < (?, ?) ORDER BY at_ms DESC, id DESC LIMIT ?"
        return [_link(row) for row in await self._rows(sql, before_ms, before_id, most)]

    async def find(self, id: str) -> Link | None:
        rows = await self._rows(f"SELECT {COLUMNS} FROM LOG WHERE id = ?", id)
        return _link(rows[0]) if rows else None

    async def of(self, subject: str) -> list[Link]:
        sql = f"SELECT {COLUMNS} FROM LOG WHERE subject = ? ORDER BY writer, seq"
        return [_link(row) for row in await self._rows(sql, subject)]

    async def hashes(self, writer: str, begin: int, end: int) -> list[bytes]:
        found: list[bytes] = []
        while begin < end:
            sql = "SELECT hash FROM LOG WHERE writer = ? AND seq >= ? AND seq < ? ORDER BY seq"
            some = await self._rows(sql, writer, begin, min(end, begin + HASHES))
            if not some:
                break
            found += [bytes(row[0]) for row in some]
            begin += len(some)
        return found

    async def forget(self, before_ms: int, most: int) -> int:
        """Empty entries that are older; their hashes stay, so the chain and the tree do. How many there were."""
        sql = (
            "UPDATE LOG SET entry = ?, subject = '' WHERE id IN "
            "(SELECT id FROM LOG WHERE at_ms < ? AND entry <> ? ORDER BY at_ms LIMIT ?)"
        )
        return await self._tables.changed(sql, b"", before_ms, b"", most)

    # --- what was signed

    async def signed(self, writer: str) -> Signed | None:
        """The last one."""
        rows = await self._rows(f"SELECT {_SIGNED} FROM SIGNED WHERE writer = ? ORDER BY size DESC LIMIT 1", writer)
        return _signed(rows[0]) if rows else None

    async def checkpoints(self, writer: str | None = None) -> list[Checkpoint]:
        where, values = ("WHERE writer = ?", (writer,)) if writer is not None else ("", ())
        rows = await self._rows(f"SELECT {_SIGNED} FROM SIGNED {where} ORDER BY writer, size", *values)
        return [_signed(row).checkpoint for row in rows]

    async def signers(self) -> list[str]:
        """Writers of whom something was signed, whether or not there are entries of them."""
        return [row[0] for row in await self._rows("SELECT DISTINCT writer FROM SIGNED ORDER BY writer")]

    async def last_checkpoints(self, writer: str, most: int) -> list[Checkpoint]:
        """The newest first."""
        sql = f"SELECT {_SIGNED} FROM SIGNED WHERE writer = ? ORDER BY size DESC LIMIT ?"
        return [_signed(row).checkpoint for row in await self._rows(sql, writer, most)]

    async def keep(self, checkpoint: Checkpoint, peaks: bytes) -> None:
        sql = f"INSERT INTO SIGNED ({_SIGNED}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        await self._tables.changed(sql, *checkpoint, peaks, 0)

    async def waiting(self) -> list[Checkpoint]:
        """Those that were exported nowhere yet."""
        rows = await self._rows(f"SELECT {_SIGNED} FROM SIGNED WHERE exported = 0 ORDER BY at_ms LIMIT {PAGE}")
        return [_signed(row).checkpoint for row in rows]

    async def exported(self, one: Checkpoint) -> None:
        await self._tables.changed("UPDATE SIGNED SET exported = 1 WHERE writer = ? AND size = ?", one.writer, one.size)


_SIGNED = "writer, size, root, at_ms, note, peaks, exported"


def _link(row: Any) -> Link:
    writer, seq, hash, entry, id, at_ms, subject = row
    return Link(writer, seq, bytes(hash), bytes(entry), id, at_ms, subject)


def _signed(row: Any) -> Signed:
    writer, size, root, at_ms, note, peaks, exported = row
    return Signed(Checkpoint(writer, size, bytes(root), at_ms, note), bytes(peaks), bool(exported))
