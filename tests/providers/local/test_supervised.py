"""Processes of ours: started, watched, started again, ended, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tidegate.core.errors import UpstreamFailed
from tidegate.providers.local import supervised
from tidegate.providers.local.supervised import Supervised

# A child that keeps the bargain: a listening socket, one line that says where, and an end when its input ends.
CHILD = """
import json, os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(json.dumps({"address": "http://127.0.0.1:%d" % listener.getsockname()[1]}), flush=True)
sys.stdin.read()
"""


def child(program: str, **environment: str) -> Supervised:
    return Supervised("the child", [sys.executable, "-c", program], environment)


def port_of(address: str) -> tuple[str, int]:
    url = urlsplit(address)
    return str(url.hostname), int(url.port or 0)


def listens(address: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(port_of(address), timeout=1):
        return True
    return False


def pid_of(process: Supervised) -> int:
    return process._life.result().transport.get_pid()


async def until(claim) -> None:
    async with asyncio.timeout(20):
        while not claim():
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def closing(supervised):
    try:
        yield supervised
    finally:
        await supervised.aclose()


async def test_start_returns_when_it_may_be_asked():
    async with closing(child(CHILD)) as process:
        await process.start()
        assert listens(process.address)
        assert process.trouble is None


async def test_those_who_ask_while_it_loads_wait_together_and_start_one_process(tmp_path: Path):
    program = f"import os; open({str(tmp_path)!r} + '/' + str(os.getpid()), 'w')\n" + CHILD
    async with closing(child(program)) as process:
        await asyncio.gather(*(process.start() for _ in range(10)))
        assert len(list(tmp_path.iterdir())) == 1


async def test_giving_up_while_it_loads_disturbs_nobody():
    async with closing(child(CHILD)) as process:
        impatient = asyncio.create_task(process.start())
        await asyncio.sleep(0)
        impatient.cancel()
        await process.start()
        assert listens(process.address)


async def test_it_is_started_again_when_it_dies():
    async with closing(child(CHILD)) as process:
        await process.start()
        before = process.address
        os.kill(pid_of(process), signal.SIGTERM)
        await until(lambda: process.address not in ("", before))
        await process.start()
        assert listens(process.address)


async def test_a_child_that_cannot_start_is_tried_again_ever_more_slowly_and_says_why():
    async with closing(child("import sys; sys.exit('no memory left')")) as process:
        with pytest.raises(UpstreamFailed, match=r"the child ended \(exit code 1: no memory left\)"):
            await process.start()
        await until(lambda: "within 0.5 s" in (process.trouble or ""))
        await until(lambda: "within 1 s" in (process.trouble or ""))


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ('{"error": "the model file is missing"}', "the model file is missing"),
        ("hello", "something else than its address"),
        ('{"address": 5}', "something else than its address"),
        ("x" * 100_000, "something else than its address"),
    ],
)
async def test_what_it_says_instead_of_its_address_is_told(says: str, why: str):
    async with closing(child(f"print({says!r})")) as process:
        with pytest.raises(UpstreamFailed, match=why):
            await process.start()


async def test_one_that_never_gets_ready_is_ended_and_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervised, "READY_S", 0.2)
    async with closing(child("import sys; sys.stdin.read()")) as process:
        with pytest.raises(UpstreamFailed, match=r"not ready after 0\.2 s"):
            await process.start()


async def test_a_program_that_is_not_there_is_told():
    async with closing(Supervised("the child", ["/nowhere/python"], {})) as process:
        with pytest.raises(UpstreamFailed, match="cannot be started: No such file"):
            await process.start()


async def test_one_that_writes_much_is_not_stopped_by_a_full_pipe():
    async with closing(child("import sys\nprint('x' * 1_000_000, file=sys.stderr, flush=True)\n" + CHILD)) as process:
        await process.start()
        assert listens(process.address)


async def test_it_leaves_when_it_is_closed():
    process = child(CHILD)
    await process.start()
    address = process.address
    await process.aclose()
    assert not listens(address)
    with pytest.raises(UpstreamFailed, match="has been ended"):
        await process.start()


async def test_closing_while_it_loads_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervised, "LEAVE_S", 0.1)
    pid = tmp_path / "pid"
    process = child(f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    waiting = asyncio.create_task(process.start())
    await until(lambda: pid.exists() and pid.read_text())
    await process.aclose()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    with pytest.raises(UpstreamFailed):
        await waiting


async def test_one_that_does_not_leave_is_killed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervised, "LEAVE_S", 0.1)
    process = child(CHILD + "\nimport time; time.sleep(60)")
    await process.start()
    address = process.address
    await process.aclose()
    assert not listens(address)


async def test_it_does_not_see_the_keys_of_other_providers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    program = "import json, os, sys; print(json.dumps({'address': ' '.join(os.environ)}), flush=True); sys.stdin.read()"
    async with closing(child(program, OWN="1")) as process:
        await process.start()
        assert "OWN" in process.address.split()
        assert "OPENAI_API_KEY" not in process.address.split()


async def test_it_dies_with_its_parent_even_when_that_is_killed():
    parent_program = f"""
import asyncio, sys
from tidegate.providers.local.supervised import Supervised
async def main():
    process = Supervised("the child", [sys.executable, "-c", {CHILD!r}], {{}})
    await process.start()
    print(process.address, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", parent_program, stdout=asyncio.subprocess.PIPE, env={**os.environ}
    )
    address = (await parent.stdout.readline()).decode().strip()
    assert listens(address)
    parent.kill()
    await parent.wait()
    await until(lambda: not listens(address))
