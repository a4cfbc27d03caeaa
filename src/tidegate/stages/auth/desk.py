"""Where are keys, users, teams and organisations made, changed and ended? The same for the API and the terminal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import Any, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from tidegate.core.errors import BadRequest, Conflict, NotFound
from tidegate.core.limits import Budget, Limit, Role
from tidegate.core.ports import (
    DEFAULT_ORGANISATION,
    Clock,
    Endpoint,
    Key,
    Named,
    Organisation,
    Scope,
    Store,
    Team,
    User,
)
from tidegate.stages.auth.keys import Peppers, digest, make_key

MAX_NAME = 100
MAX_TAGS = 16
MAX_TAG = 256
MAX_LISTED = 200  # routes, addresses, limits or budgets of one of them
MAX_OVERLAP_S = 30 * 86_400.0
LONGEST_WINDOW_S = 31 * 86_400

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@|:+-]{0,127}", re.ASCII)


Note = Callable[[str, str, Any, Any], None]


class Desk:
    """Checks what is asked, and keeps it. Nothing is deleted: what has ended stays, so that the ledger has names."""

    def __init__(self, store: Store, peppers: Peppers, clock: Clock, note: Note | None = None) -> None:
        """`note` is told what was done, to whose id, and what it was before and after."""
        self._store = store
        self._note = note or _nobody
        self._peppers = peppers
        self._clock = clock

    @property
    def _now_ms(self) -> int:
        return self._clock.wall_ns() // 1_000_000

    # --- keys

    async def make_key(self, name: str, env: str = "live", **fields: Any) -> tuple[str, Key]:
        """A new key, stored; its text is only here."""
        text, id = make_key(env)
        version = max(self._peppers)
        kept = digest(self._peppers[version], text)
        key = Key(id, name, env, kept, version, self._now_ms, **fields)
        if key.expires_ms is not None and key.expires_ms <= self._now_ms:
            raise BadRequest("it would have expired already; say a time to come", param="expires_ms")
        await self._checked(key)
        await self._store.add(key)
        self._note("key_created", id, None, key)
        return text, key

    async def rotate(self, id: str, overlap_s: float) -> tuple[str, Key]:
        """A new secret for a key; the one it had is good for so long. One before that ends now."""
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise BadRequest(f"the overlap must be from 0 to {MAX_OVERLAP_S / 86_400:g} days", param="overlap")
        key = await self.find(Key, id)
        if key.revoked_ms is not None:
            raise BadRequest(f"key {key.name!r} was revoked, which is for ever; make a new one")
        text, _ = make_key(key.env, key.id)
        version = max(self._peppers)
        return text, await self._change(
            key,
            digest=digest(self._peppers[version], text),
            pepper_version=version,
            former_digest=key.digest,
            former_pepper_version=key.pepper_version,
            former_until_ms=self._now_ms + round(overlap_s * 1000),
        )

    async def revoke(self, id: str) -> Key:
        """End a key for ever. Of one that is revoked, nothing changes."""
        key = await self.find(Key, id)
        return key if key.revoked_ms is not None else await self._change(key, revoked_ms=self._now_ms)

    # --- all of them

    async def find(self, kind: type[Named], id: str) -> Named:
        """Raises NotFound."""
        found = await self._store.find(kind, id)
        if found is None:
            raise NotFound(f"there is no {_word(kind)} {id[:40]!r}")
        return found

    async def add(self, kind: type[Named], id: str, name: str, **fields: Any) -> Named:
        """A new organisation, team or user. Raises Conflict when the id is taken."""
        if not _ID.fullmatch(id):
            raise BadRequest(
                f"the id must be 1 to 128 letters, digits and . _ @ | : + -, such as search; got {id[:40]!r}",
                param="id",
            )
        one = kind(id=id, name=name or id, created_ms=self._now_ms, **fields)
        await self._checked(one)
        try:
            await self._store.add(one)
        except ValueError:
            raise Conflict(
                f"there is a {kind.__name__.lower()} {id!r} already; change it, or take another id"
            ) from None
        self._note(f"{_word(kind)}_created", id, None, one)
        return one

    async def change(self, kind: type[Named], id: str, **fields: Any) -> Named:
        one = await self.find(kind, id)
        await self._checked(msgspec.structs.replace(one, **fields))
        return await self._change(one, **fields) if fields else one

    async def disable(self, kind: type[Named], id: str) -> Named:
        one = await self.find(kind, id)
        if kind is Organisation and id == DEFAULT_ORGANISATION:
            raise BadRequest("the default organisation cannot be disabled: whoever has no team belongs to it")
        return one if one.disabled_ms is not None else await self._change(one, disabled_ms=self._now_ms)

    async def enable(self, kind: type[Named], id: str) -> Named:
        one = await self.find(kind, id)
        if isinstance(one, Key) and one.revoked_ms is not None:
            raise BadRequest(f"key {one.name!r} was revoked, which is for ever; make a new one")
        return one if one.disabled_ms is None else await self._change(one, disabled_ms=None)

    async def _change(self, one: Named, **fields: Any) -> Named:
        changed = await self._store.change(one, **fields)
        if changed is None:
            raise Conflict(
                f"{type(one).__name__.lower()} {one.name!r} was changed by somebody else just now; look again"
            )
        self._note(f"{_word(type(one))}_changed", one.id, one, changed)
        return changed

    # --- what may be

    async def _checked(self, one: Organisation | Team | User | Key) -> None:
        _check_name(one.name)
        _check_limits(one.limits)
        if one.budgets:
            await asyncio.to_thread(_check_budgets, one.budgets)  # a time zone is a file
        if isinstance(one, Team):
            await self._there(Organisation, one.organisation_id, "organisation_id")
        if isinstance(one, User | Key):
            _among(one.role, get_args(Role), "role")
            team_id = one.team_id
            if isinstance(one, Key):
                _check_key(one)
                user = await self._there(User, one.user_id, "user_id")
                if user is not None and team_id is not None and user.team_id not in (None, team_id):
                    raise BadRequest(f"user {user.id!r} belongs to team {user.team_id!r}", param="team_id")
                team_id = team_id or (user.team_id if user else None)
            await self._there(Team, team_id, "team_id")
            if one.role == "manager" and team_id is None:
                raise BadRequest("a manager needs a team to manage; say which", param="team_id")

    async def _there(self, kind: type[Named], id: str | None, param: str) -> Named | None:
        if id is None:
            return None
        found = await self._store.find(kind, id)
        if found is None:
            word = _word(kind)
            raise BadRequest(f"there is no {word} {id[:40]!r}; make it first: tidegate {word}s create", param=param)
        return found


def _nobody(did: str, id: str, before: Any, after: Any) -> None:
    """Who has no audit log, or writes it otherwise."""


def _word(kind: type[Any]) -> str:
    return kind.__name__.lower()


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME:
        raise BadRequest(f"a name has 1 to {MAX_NAME} characters", param="name")


def _check_key(key: Key) -> None:
    for endpoint in key.endpoints:
        _among(endpoint, get_args(Endpoint), "endpoints")
    for scope in key.scopes:
        _among(scope, get_args(Scope), "scopes")
    for address in key.addresses:
        try:
            ip_network(address, strict=False)
        except ValueError:
            raise BadRequest(
                f"{address[:60]!r} is no address or network; say it as 10.0.0.7 or 10.0.0.0/8", param="addresses"
            ) from None
    if len(key.tags) > MAX_TAGS or any(not 1 <= len(tag) <= MAX_TAG for tag in key.tags):
        raise BadRequest(f"at most {MAX_TAGS} tags, of 1 to {MAX_TAG} characters", param="tags")
    for name in ("routes", "addresses"):
        if len(getattr(key, name)) > MAX_LISTED:
            raise BadRequest(f"at most {MAX_LISTED} {name}", param=name)


def _check_limits(limits: Sequence[Limit]) -> None:
    if len(limits) > MAX_LISTED:
        raise BadRequest(f"at most {MAX_LISTED} limits", param="limits")
    for limit in limits:
        if limit.most < 0:
            raise BadRequest(f"a limit of {limit.of} cannot be negative", param="limits")
        if limit.of == "at_once" and limit.per_s:
            raise BadRequest("a limit of at_once holds at any moment: leave per_s out", param="limits")
        if limit.of != "at_once" and not 1 <= limit.per_s <= LONGEST_WINDOW_S:
            raise BadRequest(f"a limit of {limit.of} needs per_s, from 1 second to 31 days", param="limits")


def _check_budgets(budgets: Sequence[Budget]) -> None:
    if len(budgets) > MAX_LISTED:
        raise BadRequest(f"at most {MAX_LISTED} budgets", param="budgets")
    for budget in budgets:
        if budget.nusd < 0:
            raise BadRequest("a budget cannot be negative", param="budgets")
        if any(not 0 < share <= 1 for share in budget.warn_at):
            raise BadRequest("warn_at: shares of the budget, above 0 and at most 1, such as 0.8", param="budgets")
        try:
            ZoneInfo(budget.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise BadRequest(
                f"there is no time zone {budget.zone[:40]!r}; say it as Europe/Berlin", param="budgets"
            ) from None


def _among(given: str, there: Sequence[str], param: str) -> None:
    if given not in there:
        raise BadRequest(f"{given[:40]!r} is none of: {', '.join(there)}", param=param)
