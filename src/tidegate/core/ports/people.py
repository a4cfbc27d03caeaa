"""Who may come in, whom do they belong to, and what was done once? The control plane."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from tidegate.core.experiments import Decision, Experiment
from tidegate.core.limits import Budget, Limit, Role
from tidegate.core.prompts import Prompt, PromptMove, PromptVersion

DEFAULT_ORGANISATION = "default"  # every new store has it; whoever has no team belongs to it


class Organisation(msgspec.Struct, frozen=True):
    """The top level: what holds for all of its teams together."""

    id: str
    name: str
    created_ms: int
    disabled_ms: int | None = None  # nothing is ever deleted: the ledger's names must stay
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()


class Team(msgspec.Struct, frozen=True):
    id: str
    name: str
    created_ms: int
    organisation_id: str = DEFAULT_ORGANISATION
    disabled_ms: int | None = None
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()


class User(msgspec.Struct, frozen=True):
    """A person or a service that keys belong to; with tokens of an issuer, the one that the token names."""

    id: str
    name: str
    created_ms: int
    team_id: str | None = None
    role: Role = "member"
    disabled_ms: int | None = None
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()


class Key(msgspec.Struct, frozen=True):
    """A key as it is stored: never the key itself."""

    id: str
    name: str
    env: str
    digest: bytes  # HMAC-SHA-256 of the whole key under the pepper of `pepper_version`
    pepper_version: int
    created_ms: int
    role: Role = "member"
    team_id: str | None = None  # None: its user's
    user_id: str | None = None
    revoked_ms: int | None = None  # for ever
    disabled_ms: int | None = None  # until it is enabled
    expires_ms: int | None = None
    former_digest: bytes | None = None  # what it was before it was rotated, good until `former_until_ms`
    former_pepper_version: int | None = None
    former_until_ms: int | None = None
    routes: tuple[str, ...] = ()  # those it may ask for; none named: all that are not another team's
    endpoints: tuple[Endpoint, ...] = ()  # those it may use; none named: all but `account`
    scopes: tuple[Scope, ...] = ()
    addresses: tuple[str, ...] = ()  # networks it may come from, such as 10.0.0.0/8; none named: any
    tags: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()
    last_used_ms: int | None = None  # to the minute or so


Endpoint = Literal["chat", "complete", "embed", "count", "models", "batches", "raw", "account"]
# loops are its work · its calls may say that they are an evaluation's · may say in headers what the route decides for
# others
Scope = Literal["batch", "eval", "override"]


class Setting(msgspec.Struct, frozen=True):
    """Something that an administrator has set while it runs, until its time is over: see telemetry/settings.py."""

    id: str
    value: str
    until_ms: int
    by: str  # a key's id
    created_ms: int


Named = TypeVar("Named", Organisation, Team, User, Key)  # what an administrator makes
Kept = TypeVar(
    "Kept",
    Organisation,
    Team,
    User,
    Key,
    Setting,
    Experiment,
    Decision,
    Prompt,
    PromptVersion,
    PromptMove,
)
Anything = Organisation | Team | User | Key | Setting | Experiment | Decision | Prompt | PromptVersion | PromptMove


class Bearer(msgspec.Struct, frozen=True):
    """A key, and all that it belongs to. Its team is the user's where it names none."""

    key: Key
    user: User | None
    team: Team | None
    organisation: Organisation | None


class Once(msgspec.Struct, frozen=True):
    """That something is done once: by whom it was begun, or what came of it."""

    id: str
    holder: str  # the call that began it
    asked: bytes  # a digest of what was asked: the same id for something else is a mistake
    until_ms: int  # begun: so long its holder has; done: so long it is kept
    done: bytes | None = None


class Store(Protocol):
    """The control plane: what is configured while running. Raises StoreDown when it cannot be asked."""

    async def bearer(self, key_id: str) -> Bearer | None:
        """In one step, and whether there is such a key or not in the same."""

    async def find(self, kind: type[Kept], id: str) -> Kept | None: ...

    async def every(self, kind: type[Kept]) -> list[Kept]:
        """All of them, ended ones too, oldest first."""

    async def newest(self, kind: type[Kept], after: str | None, most: int) -> list[Kept]:
        """At most `most`, newest first, behind the one whose id is `after`; an unknown id has none behind it."""

    async def key_names(self, ids: Collection[str]) -> dict[str, str]:
        """By id, of those keys that there are, ended ones too; in one step."""

    async def add(self, one: Anything) -> None:
        """Raises ValueError when the id exists."""

    async def change(self, one: Kept, **fields: Any) -> Kept | None:
        """Set `fields`, provided that they still are what they are in `one`: of two at once, one succeeds.

        Returns what is kept now; None when somebody else was first.
        """

    async def begin_once(self, once: Once, now_ms: int) -> Once | None:
        """Claim `once.id`. None: it is ours now. Else what stands there: done, or begun by somebody who still has time.

        What has expired, or was begun by somebody whose time is over, is replaced.
        """

    async def end_once(self, once: Once) -> None:
        """Replace what was begun; with neither `done` nor time left, it is dropped. Of others', nothing happens."""

    async def forget_begun(self) -> int:
        """Drop all that was begun and not done: nobody is there any more who could end it. How many there were."""

    async def note_used(self, at_ms: Mapping[str, int]) -> None:
        """When keys were last used, by id; unknown ones are passed over, and no time goes back."""

    async def aclose(self) -> None: ...
