"""Which arms are asked, in which order, and how far has it come? For the bench, and for whoever has the wheel alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import msgspec

from tidegate.providers.embedder import FOLDER, MODEL
from tidegate.study.figures import Figures, at_other_prices, figures, naive_nusd
from tidegate.study.levers import EVERYTHING, NAIVE, Arm
from tidegate.study.page import Found, headline
from tidegate.study.replay import PACE, Outcome, replay
from tidegate.study.workload import Law, Workload, workload

Say = Callable[[str, float], None]  # what is asked now, and the share of everything that is done
LAWS = {  # what else the workload could have been
    "people want more alike (Zipf 1.2)": Law(zipf=1.2),
    "people want less alike (Zipf 0.8)": Law(zipf=0.8),
    "hardly any repetition (Zipf 0.4, no re-asks)": Law(zipf=0.4, again=0.0),
    "5 % hard questions": Law(hard=0.05),
    "10 % hard questions": Law(hard=0.10),
    "30 % questions about records": Law(documents=0.30),
}


class Course(msgspec.Struct, frozen=True):
    """`whole`: the arm with everything, which every seed has; `each`: others that all have; `once`: of the first alone.

    laws: whether LAWS are tried, with the first seed.
    """

    seeds: int = 1
    calls: int = 600
    before: int = 1_000
    whole: Arm = EVERYTHING
    each: tuple[Arm, ...] = ()
    once: tuple[Arm, ...] = ()
    laws: bool = False
    law: Law = Law()
    days: int = 30
    data: Path | None = None
    workers: int = 1
    pace: float = PACE

    @property
    def runs(self) -> int:
        return self.seeds * (2 + len(self.each)) + len(self.once) + (len(LAWS) if self.laws else 0)


def run(course: Course, say: Say) -> Found:
    """All of it. Raises ConfigError when a gateway does not start or data is missing."""
    return _Running(course, say).run()


class _Running:
    def __init__(self, course: Course, say: Say) -> None:
        self._course = course
        self._say = say
        self._done = 0
        self._left_out = (
            {} if is_semantic() else {"the semantic cache": "its model is not here: tidegate semantic install"}
        )

    def run(self) -> Found:
        course = self._course
        found: dict[str, list[Figures]] = {}
        prices: dict[str, float] = {}
        for seed in range(course.seeds):
            work = self._work(seed, course.law)
            outcomes = {}
            for arm in (NAIVE, *course.each, *(course.once if seed == 0 else ()), course.whole):
                outcomes[arm.name], told = self._asked(arm, work, seed)
                found.setdefault(arm.name, []).append(told)
            if seed == 0:
                prices = at_other_prices(outcomes[course.whole.name], outcomes[NAIVE.name])
        naive = found.pop(NAIVE.name)
        laws = self._laws(naive[0]) if course.laws else {}
        return Found(course.law, course.before, course.days, naive, found, prices, laws, self._left_out).judged()

    def _laws(self, naive: Figures) -> dict[str, dict[str, float]]:
        """The naive cost by arithmetic, its times as they were: neither depends on who asks twice."""
        found = {}
        for name, law in LAWS.items():
            work = self._work(0, law)
            _, ours = self._asked(self._course.whole, work, 0, f"if {name}")
            alike = msgspec.structs.replace(
                naive, cost_nusd=round(naive_nusd(work, 0) * naive.success), calls=len(work.asks)
            )
            found[name] = headline(alike, ours)
        return found

    def _work(self, seed: int, law: Law) -> Workload:
        return workload(seed, self._course.calls, self._course.before, law, self._course.data)

    def _asked(self, arm: Arm, work: Workload, seed: int, what: str = "") -> tuple[Outcome, Figures]:
        if self._left_out and arm.levers is not None:
            arm = Arm(arm.name, arm.levers - {"semantic"})
        name, course = what or f"{arm.name}, seed {seed}", self._course

        def progress(share: float) -> None:
            self._say(name, (self._done + share) / course.runs)

        progress(0.0)
        outcome = asyncio.run(replay(work, arm, seed, pace=course.pace, workers=course.workers, progress=progress))
        self._done += 1
        return outcome, figures(outcome, work, seed)


def is_semantic() -> bool:
    """Whether what the semantic cache needs is on this machine."""
    return find_spec("onnxruntime") is not None and (FOLDER / MODEL).is_file()
