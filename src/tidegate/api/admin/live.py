"""What is new? The answer to one question, again and again, as server-sent events, for as long as somebody listens."""

from collections.abc import Awaitable, Callable

from fastapi.responses import StreamingResponse

from tidegate.api.admin.requests import ALIVE_S
from tidegate.core.errors import StoreDown
from tidegate.core.world import World

EVERY_S = 2.0
LONGEST_S = 86_400


class Live:
    """`look()` is the JSON of an event, or None where there is nothing new. While the store is away there is none, and
    whoever listens sees how old the last one is."""

    def __init__(
        self, world: World, look: Callable[[], Awaitable[bytes | None]], first: bytes | None, seconds: float,
        every_s: float = EVERY_S,
    ) -> None:  # fmt: skip
        self._world = world
        self._look = look
        self._next = first
        self._every_s = every_s
        self._until_ns = world.clock.now_ns() + round(seconds * 1e9)

    def __aiter__(self) -> "Live":
        return self

    async def __anext__(self) -> bytes:
        silent_s, away = 0.0, False
        while self._next is None:
            if self._world.clock.now_ns() >= self._until_ns or self._world.closing.is_set():
                raise StopAsyncIteration
            await self._world.clock.sleep(self._every_s)
            silent_s += self._every_s
            try:
                self._next, away = await self._look(), False
            except StoreDown:
                away = True
            if self._next is None and silent_s >= ALIVE_S:
                return b": the store is away\n\n" if away else b": nothing new\n\n"
        shown, self._next = self._next, None
        return b"data: " + shown + b"\n\n"


async def live(
    world: World, look: Callable[[], Awaitable[bytes | None]], seconds: float, every_s: float = EVERY_S
) -> StreamingResponse:
    """What is wrong at the first look is an error, and not the end of an answer."""
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    events = Live(world, look, await look(), seconds, every_s)
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)
