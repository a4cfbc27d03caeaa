"""Who is asking, and may they? A key or a token, read from what the client presented, or a principal of the house."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Any, Protocol

from tidegate.core.call import Call, Principal
from tidegate.core.errors import Forbidden, Unauthenticated
from tidegate.core.limits import Level
from tidegate.core.ports import DEFAULT_ORGANISATION, Clock, Key, Store
from tidegate.stages.auth.bearers import is_good, principal_of
from tidegate.stages.auth.desk import Desk
from tidegate.stages.auth.issuers import Config as Config
from tidegate.stages.auth.issuers import trouble as trouble
from tidegate.stages.auth.keys import Peppers, digest, digests, parse_key

MAX_PRESENTED = 512
MAX_TOKEN = 16 * 1024
REMEMBERED = 10_000
REMEMBERED_NS = 1_000_000_000  # what ends a key is seen everywhere within this
FAMILIAR_NS = 900_000_000_000
ENVIRONMENT = Principal(
    "environment",
    "TIDEGATE_ADMIN_KEY",
    "admin",
    levels=(
        Level("organisation", DEFAULT_ORGANISATION, DEFAULT_ORGANISATION),
        Level("key", "environment", "TIDEGATE_ADMIN_KEY"),
    ),
)


class TokenAuth(Protocol):
    async def principal(self, token: str) -> tuple[Principal, int]:
        """Whom a token stands for, and when it ends, in milliseconds since 1970."""


class KeyAuth:
    """Keys of the store, one from the environment, and tokens.

    What was found good is remembered for a second, whole, so that the store is asked once a second and not once a
    call. What is not found is not remembered. Finding it again tells nothing by the time it takes: Python compares the
    hashes of strings first, which are keyed at random, and only two whole keys that have the same are compared further.
    """

    def __init__(
        self,
        store: Store,
        peppers: Peppers,
        clock: Clock,
        environment_key: str | None = None,
        used: Callable[[str, int], None] = lambda key_id, at_ms: None,
        tokens: TokenAuth | None = None,
    ) -> None:
        """`used` is told when a key was looked up: about once a second for a key that is busy.

        `tokens` knows those of issuers, where some are configured.
        """
        self.desk = Desk(store, peppers, clock)
        self._store = store
        self._peppers = peppers
        self._newest = peppers[max(peppers)]
        self._clock = clock
        self._used = used
        self._tokens = tokens
        self._good: OrderedDict[str, tuple[int, Principal]] = OrderedDict()
        self._environment = digest(self._newest, environment_key) if environment_key else None

    async def authenticate(self, credential: str | Principal | None, address: str = "") -> Principal:
        """Raises Unauthenticated, in the same words whatever is wrong with a key; Forbidden for a wrong address."""
        if isinstance(credential, Principal):
            return credential
        if not credential:
            raise Unauthenticated(
                "no API key: send it as 'Authorization: Bearer tg_…' or 'x-api-key: tg_…'; "
                "make one with: tidegate keys create"
            )
        token = self._tokens is not None and credential.count(".") == 2
        if len(credential) > (MAX_TOKEN if token else MAX_PRESENTED):
            raise _unknown()
        remembered = self._good.get(credential)
        if remembered is not None and self._clock.now_ns() < remembered[0]:
            principal = remembered[1]
        else:
            self._good.pop(credential, None)
            principal, good_ns = await self._look_up(credential, digest(self._newest, credential))
            self._remember(credential, principal, good_ns)
        if principal.networks:
            _come_from(principal, address)
        return principal

    def remembered(self, credential: str | Principal | None) -> Principal | None:
        """Who it is, if that was found a moment ago; None where somebody must look."""
        found = self._good.get(credential)  # type: ignore[arg-type]
        if found is None or found[1].networks or self._clock.now_ns() >= found[0]:
            return None
        principal: Principal = found[1]
        return principal

    def is_familiar(self, credential: str | Principal | None) -> bool:
        """Whether it was good when it was last presented here, not long ago. It may have ended since."""
        return credential in self._good

    def _remember(self, credential: str, principal: Principal, good_ns: int) -> None:
        good, now = self._good, self._clock.now_ns()
        good[credential] = (now + good_ns, principal)
        while len(good) > REMEMBERED or next(iter(good.values()))[0] + FAMILIAR_NS <= now:  # the oldest is first
            good.popitem(last=False)

    async def create(self, name: str, env: str, *, admin: bool, **fields: Any) -> tuple[str, Key]:
        """A new key, stored; its text is only here. Raises BadRequest for an env that cannot be part of it."""
        return await self.desk.make_key(name, env, role="admin" if admin else "member", **fields)

    def secret_for(self, purpose: str) -> bytes:
        """32 bytes that all processes of this Tidegate have, and nobody else; another one when the pepper is."""
        return digest(self._newest, f"for {purpose}")

    async def _look_up(self, credential: str, presented: bytes) -> tuple[Principal, int]:
        """Whom it stands for, and for how long that may be remembered."""
        if self._environment is not None and hmac.compare_digest(self._environment, presented):
            return ENVIRONMENT, REMEMBERED_NS
        now_ms = self._clock.wall_ns() // 1_000_000
        if self._tokens is not None and credential.count(".") == 2:
            principal, ends_ms = await self._tokens.principal(credential)
            return principal, _until(ends_ms, now_ms)
        parsed = parse_key(credential)
        if parsed is None:
            raise _unknown()
        bearer = await self._store.bearer(parsed.id)
        good = is_good(bearer, digests(self._peppers, credential), now_ms)
        if bearer is None or not good:
            raise _unknown()
        self._used(bearer.key.id, now_ms)
        return principal_of(bearer), _until(bearer.key.expires_ms, now_ms)


def _until(ends_ms: int | None, now_ms: int) -> int:
    """How long something that ends then may be remembered, in nanoseconds."""
    return REMEMBERED_NS if ends_ms is None else max(0, min(REMEMBERED_NS, (ends_ms - now_ms) * 1_000_000))


def permit(call: Call) -> None:
    """Raises Forbidden when the key is not for this endpoint, or this kind of call. Its tags become the call's."""
    principal = call.principal
    assert principal is not None
    if call.kind == "eval" and "eval" not in principal.scopes and not principal.admin:
        raise Forbidden(
            f"key {principal.name!r} may not call its calls an evaluation's: an administrator can allow it: "
            "tidegate keys change ID --scope eval"
        )
    if principal.role == "viewer" or principal.endpoints or call.operation == "raw":
        may_use(principal, endpoint_of(call.operation, call.method, call.path))
    if principal.tags:
        call.tags = (*principal.tags, *(tag for tag in call.tags if tag not in principal.tags))


def may_use(principal: Principal, endpoint: str) -> None:
    """Raises Forbidden."""
    name = principal.name
    if principal.role == "viewer" and endpoint != "models":
        raise Forbidden(f"key {name!r} may look, and ask no model: its role is viewer")
    if principal.endpoints:
        if endpoint not in principal.endpoints:
            there = ", ".join(sorted(principal.endpoints))
            raise Forbidden(f"key {name!r} is for {there}, and not for {endpoint}; an administrator can change that")
    elif endpoint == "account" and not principal.admin:
        raise Forbidden(
            f"key {name!r} may ask models, but not reach what is kept in the provider's account (fine-tuning, files…); "
            "an administrator can allow it: tidegate keys change ID --endpoint account"
        )


# A POST to one of these asks a model and leaves with the answer. Whatever else a provider has (files, batches,
# fine-tuning, stored responses) is in an account that all keys of this gateway share.
ASKING = frozenset({"responses", "moderations", "images", "audio", "rerank", "score", "classify", "pooling"})


def endpoint_of(operation: str, method: str, path: str) -> str:
    """What a key must be for: the operation; for paths that are passed on, `raw` or `account`."""
    if operation != "raw":
        return operation
    parts = path.removeprefix("/v1/").rstrip("/").split("/")
    one_call = len(parts) == 1 or parts[0] in ("images", "audio")
    return "raw" if method == "POST" and parts[0] in ASKING and one_call else "account"


def _come_from(principal: Principal, address: str) -> None:
    try:
        seen = ip_address(address)
    except ValueError:
        raise Forbidden(f"key {principal.name!r} is for some addresses only, and yours is not known") from None
    here = seen.ipv4_mapped or seen if isinstance(seen, IPv6Address) else seen
    if not any(here in network for network in principal.networks):
        raise Forbidden(f"key {principal.name!r} may not be used from {address}: it is for other addresses")


def _unknown() -> Unauthenticated:
    return Unauthenticated(
        "this API key is not valid: unknown, expired, revoked or mistyped; make one with: tidegate keys create"
    )
