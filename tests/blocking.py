"""Does anything of ours block the event loop while it answers calls? It is told where it does, and fails the test.

Python's audit events tell of files, databases, processes and naps, so the guard costs next to nothing. It hears nothing
of a lock that is waited for, of a `stat`, or of long arithmetic.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tidegate

OURS = str(Path(tidegate.__file__).parent)
BLOCKING = frozenset((
    "open", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir", "os.system",
    "os.truncate", "shutil.rmtree", "sqlite3.connect", "subprocess.Popen", "time.sleep",
))  # fmt: skip
# While the house is made, changed or left; and FastAPI, for where an endpoint stands in its file, once.
ALLOWED = frozenset(("build", "reload", "aclose", "_extract_endpoint_context"))


class Blocks(Exception):
    """Something of ours blocks the event loop."""


class Guard:
    """Audit hooks are for good: so there is one, which listens while it is told to."""

    def __init__(self) -> None:
        self.listening = 0
        self.caught: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self.listening and event in BLOCKING and asyncio._get_running_loop() is not None:
            self._look(event, args)

    def _look(self, event: str, args: tuple[Any, ...]) -> None:
        stack: list[str] = []
        frame = sys._getframe(2)
        while frame is not None:
            code = frame.f_code
            if code.co_name in ALLOWED:
                return
            if code.co_filename.startswith(OURS):
                stack.append(f"{Path(code.co_filename).relative_to(OURS)}:{frame.f_lineno} {code.co_name}")
            frame = frame.f_back
        if stack:
            self.caught.append(f"{event}{args[:1]} blocks the event loop: {' < '.join(stack)}")
            raise Blocks(self.caught[-1])


GUARD = Guard()


@contextmanager
def nothing_blocks() -> Iterator[None]:
    """Raises AssertionError at the end, should whoever asked have swallowed it."""
    GUARD.listening += 1
    try:
        yield
    finally:
        GUARD.listening -= 1
    caught, GUARD.caught = GUARD.caught, []
    assert not caught, "\n".join(caught)
