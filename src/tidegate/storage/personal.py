"""What of a row is about a person, and how is it kept apart from the rest? Sealed under that person's own key.

A stored row has an alias where a name would stand. The name itself, the session, the tags and what providers said are
in its field `personal`, which nobody reads once the person's key is destroyed; what the call cost stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec

from tidegate.core.errors import BadRequest
from tidegate.core.experiments import Assigned
from tidegate.core.opinions import Opinion
from tidegate.core.ports import Acted, Closed, Erased, Opened, Place, Vault
from tidegate.core.search import CallsAsked
from tidegate.core.usage import UsageAsked, UsageLine
from tidegate.storage.opinions import Said
from tidegate.storage.rollups import clean

SPOOL = Place("spool")
TENANT = "default"  # of calls of old, that name none

_ENCODE = msgspec.json.Encoder().encode


class Personal(msgspec.Struct, frozen=True, omit_defaults=True):
    user: str | None = None
    session: str | None = None
    tags: tuple[str, ...] = ()
    said: tuple[str | None, ...] = ()  # by attempts
    arms: tuple[Assigned, ...] = ()


_OPINION = msgspec.json.Decoder(Opinion)
_PERSONAL = msgspec.json.Decoder(Personal)
_RECORD: msgspec.json.Decoder[Opened | Closed] = msgspec.json.Decoder(Opened | Closed)


class Rows:
    """Rows as they are kept, and back. May wait for the keyring, so not on the event loop where the vault seals."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def expect(self, rows: Iterable[Closed]) -> None:
        """These are about to be masked: their keys in one step, and not one by one."""
        tenants = [(row.organisation_id or TENANT, row.user or "") for row in rows]
        self._vault.expect({*tenants, *((tenant, "") for tenant, _ in tenants)})

    def masked(self, row: Closed) -> Closed:
        """The row with aliases for names; what they stand for is sealed in it."""
        vault = self._vault
        tenant, user = row.organisation_id or TENANT, row.user
        said = tuple(one.said for one in row.attempts)
        private = Personal(user, row.session, row.tags, said if any(said) else (), row.arms)
        if private == NOBODY:
            return row
        place = Place("calls", row.id, "personal", tenant, user or "")
        attempts = row.attempts
        if private.said:
            attempts = tuple([msgspec.structs.replace(one, said=None) for one in attempts])
        return msgspec.structs.replace(
            row,
            user=vault.subject(tenant, user) if user else user,
            session=vault.word(row.session) if row.session else row.session,
            tags=(),
            attempts=attempts,
            arms=(),
            personal=vault.seal(_ENCODE(private), place),
        )

    def sealed(self, row: Closed) -> bytes:
        """A masked row."""
        return self._vault.seal(_ENCODE(row), Place("calls", row.id, "row", row.organisation_id or TENANT))

    def opened(self, id: str, stored: bytes) -> Closed:
        """As the database has it, with all that can still be read. Raises ValueError."""
        row = _RECORD.decode(self._vault.unseal(stored, Place("calls", id, "row")))
        if not isinstance(row, Closed) or row.id != id:
            raise ValueError(f"what stands where the row of call {id!r} should be is another record")
        return self.unmasked(row)

    def unmasked(self, row: Closed) -> Closed:
        if row.personal is None:
            return row
        place = Place("calls", row.id, "personal", row.organisation_id or TENANT)
        try:
            private = _PERSONAL.decode(self._vault.unseal(row.personal, place))
        except Erased:
            return msgspec.structs.replace(row, personal=None, session=None)
        attempts = row.attempts
        if private.said:
            both = zip(attempts, private.said, strict=True)
            attempts = tuple([msgspec.structs.replace(one, said=said) for one, said in both])
        fields: dict[str, Any] = {"user": private.user, "session": private.session, "tags": private.tags}
        if private.arms:
            fields["arms"] = private.arms
        return msgspec.structs.replace(row, **fields, attempts=attempts, personal=None)

    # --- what is said of a call

    def said(self, opinion: Opinion, of: Closed) -> Said:
        tenant, user = of.organisation_id or TENANT, of.user or ""
        sealed = self._vault.seal(_ENCODE(opinion), Place("opinions", opinion.request_id, "body", tenant, user))
        return Said(
            opinion, msgspec.structs.replace(of, user=self._vault.subject(tenant, user) if user else None), sealed
        )

    def opinions(self, call_id: str, stored: Iterable[bytes]) -> list[Opinion]:
        """Those that can still be read."""
        found = []
        for sealed in stored:
            with suppress(Erased):
                found.append(_OPINION.decode(self._vault.unseal(sealed, Place("opinions", call_id, "body"))))
        return found

    # --- what administrators did

    def veiled(self, act: Acted) -> Acted:
        """With what it changed, and the name of who did it, sealed under the tenant's key."""
        if not self._vault.seals:
            return act
        said = _ENCODE((act.name, act.before, act.after))
        sealed = self._vault.seal(said, Place("audit", act.id, "act", TENANT))
        return msgspec.structs.replace(act, name="", before=None, after=None, sealed=sealed)

    def unveiled(self, id: str, sealed: bytes) -> tuple[str, Any, Any]:
        """Name, before and after. Raises ValueError."""
        said: tuple[str, Any, Any] = msgspec.json.decode(
            self._vault.unseal(sealed, Place("audit", id, "act", TENANT)), type=tuple[str, Any, Any]
        )
        return said


NOBODY = Personal()


# --- sums


def by_alias(asked: UsageAsked, vault: Vault) -> UsageAsked:
    """The question with aliases for names. Raises BadRequest for a name that several organisations have."""
    only, after = dict(asked.only), asked.after
    if only.get("end_user"):
        only["end_user"] = _alias(only["end_user"], only.get("organisation"), vault)
    if after is not None and "end_user" in asked.by:
        at = 1 + asked.by.index("end_user")
        after = (*after[:at], _alias(after[at], only.get("organisation"), vault), *after[at + 1 :])
    return msgspec.structs.replace(asked, only=only, after=after)


def calls_by_alias(asked: CallsAsked, vault: Vault) -> CallsAsked:
    """The same for a question about calls, and hashes for sessions."""
    only = dict(asked.only)
    if only.get("end_user"):
        only["end_user"] = _alias(only["end_user"], only.get("organisation"), vault)
    if only.get("session"):
        only["session"] = vault.word(only["session"])
    return msgspec.structs.replace(asked, only=only)


def _alias(name: str, organisation: str | None, vault: Vault) -> str:
    found = [one for one in vault.subjects(name) if organisation in (None, one.tenant)] if name else []
    if len(found) > 1:
        there = ", ".join(one.tenant for one in found[:5])
        raise BadRequest(f"end_user: {name[:60]!r} is somebody in several organisations: {there}; say organisation too")
    return found[0].alias if found else name


def by_name(asked: UsageAsked, lines: list[UsageLine], vault: Vault) -> list[UsageLine]:
    if "end_user" not in asked.by:
        return lines
    at = asked.by.index("end_user")

    def named(names: tuple[str, ...]) -> tuple[str, ...]:
        name = clean(vault.name(names[at])) if names[at] else ""
        return (*names[:at], name, *names[at + 1 :])

    return [msgspec.structs.replace(line, names=named(line.names)) for line in lines]
