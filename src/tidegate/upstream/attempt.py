"""One request to one target: what it answers, event by event, and what that cost."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tidegate.core.call import Asked, Attempt, Call, Event, ReplyHead, Target, Why, size
from tidegate.core.errors import BadRequest, TidegateError, UpstreamCutOff, UpstreamFailed, UpstreamRefused
from tidegate.core.money import NO_USAGE, Usage, estimated_tokens
from tidegate.core.ports import Codec, Codecs, Decoder, Exchange, Head, Headers, Timeouts, TransportError
from tidegate.core.world import World
from tidegate.upstream import hints, retry
from tidegate.upstream.retry import UNWELL, Failure
from tidegate.upstream.targets import Ended, Seat

MAX_ERROR_BODY = 64 * 1024
MAX_PREAMBLE = 64 * 1024  # bytes held back before the first event that carries anything
TICK_S = 0.01  # timers are a little early or late
LINGER_S = 1.0  # for the end of a response whose last event is there: only then its connection can be used again

# What is the request's fault is given back in the provider's own words, when nobody else could do better.
GIVEN_BACK = ("refused", "too_long", "policy", "missing")

# What a provider's head may tell a client. All else is between the provider and us.
PASSING = frozenset((
    b"content-type",
    b"content-disposition",
    b"request-id",
    b"openai-processing-ms",
    b"openai-version",
    b"openai-model",
))  # fmt: skip
PASSING_PREFIXES = (b"x-ratelimit-", b"anthropic-ratelimit-")


class Stream:
    """One attempt, from its request to its last event. Once `win` returned None it is the call's `Source`.

    It holds its seat at the target, and gives it back when it has ended, however.
    """

    __slots__ = (
        "_attempt",
        "_call",
        "_decoder",
        "_ended",
        "_exchange",
        "_first",
        "_hurried",
        "_is_late",
        "_over",
        "_over_at",
        "_push",
        "_world",
        "head",
        "seat",
        "warnings",
    )

    head: ReplyHead

    def __init__(self, world: World, call: Call, target: Target, seat: Seat, why: Why) -> None:
        self.warnings: tuple[str, ...] = ()
        self._world = world
        self._call = call
        self.seat = seat
        self._attempt = Attempt(target, world.clock.now_ns(), why)
        self._hurried = False  # it has less time than it should have, so that a time-out says nothing of the target
        self._over_at = 0.0  # by the loop's clock: the call's own time is over
        self._ended: Ended = "left"
        self._exchange: Exchange | None = None
        self._decoder: Decoder | None = None
        self._first: list[Event] = []
        self._push: Callable[[list[Event]], None] | None = None
        self._over = False  # the response has ended
        self._is_late = False  # no first event within the time for it

    @property
    def target(self) -> Target:
        return self._attempt.target

    # --- before the first event: everything may fail, nothing has been seen

    async def win(self, codecs: Codecs, timeouts: Timeouts, *, hurried: bool = False) -> Failure | None:
        """None when the first event is there, else why there is none. `timeouts.first_byte` is for the first event."""
        self._hurried = hurried
        asked, target, attempt = self._call.asked, self._attempt.target, self._attempt
        assert asked is not None
        trouble = target.provider.trouble()
        if trouble:
            return self._failed(Failure("unreachable", trouble))
        try:
            codec = asked.codec
            if target.provider.dialect == codec.dialect:
                body = codec.outgoing(asked, target.model)
            else:
                codec = _codec(codecs, target, codec)
                body, self.warnings = codec.render_request(asked.codec.conversation(asked), target.model)
        except BadRequest as wrong:  # cannot be said in this provider's dialect
            return Failure("foreign", wrong.message, refusal=wrong)
        if not target.provider.ready:
            try:
                await target.provider.start()
            except UpstreamFailed as wrong:
                return self._failed(Failure("unreachable", wrong.message))
        exchange = self._send(asked, codec, body, timeouts)
        late = self._world.loop.call_later(timeouts.first_byte, self._late)
        try:
            head = await exchange.head()
            attempt.status = head.status
            if not 200 <= head.status < 300:
                wall_s = self._world.clock.wall_ns() / 1e9
                return self._failed(_refusal(target, codec, head, await _read_bounded(exchange), wall_s))
            self._check_kind(codec, head, stream=asked.stream)
            self.head = ReplyHead(codec.dialect, _passing(head.headers), target, head.status)
            while True:
                data = exchange.at_hand()
                if data is None:
                    data = await exchange.read()
                if self._begins(data):
                    return None
                if not data or sum(len(event.raw) for event in self._first) > MAX_PREAMBLE:
                    why = "64 KiB came and nothing in them" if data else "the answer ended before it began"
                    return self._failed(Failure("nonsense", why, attempt.status))
        except TransportError as error:
            return self._failed(self._broken(error, timeouts))
        except TidegateError as error:  # the decoder: what came is no answer
            return self._failed(_no_answer(target, codec, error, attempt.status))
        finally:
            late.cancel()

    def _send(self, asked: Asked, codec: Codec, body: bytes, timeouts: Timeouts) -> Exchange:
        call, attempt, world = self._call, self._attempt, self._world
        request = attempt.target.provider.request(call, attempt.target, codec, body, timeouts, self.seat.key)
        attempt.sent_ns = world.clock.now_ns()
        call.attempts.append(attempt)
        self._exchange = exchange = world.transport.send(request)
        self._decoder = codec.decoder(stream=asked.stream, withhold_usage=not asked.wants_usage)
        self._over_at = world.loop.time() + timeouts.total - TICK_S
        return exchange

    def _late(self) -> None:
        """The head may be there, and pings; but nothing that is an answer."""
        self._is_late = True
        if self._exchange is not None:
            self._exchange.close()

    def _broken(self, error: TransportError, timeouts: Timeouts) -> Failure:
        if self._is_late:
            said = f"{self._attempt.target.name} did not begin its answer within {timeouts.first_byte:g} s"
            return Failure("timeout", said, self._attempt.status)
        kind: retry.Kind = "timeout" if error.kind == "timeout" else "unreachable"
        if error.kind in ("protocol", "too_large"):
            kind = "nonsense"
        return Failure(kind, str(error), self._attempt.status)

    def _begins(self, data: bytes) -> bool:
        """Whether the reply begins with `data`. What carries nothing yet (a role, a ping) is held back."""
        assert self._decoder is not None
        self._over = not data
        events = self._decoder.feed(data) if data else self._decoder.end()
        if not events:
            return False
        self._first += events
        begun = False
        for event in events:
            begun = begun or event.opens or event.last
        if begun:
            attempt = self._attempt
            attempt.first_ns = now_ns = self._world.clock.now_ns()
            self.seat.answered(now_ns, (now_ns - attempt.sent_ns) / 1e9)
        self._note(events)
        return begun

    def _check_kind(self, codec: Codec, head: Head, *, stream: bool) -> None:
        wanted = codec.media_type(stream=stream)
        if wanted is not None and (b"content-type", wanted) in head.headers:
            return
        kind = head.header(b"content-type") or b""
        kind = kind.partition(b";")[0].strip().lower()
        if kind and wanted and kind != wanted:
            raise UpstreamFailed(f"it answered {kind.decode('latin-1')[:60]} instead of {wanted.decode()}")

    def _failed(self, failure: Failure) -> Failure:
        attempt = self._attempt
        attempt.outcome = failure.outcome
        attempt.said = failure.said
        if failure.kind in UNWELL:
            self._ended = "left" if failure.kind == "timeout" and self._hurried else "badly"
        elif failure.kind in GIVEN_BACK and self.seat.is_probe:
            self._ended = "well"  # it answers, whatever it says
        return failure

    # --- after it: pushed from the socket's callback, never raising

    def begin(self, push: Callable[[list[Event]], None]) -> None:
        self._push = push
        first, self._first = self._first, []
        push(first)
        if self._exchange is not None and not self._over:
            self._exchange.pipe(self._on_data, self._on_end)

    def pause(self) -> None:
        if self._exchange is not None:
            self._exchange.pause()

    def resume(self) -> None:
        if self._exchange is not None:
            self._exchange.resume()

    def _on_data(self, data: bytes) -> None:
        assert self._decoder is not None
        try:
            events = self._decoder.feed(data)
            if events:
                self._release(events)
        except TidegateError as wrong:
            self._break_off(f"{self._attempt.target.name} sent what makes no sense: {wrong.message}")

    def _on_end(self, error: TransportError | None) -> None:
        assert self._decoder is not None
        self._over = True
        name = self._attempt.target.name
        if error is not None:
            self._break_off(f"{name} was cut off: {error}")
            return
        try:
            self._release(self._decoder.end())
        except TidegateError as wrong:
            self._break_off(f"{name} sent what makes no sense: {wrong.message}")
        else:
            self._break_off(f"{name} ended its answer in the middle")

    def _release(self, events: list[Event]) -> None:
        if self._attempt.ended_ns is None and events and self._push is not None:
            self._note(events)
            self._push(events)

    def _break_off(self, said: str) -> None:
        self._release([Event(last=True, error=UpstreamCutOff(_cleaned(self._attempt.target, said)))])
        if self._exchange is not None:
            self._exchange.close()

    # --- the account of this attempt

    def _note(self, events: list[Event]) -> None:
        """What these events tell of usage and end."""
        attempt = self._attempt
        for event in events:
            if event.usage is not None:
                attempt.usage = event.usage
            elif event.opens:
                attempt.text_bytes += event.text_bytes()
            if event.last:
                attempt.outcome = "cut_off" if event.error else "ok"
                attempt.said = event.error.message if event.error else None
                out_of_time = event.error is not None and self._world.loop.time() >= self._over_at
                self._ended = "left" if out_of_time else "badly" if event.error else "well"
                self._end()

    def _end(self) -> None:
        """Stop the clock. A provider that worked and did not say for how much is estimated, and marked so."""
        attempt, asked = self._attempt, self._call.asked
        if attempt.ended_ns is not None:
            return
        attempt.ended_ns = self._world.clock.now_ns()
        self._give_seat_back()
        sent = self._exchange is not None and self._exchange.sent
        worked = sent and attempt.outcome in ("ok", "cut_off", "abandoned", "timeout")
        if not worked or asked is None or asked.codec.metering == "free":
            return
        told = attempt.usage != NO_USAGE
        if told and attempt.outcome == "ok":
            return
        said = estimated_tokens(attempt.text_bytes)
        if told:
            # Anthropic tells its input at the beginning, with an output of 1: of a reply that was cut off that is all.
            if said > attempt.usage.output_total:
                more = said - attempt.usage.output_total
                attempt.usage = msgspec.structs.replace(attempt.usage, output=attempt.usage.output + more)
                attempt.usage_estimated = True
            return
        if asked.codec.metering == "unknown":
            attempt.usage_unknown = self._call.method == "POST"  # looking something up costs nothing
            return
        heard = sum(size(text) for _, text in asked.codec.texts(asked))
        attempt.usage = Usage(input=estimated_tokens(heard), output=said)
        attempt.usage_estimated = True

    def _give_seat_back(self) -> None:
        attempt = self._attempt
        assert attempt.ended_ns is not None
        first_s = (attempt.first_ns - attempt.sent_ns) / 1e9 if attempt.first_ns else None
        took_s = (attempt.ended_ns - attempt.sent_ns) / 1e9
        self.seat.give_back(attempt.ended_ns, self._ended, first_s=first_s, took_s=took_s, why=attempt.said or "")

    def outrun(self) -> None:
        """Another one was faster. What it would have taken is not known, but that it is longer than this."""
        attempt = self._attempt
        if self._exchange is not None and attempt.ended_ns is None:
            attempt.said = "another one answered first"
            self.seat.state.first.add((self._world.clock.now_ns() - attempt.sent_ns) / 1e9)
        self.close()

    def close(self) -> None:
        """Leave, at any time: the account is closed, and the socket freed, at once or when a whole reply has ended."""
        if self._exchange is not None:
            if self._attempt.outcome == "ok" and not self._over:
                self._world.loop.call_later(LINGER_S, self._exchange.close)
            else:
                self._exchange.close()
        if self._attempt.ended_ns is None:
            self._end()


def _codec(codecs: Codecs, target: Target, client: Codec) -> Codec:
    """How the provider says what the client asks for."""
    codec = codecs.get((target.provider.dialect, client.operation))
    if codec is None:
        raise BadRequest(
            f"{target.name} speaks {target.provider.dialect}, which has no {client.operation!r}; ask a route that has"
        )
    return codec


async def _read_bounded(exchange: Exchange) -> bytes:
    """The body of an error, or as much of it as anyone will read."""
    body = b""
    while len(body) < MAX_ERROR_BODY:
        data = await exchange.read()
        if not data:
            break
        body += data
    return body[:MAX_ERROR_BODY]


def _refusal(target: Target, codec: Codec, head: Head, body: bytes, wall_s: float) -> Failure:
    """What an error response means. The provider's words are cleaned of its keys before anyone sees them."""
    for secret in target.provider.secrets():
        body = body.replace(secret.encode(), b"[key]")
    complaint = codec.parse_error(head.status, head.headers, body)
    kind = retry.classify(codec.dialect, head.status, complaint)
    words = complaint.message[:500]
    said = f"HTTP {head.status}" + (f" ({words})" if words else "")
    if kind == "key" and head.status in (401, 402, 403):
        said = f"HTTP {head.status}: it does not accept Tidegate's key"
    refusal = None
    if kind in GIVEN_BACK:
        content_type = (head.header(b"content-type") or b"").decode("latin-1")
        refusal = UpstreamRefused(
            words or f"{target.name} refused the request with HTTP {head.status}",
            status=head.status,
            dialect=codec.dialect,
            body=body if words else b"",  # without words it is none that a client could read: cut, HTML, nothing
            content_type=content_type,
        )
    return Failure(
        kind, said, head.status, hints.retry_after_s(head, wall_s), refusal, should_retry=hints.should_retry(head)
    )


def _no_answer(target: Target, codec: Codec, error: TidegateError, status: int | None) -> Failure:
    """What came with a good status and is none: nonsense, or an error where an answer should be."""
    said = _cleaned(target, error.message)
    complaint = error.complaint if isinstance(error, UpstreamFailed) else None
    if complaint is None:
        return Failure("nonsense", said, status, error.retry_after_s)
    kind = retry.classify(codec.dialect, 200, complaint)
    refusal = None
    if kind in GIVEN_BACK:
        refusal = UpstreamRefused(said, status=400, dialect=codec.dialect, body=b"", content_type="")
    return Failure(kind, said, status, error.retry_after_s, refusal)


def _cleaned(target: Target, said: str) -> str:
    """The words of a provider, without its keys: some repeat the one that they do not like."""
    for secret in target.provider.secrets():
        said = said.replace(secret, "[key]")
    return said


def _passing(headers: Headers) -> Headers:
    return [(name, value) for name, value in headers if name in PASSING or name.startswith(PASSING_PREFIXES)]
