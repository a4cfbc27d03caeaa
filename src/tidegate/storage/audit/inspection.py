"""Is the log in the database what was signed? As far as one answer may go, by the rules of `proof`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from tidegate.core.audit import Broken, Link
from tidegate.storage.audit.log import HASHES, PAGE, Log
from tidegate.storage.audit.notes import Checkpoint, Verifiers
from tidegate.storage.audit.proof import Chain, cover

MOST_ENTRIES = 100_000
MOST_HASHES = 1_000_000  # of all writers together: some seconds beside the event loop
CHECKPOINTS = 100  # of each writer, the newest


class Inspected(NamedTuple):
    """Of one writer's chain: each of the newest entries is what its hash says and follows the one before, and the tree
    over all hashes is the one that was signed."""

    writer: str
    size: int
    read: int  # entries that were read, the newest
    signed: int  # entries that a checkpoint covers
    signed_ms: int | None  # when that was
    wrong: str  # "" where all is well


async def inspect(log: Log, verifiers: Verifiers, most: int) -> list[Inspected]:
    """The newest `most` entries of each writer. Raises StoreDown."""
    # First what was signed: an entry that comes meanwhile is not missed.
    signed = {writer: await log.last_checkpoints(writer, CHECKPOINTS) for writer in await log.signers()}
    heads = await log.heads()
    found: list[Inspected] = []
    room = MOST_HASHES
    for writer in sorted({*signed, *heads}):
        size = heads.get(writer, 0)
        if size > room:
            wrong = f"{size} entries are too many to be checked here: tidegate audit export, and tidegate audit verify"
            found.append(Inspected(writer, size, 0, 0, None, wrong))
            continue
        room -= size
        found.append(await _inspected(log, verifiers, writer, size, most, signed.get(writer, [])))
    return found


async def _inspected(
    log: Log, verifiers: Verifiers, writer: str, size: int, most: int, signed: Sequence[Checkpoint]
) -> Inspected:
    read = 0
    try:
        notes = [verifiers.read(one.note, f"writer {writer}, checkpoint of {one.size} entries") for one in signed]
        chain = Chain(writer, (one.size for one in notes))
        begin = max(size - most, 0)
        for at in range(0, begin, HASHES):
            hashes = await log.hashes(writer, at, min(at + HASHES, begin))
            await asyncio.to_thread(_pass_over, chain, hashes)
        while chain.head.size < size and (page := await log.page(writer, chain.head.size - 1, PAGE)):
            page = page[: size - chain.head.size]
            await asyncio.to_thread(_follow, chain, page)
            read += len(page)
        for one in notes:
            cover(one, chain)
    except Broken as broken:
        return Inspected(writer, size, read, 0, None, str(broken))
    last = notes[0] if notes else None
    return Inspected(writer, size, read, last.size if last else 0, last.at_ms if last else None, "")


def _pass_over(chain: Chain, hashes: Sequence[bytes]) -> None:
    for hash in hashes:
        chain.add({"seq": chain.head.size, "hash": hash.hex()}, f"entry {chain.head.size}")


def _follow(chain: Chain, links: Sequence[Link]) -> None:
    """Raises Broken."""
    for link in links:
        where = f"entry {link.seq} of writer {link.writer} ({link.id})"
        fields = {"entry": link.entry.decode()} if link.entry else {"seq": link.seq, "hash": link.hash.hex()}
        chain.add(fields, where)
        if chain.head.hash != link.hash:
            raise Broken(f"{where}: is not what its hash was made from: one of them was changed")
