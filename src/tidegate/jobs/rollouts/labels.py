"""How does a promotion move a label? As a person would, with the experiment's reason."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.gateway import Gateway
from tidegate.jobs.rollouts.moves import Relabel


def relabel(gateway: Callable[[], Gateway]) -> Relabel:
    """By the one that answers now. A label that is protected stays where it is, and the decision says so."""

    async def move(prompt: str, label: str, version: int, by: str, why: str) -> None:
        await gateway().prompts.desk.move(prompt, label, version, by=by, why=why)

    return move
