"""What is at the bottom of a house? What it stores and counts, and its World."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import NamedTuple

from tidegate import plugins
from tidegate.app.homes import check_sealed, data_folder, open_blobs, open_counters, open_home, open_vault
from tidegate.app.place import Place
from tidegate.app.presence import Presence
from tidegate.config import Config
from tidegate.core.errors import StoreDown
from tidegate.core.experiments import Experiment
from tidegate.core.ports import Blobs, Clock, Relay, Vault
from tidegate.core.world import Nursery, World
from tidegate.storage.archive import Archive
from tidegate.storage.audit.notary import Exports, Notary
from tidegate.storage.audit.notes import load_signer
from tidegate.storage.batches import BatchStore
from tidegate.storage.bodies import BodyStore
from tidegate.storage.books import Home
from tidegate.storage.days import keep_folded
from tidegate.storage.ledger import SpoolLedger
from tidegate.storage.lessons import LessonStore
from tidegate.storage.processes import Processes
from tidegate.storage.retention import Kind, keep
from tidegate.telemetry import Listeners

Purge = Callable[[str], Awaitable[int]]


class Base(NamedTuple):
    """What is at the bottom of a house, beside its World."""

    world: World
    home: Home
    vault: Vault
    archive: Archive
    bodies: BodyStore
    batches: BatchStore
    lessons: LessonStore
    blobs: Blobs
    relay: Relay | None
    purges: list[Purge]  # of all that keep answers, by tag
    notary: Notary | None
    presence: Presence


async def base_of(config: Config, clock: Clock, events: Listeners, undo: AsyncExitStack, place: Place) -> Base:
    loop, kept, notice = asyncio.get_running_loop(), config.storage, events.notice
    data_dir = data_folder(kept.data_dir)
    vault, keyring, keks = await asyncio.to_thread(open_vault, config.vault, kept, data_dir)
    if keyring is not None:
        undo.callback(keyring.close)
    home = await open_home(kept, data_dir, notice)
    undo.push_async_callback(home.aclose)
    await check_sealed(home, vault, config.vault)
    bodies = BodyStore(home.tables, vault, notice)
    undo.push_async_callback(bodies.aclose)
    batches = BatchStore(home.tables, vault, config.batches)
    lessons = LessonStore(home.tables, vault, clock.wall_ns)
    spooled = partial(
        SpoolLedger.open, data_dir, home.books, vault, notice, max_spool_bytes=kept.max_spool,
        audited=config.audit.enabled,
    )  # fmt: skip
    for left in place.left_in(data_dir):  # by workers that are no more
        await (await spooled(spool=left)).aclose()
    ledger = await spooled(spool=place.spool)
    undo.push_async_callback(ledger.aclose)
    presence = Presence(
        Processes(home.tables, lambda: clock.wall_ns() // 1_000_000), place, ledger.id,
        keks.fingerprints if keks is not None else (), kept, lambda: clock.wall_ns() // 1_000_000,
    )  # fmt: skip
    undo.push_async_callback(presence.aclose)
    transport = plugins.find("transports", config.transport.kind)(config.transport, loop=loop)
    undo.push_async_callback(transport.aclose)
    notary = None
    if config.audit.enabled:
        signer, exports = load_signer(config.audit.key, data_dir), Exports(config.audit.export, transport)
        notary = Notary(home.log, signer, ledger.id, exports, notice, clock.wall_ns)
        undo.push_async_callback(_sign_last, ledger, notary)
        undo.callback(loop.create_task(notary.run(config.audit.checkpoint), name="sign the audit log").cancel)
    counters = await open_counters(kept, clock, notice)
    undo.push_async_callback(counters.aclose)
    blobs, relay = await open_blobs(kept, clock, notice)
    purges: list[Purge] = [blobs.purge]
    undo.push_async_callback(blobs.aclose)
    archive = Archive(
        ledger, bodies, home.log, vault, partial(_purge, purges), batches, lessons, notary=notary, keyring=keyring,
        keks=keks, experiments=partial(home.every, Experiment),
    )  # fmt: skip
    kinds = {"bodies": Kind(0.0, bodies.forget), "batches": Kind(0.0, batches.forget)}
    kinds["lessons"] = Kind(0.0, lessons.forget)
    if kept.keep_rows is not None:
        kinds |= {"rows": Kind(kept.keep_rows, home.books.forget)}
        kinds |= {"trials": Kind(kept.keep_rows, home.books.forget_trials)}
    kinds |= {} if config.audit.keep is None else {"audit_entries": Kind(config.audit.keep, home.log.forget)}
    undo.callback(loop.create_task(keep(kinds, clock.wall_ns, notice), name="delete what is old").cancel)
    undo.callback(loop.create_task(keep_folded(home.books.fold, clock.wall_ns), name="fold days").cancel)
    world = World(loop, clock, Nursery(loop), transport, home, ledger, counters, events)
    return Base(world, home, vault, archive, bodies, batches, lessons, blobs, relay, purges, notary, presence)


async def _purge(purges: Iterable[Purge], tag: str) -> int:
    return sum([await one(tag) for one in purges])


async def _sign_last(ledger: SpoolLedger, notary: Notary) -> None:
    """What was done until the end is signed, where it can be."""
    with suppress(StoreDown):
        await ledger.flush()
        await notary.sign()
