"""Which calls were there, and what happened to one? Pages of them, one whole, and those that end just now."""

# No postponed annotations here: FastAPI evaluates them.
import base64
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from tidegate.api.admin.feedback import one_call, told
from tidegate.api.admin.moments import iso, span
from tidegate.api.admin.policy import EVERY_KEY, House
from tidegate.api.admin.shapes import paths
from tidegate.api.admin.usage import Looking, Own, key_names, visible
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, Forbidden, NotFound
from tidegate.core.money import NUSD_PER_USD, Usage, usd_text
from tidegate.core.ports import Closed, StoreDown
from tidegate.core.search import EQUAL, CallsAsked, Place, fits
from tidegate.core.world import World
from tidegate.gateway import Gateway

router = paths(tag="requests")

MOST = 500  # calls of one page
BACK = timedelta(days=1)  # when nobody says since when
LOOK_S = 1.0  # how often a tail looks for what is new
ALIVE_S = 15.0  # how long a tail may say nothing
# Of two processes that write at once the later number may be seen first: so many are looked at again.
AGAIN = 500
MOST_NEW = 1000  # that a tail tells of at one look
TEXT = {"type": "string"}
EVENT = {"type": "object", "properties": {"event": TEXT, "data": TEXT}}  # each of them
EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": EVENT}}}}

Name = Annotated[str | None, Field(max_length=256)]


class CallsQuery(BaseModel):
    """What is left out is not asked for."""

    model_config = ConfigDict(extra="forbid")

    organisation: Name = None
    team: Name = None
    key: Annotated[Name, Field(description="The id of a key.")] = None
    end_user: Annotated[Name, Field(description="Whom the client named.")] = None
    session: Name = None
    route: Name = None
    target: Annotated[Name, Field(description="provider/model")] = None
    operation: Name = None
    outcome: Annotated[Name, Field(description="ok, refused, failed, cut_off, client_left or interrupted.")] = None
    trace_id: Annotated[Name, Field(description="Of the trace that the client sent.")] = None
    error: Annotated[Name, Field(description="The code of an error.")] = None
    kind: Name = None
    cache: Annotated[Name, Field(description="hit, miss, shared or bypass.")] = None
    guard: Annotated[Name, Field(description="pii: it had something to say; pii:mask: it ruled so.")] = None
    status: Annotated[int | None, Field(ge=100, le=599)] = None
    min_cost_usd: Annotated[float | None, Field(ge=0, le=1_000_000)] = None
    min_duration_ms: Annotated[float | None, Field(ge=0, le=1e9)] = None

    def question(self, only: Mapping[str, str], since_ms: int = 0, until_ms: int = 2**62) -> CallsAsked:
        """What is in `only` cannot be asked otherwise. Raises Forbidden."""
        given = {name: value for name in EQUAL if (value := getattr(self, name)) is not None}
        for name, value in only.items():
            if given.setdefault(name, value) != value:
                raise Forbidden(f"{name}: only {value!r} can be seen here")
        return CallsAsked(
            since_ms,
            until_ms,
            given,
            self.guard,
            self.status,
            None if self.min_cost_usd is None else round(self.min_cost_usd * NUSD_PER_USD),
            None if self.min_duration_ms is None else round(self.min_duration_ms * 1000),
        )


class TailQuery(CallsQuery):
    seconds: Annotated[float, Field(ge=0, le=86_400, description="How long, at most.")] = 3600


class PageQuery(CallsQuery):
    since: Annotated[Name, Field(description="A date, a time (ISO 8601), or how long ago: 7d. 1 day ago.")] = None
    until: Annotated[Name, Field(description="The same; now.")] = None
    limit: Annotated[int, Field(ge=1, le=MOST, description="Calls of one page.")] = 50
    after: Annotated[str | None, Field(max_length=200, description="`next` of the page before.")] = None


class ShownCalls(BaseModel):
    since: str
    until: str
    requests: list[dict[str, Any]]
    next: Annotated[
        str | None,
        Field(description="`after` of the next page; null on the last. A page that found little may have a next one."),
    ]
    looked_back_to: Annotated[str, Field(description="Calls that began since then have been looked at.")]


@router.get("/v1/requests")
async def own_requests(asked: Annotated[PageQuery, Query()], principal: Own, house: House) -> ShownCalls:
    """The calls of the key that asks, newest first."""
    return await _page(asked, {"key": principal.key_id}, house)


@router.get("/admin/requests")
async def all_requests(asked: Annotated[PageQuery, Query()], principal: Looking, house: House) -> ShownCalls:
    """All calls, newest first, by whatever is known of them; for a manager or a viewer of a team, the team's."""
    return await _page(asked, visible(principal), house)


@router.get("/admin/requests/tail", response_class=StreamingResponse, responses=EVENTS)
async def tail(asked: Annotated[TailQuery, Query()], principal: Looking, house: House) -> StreamingResponse:
    """Calls as they end, one event each, for as long as somebody listens."""
    question = asked.question(visible(principal))
    until_ns = house.world.clock.now_ns() + round(asked.seconds * 1e9)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    ending = Ending(house.world, question, until_ns)
    await ending.begin()
    return StreamingResponse(ending, media_type="text/event-stream", headers=headers)


@router.get("/v1/requests/{id}")
async def one_request(id: str, principal: Annotated[Principal, Depends(EVERY_KEY)], house: House) -> dict[str, Any]:
    """What a call did and cost: for the key that made it, and for whoever sees the usage of its team.

    `id` is the request's, or the 32 digits of its trace; of several in one trace, the last.
    """
    row = await one_call(house, id, principal)
    if row is None:
        raise NotFound(f"there is no request {id[:80]!r} that is yours to see; its row is written when it ends")
    shown: dict[str, Any] = msgspec.to_builtins(row)
    shown.pop("record", None)
    shown["key_name"] = (await key_names(house.world, [row.key_id])).get(row.key_id)
    if principal.role == "member" and not principal.overrides:
        shown.pop("arms", None)  # who takes part in an experiment is not to know
    if opinions := await house.world.ledger.opinions(row.id):
        shown["feedback"] = told(opinions)
    return shown


async def _page(asked: PageQuery, only: Mapping[str, str], house: Gateway) -> ShownCalls:
    now = datetime.fromtimestamp(house.world.clock.wall_ns() / 1e9, UTC)
    since, until = span(asked.since, asked.until, now, BACK)
    question = asked.question(only, _ms(since), _ms(until))
    found = await house.world.ledger.calls(
        msgspec.structs.replace(question, after=_after(asked.after), most=asked.limit)
    )
    names = await key_names(house.world, [row.key_id for row in found.rows])
    return ShownCalls(
        since=since.isoformat(),
        until=until.isoformat(),
        requests=[_shown(row, names) for row in found.rows],
        next=_cursor(found.reached) if found.reached else None,
        looked_back_to=iso(found.reached.at_ms if found.reached else _ms(since), UTC),
    )


class Ending:
    """Server-sent events of calls that end; a comment first, so that whoever asked knows that it is heard."""

    def __init__(self, world: World, question: CallsAsked, until_ns: int) -> None:
        self._world = world
        self._question = question
        self._until_ns = until_ns
        self._seq = 0
        self._heard = False  # and said so
        self._told: OrderedDict[str, None] = OrderedDict()

    def __aiter__(self) -> "Ending":
        return self

    async def begin(self) -> None:
        """From here on: what has ended here before is stored, and not told. Raises StoreDown."""
        await self._world.ledger.flush()
        self._seq = (await self._world.ledger.taken(None)).seq
        self._fresh((await self._world.ledger.taken(max(self._seq - AGAIN, 0))).rows)

    async def __anext__(self) -> bytes:
        if not self._heard:
            self._heard = True
            return b": calls as they end\n\n"
        silent_s = 0.0
        while self._world.clock.now_ns() < self._until_ns and not self._world.closing.is_set():
            try:
                if lines := await self._look():
                    return b"".join(lines)
            except StoreDown:  # whoever listens goes on, and hears of these calls when it is back
                silent_s = ALIVE_S
            await self._world.clock.sleep(LOOK_S)
            silent_s += LOOK_S
            if silent_s >= ALIVE_S:
                return b": nothing new\n\n"
        raise StopAsyncIteration

    async def _look(self) -> list[bytes]:
        ledger = self._world.ledger
        found = await ledger.taken(max(self._seq - AGAIN, 0), AGAIN + MOST_NEW)
        fresh = [row for row in self._fresh(found.rows) if fits(self._question, row)]
        names = await key_names(self._world, [row.key_id for row in fresh])
        lines = [b"data: " + msgspec.json.encode(_shown(row, names)) + b"\n\n" for row in fresh]
        self._seq = max(self._seq, found.seq)
        if len(found.rows) == AGAIN + MOST_NEW:
            self._seq = (await ledger.taken(None)).seq
            lines.append(b": more ended than can be told; some are left out\n\n")
        return lines

    def _fresh(self, rows: list[Closed]) -> list[Closed]:
        """Those that are new; from now on they are not."""
        fresh = [row for row in rows if row.id not in self._told]
        self._told.update(dict.fromkeys(row.id for row in fresh))
        while len(self._told) > AGAIN + MOST_NEW:
            self._told.popitem(last=False)
        return fresh


def _shown(row: Closed, names: Mapping[str, str]) -> dict[str, Any]:
    """A line of the list: what one looks for, and no bodies."""
    usage = msgspec.convert(row.usage, Usage)
    return {
        "id": row.id,
        "at": iso(row.at_ms, UTC),
        "key_name": names.get(row.key_id),
        **{name: getattr(row, name) for name in ("key_id", "team_id", "user", "session", "operation", "dialect")},
        **{name: getattr(row, name) for name in ("model", "route", "target", "stream", "kind")},
        **{name: getattr(row, name) for name in ("outcome", "status", "error", "cache", "cache_layer")},
        "duration_ms": row.duration_us / 1000,
        "first_ms": None if row.first_us is None else row.first_us / 1000,
        "attempts": len(row.attempts),
        "input_tokens": usage.input_total,
        "output_tokens": usage.output_total,
        "cost_nusd": row.cost_nusd,
        "cost_usd": None if row.cost_nusd is None else usd_text(row.cost_nusd),
        "guards": {f"{one.guard}.{one.direction}": one.verdict for one in row.guards if one.verdict != "pass"},
    }


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _cursor(place: Place) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def _after(text: str | None) -> Place | None:
    if text is None:
        return None
    try:
        at_ms, seq = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=tuple[int, int])
        if abs(at_ms) < 2**62 and abs(seq) < 2**63:
            return Place(at_ms, seq)
    except ValueError:
        pass
    raise BadRequest("after: must be `next` of the page before", param="after")
