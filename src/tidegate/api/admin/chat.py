"""What has the guide? `/api/chat` and `/api/stats`, in its own shapes."""

# No postponed annotations here: FastAPI evaluates them.
from functools import partial
from typing import Annotated

import msgspec
from fastapi import Body, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from tidegate.api.admin.policy import ASK, EVERY_KEY, Answering, House, incoming_of
from tidegate.api.admin.shapes import Text, paths
from tidegate.api.calls import new_call, told, while_client_listens
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.ports import Headers
from tidegate.core.usage import HOUR_MS, Period, UsageAsked
from tidegate.stages.guardrails.guide import Guide

MAX_INPUT = 10_000  # characters; the guide's bound
GUIDE = Guide()

router = paths()


class ChatBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user_input: Annotated[str, Field(min_length=1, max_length=MAX_INPUT)]
    model: Annotated[Text | None, Field(description="A route; the first one when left out.")] = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    use_cache: bool = True


class ChatAnswer(BaseModel):
    response: str
    cached: bool
    latency_ms: float
    tokens_used: int
    cost_usd: Annotated[float | None, Field(description="null when the price is not known")]


class Stats(BaseModel):
    total_requests: int
    cache_hits: int
    cache_hit_rate: float
    errors: int
    error_rate: float


@router.post("/api/chat", tags=["chat"])
async def chat(
    request: Request,
    response: Response,
    principal: Annotated[Principal, Depends(ASK)],
    house: Answering,
    body: Annotated[ChatBody, Body()] = None,  # type: ignore[assignment] # it may be left out, but not be null
    user_input: Annotated[str | None, Query(min_length=1, max_length=MAX_INPUT)] = None,
    model: Annotated[str | None, Query(max_length=200)] = None,
    max_tokens: Annotated[int, Query(ge=1, le=1_000_000)] = 1024,
    temperature: Annotated[float, Query(ge=0, le=2)] = 0.7,
    use_cache: bool = True,
) -> ChatAnswer:
    """Ask a model one thing. The fields come as a JSON body or as query parameters."""
    if body is None:
        if user_input is None:
            raise BadRequest("user_input is needed, in a JSON body or as a query parameter", param="user_input")
        body = ChatBody(
            user_input=user_input, model=model, max_tokens=max_tokens, temperature=temperature, use_cache=use_cache
        )
    GUIDE.refuse(body.user_input)
    asked = {
        "model": body.model or next(iter(house.routes.open_to(principal)), ""),
        "messages": [{"role": "user", "content": body.user_input}],
        "max_tokens": body.max_tokens,
        "temperature": body.temperature,
    }
    incoming = incoming_of(request)
    call = new_call(house.world, incoming, "openai", "chat")
    incoming.told = partial(told, call, house.world)
    call.credential = principal
    call.wishes = msgspec.structs.replace(call.wishes, use_cache=body.use_cache)
    with while_client_listens(house.world, incoming, call, body=msgspec.json.encode(asked)):
        said = await house.said(call)
    response.headers.update(_text(incoming.told()))
    cost = call.cost_nusd
    return ChatAnswer(
        response=said,
        cached=call.cached is not None and call.cached.found,
        latency_ms=round((house.world.clock.now_ns() - call.arrived_ns) / 1e6, 3),
        tokens_used=call.usage.input_total + call.usage.output_total,
        cost_usd=None if cost is None else cost / NUSD_PER_USD,
    )


@router.get("/api/stats", tags=["chat"], dependencies=[Depends(EVERY_KEY)])
async def stats(house: House) -> Stats:
    """Counts over all calls of the ledger."""
    totals = await house.world.ledger.totals()
    everything = (Period(0, house.world.clock.wall_ns() // 1_000_000 + HOUR_MS),)
    lines = await house.world.ledger.usage(UsageAsked(everything, by=("cache",)))
    hits = sum(line.sums["calls"] for line in lines if line.names[0] in ("hit", "shared"))
    calls = totals.calls or 1
    return Stats(
        total_requests=totals.calls,
        cache_hits=hits,
        cache_hit_rate=hits / calls,
        errors=totals.errors,
        error_rate=totals.errors / calls,
    )


def _text(headers: Headers) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}
