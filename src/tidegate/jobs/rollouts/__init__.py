"""What becomes of experiments that are under way? They go on stage by stage, are taken back, or end.

`rounds` looks every few seconds and decides; `tripwires` listens to calls and takes back at once; `course` knows which
moves there are, `moves` makes one; `evidence` is what each was decided on; `report` is what people look at.
"""

from __future__ import annotations

import msgspec

from tidegate.core.values import Duration

SHORTEST_S = 0.05


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Experiments that are under way.

    look_every: how often it is looked whether one goes on, is taken back or ends.
    suites: the folder of the suites that experiments may name as their gate.
    """

    look_every: Duration = Duration(5)
    suites: str = "suites"


def trouble(config: Config) -> tuple[str, str] | None:
    """Which key is wrong, and what to do."""
    if config.look_every < SHORTEST_S:
        return "look_every", f"must be {SHORTEST_S:g} s or more: each look sums what was seen of every unit"
    return None
