"""What flows: a call, its attempts, and the events of its reply."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from tidegate.core.chat import Change, Channel
from tidegate.core.errors import TidegateError
from tidegate.core.experiments import Assigned
from tidegate.core.guard import UNGUARDED, Guarding
from tidegate.core.limits import Level, Limit, Role, Room
from tidegate.core.money import NO_USAGE, Price, Usage
from tidegate.core.tiers import Chosen
from tidegate.core.values import Moment

if TYPE_CHECKING:
    from tidegate.core.flight import Flight
    from tidegate.core.parcels import Parceled
    from tidegate.core.ports import Bill, Codec, Headers, Provider


class Principal(msgspec.Struct, frozen=True):
    """Who is asking, as the key or token tells."""

    key_id: str
    name: str
    role: Role = "member"
    team_id: str | None = None
    user_id: str | None = None
    organisation_id: str = "default"
    scopes: frozenset[str] = frozenset()
    endpoints: frozenset[str] = frozenset()  # it may use; none named: all but `account`
    routes: frozenset[str] = frozenset()  # it may ask for; none named: all that are not another team's
    networks: tuple[IPv4Network | IPv6Network, ...] = ()  # it may come from; none named: any
    tags: tuple[str, ...] = ()
    levels: tuple[Level, ...] = ()  # who is charged for its calls, from the organisation down to the key

    @property
    def admin(self) -> bool:
        return self.role == "admin"

    @property
    def overrides(self) -> bool:
        """Its calls may say in headers what is decided for others."""
        return self.admin or "override" in self.scopes


class Target(msgspec.Struct, frozen=True):
    """A model at a provider, as a route names it."""

    provider: Provider
    model: str
    weight: int = 1
    order: int = 1
    price: Price | None = None  # None: not known, and every row says so
    max_concurrent: int | None = None
    max_queue: int = 0
    queue_timeout_s: float = 0.0
    name: str = ""  # provider/model

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "name", f"{self.provider.name}/{self.model}")


Strategy = Literal["ordered", "weighted", "least_busy", "fastest"]
OnDisconnect = Literal["cancel", "drain"]
# Why an attempt was made: to begin with, again after a failure, with another key, at another target, by another route
# (three kinds), beside one that is slow, or since an answer would not do.
Why = Literal["first", "again", "key", "next", "fallback", "longer", "content_policy", "hedge", "cascade"]


class Hedge(msgspec.Struct, frozen=True):
    """Ask a second target when the first is slow."""

    after: Moment
    max_extra: float  # of the calls, at most so many twice


class Tier(msgspec.Struct, frozen=True):
    """One of several routes that may answer for another, from the cheapest to the dearest."""

    name: str
    route: Route
    named: str  # as the configuration calls that route


class Route(msgspec.Struct, frozen=True):
    """What a model name stands for: defaults and route merged once, at load."""

    name: str
    targets: tuple[Target, ...]  # by order
    timeout_s: float
    strategy: Strategy = "ordered"
    connect_s: float | None = None  # None, here and below: as `upstream` says
    first_token_s: float | None = None
    idle_s: float | None = None
    fallback: Route | None = None  # when nobody of `targets` has answered
    longer: Route | None = None  # for what is too long for them
    content_policy: Route | None = None  # for what their content filters refuse
    static_answer: str | None = None
    hedge: Hedge | None = None
    on_disconnect: OnDisconnect = "cancel"
    owner: str | None = None  # the team whose keys alone may ask for it
    limits: tuple[Limit, ...] = ()  # of all its callers together
    max_tokens: int = 4096  # of an answer, where the client does not say
    # whose guards, cache and ways to choose and to shrink hold: its own name, but for an arm that is another route
    policy: str = ""
    tiers: tuple[Tier, ...] = ()  # of which one is chosen for each call; `targets` are then those of all of them

    def __post_init__(self) -> None:
        if not self.policy:
            msgspec.structs.force_setattr(self, "policy", self.name)


HOP = b"x-tidegate-hop"  # how often a call went through a Tidegate: two may ask each other
Metering = Literal["tokens", "free", "unknown"]  # what a reply without usage has cost: an estimate, nothing, who knows


class Asked(msgspec.Struct, gc=False):
    """The typed minimum of a request, and where each value stands in its bytes."""

    codec: Codec
    body: bytes
    model: str
    stream: bool = False
    wants_usage: bool = False  # in the stream; unless asked for, the chunk that carries it is withheld
    user: str | None = None
    max_tokens: int | None = None  # of one answer, as the client says
    choices: int = 1  # answers
    whole: bool = True  # it says something itself; else only a prompt of the store can make it a request
    ceiling: int | None = None  # budgets: what `max_tokens` is when the client does not say
    typed: Any = None  # the codec's own struct
    spans: dict[str, tuple[int, int]] = {}  # top-level key → where its value begins and ends


class Event:
    """One step of a reply: the bytes that the provider sent, and what they mean. A reply that is not streamed is one.

    Codecs subclass it. `raw` is empty for what a client must not see (a usage chunk that only we asked for) and for an
    error of our own, which the API edge writes in the client's dialect.
    """

    __slots__ = ("error", "last", "opens", "raw", "usage")

    def __init__(
        self,
        raw: bytes = b"",
        *,
        opens: bool = False,
        last: bool = False,
        usage: Usage | None = None,
        error: TidegateError | None = None,
    ) -> None:
        self.raw = raw
        self.opens = opens  # carries content, a tool call, reasoning or an end: after it, nothing can be taken back
        self.last = last
        self.usage = usage
        self.error = error

    def texts(self) -> Iterable[tuple[Channel, str]]:
        """All that is text, by channel."""
        return ()

    def text_bytes(self) -> int:
        """How long all of that is, as UTF-8."""
        return sum(size(text) for _, text in self.texts())

    def changes(self) -> Sequence[Change]:
        """What this event means in any dialect."""
        return ()

    def places(self) -> Iterable[tuple[Channel, str, str]]:
        """All that is text, with the path where it stands: (channel, path, text). Of blocks, `tool` is the number."""
        return ()

    def chances(self) -> Iterable[float]:
        """Of its words, how sure the model was of each, as logarithms; none where the provider does not say."""
        return ()

    def without_chances(self) -> Event:
        """The same event for who has not asked for them."""
        return self

    def closes(self) -> Iterable[tuple[int, int | None]]:
        """Channels in which nothing comes after this event: (choice, tool), or all of a choice where that is None."""
        return ()

    def rewritten(self, texts: Mapping[str, tuple[str, str]]) -> Event:
        """The same event with other texts, by path: what stands there, and what is to. Raises Moved."""
        return self

    def more(self, channel: Channel, text: str) -> Event:
        """An event of the same reply that says just this."""
        return self


def size(text: str) -> int:
    """Of `text` as UTF-8, in bytes."""
    return len(text) if text.isascii() else len(text.encode())


class Attempt(msgspec.Struct, eq=False):
    """One request to one target, and how it ended."""

    target: Target
    sent_ns: int
    why: Why = "first"
    first_ns: int | None = None  # the first event that opens the reply
    ended_ns: int | None = None
    status: int | None = None
    outcome: str = "abandoned"  # until something better is known
    said: str | None = None
    usage: Usage = NO_USAGE
    usage_estimated: bool = False
    usage_unknown: bool = False  # it has cost something, and nobody says what
    text_bytes: int = 0  # what it has said so far, for the estimate
    _costed: Usage = NO_USAGE  # the usage that `_cost_nusd` is for
    _cost_nusd: int | None = 0

    @property
    def cost_nusd(self) -> int | None:
        """None when what was used is not known, or its price."""
        if self.usage_unknown:
            return None
        usage = self.usage
        if usage is not self._costed:  # many ask, and it changes once
            price = self.target.price
            self._cost_nusd = 0 if usage == NO_USAGE else price.cost_nusd(usage) if price else None
            self._costed = usage
        return self._cost_nusd


class ReplyHead(msgspec.Struct, frozen=True, gc=False):
    """What is known of a reply before its first event: the dialect of its bytes, and the headers that may pass."""

    dialect: str
    headers: Headers
    target: Target | None  # None: we answered ourselves
    status: int = 200


class Reply(Protocol):
    """What a client reads: the head, then non-empty lists of events; the very last event has `last=True`.

    `as_asked`: where its dialect is the client's, its bytes are what this client asked for. Not so when they were
    bought for one that wanted a stream and this one does not, or the other way round.
    """

    @property
    def head(self) -> ReplyHead: ...

    @property
    def events(self) -> AsyncIterator[list[Event]]: ...

    @property
    def as_asked(self) -> bool: ...


class Wishes(msgspec.Struct, frozen=True):
    """What a client says of paying twice."""

    cache_control: str | None = None
    idempotency_key: str | None = None
    use_cache: bool | None = None  # /api/chat: exact answers, whatever the route says; None: as it says


NO_WISHES = Wishes()
Layer = Literal["", "exact", "in_flight", "idempotent", "semantic"]


class Cached(msgspec.Struct, frozen=True):
    """What the cache did for a call."""

    result: Literal["hit", "miss", "shared", "bypass"]
    layer: Layer = ""
    age_s: int = 0
    saved_nusd: int = 0  # what it cost when it was bought
    similarity: float | None = None  # of the question that was answered, where it only means the same

    @property
    def found(self) -> bool:
        """Somebody else has paid, or pays."""
        return self.result in ("hit", "shared")


class Source(Protocol):
    """A reply as the upstream ring won it: its first events are there, the rest will be pushed."""

    head: ReplyHead

    def begin(self, push: Callable[[list[Event]], None]) -> None:
        """Call `push` with each non-empty list of events, from the socket's callback, first with those that are there.

        The very last event has `last=True`, and carries `error` if the reply broke. Nothing is raised.
        """

    def pause(self) -> None: ...

    def resume(self) -> None: ...


async def nothing() -> bytes:
    """What is left of a body that was taken in."""
    return b""


Priority = Literal["interactive", "batch"]  # who goes first where calls wait for a target


class PromptAsked(msgspec.Struct, frozen=True):
    """A prompt of the store that a call names; the messages it becomes come before the call's own."""

    id: str  # its name
    label: str | None = None  # neither: the label `production`
    version: int | None = None
    variables: Mapping[str, Any] = {}


class Own(msgspec.Struct, frozen=True):
    """Why the house makes a call itself."""

    purpose: str  # such as cache_check
    parent: str | None = None  # the call that it is made for
    depth: int = 1  # how far it is from a client's
    tier: str | None = None  # of the route, that alone is to answer


class Shrunk(msgspec.Struct, frozen=True, eq=False):
    """A request in fewer tokens: what goes out in its place, and how many they were, by estimate."""

    level: str | None
    before: int
    after: int
    asked: Asked
    trimmed: bool = False  # its oldest turns are a summary


class Call(msgspec.Struct, kw_only=True, eq=False):
    """One call, from its first line to its row. Owned by the task of its request; each field names who sets it."""

    # the API edge
    id: str
    dialect: str
    operation: str  # chat | complete | embed | count | raw | respond | rerank | image | speech
    kind: str = "live"  # live | batch | eval | shadow | guard
    asked_by: tuple[str, ...] = ()  # guards that it serves, outermost first: none of them looks at it
    at_ms: int  # since 1970
    arrived_ns: int  # by the clock that never goes back
    address: str = ""
    credential: str | Principal | None = None  # a presented key, or a known principal
    headers: Headers = ()
    named: Mapping[bytes, bytes] = {}  # of two alike, the first
    method: str = "POST"  # of the request, like the next two; only `raw` passes the path on
    path: str = ""
    query: bytes = b""
    intake: Callable[[], bytes | Awaitable[bytes]]  # the body, or the wait for it, bounded in size and time; once
    own: Own | None = None  # of a call of our own
    user: str | None = None
    session: str | None = None
    tags: tuple[str, ...] = ()
    wishes: Wishes = NO_WISHES
    tried: Assigned | None = None  # which of two configurations answers it, while another one is tried
    principal: Principal | None = None  # auth
    asked: Asked | None = None  # the gateway, from the codec
    asked_again: bool = False  # limits: in its session, nearly what the call before it had asked
    came: bytes = b""  # the very bytes that came
    outgoing: bytes = b""  # the same, unless somebody changed them
    prompt_asked: PromptAsked | None = None  # the gateway, from the body
    route: Route | None = None  # routes, then experiments; and what follows
    deadline_ns: int = 0  # by the clock that never goes back
    priority: Priority = "interactive"
    # limits and budgets
    hop: int = 0  # how often it came through a Tidegate before
    trace: Headers = ()  # the client's trace, as it goes on to a provider
    rooms: tuple[Room, ...] = ()  # of limits, as they were when it was counted
    notes: tuple[str, ...] = ()  # words for the client: what is nearly spent, what looks like a loop
    bill: Bill | None = None
    reserved_nusd: int = 0
    guarded: Guarding = UNGUARDED  # guardrails
    # experiments; of a call of our own, who makes it
    arms: tuple[Assigned, ...] = ()
    shadows: tuple[Assigned, ...] = ()  # experiments: what is to answer in the background
    pinned: Mapping[str, int] = {}  # experiments: versions of prompts that the arm wants, by name
    prompt: str | None = None  # prompts: name and version
    rendered: str | None = None  # prompts: the hash of that version, and a digest of the variables
    parceled: Parceled | None = None  # jobs: of a line that a provider's own batch may answer, or has answered
    cached: Cached | None = None  # cache: what it did; None: it was not asked
    # the flight: what the inner ring writes
    chosen: Chosen | None = None  # where the route has tiers
    held_ns: int = 0  # until then an answer was held back, to be looked at first
    flight: Flight | None = None  # while it is in the air; it closes the row when it lands
    shrunk: Shrunk | None = None  # what goes out, where the route wants it shorter; `asked` stays what came
    marked: int = 0  # parts of it that the last provider was told to keep
    attempts: list[Attempt] = []
    passed_over: list[str] = []  # targets that were not asked, and why: main/m: set aside, 5 failures in a row
    answered_by: str | None = None  # the target that won, or static_answer
    warnings: tuple[str, ...] = ()  # what the last attempt had to leave out for another dialect
    status: int | None = None  # record, and what follows
    error: TidegateError | None = None
    alike: Any = None  # what its records have in common with those of others
    closed: bool = False  # the row is spooled
    traced: bool = False  # record: its steps are told to somebody, and providers are told of theirs

    def __post_init__(self) -> None:
        if self.headers and not self.named:
            self.named = dict(reversed(self.headers))

    def take_in(self) -> bytes | Awaitable[bytes]:
        intake, self.intake = self.intake, nothing
        return intake()

    @property
    def sent(self) -> Asked | None:
        """What goes out to providers."""
        return self.asked if self.shrunk is None else self.shrunk.asked

    @property
    def is_bought(self) -> bool:
        """It comes with its answer, of a provider's own batch: that is paid for, whatever is decided now."""
        return self.parceled is not None and self.parceled.target is not None

    @property
    def usage(self) -> Usage:
        """The sum over attempts: one that failed after it had used tokens is not forgotten."""
        attempts = self.attempts
        if len(attempts) == 1:
            return attempts[0].usage
        total = NO_USAGE
        for attempt in attempts:
            total = attempt.usage if total is NO_USAGE else total + attempt.usage
        return total

    @property
    def cost_nusd(self) -> int | None:
        """The sum over attempts; None when one of them has no known price."""
        total = 0
        for attempt in self.attempts:
            cost = attempt.cost_nusd
            if cost is None:
                return None
            total += cost
        return total

    def upstream_ns(self, now_ns: int) -> int:
        """How long this call has waited for providers so far, the waits between attempts included."""
        attempts = self.attempts
        if not attempts:
            return 0
        if len(attempts) == 1:
            return (attempts[0].ended_ns or now_ns) - attempts[0].sent_ns
        return max(attempt.ended_ns or now_ns for attempt in attempts) - attempts[0].sent_ns
