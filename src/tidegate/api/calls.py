"""How does a call get in and its reply out? The same way for every dialect, streamed or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial
from types import TracebackType
from typing import Any

import msgspec

from tidegate.api.heads import MAX_LABEL, Head, lines, parted
from tidegate.api.incoming import ClientGone, Incoming, Turn
from tidegate.api.rooms import room_headers
from tidegate.core.call import Cached, Call, Event, Reply, Wishes
from tidegate.core.errors import BadRequest
from tidegate.core.experiments import name_of
from tidegate.core.flight import Reader
from tidegate.core.guard import said as verdicts
from tidegate.core.money import usd_text
from tidegate.core.ports import Codec, Encoder, Headers
from tidegate.core.world import World
from tidegate.gateway import Gateway
from tidegate.stages.record import status_of

MAX_TAGS = 16
KINDS = (None, "live", "eval")  # of calls, as clients may say them
# Of what a provider keeps, somebody may have put it there for a browser: a page, an image with a script.
INERT = (b"content-security-policy", b"sandbox; default-src 'none'")
WHOLE, STREAMED = b"content-type: application/json\r\n", b"content-type: text/event-stream; charset=utf-8\r\n"
USUAL = {  # all that almost every provider's head has for a client
    (b"content-type", b"application/json"): WHOLE,
    (b"content-type", b"text/event-stream"): b"content-type: text/event-stream\r\n",
}
UNBUFFERED = b"cache-control: no-cache\r\nx-accel-buffering: no\r\n"
MAX_TRIED = 8  # of those who did not answer: what a head tells of them


def new_call(world: World, incoming: Incoming, dialect: str, operation: str) -> Call:
    wall_ns, head = world.clock.wall_ns(), incoming.head
    call = Call(
        id=f"req_{wall_ns // 1_000_000:011x}{world.chance.hex()}",
        dialect=dialect,
        operation=operation,
        at_ms=wall_ns // 1_000_000,
        arrived_ns=world.clock.now_ns(),
        address=incoming.address,
        credential=head.credential,
        headers=head.headers,
        named=head.by_name,
        method=head.method,
        path=head.raw_path,
        query=head.query,
        intake=incoming.body,
        tried=incoming.tried,
    )
    if head.is_labelled:
        _labels(call, head)
    if head.wishes:
        call.wishes = Wishes(head.text(b"cache-control"), head.text(b"idempotency-key"))
    return call


def _labels(call: Call, head: Head) -> None:
    """What the client calls itself. Raises BadRequest."""
    kind = head.text(b"x-tidegate-kind")
    if kind not in KINDS:
        raise BadRequest(f"x-tidegate-kind: live or eval, not {kind!r}")
    call.kind = kind or "live"
    call.user = head.text(b"x-tidegate-user")
    call.session = head.text(b"x-tidegate-session") or head.text(b"x-claude-code-session-id")
    tags = head.text(b"x-tidegate-tags", MAX_LABEL * MAX_TAGS)
    if tags:
        call.tags = tuple(tag.strip()[:MAX_LABEL] for tag in tags.split(",")[:MAX_TAGS] if tag.strip())


async def handle(gateway: Gateway, incoming: Incoming, dialect: str, operation: str) -> None:
    """Answer one call. What is raised becomes an error in its dialect, at the edge."""
    world = gateway.world
    incoming.codec = codec = gateway.codec(dialect, operation)
    call = new_call(world, incoming, dialect, operation)
    incoming.told = partial(told, call, world)
    with Listening(world, incoming, call, None):
        await gateway.answer(call, partial(_send, world, incoming, call, codec))


def while_client_listens(world: World, incoming: Incoming, call: Call, body: bytes | None = None) -> Listening:
    """Run what is inside until it ends or the client leaves; in that case raise ClientGone.

    The watch begins when the body has been read, for both read from the same place. `body`: it has been already.
    """
    return Listening(world, incoming, call, body)


class Listening(msgspec.Struct, eq=False):
    """A client that is there. Our own server calls when it leaves; of another one somebody must ask, all the time."""

    _world: World
    _incoming: Incoming
    _call: Call
    _body: bytes | None
    _task: asyncio.Task[Any] | None = None
    _before: int = 0
    _gone: bool = False
    _over: bool = False
    _watch: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task(self._world.loop)
        assert task is not None
        self._before = task.cancelling()
        self._call.intake = self._intake

    def _intake(self) -> bytes | Awaitable[bytes]:
        body = self._body if self._body is not None else self._incoming.whole()
        if body is None:
            return self._rest()
        self._listen()
        return body

    async def _rest(self) -> bytes:
        body = await self._incoming.body()
        self._listen()
        return body

    def _listen(self) -> None:
        turn = self._incoming.turn
        if turn is not None:
            turn.on_leave(self._leave)
        else:
            self._watch = self._world.loop.create_task(self._incoming.left())
            self._watch.add_done_callback(self._watched)

    def _watched(self, watch: asyncio.Task[None]) -> None:
        if not watch.cancelled():
            self._leave()

    def _leave(self) -> None:
        if not self._over and self._task is not None:
            self._gone = True
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True  # `_leave` may be called late, and must not cancel what comes after this
        task, self._task = self._task, None
        if self._watch is not None:
            self._watch.cancel()
        if not self._gone or task is None or not isinstance(error, asyncio.CancelledError):
            return
        if task.uncancel() <= self._before:
            raise ClientGone from None


async def _send(world: World, incoming: Incoming, call: Call, codec: Codec, reply: Reply) -> None:
    """Write the reply as it comes: one write for each wake."""
    assert call.asked is not None and call.route is not None
    same = reply.as_asked and reply.head.dialect == call.dialect
    words = Words(codec, None if same else _encoder(call, codec))
    events = await reply.events.__anext__()
    stream = call.asked.stream
    if events[-1].error and not stream:
        raise events[-1].error
    fields = _passed(call, reply.head.headers if same else (), STREAMED if stream else WHOLE) + said(call, world)
    if events[-1].last:
        await incoming.answer_in(reply.head.status, fields, words.of(events))
        return
    await incoming.start(reply.head.status, parted(fields + UNBUFFERED))
    await incoming.piece(words.of(events), last=False)
    if same and incoming.turn is not None and isinstance(reply.events, Reader):
        reply.events.pour = Pouring(incoming.turn)
    async for events in reply.events:
        if events[-1].error and not stream:
            raise events[-1].error  # a body that is cut short has no place for words; the connection ends instead
        await incoming.piece(words.of(events), last=events[-1].last)


def _passed(call: Call, headers: Headers, kind: bytes) -> bytes:
    """What the provider's head tells the client; `kind` is the line of a content-type, where it says no other."""
    if len(headers) == 1 and call.operation != "raw" and (usual := USUAL.get(headers[0])):
        return usual
    passed = []
    for one in headers:
        if one[0] == b"content-type":
            kind = lines([one])
        elif not call.rooms or b"ratelimit" not in one[0]:  # the provider's own are about us, and not about who asks us
            passed.append(one)
    if call.operation == "raw":
        passed.append(INERT)
    return kind + lines(passed)


def _encoder(call: Call, codec: Codec) -> Encoder:
    assert call.asked is not None
    return codec.encoder(
        stream=call.asked.stream, wants_usage=call.asked.wants_usage, request_id=call.id, model=call.asked.model
    )


class Words:
    """Events as this client reads them. `encoder` is None where they are in its dialect already."""

    __slots__ = ("_codec", "_encoder")

    def __init__(self, codec: Codec, encoder: Encoder | None) -> None:
        self._codec = codec
        self._encoder = encoder

    def of(self, events: Sequence[Event]) -> bytes:
        if self._encoder is not None:
            text = self._encoder.feed(events)
        else:
            text = events[0].raw if len(events) == 1 else b"".join([event.raw for event in events])
        error = events[-1].error
        return text + self._codec.render_error_event(error, status_of(error)) if error else text


class Pouring:
    """Events that go to the client from the very callback in which they came: a flight's `Pour`."""

    __slots__ = ("_pour", "is_open")

    def __init__(self, turn: Turn) -> None:
        self.is_open = turn.flows
        self._pour = turn.pour

    def take(self, events: list[Event]) -> None:
        self._pour(events[0].raw if len(events) == 1 else b"".join([event.raw for event in events]))


def told(call: Call, world: World) -> Headers:
    """What the response's head tells of the call, as far as it is known when the head leaves."""
    return parted(said(call, world))


def said(call: Call, world: World) -> bytes:
    """The same, as the lines that it is."""
    attempts, route, target = call.attempts, call.route, call.answered_by
    text = f"x-tidegate-request-id: {call.id}\r\n"
    if route is not None:
        text += f"x-tidegate-route: {_safe(route.name)}\r\n"
    if target is not None:
        text += f"x-tidegate-target: {_safe(target)}\r\n"
    if call.chosen is not None:
        text += f"x-tidegate-tier: {_safe(call.chosen.tier)}\r\n"
        if call.chosen.checks:
            text += f"x-tidegate-cascade: {_safe('; '.join(one.line for one in call.chosen.checks))}\r\n"
    if attempts:
        text += f"x-tidegate-attempts: {len(attempts)}\r\n"
    if len(attempts) > 1 or call.passed_over:
        text += f"x-tidegate-tried: {_tried(call)}\r\n"
    if call.closed:
        cost = call.cost_nusd
        text += f"x-tidegate-cost-usd: {'unknown' if cost is None else usd_text(cost)}\r\n"
    if call.rooms:
        text += lines(room_headers(call.rooms, call.dialect, call.at_ms)).decode("latin-1")
    if world.counters.standing_in:
        text += f"x-tidegate-counting: {world.counters.standing_in}\r\n"
    if call.guarded.verdicts:
        text += f"x-tidegate-guards: {_safe(verdicts(call.guarded.verdicts))}\r\n"
    if call.arms:
        text += _arms(call)
    if call.notes:
        text += f"x-tidegate-notice: {_safe('; '.join(call.notes))}\r\n"
    if call.cached is not None:
        text += _cached(call.cached)
    if call.shrunk is not None or call.marked:
        text += _shrunk(call)
    if call.warnings:
        text += f"x-tidegate-warning: left out: {_safe('; '.join(call.warnings))}\r\n"
    now = world.clock.now_ns()
    overhead_ms = (now - call.arrived_ns - call.upstream_ns(now)) / 1e6
    return f"{text}x-tidegate-overhead-ms: {max(overhead_ms, 0.0):.3f}\r\n".encode("latin-1")


def _arms(call: Call) -> str:
    """What the call got of experiments, for those who may choose it: whoever takes part is not to know."""
    if call.principal is None or not call.principal.overrides:
        return ""
    arms = ", ".join(f"{name_of(one.experiment)}={one.arm}" for one in call.arms)
    return f"x-tidegate-experiment: {_safe(arms)}\r\n"


def _cached(cached: Cached) -> str:
    text = f"x-tidegate-cache: {cached.result}\r\n"
    if cached.found:
        text += f"x-tidegate-cache-layer: {cached.layer}\r\n"
    if cached.result == "hit":
        text += f"x-tidegate-cache-age: {cached.age_s}\r\n"
    if cached.result == "hit" or cached.saved_nusd:  # of one that is read along, when the other has been paid for
        text += f"x-tidegate-saved-usd: {usd_text(cached.saved_nusd)}\r\n"
    if cached.similarity is not None:
        text += f"x-tidegate-cache-similarity: {cached.similarity:.3f}\r\n"
    return text


def _shrunk(call: Call) -> str:
    one = call.shrunk
    said = ["as it came"]
    if one is not None:
        said = [*filter(None, (one.level, "trimmed" if one.trimmed else "")), f"before={one.before}; after={one.after}"]
    if call.marked:
        said.append(f"marked={call.marked}")
    return f"x-tidegate-shrunk: {'; '.join(said)}\r\n"


def _tried(call: Call) -> str:
    """Who did not answer, and why: main/m failed: HTTP 503; spare/m: set aside after 5 failures in a row."""
    tried = [f"{one.target.name} {one.outcome}: {one.said}" for one in call.attempts if one.said is not None]
    return "; ".join(_safe(one) for one in [*tried, *call.passed_over][:MAX_TRIED])


def _safe(name: str) -> str:
    """A name as a header can carry it: clients choose some of them."""
    if name.isascii() and name.isprintable():
        return name[:MAX_LABEL]
    return name.encode("ascii", "backslashreplace").translate(_PRINTABLE)[:MAX_LABEL].decode()


_PRINTABLE = bytes(byte if 0x20 <= byte < 0x7F else 0x3F for byte in range(256))
