"""May anybody get these arms? A suite asks each of them first, and each must pass.

What a suite asks goes through the front door the way of the arm, so that it is the very route, prompt and guards that
units will get. It is on the account of the team that the route belongs to.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.core.experiments import Assigned, Known, Spec
from tidegate.core.own import payer
from tidegate.core.ports import DEFAULT_ORGANISATION, Vector
from tidegate.gateway import Gateway
from tidegate.jobs.evals import deck
from tidegate.jobs.evals.inside import Inside
from tidegate.jobs.evals.results import Answer, Results, Run
from tidegate.jobs.evals.run import Means, go
from tidegate.jobs.evals.subject import Model
from tidegate.jobs.evals.suite import Plugins, Ready, load
from tidegate.jobs.evals.tally import why_failed
from tidegate.jobs.rollouts.evidence import Passed

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
CARDS = Path("judge-cards")
ADDRESS = "127.0.0.1"


class Notes:
    """What was answered in a run, in memory: a gate that is begun again asks again."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.answers: list[Answer] = []

    @property
    def results(self) -> Results:
        return Results(self.run, tuple(self.answers))

    def add(self, answer: Answer) -> None:
        self.answers.append(answer)


class SuiteGate:
    """`gateway` is the one that answers now; `folder` is where suites are."""

    def __init__(self, gateway: Callable[[], Gateway], folder: str, plugins: Plugins) -> None:
        self._gateway = gateway
        self._folder = Path(folder)
        self._plugins = plugins

    async def __call__(self, one: Known) -> Passed:
        """Raises ConfigError where the suite cannot be asked."""
        spec = one.spec
        ready = await asyncio.to_thread(self.suite, spec)
        may_gate = await asyncio.to_thread(deck.may_gate, CARDS, ready.suite.gate)
        house, said, cost_nusd = self._gateway(), {}, 0
        owner = house.routes.find(ready.suite.answers[1]).owner
        whose = await payer(house.world, owner, DEFAULT_ORGANISATION)
        for arm in spec.arms:
            run = _run(ready, f"{one.experiment.id}-{arm.name}")
            forced = Assigned(one.experiment.id, 0, arm.name, "", counted=False)
            door = Inside(house, whose, ADDRESS, run.id, (forced,))
            suite, notes = ready.suite, Notes(run)
            subject = Model(door, suite.answers[1], suite.parameters, fresh=True)
            halted = await go(ready, notes, Means(subject, door, _embed, may_gate))
            said[arm.name] = why_not(notes.results, halted)
            cost_nusd += sum(answer.cost_nusd + answer.judging_nusd for answer in notes.answers)
        return Passed(suite=spec.gate or "", suite_hash=ready.hash, arms=said, cost_nusd=cost_nusd)

    def suite(self, spec: Spec) -> Ready:
        """Blocks. Raises ConfigError."""
        name = spec.gate or ""
        if not NAME.fullmatch(name):
            raise ConfigError(f"gate: {name!r} is no name of a suite; it is a file of {self._folder}, without .yaml")
        ready = load(self._folder / f"{name}.yaml", self._plugins)
        parameters = dict(ready.suite.parameters)
        if spec.prompt is not None:
            parameters.setdefault("prompt", {"id": spec.prompt})
        subject = f"route:{spec.route}" if spec.route is not None else ready.suite.subject
        suite = msgspec.structs.replace(ready.suite, subject=subject, parameters=parameters)
        if not suite.subject or suite.answers[0] not in ("route", "model"):
            raise ConfigError(f"{name}: the suite of a gate asks a route; say subject: route:NAME")
        return ready._replace(suite=suite)


def why_not(results: Results, halted: str) -> str:
    """Why it has not passed; "" when it has: each answer that somebody may decide about is good, and there are some."""
    answers = results.answers
    if results.missing:
        wanted = len(results.run.cases) * results.run.repeats
        return f"{len(results.missing)} of {wanted} answers are missing: {halted or 'it was interrupted'}"
    failed = [answer for answer in answers if answer.passed is False]
    if failed:
        return f"{len(failed)} of {len(answers)} answers failed; {failed[0].case}: {why_failed(failed[0])}"[:300]
    unsaid = [one for answer in answers for one in answer.scores if one.outcome != "scored" and not one.advisory]
    if unsaid:
        return f"{len(unsaid)} scores are missing; {unsaid[0].scorer}: {unsaid[0].outcome}: {unsaid[0].why}"[:300]
    return "" if any(answer.passed for answer in answers) else "nobody who may decide has said anything"


def _run(ready: Ready, id: str) -> Run:
    suite = ready.suite
    return Run(
        id=id,
        suite=suite.name,
        suite_hash=ready.hash,
        subject=":".join(suite.answers),
        cases=tuple(case.id for case in suite.cases),
        repeats=suite.repeats,
    )


async def _embed(text: str) -> Vector:
    raise ConfigError("a gate compares nothing by meaning: take the scorer `similarity` out of its suite")
