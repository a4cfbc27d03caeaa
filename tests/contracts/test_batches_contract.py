"""Wherever batches are kept, each line has one result, whoever takes it and whoever dies."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from tidegate.core.batches import Config, Counts, Mistake, Question, Said
from tidegate.core.ports import Subject
from tidegate.core.ports.batches import Batch, Fate, File, Starter
from tidegate.storage.batches import BatchStore
from tidegate.storage.batches.files import FILE, PART
from tidegate.storage.books import Home
from tidegate.storage.vault.envelope import EnvelopeVault
from tidegate.storage.vault.kek import Keks
from tidegate.storage.vault.keyring import MemoryKeyring

ANN = Starter("key_ann", "ann", "acme")
BATCH = Batch("batch_1", "openai", "/v1/chat/completions", "file-1", ANN, 1_000, 90_000)


@pytest.fixture
def vault() -> EnvelopeVault:
    return EnvelopeVault(MemoryKeyring(), Keks([bytes(32)]))


@pytest.fixture
def store(home: Home, vault: EnvelopeVault) -> BatchStore:
    return BatchStore(home.tables, vault, Config())


def file(id: str, **fields: Any) -> File:
    return msgspec.structs.replace(File(id, "acme", "key_ann", "in 🌊.jsonl", 3, 1_000, 5_000), **fields)


def question(name: str, user: str | None = None) -> Question:
    return Question(name, b'{"model": "m"}', user)


async def filled(store: BatchStore, lines: int, batch: Batch = BATCH) -> Batch:
    await store.add(batch)
    await store.fill(batch, [(number, question(f"q{number}")) for number in range(1, lines + 1)])
    await store.filled(batch, (), 2_000)
    return batch


def answered(line: Any) -> Fate:
    return Fate(line, "done", Said(line.asked.custom_id, 200, b'{"answer": 1}', "req_1"))


async def results(store: BatchStore, batch: Batch, *states: Any) -> list[Any]:
    return [json.loads(line) for line in (await rendered(store, batch, *states)).splitlines()]


async def rendered(store: BatchStore, batch: Batch, *states: Any) -> bytes:
    whole, after = b"", 0
    while found := await store.page(batch, states, after):
        whole, after = whole + found[0], found[1]
    return whole


async def content(store: BatchStore, id: str) -> bytes:
    whole, part = b"", 0
    while (piece := await store.part(id, part)) is not None:
        whole, part = whole + piece, part + 1
    return whole


async def test_a_file_comes_back_as_it_was_and_only_to_whom_it_belongs(store, home):
    whole = bytes(range(256)) * (PART // 100)
    await store.put(file("file-1", bytes=len(whole)), whole)
    assert await store.file("file-1", "key_ann") == file("file-1", bytes=len(whole))
    assert await content(store, "file-1") == whole
    assert await store.file("file-1", "key_bob") is None
    ((name,),) = await home.tables.rows("SELECT name FROM FILES")
    assert b".jsonl" not in bytes(name)


async def test_files_are_listed_newest_first_and_by_pages(store):
    for n in range(5):
        await store.put(file(f"file-{n}", created_ms=1_000 + n // 2), b"")
    assert [one.id for one in await store.files("key_ann", None, 3)] == ["file-4", "file-3", "file-2"]
    assert [one.id for one in await store.files("key_ann", "file-2", 3)] == ["file-1", "file-0"]
    assert await store.files("key_ann", "file-9", 3) == [] == await store.files("key_bob", None, 3)


async def test_a_dropped_file_is_gone(store):
    await store.put(file("file-1"), b"abc")
    assert [await store.drop(file("file-1")), await store.drop(file("file-1"))] == [True, False]
    assert await content(store, "file-1") == b""


async def test_a_batch_comes_back_as_it_was(store):
    batch = msgspec.structs.replace(BATCH, metadata={"a": "b"}, window="1h")
    await store.add(batch)
    assert await store.batch("batch_1", "key_ann") == batch
    assert await store.batch("batch_1", "key_bob") is None
    assert await store.batches("key_ann", "openai", None, 9) == [batch]
    assert await store.batches("key_ann", "anthropic", None, 9) == []


async def test_each_line_is_taken_once_by_however_many(store):
    batch = await filled(store, 40)
    taken = await asyncio.gather(*(store.take(batch, f"h{n}", 10, 3_000, 9_000) for n in range(6)))
    numbers = [line.number for some in taken for line in some]
    assert sorted(numbers) == list(range(1, 41))
    assert await store.counts("batch_1") == Counts(leased=40)


async def test_a_line_has_one_result_and_only_from_who_holds_it(store):
    batch = await filled(store, 1)
    (slow,) = await store.take(batch, "slow", 1, 3_000, 4_000)
    assert await store.release(None, 4_001) == 1
    (quick,) = await store.take(batch, "quick", 1, 4_002, 9_000)
    assert quick.tries == 2
    for holder, line in (("slow", slow), ("quick", quick), ("quick", quick), ("slow", slow)):
        await store.settle(holder, [answered(line)])
    assert await store.counts("batch_1") == Counts(done=1, bytes=(await store.counts("batch_1")).bytes)
    (one,) = await results(store, batch, "done")
    assert one["custom_id"] == "q1" and one["response"]["body"] == {"answer": 1} and one["error"] is None


async def test_what_is_held_is_not_taken_away(store):
    batch = await filled(store, 1)
    await store.take(batch, "h", 1, 3_000, 4_000)
    await store.hold("h", 8_000)
    assert [await store.release(None, 7_000), await store.release("h", 7_000)] == [0, 1]


async def test_a_line_that_is_put_back_waits_for_its_time(store):
    batch = await filled(store, 2)
    first, second = await store.take(batch, "h", 2, 3_000, 9_000)
    await store.settle("h", [Fate(first, at_ms=5_000), Fate(second, at_ms=4_000, counted=False)])
    assert await store.take(batch, "h", 2, 3_999, 9_000) == []
    assert [(one.number, one.tries) for one in await store.take(batch, "h", 2, 5_000, 9_000)] == [(1, 2), (2, 1)]


async def test_lines_that_make_no_sense_have_failed_and_the_rest_goes_on(store):
    await store.add(BATCH)
    wrong = Mistake(2, "invalid_json_line", "is no JSON object")
    both = [(1, question("a")), (2, wrong), (3, question("b"))]
    await store.fill(BATCH, both)
    await store.fill(BATCH, both)  # whoever began with it has died in the middle
    await store.filled(BATCH, [wrong], 2_000)
    found = await store.batch("batch_1", "key_ann")
    assert (found.counts.pending, found.counts.failed, found.mistakes) == (2, 1, (wrong,))
    (one,) = await results(store, BATCH, "failed")
    assert one["error"] == {"code": "invalid_json_line", "message": "is no JSON object", "line": 2}


async def test_of_two_lines_with_one_custom_id_the_first_is_kept(store):
    await store.add(BATCH)
    await store.fill(BATCH, [(1, question("a")), (2, question("a"))])
    assert (await store.counts("batch_1")).total == 1


async def test_one_process_reads_the_lines_of_a_batch(store):
    await store.add(BATCH)
    assert await store.take_batch("batch_1", "a", 1_000, 2_000)
    assert not await store.take_batch("batch_1", "b", 1_500, 2_500)
    assert await store.take_batch("batch_1", "a", 1_500, 2_500)
    assert await store.take_batch("batch_1", "b", 2_501, 3_000)


async def test_a_batch_ends_when_no_line_is_open(store):
    batch = await filled(store, 2)
    assert await store.end(batch, 3_000) is None
    await store.settle("h", [answered(line) for line in await store.take(batch, "h", 2, 3_000, 9_000)])
    ended = await store.end(batch, 4_000)
    assert (ended.state, ended.ended, ended.ended_ms, ended.counts.done) == ("ended", "completed", 4_000, 2)
    assert await store.end(batch, 5_000) is None and await store.unended() == []
    output = await store.file(ended.output, "key_ann")
    assert (output.holds, output.batch, ended.errors) == ("output", "batch_1", None)
    assert output.bytes == len(await rendered(store, ended, "done"))


async def test_cancelled_twice_is_cancelled(store):
    batch = await filled(store, 3)
    (line,) = await store.take(batch, "h", 1, 3_000, 9_000)
    assert (await store.cancel("batch_1", "key_bob", 3_000)) is None
    first = await store.cancel("batch_1", "key_ann", 3_100)
    second = await store.cancel("batch_1", "key_ann", 3_200)
    assert first == second and first.counts == Counts(leased=1, cancelled=2)
    assert await store.end(batch, 3_300) is None  # one is under way
    await store.settle("h", [answered(line)])
    ended = await store.end(batch, 3_400)
    assert (ended.ended, ended.counts.done, ended.counts.cancelled) == ("cancelled", 1, 2)
    assert await store.cancel("batch_1", "key_ann", 3_500) == ended
    left = await results(store, ended, "cancelled")
    assert [(one["custom_id"], one["error"]["code"]) for one in left] == [(f"q{n}", "batch_cancelled") for n in (2, 3)]


async def test_what_was_not_asked_in_time_has_expired(store):
    batch = await filled(store, 2)
    await store.settle("h", [answered(line) for line in await store.take(batch, "h", 1, 3_000, 9_000)])
    ended = await store.end(batch, 90_000)
    assert (ended.ended, ended.counts.done, ended.counts.expired) == ("expired", 1, 1)


async def test_what_an_end_user_asked_is_forgotten_and_never_written_again(store, vault):
    batch = msgspec.structs.replace(BATCH)
    await store.put(file("file-1"), b"what they all ask")
    await store.add(batch)
    await store.fill(batch, [(1, question("a", "eve")), (2, question("b", "eve")), (3, question("c"))])
    await store.filled(batch, (), 2_000)
    taken = await store.take(batch, "h", 1, 3_000, 9_000)
    eve = vault.subject("acme", "eve")
    held = [(one.line, one.state, one.custom_id, one.asked, one.said) for one in await store.of(eve)]
    assert held == [(1, "leased", "a", '{"model": "m"}', None), (2, "pending", "b", '{"model": "m"}', None)]
    assert await store.forget_of(eve) == 2
    vault.erase(Subject("acme", eve))
    await store.settle("h", [answered(line) for line in taken])
    (left,) = [line for line in await store.take(batch, "h", 9, 3_000, 9_000) if line.number == 2]
    assert left.asked == Question(None, b"")
    assert await store.file("file-1", "key_ann") is None
    (one,) = await results(store, batch, "done")
    assert one["error"]["code"] == "erased" and one["response"] is None


async def test_files_and_batches_leave_when_their_time_is_over(store):
    await store.put(file("file-1", until_ms=5_000), b"abc")
    batch = await filled(store, 1)
    await store.settle("h", [answered(line) for line in await store.take(batch, "h", 1, 3_000, 9_000)])
    ended = await store.end(batch, 4_000)
    assert await store.forget(5_001, 10) == 1 and await store.file("file-1", "key_ann") is None
    gone_ms = 4_000 + 30 * 86_400_000
    assert await store.forget(gone_ms, 10) == 0
    assert await store.forget(gone_ms + 1, 10) > 0 and await store.forget(gone_ms + 1, 10) == 0
    assert await store.batch("batch_1", "key_ann") is None and await results(store, ended, "done") == []


async def test_pieces_of_an_upload_that_a_crash_has_cut_off_are_deleted_an_hour_later(store, home):
    made_ms = 0x019B0000000
    torn, request = "file-019b0000000ab", "msgbatch_019b0000000ab"
    for id in (torn, request, "file-019b0000000cd"):
        await home.tables.changed("INSERT INTO PARTS (file, part, body) VALUES (?, ?, ?)", id, 0, b"\x00")
    whole = file("file-019b0000000cd", until_ms=made_ms * 2)
    row = (whole.id, "acme", "key_ann", b"\x00", 3, made_ms, whole.until_ms, "input", "")
    await home.tables.changed(f"INSERT INTO FILES ({FILE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *row)
    assert await store.forget(made_ms + 3_600_000, 10) == 0  # it may still be coming
    assert await store.forget(made_ms + 3_600_001, 10) == 2 and await store.forget(made_ms + 3_600_001, 10) == 0
    assert [row[0] for row in await home.tables.rows("SELECT file FROM PARTS")] == [whole.id]


async def test_without_the_key_nobody_reads_them(store, home):
    await store.put(file("file-1"), b"secret words")
    batch = await filled(store, 1)
    await store.settle("h", [answered(line) for line in await store.take(batch, "h", 1, 3_000, 9_000)])
    for sql in ("SELECT body FROM PARTS", "SELECT said FROM LINES", "SELECT head FROM BATCHES"):
        for (stored,) in await home.tables.rows(sql):
            assert not {b"secret", b"answer", b"ann"} & {*bytes(stored).split()} and b"answer" not in bytes(stored)
