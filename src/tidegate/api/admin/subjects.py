"""What is kept of an end user, and how is it erased? And what was said in one call, where its route keeps that."""

# No postponed annotations here: FastAPI evaluates them.
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from fastapi import Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from tidegate.api.admin.policy import Administering, House, tell
from tidegate.api.admin.shapes import paths
from tidegate.core.errors import NotFound
from tidegate.core.ports import Erased
from tidegate.storage.archive import shown

router = paths("/admin")

LINES = "application/x-ndjson"
AS_LINES: dict[int | str, dict[str, Any]] = {200: {"content": {LINES: {"schema": {"type": "string"}}}}}
Name = Annotated[str, Query(min_length=1, max_length=256, description="As clients call them: x-tidegate-user, `user`.")]
Organisation = Annotated[str | None, Query(max_length=128, description="Only there; in all of them.")]


class ShownErasure(BaseModel):
    aliases: Annotated[list[str], Field(description="They stay where names stood, and mean nobody any more.")]
    bodies: Annotated[int, Field(description="Questions and answers that were deleted.")]
    answers: Annotated[int, Field(description="Answers that the cache has dropped.")]
    lines: Annotated[int, Field(description="Lines of batches that were emptied.")] = 0
    lessons: Annotated[int, Field(description="Vectors of questions that routes with tiers learned from.")] = 0


class ShownBody(BaseModel):
    id: str
    at_ms: int
    until_ms: Annotated[int, Field(description="It is deleted then.")]
    tenant: str
    user: str | None
    team: str | None
    key_id: str
    dialect: str
    request: Annotated[str | None, Field(description="As it went out; null where that is not kept.")]
    reply_dialect: str | None
    reply: Annotated[str | None, Field(description="As guards let it pass; null where that is not kept.")]
    whole: Annotated[bool, Field(description="Neither cut off, nor longer than is kept.")]


async def rows(found: AsyncIterator[dict[str, Any]], first: dict[str, Any] | None) -> AsyncIterator[bytes]:
    """Lines of JSON."""
    if first is not None:
        yield msgspec.json.encode(first) + b"\n"
        async for one in found:
            yield msgspec.json.encode(one) + b"\n"


@router.get("/subjects", tags=["subjects"], response_class=StreamingResponse, responses=AS_LINES)
async def export_subject(id: Name, principal: Administering, house: House, organisation: Organisation = None) -> Any:
    """Everything that is kept of an end user: a line of JSON for each row, body, entry of the audit log, and sums."""
    found = house.archive.rows(id, organisation)
    first = await anext(found, None)  # what is wrong is an error, and not the end of an answer
    tell(house, principal, "subject_exported", await _aliases(house, id, organisation))
    return StreamingResponse(rows(found, first), media_type=LINES)


@router.delete("/subjects", tags=["subjects"])
async def erase_subject(
    id: Name, principal: Administering, house: House, organisation: Organisation = None
) -> ShownErasure:
    """Destroy the key of an end user: what is stored of them is unreadable from then on, in backups too."""
    done = await house.archive.erase(id, organisation)
    tell(house, principal, "subject_erased", ",".join(done.aliases), after=done)
    return ShownErasure(**msgspec.to_builtins(done))


async def _aliases(house: Any, id: str, organisation: str | None) -> str:
    """How the audit log names them; without a vault, not at all."""
    return ",".join(one.alias for one in await house.archive.subjects(id, organisation)) if house.archive.seals else "-"


@router.get("/bodies/{id}", tags=["bodies"])
async def get_body(id: str, principal: Administering, house: House) -> ShownBody:
    """What was said in one call, where its route keeps that."""
    try:
        body = await house.archive.body(id)
    except Erased:
        raise NotFound(f"what was said in {id[:80]!r} was erased") from None
    if body is None:
        raise NotFound(f"nothing that was said in {id[:80]!r} is kept: its route keeps nothing, or its time was over")
    tell(house, principal, "body_read", id)
    return ShownBody(**shown(body))
