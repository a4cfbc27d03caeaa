"""What does a vendor speak, and who is it that is asked?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from tidegate.core.chat import Conversation, Written
from tidegate.core.errors import Complaint, TidegateError
from tidegate.core.ports.wire import Headers, Request, Timeouts
from tidegate.core.prompts import Preface

if TYPE_CHECKING:
    from tidegate.core.call import Asked, Call, Event, Metering, Target
    from tidegate.core.money import Price
    from tidegate.core.parcels import Terms
    from tidegate.core.values import Secret


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

    def prefaced(self, asked: Asked, preface: Preface) -> Written:
        """The client's bytes with a prompt's words before its own, without the object that named it. What the client
        says itself stays; parameters, tools and schema of the prompt are added where it says none.

        Raises BadRequest or PromptInvalid for what cannot be said here."""

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


@runtime_checkable
class TakesBatches(Protocol):
    """A provider that has batches of its own."""

    name: str
    dialect: str
    terms: Terms | None  # None: nothing is handed over to it

    def batch_price(self, model: str) -> Price | None:
        """None: not known, so nothing of that model is handed over."""

    def errand(self, method: str, path: str, body: bytes = b"", kind: bytes = b"application/json") -> Request:
        """Something to do with its files and batches; `path` as its clients have it."""
