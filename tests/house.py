"""How does a test live in the house? It asks, in process or over a socket, and looks at what came and what was kept.

The house is the real one: `app.build` with a spool and SQLite in a folder of the test, and scripted providers on real
sockets. Only time is the test's. When the test is over nothing may be left: no task, no flight, no busy connection.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.blocking import nothing_blocks
from tests.clock import JumpClock
from tidegate import config
from tidegate.api import server
from tidegate.app import App, Files, build
from tidegate.core.ports import Closed
from tidegate.providers.scripted import Scripted
from tidegate.providers.scripted.server import Server

PATIENCE_S = 30.0  # for one reply; nothing in a test takes as long

TWO_PROVIDERS = """
logs: {calls: false}
providers:
  main: {type: scripted, price: {input: 1, output: 2}}
  spare: {type: scripted, price: {input: 3, output: 6}}
routes:
  fast:
    targets: [{provider: main, model: m, order: 1}, {provider: spare, model: m, order: 2}]
"""


class Error(NamedTuple):
    code: str | None
    message: str | None
    type: str | None
    param: str | None


class Reply:
    """What a client saw, and the row that was kept of it."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, row: Closed | None) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.row = row
        self.events: list[Any] = _events(headers.get("content-type", ""), body)  # of a whole body: that one

    @property
    def text(self) -> str:
        """What the first choice says."""
        return "".join(_said(event) for event in self.events)

    @property
    def error(self) -> Error | None:
        for event in self.events:
            error = event.get("error") if isinstance(event, dict) else None
            if error:
                return Error(**{field: error.get(field) for field in Error._fields})
        return None

    @property
    def id(self) -> str | None:
        return self.headers.get("x-tidegate-request-id")

    @property
    def attempts(self) -> list[str]:
        """Who was asked, and how that ended: main: failed."""
        return [f"{one.provider}: {one.outcome}" for one in self.row.attempts] if self.row else []


def _events(kind: str, body: bytes) -> list[Any]:
    if kind.startswith("text/event-stream"):
        data = [frame.removeprefix(b"data: ") for frame in body.split(b"\n\n") if frame.startswith(b"data: ")]
        return [one.decode() if one == b"[DONE]" else json.loads(one) for one in data]
    return [json.loads(body)] if kind.startswith("application/json") and body else []


def _said(event: Any) -> str:
    for choice in event.get("choices", ()) if isinstance(event, dict) else ():
        if choice["index"] == 0:
            said = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
            return said.get("content") or ""
    return ""


class Asking:
    """A request under way, and what has come back so far."""

    def __init__(self, app: App, scope: dict[str, Any], body: bytes) -> None:
        self.sent: list[Any] = []  # ASGI messages
        self._app = app
        self._body: bytes | None = body
        self._gone = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()
        self.task = asyncio.get_running_loop().create_task(app(scope, self._receive, self._send), name="a client")

    async def _receive(self) -> dict[str, Any]:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self._reading.wait()
        if not self._gone.is_set():  # as uvicorn does: who has gone is told nothing, and nobody is told that
            self.sent.append(message)

    def leave(self) -> None:
        self._gone.set()
        self._reading.set()

    def stop_reading(self) -> None:
        self._reading.clear()

    def go_on_reading(self) -> None:
        self._reading.set()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    async def heard(self, text: str) -> None:
        """Wait until this has come."""
        await until(lambda: text.encode() in self.body or self.task.done())
        assert text.encode() in self.body, f"{text!r} never came, but {self.body!r}"

    async def reply(self) -> Reply:
        async with asyncio.timeout(PATIENCE_S):
            await self.task
        start: dict[str, Any] = self.sent[0] if self.sent else {"status": 0, "headers": ()}
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        id = headers.get("x-tidegate-request-id")
        row = await self._app.world.ledger.find(id) if id else None
        return Reply(start["status"], headers, self.body, row)


class House:
    def __init__(self, app: App, clock: JumpClock, key: str, files: Files | None = None) -> None:
        self.app = app
        self.clock = clock
        self.key = key
        self.files = files  # where its configuration would stand

    def provider(self, name: str) -> Server:
        """What it is told to say: house.provider("main").says("hello")."""
        found = self.app.gateway.providers[name]
        assert isinstance(found, Scripted)
        return found.server

    def begin(
        self,
        said: str | Sequence[Any] = "hi",
        *,
        route: str = "fast",
        stream: bool = True,
        path: str = "/v1/chat/completions",
        method: str = "POST",
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        **fields: Any,
    ) -> Asking:
        """Ask, and go on: for clients that leave, stop reading, or look while it comes."""
        if body is None:
            messages = [{"role": "user", "content": said}] if isinstance(said, str) else said
            asked = {"prompt": said} if path == "/v1/completions" else {"messages": messages}
            body = json.dumps({"model": route, **asked, "stream": stream} | fields).encode()
        sent = {"authorization": f"Bearer {key or self.key}", "content-type": "application/json", **(headers or {})}
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8080),
        }
        return Asking(self.app, scope, body)

    async def ask(self, said: str | Sequence[Any] = "hi", **options: Any) -> Reply:
        """Ask as a client does, without a socket; `options` as for `begin`, fields of the body among them."""
        return await self.begin(said, **options).reply()

    async def get(self, path: str, **options: Any) -> Reply:
        return await self.begin(path=path, method="GET", body=b"", **options).reply()

    async def rows(self) -> list[Closed]:
        """All that was kept, oldest first."""
        await self.app.world.ledger.flush()
        return [row async for row in self.app.world.ledger.rows()]

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Over a real socket; its URL, without /v1. Leaving is what SIGTERM does."""
        sock = server.listen(self.app.config.api)
        uvicorn = server.Server(self.app, self.app.config.api, self.app.leave)
        serving = asyncio.get_running_loop().create_task(uvicorn.serve(sockets=[sock]), name="uvicorn")
        await until(lambda: uvicorn.started or serving.done())
        try:
            yield "http://{}:{}".format(*sock.getsockname())
        finally:
            uvicorn.should_exit = True
            await serving
            sock.close()

    def left(self) -> list[str]:
        """What there still is of calls, by name."""
        world = self.app.world
        found = [f"task {task.get_name()}" for task in world.nursery.tasks]
        found += [f"open flight {flight.call.id}" for flight in world.flights]
        found += [f"{world.transport.busy} busy connections"] if world.transport.busy else []
        for name, provider in self.app.gateway.providers.items():
            if isinstance(provider, Scripted) and provider.server.tasks:
                found.append(f"{name} still answers")
        return found


async def until(there: Callable[[], object]) -> None:
    """Wait for what will be so in a moment; time may jump meanwhile."""
    async with asyncio.timeout(PATIENCE_S):
        while not there():
            await asyncio.sleep(0.004)


def unbounded(settings: config.Config, text: str) -> config.Config:
    """Tests repeat themselves and spend at will, unless they say what is to be bounded."""
    if "limits:" not in text:
        loops = msgspec.structs.replace(settings.limits.loops, policy="off")
        free = msgspec.structs.replace(settings.limits, loops=loops, guesses=1_000_000)
        settings = msgspec.structs.replace(settings, limits=free)
    if "budgets:" not in text:
        settings = msgspec.structs.replace(settings, budgets=msgspec.structs.replace(settings.budgets, default_day=0.0))
    return settings


@asynccontextmanager
async def lived_in(
    text: str, data_dir: Path, environment: Mapping[str, str] | None = None, clock: JumpClock | None = None
) -> AsyncIterator[House]:
    """A house for the time of a test. Raises AssertionError when something is left at its end, naming it.

    `clock`: of another house, when there are two.
    """
    before = asyncio.all_tasks()
    given = {"TIDEGATE_API_PORT": "0", "TIDEGATE_STORAGE_DATA_DIR": str(data_dir), **(environment or {})}
    clock = clock or JumpClock()

    def load(path: Path) -> config.Config:
        said = path.read_text(encoding="utf-8")
        return unbounded(config.parse(said, given, str(path)), said)

    files = Files(data_dir.with_name("tidegate.yaml"), load)
    app = await build(unbounded(config.parse(text, given), text), given, clock=clock, files=files)
    try:
        key, _ = await app.gateway.auth.create("a test", "test", admin=True)
        house = House(app, clock, key, files)
        for provider in app.gateway.providers.values():
            if isinstance(provider, Scripted):
                provider.server.sleep = clock.sleep
        with nothing_blocks():
            yield house
        try:
            await until(lambda: not house.left())
        except TimeoutError:
            raise AssertionError(f"the test is over and there is still: {', '.join(house.left())}") from None
    finally:
        for task in app.world.nursery.tasks:
            task.cancel()
        await app.aclose()
        await _ended(app)  # what a worker has begun meanwhile
    names = sorted(task.get_name() for task in asyncio.all_tasks() - before - {asyncio.current_task()})
    assert not names, f"the house is closed and there is still: {', '.join(names)}"


async def _ended(app: App) -> None:
    tasks = [*app.world.nursery.tasks]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=PATIENCE_S)


Build = Callable[..., Awaitable[House]]


@pytest.fixture
async def build_house(tmp_path: Path) -> AsyncIterator[Build]:
    """For tests with a configuration of their own: house = await build_house("providers: …")."""
    async with AsyncExitStack() as stack:

        async def build(text: str = TWO_PROVIDERS, environment: Mapping[str, str] | None = None) -> House:
            return await stack.enter_async_context(lived_in(text, tmp_path / "data", environment))

        yield build


@pytest.fixture
async def house(build_house: Build) -> House:
    """Two scripted providers, and a route `fast` that asks main first, then spare."""
    return await build_house()
