"""Is a line that was refused asked again, and when? Decided from the error alone."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.core.errors import (
    BudgetSpent,
    GuardFailed,
    IssuerDown,
    LimitReached,
    ShuttingDown,
    StorageFull,
    StoreDown,
    TidegateError,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimeout,
    UpstreamUnavailable,
)

PROVIDERS = (UpstreamFailed, UpstreamLimited, UpstreamTimeout, UpstreamUnavailable, GuardFailed)
OURS = (StorageFull, StoreDown, IssuerDown)
FIRST_S, LONGEST_S = 1.0, 300.0
OURS_S = 5.0
BUDGET_S = 1.0


class Again(NamedTuple):
    """Later. `all`: no line of its batch is worth asking until then. `counted`: as one of its tries."""

    wait_s: float
    all: bool = False
    counted: bool = True


def again(error: TidegateError, tries: int, most: int, beside: int) -> Again | None:
    """None: the error is what the line has come to. `beside`: other lines of its batch that are under way."""
    if isinstance(error, ShuttingDown):
        return Again(0.0, all=True, counted=False)
    if isinstance(error, LimitReached):  # of the key that pays: nobody is at fault, and it passes
        return Again(max(error.retry_after_s, FIRST_S), all=True, counted=False) if error.retry_after_s else None
    if isinstance(error, BudgetSpent):  # what is reserved for the others may be given back
        return Again(BUDGET_S, all=True, counted=False) if beside else None
    if isinstance(error, OURS):
        return Again(OURS_S, all=True, counted=False)
    if isinstance(error, PROVIDERS) and tries < most:
        busy = isinstance(error, UpstreamLimited | UpstreamUnavailable)
        wait_s = min(max(FIRST_S * 2 ** (tries - 1), error.retry_after_s or 0.0), LONGEST_S)
        return Again(wait_s, all=busy)
    return None
