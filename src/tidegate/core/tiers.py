"""Which of a route's models was asked first, and why?"""

from __future__ import annotations

import msgspec


class Chosen(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What was decided for one call, once. `chances`: of each tier that it could be, to answer well, cheapest first."""

    tier: str
    why: str
    chances: tuple[float, ...] = ()
    hard: float = 0.0  # how hard the question looked, as a logit: 0 is like most
    cost: float = 1.0  # of the tier, by its price, as a share of the dearest one's
    beside: str = ""  # the tier that answers it too, in the background
    share: float = 0.0  # how likely it was that it would
