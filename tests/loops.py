"""Which event loops is it to hold on? Both; and on both time stands still while others have the core."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.clock import BEAT_S, STARVED_S, JumpingLoop


def both_loops() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What `pytest_asyncio_loop_factories` returns where every test is to run on each event loop there is."""
    if sys.platform == "win32":
        return {"asyncio": JumpingLoop}
    return {"asyncio": JumpingLoop, "uvloop": PatientLoop}


if sys.platform != "win32":
    import uvloop

    class PatientLoop(uvloop.Loop, asyncio.AbstractEventLoop):
        """uvloop's, which has no place to learn how long it had no core: so it looks again and again, between beats."""

        def __init__(self) -> None:
            super().__init__()
            self._starved_s = 0.0
            self._looked_s, self._looked_cpu_s = time.monotonic(), time.thread_time()
            super().call_later(BEAT_S, self._beat)

        def time(self) -> float:
            return super().time() - self._starved_s

        def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
            return self.call_at(self.time() + delay, callback, *args, context=context)

        def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
            return _Timer(self, when, lambda: callback(*args), context)

        def _beat(self) -> None:
            self.look()
            super().call_later(BEAT_S, self._beat)

        def look(self) -> float:
            """How long it has had no core, in all and in seconds."""
            now, cpu = time.monotonic(), time.thread_time()
            late_s = (now - self._looked_s) - (cpu - self._looked_cpu_s) - BEAT_S
            self._looked_s, self._looked_cpu_s = now, cpu
            if late_s > STARVED_S:
                self._starved_s += late_s
            return self._starved_s

        def wake_at(self, when: float, then: Callable[[], None], context: contextvars.Context) -> asyncio.TimerHandle:
            return super().call_later(max(when - self.time(), 0), then, context=context)

    class _Timer:
        """Set once more for as long as the loop had no core since."""

        def __init__(
            self, loop: PatientLoop, when: float, then: Callable[[], Any], context: contextvars.Context | None
        ) -> None:
            self._loop, self._when, self._then = loop, when, then
            self._context = context or contextvars.copy_context()
            self._set()

        def _set(self) -> None:
            self._starved_s = self._loop.look()
            self._handle = self._loop.wake_at(self._when, self._due, self._context)

        def _due(self) -> None:
            if self._loop.look() > self._starved_s:
                self._set()
            else:
                self._then()

        def when(self) -> float:
            return self._when

        def cancel(self) -> None:
            self._handle.cancel()

        def cancelled(self) -> bool:
            return self._handle.cancelled()
