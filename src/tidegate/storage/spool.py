"""What outlives this process before a database has it? Records in append-only segments, one folder to a process."""

from __future__ import annotations

import os
import re
import secrets
import sys
import threading
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from tidegate.core.errors import ConfigError, StorageFull
from tidegate.storage.segments import HEAD_BYTES, MAGIC, MAX_RECORD, Segment, preallocate

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

SEGMENT_BYTES = 8 << 20
MAX_BYTES = 256 << 20
AT_HAND = 10_000  # rows that wait and are kept in memory too
RESERVE_BYTES = 2048  # set aside for the end of every call that was opened, beside what it repeats of its opening

_NAME = re.compile(r"(\d{10})\.(seg|corrupt)")


class Entry(msgspec.Struct, frozen=True, eq=False):
    """A row that no database has yet, and where it stands."""

    call_id: str
    segment: Segment
    start: int
    end: int
    row: Any = None  # what was written there, to spare whoever moves it on the reading; None when too many wait


class Spool:
    """A folder of segments, claimed by this process: rows that wait for a database, and calls under way.

    Nobody ever appends to a segment of another process: what was found is in `leftovers`, to be read and removed by
    whoever recovers; then `begin`. From then on `append` belongs to the event loop, `prepare`, `release` and `trim` to
    the one thread that moves rows on.

    Room is claimed ahead. A call is opened only if there is room for its end and for the ends of all that were opened
    before (`reserve_bytes` each, and as much as its opening took), so that on a full disk what was begun can still be
    accounted for.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        max_bytes: int = MAX_BYTES,
        reserve_bytes: int = RESERVE_BYTES,
        allocate: Callable[[int, int], None] = preallocate,
    ) -> None:
        """Raises ConfigError when another process has the folder or the bounds make no sense; OSError."""
        if max_bytes < 4 * segment_bytes:
            raise ConfigError(f"the spool must be allowed 4 segments, {4 * segment_bytes} bytes, and not {max_bytes}")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._claim = claim(folder)
        self.folder = folder
        self.trouble: str | None = None  # why no segment can be made
        self.appended = 0  # rows so far
        self.released = 0
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._max_record = min(MAX_RECORD, segment_bytes - len(MAGIC) - HEAD_BYTES)
        self._reserve_bytes = reserve_bytes
        self._allocate = allocate
        self._lock = threading.RLock()
        self._closed = False
        self._segments: list[Segment] = []
        self._ahead: deque[Segment] = deque()
        self._open: dict[str, tuple[Segment, int, int]] = {}  # calls under way: where their opening begins and ends
        self._live = 0  # bytes of their openings
        self._queue: deque[Entry] = deque()
        self._waiting: dict[str, Entry] = {}
        try:
            self.id = _identity(folder)
            names = [(found, path) for path in folder.iterdir() if (found := _NAME.fullmatch(path.name))]
        except BaseException:
            os.close(self._claim)
            raise
        self._number = max((int(found[1]) for found, _ in names), default=0)
        self.leftovers = sorted(path for found, path in names if found[2] == "seg")

    def begin(self, after: int) -> None:
        """Make the first segment, with a number above `after` and above all that were found. Raises StorageFull."""
        self._number = max(self._number, after)
        self._make()
        self._current = self._ahead.popleft()

    # --- from the event loop ---

    def append(self, call_id: str, payload: bytes, *, closes: bool, row: Any = None) -> bool:
        """False when this was said before. Raises StorageFull; then nothing was written."""
        with self._lock:
            if call_id in self._waiting:
                return False
            return self._close(call_id, payload, row) if closes else self._begin(call_id, payload)

    def _begin(self, call_id: str, payload: bytes) -> bool:
        if call_id in self._open:
            return False
        segment, size = self._current, len(payload) + HEAD_BYTES
        most = self._live + (len(self._open) + 1) * self._reserve_bytes + 2 * size
        if self._closed or segment.size - segment.end < most or size > self._max_record:  # else there is room for all
            segment = self._room_for(len(payload), promised=False, opens=True)
        start, end = segment.put(payload)
        self._open[call_id] = (segment, start, end)
        self._live += size
        return True

    def _close(self, call_id: str, payload: bytes, row: Any) -> bool:
        opening = self._open.get(call_id)
        segment, size = self._current, len(payload) + HEAD_BYTES
        # What was opened has the room that it needs now.
        if self._closed or opening is None or segment.size - segment.end < size or size > self._max_record:
            segment = self._room_for(len(payload), promised=opening is not None, opens=False)
        start, end = segment.put(payload)
        if opening is not None:
            del self._open[call_id]
            self._live -= opening[2] - opening[1]
        entry = Entry(call_id, segment, start, end, row if len(self._queue) < AT_HAND else None)
        self._waiting[call_id] = entry
        self._queue.append(entry)
        segment.waiting += 1
        self.appended += 1
        return True

    def find(self, call_id: str) -> bytes | None:
        """The row of `call_id`, while it waits here."""
        with self._lock:
            entry = self._waiting.get(call_id)
            return entry.segment.payload(entry.start, entry.end) if entry else None

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def bytes(self) -> int:
        """Of its files."""
        return len(self._segments) * self._segment_bytes

    def _room_for(self, payload_bytes: int, *, promised: bool, opens: bool) -> Segment:
        """Where it can be put. Raises StorageFull."""
        if self._closed:
            raise StorageFull(f"the spool in {self.folder} is closed: this process is leaving")
        if payload_bytes > self._max_record:
            raise StorageFull(f"a record of {payload_bytes} bytes is too large: the spool takes {self._max_record}")
        need = payload_bytes + HEAD_BYTES
        spare = 0 if promised else self._reserved + opens * (self._reserve_bytes + need)
        current = self._current
        if current.size - current.end - need >= spare:
            return current
        while self._free - need < spare:
            if self.trouble is not None:
                raise StorageFull(self.trouble, retry_after_s=5)
            self._make()
        self._turn_to(need)
        return self._current

    def _turn_to(self, need: int) -> None:
        """Let the current segment be one with so much room. There is one, or `_free` would have been too small."""
        if self._current.free < need:
            self._current = self._ahead.popleft()

    @property
    def _free(self) -> int:
        return self._current.free + sum(segment.free for segment in self._ahead)

    @property
    def _reserved(self) -> int:
        return len(self._open) * self._reserve_bytes + self._live

    def _make(self) -> None:
        """One segment more, ahead of the others."""
        with self._lock:
            taken = len(self._segments) * self._segment_bytes
            if taken + self._segment_bytes > self._max_bytes:
                self.trouble = (
                    f"{taken >> 20} MiB of records wait in {self.folder} for a database that does not take them, and "
                    "more they may not be; see to the database"
                )
                raise StorageFull(self.trouble, retry_after_s=5)
            self._number += 1
            number = self._number
        try:
            segment = Segment(self.folder / f"{number:010}.seg", number, self._segment_bytes, self._allocate)
        except OSError as error:
            self.trouble = (
                f"no room for the records of calls in {self.folder}: {error.strerror or error}; "
                "free some space, or move storage.data_dir to a larger disk"
            )
            raise StorageFull(self.trouble, retry_after_s=5) from error
        with self._lock:
            self._segments.append(segment)
            self._ahead.append(segment)
        self.trouble = None

    # --- from the thread that moves rows on ---

    def prepare(self) -> None:
        """Have a segment ahead of need, and room for what was promised. Tries again what failed; see `trouble`."""
        while True:
            with self._lock:
                if self._free >= self._reserved + self._segment_bytes:
                    self.trouble = None
                    return
            try:
                self._make()
            except StorageFull:
                return

    def oldest(self, most: int) -> list[Entry]:
        """The rows that have waited longest, in order. They stay until they are released."""
        with self._lock:
            return list(islice(self._queue, most))

    def release(self, entries: list[Entry]) -> None:
        """The database has these, the oldest."""
        with self._lock:
            for entry in entries:
                self._queue.popleft()
                del self._waiting[entry.call_id]
                entry.segment.waiting -= 1
            self.released += len(entries)

    def trim(self) -> None:
        """Remove segments that hold nothing any more.

        A few calls that are still under way do not hold a segment: their openings are copied to the current one. Many
        do, or with very many calls under way this would copy for ever; so at most four times their bytes are kept.
        """
        with self._lock:
            full = [segment for segment in self._segments if segment not in (self._current, *self._ahead)]
        for segment in full:
            if segment.waiting or not self._carry_over(segment):
                continue
            with self._lock:
                self._segments.remove(segment)
            segment.remove()

    def _carry_over(self, segment: Segment) -> bool:
        opened = self._opened_in(segment)
        if sum(end - start for _, start, end in opened) > segment.size // 4:
            return False
        for call_id, start, end in opened:
            with self._lock:  # for each anew: the event loop must not wait for all of them
                if call_id not in self._open:
                    continue
                if self._free - (end - start) < self._reserved:
                    return False
                self._turn_to(end - start)
                self._open[call_id] = (self._current, *self._current.put(segment.payload(start, end)))
        return True

    def _opened_in(self, segment: Segment) -> list[tuple[str, int, int]]:
        """Calls under way whose opening stands there."""
        with self._lock:
            return [(call_id, start, end) for call_id, (there, start, end) in self._open.items() if there is segment]

    def close(self) -> None:
        """Give the folder back. What is in no database yet stays, for whoever opens it next."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._waiting.clear()
            for segment in self._segments:
                if segment.waiting or self._opened_in(segment):
                    segment.close()
                else:
                    segment.remove()
            os.close(self._claim)


def claim(folder: Path) -> int:
    """Lock the folder for as long as this process lives, and leave its number for whoever comes second."""
    path = folder / "lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform == "win32":
            os.lseek(handle, 1 << 10, os.SEEK_SET)  # behind the text: what is locked cannot be read there
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if not isinstance(error, BlockingIOError | PermissionError):
            raise
        owner = path.read_text("ascii", "replace").strip() or "unknown"
        raise ConfigError(
            f"process {owner} uses the spool in {folder}: stop that one, or give this one its own storage.data_dir"
        ) from error
    os.lseek(handle, 0, os.SEEK_SET)
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    return handle


def _identity(folder: Path) -> str:
    """The name under which databases remember how far they have read this spool. A new folder is a new spool."""
    path = folder / "id"
    known = path.read_text("ascii", "replace").strip() if path.exists() else ""
    if not re.fullmatch(r"[0-9a-f]{16}", known):
        known = secrets.token_hex(8)
        path.write_text(f"{known}\n", "ascii")
    return known
