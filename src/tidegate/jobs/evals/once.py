"""How good is this one answer? The scorers of a suite at a single case, for whoever asks over the API."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.core.nearest import nearest
from tidegate.core.scores import Case, Said
from tidegate.jobs.evals.judge import MayGate, nobody_may
from tidegate.jobs.evals.results import Answer
from tidegate.jobs.evals.run import Bill, Means, Seat, scored, told
from tidegate.jobs.evals.scorers.contains import Contains
from tidegate.jobs.evals.scorers.cost import Cost
from tidegate.jobs.evals.scorers.equality import Equality
from tidegate.jobs.evals.scorers.faithful import Faithful
from tidegate.jobs.evals.scorers.guards import Guards
from tidegate.jobs.evals.scorers.language import Language
from tidegate.jobs.evals.scorers.latency import Latency
from tidegate.jobs.evals.scorers.pairwise import Pairwise
from tidegate.jobs.evals.scorers.reference import Reference
from tidegate.jobs.evals.scorers.refusal import Refusal
from tidegate.jobs.evals.scorers.regex import Regex
from tidegate.jobs.evals.scorers.rubric import Rubric
from tidegate.jobs.evals.subject import Asker, Model
from tidegate.jobs.evals.suite import Plugins, Ready, Suite, ready

# What may be asked for from outside: nothing that loads code, a model or a file by a name that somebody sends.
SCORERS: dict[str, type] = {
    "contains": Contains,
    "cost": Cost,
    "equality": Equality,
    "faithful": Faithful,
    "guards": Guards,
    "language": Language,
    "latency": Latency,
    "pairwise": Pairwise,
    "reference": Reference,
    "refusal": Refusal,
    "regex": Regex,
    "rubric": Rubric,
}


def _find(door: str, name: str) -> Any:
    found = SCORERS.get(name)
    if found is None:
        raise ConfigError(f"no scorer {name[:60]!r} over the API; {nearest(name, SCORERS)}")
    return found


def _config_of(scorer: type) -> type[msgspec.Struct]:
    config: type[msgspec.Struct] = sys.modules[scorer.__module__].Config
    return config


OVER_THE_API = Plugins(_find, _config_of)


def prepared(case: Case, scorers: Sequence[dict[str, Any]], parameters: dict[str, Any]) -> Ready:
    """Raises ConfigError."""
    return ready(Suite(name="evaluation", scorers=tuple(scorers), cases=(case,), parameters=parameters), OVER_THE_API)


async def evaluated(
    found: Ready, answer: str | None, model: str, door: Asker, run: str, may_gate: MayGate = nobody_may
) -> Answer:
    """Of `answer`; None: `model` is asked for one. `run`: a word of chance."""
    (case,) = found.suite.cases
    means = Means(Model(door, model, found.suite.parameters, fresh=True), door, _nobody_embeds, may_gate)
    bill = Bill()
    said = Said(text=answer or "")
    if answer is None:
        said = await means.subject.answer(case, 0, found.asked[case.id], Seat(run, "", bill, means).once(""))
    scores = await scored(found.lookers[case.id], case, said, lambda name: Seat(run, name, bill, means))
    return told(case, 0, said, bill, scores)


async def _nobody_embeds(text: str) -> bytes:
    raise ConfigError("similarity is found by tidegate eval run, and not over the API")
