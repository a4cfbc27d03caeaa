"""Does everybody have the same in their books? The ledger, the metrics, the report, and the providers' own.

A call is closed when the provider has told what it used. An attempt that was given up (its hedge was faster, say) is
an estimate in the ledger; what the provider charges for it, or does not, is told apart.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple

from tidegate.core.ports import Closed
from tidegate.study.replay import Outcome
from tidegate.study.vendors import Vendor

COST = re.compile(r"^tidegate_cost_usd(?:_total)?\{[^}]*\} (\S+)$", re.MULTILINE)
ESTIMATED = ("abandoned", "cut_off", "timeout")  # how attempts end whose usage nobody has told


class Compared(NamedTuple):
    """Nano-dollars. `differ`: over all closed calls, and between the sums that the gateway tells."""

    ledger: int
    providers: int
    metrics: int
    report: int
    usage: int
    calls: int  # closed ones, that were bought
    differ: int
    estimated: int  # what the ledger takes attempts to have cost that were given up
    charged: int  # and what providers charge for them


def compared(outcome: Outcome) -> Compared:
    rows, told = outcome.rows, outcome.told
    ledger = sum(row.cost_nusd or 0 for row in rows)
    metrics = sum(_nusd(one) for one in COST.findall(told["metrics"]))
    report = sum(_nusd(line["cost_usd"]) for line in told["report"]["lines"])
    usage = sum(line["cost_nusd"] for line in told["usage"]["lines"])
    calls, apart, estimated, charged = _line_by_line(rows, outcome.vendors)
    differ = apart + abs(metrics - ledger) + abs(report - ledger) + abs(usage - ledger)
    providers = sum(vendor.books.nusd() for vendor in outcome.vendors)
    return Compared(ledger, providers, metrics, report, usage, calls, differ, estimated, charged)


def _nusd(usd: Any) -> int:
    return round(Decimal(str(usd)) * 10**9)


def _line_by_line(rows: Iterable[Closed], vendors: Iterable[Vendor]) -> tuple[int, int, int, int]:
    """Of each end user and model: what the ledger has, beside what the provider charges."""
    ours: defaultdict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    given_up: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for attempt in row.attempts:
            of = (row.user or "", attempt.model)
            if attempt.usage_estimated or attempt.outcome in ESTIMATED:
                given_up[of] += attempt.cost_nusd or 0
            elif attempt.usage:
                ours[of][attempt.cost_nusd or 0] += 1
    theirs: defaultdict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for vendor in vendors:
        for model, user, _, _, nusd in vendor.books.lines:
            theirs[user, model][nusd] += 1
    apart = charged = 0
    for of in ours.keys() | theirs.keys():
        missing, more = ours[of] - theirs[of], theirs[of] - ours[of]
        left = sum(nusd * times for nusd, times in more.items())
        if of in given_up:
            charged, left = charged + left, 0
        apart += left + sum(nusd * times for nusd, times in missing.items())
    return sum(map(Counter.total, ours.values())), apart, sum(given_up.values()), charged
