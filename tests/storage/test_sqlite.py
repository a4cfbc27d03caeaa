"""One file, many processes; and what is wrong with a file is said before anything begins."""

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
import threading
from importlib.resources import files

import pytest

from tidegate.core.errors import ConfigError
from tidegate.core.ports import Closed, Key, StoreDown
from tidegate.storage.books import Position, Row
from tidegate.storage.sqlite import SqliteStore
from tidegate.storage.tallies import tally


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "tidegate.db"


@pytest.fixture
async def open_store(path):
    opened = []

    async def open_store(**options):
        opened.append(await SqliteStore.open(path, **options))
        return opened[-1]

    yield open_store
    for store in opened:
        await store.aclose()


@pytest.fixture
async def store(open_store):
    return await open_store()


def tidegate_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tidegate-")]


def key(id):
    return Key(id=id, name="ci", env="live", digest=b"\0" * 32, pepper_version=1, created_ms=1)


def row(id, cost_nusd=1):
    closed = Closed(
        id, 1, "k", "openai", "chat", "ok", 200, 1, 1, cost_nusd=cost_nusd, usage={"input": 5, "reasoning": 2}
    )
    return Row(closed, b"sealed " + id.encode())


# --- the file ---


@pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")
async def test_nobody_else_can_read_it(store, path):
    await store.add(key("a"))
    assert {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {
        "tidegate.db": 0o600,
        "tidegate.db-wal": 0o600,
        "tidegate.db-shm": 0o600,
    }
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_it_is_there_again_after_a_restart(open_store):
    first = await open_store()
    await first.add(key("a"))
    await first.aclose()
    assert (await (await open_store()).find(Key, "a")).id == "a"


async def test_closing_leaves_no_thread_and_one_file(open_store, path):
    store = await open_store()
    await store.add(key("a"))
    await store.aclose()
    assert tidegate_threads() == []
    assert [file.name for file in path.parent.iterdir()] == ["tidegate.db"]
    with pytest.raises(StoreDown, match="closed"):
        await store.find(Key, "a")


def test_processes_that_begin_at_once_share_one_new_file(path):
    code = f"""
import asyncio, pathlib, sys
from tidegate.core.ports import Key
from tidegate.storage.sqlite import SqliteStore
async def main():
    sys.stdin.readline()
    store = await SqliteStore.open(pathlib.Path({str(path)!r}))
    await store.add(Key(sys.argv[1], "n", "live", b"", 1, 1))
    await store.aclose()
asyncio.run(main())
"""
    starters = [subprocess.Popen([sys.executable, "-c", code, str(n)], stdin=subprocess.PIPE) for n in range(4)]
    for starter in starters:
        starter.stdin.write(b"go\n")
        starter.stdin.flush()
    for starter in starters:
        starter.communicate(timeout=60)
    assert [starter.returncode for starter in starters] == [0] * 4
    reader = sqlite3.connect(path)
    assert reader.execute("SELECT count(*) FROM keys").fetchone() == (4,)
    reader.close()


async def test_many_who_make_the_file_at_once_share_it(path):
    for turn in range(10):
        stores = await asyncio.gather(*(SqliteStore.open(path.with_name(f"{turn}.db")) for _ in range(4)))
        await asyncio.gather(*(store.add(key(str(n))) for n, store in enumerate(stores)))
        assert len(await stores[0].every(Key)) == 4
        for store in stores:
            await store.aclose()


async def test_what_another_process_revokes_is_revoked_here(store, path):
    await store.add(key("a"))
    code = f"""
import asyncio, pathlib
from tidegate.core.ports import Key
from tidegate.storage.sqlite import SqliteStore
async def main():
    store = await SqliteStore.open(pathlib.Path({str(path)!r}))
    print((await store.change(await store.find(Key, "a"), revoked_ms=42)).revoked_ms)
    await store.aclose()
asyncio.run(main())
"""
    said = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout == "42\n"
    assert (await store.find(Key, "a")).revoked_ms == 42


async def test_keys_of_the_first_version_are_kept_and_their_flag_becomes_a_role(open_store, path):
    path.parent.mkdir()
    old = sqlite3.connect(path)
    first = files("tidegate.storage").joinpath("migrations", "sqlite", "0001_keys_and_calls.sql").read_text()
    old.executescript(f"{first}; PRAGMA user_version = 1")
    old.execute("INSERT INTO keys VALUES ('a', 'boss', 'live', x'01', 1, 1, 5, NULL)")
    old.execute("INSERT INTO keys VALUES ('b', 'ci', 'live', x'02', 1, 0, 6, 7)")
    old.commit()
    old.close()
    boss, ci = await (await open_store()).every(Key)
    assert (boss.id, boss.name, boss.digest, boss.role, boss.created_ms, boss.revoked_ms) == (
        *("a", "boss", b"\x01"),
        *("admin", 5, None),
    )
    assert (ci.id, ci.role, ci.revoked_ms, ci.routes, ci.limits) == ("b", "member", 7, (), ())


# --- a file that cannot be used ---


async def refusal(path):
    with pytest.raises(ConfigError) as refused:
        await SqliteStore.open(path, busy_s=0.05)
    assert str(path) in refused.value.message
    assert tidegate_threads() == []
    return refused.value.message


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes\n" * 100)
    assert "not Tidegate's" in await refusal(path)
    assert path.read_text() == "these are my notes\n" * 100


async def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE keys (id TEXT)")
    other.execute("PRAGMA user_version = 1")
    other.commit()
    assert "belongs to another program" in await refusal(path)
    assert [name for (name,) in other.execute("SELECT name FROM sqlite_master")] == ["keys"]
    other.close()


async def test_a_file_of_a_newer_tidegate_is_refused(open_store, path):
    await (await open_store()).aclose()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    assert re.search(r"newer Tidegate \(schema 99, here \d+ is known\)", await refusal(path))


async def test_a_file_whose_first_page_is_damaged_is_refused(open_store, path):
    await (await open_store()).aclose()
    data = bytearray(path.read_bytes())
    data[100:2000] = os.urandom(1900)
    path.write_bytes(data)
    assert "restore it from a backup" in await refusal(path)


async def test_a_folder_in_its_place_is_refused(tmp_path):
    assert "must be a folder that Tidegate may write to" in await refusal(tmp_path)


async def test_a_file_that_stays_locked_is_refused(open_store, path):
    await (await open_store()).aclose()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("INSERT INTO spools VALUES ('x', 0, 0, 0, 0, 0, 0, 0)")
    assert "another process keeps it locked" in await refusal(path)
    other.close()


async def test_damage_that_shows_later_is_store_down_and_no_crash(open_store, path):
    store = await open_store()
    for n in range(300):
        await store.add(key(f"key {n}"))
    await store.aclose()
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 4096):
        if b"key 1" in data[at : at + 4096]:  # not what says which tables there are
            data[at : at + 4096] = os.urandom(4096)
    path.write_bytes(data)
    store = await open_store()
    with pytest.raises(StoreDown, match="does not answer"):
        await store.every(Key)


async def test_a_file_that_another_process_locks_is_store_down_for_writing_only(open_store, path):
    store = await open_store(busy_s=0.05)
    await store.add(key("a"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreDown, match="locked"):
        await store.add(key("b"))
    assert (await store.find(Key, "a")).id == "a"
    other.execute("ROLLBACK")
    other.close()
    await store.add(key("b"))


# --- the ledger's half ---


async def take(store, *args):
    return await asyncio.to_thread(store.books.take, *args)


async def account(store, spool):
    return await asyncio.to_thread(store.books.account, spool)


async def test_rows_sums_and_position_are_kept_together(store):
    first, second = row("a", 3), row("b", None)
    sums = await take(store, "one", [first, second], Position(7, 99))
    assert (sums.calls, sums.cost_nusd, sums.unpriced, sums.tokens) == (2, 3, 1, 14)
    assert await account(store, "one") == (Position(7, 99), sums)
    assert await store.books.after(0, 10) == [(1, "a", b"sealed a"), (2, "b", b"sealed b")]


@pytest.mark.parametrize("count", [1, 3, 17, 150])
async def test_however_many_are_taken_at_once_all_are_there(store, count):
    rows = [row(f"r{at}", at) for at in range(count)]
    assert (await take(store, "one", rows, Position(1, 1))).calls == count
    assert [id for _, id, _ in await store.books.after(0, 1000)] == [f"r{at}" for at in range(count)]
    assert (await account(store, "one"))[1].cost_nusd == sum(range(count))


async def test_rows_that_are_known_count_for_nothing(store):
    await take(store, "one", [row("a", 3)], Position(1, 10))
    assert await take(store, "one", [row("a", 5), row("b", 7), row("b", 9)], Position(1, 20)) == tally(
        row("b", 7).closed
    )
    assert (await account(store, "one"))[1].cost_nusd == 10


async def test_spools_of_many_processes_add_up(store):
    await take(store, "one", [row("a", 3)], Position(1, 1))
    await take(store, "two", [row("b", 5)], Position(4, 4))
    assert (await store.books.totals(besides="one")).cost_nusd == 5
    assert (await store.books.totals(besides="nobody")).cost_nusd == 8


async def test_columns_can_be_asked_by_whoever_reads_the_file(store, path):
    await take(store, "one", [row("a", None)], Position(1, 1))
    reader = sqlite3.connect(path)
    sql = "SELECT id, cost_nusd, input_tokens, output_tokens, outcome FROM calls"
    assert reader.execute(sql).fetchall() == [("a", None, 5, 2, "ok")]
    reader.close()


async def test_sums_stay_integers_at_the_end_of_the_range(store, path):
    await take(store, "one", [row("a", 2**63 - 5)], Position(1, 1))
    await take(store, "one", [row("b", 2**70)], Position(1, 2))
    reader = sqlite3.connect(path)
    assert reader.execute("SELECT typeof(cost_nusd), cost_nusd FROM spools").fetchall() == [("integer", 2**63 - 1)]
    reader.close()
