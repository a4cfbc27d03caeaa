"""What do many processes count together? In Valkey, each question one step of Lua that nobody can come between."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from tidegate.core.errors import StoreDown
from tidegate.core.limits import Claim, Full, Meter, Taken
from tidegate.storage.valkey.claims import CLAIM, CORRECT, LEND, NOW, RAISE, RENEW, SERVERS_OWN, SETTLE
from tidegate.storage.valkey.cluster import connected
from tidegate.storage.valkey.connection import Asks, Notice, Refused, Script
from tidegate.storage.valkey.leases import Leases

START_S = 1.0  # a server that is there answers within this; else Tidegate starts without it
LEASE_S = 15.0  # what a process holds is given back so long after it was last heard of
BATCH = 500  # claims renewed in one step
GATHER_S = 0.05  # what is left in a busy place leaves with what comes within this
TICK_S = 1.0  # how often settlements that did not arrive are sent again

LEASE = Script(
    NOW
    + """
local has = redis.call('HMGET', KEYS[1], 'holder', 'until')
if has[1] and has[1] ~= ARGV[2] and now < tonumber(has[2]) then return 0 end
redis.call('HSET', KEYS[1], 'holder', ARGV[2], 'until', string.format('%.0f', now + ARGV[3]))
redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[3] / 1000) + 1000)
return 1
"""
)

GIVE_BACK = Script("""
if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
""")

# A note is until:value in a hash of its board; those that ran out go when the board is read.
NOTE = Script(
    NOW
    + """
redis.call('HSET', KEYS[1], ARGV[2], string.format('%.0f', now + ARGV[4]) .. ':' .. ARGV[3])
local left = redis.call('PTTL', KEYS[1])
local needed = math.ceil(ARGV[4] / 1000) + 1000
if left < needed then redis.call('PEXPIRE', KEYS[1], needed) end
return 0
"""
)

NOTES = Script(
    NOW
    + """
local live, found = {}, redis.call('HGETALL', KEYS[1])
for at = 1, #found, 2 do
  local colon = string.find(found[at + 1], ':', 1, true)
  if now < tonumber(string.sub(found[at + 1], 1, colon - 1)) then
    live[#live + 1] = found[at]
    live[#live + 1] = string.sub(found[at + 1], colon + 1)
  else
    redis.call('HDEL', KEYS[1], found[at])
  end
end
return live
"""
)

# ARGV: how many stay, milliseconds, the items.
REMEMBER = Script("""
redis.call('RPUSH', KEYS[1], unpack(ARGV, 3))
redis.call('LTRIM', KEYS[1], -ARGV[1], -1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 0
""")

REWRITE = Script("""
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 1 then redis.call('RPUSH', KEYS[1], ARGV[2]) end
return 0
""")


class Place:
    """Where items are left. It is busy when as many as stay there came within a tick."""

    __slots__ = ("came", "items", "most", "since_s", "ttl_ms")

    def __init__(self, most: int, ttl_s: float, now_s: float) -> None:
        self.items: deque[bytes] = deque(maxlen=most)  # that have not left this process yet
        self.most = most
        self.ttl_ms = round(ttl_s * 1000)
        self.since_s = now_s
        self.came = 0


class ValkeyCounters:
    """`now_us`: another clock than the server's, for tests.

    A task of ours tells the server which claims are still held, and tells again what it has not heard: a settlement is
    sent until it was answered, and the server takes each once.
    """

    def __init__(self, connection: Asks, now_us: Callable[[], int] | None, lease_s: float) -> None:
        self._connection = connection
        self._now_us = now_us or (lambda: SERVERS_OWN)
        self._lease_s = lease_s
        self._lease_us = round(lease_s * 1e6)
        self._held: dict[str, Claim] = {}
        self._untold: dict[str, tuple[str, tuple[int, ...]]] = {}  # claim → its house, and the truth
        self._leases = Leases(connection, now_us or monotonic_us, self._now_us, self._lease_us)
        self._places: dict[str, Place] = {}  # where something was left just now
        self._leaving: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._keeping = self._loop.create_task(self._keep(), name="valkey counters")

    @classmethod
    async def open(
        cls,
        url: str,
        notice: Notice,
        *,
        timeout_s: float,
        start_s: float = START_S,
        now_us: Callable[[], int] | None = None,
        lease_s: float = LEASE_S,
    ) -> ValkeyCounters:
        """Connected, or looking for the server: it may come later.

        Raises ConfigError for a URL that is none, and for a server that cannot be counted in.
        """
        scripts = (LEASE, GIVE_BACK, NOTE, NOTES, REMEMBER, REWRITE, CLAIM, SETTLE, CORRECT, RENEW, LEND)
        connection = connected(url, notice, timeout_s=timeout_s, scripts=scripts)
        await connection.ready(start_s)
        return cls(connection, now_us, lease_s)

    # --- claims

    async def claim(self, claim: Claim, *, unasked: bool = False) -> Taken | Full:
        if unasked:
            return await self._claim(claim, unasked=True)
        answer = self._leases.take(claim) or await self._claim(claim)
        if isinstance(answer, Full) and self._leases.release(claim):  # some of it may have lain here
            answer = await self._claim(claim)
        return answer

    async def _claim(self, claim: Claim, *, unasked: bool = False) -> Taken | Full:
        keys = _of_house(claim.house)
        args: list[int | str] = [self._now_us(), claim.id, self._lease_us, int(claim.held), int(unasked)]
        for meter, amount, kept in claim.charges:
            keys.append(f"tidegate:{{{claim.house}}}:{meter.name}")
            args += (amount, meter.most, meter.per_s, meter.forget_s, kept)
        try:
            answer = await self._run(CLAIM, keys, *args)
        except BaseException:  # whether it was charged is not known
            if claim.held:
                self._tell(claim.id, claim.house, (0,) * len(claim.charges))
            raise
        if not answer[0]:
            return Full(answer[1], tuple(answer[3:]), answer[2] / 1e6 if answer[2] >= 0 else None)
        claim.slices = answer[1::2]
        used = self._leases.heard(claim, answer[2::2])
        if claim.held:
            self._held[claim.id] = claim
        return Taken(tuple(used))

    def settle(self, claim: Claim, truth: Sequence[int]) -> None:
        if claim.settled or not claim.slices:
            return
        claim.settled = True
        if claim.lent is not None:
            self._leases.settle(claim, truth)
            return
        self._leases.corrected(claim, truth)
        if claim.held:
            del self._held[claim.id]
            self._tell(claim.id, claim.house, tuple(truth))
            return
        corrections: list[int] = []
        for (_, amount, _), at, true in zip(claim.charges, claim.slices, truth, strict=True):
            corrections += (at, true - amount)
        if any(corrections[1::2]):  # one that does not arrive is not sent again: it may have, and nobody would know
            keys = [f"tidegate:{{{claim.house}}}:{meter.name}" for meter, _, _ in claim.charges]
            with suppress(StoreDown):
                self._connection.send(b"EVALSHA", CORRECT.sha, len(keys), *keys, *corrections)

    def knows(self, meter: Meter, begins_ms: int) -> bool:
        return True

    async def raise_to(self, house: str, meter: Meter, amount: int) -> int:
        keys = [*_of_house(house), f"tidegate:{{{house}}}:{meter.name}"]
        args = (amount, meter.most, meter.per_s, meter.forget_s, amount)
        answer = await self._run(CLAIM, keys, self._now_us(), "", self._lease_us, 0, RAISE, *args)
        return int(answer[2])

    @property
    def standing_in(self) -> str | None:
        return None

    async def holds(self, house: str) -> int:
        return int(await self._run(RENEW, _of_house(house), self._now_us(), self._lease_us))

    def _tell(self, id: str, house: str, truth: tuple[int, ...]) -> None:
        """Send a settlement, and keep it until it was answered."""
        self._untold[id] = (house, truth)
        keys = _of_house(house)
        try:
            answer = self._connection.send(b"EVALSHA", SETTLE.sha, len(keys), *keys, id, *truth)
        except StoreDown:
            return
        answer.add_done_callback(partial(self._told, id))

    def _told(self, id: str, answer: asyncio.Future[Any]) -> None:
        if not answer.cancelled() and answer.exception() is None:
            self._untold.pop(id, None)

    async def _keep(self) -> None:
        renewed_s = 0.0
        while True:
            await asyncio.sleep(min(TICK_S, self._lease_s / 4))
            renewed_s += TICK_S
            self._leases.tick()
            if self._leaving is None:
                self._leave_all()
            with suppress(StoreDown):
                for id, (house, truth) in list(self._untold.items()):
                    await self._run(SETTLE, _of_house(house), id, *truth)
                    self._untold.pop(id, None)
                if renewed_s >= self._lease_s / 4:
                    renewed_s = 0.0
                    await self._renew()

    async def _renew(self) -> None:
        by_house: dict[str, list[str]] = {}
        for id, claim in self._held.items():
            by_house.setdefault(claim.house, []).append(id)
        for house, ids in by_house.items():
            for at in range(0, len(ids), BATCH):
                await self._run(RENEW, _of_house(house), self._now_us(), self._lease_us, *ids[at : at + BATCH])

    # --- leases and notes

    async def lease(self, name: str, holder: str, ttl_s: float) -> bool:
        return bool(await self._run(LEASE, [f"tidegate:lease:{name}"], self._now_us(), holder, round(ttl_s * 1e6)))

    async def give_back(self, name: str, holder: str) -> None:
        await self._run(GIVE_BACK, [f"tidegate:lease:{name}"], holder)

    async def note(self, board: str, name: str, value: bytes | None, ttl_s: float) -> None:
        key = f"tidegate:board:{board}"
        if value is None:
            await self._ask(b"HDEL", key, name)
        else:
            await self._run(NOTE, [key], self._now_us(), name, value, round(ttl_s * 1e6))

    async def notes(self, board: str) -> Mapping[str, bytes]:
        found = iter(await self._run(NOTES, [f"tidegate:board:{board}"], self._now_us()))
        return {name.decode(): value for name, value in zip(found, found, strict=True)}

    # --- what was left

    @property
    def together(self) -> bool:
        return True

    def recall(self, house: str, place: str) -> Awaitable[Sequence[bytes]]:
        key = f"tidegate:{house}:{place}"
        if key in self._places:
            self._leave(key, self._places[key])
        return self._connection.send(b"LRANGE", key, b"0", b"-1")

    def remember(self, house: str, place: str, item: bytes, most: int, ttl_s: float) -> None:
        key = f"tidegate:{house}:{place}"
        there = self._places.get(key)
        if there is None:
            there = self._places[key] = Place(most, ttl_s, self._loop.time())
        there.items.append(item)
        there.came += 1
        if there.came <= most:
            self._leave(key, there)
        elif self._leaving is None:
            self._leaving = self._loop.call_later(GATHER_S, self._leave_all)

    def _leave(self, key: str, place: Place) -> None:
        if place.items:
            with suppress(StoreDown):
                self._connection.post(b"EVALSHA", REMEMBER.sha, 1, key, place.most, place.ttl_ms, *place.items)
            place.items.clear()

    def _leave_all(self) -> None:
        self._leaving = None
        old_s = self._loop.time() - TICK_S
        for key, place in list(self._places.items()):
            self._leave(key, place)
            if place.since_s <= old_s:
                del self._places[key]

    def rewrite(self, house: str, place: str, item: bytes, by: bytes) -> None:
        key = f"tidegate:{house}:{place}"
        if key in self._places:
            self._leave(key, self._places[key])
        with suppress(StoreDown):
            self._connection.post(b"EVALSHA", REWRITE.sha, 1, key, item, by)

    async def aclose(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        self._leave_all()
        self._keeping.cancel()
        await asyncio.wait([self._keeping])
        if self._leases.give_back() or self._untold:  # the last calls of all have just ended
            with suppress(StoreDown):
                await self._ask(b"PING")
        await self._connection.aclose()

    async def _run(self, script: Script, keys: Sequence[str], *args: bytes | str | int) -> Any:
        return await self._connection.run(script, keys, *args)

    async def _ask(self, *words: bytes | str) -> Any:
        try:
            return await self._connection.send(*words)
        except Refused as refused:
            raise StoreDown(f"Valkey refused: {refused}") from None


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


def _of_house(house: str) -> list[str]:
    """One hash tag, so that a cluster keeps all of a house in one place: a claim charges all its meters or none."""
    return [f"tidegate:{{{house}}}:{what}" for what in ("holds", "leases", "lost")]
