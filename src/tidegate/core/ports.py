"""How the house reaches the world. Each protocol here has one contract suite, run against every adapter of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

import msgspec

from tidegate.core.chat import Conversation, Written
from tidegate.core.errors import Complaint, TidegateError
from tidegate.core.errors import StoreDown as StoreDown
from tidegate.core.guard import Finding, Part, Passed, Verdict
from tidegate.core.limits import Budget, Claim, Full, Limit, Meter, Role, Taken
from tidegate.core.usage import UsageAsked, UsageLine

if TYPE_CHECKING:
    from tidegate.core.call import Asked, Call, Event, Metering, Target
    from tidegate.core.money import Price
    from tidegate.core.values import Secret

Headers = Sequence[tuple[bytes, bytes]]  # lower-case names, in the order they came


# --- time ------------------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Time, and waiting for it. A test's clock jumps."""

    def now_ns(self) -> int:
        """Nanoseconds since some fixed point; never goes back."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970, as the machine believes."""

    async def sleep(self, seconds: float) -> None: ...


# --- the way to a provider -------------------------------------------------------------------------------------------


class Timeouts(msgspec.Struct, frozen=True, gc=False):
    """Seconds. Each bounds one kind of wait; `total` bounds the whole exchange, connecting included."""

    connect: float = 5.0
    first_byte: float = 60.0  # from the request's last byte to the end of the final response head
    idle: float = 60.0  # between two pieces of the body
    total: float = 600.0


class Request(msgspec.Struct, frozen=True, gc=False):
    """One HTTP request to a provider. `url` is absolute; `headers` need neither host nor content-length."""

    method: str
    url: str
    headers: Headers
    body: bytes = b""
    timeouts: Timeouts = Timeouts()


class Head(msgspec.Struct, frozen=True, gc=False):
    """The head of the final response (1xx are passed over)."""

    status: int
    headers: Headers

    def header(self, name: bytes) -> bytes | None:
        for key, value in self.headers:
            if key == name:
                return value
        return None


class TransportError(Exception):
    """An exchange ended early.

    `kind`: connect | tls | timeout | reset | protocol | too_large | closed. `sent` says whether any byte of the request
    may have reached the provider: when it is False, sending the request again is always safe.
    """

    def __init__(self, kind: str, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.kind = kind
        self.sent = sent


class Exchange(Protocol):
    """One request and its response, under way from the moment `send` returned it.

    Read it by pulling (`head`, then `read` until b"") or, after `head`, by `pipe`. Whoever leaves calls `close()`, at
    any time, once or often: it awaits nothing. After a complete response the connection goes back to the pool, else
    its socket is closed.
    """

    @property
    def sent(self) -> bool:
        """Whether any byte of the request may have reached the provider."""

    async def head(self) -> Head:
        """Wait for the head of the response. Raises TransportError."""

    async def read(self) -> bytes:
        """The next piece of the body as it comes; b"" at its end. Raises TransportError. Cancelling loses nothing."""

    def pipe(self, on_data: Callable[[bytes], None], on_end: Callable[[TransportError | None], None]) -> None:
        """From now on push: every further piece to `on_data`, then `on_end` exactly once (never after `close()`).

        Both are called on the event loop, from the socket's own callback (what was already buffered: before `pipe`
        returns), and must not raise.
        """

    def pause(self) -> None:
        """Stop reading from the socket: whoever reads us is slow. The idle timeout rests meanwhile."""

    def resume(self) -> None: ...

    def close(self) -> None: ...


class Transport(Protocol):
    """The pool of connections to all providers."""

    def send(self, request: Request) -> Exchange:
        """Begin at once and return; what goes wrong is raised where the exchange is read."""

    async def aclose(self) -> None: ...

    @property
    def busy(self) -> int:
        """Connections that carry an exchange or are being made."""


# --- what a vendor speaks --------------------------------------------------------------------------------------------


class Decoder(Protocol):
    """A provider's reply, bytes to events. Sans-I/O, one per attempt; the stream may be cut anywhere.

    Exactly the last event of a complete reply has `last=True`. Raises UpstreamFailed for what makes no sense.
    """

    def feed(self, data: bytes) -> list[Event]: ...

    def end(self) -> list[Event]:
        """The body has ended. Without a last event so far, the reply was cut off; the caller says so."""


class Encoder(Protocol):
    """Events of any dialect to the bytes of one client. Sans-I/O, one per reader."""

    def feed(self, events: Sequence[Event]) -> bytes: ...


class Codec(Protocol):
    """One dialect's words for one operation. Pure: no I/O, no state. Used from both sides: by the API edge towards a
    client, by the upstream ring towards a provider."""

    dialect: ClassVar[str]
    operation: ClassVar[str]
    path: ClassVar[str]  # below a provider's base URL: "/chat/completions"; "" for the one that the client asked for
    metering: ClassVar[Metering]

    def parse_request(self, body: bytes) -> Asked:
        """The typed minimum and where each value stands. Raises BadRequest, with the path of the field."""

    def outgoing(self, asked: Asked, model: str) -> bytes:
        """The body for a provider of the same dialect: the client's bytes with the few splices that must be."""

    def conversation(self, asked: Asked) -> Conversation:
        """The neutral form, whole. What has no neutral form is in it as `Opaque`."""

    def render_request(self, conversation: Conversation, model: str) -> Written:
        """The neutral form in this dialect. Raises BadRequest for what cannot be said in it; drops nothing silently."""

    def decoder(self, *, stream: bool, withhold_usage: bool) -> Decoder: ...

    def encoder(self, *, stream: bool, wants_usage: bool, request_id: str, model: str) -> Encoder: ...

    def parse_error(self, status: int, headers: Headers, body: bytes) -> Complaint:
        """What the provider says is wrong; empty when it does not say."""

    def render_error(self, error: TidegateError, status: int) -> bytes:
        """The body of an error response, as JSON."""

    def render_error_event(self, error: TidegateError, status: int) -> bytes:
        """The last event of a stream that failed."""

    def media_type(self, *, stream: bool) -> bytes | None:
        """What a provider's answer must call itself; None: whatever it likes."""

    def own_answer(self, asked: Asked) -> Event | None:
        """What we answer when no provider of the route has this operation; None when only a provider can."""

    def texts(self, asked: Asked) -> Iterator[tuple[str, str]]:
        """Every part of the request that is text: (path, text), in order."""

    def last_turn(self, asked: Asked) -> str:
        """What was said last, to which an answer is wanted; "" where there is no such thing."""


Codecs = Mapping[tuple[str, str], Codec]  # by (dialect, operation)


class PriceBook(Protocol):
    """What each vendor asks for each model."""

    def price(self, vendor: str, model: str) -> Price | None:
        """None when it is not known."""


class Provider(Protocol):
    """A vendor, an account with it, and how to reach it."""

    name: str
    ready: bool  # it may be asked; until then `start` is waited for
    why: str  # it is here, for people: configured | found in the environment | …
    dialect: str
    models: tuple[str, ...]  # those it is known to serve; others may be asked for by provider/model
    keys: tuple[Secret, ...]  # any of them will do; none where none is needed

    def serves(self, model: str) -> bool:
        """Whether it is worth asking for `model`."""

    def request(
        self, call: Call, target: Target, codec: Codec, body: bytes, timeouts: Timeouts, key: Secret | None
    ) -> Request:
        """`body` on its way to this provider: address, key and the headers that may pass."""

    def price(self, model: str) -> Price | None: ...

    def secrets(self) -> Iterable[str]:
        """Its keys, so that they can be cleaned from whatever a provider says back."""

    async def start(self) -> None:
        """Make ready what this provider needs (a process of ours). Returns when it may be asked."""

    async def aclose(self) -> None: ...

    def trouble(self) -> str | None:
        """Why this provider cannot be asked right now, and what to do; None when it can."""


# --- what is kept ----------------------------------------------------------------------------------------------------


DEFAULT_ORGANISATION = "default"  # every new store has it; whoever has no team belongs to it


class Organisation(msgspec.Struct, frozen=True):
    """The top level: what holds for all of its teams together."""

    id: str
    name: str
    created_ms: int
    disabled_ms: int | None = None  # nothing is ever deleted: the ledger's names must stay
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()


class Team(msgspec.Struct, frozen=True):
    id: str
    name: str
    created_ms: int
    organisation_id: str = DEFAULT_ORGANISATION
    disabled_ms: int | None = None
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()


class User(msgspec.Struct, frozen=True):
    """A person or a service that keys belong to; with tokens of an issuer, the one that the token names."""

    id: str
    name: str
    created_ms: int
    team_id: str | None = None
    role: Role = "member"
    disabled_ms: int | None = None
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()


class Key(msgspec.Struct, frozen=True):
    """A key as it is stored: never the key itself."""

    id: str
    name: str
    env: str
    digest: bytes  # HMAC-SHA-256 of the whole key under the pepper of `pepper_version`
    pepper_version: int
    created_ms: int
    role: Role = "member"
    team_id: str | None = None  # None: its user's
    user_id: str | None = None
    revoked_ms: int | None = None  # for ever
    disabled_ms: int | None = None  # until it is enabled
    expires_ms: int | None = None
    former_digest: bytes | None = None  # what it was before it was rotated, good until `former_until_ms`
    former_pepper_version: int | None = None
    former_until_ms: int | None = None
    routes: tuple[str, ...] = ()  # those it may ask for; none named: all that are not another team's
    endpoints: tuple[Endpoint, ...] = ()  # those it may use; none named: all but `account`
    scopes: tuple[Scope, ...] = ()
    addresses: tuple[str, ...] = ()  # networks it may come from, such as 10.0.0.0/8; none named: any
    tags: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()
    last_used_ms: int | None = None  # to the minute or so


Endpoint = Literal["chat", "complete", "embed", "count", "models", "raw", "account"]
Scope = Literal["batch", "override"]  # loops are its work · may say in headers what the route decides for others

Kept = TypeVar("Kept", Organisation, Team, User, Key)


class Bearer(msgspec.Struct, frozen=True):
    """A key, and all that it belongs to. Its team is the user's where it names none."""

    key: Key
    user: User | None
    team: Team | None
    organisation: Organisation | None


class Once(msgspec.Struct, frozen=True):
    """That something is done once: by whom it was begun, or what came of it."""

    id: str
    holder: str  # the call that began it
    asked: bytes  # a digest of what was asked: the same id for something else is a mistake
    until_ms: int  # begun: so long its holder has; done: so long it is kept
    done: bytes | None = None


class Store(Protocol):
    """The control plane: what is configured while running. Raises StoreDown when it cannot be asked."""

    async def bearer(self, key_id: str) -> Bearer | None:
        """In one step, and whether there is such a key or not in the same."""

    async def find(self, kind: type[Kept], id: str) -> Kept | None: ...

    async def every(self, kind: type[Kept]) -> list[Kept]:
        """All of them, ended ones too, oldest first."""

    async def add(self, one: Organisation | Team | User | Key) -> None:
        """Raises ValueError when the id exists."""

    async def change(self, one: Kept, **fields: Any) -> Kept | None:
        """Set `fields`, provided that they still are what they are in `one`: of two at once, one succeeds.

        Returns what is kept now; None when somebody else was first.
        """

    async def begin_once(self, once: Once, now_ms: int) -> Once | None:
        """Claim `once.id`. None: it is ours now. Else what stands there: done, or begun by somebody who still has time.

        What has expired, or was begun by somebody whose time is over, is replaced.
        """

    async def end_once(self, once: Once) -> None:
        """Replace what was begun; with neither `done` nor time left, it is dropped. Of others', nothing happens."""

    async def forget_begun(self) -> int:
        """Drop all that was begun and not done: nobody is there any more who could end it. How many there were."""

    async def note_used(self, at_ms: Mapping[str, int]) -> None:
        """When keys were last used, by id; unknown ones are passed over, and no time goes back."""

    async def aclose(self) -> None: ...


class AttemptRow(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One attempt, as the ledger keeps it. Times are microseconds since the call came in."""

    provider: str
    model: str
    outcome: str  # ok | refused | limited | failed | timeout | cut_off | abandoned
    sent_us: int
    ended_us: int
    first_us: int | None = None
    status: int | None = None
    said: str | None = None  # why it failed, cleaned of keys
    why: str = "first"  # it was made: first | again | key | next | fallback | longer | content_policy | hedge
    usage: dict[str, int] = {}
    usage_estimated: bool = False
    price: dict[str, Any] | None = None  # the price it was computed with: rates used and their source
    cost_nusd: int | None = 0  # None: the price is not known


class Opened(msgspec.Struct, frozen=True, tag="opened", tag_field="record", omit_defaults=True, gc=False):
    """Spooled before the first byte of a call goes upstream."""

    id: str
    at_ms: int
    key_id: str
    dialect: str
    operation: str
    route: str
    model: str
    stream: bool = False
    user: str | None = None
    session: str | None = None
    tags: tuple[str, ...] = ()
    kind: str = "live"
    organisation_id: str | None = None
    team_id: str | None = None
    user_id: str | None = None  # whom the key belongs to; `user` is whom the client named
    reserved_nusd: int = 0  # of a budget, for the most that it could cost


class Closed(msgspec.Struct, frozen=True, tag="closed", tag_field="record", omit_defaults=True, gc=False):
    """The end of a call, and its row. Spooled before the last event is released."""

    id: str
    at_ms: int
    key_id: str
    dialect: str
    operation: str
    outcome: str  # ok | refused | failed | cut_off | client_left | interrupted
    status: int  # as the client saw it; 499 when it had left before a status was sent
    duration_us: int
    overhead_us: int
    route: str | None = None
    model: str | None = None  # as the client asked
    target: str | None = None  # provider/model that answered
    stream: bool = False
    first_us: int | None = None
    error: str | None = None  # code
    attempts: tuple[AttemptRow, ...] = ()
    passed_over: tuple[str, ...] = ()  # targets that were not asked, and why
    usage: dict[str, int] = {}
    usage_estimated: bool = False
    cost_nusd: int | None = 0  # the sum over attempts; None when a price is not known
    at_most_nusd: int | None = None  # of one that was interrupted: what had been reserved for it
    user: str | None = None
    session: str | None = None
    tags: tuple[str, ...] = ()
    kind: str = "live"
    organisation_id: str | None = None
    team_id: str | None = None
    user_id: str | None = None
    prompt: str | None = None  # name and version
    cache: str | None = None  # what the cache did: hit | miss | shared | bypass; None: it was not asked
    cache_layer: str | None = None  # exact | in_flight | idempotent | semantic
    saved_nusd: int = 0  # what a hit, or what was shared, cost when it was bought
    deduplicated: bool = False  # somebody else asked the same at the same time, and paid
    guards: tuple[Verdict, ...] = ()  # of those that have looked


Record = Opened | Closed


class Ledger(Protocol):
    """What every call cost, append-only.

    `append` returns when the record outlives this process (kill -9), and is cheap enough for the event loop. Rows come
    to `find` and `totals` at once, to the store a moment later, each exactly once.
    """

    def append(self, record: Record) -> None:
        """Raises StorageFull; then nothing was written."""

    async def find(self, call_id: str) -> Closed | None: ...

    async def totals(self) -> Totals: ...

    def rows(self) -> AsyncIterator[Closed]:
        """All rows, oldest first: for exports and tests."""

    async def usage(self, asked: UsageAsked) -> list[UsageLine]:
        """Sums by hour, day or month. What was appended before is in them."""

    async def flush(self) -> None:
        """Return when everything appended so far is in the store."""

    async def aclose(self) -> None: ...


class Totals(msgspec.Struct, frozen=True):
    """Sums over all closed rows."""

    calls: int = 0
    errors: int = 0  # outcomes other than ok and client_left
    cost_nusd: int = 0
    unpriced: int = 0  # calls whose cost is not known
    tokens: int = 0


class Bill(Protocol):
    """What was set aside for a call, of tokens and money."""

    async def extend(self, target: Target) -> None:
        """Make sure that what was set aside is enough for one more attempt, at `target`, beside what those so far have
        cost or can still cost. Raises BudgetSpent or LimitReached, and then nothing more may be bought."""


class Counters(Protocol):
    """What all processes of one Tidegate count together. Raises StoreDown when nobody answers in time."""

    async def claim(self, claim: Claim, *, unasked: bool = False) -> Taken | Full:
        """One step that looks at all meters, and charges all or none; `unasked`: charges them in any case.

        Whoever leaves while waiting, or hears StoreDown, has claimed nothing.
        """

    def settle(self, claim: Claim, truth: Sequence[int]) -> None:
        """Each charge becomes what it was in truth. Once, by whoever claimed, at once or as soon as it can be told."""

    def knows(self, meter: Meter) -> bool:
        """Whether this count is whole; False when it ends with this process, which has not asked for it yet."""

    @property
    def standing_in(self) -> str | None:
        """What is done while those who count together cannot: local_share | deny | allow; None when all is well."""

    async def holds(self, house: str) -> int:
        """How many claims are neither settled nor lost; those whose holder died are swept first."""

    async def lease(self, name: str, holder: str, ttl_s: float) -> bool:
        """Whether `name` is `holder`'s for the next `ttl_s` seconds: nobody had it, it ran out, or it was theirs."""

    async def give_back(self, name: str, holder: str) -> None:
        """Of a lease that is another's by now, nothing happens."""

    async def note(self, board: str, name: str, value: bytes | None, ttl_s: float) -> None:
        """Leave `value` under `name` for the other processes, for so long; None takes it away."""

    async def notes(self, board: str) -> Mapping[str, bytes]:
        """All that stands on `board` now."""

    @property
    def together(self) -> bool:
        """Whether other processes count here too."""

    def recall(self, house: str, place: str) -> Awaitable[Sequence[bytes]]:
        """What was left in `place`, oldest first. Asked at once and awaited later, or never: a claim that is made
        meanwhile goes the same way. Raises StoreDown at either time."""

    def remember(self, house: str, place: str, item: bytes, most: int, ttl_s: float) -> None:
        """Leave `item` in `place`, where the last `most` are, for so long after the last of them. Nobody waits."""

    async def aclose(self) -> None: ...


class Blobs(Protocol):
    """Replies that were bought, by the digest of what was asked. Bounded: what was not read for longest leaves.

    Whoever asks can always do without: `get` raises StoreDown when nobody answers in time, and what cannot be put or
    purged in time is not heard of again.
    """

    async def get(self, key: bytes) -> bytes | None: ...

    def put(self, key: bytes, value: bytes, ttl_s: float, tags: Sequence[str] = ()) -> None:
        """Before any later `get` of this process. `tags` are what it can be purged by."""

    async def purge(self, tag: str | None = None) -> int:
        """Drop what has this tag, or everything; how many there were. Raises StoreDown."""

    async def aclose(self) -> None: ...


class Vault(Protocol):
    """What stored bytes look like. The first byte says how: 0 is plain."""

    def seal(self, plain: bytes) -> bytes: ...

    def unseal(self, stored: bytes) -> bytes:
        """Raises ValueError for a format that this vault does not know, or bytes that were changed."""


# --- what means the same ---------------------------------------------------------------------------------------------

Vector = bytes  # float32, little-endian, of length 1


class Embedder(Protocol):
    """A text as a vector: texts that mean the same are near each other."""

    name: str  # of the model and its exact weights: vectors of different names are never compared
    dimensions: int

    async def embed(self, text: str) -> Vector:
        """The same bytes for the same text; what is longer than the model reads is cut off. Never on the loop."""

    async def aclose(self) -> None: ...


class Answer(msgspec.Struct, frozen=True):
    """What an entry answers, reduced to what comparing needs. Entries with the same answer share its id."""

    id: str
    digest: bytes  # of the exact text
    sketch: bytes  # its embedding, rounded to one signed byte per number
    marks: tuple[str, ...] = ()  # numbers, ids, URLs, negations: what must agree


class Entry(msgspec.Struct, frozen=True):
    """A prompt that was answered. The reply itself lies elsewhere, under the same id."""

    id: str
    vector: Vector
    answer: Answer
    marks: tuple[str, ...] = ()


class Near(msgspec.Struct, frozen=True):
    """An entry beside a prompt."""

    id: str
    similarity: float  # cosine
    answer: str  # its id
    marks: tuple[str, ...]
    right: int  # how often it was found right, or wrong, when it was the candidate
    wrong: int


class Vectors(Protocol):
    """Entries by nearness, in partitions that never see each other (one per scope of the cache).

    Bounded: over the bound the least useful leave, those that were not near anything for longest. Raises StoreDown when
    it cannot be asked, and ValueError for a vector of another dimension than the partition holds.
    """

    async def nearest(self, partition: str, vector: Vector, count: int) -> Sequence[Near]:
        """At most `count`, nearest first."""

    async def answers(self, partition: str, ids: Sequence[str]) -> Sequence[Answer]:
        """The answers with these ids, in the same order; those that have left are left out."""

    async def add(self, partition: str, entry: Entry) -> Sequence[str]:
        """Remember it; what had its id is replaced. The ids of entries that left to make room."""

    async def judge(self, partition: str, entry: str, right: bool) -> None:
        """Add to its record; of one that has left, nothing happens."""

    async def forget(self, partition: str, entries: Sequence[str] | None = None) -> int:
        """Drop these, or the whole partition; how many there were."""

    async def aclose(self) -> None: ...


# --- what may pass ---------------------------------------------------------------------------------------------------


class Watch(Protocol):
    """A guard's look at one text that streams by. What it lets go can no longer become part of a finding.

    Whatever the pieces were, all that was let go, joined, is the text, and the findings are those of the whole.
    """

    def feed(self, text: str) -> Passed: ...

    def end(self) -> Passed:
        """Nothing more will come."""


class Guardrail(Protocol):
    """Looks for something in what people and models say. What is done about it, the route says."""

    fingerprint: str  # another one when it would find something else: answers are not shared across it

    async def check(self, call: Call, parts: Sequence[Part]) -> Sequence[Sequence[Finding]]:
        """What is found in each part of a request, in order of place, not overlapping. Long work is not done on the
        loop. Whatever is raised means: it has not looked."""

    def watch(self) -> Watch | None:
        """A look at one text of a reply; None: it looks at requests only."""


# --- what is told ----------------------------------------------------------------------------------------------------


class TargetSeen(msgspec.Struct, frozen=True):
    """How a target is doing, for people and metrics. Times are milliseconds since 1970."""

    target: str
    state: str  # closed: it is asked | open: it is set aside | half_open: one call tries it
    forced: bool  # by an admin
    why: str | None
    since_ms: int
    next_probe_ms: int | None
    busy: int  # calls under way
    waiting: int  # for one of them to end
    shed: int  # sent on at once, since the start
    first_token_ms: float | None  # lately


class Events(Protocol):
    """What happened, for whoever listens (logs, metrics). Must not raise, block, or take long."""

    def call_began(self, call: Call) -> None: ...

    def call_ended(self, call: Call, row: Closed | None) -> None:
        """Once per call. `row` is None when no key was known, so that nobody could be charged."""

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        """Something that an operator should know of, once: name is a few words, snake_case."""
