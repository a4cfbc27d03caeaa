"""Who is at the lines of batches? One worker in each process: it leases a few, asks them, and writes what came of each.

A line is leased for half a minute, and the lease is renewed while it is asked; of a process that died the lease ends,
and another one asks again. A slot is free when the result of its line is in the database: so what a crash can cost is
what was under way, never more.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol
from zoneinfo import ZoneInfo

from tidegate.core.batches import Mistake, Said, may_ask
from tidegate.core.call import Call, Target
from tidegate.core.errors import Internal, StoreDown, TidegateError
from tidegate.core.parcels import COMES_AGAIN, HandedOver
from tidegate.core.ports import Batches
from tidegate.core.ports.batches import Batch, Fate, Line
from tidegate.core.world import World
from tidegate.gateway import Gateway
from tidegate.jobs.batches.asking import Accounts, answer, call_of, refused
from tidegate.jobs.batches.courier import Courier
from tidegate.jobs.batches.reading import take_in
from tidegate.jobs.batches.tries import PROVIDERS, again

LEASE_MS = 30_000
RENEW_MS = LEASE_MS // 3
LOOK_S = 1.0  # how often to look at the database while there is work
IDLE_S = 1.0  # and while there is none: another process may have been given some
AGAIN_S = 1.0
ERASED = Said(None, code="erased", message="what was asked here was erased")


class Door(Protocol):
    """The front door, seen from inside; the gateway behind it changes with the configuration."""

    gateway: Gateway | None


class Worker:
    def __init__(self, world: World, store: Batches, door: Door, zone: ZoneInfo) -> None:
        self._world = world
        self._store = store
        self._door = door
        self._zone = zone
        self._accounts = Accounts(world)
        self._most = store.config.at_once
        self._holder = world.chance.hex()
        self._open: list[Batch] = []
        self._turn = 0  # whose lines are taken next
        self._dry: set[str] = set()  # batches of which nobody has anything to take just now
        self._reading: set[str] = set()  # batches whose lines are read here
        self._pauses: dict[str, int] = {}  # by batch: nothing is asked before
        self._waiting: deque[Line] = deque()  # leased, and not asked yet
        self._beside: Counter[str] = Counter()  # lines under way, by batch
        self._ended: list[tuple[Fate, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._held_ms = self._looked_ms = 0
        self._woken = False  # by ourselves
        self._task: asyncio.Task[None] | None = None
        self._told = False  # that the database is away
        self.lines: Counter[str] = Counter()  # ended here, by how
        self.courier = Courier(world, store, self._holder, self._brought)
        self.pending = 0  # in the database, when it was looked at last
        self.oldest_ms: int | None = None  # when the oldest batch that goes on was made

    # --- for who looks at it

    @property
    def under_way(self) -> int:
        return self._beside.total()

    def lag_s(self) -> float:
        return 0.0 if self.oldest_ms is None else max(self._now_ms() - self.oldest_ms, 0) / 1000

    # --- its day

    def start(self) -> None:
        self._task = self._world.loop.create_task(self._run(), name="batches")

    async def aclose(self) -> None:
        """What is not asked yet is left to others."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._writing is not None and not self._writing.done():
            await asyncio.wait([self._writing], timeout=AGAIN_S)
            self._writing.cancel()
            await asyncio.wait([self._writing])
        if self._held_ms:
            with suppress(StoreDown):
                await self._store.release(self._holder, self._now_ms())

    def _now_ms(self) -> int:
        return self._world.clock.wall_ns() // 1_000_000

    async def _run(self) -> None:
        while not self._world.closing.is_set():
            self._store.news.clear()
            try:
                await self.step()
                self._told = False
            except StoreDown as down:
                self._wait(down)
            except Exception as crash:  # noqa: BLE001 what is wrong with one batch must not end all others
                self._world.events.notice("crash", {"error": repr(crash), "in": "batches"})
            await self._rest()
            if self._store.news.is_set() and not self._woken:
                self._looked_ms = 0  # a client has brought something, or taken it back
            self._woken = False

    async def _rest(self) -> None:
        """Until there is news, or it is time to look."""
        if not self._open:  # then it is of real time: nothing here waits for a moment to come
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_S):
                    await self._store.news.wait()
            return
        loop = self._world.loop
        news = loop.create_task(self._store.news.wait(), name="batches: news")
        timer = loop.create_task(self._world.clock.sleep(LOOK_S), name="batches: time to look")
        try:
            await asyncio.wait([news, timer], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (news, timer):
                task.cancel()
            await asyncio.wait([news, timer])

    async def step(self) -> None:
        """Look at what there is, if it is time; then see that nobody is idle."""
        now_ms = self._now_ms()
        # First: after a clock that jumped, or a machine that slept, a look would free what is being asked here.
        if self._held_ms and now_ms >= self._held_ms + RENEW_MS:
            self._held_ms = now_ms
            await self._store.hold(self._holder, now_ms + LEASE_MS)
        if now_ms >= self._looked_ms + round(LOOK_S * 1000) or not self._open:
            self._looked_ms = now_ms
            await self._look(now_ms)
        await self._take(now_ms)
        self._send()

    async def _look(self, now_ms: int) -> None:
        store = self._store
        self._open = await store.unended()
        self._dry.clear()
        self._pauses = {id: until for id, until in self._pauses.items() if until > now_ms}
        if not self._open:
            self.pending, self.oldest_ms = 0, None
            self.courier.give_back(())
            return
        self.oldest_ms = self._open[0].created_ms
        self.pending = await store.waiting()
        await store.release(None, now_ms)
        for batch in self._open:
            if batch.state == "validating" and batch.id not in self._reading:
                self._reading.add(batch.id)
                self._world.nursery.spawn(self._read(batch), "read a batch")
        await self._give_back(now_ms)
        gateway = self._door.gateway
        assert gateway is not None
        await self.courier.step({one.id: one for one in self._open}, gateway.providers)
        for batch in [one for one in self._open if one.state == "in_progress" and not self._beside[one.id]]:
            await self._end(batch, now_ms)

    async def _read(self, batch: Batch) -> None:
        """Beside all others: it may be long."""
        try:
            if not self._world.closing.is_set():
                await take_in(self._store, batch, self._holder, self._world.clock)
        except StoreDown as down:  # it is read again
            self._wait(down)
        except ValueError as wrong:  # sealed under a key that is not there, or changed
            mistake = Mistake(None, "unreadable_file", f"what was uploaded cannot be read: {wrong}")
            await self._store.filled(batch, [mistake], self._now_ms())
        finally:
            self._reading.discard(batch.id)
            self._looked_ms = 0
            self._wake()

    async def _give_back(self, now_ms: int) -> None:
        """Lines that are at hand, of batches that nothing is asked of any more."""
        asked = {one.id for one in self._open if self._may_ask(one, now_ms)}
        stale = [line for line in self._waiting if line.batch.id not in asked]
        if stale:
            self._waiting = deque(line for line in self._waiting if line.batch.id in asked)
        fates = [Fate(line, counted=False) for line in stale]
        for id in self.courier.gathered - asked:
            fates += self.courier.drop(id)
        if fates:
            await self._store.settle(self._holder, fates)

    def _send(self) -> None:
        """What was gathered for providers, of batches of which nothing more is coming."""
        for id in self.courier.gathered & self._dry:
            if not self._beside[id] and all(line.batch.id != id for line in self._waiting):
                self.courier.send(id)

    async def _end(self, batch: Batch, now_ms: int) -> None:
        ended = await self._store.end(batch, now_ms)
        if ended is not None:
            counts = ended.counts
            fields = {"batch": ended.id, "ended": ended.ended, "lines": counts.total, "answered": counts.done}
            self._world.events.notice("batch_ended", fields)

    # --- lines

    async def _take(self, now_ms: int) -> None:
        """Twice as many as are asked at once, so that the next is at hand when one ends."""
        while not self._world.closing.is_set():
            ready = [one for one in self._open if self._is_ready(one, now_ms)]
            room = 2 * self._most - len(self._waiting) - self.under_way
            if not ready or room < self._most // 2 + 1:
                return
            self._turn += 1
            batch, share = ready[self._turn % len(ready)], max(room // len(ready), 1)
            taken = await self._store.take(batch, self._holder, share, now_ms, now_ms + LEASE_MS)
            self._held_ms = self._held_ms or now_ms
            if len(taken) < share:
                self._dry.add(batch.id)
            self._waiting.extend(taken)
            self._begin()

    def _is_ready(self, batch: Batch, now_ms: int) -> bool:
        return batch.id not in self._dry and self._pauses.get(batch.id, 0) <= now_ms and self._may_ask(batch, now_ms)

    def _may_ask(self, batch: Batch, now_ms: int) -> bool:
        return (
            batch.state == "in_progress"
            and batch.cancelled_ms is None
            and now_ms < batch.until_ms
            and may_ask(self._store.config.hours, self._zone, now_ms, batch.until_ms)
        )

    def _begin(self) -> None:
        """Ask the next lines, as many as there are slots."""
        while self._waiting and self.under_way < self._most and not self._world.closing.is_set():
            line = self._waiting.popleft()
            self._beside[line.batch.id] += 1
            self._world.nursery.spawn(self._one(line), "a line of a batch", after=partial(self._over, line))

    def _over(self, line: Line, task: asyncio.Task[None]) -> None:
        self._beside[line.batch.id] -= 1
        self._beside += Counter()  # those of which there is none are dropped
        self._begin()
        if len(self._waiting) <= self._most // 2 or not self.under_way:
            self._wake()
        if not self.under_way and not self._waiting:
            self._looked_ms = 0  # it may be the last of its batch

    def _wait(self, down: StoreDown) -> None:
        if not self._told:  # once, until it answers
            self._told = True
            self._world.events.notice("batches_wait", {"error": down.message})

    def _wake(self) -> None:
        self._woken = True
        self._store.news.set()

    async def _one(self, line: Line) -> None:
        fate = await self._asked(line)
        if fate is None:
            return
        self.lines["again" if fate.said is None else fate.state] += 1
        await self._write(fate)

    async def _asked(self, line: Line) -> Fate | None:
        """None: it is handed over."""
        gateway, call = self._door.gateway, None
        assert gateway is not None
        pause_ms = self._pauses.get(line.batch.id, 0)
        if pause_ms > self._now_ms():  # it was taken before
            return Fate(line, at_ms=pause_ms, counted=False)
        if line.asked.custom_id is None:
            return Fate(line, "failed", ERASED)
        try:
            call = call_of(self._world, line, await self._accounts.of(line.batch))
            call.parceled = self.courier.may_go(line)
            status, body = await answer(gateway, call)
            return Fate(line, "done", Said(line.asked.custom_id, status, body, call.id))
        except HandedOver as handed:
            assert call is not None
            self.courier.gather(line, call.id, handed)
            return None
        except TidegateError as wrong:
            return self._refused(gateway, call, line, wrong)
        except Exception as crash:  # noqa: BLE001 one line must not end the others
            fields = {"batch": line.batch.id, "line": line.number, "error": repr(crash)}
            self._world.events.notice("crash", fields)
            return self._refused(gateway, call, line, Internal("Tidegate made a mistake; its log has the details"))

    async def _brought(self, line: Line, id: str, target: Target, body: bytes) -> Fate:
        """What came of one that was handed over: the answer to the call that it was then."""
        gateway = self._door.gateway
        assert gateway is not None
        call = call_of(self._world, line, await self._accounts.of(line.batch, is_bought=True))
        call.id = id
        gateway.receive(call, target, body)
        try:
            status, answered = await answer(gateway, call)
            return Fate(line, "done", Said(line.asked.custom_id, status, answered, id))
        except COMES_AGAIN as wrong:
            return self._refused(gateway, call, line, wrong)
        except TidegateError as wrong:
            await gateway.pay(call)
            if line.asked.custom_id is None:
                return Fate(line, "failed", ERASED)
            if isinstance(wrong, PROVIDERS):
                return Fate(line, counted=False, home=True)
            wrong.message = f"{wrong.message}; {target.name} has answered it, and that is paid for"
            return Fate(line, "failed", refused(gateway, call, line, wrong))

    def _refused(self, gateway: Gateway, call: Call | None, line: Line, wrong: TidegateError) -> Fate:
        id = line.batch.id
        found = again(wrong, line.tries, self._store.config.tries, self._beside[id] - 1)
        if found is None:
            return Fate(line, "failed", refused(gateway, call, line, wrong))
        at_ms = self._now_ms() + round(found.wait_s * 1000)
        if found.all:
            self._pauses[id] = max(self._pauses.get(id, 0), at_ms)
        return Fate(line, at_ms=at_ms, counted=found.counted)

    # --- what came of them

    async def _write(self, fate: Fate) -> None:
        """Return when it is in the database; several that end together are written together."""
        done = self._world.loop.create_future()
        self._ended.append((fate, done))
        if self._writing is None or self._writing.done():
            self._writing = self._world.loop.create_task(self._write_all(), name="write lines of batches")
        await done

    async def _write_all(self) -> None:
        while self._ended:
            some, self._ended = self._ended, []
            await self._settle([fate for fate, _ in some])
            for _, done in some:
                if not done.done():
                    done.set_result(None)

    async def _settle(self, fates: Sequence[Fate]) -> None:
        """However long the database is away: what was paid for is not thrown away."""
        while True:
            try:
                return await self._store.settle(self._holder, fates)
            except StoreDown as down:
                self._wait(down)
                await asyncio.sleep(AGAIN_S)
