"""How is it said? Over real sockets on 127.0.0.1, as fast as can be where nothing else was told."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import struct
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import httptools
import msgspec

from tidegate.core.errors import BadRequest
from tidegate.providers.scripted.script import ID, MODEL, Answer, Ending, Script, answer, error, plain, read_request

CHAT = b"/v1/chat/completions"
COMPLETE = b"/v1/completions"
EMBED = b"/v1/embeddings"
VECTOR = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.6, 0.8]}], "model": "m"}
MAX_AT_ONCE = 64 * 1024  # what is longer is written event by event, as fast as it is read
MAX_READY = 256  # replies kept ready: whoever measures asks the same again and again
MAX_REQUESTS = 1_000
RESET = struct.pack("ii", 1, 0)  # linger for no time: the other side gets a RST, and what it has by then
BROKEN = (httptools.HttpParserError, httptools.HttpParserUpgrade)


class Received(NamedTuple):
    """A request as it came."""

    method: bytes
    path: bytes
    headers: list[tuple[bytes, bytes]]  # names in lower case
    body: bytes


class Server:
    """Listens from `start` to `aclose`. `requests` are the newest that came, oldest first."""

    def __init__(
        self,
        script: Script | None = None,
        *,
        models: Sequence[str] = (MODEL,),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        served: int | None = None,
    ) -> None:
        self.address = ""  # the base URL, with /v1, while it listens
        self.requests: deque[Received] = deque(maxlen=MAX_REQUESTS)
        self.responses = self.prompt_tokens = self.completion_tokens = 0  # of all replies that were said to their end
        self.sleep = sleep
        self.plan: Callable[[str], Script | None] = self._planned  # what is said to the next request for a model
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._models = models
        self._always: dict[str | None, Script] = {None: script or Script()}
        self._next: defaultdict[str | None, deque[Script]] = defaultdict(deque)
        self._ready: dict[tuple[bytes, bytes], Answer] = {}
        self._ids = itertools.count()
        self._run = os.urandom(4).hex().encode()  # so that ids of two runs differ
        self._served = served  # a file descriptor
        self._listener: asyncio.Server | None = None

    def says(self, text: str | Sequence[str] | None = None, *, model: str | None = None, **script: Any) -> None:
        """Say this to the next request that nothing else is planned for."""
        self._next[model].append(_script(text, script))
        self._ready.clear()

    def always(self, text: str | Sequence[str] | None = None, *, model: str | None = None, **script: Any) -> None:
        """Say this to every request that `says` has nothing for."""
        self._always[model] = _script(text, script)
        self._ready.clear()

    async def start(self, port: int = 0) -> str:
        """Its base URL. Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Connection(self, loop), "127.0.0.1", port, backlog=1024)
        self.address = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}/v1"
        return self.address

    async def aclose(self) -> None:
        """Break off whatever is being said; returns when no socket and no task is left."""
        if self._listener is not None:
            self._listener.close()
        self.address = ""
        while self.connections:
            for connection in self.connections:
                connection.transport.abort()
            await asyncio.wait([connection.gone for connection in self.connections])
        if self.tasks:
            await asyncio.wait(self.tasks)

    # --- what a connection asks

    def answer(self, request: Received) -> Answer:
        path = request.path.partition(b"?")[0]
        if request.method == b"POST" and path in (CHAT, COMPLETE):
            return self._ready.get((path, request.body)) or self._answer(path, request.body)
        if request.method == b"POST" and path == EMBED:
            return plain(200, msgspec.json.encode(VECTOR))
        if request.method == b"GET" and path == b"/v1/models":
            models = [{"id": name, "object": "model", "created": 0, "owned_by": MODEL} for name in self._models]
            return plain(200, msgspec.json.encode({"object": "list", "data": models}))
        if request.method == b"GET" and path == b"/_served":
            names = ("responses", "prompt_tokens", "completion_tokens")
            return plain(200, msgspec.json.encode({name: getattr(self, name) for name in names}))
        return plain(404, error(404, f"nothing answers {request.method.decode()} {path.decode('latin-1')}"))

    def _answer(self, path: bytes, body: bytes) -> Answer:
        chat = path == CHAT
        try:
            asked, script = read_request(body)
        except BadRequest as wrong:
            return plain(400, error(400, wrong.message))
        script = script or self.plan(asked.model)
        if script is not None:
            return answer(script, asked, chat=chat)
        made = answer(self._always.get(asked.model) or self._always[None], asked, chat=chat)
        if len(body) <= MAX_AT_ONCE and not any(self._next.values()):
            if len(self._ready) >= MAX_READY:
                self._ready.clear()
            self._ready[path, body] = made
        return made

    def _planned(self, model: str) -> Script | None:
        for plan in (self._next.get(model), self._next.get(None)):
            if plan:
                return plan.popleft()
        return None

    def next_id(self) -> bytes:
        return b"scripted-%b%08x" % (self._run, next(self._ids) & 0xFFFFFFFF)

    def served(self, said: Answer, id: bytes) -> None:
        """Note what was said to its end."""
        if said.usage is None:
            return
        self.responses += 1
        self.prompt_tokens += said.usage.get("prompt_tokens") or 0
        self.completion_tokens += said.usage.get("completion_tokens") or 0
        if self._served is not None:
            line = {"id": id.decode(), "model": said.model, "user": said.user, "usage": said.usage}
            os.write(self._served, msgspec.json.encode(line) + b"\n")


def _script(text: str | Sequence[str] | None, fields: dict[str, Any]) -> Script:
    return Script(text=text if text is None or isinstance(text, str) else tuple(text), **fields)


class Connection(asyncio.Protocol):
    """One client: its requests one after the other, each answered before the next."""

    transport: asyncio.Transport

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.gone: asyncio.Future[None] = loop.create_future()
        self._server = server
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._waiting: deque[tuple[Received, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._deaf = False  # its last word is said
        self._writable = asyncio.Event()
        self._writable.set()

    # --- from the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except BROKEN as wrong:
            self.transport.write(b"".join(plain(400, error(400, f"this is no HTTP request: {wrong}")).pieces))
            self._finish("close")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deaf = True
        self._server.connections.discard(self)
        if self._task is not None:
            self._task.cancel()
        self.gone.set_result(None)

    # --- from the parser

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if (b"expect", b"100-continue") in self._headers:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        received = Received(self._parser.get_method(), self._path, self._headers, b"".join(self._body))
        self._path, self._headers, self._body = b"", [], []
        self._waiting.append((received, self._parser.should_keep_alive()))
        self._answer()

    # --- to the socket

    def _answer(self) -> None:
        while self._waiting and self._task is None and not self._deaf:
            request, keep = self._waiting.popleft()
            self._server.requests.append(request)
            said, id = self._server.answer(request), self._server.next_id()
            text = b"".join(said.pieces).replace(ID, id)
            if said.script.at_once and len(text) <= MAX_AT_ONCE:
                self.transport.write(text)
                self._end(said, id, keep)
            else:
                self._task = self._loop.create_task(self._say(said, id, keep), name="scripted reply")
                self._server.tasks.add(self._task)
                self._task.add_done_callback(self._said)

    def _said(self, task: asyncio.Task[None]) -> None:
        self._server.tasks.discard(task)
        self._task = None
        self._answer()

    async def _say(self, said: Answer, id: bytes, keep: bool) -> None:
        script = said.script
        await self._server.sleep(script.before)
        for at, step in enumerate(_steps(said, id)):
            if at and (script.between or script.trickle):
                await self._server.sleep(script.between)
            await self._writable.wait()
            self.transport.write(step)
        self._end(said, id, keep)

    def _end(self, said: Answer, id: bytes, keep: bool) -> None:
        self._server.served(said, id)
        self._finish(said.script.then or (None if said.keep and keep else "close"))

    def _finish(self, how: Ending | None) -> None:
        """What becomes of the connection."""
        self._deaf = how is not None
        if how == "close":
            self.transport.close()
        elif how == "reset":
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()
        elif how == "half_close":
            self.transport.write_eof()


def _steps(said: Answer, id: bytes) -> Iterator[bytes]:
    """What is written at a time: the head with the first event, then event by event; or so many bytes."""
    size = said.script.trickle
    if size:
        text = b"".join(said.pieces).replace(ID, id)
        yield from (text[at : at + size] for at in range(0, len(text), size))
    else:
        yield b"".join(said.pieces[:2]).replace(ID, id)
        yield from (piece.replace(ID, id) for piece in said.pieces[2:])
