"""Whom do keys belong to? Organisations, their teams, and the teams' users."""

# No postponed annotations here: FastAPI evaluates them.
from typing import Annotated, Any

from pydantic import BaseModel, Field

from tidegate.api.admin.policy import Administering, House, Looking, Managing, sees, tell
from tidegate.api.admin.shapes import Body, Budgets, Id, Limits, Name, paths, shown
from tidegate.core.call import Principal
from tidegate.core.errors import Forbidden, NotFound
from tidegate.core.limits import Role
from tidegate.core.ports import DEFAULT_ORGANISATION, Named, Organisation, Team, User
from tidegate.gateway import Gateway

router = paths("/admin")


class Bounded(Body):
    """How much they may use, all of its keys together."""

    limits: Limits = []
    budgets: Budgets = []


class NewOrganisation(Bounded):
    id: Id
    name: Name = ""


class ChangedOrganisation(Bounded):
    name: Name = ""


class NewTeam(NewOrganisation):
    organisation_id: Id = DEFAULT_ORGANISATION


class ChangedTeam(ChangedOrganisation):
    organisation_id: Id = DEFAULT_ORGANISATION


class NewUser(NewOrganisation):
    team_id: Id | None = None
    role: Annotated[Role, Field(description="A key or token of this user is never more than this.")] = "member"


class ChangedUser(ChangedOrganisation):
    team_id: Id | None = None
    role: Role = "member"


class ShownOrganisation(BaseModel):
    id: str
    name: str
    created_ms: int
    disabled_ms: int | None
    limits: list[dict[str, Any]]
    budgets: list[dict[str, Any]]


class ShownTeam(ShownOrganisation):
    organisation_id: str


class ShownUser(ShownOrganisation):
    team_id: str | None
    role: str


# --- organisations


@router.post("/organisations", status_code=201, tags=["organisations"])
async def create_organisation(asked: NewOrganisation, principal: Administering, house: House) -> ShownOrganisation:
    """Make an organisation: the top level, for limits and budgets of all its teams together."""
    return ShownOrganisation(**await _added(Organisation, asked, principal, house))


@router.get("/organisations", tags=["organisations"])
async def list_organisations(principal: Looking, house: House) -> list[ShownOrganisation]:
    """All that are yours to see, oldest first."""
    return [
        ShownOrganisation(**shown(one))
        for one in await house.world.store.every(Organisation)
        if _sees_organisation(principal, one.id)
    ]


@router.get("/organisations/{id}", tags=["organisations"])
async def get_organisation(id: str, principal: Looking, house: House) -> ShownOrganisation:
    """One organisation."""
    one = await house.auth.desk.find(Organisation, id)
    if not _sees_organisation(principal, id):
        raise NotFound(f"there is no organisation {id[:40]!r}")
    return ShownOrganisation(**shown(one))


@router.patch("/organisations/{id}", tags=["organisations"])
async def change_organisation(
    id: str, asked: ChangedOrganisation, principal: Administering, house: House
) -> ShownOrganisation:
    """Change what is said, and nothing else."""
    return ShownOrganisation(**await _change(Organisation, id, asked, principal, house))


@router.delete("/organisations/{id}", tags=["organisations"])
async def disable_organisation(id: str, principal: Administering, house: House) -> ShownOrganisation:
    """End an organisation: no key of it works. Its name stays with what it has cost; enable takes it back."""
    return ShownOrganisation(**await _disable(Organisation, id, principal, house))


@router.post("/organisations/{id}/enable", tags=["organisations"])
async def enable_organisation(id: str, principal: Administering, house: House) -> ShownOrganisation:
    """Let an organisation that was disabled in again."""
    return ShownOrganisation(**await _enable(Organisation, id, principal, house))


# --- teams


@router.post("/teams", status_code=201, tags=["teams"])
async def create_team(asked: NewTeam, principal: Administering, house: House) -> ShownTeam:
    """Make a team. Its id is what a route's `owner` and an issuer's claim name."""
    return ShownTeam(**await _added(Team, asked, principal, house))


@router.get("/teams", tags=["teams"])
async def list_teams(principal: Looking, house: House) -> list[ShownTeam]:
    """All that are yours to see, disabled ones too, oldest first."""
    return [ShownTeam(**shown(one)) for one in await house.world.store.every(Team) if sees(principal, one.id)]


@router.get("/teams/{id}", tags=["teams"])
async def get_team(id: str, principal: Looking, house: House) -> ShownTeam:
    """One team."""
    one = await house.auth.desk.find(Team, id)
    if not sees(principal, id):
        raise NotFound(f"there is no team {id[:40]!r}")
    return ShownTeam(**shown(one))


@router.patch("/teams/{id}", tags=["teams"])
async def change_team(id: str, asked: ChangedTeam, principal: Administering, house: House) -> ShownTeam:
    """Change what is said, and nothing else."""
    return ShownTeam(**await _change(Team, id, asked, principal, house))


@router.delete("/teams/{id}", tags=["teams"])
async def disable_team(id: str, principal: Administering, house: House) -> ShownTeam:
    """End a team: no key of it works. Its name stays with what it has cost; enable takes it back."""
    return ShownTeam(**await _disable(Team, id, principal, house))


@router.post("/teams/{id}/enable", tags=["teams"])
async def enable_team(id: str, principal: Administering, house: House) -> ShownTeam:
    """Let a team that was disabled in again."""
    return ShownTeam(**await _enable(Team, id, principal, house))


# --- users


@router.post("/users", status_code=201, tags=["users"])
async def create_user(asked: NewUser, principal: Administering, house: House) -> ShownUser:
    """Make a user. With tokens of an issuer, the id is what the token says."""
    return ShownUser(**await _added(User, asked, principal, house))


@router.get("/users", tags=["users"])
async def list_users(principal: Looking, house: House) -> list[ShownUser]:
    """All that are yours to see, disabled ones too, oldest first."""
    return [ShownUser(**shown(one)) for one in await house.world.store.every(User) if sees(principal, one.team_id)]


@router.get("/users/{id}", tags=["users"])
async def get_user(id: str, principal: Looking, house: House) -> ShownUser:
    """One user."""
    return ShownUser(**shown(await _seen_user(id, principal, house)))


@router.patch("/users/{id}", tags=["users"])
async def change_user(id: str, asked: ChangedUser, principal: Managing, house: House) -> ShownUser:
    """Change what is said, and nothing else."""
    user, fields = await _seen_user(id, principal, house), asked.given()
    if not principal.admin and ("team_id" in fields or "admin" in (user.role, fields.get("role"))):
        raise Forbidden("only an administrator moves users between teams, and makes or changes administrators")
    return ShownUser(**await _change(User, id, asked, principal, house))


@router.delete("/users/{id}", tags=["users"])
async def disable_user(id: str, principal: Managing, house: House) -> ShownUser:
    """End a user: no key or token of theirs works. The name stays with what it has cost; enable takes it back."""
    await _managed_user(id, principal, house)
    return ShownUser(**await _disable(User, id, principal, house))


@router.post("/users/{id}/enable", tags=["users"])
async def enable_user(id: str, principal: Managing, house: House) -> ShownUser:
    """Let a user that was disabled in again."""
    await _managed_user(id, principal, house)
    return ShownUser(**await _enable(User, id, principal, house))


# --- all of them


def _sees_organisation(principal: Principal, id: str) -> bool:
    """Its own, or all of them."""
    return sees(principal, None) or id == principal.organisation_id


async def _seen_user(id: str, principal: Principal, house: Gateway) -> User:
    user = await house.auth.desk.find(User, id)
    if not sees(principal, user.team_id):
        raise NotFound(f"there is no user {id[:40]!r}")
    return user


async def _managed_user(id: str, principal: Principal, house: Gateway) -> None:
    user = await _seen_user(id, principal, house)
    if user.role == "admin" and not principal.admin:
        raise Forbidden("only an administrator changes administrators")


async def _added(kind: type[Named], asked: NewOrganisation, principal: Principal, house: Gateway) -> dict[str, Any]:
    fields = asked.given()
    one = await house.auth.desk.add(kind, fields.pop("id"), fields.pop("name", ""), **fields)
    tell(house, principal, f"{kind.__name__.lower()}_created", one.id, after=one)
    return shown(one)


async def _change(kind: type[Named], id: str, asked: Bounded, principal: Principal, house: Gateway) -> dict[str, Any]:
    fields = asked.given()
    before = await house.auth.desk.find(kind, id)
    one = await house.auth.desk.change(kind, id, **fields)
    tell(house, principal, f"{kind.__name__.lower()}_changed", id, fields, before=before, after=one)
    return shown(one)


async def _disable(kind: type[Named], id: str, principal: Principal, house: Gateway) -> dict[str, Any]:
    before = await house.auth.desk.find(kind, id)
    one = await house.auth.desk.disable(kind, id)
    tell(house, principal, f"{kind.__name__.lower()}_disabled", id, before=before, after=one)
    return shown(one)


async def _enable(kind: type[Named], id: str, principal: Principal, house: Gateway) -> dict[str, Any]:
    before = await house.auth.desk.find(kind, id)
    one = await house.auth.desk.enable(kind, id)
    tell(house, principal, f"{kind.__name__.lower()}_enabled", id, before=before, after=one)
    return shown(one)
