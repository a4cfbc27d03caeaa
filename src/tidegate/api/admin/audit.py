"""What does the audit log say, and how is it proved?"""

# No postponed annotations here: FastAPI evaluates them.
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from tidegate.api.admin.moments import iso, moment
from tidegate.api.admin.policy import Administering, House, tell
from tidegate.api.admin.shapes import Body, paths
from tidegate.api.admin.subjects import AS_LINES, LINES
from tidegate.core.errors import BadRequest, ConfigError
from tidegate.storage.audit import proof
from tidegate.storage.audit.inspection import MOST_ENTRIES
from tidegate.storage.audit.search import Wanted, search

router = paths("/admin/audit", "audit")

Writer = Annotated[str, Query(max_length=100)]
Size = Annotated[int, Query(ge=0)]
MOST = 500


class Page(BaseModel):
    entries: Annotated[list[dict[str, Any]], Field(description="The newest first.")]
    next: Annotated[
        str | None,
        Field(description="`before` of the next page; null on the last. A page that found little may have a next one."),
    ]
    looked: Annotated[int, Field(description="Entries that were looked at for it.")]


class State(BaseModel):
    verifier: Annotated[str, Field(description="The key that checkpoints are checked with.")]
    entries: Annotated[dict[str, int], Field(description="Of each writer.")]
    checkpoints: Annotated[list[str], Field(description="The last of each writer, signed.")]


class Inspection(Body):
    most: Annotated[
        int, Field(ge=1, le=MOST_ENTRIES, description="Entries of each writer that are read, the newest.")
    ] = 10_000
    verifiers: Annotated[list[str], Field(max_length=20, description="Keys of before that count besides.")] = []


class Inspected(BaseModel):
    writer: str
    size: Annotated[int, Field(description="Entries.")]
    read: Annotated[int, Field(description="Of these, the newest, read one by one.")]
    signed: Annotated[int, Field(description="Of these, the first, as the last checkpoint has signed them.")]
    signed_ms: int | None
    wrong: Annotated[str, Field(description="What and where; empty where nothing is.")]


class Verdict(BaseModel):
    whole: bool
    at: str
    writers: list[Inspected]


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
    who: Annotated[str, Query(max_length=200, description="A key's id or name; of calls, the end user or team.")] = "",
    what: Annotated[
        str, Query(max_length=100, description="Part of what was done: key_, rolled_back; act, call.")
    ] = "",
    of: Annotated[str, Query(max_length=200, description="Part of what it was done to; of calls, id, route.")] = "",
    since: Annotated[
        str | None, Query(max_length=40, description="A date, a time (ISO 8601), or how long ago.")
    ] = None,
    until: Annotated[str | None, Query(max_length=40, description="The same.")] = None,
) -> Page:
    """Entries of all writers, with what can still be read of them: who did what, and when."""
    await house.world.ledger.flush()
    now = datetime.fromtimestamp(house.world.clock.wall_ns() / 1e9, UTC)
    begin, end = (text and _ms(moment(name, text, now)) for name, text in (("since", since), ("until", until)))
    at, _, id = (before or (f"{end}~" if end else f"{2**62}~~")).partition("~")
    wanted = Wanted(who, what, of, begin or 0)
    found = await search(house.archive.log, wanted, int(at) if at.isdigit() else 2**62, id, limit)
    return Page(
        entries=[await house.archive.entry(link) for link in found.links],
        next=f"{found.last.at_ms}~{found.last.id}" if found.last is not None else None,
        looked=found.looked,
    )


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


@router.post("/verify")
async def verify(asked: Inspection, principal: Administering, house: House) -> Verdict:
    """Whether the log in the database is what was signed: the newest entries of each writer one by one, the others by
    their hashes. Only what was exported off the machine tells an older copy of the whole log."""
    try:
        found = await house.archive.inspect(asked.verifiers, asked.most)
    except ConfigError as wrong:
        raise BadRequest(wrong.message, param="verifiers") from None
    whole = not any(one.wrong for one in found)
    at_ms = house.world.clock.wall_ns() // 1_000_000
    tell(house, principal, "audit_verified", "-", after={"whole": whole})
    return Verdict(whole=whole, at=iso(at_ms, UTC), writers=[Inspected(**one._asdict()) for one in found])


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
