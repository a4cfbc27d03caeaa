"""What does it cost? Integers from the price list to the ledger: nano-dollars, never a float.

A price is integer nano-dollars per million tokens, per kind of token; $0.15 per million is 150,000,000. The cost of an
attempt is the sum over kinds, divided once, rounded half up. A price that is not known is `None` and stays `None`: it
is marked and reported, and is never 0.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import msgspec
from msgspec.structs import replace

NUSD_PER_USD = 1_000_000_000
PER_TOKENS = 1_000_000


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Tokens by kind. The kinds do not overlap: `input` is what was neither cached nor audio, `output` is what was
    neither reasoning nor audio. Their sum is what was used."""

    input: int = 0
    cached_read: int = 0
    cached_write: int = 0
    cached_write_1h: int = 0  # kept longer, and dearer
    audio_input: int = 0
    output: int = 0
    reasoning: int = 0
    audio_output: int = 0

    @property
    def input_total(self) -> int:
        return self.input + self.cached_read + self.cached_write + self.cached_write_1h + self.audio_input

    @property
    def output_total(self) -> int:
        return self.output + self.reasoning + self.audio_output

    def said(self) -> dict[str, int]:
        """Those kinds of which there were any."""
        kinds: dict[str, int] = msgspec.to_builtins(self)
        return kinds

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, kind) + getattr(other, kind) for kind in KINDS))


KINDS: tuple[str, ...] = Usage.__struct_fields__
TEXT_KINDS = ("input", "cached_read", "cached_write", "cached_write_1h"), ("output", "reasoning")
AUDIO_KINDS = (*TEXT_KINDS[0], "audio_input"), (*TEXT_KINDS[1], "audio_output")
NO_USAGE = Usage()


class Tier(msgspec.Struct, frozen=True):
    """Other rates for calls whose whole input is longer than `above_input_tokens`."""

    above_input_tokens: int
    rates: dict[str, int]


class Price(msgspec.Struct, frozen=True, omit_defaults=True):
    """Nano-dollars per million tokens by kind, and where that comes from.

    A kind without a rate of its own costs as `FALLS_BACK` says; a kind with neither makes the cost unknown.
    """

    rates: dict[str, int]
    source: str  # "prices.json 2026-11-20", "tidegate.yaml", "own hardware"
    tiers: tuple[Tier, ...] = ()  # by falling `above_input_tokens`

    def cost_nusd(self, usage: Usage) -> int | None:
        """The cost of `usage`, in nano-dollars; None when tokens were used that have no rate."""
        rates = self._rates(usage.input_total) if self.tiers else self.rates
        if usage == Usage(input=usage.input, output=usage.output) and "input" in rates and "output" in rates:
            return (usage.input * rates["input"] + usage.output * rates["output"] + PER_TOKENS // 2) // PER_TOKENS
        total = 0
        for kind, tokens in usage.said().items():
            rate = rates.get(kind)
            if rate is None:
                rate = rates.get(FALLS_BACK.get(kind, ""))
                if rate is None:
                    return None
            total += tokens * rate
        return (total + PER_TOKENS // 2) // PER_TOKENS

    def saved_nusd(self, usage: Usage) -> int:
        """What it saved that a provider had kept a part of the input; below 0 where keeping it has cost more.

        0 where a price is not known.
        """
        kept = usage.cached_read + usage.cached_write + usage.cached_write_1h
        plain = replace(usage, input=usage.input + kept, cached_read=0, cached_write=0, cached_write_1h=0)
        cost, without = self.cost_nusd(usage), self.cost_nusd(plain)
        return 0 if cost is None or without is None or not kept else without - cost

    def less(self, discount: float) -> Price:
        """The same with a share off."""

        def off(rates: dict[str, int]) -> dict[str, int]:
            return {kind: round(rate * (1 - discount)) for kind, rate in rates.items()}

        tiers = tuple(replace(tier, rates=off(tier.rates)) for tier in self.tiers)
        return Price(off(self.rates), f"{self.source}, batch -{discount:.0%}", tiers)

    def dearest(self, *, audio: bool) -> tuple[int | None, int | None]:
        """The highest rates of input and output, whatever the kind of token and the tier; None for one not known."""
        every = (self.rates, *(tier.rates for tier in self.tiers))
        heard, said = (
            max((rates[kind] for rates in every for kind in kinds if kind in rates), default=None)
            for kinds in (AUDIO_KINDS if audio else TEXT_KINDS)
        )
        return heard, said

    def _rates(self, input_tokens: int) -> dict[str, int]:
        for tier in self.tiers:
            if input_tokens > tier.above_input_tokens:
                return tier.rates
        return self.rates


# Reasoning is billed as output by everyone who bills it. A cached token without a rate of its own costs a full one:
# too much is seen and corrected, too little is not. Audio has no such neighbour: its price is unknown.
FALLS_BACK = {"cached_read": "input", "cached_write": "input", "reasoning": "output"}

OWN_HARDWARE = Price(rates=dict.fromkeys(KINDS, 0), source="own hardware")


def nusd_per_million(usd: str | int | float | Decimal) -> int:
    """Dollars per million tokens, as people write prices, in nano-dollars per million tokens."""
    return int((Decimal(str(usd)) * NUSD_PER_USD).to_integral_value(ROUND_HALF_UP))


def usd_text(nusd: int) -> str:
    """`nusd` in dollars with nine decimals: exact, and safe to read back."""
    sign, rest = ("-", -nusd) if nusd < 0 else ("", nusd)
    return f"{sign}{rest // NUSD_PER_USD}.{rest % NUSD_PER_USD:09d}"


def estimated_tokens(text_bytes: int) -> int:
    """About how many tokens this many bytes of UTF-8 text are, for providers that report no usage.

    Four bytes to a token is what English prose has with today's vocabularies; every row that rests on this says
    `usage_estimated`.
    """
    return (text_bytes + 3) // 4
