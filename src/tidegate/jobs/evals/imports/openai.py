"""What do samples of OpenAI's evals ask? Lines of JSON, of the open framework or of the platform."""

from __future__ import annotations

from typing import Any

from tidegate.core.errors import ConfigError
from tidegate.core.scores import Case
from tidegate.jobs.evals.imports.suites import JUDGE, Imported, as_text, json_lines, literal, said_in, with_ids
from tidegate.jobs.evals.suite import Suite

INPUTS = ("input", "question", "prompt", "query")
IDEALS = ("ideal", "expected", "expected_output", "answer", "reference", "correct_label", "ground_truth", "label")


def imported(text: str, file: str, judge: str = JUDGE) -> Imported:
    """A line is {"input": …, "ideal": …}, or {"item": {…}} of the platform. Raises ConfigError, naming the sample."""
    left_out: list[str] = []
    cases = []
    for number, sample in enumerate(json_lines(text, file), 1):
        if not isinstance(sample, dict):
            raise ConfigError(f"{file}: sample {number} is no object")
        item = sample.get("item")
        fields = item if isinstance(item, dict) else sample
        cases.append(_case(fields, number, file, left_out))
    if not cases:
        raise ConfigError(f"{file}: there is no sample")
    return Imported(Suite(name="openai", cases=with_ids(cases)), left_out)


def _case(fields: dict[str, Any], number: int, file: str, left_out: list[str]) -> Case:
    source = next((name for name in INPUTS if name in fields), None)
    if source is None:
        raise ConfigError(f"{file}: sample {number} asks nothing; it has {', '.join(fields) or 'no fields'}")
    asked = fields[source]
    conversation = said_in(asked)
    turns, said = conversation if conversation else ((), as_text(asked))
    ideal = next((fields[name] for name in IDEALS if name in fields), None)
    ideals = [as_text(one) for one in (ideal if isinstance(ideal, list) else [ideal]) if one not in (None, "")]
    if not ideals:
        left_out.append(f"sample {number}: has no ideal answer, so that only its length is looked at")
    used = {source, "ideal", "id", *(name for name in IDEALS if name in fields)}
    before = literal(turns)
    return Case(
        id=as_text(fields.get("id")) or f"sample-{number}",
        input=said,
        turns=before.get("turns", ()),
        reference=ideals[0] if ideals else "",
        variables={name: value for name, value in fields.items() if name not in used} | before.get("variables", {}),
        scorers=(_scorer(ideals),),
    )


def _scorer(ideals: list[str]) -> dict[str, Any]:
    """As `Includes` does; a sample does not say which class its eval has."""
    if not ideals:
        return {"type": "regex", "pattern": r"\S", "name": "says something"}
    return {"type": "contains", ("any" if len(ideals) > 1 else "all"): ideals, "case_sensitive": True}
