"""A program of these tests in a process of its own, which waits for a line before it begins."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType

from tests.parts import ROOT

LONGEST = 1 << 24  # bytes of what it says at its end


async def start(program: ModuleType, *args: object) -> asyncio.subprocess.Process:
    command = ("-m", program.__name__, *map(str, args))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdin=pipe, stdout=pipe, cwd=ROOT, limit=LONGEST
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process
