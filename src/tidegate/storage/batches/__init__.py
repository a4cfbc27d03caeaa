"""Where are files and batches? In four tables, sealed, and each line is the record of itself.

What came of a line is written by the very statement that ends it, and only for whoever holds its lease. So there is
one result of each line whatever dies, and a file of results is not kept at all: it is rendered from the lines.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import msgspec

from tidegate.core.batches import Counts, Dialect, LineState, Mistake, Question, Said, ended_as, rendered
from tidegate.core.parcels import HOME
from tidegate.core.ports import Erased, Place
from tidegate.core.ports.batches import Batch, Fate, Held, Line, Starter
from tidegate.storage.batches import places
from tidegate.storage.batches.files import FILE, FileStore
from tidegate.storage.batches.parcels import ParcelStore
from tidegate.storage.rollups import clean

PAGE = 200  # lines read at once
TOGETHER = 500  # lines written at once
BATCH = (
    "id, tenant, key_id, dialect, state, source, created_ms, until_ms, began_ms, cancelled_ms, ended_ms, ended, "
    "counts, output, errors, head, mistakes"
)


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is said of a batch when it is made."""

    endpoint: str
    window: str
    starter: Starter
    metadata: Mapping[str, Any] | None = None


_JSON = msgspec.json.Encoder().encode
_PACK = msgspec.msgpack.Encoder().encode
_HEAD = msgspec.json.Decoder(Head)
_MISTAKES = msgspec.json.Decoder(tuple[Mistake, ...])
_COUNTS = msgspec.json.Decoder(Counts)
_QUESTION = msgspec.msgpack.Decoder(Question)
_SAID = msgspec.msgpack.Decoder(Said)


class BatchStore(FileStore, ParcelStore):
    """Batches."""

    async def add(self, batch: Batch, content: bytes | None = None) -> None:
        starter = batch.starter
        head = _JSON(Head(batch.endpoint, batch.window, starter, batch.metadata))
        sealed = await self._aside(lambda: self._vault.seal(head, places.head(batch.id, starter.tenant)))
        if content is not None:
            await self._write(batch.source, starter.tenant, content)
        row = (batch.id, starter.tenant, starter.key_id, batch.dialect, batch.state, batch.source, batch.created_ms)
        await self._tables.add(
            "INSERT INTO BATCHES (id, tenant, key_id, dialect, state, source, created_ms, until_ms, head, lease, "
            "lease_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0)",
            [(*row, batch.until_ms, sealed)],
        )

    async def batch(self, id: str, key_id: str | None) -> Batch | None:
        whose, more = (" AND key_id = ?", (key_id,)) if key_id is not None else ("", ())
        rows = await self._tables.rows(f"SELECT {BATCH} FROM BATCHES WHERE id = ?{whose}", id, *more)
        return (await self._shown(rows))[0] if rows else None

    async def batches(self, key_id: str | None, dialect: Dialect | None, after: str | None, most: int) -> list[Batch]:
        said = {"key_id": key_id, "dialect": dialect}
        only = tuple(word for name, value in said.items() if value is not None for word in (name, value))
        return await self._shown(await self._listed(f"SELECT {BATCH} FROM BATCHES", "BATCHES", only, after, most))

    async def _shown(self, rows: Sequence[Any]) -> list[Batch]:
        """With counts, as they are just now."""
        found = await self._aside(lambda: [self._batch(row) for row in rows])
        return [
            one if one.ended is not None else msgspec.structs.replace(one, counts=await self.counts(one.id))
            for one in found
        ]

    def _batch(self, row: Sequence[Any]) -> Batch:
        id, _, _, dialect, state, source, created_ms, until_ms = row[:8]
        began_ms, cancelled_ms, ended_ms, ended, counts, output, errors, head, mistakes = row[8:]
        said = _HEAD.decode(self._vault.unseal(bytes(head), places.head(id)))
        wrong = (
            _MISTAKES.decode(self._vault.unseal(bytes(mistakes), places.mistakes(id))) if mistakes is not None else ()
        )
        return Batch(
            id, dialect, said.endpoint, source, said.starter, created_ms, until_ms, said.window, said.metadata,
            state, began_ms, cancelled_ms, ended_ms, ended, _COUNTS.decode(counts) if counts else Counts(),
            wrong, output, errors,
        )  # fmt: skip

    async def cancel(self, id: str, key_id: str, now_ms: int) -> Batch | None:
        sql = self._tables.sql

        def work(db: Any) -> None:
            mark = (
                "UPDATE BATCHES SET cancelled_ms = ? WHERE id = ? AND key_id = ? AND state <> 'ended' "
                "AND cancelled_ms IS NULL"
            )
            if db.execute(sql(mark), (now_ms, id, key_id)).rowcount:
                db.execute(sql(_UNASKED), ("cancelled", id))

        await self._tables.home.alter(work)
        return await self.batch(id, key_id)

    async def page(self, batch: Batch, states: Sequence[LineState], after: int) -> tuple[bytes, int] | None:
        sql = (
            "SELECT line, state, asked, said FROM LINES WHERE batch = ? AND line > ? "
            f"AND state IN ({', '.join('?' * len(states))}) ORDER BY line LIMIT {PAGE}"
        )
        rows = await self._tables.rows(sql, batch.id, after, *states)
        return (await asyncio.to_thread(self._rendered, batch, rows), rows[-1][0]) if rows else None

    def _rendered(self, batch: Batch, rows: Sequence[Any]) -> bytes:
        return b"".join(rendered(*self._said(batch.id, *row), batch.dialect == "anthropic") for row in rows)

    def _said(self, batch: str, line: int, state: Any, asked: Any, said: Any) -> tuple[Said, Any]:
        """And how it ended, for who reads it now."""
        try:
            if said is not None:
                return _SAID.decode(self._vault.unseal(bytes(said), places.line(batch, line, "said"))), state
            if asked is not None:
                return Said(self._question(batch, line, asked).custom_id, line=line), state
        except Erased:
            pass
        return Said(None, line=line), "erased"

    def _question(self, batch: str, line: int, asked: Any) -> Question:
        return _QUESTION.decode(self._vault.unseal(bytes(asked), places.line(batch, line, "asked")))

    async def remove(self, batch: Batch) -> bool:
        return bool(await self._tables.home.alter(lambda db: self._remove(db, batch.id)))

    def _remove(self, db: Any, id: str) -> int:
        sql = self._tables.sql
        db.execute(sql("DELETE FROM LINES WHERE batch = ?"), (id,))
        db.execute(sql("DELETE FROM PARCELS WHERE batch = ?"), (id,))
        db.execute(sql("DELETE FROM FILES WHERE batch = ?"), (id,))
        db.execute(sql("DELETE FROM PARTS WHERE file = ?"), (id,))
        return int(db.execute(sql("DELETE FROM BATCHES WHERE id = ?"), (id,)).rowcount)

    # --- who is at it

    async def unended(self) -> list[Batch]:
        sql = f"SELECT {BATCH} FROM BATCHES WHERE state <> 'ended' ORDER BY created_ms"
        rows = await self._tables.rows(sql)
        return await self._aside(lambda: [one for one in map(self._readable, rows) if one is not None])

    def _readable(self, row: Sequence[Any]) -> Batch | None:
        """One that was sealed under a key that is not there must not stop the others."""
        try:
            return self._batch(row)
        except ValueError:
            return None

    async def take_batch(self, id: str, holder: str, now_ms: int, until_ms: int) -> bool:
        sql = (
            "UPDATE BATCHES SET lease = ?, lease_ms = ? WHERE id = ? AND state = 'validating' "
            "AND (lease = '' OR lease = ? OR lease_ms < ?)"
        )
        return bool(await self._tables.changed(sql, holder, until_ms, id, holder, now_ms))

    async def fill(self, batch: Batch, lines: Sequence[tuple[int, Question | Mistake]]) -> None:
        rows = await asyncio.to_thread(lambda: [self._row(batch, number, one) for number, one in lines])
        sql = (
            "INSERT INTO LINES (batch, line, custom, state, subject, asked, said, bytes, at_ms, lease, lease_ms, "
            "tries) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, '', 0, 0) ON CONFLICT DO NOTHING"
        )
        for at in range(0, len(rows), TOGETHER):
            await self._tables.add(sql, rows[at : at + TOGETHER])

    def _row(self, batch: Batch, number: int, one: Question | Mistake) -> tuple[Any, ...]:
        tenant = batch.starter.tenant
        if isinstance(one, Mistake):
            said = Said(None, code=one.code, message=one.message, line=one.line)
            sealed = self._vault.seal(_PACK(said), places.line(batch.id, number, "said", tenant))
            return batch.id, number, None, "failed", "", None, sealed, _size(said, "failed", batch.dialect)
        custom = blake2b(self._vault.word(one.custom_id or "").encode(), digest_size=20).hexdigest()
        alias = clean(self._vault.subject(tenant, one.user)) if one.user else ""
        asked = self._vault.seal(_PACK(one), places.line(batch.id, number, "asked", tenant, one.user))
        return batch.id, number, custom, "pending", alias, asked, None, 0

    async def filled(self, batch: Batch, mistakes: Sequence[Mistake], now_ms: int) -> None:
        place = Place("batches", batch.id, "mistakes", batch.starter.tenant)
        sealed = await self._aside(lambda: self._vault.seal(_JSON(mistakes), place))
        sql = (
            "UPDATE BATCHES SET state = 'in_progress', began_ms = ?, mistakes = ? WHERE id = ? AND state = 'validating'"
        )
        await self._tables.changed(sql, now_ms, sealed, batch.id)
        if batch.source == batch.id:
            await self._tables.changed("DELETE FROM PARTS WHERE file = ?", batch.id)

    async def take(self, batch: Batch, holder: str, most: int, now_ms: int, until_ms: int) -> list[Line]:
        sql = self._tables.sql
        find = sql(
            "SELECT line, tries, asked, parcel FROM LINES WHERE batch = ? AND state = 'pending' AND at_ms <= ? "
            "ORDER BY line LIMIT ? ALONE"
        )
        lease = sql(
            "UPDATE LINES SET state = 'leased', lease = ?, lease_ms = ?, tries = tries + 1 WHERE batch = ? AND line = ?"
        )

        def work(db: Any) -> list[Any]:
            rows: list[Any] = db.execute(find, (batch.id, now_ms, most)).fetchall()
            if rows:
                db.cursor().executemany(lease, [(holder, until_ms, batch.id, row[0]) for row in rows])
            return rows

        rows = await self._tables.home.alter(work)
        return await self._aside(lambda: [self._taken(batch, *row) for row in rows])

    async def bring(self, batch: Batch, parcel: str, lines: Sequence[int], holder: str, until_ms: int) -> list[Line]:
        """Of these, those that are still in the parcel: now they are `holder`'s, to be given their results."""
        sql, marks = self._tables.sql, ", ".join("?" * len(lines))
        where = f"WHERE batch = ? AND parcel = ? AND state = 'away' AND line IN ({marks})"

        def work(db: Any) -> list[Any]:
            rows: list[Any] = db.execute(
                sql(f"SELECT line, tries, asked, parcel FROM LINES {where} ALONE"), (batch.id, parcel, *lines)
            ).fetchall()
            lease = "UPDATE LINES SET state = 'leased', lease = ?, lease_ms = ? WHERE batch = ? AND line = ?"
            db.cursor().executemany(sql(lease), [(holder, until_ms, batch.id, row[0]) for row in rows])
            return rows

        rows = await self._tables.home.alter(work) if lines else []
        return await self._aside(lambda: [self._taken(batch, *row) for row in rows])

    def _taken(self, batch: Batch, line: int, tries: int, asked: Any, parcel: str) -> Line:
        """Of one that was erased there is nothing to ask."""
        with suppress(Erased):
            if asked is not None:
                return Line(batch, line, tries + 1, self._question(batch.id, line, asked), parcel)
        return Line(batch, line, tries + 1, Question(None, b""), parcel)

    async def hold(self, holder: str, until_ms: int) -> None:
        await self._tables.changed(
            "UPDATE LINES SET lease_ms = ? WHERE state = 'leased' AND lease = ?", until_ms, holder
        )

    async def release(self, holder: str | None, now_ms: int) -> int:
        sql = f"UPDATE LINES SET state = {_OPEN}, lease = '' WHERE state = 'leased' AND "
        if holder is None:
            free = "UPDATE BATCHES SET lease = '' WHERE state = 'validating' AND lease <> '' AND lease_ms < ?"
            await self._tables.changed(free, now_ms)
            return await self._tables.changed(sql + "lease_ms < ?", now_ms)
        return await self._tables.changed(sql + "lease = ?", holder)

    async def settle(self, holder: str, fates: Sequence[Fate]) -> None:
        ended = [(fate, fate.said) for fate in fates if fate.said is not None]
        sealed = await self._aside(lambda: [self._end(fate, said, holder) for fate, said in ended])
        again = [
            (fate.at_ms, 0 if fate.counted else 1, fate.line.batch.id, fate.line.number, holder)
            for fate in fates
            if fate.said is None
        ]
        home = [(HOME, fate.line.batch.id, fate.line.number, holder) for fate in fates if fate.home]
        sql, mine = self._tables.sql, "WHERE batch = ? AND line = ? AND state = 'leased' AND lease = ?"
        answered = sql(  # of what was erased while it was asked, nothing is kept
            "UPDATE LINES SET state = ?, said = CASE WHEN asked IS NULL THEN NULL ELSE ? END, bytes = ?, asked = NULL, "
            f"lease = '' {mine}"
        )
        stays = sql(f"UPDATE LINES SET parcel = ? {mine}")
        put_back = sql(f"UPDATE LINES SET state = {_OPEN}, at_ms = ?, tries = tries - ?, lease = '' {mine}")

        def work(db: Any) -> None:
            for text, rows in ((answered, sealed), (stays, home), (put_back, again)):
                if rows:
                    db.cursor().executemany(text, rows)

        await self._tables.home.alter(work)

    def _end(self, fate: Fate, said: Said, holder: str) -> tuple[Any, ...]:
        batch, number, asked = fate.line.batch, fate.line.number, fate.line.asked
        place = places.line(batch.id, number, "said", batch.starter.tenant, asked.user)
        size = _size(said, fate.state, batch.dialect)
        return fate.state, self._vault.seal(_PACK(said), place), size, batch.id, number, holder

    async def end(self, batch: Batch, now_ms: int) -> Batch | None:
        sql = self._tables.sql
        gone_ms = now_ms + round(self.config.keep * 1000)
        names = await self._aside(
            lambda: [
                self._vault.seal(name.encode(), places.named(id, batch.starter.tenant)) for id, name in _files(batch.id)
            ]
        )

        def work(db: Any) -> bool:
            row = db.execute(sql("SELECT state, cancelled_ms FROM BATCHES WHERE id = ?"), (batch.id,)).fetchone()
            if row is None or row[0] != "in_progress":
                return False
            if row[1] is not None or now_ms >= batch.until_ms:
                db.execute(sql(_UNASKED), ("cancelled" if row[1] is not None else "expired", batch.id))
            found, sizes = _counted(db.execute(sql(_BY_STATE), (batch.id,)).fetchall())
            if found.open:
                return False
            there = [found.done > 0, found.wrong > 0 and batch.dialect == "openai"]
            there[0] = there[0] and batch.dialect == "openai"
            ids = [id if is_there else None for (id, _), is_there in zip(_files(batch.id), there, strict=True)]
            end = (
                "UPDATE BATCHES SET state = 'ended', ended_ms = ?, ended = ?, counts = ?, gone_ms = ?, output = ?, "
                "errors = ? WHERE id = ? AND state = 'in_progress'"
            )
            ended = ended_as(found, row[1] is not None)
            said = (now_ms, ended, _JSON(found).decode(), gone_ms, *ids, batch.id)
            if not db.execute(sql(end), said).rowcount:
                return False
            for id, name, size, holds in zip(ids, names, sizes, ("output", "errors"), strict=True):
                if id is not None:
                    starter = batch.starter
                    values = (id, starter.tenant, starter.key_id, name, size, now_ms, gone_ms, holds, batch.id)
                    db.execute(sql(f"INSERT INTO FILES ({FILE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"), values)
            return True

        return await self.batch(batch.id, batch.starter.key_id) if await self._tables.home.alter(work) else None

    async def counts(self, batch: str) -> Counts:
        return _counted(await self._tables.rows(_BY_STATE, batch))[0]

    async def waiting(self) -> int:
        return int((await self._tables.rows("SELECT count(*) FROM LINES WHERE state = 'pending'"))[0][0])

    # --- what is not kept any more

    async def of(self, subject: str) -> list[Held]:
        sql = "SELECT batch, line, state, asked, said FROM LINES WHERE subject = ? ORDER BY batch, line"
        rows = await self._tables.rows(sql, subject)
        return await asyncio.to_thread(lambda: [self._held(*row) for row in rows])

    def _held(self, batch: str, line: int, state: Any, asked: Any, said: Any) -> Held:
        found, how = self._said(batch, line, state, None, said)
        body = found.body.decode("utf-8", "replace") if how != "erased" else None
        question = None
        with suppress(Erased):
            question = self._question(batch, line, asked) if asked is not None else None
        custom_id = question.custom_id if question is not None else found.custom_id
        text = question.body.decode("utf-8", "replace") if question is not None else None
        return Held(batch, line, state, custom_id, text, body)

    async def forget_of(self, subject: str) -> int:
        """Files that a line of theirs was read from go too: they cannot be sealed under a key for each line."""
        rows = await self._tables.rows("SELECT DISTINCT batch FROM LINES WHERE subject = ?", subject)
        for (batch,) in rows:
            for (source,) in await self._tables.rows("SELECT source FROM BATCHES WHERE id = ?", batch):
                await self._tables.changed("DELETE FROM PARTS WHERE file = ?", source)
                await self._tables.changed("DELETE FROM FILES WHERE id = ?", source)
        return await self._tables.changed("UPDATE LINES SET asked = NULL, said = NULL WHERE subject = ?", subject)

    async def forget(self, before_ms: int, most: int) -> int:
        sql = self._tables.sql

        def work(db: Any) -> int:
            find = "SELECT id FROM FILES WHERE until_ms < ? ORDER BY until_ms LIMIT ?"
            files = db.execute(sql(find), (before_ms, most)).fetchall()
            for (id,) in files:
                db.execute(sql("DELETE FROM PARTS WHERE file = ?"), (id,))
                db.execute(sql("DELETE FROM FILES WHERE id = ?"), (id,))
            find = "SELECT id FROM BATCHES WHERE gone_ms < ? ORDER BY gone_ms LIMIT 1"  # one may have many lines
            batches = db.execute(sql(find), (before_ms,)).fetchall()
            left = [file for (file,) in db.execute(sql(_OWNERLESS)).fetchall() if _was_left(file, before_ms)][:most]
            for file in left:
                db.execute(sql("DELETE FROM PARTS WHERE file = ?"), (file,))
            return len(files) + len(left) + sum(self._remove(db, id) for (id,) in batches)

        return await self._tables.home.alter(work)


_MADE = re.compile(r"(?:file-|msgbatch_)([0-9a-f]{11})[0-9a-f]+")
UPLOAD_MS = 3_600_000  # no upload takes longer
# Pieces of an upload that was cut off by a crash: the row of a file, or of a batch, is written after its last piece.
_OWNERLESS = (
    "SELECT file FROM PARTS WHERE part = 0 AND NOT EXISTS (SELECT 1 FROM FILES WHERE id = file) "
    "AND NOT EXISTS (SELECT 1 FROM BATCHES WHERE id = file)"
)
_OPEN = "CASE WHEN parcel IN ('', 'home') THEN 'pending' ELSE 'away' END"  # whoever has it now
_UNASKED = "UPDATE LINES SET state = ? WHERE batch = ? AND state = 'pending'"
_BY_STATE = "SELECT state, count(*), coalesce(sum(bytes), 0) FROM LINES WHERE batch = ? GROUP BY state"


def _was_left(file: str, now_ms: int) -> bool:
    """Whether nobody writes it any more: an id begins with the moment that it was made."""
    made = _MADE.fullmatch(file)
    return made is not None and int(made[1], 16) < now_ms - UPLOAD_MS


def _counted(rows: Sequence[Any]) -> tuple[Counts, tuple[int, int]]:
    """And the size of what was answered, and of what was not."""
    by_state = {state: int(count) for state, count, _ in rows}
    done = sum(int(size) for state, _, size in rows if state == "done")
    return Counts(**by_state, bytes=done), (done, sum(int(size) for _, _, size in rows) - done)


def _files(batch: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Where its results will be: ids and names."""
    word = batch.partition("_")[2]
    return (f"file-{word}-out", f"{batch}_output.jsonl"), (f"file-{word}-err", f"{batch}_error.jsonl")


def _size(said: Said, state: LineState, dialect: Dialect) -> int:
    return len(rendered(said, state, dialect == "anthropic"))
