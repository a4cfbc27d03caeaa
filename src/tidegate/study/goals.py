"""Which goals are met, and with what other workload or other prices would they not be?"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

AIMS = {  # what the guide promises of everything together; shares of what it is without a gateway, where named so
    "cost_vs_naive": ("cost", 0.2),
    "mean_vs_naive": ("mean time", 0.27),
    "p99_vs_naive": ("99th percentile", 0.25),
    "success": ("answered", 0.999),
    "wrong_added": ("wrong answers more", 0.01),
}
AT_LEAST = ("success",)
TIMED = ("mean_vs_naive", "p99_vs_naive", "success")  # a busy machine spoils them: clients wait for seconds, and leave


class Goal(msgspec.Struct, frozen=True):
    """`otherwise`: what was tried in place of the workload, or its prices, and turns `met` round, with the figure.

    known: no other program took the cores; what hangs on time says nothing else.
    """

    figure: str
    must: float
    value: float
    met: bool
    tried: int
    otherwise: dict[str, float]
    known: bool = True

    def __str__(self) -> str:
        name, _ = AIMS[self.figure]
        sign = "at least" if self.figure in AT_LEAST else "at most"
        if not self.known:
            return f"{name}: {self.value:.1%} ({sign} {self.must:.1%}); no verdict: others took the cores, or may have"
        said = f"{name}: {self.value:.1%}, {'met' if self.met else 'missed'} ({sign} {self.must:.1%})"
        if not self.tried:
            return f"{said}; no other workload was tried"
        if not self.otherwise:
            return f"{said}, and so with all {self.tried} others that were tried"
        told = ", ".join(f"{what} ({value:.1%})" for what, value in self.otherwise.items())
        return f"{said}; {'not' if self.met else 'but met'} with {told}, of {self.tried} that were tried"


def goals(medians: Mapping[str, float], others: Mapping[str, Mapping[str, float]], *, busy: bool = False) -> list[Goal]:
    """`others`: by what was changed, the figures that are known then. busy: other programs took the cores."""
    found = []
    for figure, (_, must) in AIMS.items():
        value = medians[figure]
        met = is_met(figure, value)
        tried = {what: one[figure] for what, one in others.items() if figure in one}
        turned = {what: there for what, there in tried.items() if is_met(figure, there) != met}
        found.append(Goal(figure, must, value, met, len(tried), turned, not (busy and figure in TIMED)))
    return found


def is_met(figure: str, value: float) -> bool:
    must = AIMS[figure][1]
    return value >= must if figure in AT_LEAST else value <= must
