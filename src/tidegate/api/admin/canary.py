"""Which configuration has a share of the units first, how does it do, and who promotes it or takes it back?"""

# No postponed annotations here: FastAPI evaluates them.
from datetime import UTC
from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from tidegate.api.admin.live import LONGEST_S as LONGEST_LIVE_S
from tidegate.api.admin.live import live
from tidegate.api.admin.moments import duration, iso
from tidegate.api.admin.policy import Administering, House, tell
from tidegate.api.admin.requests import EVENTS
from tidegate.api.admin.shapes import paths
from tidegate.core.canary import Canaries, Canary, Seen, Unit, Wish
from tidegate.core.errors import BadRequest, ConfigError, NotFound
from tidegate.core.values import Share

router = paths("/admin/config/canary", "canary")

LONGEST_S = 30 * 86_400.0
Text = Annotated[str, Field(max_length=20)]


class Start(BaseModel):
    model_config = ConfigDict(extra="forbid")

    share: Annotated[Text, Field(description="Of the units: 5%.")] = "5%"
    unit: Annotated[Unit, Field(description="What gets one configuration and keeps it.")] = "key"
    promote_after: Annotated[
        Text | None, Field(description="It is promoted by itself when nothing was worse for so long: 30m.")
    ] = None
    promote_calls: Annotated[int, Field(ge=1, description="And after so many calls of one process.")] = 100


class More(BaseModel):
    model_config = ConfigDict(extra="forbid")

    share: Annotated[Text, Field(description="Of the units, more than now: 25%.")]


class TakeBack(BaseModel):
    model_config = ConfigDict(extra="forbid")

    why: Annotated[str, Field(max_length=200)] = ""


UNSAID = TakeBack()  # who takes it back in a hurry sends nothing


class ShownArm(BaseModel):
    calls: Annotated[int, Field(description="In the window, as this process has answered them.")]
    failed: int
    refused: int
    units: Annotated[int, Field(description="Whose times are compared, since the stage began.")]
    latency_s: float | None
    cost_usd: float | None


class ShownCanary(BaseModel):
    config: Annotated[str, Field(description="The fingerprint of the candidate's file.")]
    state: str
    share: float
    unit: str
    stage: int
    began: str
    since: str
    until: str
    promote_after_s: float | None
    promote_calls: int
    by: Annotated[str, Field(description="A key's id; `house`: nobody was asked.")]
    why: str


class Reported(ShownCanary):
    here: Annotated[bool, Field(description="Whether the process that answers has the candidate.")]
    candidate: ShownArm
    control: ShownArm


@router.post("")
async def start_canary(body: Start, principal: Administering, house: House, request: Request) -> ShownCanary:
    """Give the file beside the configuration, tidegate.canary.yaml, to a share of the units."""
    after = None if body.promote_after is None else duration("promote_after", body.promote_after, LONGEST_S)
    wish = Wish(_share(body.share), body.unit, after, body.promote_calls)
    try:
        begun = await _canaries(request).start(wish, principal.key_id)
    except ConfigError as wrong:
        raise BadRequest(f"nothing was changed: {wrong.message}") from None
    tell(house, principal, "canary_started", begun.fingerprint, after={"share": begun.wish.share})
    return _shown(begun)


@router.get("")
async def show_canary(principal: Administering, request: Request) -> Reported:
    """The one that runs, or the last; and what the process that answers has seen of both arms."""
    return await _reported(request)


@router.get("/live", response_class=StreamingResponse, responses=EVENTS)
async def canary_live(
    principal: Administering,
    house: House,
    request: Request,
    seconds: Annotated[float, Query(ge=0, le=LONGEST_LIVE_S, description="How long, at most.")] = 3600,
) -> StreamingResponse:
    """The same every two seconds, one event each; null while there is none."""

    async def look() -> bytes:
        try:
            return (await _reported(request)).model_dump_json().encode()
        except NotFound:
            return b"null"

    return await live(house.world, look, seconds)


@router.patch("")
async def advance_canary(body: More, principal: Administering, house: House, request: Request) -> ShownCanary:
    """Give it to more; who has it keeps it."""
    now = await _canaries(request).advance(_share(body.share), principal.key_id)
    tell(house, principal, "canary_advanced", now.fingerprint, after={"share": now.wish.share})
    return _shown(now)


@router.post("/promote")
async def promote_canary(principal: Administering, house: House, request: Request) -> ShownCanary:
    """It becomes the configuration, for everybody and in its file."""
    now = await _canaries(request).promote(principal.key_id)
    tell(house, principal, "canary_promoted", now.fingerprint)
    return _shown(now)


@router.post("/rollback")
async def roll_back_canary(
    principal: Administering, house: House, request: Request, body: TakeBack = UNSAID
) -> ShownCanary:
    """Nobody has it any more; calls under way end as they began."""
    now = await _canaries(request).roll_back(principal.key_id, body.why)
    tell(house, principal, "canary_rolled_back", now.fingerprint, after={"why": now.why})
    return _shown(now)


async def _reported(request: Request) -> Reported:
    found = await _canaries(request).report()
    return Reported(
        **_shown(found.canary).model_dump(),
        here=found.here,
        candidate=_arm(found.candidate),
        control=_arm(found.control),
    )


def _canaries(request: Request) -> Canaries:
    found: Canaries = request.app.state.canaries
    return found


def _share(text: str) -> float:
    try:
        return float(Share.parse(text))
    except ValueError as wrong:
        raise BadRequest(f"share: {wrong}", param="share") from None


def _shown(one: Canary) -> ShownCanary:
    wish = one.wish
    return ShownCanary(
        config=one.fingerprint,
        state=one.state,
        share=wish.share,
        unit=wish.unit,
        stage=one.stage,
        began=iso(one.began_ms, UTC),
        since=iso(one.since_ms, UTC),
        until=iso(one.until_ms, UTC),
        promote_after_s=wish.promote_after_s,
        promote_calls=wish.promote_calls,
        by=one.by,
        why=one.why,
    )


def _arm(seen: Seen) -> ShownArm:
    return ShownArm(
        calls=seen.calls,
        failed=seen.failed,
        refused=seen.refused,
        units=seen.timed_units,
        latency_s=seen.latency_s,
        cost_usd=seen.cost_usd,
    )
