"""How is a process of ours kept running, and never left behind?"""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import msgspec

from tidegate.core.errors import UpstreamFailed

READY_S = 60.0  # from its start to its address
LEAVE_S = 2.0  # from the end of its input to the end of it
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 60.0  # between a death and the next start; doubled from death to death
STEADY_S = 60.0  # one that lived so long did not die of its start
KEPT = 4096  # bytes of what it says

# What a program that reads strangers' prompts gets to see of our environment: no provider's key is among it.
ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "TMPDIR", "TEMP", "SYSTEMROOT")


class Supervised:
    """A process of ours that serves HTTP: started, watched, started again when it dies, and ended with us.

    It says where it can be asked in one line of JSON, and leaves when its standard input ends; so it cannot outlive us,
    whatever ends us.
    """

    def __init__(self, what: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.address = ""  # http://127.0.0.1:PORT, while it may be asked
        self.trouble: str | None = None  # why it may not, for people; None too while it gets ready
        self.tell: Callable[[str], None] = _nobody  # hears the address each time that it changes
        self._what = what
        self._command = command
        self._environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ} | dict(environment)
        self._settled = asyncio.Event()  # it may be asked, or is known not to be ready soon
        self._life: asyncio.Task[Life] | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when it may be asked. Raises UpstreamFailed when that is not to be soon."""
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(), name=f"keep {self._what}")
        await self._settled.wait()
        if self.trouble:
            raise UpstreamFailed(self.trouble)

    async def aclose(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        self.address, self.trouble = "", f"{self._what} has been ended"
        self.tell("")
        self._settled.set()
        await self._end()

    async def _keep(self) -> None:
        """Run it, again and again."""
        loop = asyncio.get_running_loop()
        wait_s = FIRST_WAIT_S
        while True:
            began = loop.time()
            why = await self._run()
            wait_s = FIRST_WAIT_S if loop.time() - began > STEADY_S else wait_s
            self.address, self.trouble = "", f"{self._what} ended ({why}); it is started again within {wait_s:g} s"
            self.tell("")
            self._settled.set()
            await self._end()
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            self._settled.clear()
            self.trouble = None

    async def _run(self) -> str:
        """Start it, and wait for its end. Why it ended."""
        # A task of its own, never cancelled: a start that is cancelled half-way leaves a process that nobody holds.
        self._life = asyncio.create_task(_begin(self._command, self._environment))
        await asyncio.wait([self._life])
        if isinstance(wrong := self._life.exception(), OSError):
            return f"it cannot be started: {wrong.strerror}"
        life = self._life.result()
        await asyncio.wait([life.spoke, life.ended], timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
        if life.spoke.done():
            try:
                said = msgspec.json.decode(life.line, type=dict[str, str])
            except msgspec.DecodeError:
                return "it said something else than its address"
            if "address" not in said:
                return said.get("error", "it gave no address")
            self.address = said["address"]
            self.tell(self.address)
            self._settled.set()
        elif not life.ended.done():
            return f"it was not ready after {READY_S:g} s"
        await asyncio.wait([life.ended])
        return life.epitaph()

    async def _end(self) -> None:
        """Let it leave, or make it."""
        if self._life is None:
            return
        await asyncio.wait([self._life])
        if self._life.exception() is None:
            life = self._life.result()
            life.stdin.close()
            await asyncio.wait([life.ended], timeout=LEAVE_S)
            life.transport.close()  # kills it, if it is still there
            await asyncio.wait([life.ended], timeout=LEAVE_S)


def _nobody(address: str) -> None:
    pass


async def _begin(command: Sequence[str], environment: Mapping[str, str]) -> Life:
    loop = asyncio.get_running_loop()
    _, life = await loop.subprocess_exec(Life, *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment)
    return life


class Life(asyncio.SubprocessProtocol):
    """One run of a process: its first line, and what it wrote last to standard error. Read all the time, for a full
    pipe would stop it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.line = b""
        self.spoke: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()  # and its pipes are closed
        self._last_words = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.SubprocessTransport, transport)
        self.stdin = cast(asyncio.WriteTransport, self.transport.get_pipe_transport(0))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._last_words = (self._last_words + data)[-KEPT:]
        elif not self.spoke.done():
            self.line += data
            if b"\n" in data or len(self.line) > KEPT:
                self.spoke.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def epitaph(self) -> str:
        words = self._last_words.decode(errors="replace").strip().splitlines()
        return f"exit code {self.transport.get_returncode()}" + (f": {words[-1]}" if words else "")
