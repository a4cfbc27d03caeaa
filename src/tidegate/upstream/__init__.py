"""Who answers this call, and what if they do not? READ SECOND: the inner ring, once per attempt.

The loop over attempts has returned before the first event is shown to anybody. So until then everything can be tried
again or elsewhere, and after it nothing is: what goes wrong later is the reply's last event.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from tidegate.core.call import Asked, Call, Event, ReplyHead, Route, Source
from tidegate.core.errors import UpstreamTimeout
from tidegate.core.ports import Codecs, Timeouts
from tidegate.core.world import World
from tidegate.upstream import retry
from tidegate.upstream.attempt import Stream
from tidegate.upstream.retry import Failure


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How providers are asked.

    retry: how often, and how long to wait.
    connect: seconds to reach a provider.
    first_byte: seconds from the request to the head of the answer.
    idle: seconds of silence within an answer.
    """

    retry: retry.Config = retry.Config()
    connect: float = 5.0
    first_byte: float = 60.0
    idle: float = 60.0


class Upstream:
    def __init__(self, config: Config, world: World, codecs: Codecs) -> None:
        self.config = config
        self.world = world
        self.codecs = codecs

    def timeouts(self, left_s: float) -> Timeouts:
        """Of an attempt when so much of the route's time is left."""
        config = self.config
        return Timeouts(config.connect, min(config.first_byte, left_s), config.idle, left_s)

    def open(self, call: Call) -> Opening:
        """`async with upstream.open(call) as source`: an answer, won. Raises what is left when nobody gave one."""
        return Opening(self, call)


class Opening:
    """One call's way through its targets; holds the exchange that won until it is left."""

    __slots__ = ("_call", "_ring", "_stream", "_world")

    def __init__(self, ring: Upstream, call: Call) -> None:
        self._ring = ring
        self._world = ring.world
        self._call = call
        self._stream: Stream | None = None

    async def __aenter__(self) -> Source:
        try:
            return await self._win()
        except BaseException:
            self._leave()  # what was never entered is never exited: a call that is cancelled here holds a connection
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    async def _win(self) -> Source:
        """Ask target after target until one has begun to answer."""
        call, config = self._call, self._ring.config.retry
        assert call.route is not None and call.asked is not None
        own = self._own_answer(call.asked, call.route)
        if own is not None:
            return own
        failures: list[str] = []
        last: Failure | None = None
        for target in call.route.targets:
            for tries in range(1, config.tries + 1):
                left_s = self._left_s(call.route)
                if left_s <= 0:
                    raise UpstreamTimeout(_nobody(call.route, failures, f"{call.route.timeout_s:g} s are over"))
                if call.attempts and call.bill is not None:
                    await call.bill.extend(target)  # 402 429: what is tried again is paid for again
                self._stream = stream = Stream(self._world, call, target)
                last = await stream.win(self._ring.codecs, self._ring.timeouts(left_s))
                if last is None:
                    return stream
                stream.close()
                failures.append(f"{target.name}: {last.said}")
                step = retry.next_step(last, tries, config)
                if step == "give_back":
                    raise last.error(last.said)
                if step == "next":
                    break
                await self._world.clock.sleep(
                    min(retry.wait_s(last, tries, config, random.random()), max(self._left_s(call.route), 0.0))
                )
        assert last is not None  # a route has at least one target
        raise last.error(_nobody(call.route, failures, "nobody is left to ask"))

    def _own_answer(self, asked: Asked, route: Route) -> Source | None:
        """What we can answer ourselves, when no provider of the route can."""
        operation = asked.codec.operation
        if any((target.provider.dialect, operation) in self._ring.codecs for target in route.targets):
            return None
        event = asked.codec.own_answer(asked)
        return OwnAnswer(asked.codec.dialect, event) if event else None

    def _leave(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def _left_s(self, route: Route) -> float:
        return route.timeout_s - (self._world.clock.now_ns() - self._call.arrived_ns) / 1e9


def _nobody(route: Route, failures: list[str], why: str) -> str:
    return f"route {route.name!r}: {why} ({'; '.join(failures) or 'no attempt was made'})"


class OwnAnswer:
    """A reply that nobody had to be asked for."""

    def __init__(self, dialect: str, event: Event) -> None:
        self.head = ReplyHead(dialect, [(b"content-type", b"application/json")], None)
        self._event = event

    def begin(self, push: Callable[[list[Event]], None]) -> None:
        push([self._event])

    def pause(self) -> None:
        """It is here already."""

    def resume(self) -> None:
        """It is here already."""
