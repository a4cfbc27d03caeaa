"""Who did what, for the audit log? What is done beside calls to models: these have rows of their own."""

from __future__ import annotations

from typing import Any

from tidegate.core.call import Principal
from tidegate.core.errors import StorageFull
from tidegate.core.ports import Acted
from tidegate.core.world import World
from tidegate.storage.archive import told


def record(world: World, principal: Principal, did: str, id: str, before: Any = None, after: Any = None) -> None:
    """`before` and `after`: what it was done to."""
    at_ms = world.clock.wall_ns() // 1_000_000
    act = Acted(
        f"act_{at_ms:011x}{world.chance.hex()}",
        at_ms,
        did,
        id,
        principal.key_id,
        principal.name,
        told(before),
        told(after),
    )
    try:
        world.ledger.append(act)
    except StorageFull as full:  # it is done; that it was cannot be kept
        world.events.notice("act_not_recorded", {"did": did, "id": id, "error": full.message})
