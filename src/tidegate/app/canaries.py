"""Who has the candidate? A second Gateway on the same World, for a share of the units, until it is promoted or not.

What is tried stands in the store, so that all processes go along within a second or two. Each decides on the calls that
it has answered itself; one that finds the candidate worse takes it back for all. Without the store each takes it back
for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

from msgspec.structs import replace

from tidegate.api.arms import Chooser
from tidegate.app.candidate import Candidate, Files
from tidegate.config import Config
from tidegate.core import canary
from tidegate.core.canary import Canary, Report, Wish
from tidegate.core.errors import (
    BadRequest,
    ConfigError,
    Conflict,
    NotFound,
    StorageFull,
    StoreDown,
    TidegateError,
)
from tidegate.core.own import HOUSE
from tidegate.core.ports import Acted, Provider, Setting
from tidegate.core.world import World
from tidegate.gateway import Gateway
from tidegate.storage.archive import told
from tidegate.telemetry import Listeners
from tidegate.telemetry.canary import Tallies

ID = "config.canary"  # of the setting
LOOK_S = 1.0  # how often each process looks what the others know
KEPT_MS = 7 * 86_400_000  # so long the last one is shown


class Side(NamedTuple):
    """What is tried, in this process."""

    fingerprint: str
    config: Config
    gateway: Gateway


class Hands(NamedTuple):
    """What the house does."""

    config: Callable[[], Config]  # as it answers now
    build: Callable[[Candidate], Awaitable[Side]]  # raises ConfigError
    become: Callable[[Side], Awaitable[None]]
    let_go: Callable[[Side], None]
    choose: Callable[[Chooser | None], None]


class Keeper:
    """Of this process: what it knows of the canary, and what it does about it."""

    def __init__(self, world: World, listeners: Listeners, files: Files | None, hands: Hands) -> None:
        self._world = world
        self._listeners = listeners
        self._files = files
        self._hands = hands
        self._known: Canary | None = None
        self._side: Side | None = None
        self._owed: Canary | None = None  # decided here, and not yet in the store
        self._missed: tuple[str, str | None] = ("", None)  # the canary that this process cannot have, with its file
        self.tallies = Tallies(world, self.wake)
        self._busy = asyncio.Lock()
        self._awake = asyncio.Event()

    def wake(self) -> None:
        self._awake.set()

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._awake.wait()
            self._awake.clear()
            try:
                await self.look()
            except Exception as wrong:  # noqa: BLE001 while somebody has a candidate, somebody must watch it
                self._world.events.notice("crash", {"path": "canary", "error": repr(wrong)})

    async def look(self) -> None:
        """Go along with what the others know, then decide on what was seen here."""
        async with self._busy:
            try:
                if self._owed is not None:
                    await self._pay()
                await self._follow(await self._stored())
            except StoreDown:
                pass  # what is known holds on, and can be taken back all the same
            await self._judge()

    # --- what an administrator does

    async def start(self, wish: Wish, by: str) -> Canary:
        async with self._busy:
            found = await self._stored()
            now_ms = self._now_ms()
            if found is not None and found.state == "running":
                raise Conflict(f"configuration {found.fingerprint} is tried already; promote it, or roll it back first")
            if not 0 < wish.share < 1:
                raise BadRequest("share: more than 0 and less than 100%; promote gives it to everybody", param="share")
            candidate = await self._candidate()
            side = await self._build(candidate)
            salt = self._world.chance.hex()
            begun = Canary(
                candidate.fingerprint, salt, wish, self._hands.config().canary, began_ms=now_ms, since_ms=now_ms, by=by
            )
            try:
                await self._write(found, begun)
            except BaseException:
                self._hands.let_go(side)
                raise
            self._have(side, begun)
            self._notice("canary_started", begun)
            return begun

    async def report(self) -> Report:
        found = await self._stored()
        if found is None:
            raise NotFound("no configuration is tried, nor was one lately; start one with: tidegate canary start")
        here = self._side is not None and self._side.fingerprint == found.fingerprint
        new, old = self.tallies.seen()
        return Report(found, here, new, old)

    async def advance(self, share: float, by: str) -> Canary:
        async with self._busy:
            found = await self._running()
            if not found.wish.share < share < 1:
                raise BadRequest(
                    f"share: more than {found.wish.share:.1%} and less than 100%; roll_back ends it, and promote gives "
                    "it to everybody",
                    param="share",
                )
            more = replace(
                found, wish=replace(found.wish, share=share), stage=found.stage + 1, since_ms=self._now_ms(), by=by
            )
            await self._write(found, more)
            await self._follow(more)
            self._notice("canary_advanced", more)
            return more

    async def promote(self, by: str) -> Canary:
        async with self._busy:
            return await self._end(await self._running(), "promoted", by, "somebody said so")

    async def roll_back(self, by: str, why: str) -> Canary:
        async with self._busy:
            return await self._end(await self._running(), "rolled_back", by, why or "somebody said so")

    async def changed(self, before: Config, now: Config) -> None:
        """The configuration itself was read anew: then the two cannot be compared any more."""
        async with self._busy:
            side, known = self._side, self._known
            if side is None or known is None or known.state != "running" or now == before:
                return
            same = now == side.config
            why = "its file became the configuration" if same else "the configuration itself was changed meanwhile"
            with suppress(Conflict):  # another process was first
                await self._end(known, "promoted" if same else "rolled_back", HOUSE, why)

    # --- what is decided here

    async def _judge(self) -> None:
        known, side = self._known, self._side
        if known is None or known.state != "running" or side is None:
            return
        tallies = self.tallies
        verdict = canary.judge(known, tallies.candidate, tallies.control, self._world.clock.now_ns(), self._now_ms())
        if verdict.did == "wait":
            return
        with suppress(Conflict):  # another process was first, and we follow it in a moment
            try:
                await self._end(known, "rolled_back" if verdict.did == "roll_back" else "promoted", HOUSE, verdict.why)
            except StoreDown:
                if verdict.did == "roll_back":
                    self._owed = self._ended(known, "rolled_back", HOUSE, verdict.why)
                    await self._apply(self._owed)
                    self._act(self._owed, known)

    async def _end(self, found: Canary, state: canary.State, by: str, why: str) -> Canary:
        ended = self._ended(found, state, by, why)
        await self._write(found, ended)
        await self._apply(ended)
        self._act(ended, found)
        return ended

    def _ended(self, found: Canary, state: canary.State, by: str, why: str) -> Canary:
        return replace(found, state=state, since_ms=self._now_ms(), by=by, why=why)

    async def _pay(self) -> None:
        """Tell the store what was decided while it was away."""
        owed, self._owed = self._owed, None
        found = await self._stored()
        if owed is not None and found is not None and (found.salt, found.state) == (owed.salt, "running"):
            try:
                await self._write(found, owed)
            except Conflict:
                return
            except StoreDown:
                self._owed = owed
                raise

    # --- as others decide

    async def _follow(self, found: Canary | None) -> None:
        known = self._known
        if found == known and (found is None or found.state != "running" or self._side is not None):
            return
        if found is None:
            self._drop()
            self._known = None
            return
        if found.state != "running":
            if known is not None and known.state == "running":
                await self._apply(found)
            self._known = found
            return
        if self._side is None or self._side.fingerprint != found.fingerprint:
            side = await self._beside(found)
            if side is None:
                self._known = found
                return
            self._have(side, found)
        elif known is None or known.stage != found.stage or known.salt != found.salt:
            self._have(self._side, found)

    async def _beside(self, found: Canary) -> Side | None:
        """The same candidate in this process; None where its file is another here, which is said once of each."""
        here = await asyncio.to_thread(self._files.there) if self._files is not None else None
        if self._missed == (found.salt, here):
            return None
        self._drop()
        try:
            candidate = await self._candidate()
            if candidate.fingerprint != found.fingerprint:
                raise ConfigError(f"its file here is {candidate.fingerprint}; put the same one on all machines")
            return await self._build(candidate)
        except TidegateError as wrong:
            self._missed = (found.salt, here)
            self._notice("canary_missing", found, error=wrong.message, now="this process has the configuration alone")
            return None

    async def _apply(self, ended: Canary) -> None:
        """It is over: nobody has the candidate any more, or everybody has."""
        side, self._known = self._side, ended
        self._choose(None)
        name = "canary_promoted" if ended.state == "promoted" else "canary_rolled_back"
        if ended.state == "promoted" and side is not None and side.config != self._hands.config():
            try:
                await self._hands.become(side)
            except ConfigError as wrong:  # a file of it has changed since
                self._notice("reload_refused", ended, error=wrong.message, now="as before")
        self._drop()
        self._notice(name, ended)
        if ended.state == "promoted" and self._files is not None:
            try:
                await asyncio.to_thread(self._files.settle, ended.fingerprint)
            except ConfigError as wrong:
                self._notice("canary_not_written", ended, error=wrong.message)

    def _have(self, side: Side, known: Canary) -> None:
        self._side, self._known = side, known
        self.tallies.begin(known)
        self._choose(Chooser(known, side.gateway))

    def _choose(self, chooser: Chooser | None) -> None:
        self._hands.choose(chooser)
        self._listeners.remove(self.tallies)
        if chooser is None:
            self.tallies.end()
        else:
            self._listeners.add(self.tallies)

    def _drop(self) -> None:
        """What is under way ends as it began."""
        side, self._side = self._side, None
        if side is not None:
            self._choose(None)
            self._hands.let_go(side)

    # --- the store, and what is told

    async def _stored(self) -> Canary | None:
        found = await self._world.store.find(Setting, ID)
        return canary.read(found.value) if found is not None and found.until_ms > self._now_ms() else None

    async def _running(self) -> Canary:
        found = await self._stored()
        if found is None or found.state != "running":
            raise NotFound("no configuration is tried just now; start one with: tidegate canary start")
        return found

    async def _write(self, was: Canary | None, now: Canary) -> None:
        """Raises Conflict when it was not `was` any more, StoreDown."""
        store, until_ms = self._world.store, now.since_ms + KEPT_MS
        if now.state == "running":
            until_ms = max(until_ms, now.until_ms + KEPT_MS)
        text = canary.stored(now)
        found = await store.find(Setting, ID)
        try:
            if found is None:
                await store.add(Setting(ID, text, until_ms, now.by, now.since_ms))
                return
        except ValueError:
            raise Conflict("somebody else was first; look again") from None
        expected = canary.read(found.value) if found.until_ms > self._now_ms() else None
        if expected == was and await store.change(found, value=text, until_ms=until_ms, by=now.by) is not None:
            return
        raise Conflict("somebody else was first; look again")

    async def _candidate(self) -> Candidate:
        if self._files is None:
            raise NotFound("this gateway was not started from a file, so that there is none beside it to be tried")
        found = await asyncio.to_thread(self._files.read)
        if found is None:
            raise NotFound(f"there is no {self._files.candidate} to be tried; write one, as the configuration shall be")
        return found

    async def _build(self, candidate: Candidate) -> Side:
        if candidate.config == self._hands.config():
            raise BadRequest("what is to be tried is what answers already")
        return await self._hands.build(candidate)

    def _act(self, ended: Canary, was: Canary) -> None:
        """What nobody was asked for stands in the audit log like all else."""
        if ended.by != HOUSE:
            return
        world = self._world
        after = {"state": ended.state, "why": ended.why}
        before = {"share": was.wish.share, "stage": was.stage}
        id = f"act_{ended.since_ms:011x}{world.chance.hex()}"
        act = Acted(
            id, ended.since_ms, f"canary_{ended.state}", ended.fingerprint, HOUSE, "", told(before), told(after)
        )
        try:
            world.ledger.append(act)
        except StorageFull as full:
            world.events.notice("act_not_recorded", {"did": act.did, "id": act.of, "error": full.message})

    def _notice(self, name: str, of: Canary, **fields: Any) -> None:
        said = {"config": of.fingerprint, "share": f"{of.wish.share:.1%}", "by": of.by, "why": of.why or None, **fields}
        self._world.events.notice(name, {field: value for field, value in said.items() if value is not None})

    def _now_ms(self) -> int:
        return self._world.clock.wall_ns() // 1_000_000

    @property
    def providers(self) -> list[Provider]:
        """To be ended with the house."""
        return [*self._side.gateway.providers.values()] if self._side is not None else []
