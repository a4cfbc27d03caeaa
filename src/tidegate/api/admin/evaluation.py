"""How good is this answer? One case at a time, for tests that speak HTTP."""

# No postponed annotations here: FastAPI evaluates them.
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Depends, Request
from pydantic import BaseModel, Field

from tidegate.api.admin.policy import ASK, House, incoming_of
from tidegate.api.admin.shapes import Body, paths
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, ConfigError, Forbidden
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.scores import Case, Turn
from tidegate.jobs.evals.imports.suites import literal
from tidegate.jobs.evals.inside import Inside
from tidegate.jobs.evals.once import evaluated, prepared
from tidegate.jobs.evals.suite import Ready

router = paths(tag="evaluation")

Long = Annotated[str, Field(max_length=200_000)]  # scorers look at it on the event loop


class Spoken(Body):
    role: Literal["system", "user", "assistant"] = "user"
    content: Long


class Asked(Body):
    input: Annotated[Long, Field(description="What the user says last.")] = ""
    turns: Annotated[list[Spoken], Field(max_length=1000, description="What was said before it.")] = []
    answer: Annotated[Long | None, Field(description="What is looked at; left out, `model` is asked.")] = None
    model: Annotated[str | None, Field(max_length=200, description="Who answers: a route, or provider/model.")] = None
    parameters: Annotated[dict[str, Any], Field(description="Of that question, such as temperature.")] = {}
    expected_elements: Annotated[list[str], Field(max_length=100, description="Words of a good answer.")] = []
    reference: Annotated[Long, Field(description="A good answer.")] = ""
    context: Annotated[Long, Field(description="What an answer must be faithful to.")] = ""
    scorers: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=10, description="As a suite has them.")]


class ShownScore(BaseModel):
    scorer: str
    outcome: Annotated[str, Field(description="scored; or malformed, refused, failed, and then there is no value.")]
    value: float | None
    passed: bool | None
    advisory: Annotated[bool, Field(description="By a judge without a card: it decides nothing.")]
    why: str
    judge: Annotated[str, Field(description="model/hash of prompt and rubric, where a model judged.")]


class ShownEvaluation(BaseModel):
    answer: str
    error: Annotated[str, Field(description="The code of why there is no answer.")]
    request_id: str
    latency_ms: float
    cost_usd: float
    judging_usd: float
    passed: Annotated[bool | None, Field(description="null: nobody who may say so has said.")]
    scores: list[ShownScore]


@router.post("/api/evaluate")
async def evaluate(
    request: Request, asked: Asked, principal: Annotated[Principal, Depends(ASK)], house: House
) -> ShownEvaluation:
    """Score one answer. Where a model answers or judges, the key needs the scope `eval`, and pays for it."""
    if asked.answer is None and asked.model is None:
        raise BadRequest("answer, model: say one of the two", param="answer")
    case = Case(
        id="case",
        input=asked.input or ("(nothing was asked)" if asked.answer is not None and not asked.turns else ""),
        expected_elements=tuple(asked.expected_elements),
        reference=asked.reference,
        context=asked.context,
        **literal(msgspec.convert([one.model_dump() for one in asked.turns], tuple[Turn, ...])),
    )
    try:
        found = prepared(case, asked.scorers, asked.parameters)
    except ConfigError as wrong:
        raise BadRequest(wrong.message, param="scorers") from None
    _may(found, asked, principal)
    run = house.world.chance.hex()
    door = Inside(house, principal, incoming_of(request).address, run)
    answer = await evaluated(found, asked.answer, asked.model or "", door, run)
    return ShownEvaluation(
        answer=answer.text,
        error=answer.error,
        request_id=answer.request_id,
        latency_ms=answer.latency_ms,
        cost_usd=answer.cost_nusd / NUSD_PER_USD,
        judging_usd=answer.judging_nusd / NUSD_PER_USD,
        passed=answer.passed,
        scores=[ShownScore(**{name: getattr(one, name) for name in ShownScore.model_fields}) for one in answer.scores],
    )


def _may(found: Ready, asked: Asked, principal: Principal) -> None:
    """Raises Forbidden before anything is asked."""
    asks = asked.answer is None or any(getattr(one.scorer, "asks", False) for one in found.lookers["case"])
    if asks and "eval" not in principal.scopes and not principal.admin:
        raise Forbidden(
            f"key {principal.name!r} may not have models judge or answer for an evaluation: an administrator can allow "
            "it: tidegate keys change ID --scope eval"
        )
