"""What each vendor asks: the list that comes with Tidegate, and what a file knows better."""

from __future__ import annotations

import datetime
import importlib.util
import random
import time
from decimal import ROUND_HALF_UP
from importlib.metadata import version
from pathlib import Path

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price, data_snapshot
from genai_prices.types import TimeOfDateConstraint

from tests.parts import ROOT
from tidegate.core.errors import ConfigError
from tidegate.core.money import KINDS, Price, Usage, nusd_per_million
from tidegate.providers.prices import LIST, PriceList

LISTED = PriceList.load(None)

# By hand, from the vendors' pages; dollars per million tokens.
KNOWN = [
    ("openai", "gpt-4o", {"input": "2.50", "cached_read": "1.25", "output": "10"}),
    ("openai", "gpt-4o-2024-08-06", {"input": "2.50", "cached_read": "1.25", "output": "10"}),
    ("openai", "gpt-4o-mini", {"input": "0.15", "cached_read": "0.075", "output": "0.60"}),
    ("openai", "gpt-4.1", {"input": "2", "cached_read": "0.50", "output": "8"}),
    ("openai", "o3-mini", {"input": "1.10", "cached_read": "0.55", "output": "4.40"}),
    ("openai", "text-embedding-3-small", {"input": "0.02"}),
    ("azure", "gpt-4o", {"input": "2.50", "cached_read": "1.25", "output": "10"}),
    (
        "anthropic",
        "claude-3-5-sonnet-20241022",
        {"input": "3", "cached_write": "3.75", "cached_write_1h": "6", "cached_read": "0.30", "output": "15"},
    ),
    (
        "anthropic",
        "claude-opus-4-1-20250805",
        {"input": "15", "cached_write": "18.75", "cached_write_1h": "30", "cached_read": "1.50", "output": "75"},
    ),
    ("google", "gemini-2.5-flash", {"input": "0.30", "cached_read": "0.03", "audio_input": "1", "output": "2.50"}),
    ("google", "gemini-2.5-pro", {"input": "1.25", "cached_read": "0.125", "output": "10"}),
    ("groq", "llama-3.3-70b-versatile", {"input": "0.59", "output": "0.79"}),
    ("deepseek", "deepseek-chat", {"input": "0.27", "cached_read": "0.07", "output": "1.10"}),
    ("x-ai", "grok-3", {"input": "3", "cached_read": "0.75", "output": "15"}),
]


@pytest.mark.parametrize(("vendor", "model", "usd"), KNOWN, ids=lambda value: value if isinstance(value, str) else "")
def test_known_models_cost_what_their_vendors_say(vendor: str, model: str, usd: dict[str, str]):
    price = LISTED.price(vendor, model)
    assert price is not None
    assert price.rates == {kind: nusd_per_million(dollars) for kind, dollars in usd.items()}


def test_a_price_says_which_list_it_is_from():
    assert LISTED.price("openai", "gpt-4o").source == f"prices.json {LISTED.book.date}"


def test_long_prompts_cost_more_where_the_vendor_says_so():
    price = LISTED.price("google", "gemini-2.5-pro")
    assert price.cost_nusd(Usage(input=200_000)) == 200_000 * 1_250
    assert price.cost_nusd(Usage(input=200_001)) == 200_001 * 2_500


def test_names_are_found_in_any_case_and_with_dates_written_in_both_ways():
    assert LISTED.price("openai", "GPT-4o") == LISTED.price("openai", "gpt-4o")
    assert LISTED.price("openai", "gpt-5.2-20251211") == LISTED.price("openai", "gpt-5.2-2025-12-11") is not None


@pytest.mark.parametrize(
    ("vendor", "model"),
    [
        ("openai", "no-such-model"),
        ("nobody", "gpt-4o"),
        ("openai", ""),
        ("openai", "gpt-4o" * 100_000),
        ("openai", "whisper-1"),  # by the hour
        ("openai", "gpt-image-1"),  # by kinds of token that we do not tell apart
        ("perplexity", "sonar"),  # a fee for each request
    ],
)
def test_what_cannot_be_priced_has_no_price_and_not_a_wrong_one(vendor: str, model: str):
    assert LISTED.price(vendor, model) is None


def test_the_list_is_read_when_it_is_first_needed_and_quickly():
    prices = PriceList.load(None)
    assert "book" not in vars(prices)
    began = time.perf_counter()
    prices.price("openai", "gpt-4o")
    print(f"first price after {(time.perf_counter() - began) * 1000:.1f} ms")
    assert "book" in vars(prices)


def test_the_list_is_small_and_holds_whole_nano_dollars():
    assert LIST.stat().st_size < 400_000
    for vendor in LISTED.book.vendors.values():
        for model in vendor.models:
            assert model.match
            for rates in (model.rates, *(tier.rates for tier in model.tiers)):
                assert rates.keys() <= set(KINDS)
                assert all(type(rate) is int and rate >= 0 for rate in rates.values())
            above = [tier.above_input_tokens for tier in model.tiers]
            assert above == sorted(above, reverse=True)


# --- what you know better -----------------------------------------------------------------------------------------


def own(tmp_path: Path, text: str) -> PriceList:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    return PriceList.load(path)


def test_a_file_of_your_own_overrides_the_list(tmp_path: Path):
    prices = own(tmp_path, "openai/gpt-4o: {input: 0.1, output: 0.2}\nours/big/one: {input: 0.000000001}\n")
    assert prices.price("openai", "gpt-4o") == Price({"input": 100_000_000, "output": 200_000_000}, "prices.yaml")
    assert prices.price("openai", "GPT-4o").rates["input"] == 100_000_000
    assert prices.price("ours", "big/one").rates == {"input": 1}
    assert prices.price("openai", "gpt-4.1") == LISTED.price("openai", "gpt-4.1")


def test_it_may_be_json(tmp_path: Path):
    assert own(tmp_path, '{"a/b": {"input": 2}}').price("a", "b").rates == {"input": 2_000_000_000}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("openai/gpt-4o: {inptu: 1}", r"prices.yaml: openai/gpt-4o: no kind of token .* 'inptu'; did you mean 'input'"),
        ("openai/gpt-4o: {zzz: 1}", "there are: input, cached_read"),
        ("openai/gpt-4o: {input: -1}", "input must be dollars per million tokens, 0 or more, not -1"),
        ("openai/gpt-4o: {input: .nan}", "not nan"),
        ("openai/gpt-4o: {input: .inf}", "not inf"),
        ("openai/gpt-4o: {input: true}", "not True"),
        ("openai/gpt-4o: {input: '1'}", "not '1'"),
        ("openai/gpt-4o: 1", "dollars per million tokens by kind"),
        ("openai/gpt-4o: {}", "dollars per million tokens by kind"),
        ("gpt-4o: {input: 1}", "'gpt-4o' must be vendor/model"),
        ("- a", "a price list says"),
        ("", "a price list says"),
        ("a: [", "neither YAML nor JSON"),
    ],
)
def test_what_is_wrong_in_it_is_named(tmp_path: Path, text: str, says: str):
    with pytest.raises(ConfigError, match=says):
        own(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: the price list cannot be read: No such file"):
        PriceList.load(tmp_path / "nowhere.yaml")


# --- against where it comes from ----------------------------------------------------------------------------------


def test_the_list_is_what_run_prices_writes_today_from_the_locked_source():
    assert LISTED.book.source == f"genai-prices {version('genai-prices')}", "write it anew: ./run prices"
    spec = importlib.util.spec_from_file_location("write_prices", ROOT / "tools" / "prices.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.written(datetime.date.fromisoformat(LISTED.book.date)) == LIST.read_text(encoding="utf-8")


def random_usage(rates: dict[str, int], rand: random.Random) -> Usage:
    """Of the kinds that have a price; of a few tokens, or as many as take it over every tier."""
    counts = {kind: rand.randrange(rand.choice((10, 300_000))) for kind in KINDS if kind in rates or kind == "input"}
    if "cached_write" not in rates:
        counts.pop("cached_write_1h", None)  # theirs is then a rate of nothing
    return Usage(**counts)


def theirs(usage: Usage) -> TheirUsage:
    return TheirUsage(
        input_tokens=usage.input_total,
        cache_read_tokens=usage.cached_read,
        cache_write_tokens=usage.cached_write + usage.cached_write_1h,
        cache_write_1h_tokens=usage.cached_write_1h,
        input_audio_tokens=usage.audio_input,
        cache_audio_read_tokens=0,
        output_tokens=usage.output_total,
        output_reasoning_tokens=usage.reasoning,
        output_audio_tokens=usage.audio_output,
    )


def test_every_model_costs_what_its_source_computes_for_it():
    rand = random.Random(2)
    day = datetime.datetime.combine(datetime.date.fromisoformat(LISTED.book.date), datetime.time(), datetime.UTC)
    compared = 0
    for provider in data_snapshot.get_snapshot().providers:
        for model in provider.models:
            found = provider.find_model(model.id)
            price = LISTED.price(provider.id, model.id)
            if found is None or price is None:
                continue
            by_hour = isinstance(found.prices, list) and any(
                isinstance(one.constraint, TimeOfDateConstraint) for one in found.prices
            )
            for _ in range(3):
                usage = random_usage(price.rates, rand)
                usd = max(
                    calc_price(
                        theirs(usage),
                        model.id,
                        provider_id=provider.id,
                        genai_request_timestamp=day + datetime.timedelta(hours=hour),
                    ).total_price
                    for hour in (range(24) if by_hour else (12,))
                )
                exact = int((usd * 10**9).to_integral_value(ROUND_HALF_UP))
                assert price.cost_nusd(usage) == exact, f"{provider.id}/{model.id} {usage}"
            compared += 1
    assert compared > 1000
