"""What does the audit log say, and how is it proved?"""

# No postponed annotations here: FastAPI evaluates them.
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from tidegate.api.admin.policy import Administering, House, tell
from tidegate.api.admin.shapes import ERRORS
from tidegate.api.admin.subjects import AS_LINES, LINES
from tidegate.storage.audit import proof

router = APIRouter(prefix="/admin/audit", tags=["audit"], responses=ERRORS)

Writer = Annotated[str, Query(max_length=100)]
Size = Annotated[int, Query(ge=0)]
MOST = 500


class Page(BaseModel):
    entries: Annotated[list[dict[str, Any]], Field(description="The newest first.")]
    next: Annotated[str | None, Field(description="`before` of the next page; null on the last.")]


class State(BaseModel):
    verifier: Annotated[str, Field(description="The key that checkpoints are checked with.")]
    entries: Annotated[dict[str, int], Field(description="Of each writer.")]
    checkpoints: Annotated[list[str], Field(description="The last of each writer, signed.")]


class Proof(BaseModel):
    entry: Annotated[str | None, Field(description="Canonical JSON; null where only its hash is kept.")]
    hash: str
    seq: int
    proof: Annotated[list[str], Field(description="RFC 9162, 2.1.3: hashes on the way to the root.")]
    checkpoint: str


class Continuation(BaseModel):
    first: str
    second: str
    proof: Annotated[list[str], Field(description="RFC 9162, 2.1.4.")]


@router.get("")
async def entries(
    principal: Administering,
    house: House,
    before: Annotated[str | None, Query(max_length=200, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
) -> Page:
    """Entries of all writers, with what can still be read of them."""
    at, _, id = (before or "").partition("~")
    found = await house.archive.log.latest(int(at) if at.isdigit() else 2**62, id or "~", limit)
    last = found[-1] if len(found) == limit else None
    return Page(
        entries=[await house.archive.entry(link) for link in found],
        next=f"{last.at_ms}~{last.id}" if last is not None else None,
    )


@router.get("/state")
async def state(principal: Administering, house: House) -> State:
    """How long the log is, and what was signed last."""
    log = house.archive.log
    last = {one.writer: one.note for one in await log.checkpoints()}
    return State(verifier=house.archive.verifier, entries=await log.heads(), checkpoints=list(last.values()))


@router.get("/export", response_class=StreamingResponse, responses=AS_LINES)
async def export(principal: Administering, house: House) -> Any:
    """All of it, to be verified elsewhere: `tidegate audit verify FILE`."""
    await house.world.ledger.flush()
    log = house.archive.log
    tell(house, principal, "audit_exported", "-")
    lines: AsyncIterator[bytes] = proof.rows(log)
    return StreamingResponse(lines, media_type=LINES)


@router.get("/proof")
async def prove(id: Annotated[str, Query(max_length=100)], principal: Administering, house: House) -> Proof:
    """That the entry of this call or act is in the log as it was signed last."""
    return Proof(**await house.archive.prove(id))


@router.get("/consistency")
async def prove_consistent(
    writer: Writer, first: Size, second: Size, principal: Administering, house: House
) -> Continuation:
    """That the log as it was signed at one size begins with the log as it was signed at a smaller one."""
    return Continuation(**await house.archive.prove_consistent(writer, first, second))
