"""Was the answer any good? What people, agents and judges say of calls, and what it sums to."""

# No postponed annotations here: FastAPI evaluates them.
import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Depends, Query
from pydantic import BaseModel, Field

from tidegate.api.admin.moments import iso
from tidegate.api.admin.policy import ASK, LOOK, House, sees
from tidegate.api.admin.shapes import Body, paths
from tidegate.api.admin.usage import Looking, UsageQuery, cursor, question_of, visible, zone_of
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, NotFound
from tidegate.core.opinions import OPINION_DIMENSIONS, Opinion
from tidegate.core.ports import Closed
from tidegate.core.search import CallsAsked
from tidegate.core.trace import call_of
from tidegate.core.usage import UsageLine
from tidegate.gateway import Gateway

router = paths(tag="feedback")

LATEST_MS = 253_402_300_799_999
LONG_AGO_MS = 90 * 86_400_000  # a session's last call is looked for as far back
THUMBS = {"up": 1.0, "down": 0.0}

Id = Annotated[str | None, Field(min_length=1, max_length=128)]
Words = Annotated[str | None, Field(max_length=10_000)]


class Said(Body):
    request_id: Annotated[Id, Field(description="Of the answer, or its trace; or say `session`.")] = None
    session: Annotated[str | None, Field(min_length=1, max_length=256, description="Its last call is meant.")] = None
    source: Literal["user", "agent", "judge"] = "user"
    thumbs: Annotated[Literal["up", "down"] | None, Field(description="The same as a score of 1 or 0.")] = None
    score: Annotated[float | None, Field(ge=0, le=1, description="0 is as bad, 1 as good as can be.")] = None
    label: Annotated[str | None, Field(max_length=100, description="A word of yours: wrong_language.")] = None
    comment: Words = None
    correction: Annotated[Words, Field(description="What should have been said.")] = None
    task_completed: bool | None = None
    id: Annotated[Id, Field(description="Saying it again replaces it. Left out: one of each source and call.")] = None


class ShownOpinion(BaseModel):
    id: str
    request_id: str


class FeedbackQuery(UsageQuery):
    source: Annotated[str | None, Field(max_length=256)] = None


class ShownFeedback(BaseModel):
    since: str
    until: str
    lines: list[dict[str, Any]]
    next: Annotated[str | None, Field(description="`after` of the next page; null on the last.")]


@router.post("/v1/feedback", status_code=201)
async def say_of(said: Said, principal: Annotated[Principal, Depends(ASK)], house: House) -> ShownOpinion:
    """Say what an answer was worth. It counts for the call, however late it comes; the same id again replaces it."""
    if said.thumbs is not None and said.score not in (None, THUMBS[said.thumbs]):
        raise BadRequest("score, thumbs: say one of the two", param="score")
    score = said.score if said.thumbs is None else THUMBS[said.thumbs]
    if score is None and (said.label, said.comment, said.correction, said.task_completed) == (None,) * 4:
        said_by = "thumbs, score, label, comment, correction or task_completed"
        raise BadRequest(f"nothing is said: {said_by} is needed", param="thumbs")
    row = await _meant(said, principal, house)
    opinion = Opinion(
        id=f"{row.id}:{said.source}" if said.id is None else f"{row.key_id}:{said.id}",
        request_id=row.id,
        at_ms=house.world.clock.wall_ns() // 1_000_000,
        source=said.source,
        score=score,
        label=said.label,
        task_completed=said.task_completed,
        comment=said.comment,
        correction=said.correction,
    )
    await house.world.ledger.opine(opinion, row)
    if score is not None:
        await house.cache.judged(row, score, said.source)
    fields = {"request_id": row.id, "source": said.source, "score": score}
    fields |= {"tier": row.chosen.tier} if row.chosen is not None else {}  # for who learns from it
    house.world.events.notice("feedback", fields)
    return ShownOpinion(id=opinion.id, request_id=row.id)


@router.get("/admin/feedback")
async def feedback(asked: Annotated[FeedbackQuery, Query()], principal: Looking, house: House) -> ShownFeedback:
    """What was said, summed by whatever tells calls apart; it counts in the hour in which the call began."""
    now = datetime.fromtimestamp(house.world.clock.wall_ns() / 1e9, UTC)
    zone = await asyncio.to_thread(zone_of, asked.zone)
    question = question_of(asked, visible(principal), now, zone, OPINION_DIMENSIONS)
    lines = await house.world.ledger.opined(question)
    return ShownFeedback(
        since=iso(question.periods[0].begin_ms, zone),
        until=iso(question.periods[-1].until_ms, zone),
        lines=[{"from": iso(line.begin_ms, zone), **_shown(question.by, line)} for line in lines],
        next=cursor(lines[-1]) if len(lines) == asked.limit else None,
    )


async def _meant(said: Said, principal: Principal, house: Gateway) -> Closed:
    """Raises NotFound for a call that is not there, or somebody else's."""
    ledger = house.world.ledger
    if (said.request_id is None) == (said.session is None):
        raise BadRequest("request_id, session: say which call, by one of the two", param="request_id")
    if said.request_id is not None:
        row = await one_call(house, said.request_id, principal)
        if row is not None:
            return row
        raise NotFound(
            f"there is no request {said.request_id!r} that is yours to judge; its row is written when it ends",
            param="request_id",
        )
    now_ms = house.world.clock.wall_ns() // 1_000_000
    only = {"session": said.session or "", "key": principal.key_id}
    found = await ledger.calls(CallsAsked(now_ms - LONG_AGO_MS, now_ms + 1, only, most=1))
    if found.rows:
        return found.rows[0]
    raise NotFound(f"this key has asked nothing in a session {said.session!r} in the last 90 days", param="session")


async def one_call(house: Gateway, id: str, principal: Principal) -> Closed | None:
    """By its id, or its trace's; of several in one trace, the last. Only what this principal may see."""
    ledger, call_id = house.world.ledger, call_of(id)
    rows = [await ledger.find(call_id or id)]
    if call_id is not None:
        rows = [*(await ledger.calls(CallsAsked(0, LATEST_MS, {"trace_id": id}))).rows, *rows]
    return next((row for row in rows if row is not None and may(principal, row)), None)


def may(principal: Principal, row: Closed) -> bool:
    """See this call and what was said of it, and judge it."""
    return row.key_id == principal.key_id or (LOOK.allows(principal) and sees(principal, row.team_id))


def _shown(by: tuple[str, ...], line: UsageLine) -> dict[str, Any]:
    sums = line.sums
    return {
        **{name: value or None for name, value in zip(by, line.names, strict=True)},
        **{name: sums[name] for name in ("opinions", "scored", "good", "bad", "tasks", "completed")},
        "mean_score": round(sums["score_milli"] / sums["scored"] / 1000, 4) if sums["scored"] else None,
        "completion_rate": round(sums["completed"] / sums["tasks"], 4) if sums["tasks"] else None,
    }


def told(opinions: list[Opinion]) -> list[dict[str, Any]]:
    """What was said of one call."""
    return [msgspec.to_builtins(one) for one in opinions]
