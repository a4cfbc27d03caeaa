"""A reply costs what its usage says, to the nano-dollar: as computed by hand in transcripts/costs.yaml."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidegate.core.money import NO_USAGE, Price, Usage
from tidegate.core.ports import Codec
from tidegate.providers.anthropic.messages import Messages
from tidegate.providers.openai.chat import Chat
from tidegate.providers.prices import rates_from_usd

FOLDER = Path(__file__).parents[1] / "transcripts"
GOLDEN: list[dict[str, Any]] = yaml.safe_load((FOLDER / "costs.yaml").read_text(encoding="utf-8"))
VENDORS = ("openai", "anthropic", "gemini", "mistral", "groq", "deepseek", "xai")


def used(reply: str, piece: int = 1 << 20) -> Usage:
    """What an attempt with this reply used, read in pieces of so many bytes: the last that was said counts."""
    codec: Codec = Messages() if reply.startswith("anthropic") else Chat()
    decoder = codec.decoder(stream=reply.endswith(".sse"), withhold_usage=False)
    data = (FOLDER / reply).read_bytes()
    events = [event for at in range(0, len(data), piece) for event in decoder.feed(data[at : at + piece])]
    events += decoder.end()
    assert events[-1].last
    said = [event.usage for event in events if event.usage is not None]
    return said[-1] if said else NO_USAGE


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden['reply']} {golden['nusd']}")
def test_a_reply_costs_what_was_computed_by_hand(golden):
    price = Price(rates_from_usd(golden["reply"], golden["usd"]), "by hand")
    assert price.cost_nusd(used(golden["reply"])) == golden["nusd"]
    assert price.cost_nusd(used(golden["reply"], piece=7)) == golden["nusd"]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden['reply']} {golden['nusd']}")
def test_the_hand_made_no_mistake(golden):
    if golden["nusd"] is None:
        return
    products = [term.split("×") for term in golden["by_hand"].split(" + ")]
    total = sum((Decimal(tokens) * Decimal(rate) for tokens, rate in products), Decimal(0))
    assert int(total.to_integral_value(ROUND_HALF_UP)) == golden["nusd"]


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("kind", ["sse", "json"])
def test_every_vendor_has_a_golden_reply_streamed_and_whole(vendor, kind):
    assert any(one["reply"].startswith(vendor) and one["reply"].endswith(kind) for one in GOLDEN)
