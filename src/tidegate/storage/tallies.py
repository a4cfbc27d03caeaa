"""What do rows sum to?"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tidegate.core.money import Usage
from tidegate.core.ports import Closed, Totals


class Tally:
    """A sum that grows by one row at a time."""

    __slots__ = ("_calls", "_cost_nusd", "_errors", "_tokens", "_unpriced")

    def __init__(self, so_far: Totals) -> None:
        self._calls = so_far.calls
        self._errors = so_far.errors
        self._cost_nusd = so_far.cost_nusd
        self._unpriced = so_far.unpriced
        self._tokens = so_far.tokens

    def count(self, row: Closed) -> None:
        self._calls += 1
        self._errors += row.outcome not in ("ok", "client_left")
        self._cost_nusd += row.cost_nusd or 0
        self._unpriced += row.cost_nusd is None
        self._tokens += sum(row.usage.values())

    def totals(self) -> Totals:
        return Totals(self._calls, self._errors, self._cost_nusd, self._unpriced, self._tokens)


def tally(*rows: Closed) -> Totals:
    """These rows, as a sum."""
    found = Tally(Totals())
    for row in rows:
        found.count(row)
    return found.totals()


def add(a: Totals, b: Totals, sign: int = 1) -> Totals:
    return Totals(
        a.calls + sign * b.calls,
        a.errors + sign * b.errors,
        a.cost_nusd + sign * b.cost_nusd,
        a.unpriced + sign * b.unpriced,
        a.tokens + sign * b.tokens,
    )


def tokens(used: Mapping[str, int]) -> tuple[int, int]:
    """Of input and of output, in all."""
    if len(used) == 2 and "input" in used and "output" in used:  # almost all have these two alone
        return used["input"], used["output"]
    usage = msgspec.convert(used, Usage)
    return usage.input_total, usage.output_total
