"""Which keys are there, and what may each do? Made, looked at, changed, rotated and ended here."""

# No postponed annotations here: FastAPI evaluates them.
from typing import Annotated, Any

from pydantic import BaseModel, Field

from tidegate.api.admin.gauges import Bounded, ShownUse, gauges
from tidegate.api.admin.policy import House, Looking, Managing, sees, tell
from tidegate.api.admin.shapes import Body, Budgets, Id, Limits, Name, Text, paths, seconds, shown
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, Forbidden, NotFound
from tidegate.core.limits import Role
from tidegate.core.ports import DEFAULT_ORGANISATION, Endpoint, Key, Scope, User
from tidegate.gateway import Gateway
from tidegate.stages.auth.bearers import levels

Listed = Annotated[list[Text], Field(max_length=200)]
Lasting = Annotated[str, Field(max_length=20, description="From now on: 90d, 12h.")]

router = paths("/admin/keys", "keys")


class Allowed(Body):
    """What a key may do, and how much."""

    role: Annotated[Role, Field(description="admin: everything. manager: its team. member: ask. viewer: look.")] = (
        "member"
    )
    team_id: Id | None = None
    user_id: Id | None = None
    expires_in: Lasting | None = None
    routes: Annotated[Listed, Field(description="Those it may ask for; none: all but other teams' own.")] = []
    endpoints: Annotated[list[Endpoint], Field(description="Those it may use; none: all but account.")] = []
    scopes: list[Scope] = []
    addresses: Annotated[Listed, Field(description="Networks it may come from, such as 10.0.0.0/8; none: any.")] = []
    tags: Annotated[list[Text], Field(max_length=16)] = []
    limits: Limits = []
    budgets: Budgets = []


class NewKey(Allowed):
    name: Name
    env: Annotated[str, Field(pattern="^[a-z]{1,16}$", description="Part of the key's text: live, test…")] = "live"
    admin: Annotated[bool, Field(description="The same as the role admin.")] = False


class ChangedKey(Allowed):
    name: Name = ""


class Rotation(Body):
    overlap: Annotated[str, Field(max_length=20, description="How long the one it has stays good.")] = "1h"


class ShownKey(BaseModel):
    id: str
    masked: str
    name: str
    env: str
    role: str
    team_id: str | None
    user_id: str | None
    created_ms: int
    revoked_ms: int | None
    disabled_ms: int | None
    expires_ms: int | None
    former_until_ms: int | None
    last_used_ms: int | None
    routes: list[str]
    endpoints: list[str]
    scopes: list[str]
    addresses: list[str]
    tags: list[str]
    limits: list[dict[str, Any]]
    budgets: list[dict[str, Any]]


class UsedKey(ShownKey):
    use: Annotated[list[ShownUse], Field(description="Of its bounds, and of those of whom it belongs to.")]
    loop_ms: Annotated[int | None, Field(description="When a call was last refused for a loop; null: not just now.")]


class CreatedKey(ShownKey):
    key: Annotated[str, Field(description="Shown this once; only its digest is kept.")]


@router.post("", status_code=201)
async def create_key(asked: NewKey, principal: Managing, house: House) -> CreatedKey:
    """Make a key. Its text is in this answer and nowhere else."""
    fields = _fields(asked, house)
    if fields.pop("admin", False):
        fields["role"] = "admin"
    if not principal.admin:
        fields.setdefault("team_id", principal.team_id)
    wanted = Key("", asked.name, asked.env, b"", 0, 0, **{name: fields[name] for name in fields if name in _GIVEN})
    await _may_give(principal, wanted, house)
    text, key = await house.auth.desk.make_key(fields.pop("name"), fields.pop("env", "live"), **fields)
    tell(house, principal, "key_created", key.id, after=key)
    return CreatedKey(key=text, **_shown(key))


@router.get("")
async def list_keys(principal: Looking, house: House) -> list[ShownKey]:
    """All keys that are yours to see, ended ones too, oldest first."""
    teams = {user.id: user.team_id for user in await house.world.store.every(User)}
    return [
        ShownKey(**_shown(key))
        for key in await house.world.store.every(Key)
        if sees(principal, key.team_id or teams.get(key.user_id or ""))
    ]


@router.get("/{id}")
async def get_key(id: str, principal: Looking, house: House) -> UsedKey:
    """One key, with what is used of its limits and budgets, and whether it is stopped for a loop."""
    await _seen(id, principal, house)
    bearer = await house.world.store.bearer(id)
    assert bearer is not None  # nothing is deleted
    whose = bearer.organisation.id if bearer.organisation else DEFAULT_ORGANISATION
    bounded = [Bounded(whose, one) for one in levels(bearer.organisation, bearer.team, bearer.user, bearer.key)]
    use = await gauges(house, bounded)
    loop_ms = await house.limits.loops.stopped_ms(id)
    return UsedKey(**_shown(bearer.key), use=[one for one in use if one.gauges], loop_ms=loop_ms)


@router.patch("/{id}")
async def change_key(id: str, asked: ChangedKey, principal: Managing, house: House) -> ShownKey:
    """Change what is said, and nothing else. It holds everywhere within a second."""
    before = await _mine(id, principal, house)
    fields = _fields(asked, house)
    await _may_give(principal, _changed(before, fields), house)
    key = await house.auth.desk.change(Key, id, **fields)
    tell(house, principal, "key_changed", id, fields, before=before, after=key)
    return ShownKey(**_shown(key))


@router.post("/{id}/rotate")
async def rotate_key(id: str, principal: Managing, house: House, asked: Rotation = Rotation()) -> CreatedKey:  # noqa: B008
    """A new secret under the same id. The one it had stays good for the overlap."""
    before = await _mine(id, principal, house)
    overlap_s = seconds(asked.overlap, "overlap")
    text, key = await house.auth.desk.rotate(id, overlap_s)
    tell(house, principal, "key_rotated", id, before=before, after=key)
    return CreatedKey(key=text, **_shown(key))


@router.post("/{id}/disable")
async def disable_key(id: str, principal: Managing, house: House) -> ShownKey:
    """Stop a key until it is enabled. It stops working everywhere within a second."""
    before = await _mine(id, principal, house)
    key = await house.auth.desk.disable(Key, id)
    tell(house, principal, "key_disabled", id, before=before, after=key)
    return ShownKey(**_shown(key))


@router.post("/{id}/enable")
async def enable_key(id: str, principal: Managing, house: House) -> ShownKey:
    """Let a key that was disabled work again."""
    before = await _mine(id, principal, house)
    key = await house.auth.desk.enable(Key, id)
    tell(house, principal, "key_enabled", id, before=before, after=key)
    return ShownKey(**_shown(key))


@router.post("/{id}/resume")
async def resume_key(id: str, principal: Managing, house: House) -> ShownKey:
    """Forget what the calls of a key looked like, so that one that was taken for a loop may go on."""
    key = await _mine(id, principal, house)
    await house.limits.loops.resume(id)
    tell(house, principal, "key_resumed", id)
    return ShownKey(**_shown(key))


@router.delete("/{id}")
async def revoke_key(id: str, principal: Managing, house: House) -> ShownKey:
    """End a key for ever. It stops working everywhere within a second."""
    before = await _mine(id, principal, house)
    key = await house.auth.desk.revoke(id)
    tell(house, principal, "key_revoked", id, before=before, after=key)
    return ShownKey(**_shown(key))


# --- whose it is

_GIVEN = ("role", "team_id", "user_id", "endpoints", "scopes")


def _changed(key: Key, fields: dict[str, Any]) -> Key:
    said = {name: getattr(key, name) for name in _GIVEN} | {name: fields[name] for name in _GIVEN if name in fields}
    return Key(key.id, key.name, key.env, b"", 0, 0, **said)


async def _team_of(key: Key, house: Gateway) -> str | None:
    if key.team_id or not key.user_id:
        return key.team_id
    user = await house.world.store.find(User, key.user_id)
    return user.team_id if user else None


async def _seen(id: str, principal: Principal, house: Gateway) -> Key:
    """Another team's is not there, so that ids tell nothing."""
    key = await house.auth.desk.find(Key, id)
    if not sees(principal, await _team_of(key, house)):
        raise NotFound(f"there is no key {id[:40]!r}")
    return key


async def _mine(id: str, principal: Principal, house: Gateway) -> Key:
    """One that this principal could have given: whoever rotates a key holds it."""
    key = await _seen(id, principal, house)
    await _may_give(principal, key, house)
    return key


async def _may_give(principal: Principal, key: Key, house: Gateway) -> None:
    """Raises Forbidden for what a manager has not to give."""
    if principal.admin:
        return
    user = await house.world.store.find(User, key.user_id) if key.user_id else None
    if key.team_id not in (None, principal.team_id) or (user is not None and user.team_id != principal.team_id):
        raise Forbidden(f"you manage team {principal.team_id!r}, and keys of that team only")
    if key.team_id is None and user is None:
        raise Forbidden(f"a key of yours belongs to your team, {principal.team_id!r}, or to a user of it")
    beyond = [f"role {key.role}"] if key.role == "admin" else []
    beyond += [f"endpoint {one}" for one in key.endpoints if one == "account"]
    beyond += [f"scope {one}" for one in key.scopes if one == "override"]
    if beyond:
        raise Forbidden(f"only an administrator gives a key {', '.join(beyond)}, or touches one that has it")


def _fields(asked: Allowed, house: Gateway) -> dict[str, Any]:
    fields = asked.given()
    if "expires_in" in fields:
        lasting = fields.pop("expires_in")
        now_ms = house.world.clock.wall_ns() // 1_000_000
        fields["expires_ms"] = None if lasting is None else now_ms + round(seconds(lasting, "expires_in") * 1000)
    if fields.get("role", "") is None:
        raise BadRequest("a key has a role: admin, manager, member or viewer", param="role")
    return fields


def _shown(key: Key) -> dict[str, Any]:
    return {"masked": f"tg_{key.env}_{key.id}_…", **shown(key)}
