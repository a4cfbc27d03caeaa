"""Behind PgBouncer in transaction mode each transaction has another connection, and all is as ever."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.parts import debian, program
from tests.postgres import Server, free_port
from tidegate.core.ports import Closed, Key, Totals
from tidegate.core.usage import Period, UsageAsked
from tidegate.storage.ledger import Position, Row
from tidegate.storage.postgres import PostgresStore

pytestmark = debian("pgbouncer")


@pytest.fixture
def pooled(postgres_cluster: Server, postgres: str) -> Iterator[str]:
    """The URL of the same database, by way of a PgBouncer with two connections."""
    folder, port = Path(tempfile.mkdtemp(prefix="tidegate-pgbouncer-")), free_port()
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    (folder / "ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={postgres_cluster.port} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 2\n"
    )
    folder.chmod(0o755)
    bouncer = subprocess.Popen(
        [str(program("pgbouncer")), "-q", str(folder / "ini")],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        **nobody,
    )
    try:
        until(port)
        yield f"postgresql://postgres@127.0.0.1:{port}/{postgres.rpartition('/')[2]}"
    finally:
        bouncer.kill()
        bouncer.wait()
        shutil.rmtree(folder)


def until(port: int) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.02)


def key(id: str) -> Key:
    return Key(id=id, name="ci", env="live", digest=b"\0" * 32, pepper_version=1, created_ms=1)


async def test_a_store_and_its_books_work_behind_it(pooled: str) -> None:
    store = await PostgresStore.open(pooled, lambda name, fields: None, prepares=False)
    try:
        await asyncio.gather(*(store.add(key(f"k{n}")) for n in range(40)))
        found = await asyncio.gather(*(store.bearer(f"k{n}") for n in range(40)))
        assert [one.key.id for one in found if one] == [f"k{n}" for n in range(40)]
        closed = Closed("a", 1, "k", "openai", "chat", "ok", 200, 1, 1)
        for n in range(20):
            row = Row(msgspec.structs.replace(closed, id=f"r{n}"), b"sealed")
            assert await asyncio.to_thread(store.books.take, "s", [row], Position(1, n)) == Totals(calls=1)
        (line,) = await store.books.usage(UsageAsked((Period(0, 2**60),)))
        assert line.sums["calls"] == 20
    finally:
        await store.aclose()
