"""How the house reaches the world. Each protocol here has one contract suite, run against every adapter of it."""

from __future__ import annotations

from typing import Protocol

from tidegate.core.errors import StoreDown as StoreDown
from tidegate.core.ports.batches import Batches as Batches
from tidegate.core.ports.blobs import Blobs as Blobs
from tidegate.core.ports.books import Acted as Acted
from tidegate.core.ports.books import AttemptRow as AttemptRow
from tidegate.core.ports.books import Backlog as Backlog
from tidegate.core.ports.books import CallsFound as CallsFound
from tidegate.core.ports.books import CallsTaken as CallsTaken
from tidegate.core.ports.books import Closed as Closed
from tidegate.core.ports.books import Ledger as Ledger
from tidegate.core.ports.books import Opened as Opened
from tidegate.core.ports.books import Record as Record
from tidegate.core.ports.books import ShrunkRow as ShrunkRow
from tidegate.core.ports.books import Totals as Totals
from tidegate.core.ports.compressors import Compressor as Compressor
from tidegate.core.ports.counters import Bill as Bill
from tidegate.core.ports.counters import Counters as Counters
from tidegate.core.ports.guards import Answering as Answering
from tidegate.core.ports.guards import Guardrail as Guardrail
from tidegate.core.ports.guards import Reach as Reach
from tidegate.core.ports.guards import Reaching as Reaching
from tidegate.core.ports.guards import Watch as Watch
from tidegate.core.ports.kept import Bodies as Bodies
from tidegate.core.ports.kept import Body as Body
from tidegate.core.ports.lessons import Heard as Heard
from tidegate.core.ports.lessons import Lesson as Lesson
from tidegate.core.ports.lessons import Lessons as Lessons
from tidegate.core.ports.meaning import Answer as Answer
from tidegate.core.ports.meaning import Embedder as Embedder
from tidegate.core.ports.meaning import Entry as Entry
from tidegate.core.ports.meaning import Learned as Learned
from tidegate.core.ports.meaning import Near as Near
from tidegate.core.ports.meaning import Vector as Vector
from tidegate.core.ports.meaning import Vectors as Vectors
from tidegate.core.ports.people import DEFAULT_ORGANISATION as DEFAULT_ORGANISATION
from tidegate.core.ports.people import Anything as Anything
from tidegate.core.ports.people import Bearer as Bearer
from tidegate.core.ports.people import Endpoint as Endpoint
from tidegate.core.ports.people import Kept as Kept
from tidegate.core.ports.people import Key as Key
from tidegate.core.ports.people import Named as Named
from tidegate.core.ports.people import Once as Once
from tidegate.core.ports.people import Organisation as Organisation
from tidegate.core.ports.people import Scope as Scope
from tidegate.core.ports.people import Setting as Setting
from tidegate.core.ports.people import Store as Store
from tidegate.core.ports.people import Team as Team
from tidegate.core.ports.people import User as User
from tidegate.core.ports.relay import Relay as Relay
from tidegate.core.ports.scorers import Bench as Bench
from tidegate.core.ports.scorers import Loading as Loading
from tidegate.core.ports.scorers import Scorer as Scorer
from tidegate.core.ports.sealed import Erased as Erased
from tidegate.core.ports.sealed import Keyring as Keyring
from tidegate.core.ports.sealed import Place as Place
from tidegate.core.ports.sealed import Subject as Subject
from tidegate.core.ports.sealed import Vault as Vault
from tidegate.core.ports.sealed import Wrapped as Wrapped
from tidegate.core.ports.told import Events as Events
from tidegate.core.ports.told import TargetSeen as TargetSeen
from tidegate.core.ports.vendor import Codec as Codec
from tidegate.core.ports.vendor import Codecs as Codecs
from tidegate.core.ports.vendor import Decoder as Decoder
from tidegate.core.ports.vendor import Encoder as Encoder
from tidegate.core.ports.vendor import PriceBook as PriceBook
from tidegate.core.ports.vendor import Provider as Provider
from tidegate.core.ports.wire import Exchange as Exchange
from tidegate.core.ports.wire import Head as Head
from tidegate.core.ports.wire import Headers as Headers
from tidegate.core.ports.wire import Request as Request
from tidegate.core.ports.wire import Timeouts as Timeouts
from tidegate.core.ports.wire import Transport as Transport
from tidegate.core.ports.wire import TransportError as TransportError


class Clock(Protocol):
    """Time, and waiting for it. A test's clock jumps."""

    def now_ns(self) -> int:
        """Nanoseconds since some fixed point; never goes back."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970, as the machine believes."""

    async def sleep(self, seconds: float) -> None: ...
