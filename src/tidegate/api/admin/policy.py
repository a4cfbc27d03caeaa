"""Who may do this? Every path of administration declares one of the policies here; a test fails where one does not."""

# No postponed annotations here: FastAPI evaluates them.
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from tidegate.api.incoming import Incoming
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, Forbidden, StorageFull
from tidegate.core.limits import Role
from tidegate.core.ports import Acted
from tidegate.gateway import Gateway
from tidegate.storage.archive import told

BEARER = HTTPBearer(auto_error=False, description="A key: tg_…, or a token of an issuer that is configured.")


def incoming_of(request: Request) -> Incoming:
    """The request, as the edge has it."""
    incoming: Incoming = request.scope["tidegate.incoming"]
    return incoming


def gateway_of(request: Request) -> Gateway:
    """The one that answers now."""
    gateway: Gateway = request.app.state.gateway()
    return gateway


class Policy:
    """Those of `roles` may. As a dependency, it is the principal that asks; 401 or 403 for all others."""

    def __init__(self, name: str, *roles: Role, instead: str = "") -> None:
        """`instead`: what others may do, as the end of the sentence that refuses them."""
        self.name = name
        self.roles = frozenset(roles)
        self.instead = instead

    def allows(self, principal: Principal) -> bool:
        return principal.role in self.roles

    async def __call__(self, request: Request, _: Annotated[Any, Depends(BEARER)]) -> Principal:
        incoming = incoming_of(request)
        principal = await gateway_of(request).recognise(incoming.credential, incoming.address)
        if not self.allows(principal):
            there = " or ".join(sorted(self.roles))
            raise Forbidden(
                f"key {principal.name!r} may not administer this: its role is {principal.role}, and this needs {there}"
                + self.instead
            )
        _known(request)
        return principal


def _known(request: Request) -> None:
    """Raises BadRequest for a field of the query that this path does not have: it would be passed over."""
    fields = request.app.state.queries[request.scope["route"].path_format, request.method]
    for name in request.query_params:
        if name not in fields:
            there = f"there are: {', '.join(fields)}" if fields else "there are none"
            raise BadRequest(f"{name[:40]}: this path has no such field in its query; {there}", param=name[:40])


EVERY_KEY = Policy("every key", "admin", "manager", "member", "viewer")  # of its own
ASK = Policy("whoever may ask models", "admin", "manager", "member")
LOOK = Policy("look", "admin", "manager", "viewer")  # managers, and viewers with a team: only at their team's
MANAGE = Policy("manage", "admin", "manager")  # managers: only their team's
ADMINISTER = Policy("administer", "admin")

House = Annotated[Gateway, Depends(gateway_of)]
Looking = Annotated[Principal, Depends(LOOK)]
Managing = Annotated[Principal, Depends(MANAGE)]
Administering = Annotated[Principal, Depends(ADMINISTER)]


def sees(principal: Principal, team_id: str | None) -> bool:
    """Whether what belongs to this team is this principal's to see. A viewer without a team sees everything."""
    if principal.admin or (principal.role == "viewer" and principal.team_id is None):
        return True
    return team_id is not None and team_id == principal.team_id


def tell(
    house: Gateway,
    principal: Principal,
    did: str,
    id: str,
    fields: Mapping[str, Any] | None = None,
    *,
    before: Any = None,
    after: Any = None,
) -> None:
    """Say to who runs Tidegate, and to the audit log, what was done and by whom; `fields` are those that were changed.

    `before` and `after`: what it was done to. Who only reads something that is secret is told of, too.
    """
    world = house.world
    changed = {"changed": ", ".join(fields)} if fields else {}
    world.events.notice(
        "administered", {"did": did, "id": id, "by": principal.key_id, "name": principal.name, **changed}
    )
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
