"""How many calls, how fast? Load from a process of its own: `wrk` for closed loops where it is installed, else ours.

`python -m bench.load` reads a Job as JSON from standard input and prints a Result. A closed loop has so many
connections, each of which asks again when it was answered. An open loop asks at times that were drawn before, whatever
became of the calls so far. Our own compares every reply with what the mock says.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import msgspec

from bench.environments import ROOT
from bench.procs import Unavailable
from tidegate.plugins import loop_factory

MAX_CONNECTIONS = 256  # of an open loop; a gateway that needs more does not keep up
LETTERS = bytes.maketrans(b"0123456789", b"abcdefghij")
PATIENCE_S = 20.0  # for all that is still under way when a loop has ended


class Job(msgspec.Struct, frozen=True):
    """What is asked, how often, and what the answer must be."""

    url: str
    headers: dict[str, str]
    body: bytes
    connections: int
    expect: tuple[bytes, ...]  # what every body holds
    whole: bool = False  # `expect` is all of it, to the byte
    seconds: float = 0.0  # a loop ends after so long, or
    calls: int = 0  # after so many calls
    rate: float = 0.0  # calls per second of an open loop; 0: a closed one
    seed: int = 0
    word: bytes = b""  # of `body`: in its place each call says one of its own, which the seed decides


class Result(msgspec.Struct, frozen=True):
    calls: int
    errors: int  # no 2xx, another answer than expected, or none
    seconds: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    first_p50_ms: float | None = None  # until the first byte of a body
    said: str = ""  # of the first error

    @property
    def per_second(self) -> float:
        return self.calls / self.seconds


def run(job: Job) -> Result:
    """Do `job` in a process of its own. Raises Unavailable when that fails."""
    if job.seconds >= 1 and not job.rate and not job.calls and not job.word and shutil.which("wrk"):
        return _wrk(job)
    out = _ask([sys.executable, "-m", "bench.load"], job.seconds, msgspec.json.encode(job))
    return msgspec.json.decode(out, type=Result)


def _ask(command: list[str], seconds: float, given: bytes = b"") -> bytes:
    patience_s = seconds + 2 * PATIENCE_S + 10
    done = subprocess.run(command, input=given, capture_output=True, timeout=patience_s, cwd=ROOT)
    if done.returncode:
        raise Unavailable(f"the load generator failed: {done.stderr.decode('utf-8', 'replace')[-400:].strip()}")
    return done.stdout


# --- wrk ------------------------------------------------------------------------------------------------------------

LUA = """
wrk.method, wrk.body = "POST", %s
for name, value in pairs({%s}) do wrk.headers[name] = value end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n{"calls":%%d,"errors":%%d,"seconds":%%f,"p50_ms":%%f,"p99_ms":%%f}\\n', summary.requests,
    e.connect + e.read + e.write + e.status + e.timeout, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3))
end
"""


def _wrk(job: Job) -> Result:
    headers = ", ".join(f"[ {_lua(name)} ] = {_lua(value)}" for name, value in job.headers.items())
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "wrk.lua")
        script.write_text(LUA % (_lua(job.body.decode()), headers))
        how = ["-t1", f"-c{job.connections}", f"-d{round(job.seconds)}s", "--timeout", "20s"]
        out = _ask(["wrk", *how, "-s", str(script), job.url], job.seconds)
    said = next(line for line in out.splitlines() if line.startswith(b"{"))
    return msgspec.json.decode(said, type=Result)


def _lua(text: str) -> str:
    return f"[======[{text}]======]"


# --- our own ----------------------------------------------------------------------------------------------------------


class Client(asyncio.Protocol):
    """One connection, one call at a time."""

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop, words: Iterator[bytes]) -> None:
        url = urlsplit(job.url)
        self._job = job
        self._loop = loop
        self._where = (url.hostname or "127.0.0.1", url.port or 80)
        lines = [f"POST {url.path} HTTP/1.1", f"host: {url.netloc}", f"content-length: {len(job.body)}"]
        lines += [f"{name}: {value}" for name, value in job.headers.items()]
        self._request = "\r\n".join(lines).encode() + b"\r\n\r\n" + job.body
        self._words = words
        self._transport: asyncio.Transport | None = None
        self._pieces: list[bytes] = []
        self._answered: asyncio.Future[None] | None = None
        self._first_at = 0.0

    async def call(self, tally: Tally) -> None:
        if self._transport is None or self._transport.is_closing():
            try:
                await self._loop.create_connection(lambda: self, *self._where)
            except OSError as error:
                tally.wrong(str(error))
                await asyncio.sleep(0.01)
                return
        self._pieces.clear()
        self._first_at = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._answered = self._loop.create_future()
        began = time.perf_counter()
        request = self._request
        if self._job.word:
            request = request.replace(self._job.word, next(self._words))
        cast(asyncio.Transport, self._transport).write(request)
        try:
            await self._answered
        except (ConnectionError, httptools.HttpParserError) as error:
            tally.wrong(repr(error))
            return
        ended = time.perf_counter()
        body = b"".join(self._pieces)
        status = self._parser.get_status_code()
        whole = body == self._job.expect[0] if self._job.whole else all(part in body for part in self._job.expect)
        if not 200 <= status < 300 or not whole:
            tally.wrong(f"{status}: {body[-300:].decode('utf-8', 'replace')}")
        else:
            tally.good(ended - began, self._first_at - began)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end(exc or ConnectionResetError("closed before the end of the answer"))

    def on_body(self, data: bytes) -> None:
        self._first_at = self._first_at or time.perf_counter()
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error) if error else self._answered.set_result(None)


def said_once(job: Job) -> Iterator[bytes]:
    """Words as long as `job.word`, of letters: numbers would be no words to who looks for loops."""
    for number in itertools.count(job.seed * 1_000_000):
        yield str(number).zfill(len(job.word)).encode().translate(LETTERS)


class Tally:
    def __init__(self) -> None:
        self.took: list[float] = []
        self.first: list[float] = []
        self.errors = 0
        self.said = ""

    def good(self, took_s: float, first_s: float) -> None:
        self.took.append(took_s)
        self.first.append(first_s)

    def wrong(self, said: str) -> None:
        self.errors += 1
        self.said = self.said or said

    def result(self, seconds: float) -> Result:
        p50, p99 = (percentile(self.took, share) for share in (0.5, 0.99))
        return Result(len(self.took), self.errors, seconds, p50, p99, percentile(self.first, 0.5), self.said)


def percentile(seconds: Iterable[float], share: float) -> float | None:
    """In milliseconds; None of nothing."""
    ordered = sorted(seconds)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1e3 if ordered else None


async def closed_loop(job: Job, tally: Tally, make: Callable[[], Client]) -> None:
    began, left = time.perf_counter(), job.calls

    async def one(client: Client) -> None:
        nonlocal left
        while left > 0 if job.calls else time.perf_counter() - began < job.seconds:
            left -= 1
            await client.call(tally)

    await asyncio.gather(*(one(make()) for _ in range(job.connections)))


async def open_loop(job: Job, tally: Tally, make: Callable[[], Client]) -> None:
    loop, rand = asyncio.get_running_loop(), random.Random(job.seed)
    idle = [make() for _ in range(job.connections)]
    made = len(idle)
    running: set[asyncio.Task[None]] = set()

    async def one(client: Client) -> None:
        await client.call(tally)
        idle.append(client)

    due = loop.time()
    end = due + job.seconds
    while due < end:
        await asyncio.sleep(due - loop.time())
        if not idle and made < MAX_CONNECTIONS:
            made += 1
            idle.append(make())
        if idle:
            task = loop.create_task(one(idle.pop()))
            running.add(task)
            task.add_done_callback(running.discard)
        else:
            tally.wrong(f"{MAX_CONNECTIONS} calls are waiting already: it does not keep up")
        due += rand.expovariate(job.rate)
    if running:
        await asyncio.wait(running)


async def work(job: Job) -> Result:
    loop, tally = asyncio.get_running_loop(), Tally()
    clients: list[Client] = []
    words = said_once(job)

    def make() -> Client:
        clients.append(Client(job, loop, words))
        return clients[-1]

    began = time.perf_counter()
    try:
        async with asyncio.timeout(job.seconds + PATIENCE_S):
            await (open_loop if job.rate else closed_loop)(job, tally, make)
    except TimeoutError:
        tally.wrong(f"calls were still under way {PATIENCE_S:g} s after the last was asked")
    result = tally.result(time.perf_counter() - began)
    for client in clients:
        client.close()
    return result


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        result: Any = runner.run(work(job))
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
