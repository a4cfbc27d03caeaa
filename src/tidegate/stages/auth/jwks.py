"""With which keys does an issuer sign? Fetched when first needed, kept, and asked again seldom."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from joserfc import jwk
from joserfc.errors import JoseError

from tidegate.core.errors import IssuerDown
from tidegate.core.ports import Request, Timeouts, TransportError
from tidegate.core.world import World
from tidegate.stages.auth.issuers import Issuer, is_safe

FRESH_NS = 3_600_000_000_000  # an issuer that withdraws a key is believed within an hour
STALE_NS = 24 * FRESH_NS  # as long as one that cannot be reached is believed
PAUSE_NS = 10_000_000_000  # between two requests, whatever tokens come: unknown keys cost nothing meanwhile
MAX_BODY = 256 * 1024
MAX_KEYS = 100
TIMEOUTS = Timeouts(connect=3.0, first_byte=5.0, idle=5.0, total=8.0)


class Discovered(msgspec.Struct):
    issuer: str
    jwks_uri: str


class KeySetSaid(msgspec.Struct):
    keys: list[dict[str, Any]]


class IssuerKeys:
    """The keys of one issuer, by id."""

    def __init__(self, issuer: Issuer, world: World) -> None:
        self._issuer = issuer
        self._world = world
        self._keys: Mapping[str | None, jwk.Key] = {}
        self._fetched_ns: int | None = None
        self._tried_ns: int | None = None
        self._why = ""
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None) -> jwk.Key | None:
        """None when the issuer has no such key. Raises IssuerDown when it cannot be asked."""
        key = self._keys.get(kid) if self._is_younger_than(FRESH_NS) else None
        if key is None and self._may_ask():
            await self._ask()
        if not self._is_younger_than(STALE_NS):
            raise IssuerDown(f"the keys of {self._issuer.issuer} cannot be had: {self._why}", retry_after_s=10)
        return self._keys.get(kid)

    def _is_younger_than(self, age_ns: int) -> bool:
        return self._fetched_ns is not None and self._world.clock.now_ns() - self._fetched_ns < age_ns

    def _may_ask(self) -> bool:
        waiting = self._fetching is not None
        return waiting or self._tried_ns is None or self._world.clock.now_ns() - self._tried_ns >= PAUSE_NS

    async def _ask(self) -> None:
        """One request for all who wait, which goes on when they leave."""
        if self._fetching is None:
            self._fetching = self._world.nursery.spawn(self._fetch(), f"keys of {self._issuer.issuer}")
        await asyncio.wait({self._fetching})

    async def _fetch(self) -> None:
        try:
            self._keys = await self._said()
            self._fetched_ns = self._world.clock.now_ns()
        except (TransportError, ValueError, JoseError) as wrong:  # msgspec's errors are ValueErrors
            self._why = str(wrong)
            self._world.events.notice("issuer_unreachable", {"issuer": self._issuer.issuer, "error": self._why[:300]})
        finally:
            self._tried_ns = self._world.clock.now_ns()
            self._fetching = None

    async def _said(self) -> dict[str | None, jwk.Key]:
        url, foreign = self._issuer.jwks_url, False
        if url is None:
            url = await self._discovered()
            foreign = urlsplit(url).hostname != urlsplit(self._issuer.issuer).hostname
        found: dict[str | None, jwk.Key] = {}
        for said in msgspec.json.decode(await self._get(url, foreign=foreign), type=KeySetSaid).keys[:MAX_KEYS]:
            key = _key(said)
            if key is not None:
                found[said.get("kid")] = key
        if not found:
            raise ValueError(f"{url} has no key that a signature can be verified with")
        if len(found) == 1:
            found[None] = next(iter(found.values()))  # where there is one, a token need not say which
        return found

    async def _discovered(self) -> str:
        issuer = self._issuer.issuer
        url = issuer.rstrip("/") + "/.well-known/openid-configuration"
        said = msgspec.json.decode(await self._get(url), type=Discovered)
        if said.issuer != issuer:
            raise ValueError(f"{url} speaks for another issuer, {said.issuer[:200]}")
        if not is_safe(said.jwks_uri):
            raise ValueError(f"{url} names keys at {said.jwks_uri[:200]}, which is not https://")
        return said.jwks_uri

    async def _get(self, url: str, *, foreign: bool = False) -> bytes:
        headers = [(b"accept", b"application/json")]
        exchange = self._world.transport.send(Request("GET", url, headers, timeouts=TIMEOUTS, foreign=foreign))
        try:
            head = await exchange.head()
            if head.status != 200:
                raise ValueError(f"{url} answered {head.status}")
            body = bytearray()
            while piece := await exchange.read():
                body += piece
                if len(body) > MAX_BODY:
                    raise ValueError(f"{url} answered with more than {MAX_BODY} bytes")
            return bytes(body)
        finally:
            exchange.close()


def _key(said: dict[str, Any]) -> jwk.Key | None:
    """None for what is not for signatures, or only for those who share a secret, or unknown to us."""
    if said.get("kty") not in ("RSA", "EC", "OKP") or said.get("use", "sig") != "sig":
        return None
    if not isinstance(said.get("kid"), str | None):
        return None
    try:
        return jwk.import_key(said)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
