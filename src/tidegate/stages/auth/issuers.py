"""Who else may say who somebody is? Issuers of tokens (OpenID Connect), and what their words mean here."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from tidegate.core.limits import Role
from tidegate.core.values import Duration, Secret

# Signatures that only the issuer can make. With HS256 whoever can verify can sign; `none` is no signature.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"]
SHORTEST_PEPPER = 32


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a token says who somebody is.

    user: the claim with the user's id.
    team: the claim with the team, a text or a list; null: the team of the user that Tidegate knows.
    role: the claim with the role, a text or a list, of which the highest counts; null: the role of the user that \
Tidegate knows.
    """

    user: str = "sub"
    team: str | None = None
    role: str | None = None


class Issuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An issuer whose tokens are taken as keys are.

    issuer: its URL, as its tokens say it in `iss`.
    audience: what its tokens for Tidegate say in `aud`.
    algorithms: how they are signed; nothing else is taken.
    types: what they call themselves in `typ`.
    jwks_url: where its keys are; null asks its /.well-known/openid-configuration.
    claims: where a token says who somebody is.
    teams: what the claim of the team means, as {value: team}; what is not here is a team's id itself.
    roles: what the claim of the role means, as {value: role}; without any, the claim must say admin, manager, \
member or viewer.
    default_role: the role of those whose token and user say none.
    leeway: how much its clock may differ from ours.
    """

    issuer: Annotated[str, Meta(min_length=1)]
    audience: Annotated[str, Meta(min_length=1)]
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1)] = ("RS256",)
    types: Annotated[tuple[str, ...], Meta(min_length=1)] = ("JWT", "at+jwt")
    jwks_url: str | None = None
    claims: Claims = Claims()
    teams: dict[str, str] = {}
    roles: dict[str, Role] = {}
    default_role: Role = "member"
    leeway: Duration = Duration(30)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may come in, besides the keys that Tidegate makes.

    peppers: secrets that digests of keys depend on, best as env:NAME, oldest first and the last for new keys; none: \
the one in storage.data_dir, which goes on to count where there are some.
    issuers: whose tokens are taken.
    """

    peppers: tuple[Secret, ...] = ()
    issuers: tuple[Issuer, ...] = ()


def trouble(config: Config) -> tuple[str, str] | None:
    """The key that cannot be so, and why."""
    for at, pepper in enumerate(config.peppers):
        if len(pepper.value) < SHORTEST_PEPPER:
            return f"peppers[{at}]", f"needs at least {SHORTEST_PEPPER} characters, such as: openssl rand -hex 32"
    names = [issuer.issuer for issuer in config.issuers]
    for at, issuer in enumerate(config.issuers):
        if names.index(issuer.issuer) != at:
            return f"issuers[{at}].issuer", f"{issuer.issuer} stands twice"
        for field, url in (("issuer", issuer.issuer), ("jwks_url", issuer.jwks_url)):
            if url is not None and not is_safe(url):
                return f"issuers[{at}].{field}", "must be an https:// URL; http:// only on this machine (127.0.0.1)"
    return None


def is_safe(url: str) -> bool:
    """Whether nobody on the way can change what is said there."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme == "https" and host:
        return True
    try:
        return parts.scheme == "http" and ip_address(host).is_loopback
    except ValueError:
        return parts.scheme == "http" and host == "localhost"
