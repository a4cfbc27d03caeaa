"""How is the log's state put beyond anybody's reach? Signed every so often, and sent off this machine."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shlex
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tidegate.core.errors import ConfigError, StoreDown
from tidegate.core.merkle import Tree
from tidegate.core.ports import Timeouts, Transport
from tidegate.core.posting import post, refusal
from tidegate.core.values import Secret
from tidegate.storage.audit.log import HASHES, Log
from tidegate.storage.audit.notes import ORIGIN, Checkpoint, Signer

Notice = Callable[[str, Mapping[str, Any]], None]

EXEC = "exec:"
URLS = ("https://", "http://")
COMMAND_S = 30.0
TIMEOUTS = Timeouts(connect=5, first_byte=10, idle=5, total=15)
HASH = 32


class Exports:
    """Where signed states go. Each takes a note's text; what it cannot take now is sent again with the next."""

    def __init__(self, configured: Sequence[Secret], transport: Transport | None = None) -> None:
        """Without a transport (a command, and no gateway) what goes to a URL waits for the gateway.

        Raises ConfigError.
        """
        self._configured = configured
        self._transport = transport
        for at, one in enumerate(configured):
            if one.value.startswith(URLS) and not urlsplit(one.value).hostname:
                raise ConfigError(f"audit.export[{at}]: must be like https://HOST/PATH")

    def __bool__(self) -> bool:
        return bool(self._configured)

    @property
    def reachable(self) -> bool:
        return self._transport is not None or not any(one.value.startswith(URLS) for one in self._configured)

    async def send(self, checkpoint: Checkpoint) -> str | None:
        """Why it could not be; None when everybody has it."""
        for at, one in enumerate(self._configured):
            why = await self._send(one.value, checkpoint.note)
            if why is not None:
                return f"audit.export[{at}]: {why}"
        return None

    async def _send(self, to: str, note: str) -> str | None:
        if to.startswith(URLS):
            return await self._post(to, note)
        try:
            if to.startswith(EXEC):
                return await asyncio.to_thread(_run, to.removeprefix(EXEC), note)
            await asyncio.to_thread(_append, Path(to), note)
        except (OSError, ValueError, subprocess.TimeoutExpired) as wrong:
            return f"{type(wrong).__name__}: {wrong}"
        return None

    async def _post(self, url: str, note: str) -> str | None:
        if self._transport is None:
            return "only the gateway sends to a URL"
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"user-agent", b"tidegate")]
        return refusal(await post(self._transport, url, headers, note.encode(), TIMEOUTS))


BETWEEN = "\n----\n\n"  # what ends every note in a file
LONGEST = 4096  # bytes; a note has about 250


def _append(path: Path, note: str) -> None:
    """All of it or nothing, also where the disk fills up in its middle. Raises OSError, ValueError."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            _write(handle, f"{note}{BETWEEN}".encode())
            return
        fcntl.flock(handle, fcntl.LOCK_EX)  # several processes may send to one file
        whole = _whole(handle, path)
        os.ftruncate(handle, whole)  # a note that somebody died over; it is sent again
        try:
            _write(handle, f"{note}{BETWEEN}".encode())
        except OSError:
            os.ftruncate(handle, whole)
            raise
    finally:
        os.close(handle)


def _whole(handle: int, path: Path) -> int:
    """Up to where there are whole notes. Raises ValueError where something else follows them."""
    size = os.fstat(handle).st_size
    first = max(size - LONGEST, 0)
    last = os.pread(handle, size - first, first)
    end = last.rfind(BETWEEN.encode())
    torn = last[end + len(BETWEEN) :] if end >= 0 else last
    if (end < 0 and first) or not (torn.startswith(ORIGIN.encode()) or ORIGIN.encode().startswith(torn)):
        raise ValueError(f"{path} ends with what is no checkpoint; name another file, or take that out of it")
    return size - len(torn)


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _run(command: str, note: str) -> str | None:
    ended = subprocess.run(
        shlex.split(command), input=note.encode(), capture_output=True, timeout=COMMAND_S, check=False
    )
    return None if ended.returncode == 0 else f"{command[:60]} ended with {ended.returncode}"


class Notary:
    """Signs the state of one writer's chain."""

    def __init__(
        self, log: Log, signer: Signer, writer: str, exports: Exports, notice: Notice, wall_ns: Callable[[], int]
    ) -> None:
        self.signer = signer
        self._log = log
        self._writer = writer
        self._exports = exports
        self._notice = notice
        self._wall_ns = wall_ns
        self._tree: Tree | None = None
        self._failing = False  # and said so
        self._one_at_a_time = asyncio.Lock()
        self.signed = self.exported = 0  # entries

    async def run(self, every_s: float) -> None:
        """For ever. A database that is away is asked again the next time."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.sign()
            except StoreDown as down:
                self._told("audit_not_signed", down.message)

    async def sign(self) -> Checkpoint | None:
        """The state now, signed, kept and exported; None when nothing is new. Raises StoreDown."""
        async with self._one_at_a_time:
            made = await self._sign()
            await self._export()
            return made

    async def _sign(self) -> Checkpoint | None:
        if self._tree is None:
            signed = await self._log.signed(self._writer)
            peaks = signed.peaks if signed is not None else b""
            size = signed.checkpoint.size if signed is not None else 0
            self._tree = Tree(size, [peaks[at : at + HASH] for at in range(0, len(peaks), HASH)])
        tree, before = self._tree, self._tree.size
        size = await self._log.size(self._writer)
        if size < before:
            self._told("audit_log_cut", f"{before} entries of {self._writer} were signed, and {size} are there")
            return None
        grown = Tree(tree.size, tree.peaks)
        while grown.size < size:
            hashes = await self._log.hashes(self._writer, grown.size, min(size, grown.size + HASHES))
            if not hashes:
                break
            await asyncio.to_thread(_grow, grown, hashes)
        if grown.size == before:
            return None
        made = self.signer.sign(self._writer, grown.size, grown.root, self._wall_ns() // 1_000_000)
        await self._log.keep(made, b"".join(grown.peaks))
        self._tree = grown
        self.signed = grown.size
        return made

    async def _export(self) -> None:
        if not self._exports or not self._exports.reachable:
            return
        for checkpoint in await self._log.waiting():
            why = await self._exports.send(checkpoint)
            if why is not None:
                self._told("audit_not_exported", why)
                return
            await self._log.exported(checkpoint)
            if checkpoint.writer == self._writer:
                self.exported = checkpoint.size
            self._failing = False

    def _told(self, name: str, why: str) -> None:
        if not self._failing:  # once, until all is well again
            self._failing = True
            self._notice(name, {"error": why})


def _grow(tree: Tree, hashes: Sequence[bytes]) -> None:
    for one in hashes:
        tree.add(one)
