"""May a judge's verdict decide? Only one that was tried against people's; until then it advises."""

from __future__ import annotations

from collections.abc import Callable

MayGate = Callable[[str], bool]  # a judge, as model/hash of prompt and rubric


def nobody_may(judge: str) -> bool:
    """Where no judge has a card."""
    return False
