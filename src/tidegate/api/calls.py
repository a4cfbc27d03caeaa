"""How does a call get in and its reply out? The same way for every dialect, streamed or not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from types import TracebackType

from tidegate.api.incoming import JSON, ClientGone, Incoming
from tidegate.api.rooms import room_headers
from tidegate.core.call import Cached, Call, Event, Reply, Wishes
from tidegate.core.errors import BadRequest
from tidegate.core.flight import Reader
from tidegate.core.guard import said
from tidegate.core.money import usd_text
from tidegate.core.ports import Codec, Encoder, Headers
from tidegate.core.world import World
from tidegate.gateway import Gateway
from tidegate.stages.record import status_of

MAX_LABEL = 256  # characters of a user, a session or a tag: they go into every row
MAX_TAGS = 16
LABELS = frozenset(
    (b"x-tidegate-user", b"x-tidegate-session", b"x-claude-code-session-id", b"x-tidegate-tags", b"x-tidegate-kind")
)
KINDS = (None, "live", "eval")  # of calls, as clients may say them
WISHES = frozenset((b"cache-control", b"idempotency-key"))
# Of what a provider keeps, somebody may have put it there for a browser: a page, an image with a script.
INERT = (b"content-security-policy", b"sandbox; default-src 'none'")
MAX_TRIED = 8  # of those who did not answer: what a head tells of them


def new_call(world: World, incoming: Incoming, dialect: str, operation: str) -> Call:
    wall_ns = world.clock.wall_ns()
    call = Call(
        id=f"req_{wall_ns // 1_000_000:011x}{world.chance.hex()}",
        dialect=dialect,
        operation=operation,
        at_ms=wall_ns // 1_000_000,
        arrived_ns=world.clock.now_ns(),
        address=incoming.address,
        headers=incoming.headers,
        named=incoming.by_name,
        method=incoming.method,
        path=incoming.raw_path,
        query=incoming.query,
        intake=incoming.body,
    )
    if not LABELS.isdisjoint(incoming.by_name):
        _labels(call, incoming)
    if not WISHES.isdisjoint(incoming.by_name):
        control, key = incoming.text(b"cache-control", MAX_LABEL), incoming.text(b"idempotency-key", MAX_LABEL)
        call.wishes = Wishes(control, key)
    return call


def _labels(call: Call, incoming: Incoming) -> None:
    """What the client calls itself. Raises BadRequest."""
    kind = incoming.text(b"x-tidegate-kind", MAX_LABEL)
    if kind not in KINDS:
        raise BadRequest(f"x-tidegate-kind: live or eval, not {kind!r}")
    call.kind = kind or "live"
    call.user = incoming.text(b"x-tidegate-user", MAX_LABEL)
    call.session = incoming.text(b"x-tidegate-session", MAX_LABEL) or incoming.text(
        b"x-claude-code-session-id", MAX_LABEL
    )
    tags = incoming.text(b"x-tidegate-tags", MAX_LABEL * MAX_TAGS)
    if tags:
        call.tags = tuple(tag.strip()[:MAX_LABEL] for tag in tags.split(",")[:MAX_TAGS] if tag.strip())


async def handle(gateway: Gateway, incoming: Incoming, dialect: str, operation: str) -> None:
    """Answer one call. What is raised becomes an error in its dialect, at the edge."""
    world = gateway.world
    incoming.codec = codec = gateway.codec(dialect, operation)
    call = new_call(world, incoming, dialect, operation)
    incoming.told = partial(told, call, world)
    with Listening(world, incoming, call, None):
        call.credential = incoming.credential
        await gateway.answer(call, partial(_send, world, incoming, call, codec))


def while_client_listens(world: World, incoming: Incoming, call: Call, body: bytes | None = None) -> Listening:
    """Run what is inside until it ends or the client leaves; in that case raise ClientGone.

    The watch begins when the body has been read, for both read from the same place. `body`: it has been already.
    """
    return Listening(world, incoming, call, body)


class Listening:
    """A client that is there. Our own server calls when it leaves; of another one somebody must ask, all the time."""

    __slots__ = ("_before", "_body", "_gone", "_incoming", "_over", "_task", "_watch", "_world")

    def __init__(self, world: World, incoming: Incoming, call: Call, body: bytes | None) -> None:
        self._world = world
        self._incoming = incoming
        self._body = body
        self._watch: asyncio.Task[None] | None = None
        self._gone = self._over = False
        call.intake = self._intake

    def __enter__(self) -> None:
        task = asyncio.current_task(self._world.loop)
        assert task is not None
        self._task = task
        self._before = task.cancelling()

    async def _intake(self) -> bytes:
        incoming = self._incoming
        body = self._body if self._body is not None else incoming.whole()
        if body is None:
            body = await incoming.body()
        if incoming.turn is not None:
            incoming.turn.on_leave(self._leave)
        else:
            self._watch = self._world.loop.create_task(incoming.left())
            self._watch.add_done_callback(self._watched)
        return body

    def _watched(self, watch: asyncio.Task[None]) -> None:
        if not watch.cancelled():
            self._leave()

    def _leave(self) -> None:
        if not self._over:
            self._gone = True
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True  # `_leave` may be called late, and must not cancel what comes after this
        if self._watch is not None:
            self._watch.cancel()
        if self._gone and isinstance(error, asyncio.CancelledError) and self._task.uncancel() <= self._before:
            raise ClientGone from None


async def _send(world: World, incoming: Incoming, call: Call, codec: Codec, reply: Reply) -> None:
    """Write the reply as it comes: one write for each wake."""
    assert call.asked is not None and call.route is not None
    same = reply.as_asked and reply.head.dialect == call.dialect
    words = Words(codec, None if same else _encoder(call, codec), incoming)
    events = await reply.events.__anext__()
    kind = b"text/event-stream; charset=utf-8" if call.asked.stream else JSON
    headers: list[tuple[bytes, bytes]] = []
    for one in reply.head.headers if same else ():
        if one[0] == b"content-type":
            kind = one[1]
        elif not call.rooms or b"ratelimit" not in one[0]:  # the provider's own are about us, and not about who asks us
            headers.append(one)
    headers += told(call, world)
    if call.operation == "raw":
        headers.append(INERT)
    if events[-1].last:
        if events[-1].error and not call.asked.stream:
            raise events[-1].error
        status, body = reply.head.status, words.of(events)
        if not incoming.answered(status, body, headers, kind):
            await incoming.answer(status, body, headers, kind)
        return
    headers.append((b"content-type", kind))
    await incoming.start(reply.head.status, [*headers, (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")])
    await incoming.piece(words.of(events), last=False)
    if same and isinstance(reply.events, Reader):
        reply.events.pour = words
    async for events in reply.events:
        if events[-1].error and not call.asked.stream:
            raise events[-1].error  # a body that is cut short has no place for words; the connection ends instead
        await incoming.piece(words.of(events), last=events[-1].last)


def _encoder(call: Call, codec: Codec) -> Encoder:
    assert call.asked is not None
    return codec.encoder(
        stream=call.asked.stream, wants_usage=call.asked.wants_usage, request_id=call.id, model=call.asked.model
    )


class Words:
    """Events as this client reads them. `encoder` is None where they are in its dialect already."""

    __slots__ = ("_codec", "_encoder", "_incoming")

    def __init__(self, codec: Codec, encoder: Encoder | None, incoming: Incoming) -> None:
        self._codec = codec
        self._encoder = encoder
        self._incoming = incoming

    def of(self, events: Sequence[Event]) -> bytes:
        if self._encoder is not None:
            text = self._encoder.feed(events)
        else:
            text = events[0].raw if len(events) == 1 else b"".join([event.raw for event in events])
        error = events[-1].error
        return text + self._codec.render_error_event(error, status_of(error)) if error else text

    def is_open(self) -> bool:
        return self._incoming.flows()

    def take(self, events: list[Event]) -> None:
        text = events[0].raw if len(events) == 1 else b"".join([event.raw for event in events])
        self._incoming.say(text)


def told(call: Call, world: World) -> Headers:
    """What the response's head tells of the call, as far as it is known when the head leaves."""
    attempts = call.attempts
    headers = [(b"x-tidegate-request-id", call.id.encode())]
    if call.route is not None:
        headers.append((b"x-tidegate-route", _safe(call.route.name)))
    if call.answered_by is not None:
        headers.append((b"x-tidegate-target", _safe(call.answered_by)))
    if attempts:
        headers.append((b"x-tidegate-attempts", b"%d" % len(attempts)))
    if len(attempts) > 1 or call.passed_over:
        headers.append((b"x-tidegate-tried", _tried(call)))
    if call.closed:
        cost = call.cost_nusd
        headers.append((b"x-tidegate-cost-usd", b"unknown" if cost is None else usd_text(cost).encode()))
    if call.rooms:
        headers += room_headers(call.rooms, call.dialect, call.at_ms)
    if world.counters.standing_in:
        headers.append((b"x-tidegate-counting", world.counters.standing_in.encode()))
    if call.guarded.verdicts:
        headers.append((b"x-tidegate-guards", _safe(said(call.guarded.verdicts))))
    if call.notes:
        headers.append((b"x-tidegate-notice", _safe("; ".join(call.notes))))
    if call.cached is not None:
        headers += _cached(call.cached)
    if call.warnings:
        headers.append((b"x-tidegate-warning", b"left out: " + _safe("; ".join(call.warnings))))
    now = world.clock.now_ns()
    overhead_ms = (now - call.arrived_ns - call.upstream_ns(now)) / 1e6
    headers.append((b"x-tidegate-overhead-ms", b"%.3f" % max(overhead_ms, 0.0)))
    return headers


def _cached(cached: Cached) -> Headers:
    headers = [(b"x-tidegate-cache", cached.result.encode())]
    if cached.found:
        headers.append((b"x-tidegate-cache-layer", cached.layer.encode()))
    if cached.result == "hit":
        headers.append((b"x-tidegate-cache-age", str(cached.age_s).encode()))
    if cached.result == "hit" or cached.saved_nusd:  # of one that is read along, when the other has been paid for
        headers.append((b"x-tidegate-saved-usd", usd_text(cached.saved_nusd).encode()))
    if cached.similarity is not None:
        headers.append((b"x-tidegate-cache-similarity", b"%.3f" % cached.similarity))
    return headers


def _tried(call: Call) -> bytes:
    """Who did not answer, and why: main/m failed: HTTP 503; spare/m: set aside after 5 failures in a row."""
    tried = [f"{one.target.name} {one.outcome}: {one.said}" for one in call.attempts if one.said is not None]
    return b"; ".join(_safe(one) for one in [*tried, *call.passed_over][:MAX_TRIED])


def _safe(name: str) -> bytes:
    """A name as a header can carry it: clients choose some of them."""
    if name.isascii() and name.isprintable():
        return name.encode()[:MAX_LABEL]
    return name.encode("ascii", "backslashreplace").translate(_PRINTABLE)[:MAX_LABEL]


_PRINTABLE = bytes(byte if 0x20 <= byte < 0x7F else 0x3F for byte in range(256))
