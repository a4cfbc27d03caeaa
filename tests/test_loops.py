from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.clock import now_s
from tests.loops import both_loops

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there nobody can be stopped")

both = pytest.mark.parametrize("loop", both_loops().values(), ids=both_loops().keys())
STOPPER = """
import os, signal, sys, time
pid = int(sys.argv[1])
print(flush=True)
sys.stdin.read()
time.sleep(0.05)
os.kill(pid, signal.SIGSTOP)
time.sleep(0.5)
os.kill(pid, signal.SIGCONT)
"""


@pytest.fixture
def stopper() -> Iterator[subprocess.Popen[bytes]]:
    """Who stops this process for half a second, 50 ms after nothing more is said to it."""
    command = [sys.executable, "-c", STOPPER, str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline()
        yield process


@both
def test_a_time_out_waits_on_while_others_have_the_core(
    loop: Callable[[], asyncio.AbstractEventLoop], stopper: subprocess.Popen[bytes]
):
    async def wait() -> tuple[float, float]:
        """For a time-out of 0.2 s: how long by the wall, and by the loop."""
        assert stopper.stdin
        began, began_s = time.monotonic(), now_s()
        stopper.stdin.close()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await asyncio.Event().wait()
        return time.monotonic() - began, now_s() - began_s

    with asyncio.Runner(loop_factory=loop) as runner:
        by_wall_s, by_loop_s = runner.run(wait())
    assert by_wall_s > 0.6
    assert 0.19 < by_loop_s < by_wall_s - 0.4


@both
def test_a_timer_that_is_called_off_does_not_come(loop: Callable[[], asyncio.AbstractEventLoop]):
    came: list[str] = []

    async def wait() -> None:
        timer = asyncio.get_running_loop().call_later(0.01, came.append, "called off")
        asyncio.get_running_loop().call_later(0.02, came.append, "came")
        timer.cancel()
        assert timer.cancelled()
        await asyncio.sleep(0.05)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(wait())
    assert came == ["came"]
