"""What is handed over to a provider's own batch? Lines of one batch for one model: a parcel, as it goes and comes back.

A line goes through the front door twice. On its way out it is guarded, looked up in the cache and paid in advance, and
then it is not asked but handed over; what comes back goes in by the same door, as the answer to that call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from tidegate.core.errors import IssuerDown, ShuttingDown, StorageFull, StoreDown, TidegateError
from tidegate.core.values import Duration, Size

if TYPE_CHECKING:
    from tidegate.core.call import Event, Target
    from tidegate.core.money import Price
    from tidegate.core.ports import TakesBatches

HOME = "home"  # in place of a parcel: a line that a provider's batch has not answered, and that we ask

COMES_AGAIN = (StorageFull, StoreDown, IssuerDown, ShuttingDown)  # what came back is brought in once more after these


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's own batches, for less money: lines of our batches that have the time are handed over to them.

    discount: the share of the usual price that it takes off, such as 0.5.
    price: dollars per million tokens in its batches, where that is no share of the usual price.
    least: how much time a batch must have left.
    back: so long before a batch expires what is still there is taken back, and asked by us.
    look: how long after it was sent it is first asked whether it is done; later less and less often.
    max_lines: of one batch at the provider.
    max_bytes: and how large that may be.
    """

    discount: Annotated[float, Meta(ge=0, le=1)] | None = None
    price: dict[str, float] | None = None
    least: Duration = Duration(6 * 3600)
    back: Duration = Duration(2 * 3600)
    look: Duration = Duration(15)
    max_lines: Annotated[int, Meta(ge=1, le=50_000)] = 10_000
    max_bytes: Annotated[Size, Meta(ge=1, le=200_000_000)] = Size(32 * 1024 * 1024)


class Parceled(msgspec.Struct):
    """On a call: a line that may be handed over; or what came back for it, and who has answered."""

    left_s: float = 0.0  # until its batch expires
    target: Target | None = None  # None: it goes out; else who has answered, at the price that it was handed over at
    body: bytes = b""
    events: Sequence[Event] = ()  # what `body` says
    charged: bool = False  # budgets know of it


class HandedOver(TidegateError):
    """It is not asked now: it goes with a parcel, and `release` gives back what was set aside for it."""

    code: ClassVar[str] = "handed_over"
    status: ClassVar[int] = 202

    def __init__(self, provider: TakesBatches, model: str, price: Price, path: str, body: bytes) -> None:
        super().__init__(f"handed over to {provider.name}")
        self.provider = provider
        self.model = model
        self.price = price
        self.path = path
        self.body = body
        self.release: Callable[[], None] = _nothing


def _nothing() -> None: ...


class Parcel(msgspec.Struct, frozen=True):
    """Lines of one batch that are with a provider. `remote` is its id there, once that is known."""

    id: str
    batch: str
    provider: str
    model: str
    lines: int
    made_ms: int
    state: Literal["sending", "away"] = "sending"
    remote: str = ""
    look_ms: int = 0  # when it is looked after next
    tries: int = 0  # in vain, one after the other
    cancelled: bool = False  # it was taken back
    price: str = ""  # what it was handed over at, as JSON: the configuration may be another when it is back
