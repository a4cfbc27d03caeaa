"""What would another route have answered? A call whose question is kept is asked once more, and both answers shown."""

# No postponed annotations here: FastAPI evaluates them.
from datetime import UTC
from typing import Annotated, Any

import msgspec
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from tidegate.api.admin.moments import iso
from tidegate.api.admin.policy import Administering, House, incoming_of, tell
from tidegate.api.admin.shapes import paths
from tidegate.api.calls import while_client_listens
from tidegate.core.body import spans, splice
from tidegate.core.call import Event, Wishes
from tidegate.core.errors import BadRequest, NotFound, TidegateError
from tidegate.core.money import Usage, usd_text
from tidegate.core.own import own_call
from tidegate.core.ports import Body, Closed, Erased
from tidegate.core.said import answers, events_in
from tidegate.gateway import Gateway
from tidegate.stages.experiments import parameters
from tidegate.stages.routes import MAX_NAME

router = paths(tag="requests")

PURPOSE = "replay"
HOW_TO_KEEP = "routes.NAME.store: {prompts: true, replies: true} keeps what is said from then on"


class Replay(BaseModel):
    model_config = ConfigDict(extra="forbid")

    route: Annotated[str, Field(min_length=1, max_length=MAX_NAME, description="Or provider/model.")]
    parameters: Annotated[
        dict[str, Any], Field(max_length=20, description="In place of what was said: {temperature: 0}.")
    ] = {}


class Tool(BaseModel):
    name: str
    arguments: str


class Said(BaseModel):
    """One of the two."""

    id: str
    at: str
    route: str | None
    target: str | None
    outcome: str
    error: str | None
    why: Annotated[str | None, Field(description="What the error says; of the first call it is not kept.")]
    text: Annotated[str | None, Field(description="null where its answer is not kept, or there was none.")]
    tools: list[Tool]
    duration_ms: float
    first_ms: float | None
    attempts: int
    input_tokens: int
    output_tokens: int
    cost_nusd: int | None
    cost_usd: str | None


class Replayed(BaseModel):
    before: Said
    now: Said


@router.post("/admin/requests/{id}/replay")
async def replay(id: str, body: Replay, principal: Administering, house: House, request: Request) -> Replayed:
    """Ask another route what was asked then: as it went out, with what guards had masked. Whoever asks this pays.

    It comes by the front door: the route's guards and the limits of the key are asked, caches are not. Headers are not
    kept, so it has none of those that the client sent.
    """
    row, kept = await _kept(house, id)
    assert kept.request is not None
    codec = house.codec(row.dialect, row.operation)
    question = _changed(kept.request, body, row)
    call = own_call(
        house.world, principal, purpose=PURPOSE, parent=row.id, dialect=row.dialect, operation=row.operation,
        path=codec.path, body=question, kind=PURPOSE,
    )  # fmt: skip
    call.user = kept.user  # so that what is kept of it goes when theirs does
    call.wishes = Wishes(use_cache=False)
    heard: list[Event] = []
    wrong: TidegateError | None = None
    try:
        with while_client_listens(house.world, incoming_of(request), call, question):
            heard = await house.heard(call)
    except TidegateError as failure:
        if not call.attempts:  # nobody was asked: it is a mistake in the question
            raise
        wrong = failure
    finally:
        if call.route is not None:
            tell(house, principal, "call_replayed", row.id, after={"route": call.route.name, "as": call.id})
    now = await house.world.ledger.find(call.id)
    assert now is not None
    return Replayed(
        before=_said(row, _heard(house, kept, row)), now=_said(now, heard, wrong.message if wrong else None)
    )


def _changed(request: bytes, body: Replay, row: Closed) -> bytes:
    """What is asked now. Raises BadRequest for a parameter that such a call cannot have."""
    there = spans(request)
    said = {"model": msgspec.json.encode(body.route)}
    for name, value in body.parameters.items():
        if (row.dialect, row.operation) not in parameters.taken_by((name,)):
            raise BadRequest(f"parameters: {row.dialect} {row.operation} has no {name[:60]!r}", param="parameters")
        also = parameters.ALSO.get(name)
        said[also if also in there else name] = msgspec.json.encode(value)
    return splice(request, there, said)


async def _kept(house: Gateway, id: str) -> tuple[Closed, Body]:
    """A call and its question. Raises NotFound, BadRequest."""
    row = await house.world.ledger.find(id)
    if row is None:
        raise NotFound(f"there is no request {id[:80]!r}; its row is written when it ends")
    if row.operation == "raw":
        raise BadRequest(f"{row.id} was passed on to its provider as it came, and only its client can ask that again")
    try:
        kept = await house.archive.body(row.id)
    except Erased:
        raise NotFound(f"what was asked in {row.id} was erased") from None
    if kept is None or kept.request is None:
        raise NotFound(f"what was asked in {row.id} is not kept, or not any more; {HOW_TO_KEEP}")
    return row, kept


def _heard(house: Gateway, kept: Body, row: Closed) -> list[Event] | None:
    """None where it is not kept."""
    if kept.reply is None:
        return None
    return events_in(house.codec(kept.reply_dialect or row.dialect, row.operation), kept.reply)


def _said(row: Closed, heard: list[Event] | None, why: str | None = None) -> Said:
    usage, found = msgspec.convert(row.usage, Usage), answers(heard or ())
    first = found[0] if found else None
    return Said(
        id=row.id,
        at=iso(row.at_ms, UTC),
        route=row.route,
        target=row.target,
        outcome=row.outcome,
        error=row.error,
        why=why,
        text=first.text or first.refusal if first else None,
        tools=[Tool(name=one.name, arguments=one.arguments) for one in first.tools] if first else [],
        duration_ms=row.duration_us / 1000,
        first_ms=None if row.first_us is None else row.first_us / 1000,
        attempts=len(row.attempts),
        input_tokens=usage.input_total,
        output_tokens=usage.output_total,
        cost_nusd=row.cost_nusd,
        cost_usd=None if row.cost_nusd is None else usd_text(row.cost_nusd),
    )
