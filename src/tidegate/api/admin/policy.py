"""Who may do this? Every path of administration declares one of the policies here; a test fails where one does not."""

# No postponed annotations here: FastAPI evaluates them.
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from tidegate.api.acts import record
from tidegate.api.incoming import Incoming
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, Forbidden
from tidegate.core.limits import Role
from tidegate.gateway import Gateway

BEARER = HTTPBearer(auto_error=False, description="A key: tg_…, or a token of an issuer that is configured.")


def incoming_of(request: Request) -> Incoming:
    """The request, as the edge has it."""
    incoming: Incoming = request.scope["tidegate.incoming"]
    return incoming


def gateway_of(request: Request) -> Gateway:
    """The one that answers now."""
    gateway: Gateway = request.app.state.gateway()
    return gateway


def answering_of(request: Request) -> Gateway:
    """The one that answers this request's call: another one while a configuration is tried on some."""
    return incoming_of(request).gateway or gateway_of(request)


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
        request.state.principal = principal
        if not self.allows(principal):
            there = " or ".join(sorted(self.roles))
            raise Forbidden(
                f"key {principal.name!r} may not administer this: its role is {principal.role}, and this needs {there}"
                + self.instead
            )
        _known(request)
        return principal


def queries(routers: Iterable[APIRouter]) -> dict[tuple[str, str], list[str]]:
    """By path and method, the fields of its query; as the OpenAPI document has them, which is not made for that."""
    there = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return {(one.path_format, method): [*_fields(one.dependant)] for one in there for method in one.methods or ()}


def _fields(of: Dependant) -> Iterator[str]:
    for field in of.query_params:
        kind = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from (one.alias or name for name, one in kind.model_fields.items())
        else:
            yield field.alias
    for inner in of.dependencies:
        yield from _fields(inner)


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
Answering = Annotated[Gateway, Depends(answering_of)]
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
    record(house.world, principal, did, id, before, after)


def tell_refused(request: Request) -> None:
    """Say to the audit log what somebody with a key asked for who may not have it: who, what, and as whom."""
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None or not request.url.path.startswith("/admin"):  # a call to a model has a row of its own
        return
    house, refusals = gateway_of(request), request.app.state.refusals
    kind = f"{request.method} {request.scope['route'].path_format}"
    if refusals.is_first(principal.key_id, kind, house.world.clock.wall_ns() // MINUTE_NS):
        what = f"{request.method} {request.url.path[:200]}"
        fields = {"what": what, "by": principal.key_id, "name": principal.name, "role": principal.role}
        house.world.events.notice("administration_refused", fields)
        after = {"role": principal.role, "team": principal.team_id}
        record(house.world, principal, "refused", what, None, after)


MINUTE_NS = 60_000_000_000


class Refusals:
    """Those of this minute. A client that insists would fill the log: of a key and a path one is enough."""

    def __init__(self) -> None:
        self._minute = 0
        self._told: set[tuple[str, str]] = set()

    def is_first(self, key_id: str, kind: str, minute: int) -> bool:
        if minute != self._minute:
            self._minute, self._told = minute, set()
        if (key_id, kind) in self._told:
            return False
        self._told.add((key_id, kind))
        return True
