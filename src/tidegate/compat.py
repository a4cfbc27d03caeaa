"""What has the guide's code? Its classes, with the same signatures and the same shapes, over HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tidegate.client import Client, Evaluation, TidegateRefused

PASS_AT = 7.0  # as the guide's regression suite asserts
ANCHORS = {"1": "not at all", "4": "in part, with serious faults", "7": "well, with small faults", "10": "fully"}
NAME = re.compile(r"\w[\w -]{0,59}")


class LLMEvaluator:
    """A model that judges answers by criteria, from 1 to 10.

    `api_key` is a key of Tidegate with the scope `eval`, `judge` the route or model that judges. Anchors of your own,
    weights and judges that were tested are in suites: see `tidegate eval`.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        judge: str = "judge",
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """`parameters`: of each question to the judge, such as max_tokens."""
        self._client = Client(base_url, api_key)
        self._judge = judge
        self._parameters = dict(parameters or {})

    def evaluate_response(
        self,
        task: str,
        user_query: str,
        generated_response: str,
        criteria: Sequence[str] | Mapping[str, str],
    ) -> dict[str, Any]:
        """`criteria`: their names, or names and what is looked at.

        Returns criteria_scores (of each criterion `score` and `explanation`), overall_score, recommendation ("PASS" or
        "FAIL") and reasoning; beside what the guide has, whether the judge's word is `advisory`. Raises TidegateRefused
        where the judge gives no verdict: that is never a score.
        """
        asked = dict(criteria) if isinstance(criteria, Mapping) else dict.fromkeys(criteria, "")
        names = _names(asked)
        rubric = {
            "type": "rubric",
            "name": "judge",
            "model": [self._judge],
            "task": task,
            "pass_at": PASS_AT,
            "parameters": self._parameters,
            "criteria": [
                {"name": names[said], "what": what or said, "anchors": ANCHORS} for said, what in asked.items()
            ],
        }
        found = self._client.evaluate(user_query, answer=generated_response, scorers=[rubric])
        return _shaped(found, names)


def _names(asked: Mapping[str, str]) -> dict[str, str]:
    """What each criterion is called: as it was said, where that is a name."""
    return {said: said if NAME.fullmatch(said) else f"criterion {at}" for at, said in enumerate(asked, 1)}


def _shaped(found: Evaluation, names: Mapping[str, str]) -> dict[str, Any]:
    overall = found.score("judge")
    if overall.value is None:
        raise TidegateRefused(f"the judge gave no verdict ({overall.outcome}): {overall.why}", code=overall.outcome)
    scores = {said: found.score(f"judge.{name}") for said, name in names.items()}
    return {
        "criteria_scores": {said: {"score": one.value, "explanation": one.why} for said, one in scores.items()},
        "overall_score": overall.value,
        "recommendation": "PASS" if overall.passed else "FAIL",
        "reasoning": overall.why,
        "advisory": overall.advisory,
    }
