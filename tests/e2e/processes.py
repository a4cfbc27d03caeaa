"""Real processes, and a client that knows nothing but sockets.

async with provider(tmp_path) as main, gateway(tmp_path, behind(main)) as tidegate:
    answer = await tidegate.ask("hi")
    await tidegate.stop()
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from tidegate import storage
from tidegate.app import open_home
from tidegate.core.ports import Closed, Totals
from tidegate.core.usage import Period, UsageAsked
from tidegate.core.values import Secret
from tidegate.storage.personal import SPOOL
from tidegate.storage.vault import PlainVault

PATIENCE_S = 40.0  # for one thing to happen; on a quiet machine nothing here takes two seconds
KEY = "a-key-for-tests-and-nothing-else"  # TIDEGATE_ADMIN_KEY
BROKEN = (OSError, asyncio.IncompleteReadError)


class Child:
    """A process of ours, and what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.pid = process.pid
        self.said = ""  # on both standard output and standard error
        self._news = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._readers = [loop.create_task(self._read(stream)) for stream in (process.stdout, process.stderr) if stream]

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            self.said += line.decode()
            self._news.set()

    async def says(self, pattern: str) -> str:
        """The first group of `pattern`, as soon as it is said."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := re.search(pattern, self.said)):
                ended = asyncio.create_task(self.process.wait())
                news = asyncio.create_task(self._news.wait())
                await asyncio.wait([ended, news], return_when=asyncio.FIRST_COMPLETED)
                ended.cancel()
                news.cancel()
                await asyncio.wait([ended, news])
                assert self.process.returncode is None, f"it ended and never said {pattern!r}, but: {self.said}"
                self._news.clear()
        return found[1] if found.groups() else found[0]

    def send(self, sign: signal.Signals) -> None:
        self.process.send_signal(sign)

    async def ends(self) -> int:
        """Its exit code."""
        async with asyncio.timeout(PATIENCE_S):
            code = await self.process.wait()
            await asyncio.wait(self._readers)
        return code

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.ends()


@asynccontextmanager
async def child(*args: str, program: str = sys.executable, **environment: str) -> AsyncIterator[Child]:
    """A process with these arguments, of Python if nothing else; killed at the end, should it still be there."""
    found = Child(
        await asyncio.create_subprocess_exec(
            program,
            *args,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
    )
    try:
        yield found
    finally:
        await found.kill()


class Provider(Child):
    address: str
    served: Path

    def lines(self) -> list[Any]:
        """What it said to its end: id, model, user and usage."""
        return [json.loads(line) for line in self.served.read_text().splitlines()]


@asynccontextmanager
async def provider(folder: Path, **script: Any) -> AsyncIterator[Provider]:
    """A scripted provider in a process of its own, which lives on when the gateway dies."""
    served = folder / "served.jsonl"
    served.touch()
    args = ("-m", "tidegate.providers.scripted", "--served", str(served), "--script", json.dumps(script))
    async with child(*args) as found:
        found.__class__ = Provider
        assert isinstance(found, Provider)
        found.address = await found.says(r'"address":"([^"]+)"')
        found.served = served
        yield found


def behind(main: Provider, price: str = "{input: 1, output: 2}", more: str = "") -> str:
    """A configuration whose route `fast` asks `main`."""
    return f"""
limits: {{loops: {{policy: "off"}}}}
budgets: {{default_day: 0}}
providers:
  main: {{type: openai, base_url: "{main.address}", price: {price}}}
routes:
  fast: {{targets: [{{provider: main, model: m}}]}}
{more}
"""


class Gateway(Child):
    url: str
    data: Path

    def begin(self, path: str = "/v1/chat/completions", method: str = "POST", **options: Any) -> Asking:
        return Asking(self.url, path, method, **options)

    async def ask(self, said: str = "hi", **options: Any) -> Answer:
        """Ask as a client does; `options` as for `asking`, fields of the body among them."""
        return await self.asking(said, **options).answer()

    def asking(
        self, said: str = "hi", *, stream: bool = False, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> Asking:
        """A call under way."""
        body = {"model": "fast", "messages": [{"role": "user", "content": said}], "stream": stream} | fields
        return self.begin(body=json.dumps(body).encode(), headers=headers)

    async def get(self, path: str) -> Answer:
        return await self.begin(path, "GET").answer()

    async def stop(self) -> None:
        """As an orchestrator does, and all is well."""
        self.send(signal.SIGTERM)
        code = await self.ends()
        assert code == 0, f"exit code {code}: {self.said}"


@asynccontextmanager
async def gateway(
    folder: Path,
    config: str,
    *,
    python: Sequence[str] = ("-m", "tidegate.cli"),
    within: Sequence[str] = (),
    **environment: str,
) -> AsyncIterator[Gateway]:
    """`tidegate serve`, ready, on a port of its own; `folder` has its configuration and its data.

    `within`: the words of a command that it is started by.
    """
    file, data = folder / "tidegate.yaml", folder / "data"
    file.write_text(config)
    args = ("serve", "--config", str(file), "--data-dir", str(data), "--port", "0")
    program, *words = *within, sys.executable, *python, *args
    async with child(*words, program=program, TIDEGATE_ADMIN_KEY=KEY, **environment) as found:
        found.__class__ = Gateway
        assert isinstance(found, Gateway)
        found.data = data
        found.url = await found.says(r"answers on (http://\S+)")
        async with asyncio.timeout(PATIENCE_S):
            while (await found.get("/health")).status != 200:
                await asyncio.sleep(0.005)
        yield found


# --- what a client sees ----------------------------------------------------------------------------------------------


class Answer:
    """A response, or as much of it as came."""

    def __init__(self) -> None:
        self.status = 0  # nobody answered
        self.headers: dict[str, str] = {}
        self.body = b""
        self.whole = False  # its last byte came

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[str]:
        return [frame[6:].decode() for frame in self.body.split(b"\n\n") if frame.startswith(b"data: ")]

    @property
    def text(self) -> str:
        chunks = [json.loads(event) for event in self.events if event != "[DONE]"]
        if not chunks:
            return str(self.json["choices"][0]["message"]["content"])
        return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk.get("choices"))

    @property
    def acknowledged(self) -> bool:
        """The client knows that it has all of a good answer."""
        stream = self.headers.get("content-type", "").startswith("text/event-stream")
        good = self.events[-1:] == ["[DONE]"] if stream else self.whole
        return self.status == 200 and good

    @property
    def error(self) -> Any:
        """The error, be it a response or the last event of a stream."""
        last = next((event for event in reversed(self.events) if event != "[DONE]"), None)
        return json.loads(last if last is not None else self.body).get("error")


class Asking:
    """One request on a connection of its own, and what has come back so far."""

    def __init__(
        self, url: str, path: str, method: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        host, port = url.removeprefix("http://").split(":")
        fields = {
            "host": host,
            "connection": "close",
            "authorization": f"Bearer {KEY}",
            "content-type": "application/json",
            "content-length": str(len(body)),
            **(headers or {}),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._request = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body
        self._so_far = Answer()
        self._news = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(host, int(port)))

    async def _run(self, host: str, port: int) -> None:
        with suppress(*BROKEN):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(self._request)
                await self._read(reader)
            finally:
                writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        found = self._so_far
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")[:-4].split("\r\n")
        found.headers = dict(field.split(": ", 1) for field in fields)
        found.status = int(line.split(" ")[1])
        if "content-length" in found.headers:
            found.body = await reader.readexactly(int(found.headers["content-length"]))
        else:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                found.body += (await reader.readexactly(size + 2))[:-2]
                self._news.set()
            await reader.readexactly(2)
        found.whole = True

    async def heard(self, text: str) -> None:
        """Wait until this has come."""
        async with asyncio.timeout(PATIENCE_S):
            while text.encode() not in self._so_far.body:
                assert not self._task.done(), f"{text!r} never came, but {self._so_far.body!r}"
                self._news.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):  # an end is no news
                        await self._news.wait()

    async def answer(self) -> Answer:
        async with asyncio.timeout(PATIENCE_S):
            await self._task
        return self._so_far

    async def leave(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


# --- what was kept ---------------------------------------------------------------------------------------------------


async def kept(data: Path, database: str | None = None) -> tuple[list[Closed], Totals, dict[str, int]]:
    """All rows of a gateway that has ended, and their sums as it kept them: in all, and hour by hour."""
    where = storage.Config(str(data), database=Secret(database) if database else None)
    store = await open_home(where, data, lambda name, fields: None)
    try:
        vault, rows = PlainVault(), await store.books.after(0, 1_000_000)
        decode = msgspec.json.Decoder(Closed).decode
        (line,) = await store.books.usage(UsageAsked((Period(0, 2**60),)))
        sums = {name: line.sums[name] for name in ("calls", "errors", "unpriced", "cost_nusd")}
        return (
            [decode(vault.unseal(sealed, SPOOL)) for _, _, sealed in rows],
            await store.books.totals(besides=""),
            sums,
        )
    finally:
        await store.aclose()
