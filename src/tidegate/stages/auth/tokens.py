"""Whom does a token stand for? One that a configured issuer signed, for us, and for now."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from typing import Any, get_args

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError

from tidegate.core.call import Principal
from tidegate.core.errors import Forbidden, Unauthenticated
from tidegate.core.limits import Level, Role
from tidegate.core.ports import DEFAULT_ORGANISATION, Organisation, Team, User
from tidegate.core.world import World
from tidegate.stages.auth.bearers import RANK, effective, levels
from tidegate.stages.auth.issuers import Issuer
from tidegate.stages.auth.jwks import IssuerKeys

MAX_ID = 255  # OpenID Connect's own bound of `sub`
TOLD_NS = 1_000_000_000  # why a token was refused, is told to who runs Tidegate, once a second


class Header(msgspec.Struct):
    alg: str
    typ: str = ""
    kid: str | None = None
    crit: Any = None


class Claimed(msgspec.Struct):
    iss: str


class Refused(Exception):
    """Why a token is not taken: for who runs Tidegate, not for who presents it."""


class Tokens:
    def __init__(self, issuers: Sequence[Issuer], world: World) -> None:
        self._issuers = {issuer.issuer: (issuer, IssuerKeys(issuer, world)) for issuer in issuers}
        self._world = world
        self._told_ns: int | None = None

    async def principal(self, token: str) -> tuple[Principal, int]:
        """Whom it stands for, and when it ends, in milliseconds since 1970.

        Raises Unauthenticated, in the same words whatever is wrong with it; Forbidden for who may not come in;
        IssuerDown when nobody can say.
        """
        try:
            issuer, claims = await self._verified(token)
        except Refused as why:
            self._tell(str(why))
            raise Unauthenticated(
                "this token is not valid: its issuer, audience, signature, type or time is not one that is taken here"
            ) from None
        return await self._whom(issuer, claims), round(claims["exp"] * 1000)

    async def _verified(self, token: str) -> tuple[Issuer, dict[str, Any]]:
        header, said = _peeked(token)
        issuer, keys = self._issuers.get(said.iss, (None, None))
        if issuer is None or keys is None:
            raise Refused(f"unknown issuer {said.iss[:200]!r}")
        if header.alg not in issuer.algorithms:
            raise Refused(f"algorithm {header.alg[:20]!r}, where only {', '.join(issuer.algorithms)} are taken")
        if header.typ.lower().removeprefix("application/") not in [kind.lower() for kind in issuer.types]:
            raise Refused(f"type {header.typ[:40]!r}, where only {', '.join(issuer.types)} are taken")
        if header.crit is not None:
            raise Refused("it asks for extensions (crit)")
        key = await keys.find(header.kid)
        if key is None:
            raise Refused(f"the issuer has no key {str(header.kid)[:80]!r}")
        try:
            claims = jwt.decode(token, key, algorithms=[header.alg]).claims
            _registry(issuer, -(-self._world.clock.wall_ns() // 1_000_000_000)).validate(claims)
        except (JoseError, ValueError, TypeError, RecursionError) as wrong:
            raise Refused(str(wrong)) from None
        return issuer, claims

    async def _whom(self, issuer: Issuer, claims: dict[str, Any]) -> Principal:
        user_id = claims.get(issuer.claims.user)
        if not isinstance(user_id, str) or not 0 < len(user_id) <= MAX_ID or not user_id.isprintable():
            raise Forbidden(f"your token's claim {issuer.claims.user!r} does not say who you are")
        store = self._world.store
        user = await store.find(User, user_id)
        team_id = _team(issuer, claims) or (user.team_id if user else None)
        team = await store.find(Team, team_id) if team_id else None
        if team_id is not None and team is None:
            raise Forbidden(f"your token says team {team_id[:80]!r}, which is not known here: tidegate teams create")
        organisation = await store.find(Organisation, team.organisation_id if team else DEFAULT_ORGANISATION)
        for one in (user, team, organisation):
            if one is not None and one.disabled_ms is not None:
                raise Forbidden(f"{type(one).__name__.lower()} {one.name!r} is disabled; ask your administrator")
        role = _role(issuer, claims) or (user.role if user else issuer.default_role)
        key_id = f"{issuer.issuer}#{user_id}"  # as a row names it: two issuers may know the same id
        mine = () if user else (Level("user", user_id, user_id),)
        return Principal(
            key_id=key_id,
            name=user.name if user else user_id,
            role=effective(role, user, team.id if team else None),
            team_id=team.id if team else None,
            user_id=user_id,
            organisation_id=organisation.id if organisation else DEFAULT_ORGANISATION,
            levels=(*levels(organisation, team, user, None), *mine, Level("key", key_id, user_id)),
        )

    def _tell(self, why: str) -> None:
        now = self._world.clock.now_ns()
        if self._told_ns is None or now - self._told_ns >= TOLD_NS:
            self._told_ns = now
            self._world.events.notice("token_refused", {"why": why[:300]})


def _peeked(token: str) -> tuple[Header, Claimed]:
    """What it says of itself: only good for knowing whom to ask."""
    try:
        header, claims, _ = (urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split("."))
        return msgspec.json.decode(header, type=Header), msgspec.json.decode(claims, type=Claimed)
    except (ValueError, binascii.Error, RecursionError):
        raise Refused("it is no token") from None


def _registry(issuer: Issuer, now_s: int) -> jwt.JWTClaimsRegistry:
    needed: dict[str, Any] = {
        issuer.claims.user: {"essential": True},
        "exp": {"essential": True},
        "iss": {"essential": True, "value": issuer.issuer},
        "aud": {"essential": True, "value": issuer.audience},
    }
    return jwt.JWTClaimsRegistry(now=now_s, leeway=round(issuer.leeway), **needed)


def _values(claims: dict[str, Any], name: str | None) -> list[str]:
    said = claims.get(name) if name else None
    return [value for value in (said if isinstance(said, list) else [said]) if isinstance(value, str) and value]


def _team(issuer: Issuer, claims: dict[str, Any]) -> str | None:
    """The first that means something; of a list where some are known, those that are not are other things."""
    said = _values(claims, issuer.claims.team)
    known = [issuer.teams[value] for value in said if value in issuer.teams]
    return next(iter(known or said), None)


def _role(issuer: Issuer, claims: dict[str, Any]) -> Role | None:
    """The highest of those that it says."""
    meaning: dict[str, Role] = issuer.roles or {role: role for role in get_args(Role)}
    said = [meaning[value] for value in _values(claims, issuer.claims.role) if value in meaning]
    return max(said, key=lambda role: RANK[role], default=None)
