"""Do all processes agree on which targets are set aside? Each decides for itself, and tells the others at once.

Of two that differ the one that noticed later is right. Without the counters each goes on with what it knows.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tidegate.core.errors import StoreDown
from tidegate.core.world import World
from tidegate.upstream.breaker import State as BreakerState
from tidegate.upstream.targets import State, Targets

BOARD = "breakers"
EVERY_S = 0.4  # two processes agree within twice that
KEPT_S = 3_600.0  # on the board; what is still so is said again long before
AGAIN_S = 60.0


class Note(msgspec.Struct, frozen=True):
    """What a process knows of a breaker. Milliseconds since 1970: clocks that count from a start differ by process."""

    state: BreakerState
    why: str
    since_ms: int
    until_ms: int
    forced: bool


_NOTE = msgspec.json.Decoder(Note)


class Sharing:
    def __init__(self, world: World, targets: Targets) -> None:
        self._world = world
        self._targets = targets
        self._alone = False  # and said so
        self._said_all_ns = world.clock.now_ns()

    async def run(self) -> None:
        while True:
            await self.exchange()
            await self._world.clock.sleep(EVERY_S)

    async def exchange(self) -> None:
        """Read what others noticed, then tell what we did."""
        try:
            notes = await self._world.counters.notes(BOARD)
            for name, text in notes.items():
                self._hear(name, text)
            self._say_all_now_and_then()
            for name in list(self._targets.changed):
                note = msgspec.json.encode(self._note(self._targets.named(name)))
                await self._world.counters.note(BOARD, name, note, KEPT_S)
                self._targets.changed.discard(name)
        except StoreDown as down:
            if not self._alone:
                self._alone = True
                self._notice("breakers_not_shared", error=down.message, now="each process goes by what it sees itself")
            return
        if self._alone:
            self._alone = False
            self._said_all_ns = 0  # the board may have been wiped
            self._notice("breakers_shared_again")

    def _hear(self, name: str, text: bytes) -> None:
        try:
            note = _NOTE.decode(text)
        except msgspec.DecodeError:
            return  # of another version, while one is rolled out
        if note.state == "closed" and not self._targets.knows(name):
            return
        state = self._targets.named(name)
        ours = self._note(state)
        if (note.state, note.forced) == (ours.state, ours.forced):
            return
        if note.since_ms <= ours.since_ms:
            self._targets.changed.add(name)  # we know better, and whoever wrote this did not
            return
        now_ns, now_ms = self._world.clock.now_ns(), self._world.clock.wall_ns() // 1_000_000
        since_ns = now_ns - max(now_ms - note.since_ms, 0) * 1_000_000
        until_ns = now_ns + max(note.until_ms - now_ms, 0) * 1_000_000
        if state.breaker.agree(note.state, note.why, since_ns, until_ns, note.forced):
            self._targets.tell(state)

    def _note(self, state: State) -> Note:
        now_ns, now_ms = self._world.clock.now_ns(), self._world.clock.wall_ns() // 1_000_000
        about = state.breaker
        since_ms = (
            now_ms - (now_ns - about.since_ns) // 1_000_000 if about.why else 0
        )  # untouched: anybody knows better
        until_ms = now_ms + max(about.until_ns - now_ns, 0) // 1_000_000
        return Note(about.state, about.why, since_ms, until_ms, about.forced)

    def _say_all_now_and_then(self) -> None:
        now_ns = self._world.clock.now_ns()
        if now_ns - self._said_all_ns >= AGAIN_S * 1e9:
            self._said_all_ns = now_ns
            self._targets.changed |= {one.name for one in self._targets if one.breaker.why}

    def _notice(self, name: str, **fields: Any) -> None:
        self._world.events.notice(name, fields)
