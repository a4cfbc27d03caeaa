"""One request to one target: what it answers, event by event, and what that cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from tidegate.core.call import Asked, Attempt, Call, Event, ReplyHead, Target, size
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


Mark = Callable[[Codec, bytes], tuple[bytes, int]]  # what the provider shall keep, and how many parts that is


class Stream(msgspec.Struct, eq=False):
    """One attempt, from its request to its last event. Once `win` returned None it is the call's `Source`.

    It holds its seat at the target, and gives it back when it has ended, however.
    """

    _world: World
    _call: Call
    seat: Seat
    _attempt: Attempt
    _mark: Mark | None = None
    warnings: tuple[str, ...] = ()
    _hurried: bool = False  # it has less time than it should have, so that a time-out says nothing of the target
    _over_at: float = 0.0  # by the loop's clock: the call's own time is over
    _ended: Ended = "left"
    _first: list[Event] = []  # until somebody listens
    _push: Callable[[list[Event]], None] | None = None
    _over: bool = False  # the response has ended
    # One of these two, once it is decided whether this is an answer.
    _begun: bool = False
    _failure: Failure | None = None
    _decided: asyncio.Future[None] | None = None
    _complaint: bytearray | None = None  # as much of an error as anyone will read, and its head
    _error_head: Head | None = None
    _exchange: Exchange | None = None
    # Known from the moment that it is asked.
    _codec: Codec = msgspec.UNSET  # type: ignore[assignment]
    _decoder: Decoder = msgspec.UNSET  # type: ignore[assignment]
    _timeouts: Timeouts = msgspec.UNSET  # type: ignore[assignment]
    head: ReplyHead = msgspec.UNSET  # type: ignore[assignment]

    @property
    def target(self) -> Target:
        return self._attempt.target

    # --- before the first event: everything may fail, nothing has been seen

    async def win(self, codecs: Codecs, timeouts: Timeouts, *, hurried: bool = False) -> Failure | None:
        """None when the first event is there, else why there is none. `timeouts.first_byte` is for the first event."""
        self._hurried = hurried
        asked, target = self._call.sent, self._attempt.target
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
        if self._mark is not None:
            body, self._call.marked = self._mark(codec, body)
        if not target.provider.ready:
            try:
                await target.provider.start()
            except UpstreamFailed as wrong:
                return self._failed(Failure("unreachable", wrong.message))
        self._send(asked, codec, body, timeouts)
        if not self._begun and self._failure is None:
            loop = self._world.loop
            late = loop.call_later(timeouts.first_byte, self._late)
            self._decided = loop.create_future()
            try:
                await self._decided
            finally:
                late.cancel()
        return self._failure

    def _send(self, asked: Asked, codec: Codec, body: bytes, timeouts: Timeouts) -> None:
        call, attempt, world = self._call, self._attempt, self._world
        request = attempt.target.provider.request(call, attempt.target, codec, body, timeouts, self.seat.key)
        attempt.sent_ns = world.clock.now_ns()
        call.attempts.append(attempt)
        self._codec, self._timeouts = codec, timeouts
        self._exchange = exchange = world.transport.send(request)
        self._decoder = codec.decoder(stream=asked.stream, withhold_usage=not asked.wants_usage)
        self._over_at = world.loop.time() + timeouts.total - TICK_S
        exchange.pipe(self._on_data, self._on_end, self._on_head)

    def _decide(self, failure: Failure | None) -> None:
        """It is an answer, or `failure` says why not. What comes after a failure is not heard."""
        if failure is None:
            self._begun = True
        else:
            self._failure = self._failed(failure)
        if self._decided is not None and not self._decided.done():
            self._decided.set_result(None)

    def _late(self) -> None:
        """The head may be there, and pings; but nothing that is an answer."""
        if not self._begun and self._failure is None:
            said = f"{self._attempt.target.name} did not begin its answer within {self._timeouts.first_byte:g} s"
            self._decide(Failure("timeout", said, self._attempt.status))
            if self._exchange is not None:
                self._exchange.close()

    def _on_head(self, head: Head) -> None:
        asked, attempt, codec = self._call.asked, self._attempt, self._codec
        assert asked is not None
        attempt.status = head.status
        if not 200 <= head.status < 300:
            self._complaint = bytearray()
            self._error_head = head
            return
        wrong = _wrong_kind(codec, head, stream=asked.stream)
        if wrong is not None:
            self._decide(_no_answer(attempt.target, codec, wrong, head.status))
        else:
            self.head = ReplyHead(codec.dialect, _passing(head.headers), attempt.target, head.status)

    def _broken(self, error: TransportError) -> Failure:
        kind: retry.Kind = "timeout" if error.kind == "timeout" else "unreachable"
        if error.kind in ("protocol", "too_large"):
            kind = "nonsense"
        return Failure(kind, str(error), self._attempt.status)

    def _hold(self, events: list[Event]) -> None:
        """Nobody listens yet. What carries nothing (a role, a ping) is held back until something does."""
        attempt = self._attempt
        if not self._begun:
            for event in events:
                if event.opens or event.last:
                    attempt.first_ns = now_ns = self._world.clock.now_ns()
                    self.seat.answered(now_ns, (now_ns - attempt.sent_ns) / 1e9)
                    self._decide(None)
                    break
        self._first += events
        self._note(events)
        if not self._begun and sum(len(event.raw) for event in self._first) > MAX_PREAMBLE:
            self._decide(Failure("nonsense", "64 KiB came and nothing in them", attempt.status))

    def _failed(self, failure: Failure) -> Failure:
        attempt = self._attempt
        attempt.outcome = failure.outcome
        attempt.said = failure.said
        if failure.kind in UNWELL:
            self._ended = "left" if failure.kind == "timeout" and self._hurried else "badly"
        elif failure.kind in GIVEN_BACK and self.seat.is_probe:
            self._ended = "well"  # it answers, whatever it says
        return failure

    # --- after it: pushed to whoever listens

    def begin(self, push: Callable[[list[Event]], None]) -> None:
        self._push = push
        first, self._first = self._first, []
        push(first)

    def pause(self) -> None:
        if self._exchange is not None:
            self._exchange.pause()

    def resume(self) -> None:
        if self._exchange is not None:
            self._exchange.resume()

    # --- told by the exchange, from the socket's callback, never raising

    def _on_data(self, data: bytes) -> None:
        if self._complaint is not None:
            self._complain(data)
            return
        try:
            events = self._decoder.feed(data)
        except TidegateError as wrong:
            self._makes_no_sense(wrong)
            return
        if self._push is not None and events and self._attempt.ended_ns is None:
            self._note(events)
            self._push(events)
        elif events:
            self._release(events)

    def _on_end(self, error: TransportError | None) -> None:
        self._over = True
        if self._complaint is not None and error is None:
            self._complain(b"")
        elif error is not None:
            self._cut_off(error)
        else:
            try:
                self._release(self._decoder.end())
            except TidegateError as wrong:
                self._makes_no_sense(wrong)
            else:
                self._end_early()

    def _release(self, events: list[Event]) -> None:
        if self._attempt.ended_ns is not None or self._failure is not None or not events:
            return
        push = self._push
        if push is None:
            self._hold(events)
        else:
            self._note(events)
            push(events)

    def _complain(self, data: bytes) -> None:
        """More of an error, or its end."""
        head, complaint = self._error_head, self._complaint
        if self._failure is None and head is not None and complaint is not None:
            complaint += data
            if not data or len(complaint) >= MAX_ERROR_BODY:
                said, wall_s = bytes(complaint[:MAX_ERROR_BODY]), self._world.clock.wall_ns() / 1e9
                self._decide(_refusal(self._attempt.target, self._codec, head, said, wall_s))

    def _makes_no_sense(self, wrong: TidegateError) -> None:
        if self._begun:
            self._break_off(f"{self._attempt.target.name} sent what makes no sense: {wrong.message}")
        elif self._failure is None:
            self._decide(_no_answer(self._attempt.target, self._codec, wrong, self._attempt.status))

    def _cut_off(self, error: TransportError) -> None:
        if self._begun:
            self._break_off(f"{self._attempt.target.name} was cut off: {error}")
        elif self._failure is None:
            self._decide(self._broken(error))

    def _end_early(self) -> None:
        """Unless it had ended before."""
        if self._attempt.ended_ns is not None:
            return
        if self._begun:
            self._break_off(f"{self._attempt.target.name} ended its answer in the middle")
        elif self._failure is None:
            self._decide(Failure("nonsense", "the answer ended before it began", self._attempt.status))

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
        attempt, asked = self._attempt, self._call.sent
        if attempt.ended_ns is not None:
            return
        attempt.ended_ns = now_ns = self._world.clock.now_ns()
        first_s = (attempt.first_ns - attempt.sent_ns) / 1e9 if attempt.first_ns else None
        took_s = (now_ns - attempt.sent_ns) / 1e9
        self.seat.give_back(now_ns, self._ended, first_s=first_s, took_s=took_s, why=attempt.said or "")
        told = attempt.usage != NO_USAGE
        if told and attempt.outcome == "ok":
            return
        sent = self._exchange is not None and self._exchange.sent
        worked = sent and attempt.outcome in ("ok", "cut_off", "abandoned", "timeout")
        if not worked or asked is None or asked.codec.metering == "free":
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

    def outrun(self) -> None:
        """Another one was faster. What it would have taken is not known, but that it is longer than this."""
        attempt = self._attempt
        if self._exchange is not None and attempt.ended_ns is None:
            attempt.said = "another one answered first"
            self.seat.state.first.add((self._world.clock.now_ns() - attempt.sent_ns) / 1e9)
        self.close()

    def close(self) -> None:
        """Leave, at any time: the account is closed, and the socket freed, at once or when a whole reply has ended."""
        if self._exchange is not None and not self._over:  # else it has let go of everything
            if self._attempt.outcome == "ok":
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


def _wrong_kind(codec: Codec, head: Head, *, stream: bool) -> UpstreamFailed | None:
    """What came instead of an answer, as the head says."""
    wanted = codec.media_type(stream=stream)
    if wanted is not None and (b"content-type", wanted) in head.headers:
        return None
    kind = head.header(b"content-type") or b""
    kind = kind.partition(b";")[0].strip().lower()
    if kind and wanted and kind != wanted:
        return UpstreamFailed(f"it answered {kind.decode('latin-1')[:60]} instead of {wanted.decode()}")
    return None


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
