"""How does a reply come from another process? In sealed parts: how it begins, its bytes, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import msgspec

from tidegate.core.call import Call, Event, ReplyHead
from tidegate.core.errors import ShuttingDown, StoreDown, TidegateError, UpstreamCutOff, UpstreamFailed, UpstreamTimeout
from tidegate.core.money import Usage
from tidegate.core.ports import Codecs, Place, Relay, Vault
from tidegate.core.world import World
from tidegate.stages.cache.exact import kept_headers

LOOK_S = (0.005, 0.04)  # how often to look for what comes, at first and later
LOST_S = 4.0  # the server of what is told may be away for so long
ERRORS: dict[str, type[TidegateError]] = {
    one.code: one for one in (UpstreamCutOff, UpstreamFailed, UpstreamTimeout, ShuttingDown)
}


class Begin(msgspec.Struct, frozen=True, array_like=True, tag="begin"):
    dialect: str
    operation: str
    stream: bool
    wants_usage: bool
    status: int
    headers: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def of(cls, head: ReplyHead, operation: str, form: tuple[bool, bool]) -> Begin:
        return cls(head.dialect, operation, *form, head.status, kept_headers(head.headers))

    @property
    def head(self) -> ReplyHead:
        return ReplyHead(self.dialect, self.headers, None, self.status)


class Said(msgspec.Struct, frozen=True, array_like=True, tag="said"):
    body: bytes


class End(msgspec.Struct, frozen=True, array_like=True, tag="end"):
    usage: Usage
    cost_nusd: int | None
    error: str | None = None  # its code
    message: str = ""

    @classmethod
    def of(cls, last: Event, call: Call) -> End:
        wrong = last.error
        return cls(call.usage, call.cost_nusd, wrong.code if wrong else None, wrong.message if wrong else "")


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """It is too long to be told from its beginning."""


Part = Begin | Said | End | Refused
_PART = msgspec.msgpack.Decoder(Part)
LIVE = Place("cache", column="live")
_PACK = msgspec.msgpack.Encoder().encode


def sealed(parts: Iterable[Part], vault: Vault) -> list[bytes]:
    return [vault.seal(_PACK(part), LIVE) for part in parts]


def unsealed(parts: Iterable[bytes], vault: Vault) -> list[Part]:
    """Raises ValueError for what was not put there by us."""
    return [_PART.decode(vault.unseal(part, LIVE)) for part in parts]


class Live:
    """A reply that another process is buying, as a source. `parts`: what has come so far, beginning with a Begin.

    `ended` is called with how it ended, before its last event is pushed; not when it broke on the way.
    """

    def __init__(
        self,
        world: World,
        relay: Relay,
        vault: Vault,
        codecs: Codecs,
        parts: Sequence[bytes],
        place: tuple[bytes, str],
        deadline_ns: int,
    ) -> None:
        """Raises ValueError for what is no reply."""
        begin, *self._first = unsealed(parts, vault)
        codec = codecs.get((begin.dialect, begin.operation)) if isinstance(begin, Begin) else None
        if not isinstance(begin, Begin) or codec is None:
            raise ValueError("it does not begin as a reply does")
        self.head = begin.head
        self.form = (begin.stream, begin.wants_usage)
        self.ended: Callable[[End], None] = _unheard
        self._decoder = codec.decoder(stream=begin.stream, withhold_usage=False)
        self._world = world
        self._relay = relay
        self._vault = vault
        self._key, self._holder = place
        self._deadline_ns = deadline_ns
        self._at = len(parts)
        self._task: asyncio.Task[None] | None = None
        self._goes_on = asyncio.Event()
        self._goes_on.set()

    def begin(self, push: Callable[[list[Event]], None]) -> None:
        events = self._events(self._first)
        if events:
            push(events)
        if not events or not events[-1].last:
            self._task = self._world.nursery.spawn(self._read(push), f"read along {self._holder}")

    def pause(self) -> None:
        self._goes_on.clear()

    def resume(self) -> None:
        self._goes_on.set()

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _read(self, push: Callable[[list[Event]], None]) -> None:
        clock, wait_s = self._world.clock, LOOK_S[0]
        heard_ns = clock.now_ns()
        while True:
            await clock.sleep(wait_s)
            await self._goes_on.wait()
            held, now_ns = True, clock.now_ns()
            parts: Sequence[bytes] = ()
            try:
                held, parts = await self._relay.read(self._key, self._holder, self._at)
                heard_ns = now_ns
            except StoreDown:
                held = now_ns - heard_ns < LOST_S * 1e9
            self._at += len(parts)
            try:
                events = self._events(unsealed(parts, self._vault))
            except ValueError:
                held, events = False, []
            if not parts and not held:
                events = [_broken("the process that was buying this answer has ended; ask again")]
            elif now_ns > self._deadline_ns:
                events = [Event(last=True, error=UpstreamTimeout("the answer took longer than the route allows"))]
            if events:
                push(events)
                if events[-1].last:
                    return
            wait_s = LOOK_S[0] if parts else min(2 * wait_s, LOOK_S[1])

    def _events(self, parts: Iterable[Part]) -> list[Event]:
        events: list[Event] = []
        try:
            for part in parts:
                if isinstance(part, Said):
                    events += self._decoder.feed(part.body)
                elif isinstance(part, End):
                    return self._last(events, part)
        except TidegateError as wrong:
            events.append(Event(last=True, error=wrong))
        return events

    def _last(self, events: list[Event], end: End) -> list[Event]:
        """What it used is told before its end: the chunk that says so is withheld from who does not ask for it."""
        if end.error is not None:
            self.ended(end)
            wrong = ERRORS.get(end.error, UpstreamCutOff)(end.message)
            return [*events, Event(last=True, error=wrong)]
        events += self._decoder.end()
        if not events or not events[-1].last:
            return [*events, _broken("its end did not come")]
        self.ended(end)
        return [*events[:-1], Event(usage=end.usage), events[-1]] if self.form[0] else events


def _broken(why: str) -> Event:
    return Event(last=True, error=UpstreamCutOff(why))


def _unheard(end: End) -> None:
    """Nobody wants to know."""
