"""Is this key good now, whose is it, and what may it do? Decided here, without asking anybody."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from ipaddress import ip_network

from tidegate.core.call import Principal
from tidegate.core.limits import Kind, Level, Role
from tidegate.core.ports import DEFAULT_ORGANISATION, Bearer, Key, Organisation, Team, User

NOBODY = bytes(32)  # a digest that no key has
RANK: dict[Role, int] = {"viewer": 0, "member": 1, "manager": 2, "admin": 3}


def is_good(bearer: Bearer | None, presented: Mapping[int, bytes], now_ms: int) -> bool:
    """Whether what was presented is this key, and the key may be used now.

    `presented` is its digest under every pepper. Always two comparisons, so that time does not tell which ids exist.
    """
    key = bearer.key if bearer else None
    now = _is(key.digest if key else None, key.pepper_version if key else None, presented)
    former = _is(key.former_digest if key else None, key.former_pepper_version if key else None, presented)
    if bearer is None or key is None or not (now or (former and now_ms < (key.former_until_ms or 0))):
        return False
    return is_open(bearer, now_ms)


def is_open(bearer: Bearer, now_ms: int) -> bool:
    """Whether a key that is known may be used now, whoever presents it."""
    key = bearer.key
    ended = key.revoked_ms is not None or key.disabled_ms is not None
    expired = key.expires_ms is not None and now_ms >= key.expires_ms
    above = (bearer.user, bearer.team, bearer.organisation)
    return not ended and not expired and all(one is None or one.disabled_ms is None for one in above)


def _is(kept: bytes | None, version: int | None, presented: Mapping[int, bytes]) -> bool:
    same = hmac.compare_digest(kept or NOBODY, presented.get(version or 0, next(iter(presented.values()))))
    return same and kept is not None and version in presented


def principal_of(bearer: Bearer) -> Principal:
    """Whom a good key stands for."""
    key, team_id = bearer.key, bearer.team.id if bearer.team else None
    return Principal(
        key_id=key.id,
        name=key.name,
        role=effective(key.role, bearer.user, team_id),
        team_id=team_id,
        user_id=bearer.user.id if bearer.user else None,
        organisation_id=bearer.organisation.id if bearer.organisation else DEFAULT_ORGANISATION,
        scopes=frozenset(key.scopes),
        endpoints=frozenset(key.endpoints),
        routes=frozenset(key.routes),
        networks=tuple(ip_network(address, strict=False) for address in key.addresses),
        tags=key.tags,
        levels=levels(bearer.organisation, bearer.team, bearer.user, key),
    )


def effective(role: Role, user: User | None, team_id: str | None) -> Role:
    """A key is never more than its user, and nobody manages a team that there is not."""
    if user is not None and RANK[user.role] < RANK[role]:
        role = user.role
    return "member" if role == "manager" and team_id is None else role


def levels(
    organisation: Organisation | None, team: Team | None, user: User | None, key: Key | None
) -> tuple[Level, ...]:
    """Who is charged, from the organisation down."""
    kinds: tuple[tuple[Kind, Organisation | Team | User | Key | None], ...] = (
        ("organisation", organisation),
        ("team", team),
        ("user", user),
        ("key", key),
    )
    return tuple(Level(kind, one.id, one.name, one.limits, one.budgets) for kind, one in kinds if one is not None)
