"""Every call that was acknowledged has one row, for ever, whatever happens to process, disk and database."""

import asyncio
import errno
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from tidegate.core.errors import ConfigError, StorageFull
from tidegate.core.experiments import UnitLine
from tidegate.core.ports import Closed, Opened, StoreDown, Totals
from tidegate.storage.ledger import SpoolLedger
from tidegate.storage.personal import SPOOL
from tidegate.storage.segments import preallocate, scan
from tidegate.storage.spool import Spool
from tidegate.storage.sqlite import SqliteStore
from tidegate.storage.vault import PlainVault

SEGMENT = 16384


def opened(id):
    return Opened(id, 1_790_000_000_000, "k", "openai", "chat", "fast", "gpt", True, "u", "s", ("t",), "eval")


def closed(id, cost_nusd=1):
    return Closed(id, 1_790_000_000_000, "k", "openai", "chat", "ok", 200, 1000, 10, cost_nusd=cost_nusd)


class House:
    """A ledger on SQLite that can be left, in every way, and entered again."""

    def __init__(self, folder):
        self.folder = folder
        self.spool = folder / "spool"
        self.path = folder / "tidegate.db"
        self.told = asyncio.Queue()
        self.store = None
        self.ledger = None

    async def enter(self, vault=None, **options):
        self.store = await SqliteStore.open(self.path, busy_s=0.05)
        options = {"segment_bytes": SEGMENT, "max_spool_bytes": 1000 * SEGMENT} | options
        notice = lambda name, fields: self.told.put_nowait((name, dict(fields)))  # noqa: E731
        try:
            self.ledger = await SpoolLedger.open(
                self.folder, self.store.books, vault or PlainVault(), notice, **options
            )
        except BaseException:
            await self.store.aclose()
            raise
        return self.ledger

    async def leave(self):
        if self.ledger:
            await self.ledger.aclose()
            await self.store.aclose()
            self.ledger = None

    async def rows(self):
        return {row.id: row async for row in self.ledger.rows()}

    async def hears(self, name):
        async with asyncio.timeout(30):
            while True:
                said, fields = await self.told.get()
                if said == name:
                    return fields

    def write(self, *segments):
        """What a process that died left behind: each segment a list of records."""
        spool = Spool(self.spool, segment_bytes=SEGMENT, max_bytes=1000 * SEGMENT, reserve_bytes=0)
        spool.begin(after=max((int(path.stem) for path in spool.leftovers), default=0))
        for n, records in enumerate(segments):
            if n:
                spool._current.end = SEGMENT  # full, as far as it knows
                spool.prepare()
            for record in records:
                sealed = PlainVault().seal(msgspec.json.encode(record), SPOOL)
                spool.append(f"{n} {record.id}", sealed, closes=isinstance(record, Closed))
        spool.close()

    def files(self):
        return sorted(path.name for path in self.spool.iterdir() if path.name not in ("lock", "id"))


@pytest.fixture
async def house(tmp_path):
    house = House(tmp_path)
    yield house
    await house.leave()


# --- a process that dies ---


CHILD = """
import asyncio, os, pathlib, random, sys
import msgspec
from tidegate.core.experiments import Assigned
from tidegate.core.ports import Closed, Opened
from tidegate.storage.ledger import SpoolLedger
from tidegate.storage.sqlite import SqliteStore
from tidegate.storage.personal import SPOOL
from tidegate.storage.vault import PlainVault

async def main(folder, name):
    store = await SqliteStore.open(folder / "tidegate.db")
    ledger = await SpoolLedger.open(folder, store.books, PlainVault(), lambda name, fields: None, segment_bytes=65536)
    rand = random.Random(name)
    under_way = []
    os.write(1, b"ready\\n")
    n = 0
    while True:
        for _ in range(rand.randrange(1, 20)):
            if len(under_way) < 30 or rand.random() < 0.5:
                n += 1
                id = f"{name}-{n}"
                arms = (Assigned("t.1", 0, "b", id),)
                ledger.append(Opened(id, n, "k", "openai", "chat", "fast", "gpt", arms=arms))
                os.write(1, f"o {id}\\n".encode())
                under_way.append(id)
            else:
                id = under_way.pop(rand.randrange(len(under_way)))
                cost = rand.randrange(10**9)
                user = "u" * rand.randrange(300)
                row = Closed(id, n, "k", "openai", "chat", "ok", 200, 1, 1, user=user, cost_nusd=cost)
                ledger.append(msgspec.structs.replace(row, arms=(Assigned("t.1", 0, "b", id),)))
                os.write(1, f"c {id} {cost}\\n".encode())
        await asyncio.sleep(0.0005)

asyncio.run(main(pathlib.Path(sys.argv[1]), sys.argv[2]))
"""


def killed_under_load(folder, name, after_s):
    """What the child said to have written before it was killed."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder), name], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "ready\n"
        killer = threading.Timer(after_s, child.kill)
        killer.start()
        said = child.stdout.read()
        killer.join()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert child.returncode == -signal.SIGKILL
    return said[: said.rfind("\n") + 1].splitlines()


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of POSIX")
async def test_kill_9_twenty_times_under_load_loses_and_doubles_nothing(house):
    rand = random.Random(20)
    begun, ended = set(), {}
    for life in range(20):
        for line in killed_under_load(house.folder, f"life{life}", rand.uniform(0.0, 0.12)):
            kind, id, *cost = line.split()
            if kind == "o":
                begun.add(id)
            else:
                ended[id] = int(cost[0])
    await house.enter()
    rows = [row async for row in house.ledger.rows()]
    by_id = {row.id: row for row in rows}
    assert len(ended) > 500
    assert len(by_id) == len(rows)
    assert {id: by_id[id].cost_nusd for id in ended} == ended
    assert begun <= set(by_id)
    # What was written but not acknowledged, because death came between the two: one row in each life at most.
    assert len(set(by_id) - begun) <= 20
    others = [row for row in rows if row.id not in ended]
    assert sum(row.outcome != "interrupted" for row in others) <= 20
    assert all(row.cost_nusd is None and row.status == 499 for row in others if row.outcome == "interrupted")
    assert await house.ledger.totals() == Totals(
        calls=len(rows),
        errors=sum(row.outcome == "interrupted" for row in rows),
        cost_nusd=sum(row.cost_nusd or 0 for row in rows),
        unpriced=sum(row.cost_nusd is None for row in rows),
    )
    units: dict[str, UnitLine] = {}
    while lines := await house.ledger.units("t.1", max(units, default="")):
        units |= {line.unit: line for line in lines}
    assert set(units) == set(by_id) and all(line.calls == 1 for line in units.values())
    assert {id: units[id].cost_nusd for id in ended} == ended
    await house.leave()
    assert house.files() == []
    await house.enter()
    assert len(await house.rows()) == len(rows)


async def test_a_call_without_an_end_gets_one_that_says_what_is_not_known(house):
    house.write([opened("a"), opened("b"), closed("b")])
    await house.enter()
    row = (await house.rows())["a"]
    assert row == Closed(
        id="a",
        at_ms=1_790_000_000_000,
        key_id="k",
        dialect="openai",
        operation="chat",
        outcome="interrupted",
        status=499,
        duration_us=0,
        overhead_us=0,
        route="fast",
        model="gpt",
        stream=True,
        cost_nusd=None,
        user="u",
        session="s",
        tags=("t",),
        kind="eval",
    )
    assert await house.ledger.totals() == Totals(calls=2, errors=1, cost_nusd=1, unpriced=1)
    assert (await house.hears("calls_interrupted")) == {"calls": 1}
    await house.leave()
    await house.enter()
    assert await house.ledger.totals() == Totals(calls=2, errors=1, cost_nusd=1, unpriced=1)
    assert house.told.empty()


async def test_a_recovery_that_was_killed_half_way_is_done_again(house):
    house.write([opened("a"), closed("a")], [opened("b")])
    shutil.copytree(house.spool, house.folder / "copy")
    await house.enter()
    await house.leave()
    shutil.rmtree(house.spool)  # as if it had died after storing everything and before removing anything
    shutil.move(house.folder / "copy", house.spool)
    await house.enter()
    assert {id: row.outcome for id, row in (await house.rows()).items()} == {"a": "ok", "b": "interrupted"}
    assert (await house.ledger.totals()).calls == 2


async def test_a_call_that_ends_in_a_later_segment_is_not_interrupted(house):
    house.write([opened("a")], [], [closed("a")])
    await house.enter()
    assert (await house.rows())["a"].outcome == "ok"


async def test_a_call_that_outlived_many_segments_is_still_found_after_death(house):
    ledger = await house.enter(max_spool_bytes=4 * SEGMENT)
    ledger.append(opened("long"))
    for n in range(500):
        ledger.append(closed(str(n)))
        if n % 50 == 49:
            await ledger.flush()
    assert "0000000001.seg" not in house.files()
    await house.leave()
    await house.enter()
    rows = await house.rows()
    assert rows["long"].outcome == "interrupted"
    assert len(rows) == 501


# --- a spool that is damaged ---


async def test_a_torn_tail_is_repaired_and_reported(house):
    house.write([opened("a"), closed("a"), opened("b")])
    path = house.spool / "0000000001.seg"
    last = scan(path.read_bytes()).frames[-1]
    data = bytearray(path.read_bytes())
    data[last.start : last.start + 8] = bytes(8)
    path.write_bytes(data)
    await house.enter()
    assert list(await house.rows()) == ["a"]
    assert (await house.hears("spool_repaired"))["torn_bytes"] == last.end - last.start
    assert not list(house.spool.glob("*.corrupt"))


async def test_damage_in_the_middle_costs_one_record_and_the_segment_is_kept_aside(house):
    house.write([closed("a"), closed("b"), closed("c")], [closed("d")])
    path = house.spool / "0000000001.seg"
    hit = scan(path.read_bytes()).frames[1]
    data = bytearray(path.read_bytes())
    data[hit.start + 20] ^= 0xFF
    path.write_bytes(data)
    await house.enter()
    assert list(await house.rows()) == ["a", "c", "d"]
    told = await house.hears("spool_damaged")
    assert told["segment"] == str(house.spool / "0000000001.corrupt")
    assert told["damaged_bytes"] == hit.end - hit.start
    assert (house.spool / "0000000001.corrupt").read_bytes() == data
    await house.leave()
    await house.enter()
    assert len(await house.rows()) == 3
    assert house.told.empty()


async def test_a_segment_of_garbage_costs_nothing_else(house):
    house.write([closed("a")], [closed("b")])
    (house.spool / "0000000003.seg").write_bytes(random.Random(1).randbytes(SEGMENT))
    (house.spool / "0000000004.seg").write_bytes(b"")
    (house.spool / "notes.txt").write_text("not ours")
    await house.enter()
    assert set(await house.rows()) == {"a", "b"}
    assert (await house.hears("spool_damaged"))["segment"].endswith("0000000003.corrupt")


@pytest.mark.parametrize("seed", range(15))
async def test_random_damage_to_one_segment_loses_nothing_of_the_others(house, seed):
    rand = random.Random(seed)
    house.write(*[[record for n in range(9) for record in (opened(f"{s}-{n}"), closed(f"{s}-{n}"))] for s in range(3)])
    path = house.spool / f"{rand.randrange(1, 4):010}.seg"
    data = bytearray(path.read_bytes())
    used = scan(bytes(data)).frames[-1].end
    for _ in range(rand.randrange(1, 6)):
        at, size = rand.randrange(used), rand.randrange(1, 400)
        data[at : at + size] = rand.randbytes(size) if rand.random() < 0.5 else bytes(size)
    path.write_bytes(data)
    await house.enter()
    rows = await house.rows()
    spared = {f"{s}-{n}" for s in range(3) for n in range(9) if s + 1 != int(path.stem)}
    assert {id for id in spared if rows[id].outcome == "ok"} == spared
    assert (await house.ledger.totals()).calls == len(rows)


class SecretVault:
    """Seals in a format that a plain vault does not know."""

    seals = False

    def seal(self, plain, place):
        return b"\x07" + plain[::-1]

    def unseal(self, stored, place):
        if stored[:1] != b"\x07":
            raise ValueError("not mine")
        return stored[:0:-1]


async def test_what_a_wrong_vault_cannot_read_is_kept_and_read_with_the_right_one(house):
    spool = Spool(house.spool)
    spool.begin(after=0)
    for record in (opened("a"), closed("a"), opened("b")):
        spool.append(
            record.id, SecretVault().seal(msgspec.json.encode(record), SPOOL), closes=isinstance(record, Closed)
        )
    spool.close()
    await house.enter()
    assert await house.rows() == {}
    assert "name it .seg" in (await house.hears("spool_damaged"))["what_to_do"]
    await house.leave()
    (house.spool / "0000000001.corrupt").rename(house.spool / "0000000001.seg")
    await house.enter(vault=SecretVault())
    assert {id: row.outcome for id, row in (await house.rows()).items()} == {"a": "ok", "b": "interrupted"}


# --- a folder that is another's, is lost, or cannot be written ---


async def test_a_second_ledger_on_one_folder_is_refused(house):
    await house.enter()
    with pytest.raises(ConfigError, match=f"process {os.getpid()} uses the spool"):
        await SpoolLedger.open(house.folder, house.store.books, PlainVault(), lambda name, fields: None)


@pytest.mark.skipif(sys.platform == "win32", reason="users are of POSIX")
def test_a_read_only_folder_is_an_error_that_says_what_to_do(tmp_path):
    folder = Path("/tmp") / f"tidegate-{os.getpid()}-read-only"
    folder.mkdir(mode=0o755)
    folder.chmod(0o555)
    code = f"""
import asyncio, os, pathlib
from tidegate.core.errors import ConfigError
from tidegate.storage.ledger import SpoolLedger
from tidegate.storage.sqlite import SqliteStore
from tidegate.storage.personal import SPOOL
from tidegate.storage.vault import PlainVault
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write anywhere
async def main():
    for opening in (
        lambda: SqliteStore.open(pathlib.Path({str(folder)!r}) / "tidegate.db"),
        lambda: SpoolLedger.open(pathlib.Path({str(folder)!r}), None, PlainVault(), print),
    ):
        try:
            await opening()
        except ConfigError as error:
            print(error.message)
asyncio.run(main())
"""
    try:
        said = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    finally:
        folder.rmdir()
    database, spool = said.splitlines()
    assert "tidegate.db: Permission denied; storage.data_dir must be a folder" in database
    assert "Permission denied" in spool
    assert "storage.data_dir must be a folder to write to" in spool


async def test_a_spool_that_was_thrown_away_begins_anew_and_its_rows_stay(house):
    ledger = await house.enter()
    for n in range(200):
        ledger.append(closed(f"old {n}"))
    await house.leave()
    shutil.rmtree(house.spool)
    ledger = await house.enter()
    ledger.append(closed("new"))
    await ledger.flush()
    assert len(await house.rows()) == 201
    assert await ledger.totals() == Totals(calls=201, cost_nusd=201)


# --- a database or a disk that is away for a while ---


async def test_while_the_database_is_locked_nothing_is_lost_and_the_operator_is_told_once(house):
    ledger = await house.enter()
    other = sqlite3.connect(house.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for n in range(120):
        ledger.append(closed(str(n)))
    assert "locked" in (await house.hears("store_behind"))["error"]
    with pytest.raises(StoreDown, match="locked"):
        await ledger.flush()
    assert (await ledger.find("7")).id == "7"
    assert await ledger.totals() == Totals(calls=120, cost_nusd=120)
    other.execute("ROLLBACK")
    other.close()
    await house.hears("store_caught_up")
    await ledger.flush()
    assert len(await house.rows()) == 120
    assert house.told.empty()


async def test_leaving_while_the_database_is_locked_keeps_the_rows_for_the_next_start(house):
    ledger = await house.enter()
    for n in range(30):
        ledger.append(closed(f"stored before {n}"))
    await house.leave()
    ledger = await house.enter()
    other = sqlite3.connect(house.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for n in range(120):
        ledger.append(closed(str(n)))
    await house.leave()
    with pytest.raises(StoreDown, match="wait in the spool for the next start"):
        await ledger.flush()
    other.execute("ROLLBACK")
    other.close()
    await house.enter()
    assert len(await house.rows()) == 150
    assert await house.ledger.totals() == Totals(calls=150, cost_nusd=150)


async def test_when_the_database_stays_away_new_calls_are_refused_and_those_under_way_end(house):
    ledger = await house.enter(max_spool_bytes=4 * SEGMENT, reserve_bytes=50)
    other = sqlite3.connect(house.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begun = 0
    with pytest.raises(StorageFull, match="see to the database"):
        for begun in range(10_000):
            ledger.append(opened(str(begun)))
    for n in range(begun):
        ledger.append(closed(str(n)))
    assert (await ledger.totals()).calls == begun
    await house.hears("spool_full")
    other.execute("ROLLBACK")
    other.close()
    await house.hears("spool_has_room")
    ledger.append(opened("again"))
    ledger.append(closed("again"))
    await ledger.flush()
    assert len(await house.rows()) == begun + 1


async def test_a_full_disk_refuses_new_calls_and_goes_on_by_itself(house):
    full = False

    def allocate(handle, size):
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        preallocate(handle, size)

    ledger = await house.enter(allocate=allocate, reserve_bytes=300)
    full = True
    with pytest.raises(StorageFull, match="No space left on device; free some space"):
        for n in range(10_000):
            ledger.append(opened(str(n)))
    for id in range(n):
        ledger.append(closed(str(id)))
    await house.hears("spool_full")
    full = False
    await house.hears("spool_has_room")
    ledger.append(opened("again"))
    await ledger.flush()
    assert len(await house.rows()) == n


async def test_a_disk_that_is_full_at_the_start_is_an_error_that_says_so(house):
    def allocate(handle, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    house.write([closed("a")])
    with pytest.raises(ConfigError, match="No space left on device; free some space"):
        await house.enter(allocate=allocate)
    await house.enter()
    assert list(await house.rows()) == ["a"]


# --- leaving ---


def tidegate_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tidegate-")]


async def test_leaving_leaves_no_thread_and_no_lock(house):
    ledger = await house.enter()
    for n in range(100):
        ledger.append(closed(str(n)))
    await house.leave()
    assert tidegate_threads() == []
    await house.enter()
    assert len(await house.rows()) == 100


async def test_whoever_is_cancelled_while_opening_leaves_nothing_behind(house):
    house.write([opened(str(n)) for n in range(40)])
    for turns in range(12):
        task = asyncio.create_task(house.enter())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        else:
            await house.leave()
    assert tidegate_threads() == []
    await house.enter()
    assert len(await house.rows()) == 40


async def test_a_record_after_the_end_is_refused(house):
    ledger = await house.enter()
    await house.leave()
    with pytest.raises(StorageFull, match="leaving"):
        ledger.append(closed("late"))


async def test_a_row_is_stored_without_being_asked_for(house):
    ledger = await house.enter()
    ledger.append(closed("a"))
    async with asyncio.timeout(30):
        while not await house.store.books.find("a"):  # each a round through a thread
            pass


# --- speed, printed and never judged ---


async def test_what_a_call_costs_the_event_loop(house, capsys):
    ledger = await house.enter(segment_bytes=8 << 20, max_spool_bytes=256 << 20)
    took = []
    for n in range(5000):
        first, last = opened(f"call {n}"), closed(f"call {n}")
        begin = time.perf_counter_ns()
        ledger.append(first)
        ledger.append(last)
        took.append(time.perf_counter_ns() - begin)
        if n % 20 == 0:
            await asyncio.sleep(0)
    took.sort()
    begin = time.perf_counter()
    await ledger.flush()
    with capsys.disabled():
        print(
            f"\nopened + closed: p50 {took[2500] / 1e3:.1f} µs, p99 {took[4950] / 1e3:.1f} µs on the event loop; ",
            end="",
        )
        print(f"the last was stored {1e3 * (time.perf_counter() - begin):.0f} ms later")
    assert (await ledger.totals()).calls == 5000
