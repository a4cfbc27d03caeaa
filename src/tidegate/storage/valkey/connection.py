"""How is Valkey asked without waiting for each answer in turn?

One socket: whatever is asked in one turn of the loop leaves in one write, and answers come in the order of the
questions. What is in no hurry leaves with the next that is, or a moment later: a write costs more than a question. A
server that is slow or gone costs each caller at most `timeout_s`, and the next ones nothing: as long as it is away
`send` raises at once, while a task of ours looks for it. Nothing is ever asked twice from here: who asked knows whether
that would be safe. A server that nobody should count in, such as a replica, is as good as away.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, cast
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

from tidegate.core.errors import ConfigError, StoreDown
from tidegate.storage.valkey import fitness

TIMEOUT_S = 0.05  # of a question: it is on the way of a call
HOLD_S = 0.001  # that what is in no hurry waits for others, at most
CONNECT_S = 1.0  # of a connection: nobody waits for it
BACKOFF_S = (0.05, 2.0)  # between looks for a server that is away
CLUSTER = "+cluster"  # behind a scheme
SCHEMES = {"valkey": False, "redis": False, "valkeys": True, "rediss": True, "unix": False}

Word = bytes | str | int | float
Notice = Callable[[str, Mapping[str, Any]], None]


class Address(NamedTuple):
    """Where a server is, and how to enter."""

    host: str
    port: int
    socket: str | None  # a path, in place of host and port
    tls: bool
    user: str | None
    password: str | None
    db: int
    cluster: bool = False  # it is one of several, and says where the others are

    @classmethod
    def parse(cls, url: str) -> Address:
        """valkey://user:password@host:6379/0, valkeys:// with TLS, redis:// and rediss://, unix:///path?db=0; and
        valkey+cluster:// for one of a cluster, and so on.

        Raises ConfigError, which shows nothing of the URL: there may be a password in it.
        """
        form = "valkey://HOST:6379/0, valkeys:// with TLS, valkey+cluster:// for a cluster, or unix:///PATH?db=0"
        scheme = url.partition("://")[0].removesuffix(CLUSTER)
        if scheme not in SCHEMES or url.startswith(f"unix{CLUSTER}"):
            raise ConfigError(f"a URL is needed: {form}")
        try:
            parts = urlsplit(url)
            port = parts.port or 6379
            number = parse_qs(parts.query).get("db", ["0"])[0] if parts.scheme == "unix" else parts.path.strip("/")
            db = int(number or 0)
        except ValueError:
            raise ConfigError(f"its port and its database must be numbers: {form}") from None
        socket = parts.path if parts.scheme == "unix" else None
        if not (socket or parts.hostname) or db < 0:
            raise ConfigError(f"it does not say where the server is: {form}")
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        cluster = parts.scheme.endswith(CLUSTER)
        if cluster and db:
            raise ConfigError("a cluster has no database but 0")
        return cls(parts.hostname or "", port, socket, SCHEMES[scheme], user, password, db, cluster)

    @property
    def shown(self) -> str:
        return self.socket or f"{self.host}:{self.port}"


class Refused(StoreDown):
    """The server understood, and says no."""


class Unfit(Refused):
    """It cannot be counted in, and stays so until somebody changes something."""


class Script:
    """Lua that the server runs as one step. It is sent whole once; after that its digest is enough."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


class Asks(Protocol):
    """Whatever scripts are run at: a server, or a cluster of them. All of it is there, or it is away."""

    @property
    def up(self) -> bool: ...

    @property
    def life(self) -> int:
        """Another number for each time that it was connected; 0: it is not."""

    @property
    def servers(self) -> Sequence[Connection]: ...

    def send(self, *words: Word) -> asyncio.Future[Any]:
        """Ask; the answer is awaited, or not. Raises StoreDown at once when nobody is there."""

    def post(self, *words: Word) -> asyncio.Future[Any]:
        """As `send`, for what is in no hurry: nobody who has been answered looks for it at once."""

    async def ready(self, seconds: float) -> bool:
        """Whether it is there, or comes within so long. Raises ConfigError for one that cannot be counted in."""

    async def aclose(self) -> None: ...

    async def run(self, script: Script, keys: Sequence[Word], *args: Word) -> Any:
        """What `script` returns. Raises StoreDown."""
        try:
            return await self.send(b"EVALSHA", script.sha, len(keys), *keys, *args)
        except Refused as refused:
            if not str(refused).startswith("NOSCRIPT"):  # it was flushed; then it has not run
                raise StoreDown(f"Valkey refused: {refused}") from None
        return await self.send(b"EVAL", script.text, len(keys), *keys, *args)


class Connection(Asks):
    """Made at once, connected in the background; `notice` hears when the server is lost and when it is back."""

    def __init__(
        self, address: Address, notice: Notice, *, timeout_s: float = TIMEOUT_S, scripts: Sequence[Script] = ()
    ) -> None:
        self._address = address
        self._notice = notice
        self._timeout_s = timeout_s
        self._scripts = scripts
        self._loop = asyncio.get_running_loop()
        self._wire: Wire | None = None
        self._lost = asyncio.Event()
        self._found = asyncio.Event()
        self._why = "it has not been reached yet"
        self._unfit = False
        self._told = False
        self._lives = 0
        self._keeping = self._loop.create_task(self._keep(), name=f"valkey {address.shown}")

    @property
    def up(self) -> bool:
        return self._wire is not None

    @property
    def servers(self) -> Sequence[Connection]:
        return (self,)

    @property
    def lives(self) -> int:
        """How often it was connected."""
        return self._lives

    @property
    def unfit(self) -> str | None:
        """Why it cannot be counted in, for good."""
        return self._why if self._unfit else None

    @property
    def life(self) -> int:
        return self._lives if self._wire is not None else 0

    def send(self, *words: Word) -> asyncio.Future[Any]:
        wire = self._wire
        if wire is None:
            raise StoreDown(f"Valkey at {self._address.shown} does not answer: {self._why}")
        return wire.send(words)

    def post(self, *words: Word) -> asyncio.Future[Any]:
        wire = self._wire
        if wire is None:
            raise StoreDown(f"Valkey at {self._address.shown} does not answer: {self._why}")
        return wire.send(words, hurry=False)

    async def found(self, seconds: float) -> None:
        """Raises StoreDown where it does not come within so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._found.wait()
        if not self.up:
            raise StoreDown(f"Valkey at {self._address.shown} does not answer: {self._why}")

    async def ready(self, seconds: float) -> bool:
        with suppress(StoreDown):
            await self.found(seconds)
        if self._unfit:
            await self.aclose()
            raise ConfigError(f"{self._address.shown}: {self._why}")
        return self.up

    async def aclose(self) -> None:
        if self._wire is not None:
            self._wire.flush()  # it leaves while we wait below
        self._keeping.cancel()
        await asyncio.wait([self._keeping])
        if self._wire is not None:
            self._wire.end("Tidegate is closing")

    # --- looking for the server, and looking again

    async def _keep(self) -> None:
        wait_s = 0.0
        while True:
            await asyncio.sleep(wait_s)
            wait_s = min(max(2 * wait_s, BACKOFF_S[0]), BACKOFF_S[1])
            try:
                self._wire = await self._enter()
            except (OSError, StoreDown) as wrong:
                self._why = str(wrong) or type(wrong).__name__
                self._unfit = isinstance(wrong, Unfit)
                if self._unfit:
                    self._found.set()  # whoever waits for it need not
                self._tell_lost()
                continue
            wait_s, self._unfit = 0.0, False
            self._lives += 1
            self._found.set()
            if self._told:
                self._told = False
                self._notice("valkey_back", {"server": self._address.shown})
            await self._lost.wait()
            self._wire = None
            self._found.clear()
            self._tell_lost()

    async def _enter(self) -> Wire:
        """A connection that has been greeted. Scripts are left there, so that digests are enough from now on."""
        self._lost = asyncio.Event()
        wire = Wire(self._loop, self._timeout_s, self._gone)
        try:
            await _bounded(self._loop, _connect(self._loop, self._address, wire))
            scripts = [(b"SCRIPT", b"LOAD", script.text) for script in self._scripts]
            await asyncio.gather(*[wire.send(words) for words in [*_greeting(self._address), *scripts]])
            asked = [wire.send((b"INFO", section)) for section in fitness.ASKED]
            said = await asyncio.gather(*asked, return_exceptions=True)
            trouble = fitness.of_server(said, cluster=self._address.cluster)
            if trouble is not None:
                raise Unfit(trouble)
        except (ssl.SSLError, Refused) as wrong:
            wire.end("it did not let us in")
            trouble = fitness.of_refusal(wrong)
            raise Unfit(trouble) if trouble is not None else wrong from None
        except BaseException:
            wire.end("it did not let us in")
            raise
        return wire

    def _gone(self, why: str) -> None:
        self._wire = None
        self._why = why
        self._lost.set()

    def _tell_lost(self) -> None:
        if not self._told:
            self._told = True
            self._notice("valkey_lost", {"server": self._address.shown, "error": self._why})


async def glance(loop: asyncio.AbstractEventLoop, address: Address, timeout_s: float) -> Any:
    """Who has which slot, by what this one says. Raises StoreDown, OSError; Unfit for one that will not say it."""
    wire = Wire(loop, timeout_s, lambda why: None)
    try:
        await _bounded(loop, _connect(loop, address, wire))
        *_, said = await asyncio.gather(*[wire.send(words) for words in [*_greeting(address), (b"CLUSTER", b"SLOTS")]])
    except (ssl.SSLError, Refused) as wrong:
        trouble = fitness.of_refusal(wrong)
        raise Unfit(trouble) if trouble is not None else wrong from None
    finally:
        wire.end("it was only looked at")
    return said


def _greeting(address: Address) -> list[tuple[Word, ...]]:
    greeting: list[tuple[Word, ...]] = []
    if address.password is not None:
        greeting.append((b"AUTH", *([address.user] if address.user else []), address.password))
    if address.db:
        greeting.append((b"SELECT", address.db))
    return [*greeting, (b"CLIENT", b"SETNAME", b"tidegate")]


async def _connect(loop: asyncio.AbstractEventLoop, address: Address, wire: Wire) -> None:
    if address.socket is not None:
        await loop.create_unix_connection(lambda: wire, address.socket)
    else:
        tls = ssl.create_default_context() if address.tls else None
        await loop.create_connection(lambda: wire, address.host, address.port, ssl=tls)


async def _bounded(loop: asyncio.AbstractEventLoop, connecting: Coroutine[Any, Any, None]) -> None:
    """Wait for it so long. One that is late is left to end by itself, for cancelling it would lose its socket."""
    task = loop.create_task(connecting, name="connecting to valkey")
    task.add_done_callback(_read)
    done, _ = await asyncio.wait([task], timeout=CONNECT_S)
    if not done:
        raise StoreDown(f"no connection within {CONNECT_S:g} s")
    task.result()


def _read(task: asyncio.Task[None]) -> None:
    """Look at how it ended, even when nobody waits for it any more."""
    if not task.cancelled():
        task.exception()


class Wire(asyncio.Protocol):
    """One connected socket. `gone(why)` is called once, when it is of no more use."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout_s: float, gone: Callable[[str], None]) -> None:
        self._loop = loop
        self._timeout_s = timeout_s
        self._gone = gone
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._written: deque[tuple[float, int]] = deque()  # when, and up to which question
        self._asked = 0
        self._answered = 0
        self._watch: asyncio.TimerHandle | None = None
        self._soon = False  # it is to leave at the end of this turn
        self._later: asyncio.TimerHandle | None = None
        self._ended: str | None = None  # why nobody is answered here any more

    def send(self, words: tuple[Word, ...], *, hurry: bool = True) -> asyncio.Future[Any]:
        if self._ended is not None:
            raise StoreDown(f"Valkey does not answer: {self._ended}")
        future = self._loop.create_future()
        self._out.append(hiredis.pack_command(words))  # type: ignore[arg-type]
        self._waiting.append(future)
        self._asked += 1
        if self._soon:
            return future
        if hurry:
            self._soon = True
            self._loop.call_soon(self.flush)
        elif self._later is None:
            self._later = self._loop.call_later(HOLD_S, self.flush)
        return future

    def flush(self) -> None:
        self._soon = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        out, self._out = self._out, []
        if self._transport is None or self._ended is not None or not out:
            return
        self._transport.write(b"".join(out) if len(out) > 1 else out[0])
        self._written.append((self._loop.time(), self._asked))
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_s, self._look)

    def _look(self) -> None:
        """Answers that are here were read before this timer ran, so a loop that was late is not taken for a server
        that is."""
        self._watch = None
        while self._written and self._written[0][1] <= self._answered:
            self._written.popleft()
        if not self._written:
            return
        left_s = self._written[0][0] + self._timeout_s - self._loop.time()
        if left_s <= 0:
            self.end(f"no answer within {self._timeout_s * 1000:g} ms")
        else:
            self._watch = self._loop.call_later(left_s, self._look)

    def end(self, why: str) -> None:
        """Whoever waits is told; nobody will be answered here any more."""
        if self._ended is not None:
            return
        self._ended = why
        for timer in (self._watch, self._later):
            if timer is not None:
                timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(StoreDown(f"Valkey does not answer: {why}"))
                future.exception()  # who left it unread is not reproached
        self._gone(why)

    # --- called by the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        if self._ended is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not _MORE:
                self._answered += 1
                future = self._waiting.popleft()
                if not future.done():
                    if isinstance(answer, hiredis.ReplyError):
                        future.set_exception(Refused(str(answer)))
                        future.exception()
                        if str(answer).startswith("READONLY"):
                            self.end("it has become a replica")  # who follows it is found by looking anew
                            return
                    else:
                        future.set_result(answer)
        except (hiredis.ProtocolError, IndexError):
            self.end("it sent what makes no sense; is it a Valkey at all?")

    def connection_lost(self, error: Exception | None) -> None:
        self.end(str(error) if error else "it closed the connection")


_MORE = object()
