"""How is an answer tested like any other output? A pytest plugin: `pytest_plugins = ["tidegate.testing"]`.

It speaks to a gateway at TIDEGATE_URL with the key in TIDEGATE_KEY.

    @pytest.mark.tidegate_eval(model="fast", judge="judge", repeats=3)
    def test_refunds(tidegate_eval):
        found = tidegate_eval("How do I get my money back?", expected_elements=["refund", "14 days"])
        assert not found.faults
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tidegate.client import Client, Evaluation, Score
from tidegate.compat import ANCHORS, NAME, PASS_AT

FIELDS = ("url", "key", "model", "judge", "repeats", "pass_at", "criteria", "task", "parameters")
Criteria = Sequence[str] | Mapping[str, str | Mapping[str, Any]]


@dataclass(frozen=True)
class Found:
    """All answers to one question, as often as it was asked. What is said of them together is said of the worst."""

    evaluations: tuple[Evaluation, ...]

    @property
    def passed(self) -> bool:
        """Every answer is there, has what it was to have, and, where a judge was named, its PASS."""
        return not self.faults

    @property
    def answer(self) -> str:
        """Of the first time."""
        return self.evaluations[0].answer

    @property
    def overall_score(self) -> float:
        """The judge's lowest. Raises ValueError where one of its verdicts is none."""
        return min(self.overall_scores)

    @property
    def overall_scores(self) -> list[float]:
        """The judge's, in order."""
        found = [one.score("judge") for one in self.evaluations]
        none = next((one for one in found if one.value is None), None)
        if none is not None:
            raise ValueError(f"the judge gave no verdict ({none.outcome}): {none.why}")
        return [one.value for one in found if one.value is not None]

    @property
    def recommendation(self) -> str:
        """PASS where every verdict is one."""
        return "PASS" if all(one.score("judge").passed for one in self.evaluations) else "FAIL"

    @property
    def faults(self) -> list[str]:
        """What is wrong with which answer."""
        found = []
        for number, one in enumerate(self.evaluations, 1):
            if one.error and not one.scores:
                found.append(f"#{number}: there is no answer: {one.error}")
            found += [f"#{number}: {_fault(score)}" for score in one.scores if _is_fault(score)]
        return found


def _is_fault(score: Score) -> bool:
    return score.passed is False or (score.outcome != "scored" and "." not in score.scorer)


def _fault(score: Score) -> str:
    value = "no score" if score.value is None else f"{score.value:g}"
    return f"{score.scorer}: {value} ({score.outcome}): {score.why}"


class Evaluator:
    """What the fixture `tidegate_eval` is: call it with a question. Its defaults are the mark's."""

    def __init__(self, defaults: Mapping[str, Any]) -> None:
        unknown = sorted(set(defaults) - set(FIELDS))
        if unknown:
            raise pytest.UsageError(f"tidegate_eval: no {unknown[0]!r}; there are: {', '.join(FIELDS)}")
        self._defaults = dict(defaults)

    def __call__(
        self,
        input: str,
        *,
        answer: str | None = None,
        expected_elements: Sequence[str] = (),
        reference: str = "",
        context: str = "",
        scorers: Sequence[Mapping[str, Any]] = (),
        **given: Any,
    ) -> Found:
        """Ask `model` (or take `answer`), and have it looked at: for its elements, by a judge where `judge` or
        `criteria` are named, and by further `scorers`. Raises TidegateRefused."""
        said = Evaluator({**self._defaults, **given})._defaults
        pass_at = float(said.get("pass_at", PASS_AT))
        looks = [*_elements(expected_elements), *_judge(said, pass_at), *scorers]
        if not looks:
            raise pytest.UsageError("tidegate_eval: nobody looks at the answer; name expected_elements or criteria")
        client = Client(said.get("url"), said.get("key"))
        more = {
            "expected_elements": list(expected_elements),
            "reference": reference,
            "context": context,
            "parameters": said.get("parameters", {}),
        }
        asked = {"answer": answer} if answer is not None else {"model": said.get("model")}
        times = range(1 if answer is not None else int(said.get("repeats", 1)))
        return Found(tuple(client.evaluate(input, scorers=looks, **asked, **more) for _ in times))


def _elements(words: Sequence[str]) -> list[Mapping[str, Any]]:
    return [{"type": "contains", "name": "elements"}] if words else []


def _judge(said: Mapping[str, Any], pass_at: float) -> list[Mapping[str, Any]]:
    criteria: Criteria = said.get("criteria") or (("helpful", "accurate", "clear") if said.get("judge") else ())
    if not criteria:
        return []
    asked = criteria if isinstance(criteria, Mapping) else dict.fromkeys(criteria, "")
    return [
        {
            "type": "rubric",
            "name": "judge",
            "model": [said.get("judge", "judge")],
            "task": said.get("task", "Answer what the user asks."),
            "pass_at": pass_at,
            "criteria": [_criterion(name, what, at) for at, (name, what) in enumerate(asked.items(), 1)],
        }
    ]


def _criterion(name: str, what: str | Mapping[str, Any], at: int) -> dict[str, Any]:
    called = name if NAME.fullmatch(name) else f"criterion {at}"
    if isinstance(what, Mapping):
        return {"name": called, "anchors": ANCHORS, **what}
    return {"name": called, "what": what or name, "anchors": ANCHORS}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"tidegate_eval({', '.join(FIELDS)}): defaults of the fixture tidegate_eval, which scores answers"
    )


@pytest.fixture
def tidegate_eval(request: pytest.FixtureRequest) -> Evaluator:
    """Scores answers; the nearest mark's word goes first."""
    defaults: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("tidegate_eval"))):
        defaults |= mark.kwargs
    return Evaluator(defaults)
