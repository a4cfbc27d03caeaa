"""What does every Gateway of a process stand on? Made once, on what is at the bottom."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from random import Random
from typing import Any

from tidegate import plugins
from tidegate.app.bottom import Base
from tidegate.app.homes import data_folder, open_vectors
from tidegate.app.inside import Inside
from tidegate.app.rooms import SUITES, Ground
from tidegate.app.trials import rollouts, running
from tidegate.config import Config
from tidegate.core.ports import Blobs, Codecs, Vault
from tidegate.core.shared import Table
from tidegate.core.world import World
from tidegate.jobs.evals.online import Online
from tidegate.jobs.shadows import Shadowing
from tidegate.stages.auth.used import LastUsed
from tidegate.stages.cache import Shelf
from tidegate.stages.cache.elsewhere import Elsewhere
from tidegate.stages.prompts import Prompts, asks
from tidegate.stages.prompts.desk import PromptDesk
from tidegate.stages.prompts.library import Library
from tidegate.stages.record import Recorder
from tidegate.storage.rollups import LAST_MS
from tidegate.storage.vault import PlainVault
from tidegate.telemetry.outlets import Outlets
from tidegate.telemetry.traces import Traces
from tidegate.upstream.shrink.trimming import Trims


async def ground_of(
    config: Config,
    environment_key: str | None,
    base: Base,
    inside: Inside,
    undo: AsyncExitStack,
    outlets: Outlets,
    traces: Traces | None,
    words: Codecs,
) -> Ground:
    world, many = base.world, config.storage.valkey is not None
    used = LastUsed(world.store, world.nursery)
    undo.push_async_callback(used.aclose)
    # In memory there is nothing at rest, but what is known of meanings may stand in a file.
    at_rest = many or (compares(config) and config.cache.kept != "process")
    vault: Vault = base.vault if at_rest else PlainVault()
    meanings = await _meanings(config, world, inside, base.blobs, vault) if compares(config) else None
    if meanings is not None:
        undo.push_async_callback(meanings.aclose)
        base.purges.append(meanings.purge)
    prompts = _prompts(config, world, words)
    undo.callback(world.loop.create_task(prompts.library.run(), name="look for prompts").cancel)
    pupil = None
    if learns(config):
        pupil = plugins.find("pupils", "tiers")(world, await _embedder(config, world, inside), base.lessons)
        undo.push_async_callback(pupil.aclose)
        undo.callback(world.loop.create_task(pupil.run(), name="share lessons").cancel)
    told = pupil.told if pupil is not None else None
    table: Table = {}
    elsewhere = Elsewhere(world, base.relay, base.blobs, vault, table) if base.relay is not None else None
    trims = Trims(world, inside.ask)
    base.purges.append(trims.purge)
    if config.storage.database is None:
        await world.store.forget_begun()  # the data folder is ours alone, and we have only begun
        await base.batches.release(None, LAST_MS)
    there = await running(world, undo)
    return Ground(
        world=world,
        codecs=words,
        recorder=Recorder(world, traced=traces is not None),
        shelf=Shelf(base.blobs, vault, base.vault, elsewhere, meanings, table),
        used=used,
        data_dir=data_folder(config.storage.data_dir),
        environment_key=environment_key,
        ask=inside.ask,
        archive=base.archive,
        batches=base.batches,
        bodies=base.bodies,
        outlets=outlets,
        online=Online(world, inside.hear, SUITES, told),
        shadowing=Shadowing(world, inside.hear, lambda: there.known, SUITES, told),
        running=there,
        rollouts=rollouts(world, config.experiments, there, inside.house, SUITES, undo),
        traces=traces,
        prompts=prompts,
        trims=trims,
        pupil=pupil,
    )


def _prompts(config: Config, world: World, words: Codecs) -> Prompts:
    house = config.prompts
    library = Library(world.store, house.look_every, house.max_bytes, partial(asks, words["openai", "chat"]))
    return Prompts(library, PromptDesk(world.store, world.clock, library, house.protected))


def compares(config: Config) -> bool:
    return any(route.cache.semantic.max_error is not None for route in config.routes.values())


def learns(config: Config) -> bool:
    return any(route.tiers and route.router.learn for route in config.routes.values())


async def _embedder(config: Config, world: World, inside: Inside) -> Any:
    """Loading the model takes a moment. Raises ConfigError."""
    house = config.cache
    if house.embedding_route is not None:
        asked = plugins.find("embedders", "route")
        return asked(world, house.embedding_route, house.embedder_timeout, inside.hear, inside.route)
    return await asyncio.to_thread(plugins.find("embedders", house.embedder))


async def _meanings(config: Config, world: World, inside: Inside, blobs: Blobs, vault: Vault) -> Any:
    """For routes that compare by meaning. Raises ConfigError."""
    house, folder = config.cache, data_folder(config.storage.data_dir)
    embedder = await _embedder(config, world, inside)
    vectors = await open_vectors(config.storage, house, folder, world.events.notice)
    return plugins.find("stages", "semantic")(world, embedder, vectors, inside.ask, Random(), blobs, vault)
