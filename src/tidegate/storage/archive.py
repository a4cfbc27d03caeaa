"""What is kept of one person, and how is it made unreadable? Rows, bodies and entries, and the key of all of it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec

from tidegate.core.audit import Link
from tidegate.core.errors import BadRequest, NotFound
from tidegate.core.experiments import Experiment
from tidegate.core.merkle import consistency, inclusion, root_of
from tidegate.core.ports import Batches, Bodies, Body, Keyring, Ledger, Lessons, Subject, Vault
from tidegate.core.units import of_user, place
from tidegate.core.usage import Period, UsageAsked
from tidegate.storage.audit.inspection import Inspected, inspect
from tidegate.storage.audit.log import Log
from tidegate.storage.audit.notary import Notary
from tidegate.storage.audit.notes import Checkpoint, Verifiers
from tidegate.storage.personal import Rows
from tidegate.storage.rollups import LAST_MS
from tidegate.storage.vault.kek import Keks
from tidegate.storage.vault.rotation import rotate

_FIELDS = msgspec.json.Decoder(dict[str, Any])


class Erasure(msgspec.Struct, frozen=True):
    """What was erased: the aliases, which stay in rows and mean nobody any more."""

    aliases: tuple[str, ...]
    bodies: int
    answers: int  # of the cache
    lines: int = 0  # of batches
    lessons: int = 0  # of routes with tiers: vectors of questions


class Keys(msgspec.Struct, frozen=True):
    """What the keyring has: how many keys are sealed under which key-encrypting key."""

    seals: bool
    last: str | None
    known: tuple[str, ...]
    sealed_under: dict[str, int]

    @property
    def waiting(self) -> int:
        """Keys that are still sealed under an older one."""
        return sum(count for kek, count in self.sealed_under.items() if kek != self.last)


class Archive:
    """What is kept, as administrators see it."""

    def __init__(
        self,
        ledger: Ledger,
        bodies: Bodies,
        log: Log,
        vault: Vault,
        purge: Callable[[str], Awaitable[int]],
        batches: Batches | None = None,
        lessons: Lessons | None = None,
        *,
        notary: Notary | None = None,
        keyring: Keyring | None = None,
        keks: Keks | None = None,
        experiments: Callable[[], Awaitable[Sequence[Experiment]]],
    ) -> None:
        """`purge` drops answers of the cache by tag. Without a notary there is no audit log."""
        self._experiments = experiments
        self._ledger = ledger
        self._bodies = bodies
        self._log = log
        self._vault = vault
        self._sealed = Rows(vault)
        self._purge = purge
        self._batches = batches
        self._lessons = lessons
        self._notary = notary
        self._keyring = keyring
        self._keks = keks
        self._inspecting = asyncio.Lock()  # one at a time: it reads much

    @property
    def seals(self) -> bool:
        return self._vault.seals

    # --- people

    async def subjects(self, name: str, organisation: str | None = None) -> list[Subject]:
        """Raises NotFound."""
        if not self._vault.seals:
            return [Subject(organisation or "", name)]
        # What waits is under the house's key until then; who has only just come has no key of their own before.
        await self._ledger.flush()
        found = await asyncio.to_thread(self._vault.subjects, name)
        mine = [one for one in found if organisation in (None, one.tenant)]
        if not mine:
            raise NotFound(f"nothing is kept of an end user {name[:60]!r}")
        return mine

    async def rows(self, name: str, organisation: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """Everything of an end user, one after the other: what it is, and its fields. Raises NotFound."""
        for subject in await self.subjects(name, organisation):
            async for row in self._ledger.rows(subject.alias):
                yield {"kind": "call", "row": _plain(row)}
                for opinion in await self._ledger.opinions(row.id):
                    yield {"kind": "opinion", "opinion": _plain(opinion)}
            for body in await self._bodies.of(subject.alias):
                yield {"kind": "body", "body": shown(body)}
            for held in await self._batches.of(subject.alias) if self._batches is not None else ():
                yield {"kind": "batch_line", "line": _plain(held)}
            for lesson in await self._lessons.of(subject.alias) if self._lessons is not None else ():
                yield {"kind": "lesson", "lesson": _plain(msgspec.structs.asdict(lesson))}
            for link in await self._log.of(subject.alias):
                yield {"kind": "audit", "entry": await self.entry(link)}
            for line in await self._ledger.usage(_sums_of(name, subject)):
                yield {"kind": "usage", "route": line.names[0], "sums": line.sums}

    async def erase(self, name: str, organisation: str | None = None) -> Erasure:
        """Destroy the keys of an end user. What is stored of them is unreadable from then on. Raises NotFound."""
        if not self._vault.seals:
            raise BadRequest(
                "nothing is encrypted here, so that there is no key to destroy: set vault.keys", param="vault.keys"
            )
        found = await self.subjects(name, organisation)
        await self._ledger.rename_units(await self._units(name, found))
        bodies = lines = lessons = 0
        for subject in found:
            lines += await self._batches.forget_of(subject.alias) if self._batches is not None else 0
            bodies += await self._bodies.forget_of(subject.alias)
            lessons += await self._lessons.forget_of(subject) if self._lessons is not None else 0
            await asyncio.to_thread(self._vault.erase, subject)
        answers = await self._purge(f"subject:{self._vault.word(name)}")
        return Erasure(tuple(one.alias for one in found), bodies, answers, lines, lessons)

    async def _units(self, name: str, subjects: Sequence[Subject]) -> list[tuple[str, str, str]]:
        """What experiments call them, and another name for each, that says nothing: what was measured of them stays,
        and whoever knows the salt and guesses the name finds nobody."""
        by_session, units = set(), set()
        for one in await self._experiments():
            kind = _FIELDS.decode(one.spec).get("unit")  # whatever else a later version of ours has written there
            if kind == "session":
                by_session.add(one.id)
            elif kind == "user":
                units |= {(one.id, place(one.salt, of_user(subject.tenant, name)).id) for subject in subjects}
        if by_session:
            for subject in subjects:
                async for row in self._ledger.rows(subject.alias):
                    units |= {(arm.experiment, arm.unit) for arm in row.arms if arm.experiment in by_session}
        return [(experiment, unit, secrets.token_hex(8)) for experiment, unit in sorted(units)]

    async def body(self, id: str) -> Body | None:
        return await self._bodies.find(id)

    # --- keys

    async def keys(self) -> Keys:
        if self._keyring is None or self._keks is None:
            return Keys(False, None, (), {})
        count = await asyncio.to_thread(self._keyring.count)
        return Keys(True, self._keks.last.fingerprint, tuple(self._keks.fingerprints), count)

    async def rotate(self) -> int:
        """Seal every key under the last key-encrypting key. How many were. Raises BadRequest."""
        keyring, keks = self._keyring, self._keks
        if keyring is None or keks is None:
            raise BadRequest(
                "nothing is encrypted here, so that there is nothing to rotate: set vault.keys", param="vault.keys"
            )

        def work() -> int:
            return max((done for done, _ in rotate(keyring, keks)), default=0)

        try:
            return await asyncio.to_thread(work)
        except ValueError as wrong:
            raise BadRequest(str(wrong), param="vault.keys") from None

    # --- the audit log

    @property
    def log(self) -> Log:
        """Raises NotFound where there is none."""
        if self._notary is None:
            raise NotFound("no audit log is kept: set audit.enabled")
        return self._log

    @property
    def verifier(self) -> str:
        """The key that checkpoints are checked with."""
        return self._notary.signer.verifier if self._notary is not None else ""

    async def entry(self, link: Link) -> dict[str, Any]:
        """An entry as administrators read it, with what can still be read of it."""
        if not link.entry:
            return {"id": link.id, "writer": link.writer, "seq": link.seq, "at_ms": link.at_ms, "deleted": True}
        fields = _FIELDS.decode(link.entry)
        sealed = fields.pop("sealed", None)
        fields.pop("personal", None)
        if sealed is not None:
            said = await asyncio.to_thread(self._sealed.unveiled, link.id, msgspec.convert(sealed, bytes))
            fields |= dict(zip(("name", "before", "after"), said, strict=True))
        if "user" in fields and self._vault.seals:
            fields["user"] = await asyncio.to_thread(self._vault.name, fields["user"])
        return fields | {"hash": link.hash.hex()}

    async def inspect(self, verifiers: Sequence[str], most: int) -> list[Inspected]:
        """Whether the log is what was signed, as far as `most` entries of each writer. Raises NotFound, ConfigError."""
        log, known = self.log, Verifiers([self.verifier, *verifiers])
        await self._ledger.flush()
        async with self._inspecting:
            return await inspect(log, known, most)

    async def prove(self, id: str) -> dict[str, Any]:
        """That the entry of this call or act is in the log as it was signed last. Raises NotFound."""
        await self._ledger.flush()
        link = await self.log.find(id)
        if link is None:
            raise NotFound(f"there is no entry of {id[:80]!r} in the audit log")
        if self._notary is not None:
            await self._notary.sign()
        signed = [one for one in await self._log.checkpoints(link.writer) if one.size > link.seq]
        if not signed:
            raise NotFound(f"writer {link.writer} has signed nothing since; ask again in a minute")
        last = signed[-1]
        leaves = await self._log.hashes(link.writer, 0, last.size)
        proof = await asyncio.to_thread(inclusion, link.seq, last.size, _roots(leaves))
        return {
            "entry": link.entry.decode() or None,
            "hash": link.hash.hex(),
            "seq": link.seq,
            "proof": [one.hex() for one in proof],
            "checkpoint": last.note,
        }

    async def prove_consistent(self, writer: str, first: int, second: int) -> dict[str, Any]:
        """That the log signed at size `second` begins with the one signed at `first`. Raises NotFound."""
        by_size = {one.size: one for one in await self.log.checkpoints(writer)}
        ends: list[Checkpoint | None] = [by_size.get(first), by_size.get(second)]
        if None in ends or first > second:
            raise NotFound(f"writer {writer[:40]!r} has signed no such sizes; there are: {_some(list(by_size))}")
        leaves = await self._log.hashes(writer, 0, second)
        proof = await asyncio.to_thread(consistency, first, second, _roots(leaves))
        notes = [one.note for one in ends if one is not None]
        return {"first": notes[0], "second": notes[1], "proof": [one.hex() for one in proof]}


def _sums_of(name: str, subject: Subject) -> UsageAsked:
    only = {"end_user": name} | ({"organisation": subject.tenant} if subject.tenant else {})
    return UsageAsked((Period(0, LAST_MS),), ("route",), only)


def _some(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes[-10:])) or "none"


def _roots(leaves: Sequence[bytes]) -> Callable[[int, int], bytes]:
    return lambda begin, end: root_of(leaves[begin:end])


def _plain(row: Any) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(row)
    fields.pop("record", None)
    return fields


def shown(body: Body) -> dict[str, Any]:
    """For people: bodies as text where they are any."""
    fields: dict[str, Any] = msgspec.structs.asdict(body)
    for name in ("request", "reply"):
        if fields[name] is not None:
            fields[name] = fields[name].decode("utf-8", "replace")
    return fields


def told(one: Any) -> Any:
    """What was administered, as the audit log has it: never what a key is known by."""
    fields = msgspec.to_builtins(one)
    if isinstance(fields, dict):
        fields = {name: value for name, value in fields.items() if name not in ("digest", "former_digest")}
    return fields
