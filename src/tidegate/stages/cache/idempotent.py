"""Was this very call made before? A client that asks again with the same `Idempotency-Key` never pays twice.

What is begun is written to the store before it is bought, and what came of it when it has landed: it outlives a
restart. Without the store there is no such promise, so then the call is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec

from tidegate.core.call import Call
from tidegate.core.errors import BadRequest, KeyReused, StillBusy, StoreDown
from tidegate.core.ports import Once, Place, Vault
from tidegate.core.world import World
from tidegate.stages.cache.exact import Entry, pack, unpack

T = TypeVar("T")

LONGEST = 255  # characters of a key
KEPT_MS = 24 * 3_600_000
GRACE_MS = 30_000  # beside the route's own time, before somebody else may begin
LOOK_S = 0.05  # how often to look at what another process does
MINE = b""  # in place of an outcome: there is one, and it was too large to keep


class Claim:
    """Ours to do, once. Settled when it has landed; given up when whoever holds it leaves with nothing in the air."""

    __slots__ = ("_at", "_once", "_vault", "_world", "left", "settled")

    def __init__(self, world: World, vault: Vault, once: Once, at: Place) -> None:
        self._world = world
        self._vault = vault
        self._once = once
        self._at = at
        self.left = False  # whoever asked has gone, or has been answered
        self.settled = False

    def settle(self, entry: Entry | None, *, now_ms: int) -> None:
        """It was bought; None: it is too large to be kept."""
        if self.settled:
            return
        self.settled = True
        self._write(Once(self._once.id, self._once.holder, self._once.asked, now_ms + KEPT_MS, MINE), entry)

    def give_up(self) -> None:
        """Nothing was bought: whoever asks next begins anew."""
        if not self.settled:
            self.settled = True
            self._write(Once(self._once.id, self._once.holder, self._once.asked, 0))

    def _write(self, once: Once, entry: Entry | None = None) -> None:
        self._world.nursery.spawn(self._end(once, entry), f"idempotency {once.holder}")

    async def _end(self, once: Once, entry: Entry | None) -> None:
        world = self._world
        try:
            if entry is not None:
                once = msgspec.structs.replace(once, done=await _aside(self._vault, pack, entry, self._vault, self._at))
            await world.store.end_once(once)
        except StoreDown as down:  # it stays begun until its time is over, and then it may be bought again
            world.events.notice("idempotency_not_written", {"request_id": once.holder, "error": down.message})


async def _aside(vault: Vault, work: Callable[..., T], *args: Any) -> T:
    """Where sealing may have to wait for a key, beside the event loop."""
    return await asyncio.to_thread(work, *args) if vault.seals else work(*args)


def place(call: Call, once: Once) -> Place:
    """Under the key of whom the answer was for."""
    assert call.principal is not None
    return Place("once", once.id, "done", call.principal.organisation_id, call.user or "")


def is_paid(call: Call) -> bool:
    """Whether asking twice could cost twice."""
    assert call.asked is not None
    return call.method == "POST" and call.asked.codec.metering != "free"


def begun(call: Call, now_ms: int) -> Once:
    """The record of `call`. Raises BadRequest for a key that is none."""
    name, route = call.wishes.idempotency_key, call.route
    assert name is not None and route is not None and call.principal is not None
    if len(name) > LONGEST or not name.isprintable():
        raise BadRequest(f"Idempotency-Key: at most {LONGEST} printable characters, such as a UUID")
    until_ms = now_ms + round(route.timeout_s * 1000) + GRACE_MS
    return Once(f"{call.principal.key_id}:{name}", call.id, digest(call), until_ms)


def digest(call: Call) -> bytes:
    """Of what was asked: where, and with which bytes. What an arm or a guard makes of them may be another tomorrow."""
    where = f"{call.method} {call.path} {call.dialect}\n".encode()
    return blake2b(where + call.query + b"\n" + call.came, digest_size=20).digest()


def flight_key(once: Once) -> bytes:
    """Under which a flight can be joined by the same call, asked again."""
    return b"once" + blake2b(once.id.encode() + b"\0" + once.asked, digest_size=20).digest()


async def claim(
    world: World, vault: Vault, call: Call, once: Once, timeout_s: float, in_the_air: Callable[[], bool]
) -> Claim | Entry | None:
    """Ours now; or what came of it before; or None: it is in the air here, and can be joined.

    Waits for another process that is at it. Raises KeyReused, StillBusy, StoreDown.
    """
    clock, at = world.clock, place(call, once)
    until_ns = clock.now_ns() + round(timeout_s * 1e9)
    while True:
        try:
            there = await world.store.begin_once(once, clock.wall_ns() // 1_000_000)
        except BaseException:  # it may have been written
            Claim(world, vault, once, at).give_up()
            raise
        if there is None:
            return Claim(world, vault, once, at)
        if there.asked != once.asked:
            raise KeyReused(
                "this Idempotency-Key was used before for another request; take a new key for each request, "
                "and the same only to repeat it"
            )
        if there.done == MINE:
            raise StillBusy("this call was answered, but its answer was too large to keep; it is not bought again")
        if there.done is not None:
            return await _aside(vault, unpack, there.done, flight_key(once), vault, at)
        if in_the_air():
            return None
        if clock.now_ns() > until_ns:
            raise StillBusy("the call with this Idempotency-Key is still being answered; ask again", retry_after_s=5)
        await clock.sleep(LOOK_S)
