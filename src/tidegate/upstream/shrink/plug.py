"""Who else can make a prompt shorter? An operator's own compressor, in a thread, and done without when it fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import msgspec

from tidegate.core.call import Call
from tidegate.core.ports.compressors import Compressor
from tidegate.core.world import World
from tidegate.upstream.shrink.relevant import Select

MOST = 4  # threads in which one compressor works; who finds none free goes without

T = TypeVar("T")


class Plugged(NamedTuple):
    """A compressor as it is configured."""

    type: str
    plugin: Callable[[Any], Compressor]
    settings: msgspec.Struct
    timeout_s: float


class Plug:
    """One compressor, made."""

    def __init__(self, plugged: Plugged, world: World) -> None:
        """Raises whatever the compressor raises: a house whose parts cannot be made does not start."""
        self.plugged = plugged
        self._compressor = plugged.plugin(plugged.settings)
        self._world = world
        self._busy = 0

    async def with_it(self, call: Call, work: Callable[[Select], T]) -> T | None:
        """What `work` makes with the compressor; None, and a notice, where it has failed or takes too long."""
        if self._busy >= MOST:
            self._failed(call, f"{MOST} texts are with it already")
            return None
        self._busy += 1
        done: asyncio.Future[T] = self._world.loop.create_future()
        # A thread of its own, and no pool's: one that hangs must hold up nobody, nor the end of the process.
        threading.Thread(target=self._work, args=(work, done), name="compress", daemon=True).start()
        try:
            async with asyncio.timeout(self.plugged.timeout_s):
                return await done
        except TimeoutError:
            self._failed(call, f"it took longer than {self.plugged.timeout_s:g} s")
        except Exception as wrong:  # noqa: BLE001 it is a plugin, and whatever it raises means the same
            self._failed(call, repr(wrong)[:200])
        return None

    def _failed(self, call: Call, error: str) -> None:
        told = {"compressor": self.plugged.type, "request_id": call.id, "error": error}
        self._world.events.notice("compressor_failed", told)

    # --- in the thread

    def _work(self, work: Callable[[Select], T], done: asyncio.Future[T]) -> None:
        found: T | Exception
        try:
            found = work(self._select)
        except Exception as wrong:  # noqa: BLE001 told above, by who waits
            found = wrong
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            self._world.loop.call_soon_threadsafe(self._done, done, found)

    def _select(self, question: str, texts: Sequence[str], target: float) -> Sequence[str] | None:
        """Raises ValueError for what is no answer."""
        short = self._compressor.compress(question, texts, target)
        if short is None:
            return None
        if len(short) != len(texts) or not all(isinstance(one, str) for one in short):
            raise ValueError(f"it was given {len(texts)} texts, and did not answer with as many")
        return short if sum(map(len, short)) < sum(map(len, texts)) else None

    # --- on the loop

    def _done(self, done: asyncio.Future[T], found: T | Exception) -> None:
        self._busy -= 1
        if done.done():
            return  # nobody waits any more
        if isinstance(found, Exception):
            done.set_exception(found)
        else:
            done.set_result(found)
