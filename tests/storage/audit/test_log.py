"""The audit log: chained with the rows, signed, exported, and whoever changes it is found out."""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tidegate.core.audit import Broken, Head, canonical, follow
from tidegate.core.errors import ConfigError
from tidegate.core.merkle import consistency, inclusion, is_consistent, is_included, root_of
from tidegate.core.ports import Acted, Closed, Totals
from tidegate.core.values import Secret
from tidegate.storage.audit import proof
from tidegate.storage.audit.notary import Exports, Notary
from tidegate.storage.audit.notes import Signer, Verifiers, load_signer
from tidegate.storage.books import Home, Position, Row
from tidegate.storage.ledger import SpoolLedger
from tidegate.storage.personal import SPOOL
from tidegate.storage.postgres import PostgresStore
from tidegate.storage.spool import Spool
from tidegate.storage.sqlite import SqliteStore
from tidegate.storage.vault import PlainVault

SEED = bytes(range(32))
MANY = 1_000  # changes


def deaf(name: str, fields: Any) -> None:
    """Nobody is told."""


def closed(id: str, **fields: object) -> Closed:
    plain = Closed(
        id=id, at_ms=1_790_000_000_000, key_id="k", dialect="openai", operation="chat", outcome="ok", status=200,
        duration_us=1, overhead_us=1,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **fields)


class Place:
    """A home with an audit log, and a ledger that writes into it."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home = home
        self.folder = folder
        self.told: list[tuple[str, Any]] = []
        self.signer = Signer(SEED)

    async def enter(self) -> SpoolLedger:
        self.ledger = await SpoolLedger.open(self.folder, self.home.books, PlainVault(), deaf, audited=True)
        self.notary = self.new_notary()
        return self.ledger

    def new_notary(self, *exports: str, seed: bytes = SEED) -> Notary:
        sent = Exports([Secret(one) for one in exports])
        return Notary(
            self.home.log,
            Signer(seed),
            self.ledger.id,
            sent,
            lambda *told: self.told.append(told),
            lambda: 1_790 * 10**15,
        )

    def hear(self, name: str, fields: Any) -> None:
        self.told.append((name, fields))

    async def export(self) -> list[bytes]:
        return [line async for line in proof.rows(self.home.log)]

    def verify(self, lines: list[bytes], heads: str = "") -> proof.Verified:
        verifiers = Verifiers([self.signer.verifier])
        return proof.verify(lambda: iter(lines), proof.heads_of(heads, verifiers, "heads"), verifiers)


Make = Callable[[], Awaitable[Home]]


@pytest.fixture(params=["sqlite", "postgres"])
async def place(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "sqlite":
        home: Home = await SqliteStore.open(tmp_path / "tidegate.sqlite")
    else:
        home = await PostgresStore.open(request.getfixturevalue("postgres"), deaf)
    place = Place(home, tmp_path)
    await place.enter()
    yield place
    await place.ledger.aclose()
    await home.aclose()


async def filled(place: Place, calls: int = 20) -> None:
    for n in range(calls):
        place.ledger.append(closed(f"req_{n:05}", cost_nusd=n))
        if n % 7 == 0:
            place.ledger.append(Acted(f"act_{n:05}", n, "key_changed", "k", "admin", "ops", {"n": n}, {"n": n + 1}))
    await place.ledger.flush()


async def test_every_call_and_every_act_stands_there_once_in_its_order(place):
    await filled(place)
    links = await place.home.log.page(place.ledger.id, -1)
    assert [link.seq for link in links] == list(range(23))
    assert [link.id for link in links][:3] == ["req_00000", "act_00000", "req_00001"]
    assert place.verify(await place.export()).entries == {place.ledger.id: 23}


async def test_what_is_stored_twice_is_chained_once(place):
    """A line that breaks in the middle of a commit: the same is taken again."""
    rows = [Row(closed("a"), b"\0a")]
    said = [rows[0].closed, Acted("b", 1, "did", "of", "by")]
    assert place.home.books.take("w", rows, Position(1, 1), said) == Totals(calls=1)
    assert place.home.books.take("w", rows, Position(1, 1), said) == Totals()
    assert [link.id for link in await place.home.log.page("w", -1)] == ["a", "b"]


async def test_a_chain_goes_on_after_a_restart(place):
    await filled(place, 3)
    await place.notary.sign()
    await place.ledger.aclose()
    await place.enter()
    place.ledger.append(closed("later"))
    await place.ledger.flush()
    signed = await place.notary.sign()
    assert signed is not None and signed.size == 5
    assert place.verify(await place.export()).signed == {place.ledger.id: 5}


async def test_who_was_killed_loses_no_act(place):
    """What a process that died has left in its spool."""
    await place.ledger.aclose()
    spool = Spool(place.folder / "spool")
    spool.begin(after=9)
    act = Acted("act_1", 1, "key_created", "k", "admin")
    spool.append(act.id, PlainVault().seal(msgspec.json.encode(act), SPOOL), closes=True)
    spool.close()
    await place.enter()
    assert (await place.home.log.find("act_1")).seq == 0


async def test_nothing_new_is_not_signed_again(place):
    assert await place.notary.sign() is None
    await filled(place, 1)
    assert (await place.notary.sign()).size == 2
    assert await place.notary.sign() is None


async def test_a_signed_state_goes_to_a_file_and_to_a_command(place, tmp_path):
    file, copy = tmp_path / "heads", tmp_path / "copy"
    notary = place.new_notary(str(file), f"exec:sh -c 'cat >> {copy}'")
    await filled(place, 1)
    await notary.sign()
    await filled(place, 3)
    await notary.sign()
    heads = proof.heads_of(file.read_text(), Verifiers([place.signer.verifier]), "heads")
    assert [one.size for one in heads] == [2, 4] and notary.exported == 4
    assert copy.read_text().count("tidegate/audit/") == 2


async def test_what_could_not_be_exported_is_told_once_and_sent_with_the_next(place, tmp_path):
    notary = place.new_notary(str(tmp_path / "no" / "folder"))
    await filled(place, 1)
    await notary.sign()
    await filled(place, 2)
    await notary.sign()
    assert [name for name, _ in place.told] == ["audit_not_exported"]
    (tmp_path / "no").mkdir()
    await filled(place, 3)
    await notary.sign()
    assert (tmp_path / "no" / "folder").read_text().count("tidegate/audit/") == 3


async def test_a_disk_that_fills_up_in_the_middle_of_a_note_leaves_whole_notes(place, tmp_path):
    file = tmp_path / "heads"
    notary = place.new_notary(str(file))
    await filled(place, 1)
    await notary.sign()
    await filled(place, 2)
    free = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 100, free[1]))
    try:
        why = await Exports([Secret(str(file), "x")]).send(place.signer.sign("w", 9, bytes(32), 0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, free)
    assert "File too large" in why
    await notary.sign()
    heads = proof.heads_of(file.read_text(), Verifiers([place.signer.verifier]), "heads")
    assert [one.size for one in heads] == [2, 3]


@pytest.mark.parametrize("kept", [0, 1], ids=["the first", "a later one"])
async def test_a_note_that_somebody_died_over_is_written_anew(place, tmp_path, kept):
    file = tmp_path / "heads"
    exports = Exports([Secret(str(file), "x")])
    notes = [place.signer.sign("w", size, bytes(32), 0) for size in (1, 2)]
    for note in notes[: kept + 1]:
        await exports.send(note)
    os.truncate(file, file.stat().st_size - 9)
    assert await exports.send(notes[1]) is None
    heads = proof.heads_of(file.read_text(), Verifiers([place.signer.verifier]), "heads")
    assert [one.size for one in heads] == ([1, 2] if kept else [2])


async def test_nothing_is_cut_off_a_file_that_holds_something_else(place, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("what I must not forget")
    why = await Exports([Secret(str(file), "x")]).send(place.signer.sign("w", 1, bytes(32), 0))
    assert "is no checkpoint" in why and file.read_text() == "what I must not forget"


async def test_entries_that_vanish_below_what_was_signed_are_told(place):
    await filled(place, 5)
    await place.notary.sign()
    await place.home.tables.changed("DELETE FROM LOG WHERE seq >= ?", 3)
    await place.new_notary().sign()
    assert [name for name, _ in place.told] == ["audit_log_cut"]


async def test_entries_leave_after_their_time_and_chain_and_tree_stay_whole(place):
    await filled(place, 10)
    await place.notary.sign()
    assert await place.home.log.forget(5, 100) == 1
    assert await place.home.log.forget(5, 100) == 0
    found = place.verify(await place.export())
    assert found.deleted == 1 and found.signed == {place.ledger.id: 12}


# --- proofs


async def test_an_entry_and_the_continuation_are_proved(place):
    await filled(place, 9)
    first = await place.notary.sign()
    await filled(place, 17)
    second = await place.notary.sign()
    log = place.home.log
    leaves = await log.hashes(place.ledger.id, 0, second.size)

    def root(begin: int, end: int) -> bytes:
        return root_of(leaves[begin:end])

    for at in range(second.size):
        assert is_included(leaves[at], at, second.size, inclusion(at, second.size, root), second.root)
    path = consistency(first.size, second.size, root)
    assert is_consistent(first.size, second.size, path, first.root, second.root)


# --- whoever changes it


def changes(rand: random.Random, lines: list[bytes], writer: str) -> list[bytes]:
    """One change that somebody with the file and without the key could make."""
    entries = [at for at, line in enumerate(lines) if line.startswith(b'{"writer"')]
    kind = rand.choice(("edit", "bit", "delete", "swap", "insert", "repeat", "cut", "rollback", "checkpoint", "rehash"))
    out = list(lines)
    at = rand.choice(entries)
    if kind == "edit":
        before, after = rand.choice(
            [(b'"status\\":200', b'"status\\":201'), (b"req_0", b"req_9"), (b'"k\\"', b'"K\\"')]
        )
        if before not in out[at]:
            return changes(rand, lines, writer)
        out[at] = out[at].replace(before, after, 1)
    elif kind == "bit":
        byte = rand.randrange(len(out[at]) - 1)
        out[at] = out[at][:byte] + bytes([out[at][byte] ^ 1 << rand.randrange(8)]) + out[at][byte + 1 :]
    elif kind == "delete":
        del out[at]
    elif kind == "swap":
        other = rand.choice([one for one in entries if one != at])
        out[at], out[other] = out[other], out[at]
    elif kind == "insert":
        out.insert(at, out[rand.choice(entries)].replace(b"req_", b"req_x", 1))
    elif kind == "repeat":
        out.insert(at, out[at])
    elif kind == "cut":
        whole = b"".join(out)
        out = whole[: rand.randrange(1, len(whole) - 1)].splitlines(keepends=True)
    elif kind == "rollback":
        out = forged(lines, at, writer, lambda text: None)
    elif kind == "checkpoint":
        return (
            changes(rand, lines, writer) if rand.random() < 0.5 else [x for x in out if b'"checkpoint"' not in x][:-2]
        )
    elif b'status\\":200' not in out[at]:
        return changes(rand, lines, writer)
    else:  # every hash behind it made anew, and the signatures left out
        out = forged(lines, at, writer, lambda text: text.replace(b'"status":200', b'"status":503'))
    return out


def forged(lines: list[bytes], at: int, writer: str, change: Callable[[bytes], bytes | None]) -> list[bytes]:
    """A log that is whole in itself, with another entry at `at`, or without all from there on; nothing is signed."""
    head = Head()
    out: list[bytes] = []
    for number, line in enumerate(lines):
        if not line.startswith(b'{"writer"'):
            continue
        text = msgspec.json.decode(line)["entry"].encode()
        changed = change(text) if number == at else text
        if changed is None:
            break
        fields = msgspec.json.decode(changed) | {"seq": head.size, "prev": head.hash.hex()}
        entry = canonical(fields)
        head = follow(head, writer, entry, "")
        out.append(msgspec.json.encode({"writer": writer, "entry": entry.decode()}) + b"\n")
    return [*out, msgspec.json.encode({"end": {writer: head.size} if out else {}}) + b"\n"]


async def test_whatever_is_changed_is_found_against_an_exported_head(place, tmp_path):
    file = tmp_path / "heads"
    notary = place.new_notary(str(file))
    for calls in (20, 45, 60):
        await filled(place, calls)
        await notary.sign()
    lines, heads = await place.export(), file.read_text()
    assert place.verify(lines, heads).signed == {place.ledger.id: 69}
    rand = random.Random(int(os.environ.get("TIDEGATE_SEED", "7")))
    missed = []
    for n in range(MANY):
        changed = changes(rand, lines, place.ledger.id)
        if changed == lines:
            continue
        try:
            place.verify(changed, heads)
        except Broken:
            continue
        missed.append(n)
    assert missed == []


async def test_a_file_that_is_cut_short_is_told_with_its_place(place):
    await filled(place, 3)
    lines = await place.export()
    with pytest.raises(Broken, match=r"cut short behind line 4, byte \d+: the last line"):
        place.verify(lines[:-1])
    with pytest.raises(Broken, match=r"line 3, byte \d+: is no line of an audit export: the file is cut short there"):
        place.verify([*lines[:2], lines[2][:50]])


async def test_a_log_that_was_taken_back_is_found_against_an_exported_head(place, tmp_path):
    file = tmp_path / "heads"
    await filled(place, 3)
    before = await place.export()
    await filled(place, 9)
    await place.new_notary(str(file)).sign()
    with pytest.raises(Broken, match="11 entries were signed, and 4 are here: the log was cut short or taken back"):
        place.verify(before, file.read_text())


async def test_another_key_signs_nothing(place):
    await filled(place, 3)
    await place.new_notary(seed=bytes(32)).sign()
    with pytest.raises(Broken, match="signed by no key that was given"):
        place.verify(await place.export())


# --- keys


def test_a_key_of_its_own_is_made_once(tmp_path):
    assert load_signer(None, tmp_path).verifier == load_signer(None, tmp_path).verifier
    assert (tmp_path / "audit.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "00", "zz" * 32])
def test_a_damaged_key_is_an_error_that_says_so(tmp_path, text):
    (tmp_path / "audit.key").write_text(text)
    with pytest.raises(ConfigError, match=r"audit\.key"):
        load_signer(None, tmp_path)
    with pytest.raises(ConfigError, match="must be 32 bytes"):
        load_signer(Secret(text or "x"), tmp_path)


@pytest.mark.parametrize("text", ["", "tidegate", "tidegate+00+AA==", "tidegate+00000000+" + "A" * 44])
def test_a_verifier_key_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="is no verifier key"):
        Verifiers([text])


def test_a_note_is_read_as_it_was_signed():
    signer = Signer(SEED, "house")
    made = signer.sign("w", 7, bytes(32), 9)
    assert Verifiers([signer.verifier]).read(made.note, "here") == made
    for old, new in (("\n7\n", "\n8\n"), ("audit/w", "audit/v"), ("at_ms 9", "at_ms 8"), ("— house", "— other")):
        with pytest.raises(Broken):
            Verifiers([signer.verifier]).read(made.note.replace(old, new), "here")
