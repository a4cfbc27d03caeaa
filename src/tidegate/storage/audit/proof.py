"""Is the log what was signed? Checked from a file alone: entries, checkpoints and the verifier keys.

An export is lines of JSON: entries `{"entry": …}` (or `{"hash": …}` where only that is kept) in the order of each
writer's chain, checkpoints `{"checkpoint": …}`, and a last line that says how many entries there are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from tidegate.core.audit import FIRST, Broken, Head, Link, follow
from tidegate.core.merkle import Tree, is_consistent, is_included, leaf_hash
from tidegate.storage.audit.log import PAGE, Log
from tidegate.storage.audit.notary import BETWEEN
from tidegate.storage.audit.notes import Checkpoint, Verifiers

_LINE = msgspec.json.Decoder(dict[str, Any])
_ENCODE = msgspec.json.Encoder().encode


class Verified(NamedTuple):
    """What was found to be whole."""

    entries: dict[str, int]  # of each writer
    signed: dict[str, int]  # how many of these a checkpoint covers
    deleted: int  # of which only hashes are left


# --- writing one


async def rows(log: Log) -> AsyncIterator[bytes]:
    """Lines of all that there is: the chains, then what was signed of them."""
    heads = await log.heads()
    for writer, size in heads.items():
        after = -1
        while after + 1 < size and (page := await log.page(writer, after, PAGE)):
            for link in page:
                if link.seq < size:
                    yield _line(link)
            after = page[-1].seq
    for one in await log.checkpoints():
        if one.size <= heads.get(one.writer, 0):
            yield _ENCODE({"checkpoint": one.note}) + b"\n"
    yield _ENCODE({"end": heads}) + b"\n"


def _line(link: Link) -> bytes:
    if link.entry:
        return _ENCODE({"writer": link.writer, "entry": link.entry.decode()}) + b"\n"
    return _ENCODE({"writer": link.writer, "seq": link.seq, "hash": link.hash.hex()}) + b"\n"


# --- checking one


class Chain:
    """One writer's chain, followed to its end; its roots at the sizes that were signed."""

    def __init__(self, writer: str, sizes: Iterable[int]) -> None:
        self.writer = writer
        self.head = Head()
        self.roots: dict[int, bytes] = {}
        self._sizes = set(sizes)
        self._tree = Tree()

    def add(self, fields: dict[str, Any], where: str) -> bool:
        """Whether the entry is there, and not only its hash. Raises Broken."""
        entry = fields.get("entry")
        if isinstance(entry, str):
            self.head = follow(self.head, self.writer, entry.encode(), where)
        else:
            self.head = _skip(self.head, fields, where)
        self._tree.add(self.head.hash)
        if self._tree.size in self._sizes:
            self.roots[self._tree.size] = self._tree.root
        return isinstance(entry, str)


def _skip(head: Head, fields: dict[str, Any], where: str) -> Head:
    try:
        hash = bytes.fromhex(fields["hash"])
        if len(hash) != len(FIRST) or fields["seq"] != head.size:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise Broken(f"{where}: is neither the entry nor the hash that is expected there, {head.size}") from None
    return Head(head.size + 1, hash)


def verify(lines: Callable[[], Iterator[bytes]], heads: Iterable[Checkpoint], verifiers: Verifiers) -> Verified:
    """Raises Broken, and says what and where. `lines()` reads the file from its beginning; `heads` were exported."""
    notes, end = _notes(lines(), verifiers)
    signed = [*notes, *heads]
    chains: dict[str, Chain] = {}
    deleted = 0
    for number, line in enumerate(lines(), 1):
        fields = _LINE.decode(line)
        writer = fields.get("writer")
        if not isinstance(writer, str):
            continue
        if writer not in chains:
            chains[writer] = Chain(writer, (one.size for one in signed if one.writer == writer))
        deleted += not chains[writer].add(fields, f"line {number}")
    there = {writer: chain.head.size for writer, chain in chains.items()}
    if there != end:
        raise Broken(f"the last line says {end}, and there are {there}: entries were taken out or put in")
    for one in signed:
        cover(one, chains.get(one.writer))
    covered = {writer: max((one.size for one in signed if one.writer == writer), default=0) for writer in there}
    return Verified(there, covered, deleted)


def cover(signed: Checkpoint, chain: Chain | None) -> None:
    """Whether the chain is what was signed there. Raises Broken."""
    size = chain.head.size if chain is not None else 0
    if signed.size > size:
        raise Broken(
            f"writer {signed.writer}: {signed.size} entries were signed, and {size} are here: the log was cut short or "
            "taken back to an earlier state"
        )
    root = chain.roots[signed.size] if chain is not None and signed.size else signed.root
    if root != signed.root:
        raise Broken(f"writer {signed.writer}: the first {signed.size} entries are not those that were signed")


def _notes(lines: Iterator[bytes], verifiers: Verifiers) -> tuple[list[Checkpoint], dict[str, int]]:
    """What was signed, and what the last line says. Raises Broken for a file that is cut short."""
    notes: list[Checkpoint] = []
    end: dict[str, int] | None = None
    byte = number = 0
    for number, line in enumerate(lines, 1):
        try:
            fields = _LINE.decode(line)
        except (msgspec.DecodeError, ValueError):
            short = "" if line.endswith(b"\n") else ": the file is cut short there"
            raise Broken(f"line {number}, byte {byte}: is no line of an audit export{short}") from None
        if end is not None:
            raise Broken(f"line {number}, byte {byte}: stands behind the last line")
        if "checkpoint" in fields:
            notes.append(verifiers.read(str(fields["checkpoint"]), f"line {number}"))
        elif "end" in fields:
            end = fields["end"]
        elif "writer" not in fields:
            raise Broken(f"line {number}, byte {byte}: is no line of an audit export")
        byte += len(line)
    if end is None:
        raise Broken(
            f"cut short behind line {number}, byte {byte}: the last line, which says how many there are, is missing"
        )
    return notes, end


def check(fields: dict[str, Any], verifiers: Verifiers) -> str:
    """What a proof proves, in words: that an entry is in the log, or that one state goes on where another was.

    Raises Broken.
    """
    try:
        path = [bytes.fromhex(step) for step in fields["proof"]]
        if "checkpoint" in fields:
            signed = verifiers.read(fields["checkpoint"], "checkpoint")
            leaf, seq, entry = bytes.fromhex(fields["hash"]), int(fields["seq"]), fields["entry"]
            if entry is not None and leaf_hash(entry.encode()) != leaf:
                raise Broken("the hash is not that of the entry")
            if not is_included(leaf, seq, signed.size, path, signed.root):
                raise Broken(f"entry {seq} is not in the log that was signed at {signed.size} entries")
            return f"entry {seq} of writer {signed.writer} is among the {signed.size} that were signed"
        first, second = (verifiers.read(fields[name], name) for name in ("first", "second"))
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        if isinstance(wrong, Broken):
            raise
        raise Broken("is no proof: what `tidegate audit prove` prints is expected") from None
    if first.writer != second.writer or not is_consistent(first.size, second.size, path, first.root, second.root):
        raise Broken(f"what was signed at {second.size} entries does not go on where {first.size} were signed")
    return f"the {second.size} entries of writer {second.writer} begin with the {first.size} that were signed before"


def heads_of(text: str, verifiers: Verifiers, where: str) -> list[Checkpoint]:
    """Signed states as they were exported to a file: one after the other. Raises Broken."""
    notes = [note.strip("\n") for note in text.split(BETWEEN.strip("\n"))]
    return [verifiers.read(f"{note}\n", f"{where}, note {at}") for at, note in enumerate(notes, 1) if note]
