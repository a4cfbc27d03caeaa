"""What would each lever have saved on the calls of the last days?"""

# No postponed annotations here: FastAPI evaluates them.
import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from tidegate.api.admin.moments import span
from tidegate.api.admin.policy import House, Looking
from tidegate.api.admin.shapes import paths
from tidegate.api.admin.usage import visible
from tidegate.core.errors import BadRequest
from tidegate.core.money import Price
from tidegate.core.search import CallsAsked, Place
from tidegate.core.whatif import Asked, Seen, of_row, supposed
from tidegate.gateway import Gateway
from tidegate.providers.prices import PriceList

router = paths(tag="usage")

PAGE, MOST = 1_000, 50_000  # calls that are looked at, the newest
PAID_BY_CALLERS = ("live", "batch")

Name = Annotated[str | None, Field(max_length=256)]


class WhatIfQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    since: Annotated[Name, Field(description="A date, a time (ISO 8601), or how long ago: 7d. 1 day ago.")] = None
    until: Annotated[Name, Field(description="The same; now.")] = None
    cheap: Annotated[Name, Field(description="A smaller model, as the price list names it: openai/gpt-4o-mini.")] = None
    budget_usd: Annotated[float, Field(gt=0, le=1_000_000, description="Of each key and day.")] = 5.0


@router.get("/admin/whatif")
async def what_if(asked: Annotated[WhatIfQuery, Query()], principal: Looking, house: House) -> dict[str, Any]:
    """Bounds for each lever, and what nobody can know from the ledger. At most the newest 50,000 calls."""
    now = datetime.fromtimestamp(house.world.clock.wall_ns() / 1e9, UTC)
    since, until = span(asked.since, asked.until, now, timedelta(days=1))
    only = visible(principal)
    question = CallsAsked(round(since.timestamp() * 1000), round(until.timestamp() * 1000), only, most=PAGE)
    cheap = await asyncio.to_thread(cheap_price, asked.cheap)  # it reads the list
    seen, complete = await _seen(house, question)
    supposition = Asked(cheap=cheap, budget_usd=asked.budget_usd)
    found = await asyncio.to_thread(supposed, seen, supposition, complete=complete)
    told: dict[str, Any] = msgspec.to_builtins(found)
    return {"since": since.isoformat(), "until": until.isoformat()} | told


async def _seen(house: Gateway, question: CallsAsked) -> tuple[list[Seen], bool]:
    found: list[Seen] = []
    after: Place | None = None
    while len(found) < MOST:
        page = await house.world.ledger.calls(msgspec.structs.replace(question, after=after))
        found += [of_row(row) for row in page.rows if row.kind in PAID_BY_CALLERS]
        after = page.reached
        if after is None:
            return found, True
    return found, False


def cheap_price(name: str | None) -> Price | None:
    """Raises BadRequest for a model that the list does not know."""
    if name is None:
        return None
    vendor, _, model = name.partition("/")
    price = PriceList.load(None).price(vendor, model)
    if price is None:
        raise BadRequest(f"cheap: the price list knows no {name!r}; such as openai/gpt-4o-mini", param="cheap")
    return price
