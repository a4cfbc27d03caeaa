"""Who looks after experiments? What is known of them, and what decides about them, in each process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

from tidegate.core.errors import StoreDown
from tidegate.core.world import World
from tidegate.gateway import Gateway
from tidegate.jobs.evals.suite import Plugins
from tidegate.jobs.rollouts import Config
from tidegate.jobs.rollouts.gate import SuiteGate
from tidegate.jobs.rollouts.labels import relabel
from tidegate.jobs.rollouts.moves import Mover
from tidegate.jobs.rollouts.rounds import Rollouts
from tidegate.stages.experiments.desk import Desk
from tidegate.stages.experiments.running import Running


async def running(world: World, undo: AsyncExitStack) -> Running:
    """Known before the first call is answered, where the store can be asked."""
    found = Running(world.store, world.events)
    with suppress(StoreDown):
        await found.look()
    undo.callback(world.loop.create_task(found.run(), name="look for experiments").cancel)
    return found


def rollouts(
    world: World,
    config: Config,
    there: Running,
    gateway: Callable[[], Gateway],
    plugins: Plugins,
    undo: AsyncExitStack,
) -> Rollouts:
    """Where nothing is tried, it looks at nothing."""
    mover = Mover(world, Desk(world, there), relabel(gateway))
    gate = SuiteGate(gateway, config.suites, plugins)
    found = Rollouts(world, config, lambda: there.known, world.ledger.units, gate, mover)
    undo.push_async_callback(found.aclose)
    undo.callback(world.loop.create_task(found.run(), name="look how experiments do").cancel)
    return found
