"""What does the house ask itself? Calls of its own, on the account of the team that a route belongs to.

Such a call comes in by the front door like any other, with a row of its own that says what it was for (`purpose`) and
which call it was made for (`parent`). Whoever made that call pays nothing for it.
"""

from __future__ import annotations

from tidegate.core.call import Call, Own, Principal
from tidegate.core.limits import Kind, Level
from tidegate.core.ports import Organisation, Team
from tidegate.core.world import World

HOUSE = "house"  # the key of these calls


async def payer(world: World, owner: str | None, organisation_id: str) -> Principal:
    """The team that owns the route is charged, and the organisation as for any call. Raises StoreDown."""
    house = await world.store.find(Organisation, organisation_id)
    team = await world.store.find(Team, owner) if owner is not None else None
    kinds: tuple[tuple[Kind, Organisation | Team | None], ...] = (("organisation", house), ("team", team))
    levels = [Level(kind, one.id, one.name, one.limits, one.budgets) for kind, one in kinds if one is not None]
    return Principal(HOUSE, "the house", "admin", team_id=owner, organisation_id=organisation_id, levels=tuple(levels))


def own_call(
    world: World,
    payer: Principal,
    *,
    purpose: str,
    parent: Call | str | None,
    dialect: str,
    operation: str,
    path: str,
    body: bytes,
    kind: str,
) -> Call:
    async def intake() -> bytes:
        return body

    at_ms = world.clock.wall_ns() // 1_000_000
    call = Call(
        id=f"own_{at_ms:011x}{world.chance.hex()}",
        dialect=dialect,
        operation=operation,
        at_ms=at_ms,
        arrived_ns=world.clock.now_ns(),
        credential=payer,
        path=path,
        intake=intake,
        kind=kind,
    )
    if isinstance(parent, Call):
        depth = parent.own.depth + 1 if parent.own is not None else 1
        call.own = Own(purpose, parent.id, depth)
    else:
        call.own = Own(purpose, parent)
    return call
