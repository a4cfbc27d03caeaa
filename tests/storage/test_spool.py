"""Nothing that was said to the spool is lost, whatever becomes of its process, its files or its disk."""

import errno
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.core.errors import ConfigError, StorageFull
from tidegate.storage.segments import MAGIC, preallocate, scan
from tidegate.storage.spool import Spool

SEGMENT = 4096
HEAD = 8


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def make_spool(folder):
    made = []

    def make(**options):
        options = {"segment_bytes": SEGMENT, "max_bytes": 64 * SEGMENT, "reserve_bytes": 200} | options
        spool = Spool(folder, **options)
        made.append(spool)
        spool.begin(after=0)
        spool.prepare()
        return spool

    yield make
    for spool in made:
        spool.close()


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name not in ("lock", "id"))


def payloads(path):
    return [frame.payload for frame in scan(path.read_bytes()).frames]


def segment_of(records):
    """The bytes of a segment that holds these, as the spool writes them."""
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder), segment_bytes=SEGMENT, max_bytes=64 * SEGMENT, reserve_bytes=0)
        spool.begin(after=0)
        for n, record in enumerate(records):
            spool.append(str(n), record, closes=True)
        data = (Path(folder) / "0000000001.seg").read_bytes()
        spool.close()
    return data


class FullDisk:
    """Allocates as long as there is room."""

    def __init__(self):
        self.room = 10**9

    def __call__(self, handle, size):
        if size > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= size
        preallocate(handle, size)


# --- what is on disk ---


def test_what_was_appended_is_in_the_file_at_once(make_spool, folder):
    spool = make_spool()
    spool.append("a", b"opening", closes=False)
    spool.append("a", b"row", closes=True)
    assert payloads(folder / "0000000001.seg") == [b"opening", b"row"]


def test_records_of_one_byte_and_of_the_largest_size_come_back(make_spool, folder):
    largest = SEGMENT - len(MAGIC) - HEAD
    spool = make_spool()
    spool.append("a", b"x", closes=True)
    spool.append("b", bytes(largest), closes=True)
    assert [entry.segment.payload(entry.start, entry.end) for entry in spool.oldest(9)] == [b"x", bytes(largest)]
    with pytest.raises(StorageFull, match="too large"):
        spool.append("c", bytes(largest + 1), closes=True)


def test_an_empty_segment_is_in_order():
    for data in (b"", bytes(3), bytes(SEGMENT), MAGIC, MAGIC + bytes(100)):
        assert scan(data) == ([], 0, 0)


def test_a_record_that_was_torn_at_any_byte_is_cut_off_and_the_others_stay():
    first, second, last = b"first" * 9, b"second" * 9, b"last" * 30
    whole = segment_of([first, second, last])
    begin = scan(whole).frames[-1].start
    body = begin + HEAD
    for cut in range(len(last)):  # the payload is written before its head
        torn = whole[:begin] + bytes(HEAD) + last[:cut] + bytes(len(last) - cut) + whole[body + len(last) :]
        found = scan(torn)
        assert [frame.payload for frame in found.frames] == [first, second]
        assert found.damaged == 0
        assert found.torn == (HEAD + cut if cut else 0)
    for cut in range(HEAD):  # a head comes in one piece; should it not, that is damage, and harmless too
        torn = whole[: begin + cut] + bytes(HEAD - cut) + whole[body:]
        assert [frame.payload for frame in scan(torn).frames] == [first, second]
    for cut in range(begin, body + len(last)):  # a file that ends too early
        assert [frame.payload for frame in scan(whole[:cut]).frames] == [first, second]


@settings(max_examples=200, deadline=None)
@given(
    records=st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=12),
    wounds=st.lists(st.tuples(st.integers(0, 1200), st.binary(min_size=1, max_size=60)), min_size=1, max_size=4),
)
def test_damage_anywhere_never_crashes_and_costs_only_the_records_it_hit(records, wounds):
    whole = segment_of(records)
    data = bytearray(whole)
    for at, garbage in wounds:
        data[at : at + len(garbage)] = garbage
    data = bytes(data)
    found = scan(data)
    untouched = [
        frame for frame in scan(whole).frames if data[frame.start : frame.end] == whole[frame.start : frame.end]
    ]
    assert {frame.start for frame in untouched} <= {frame.start for frame in found.frames}
    assert all(frame in found.frames for frame in untouched)
    lost = len(records) - len(untouched)
    assert not lost or found.torn or found.damaged or not any(data[untouched[-1].end if untouched else len(MAGIC) :])


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=5000))
def test_any_garbage_can_be_scanned(data):
    scan(data)
    scan(MAGIC + data)


def test_a_whole_segment_of_garbage_is_scanned_in_bounded_time():
    found = scan(MAGIC + os.urandom(8 << 20))
    assert found.frames == []
    assert found.damaged > 8_000_000


# --- rows that wait, calls under way ---


def test_rows_wait_in_order_until_they_are_released(make_spool):
    spool = make_spool()
    for n in range(200):
        spool.append(str(n), f"row {n}".encode(), closes=True)
    assert [entry.call_id for entry in spool.oldest(3)] == ["0", "1", "2"]
    assert spool.find("150") == b"row 150"
    spool.release(spool.oldest(199))
    assert spool.find("150") is None
    assert [entry.call_id for entry in spool.oldest(3)] == ["199"]
    assert (spool.appended, spool.released) == (200, 199)


def test_what_was_said_before_is_not_written_again(make_spool, folder):
    spool = make_spool()
    assert spool.append("a", b"opening", closes=False) is True
    assert spool.append("a", b"opening", closes=False) is False
    assert spool.append("a", b"row", closes=True) is True
    assert spool.append("a", b"row", closes=True) is False
    assert payloads(folder / "0000000001.seg") == [b"opening", b"row"]


def test_segments_whose_rows_are_stored_are_removed(make_spool, folder):
    spool = make_spool()
    for n in range(400):
        spool.append(str(n), bytes(90), closes=True)
    assert len(files(folder)) > 9
    spool.release(spool.oldest(400))
    spool.trim()
    assert len(files(folder)) <= 2


def test_segments_whose_rows_wait_are_kept(make_spool, folder):
    spool = make_spool()
    for n in range(400):
        spool.append(str(n), bytes([n % 256]) * 90, closes=True)
    before = files(folder)
    spool.release(spool.oldest(1))
    spool.trim()
    assert files(folder) == before
    assert spool.find("1") == bytes([1]) * 90


def test_a_call_under_way_outlives_its_segment(make_spool, folder):
    spool = make_spool()
    spool.append("long", b"the opening of a long call", closes=False)
    for n in range(400):
        spool.append(str(n), bytes(90), closes=True)
        spool.release(spool.oldest(1))
        spool.prepare()
        spool.trim()
        assert len(files(folder)) <= 4
    assert "0000000001.seg" not in files(folder)
    assert any(b"the opening of a long call" in payloads(folder / name) for name in files(folder))
    spool.append("long", b"its row", closes=True)
    assert spool.find("long") == b"its row"


def test_very_many_calls_under_way_are_not_copied_for_ever(make_spool, folder):
    spool = make_spool(max_bytes=10_000 * SEGMENT)
    for n in range(1000):
        spool.append(f"long {n}", bytes(90), closes=False)
    spool.prepare()
    before = files(folder)
    for _ in range(20):
        spool.trim()
    assert files(folder) == before
    for n in range(1000):
        spool.append(f"long {n}", bytes(9), closes=True)
    spool.release(spool.oldest(1000))
    spool.trim()
    assert set(files(folder)).isdisjoint(before[:20])


def test_when_all_is_stored_closing_leaves_no_segment(make_spool, folder):
    spool = make_spool()
    spool.append("a", b"row", closes=True)
    spool.release(spool.oldest(1))
    spool.close()
    assert files(folder) == []
    with pytest.raises(StorageFull, match="leaving"):
        spool.append("b", b"row", closes=True)


def test_closing_keeps_what_is_not_stored(make_spool, folder):
    spool = make_spool()
    spool.append("a", b"opening", closes=False)
    spool.append("b", b"row", closes=True)
    spool.close()
    assert payloads(folder / "0000000001.seg") == [b"opening", b"row"]
    assert spool.find("b") is None


def test_a_new_process_begins_above_all_that_was_there(make_spool, folder):
    spool = make_spool()
    spool.append("a", b"row", closes=True)
    spool.close()
    (folder / "0000000007.corrupt").write_bytes(b"")
    again = make_spool()
    assert [path.name for path in again.leftovers] == ["0000000001.seg"]
    assert again.id == spool.id
    again.append("b", b"row b", closes=True)
    assert payloads(folder / "0000000008.seg") == [b"row b"]


def test_a_new_process_begins_above_what_a_database_has_read(folder):
    spool = Spool(folder)
    spool.begin(after=41)
    assert files(folder) == ["0000000042.seg"]
    spool.close()


def test_many_threads_do_not_write_over_each_other(make_spool, folder):
    spool = make_spool(max_bytes=1000 * SEGMENT)

    def write(name):
        for n in range(300):
            spool.append(f"{name} {n}", f"{name} {n}".encode() * 5, closes=True)

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        spool.prepare()
    written = [payload for name in files(folder) for payload in payloads(folder / name)]
    assert sorted(written) == sorted(f"{name} {n}".encode() * 5 for name in "abcd" for n in range(300))


# --- a full disk ---


def test_on_a_full_disk_calls_are_refused_and_those_under_way_can_end(make_spool, folder):
    disk = FullDisk()
    spool = make_spool(allocate=disk)
    disk.room = 0
    begun = 0
    with pytest.raises(StorageFull, match="free some space"):
        for begun in range(1000):
            spool.append(f"call {begun}", bytes(60), closes=False)
    assert begun > 20
    before = [payloads(folder / name) for name in files(folder)]
    with pytest.raises(StorageFull):
        spool.append("refused", bytes(1000), closes=True)
    assert [payloads(folder / name) for name in files(folder)] == before
    for n in range(begun):
        spool.append(f"call {n}", bytes(170), closes=True)
    assert spool.waiting == begun


def test_when_the_disk_has_room_again_it_goes_on_by_itself(make_spool):
    disk = FullDisk()
    spool = make_spool(allocate=disk)
    disk.room = 0
    with pytest.raises(StorageFull):
        for n in range(1000):
            spool.append(str(n), bytes(60), closes=True)
    disk.room = 10**6
    spool.prepare()
    assert spool.trouble is None
    assert spool.append("again", b"row", closes=True)


def test_a_spool_at_its_bound_refuses_until_rows_are_stored(make_spool, folder):
    spool = make_spool(max_bytes=4 * SEGMENT)
    with pytest.raises(StorageFull, match="database"):
        for n in range(1000):
            spool.append(str(n), bytes(60), closes=True)
    assert len(files(folder)) == 4
    assert all((folder / name).stat().st_size == SEGMENT for name in files(folder))
    spool.release(spool.oldest(1000))
    spool.trim()
    spool.prepare()
    assert spool.append("again", b"row", closes=True)


def test_a_bound_below_four_segments_is_refused(folder):
    with pytest.raises(ConfigError, match="4 segments"):
        Spool(folder, segment_bytes=SEGMENT, max_bytes=SEGMENT)


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is of POSIX")
def test_a_real_limit_of_the_system_is_an_error_and_leaves_no_half_segment(folder):
    code = f"""
import pathlib, resource
from tidegate.core.errors import StorageFull
from tidegate.storage.spool import Spool
spool = Spool(pathlib.Path({str(folder)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    spool.begin(after=0)
except StorageFull as full:
    print(full.message)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "File too large; free some space" in said
    assert files(folder) == []


# --- whose folder it is ---


def test_a_second_process_is_told_who_has_the_folder(make_spool, folder):
    make_spool()
    code = f"""
import pathlib
from tidegate.core.errors import ConfigError
from tidegate.storage.spool import Spool
try:
    Spool(pathlib.Path({str(folder)!r}))
except ConfigError as error:
    print(error.message)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert f"process {os.getpid()} uses" in said
    assert "storage.data_dir" in said


def test_the_folder_is_free_when_its_process_has_left_it(make_spool):
    make_spool().close()
    make_spool()


@pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")
def test_nobody_else_can_read_it(make_spool, folder):
    make_spool()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir() if path.name != "id"} == {0}


def test_an_id_that_was_lost_makes_a_new_spool(make_spool, folder):
    first = make_spool()
    first.close()
    (folder / "id").write_text("")
    again = make_spool()
    assert again.id != first.id
    assert len(again.id) == 16
