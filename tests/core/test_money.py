"""Money is integers, exact to the nano-dollar; what is not known is never 0."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.money import (
    FALLS_BACK,
    KINDS,
    NO_USAGE,
    NUSD_PER_USD,
    OWN_HARDWARE,
    PER_TOKENS,
    Price,
    Tier,
    Usage,
    estimated_tokens,
    nusd_per_million,
    usd_text,
)

counts = st.integers(0, 10**9)
rates = st.integers(0, 10**13)
usages = st.builds(Usage, **dict.fromkeys(KINDS, counts))
all_rates = st.fixed_dictionaries(dict.fromkeys(KINDS, rates))


def exact(usage: Usage, by_kind: dict[str, int]) -> int:
    """The same in decimals: dollars per token, multiplied out and rounded once at the end."""
    dollars = sum(
        (Decimal(by_kind[kind]) / NUSD_PER_USD / PER_TOKENS * getattr(usage, kind) for kind in KINDS), Decimal(0)
    )
    return int((dollars * NUSD_PER_USD).quantize(Decimal(1), ROUND_HALF_UP))


@given(usages, all_rates)
def test_the_cost_is_the_exact_one_rounded_half_up_once(usage: Usage, by_kind: dict[str, int]) -> None:
    assert Price(by_kind, "here").cost_nusd(usage) == exact(usage, by_kind)


@pytest.mark.parametrize(
    ("tokens", "rate", "cost"),
    [
        (1, 499_999, 0),
        (1, 500_000, 1),  # half a nano-dollar is one
        (1, 1_499_999, 1),
        (1, 1_500_000, 2),
        (1_000_000, 150_000_000, 150_000_000),  # $0.15 per million, a million of them
        (0, 10**12, 0),
    ],
)
def test_halves_go_up(tokens: int, rate: int, cost: int) -> None:
    assert Price({"input": rate}, "here").cost_nusd(Usage(input=tokens)) == cost


def test_kinds_are_summed_before_they_are_divided() -> None:
    price = Price({"input": 400_000, "output": 400_000}, "here")
    assert price.cost_nusd(Usage(input=1)) == 0
    assert price.cost_nusd(Usage(input=1, output=1)) == 1


@given(usages, st.dictionaries(st.sampled_from(KINDS), rates))
def test_the_cost_is_known_exactly_when_every_kind_that_was_used_has_a_rate(
    usage: Usage, by_kind: dict[str, int]
) -> None:
    used = [kind for kind in KINDS if getattr(usage, kind)]
    whole = {kind: by_kind.get(kind, by_kind.get(FALLS_BACK.get(kind, ""))) for kind in KINDS}
    cost = Price(by_kind, "here").cost_nusd(usage)
    if any(whole[kind] is None for kind in used):
        assert cost is None
    else:
        assert cost == exact(usage, {kind: rate or 0 for kind, rate in whole.items()})


def test_a_kind_that_was_not_used_needs_no_rate() -> None:
    assert Price({"input": 0}, "here").cost_nusd(Usage(input=5)) == 0
    assert Price({}, "nobody knows").cost_nusd(NO_USAGE) == 0


def test_audio_has_no_neighbour_to_take_a_rate_from() -> None:
    price = Price({"input": 1_000_000, "output": 2_000_000}, "here")
    assert price.cost_nusd(Usage(audio_input=1)) is None
    assert price.cost_nusd(Usage(input=1, audio_output=1)) is None
    assert price.cost_nusd(Usage(cached_read=1, cached_write=1, reasoning=1)) == 4


def test_a_rate_of_nothing_is_a_rate() -> None:
    price = Price({"input": 1_000_000, "cached_read": 0}, "here")
    assert price.cost_nusd(Usage(input=1, cached_read=100)) == 1


@given(usages)
def test_own_hardware_costs_nothing_and_that_is_known(usage: Usage) -> None:
    assert OWN_HARDWARE.cost_nusd(usage) == 0


def test_a_tier_holds_for_the_whole_call_when_its_input_is_longer() -> None:
    price = Price(
        {"input": 1_000_000, "output": 10_000_000},
        "here",
        tiers=(
            Tier(200, {"input": 4_000_000, "output": 40_000_000}),
            Tier(100, {"input": 2_000_000, "output": 20_000_000}),
        ),
    )
    assert price.cost_nusd(Usage(input=100, output=1)) == 100 + 10
    assert price.cost_nusd(Usage(input=101, output=1)) == 202 + 20
    assert price.cost_nusd(Usage(input=200, output=1)) == 400 + 20
    assert price.cost_nusd(Usage(input=201, output=1)) == 804 + 40
    assert price.cost_nusd(Usage(output=1_000)) == 10_000, "what it said does not choose the tier"


def test_cached_and_audio_tokens_count_towards_the_tier() -> None:
    price = Price({"input": 1_000_000}, "here", tiers=(Tier(10, {"input": 2_000_000}),))
    assert price.cost_nusd(Usage(input=5, cached_read=5)) == 10
    assert price.cost_nusd(Usage(input=5, cached_read=3, cached_write=3)) == 22


@given(st.lists(usages, max_size=5))
def test_usages_add_up_kind_by_kind(several: list[Usage]) -> None:
    total = sum(several, NO_USAGE)
    for kind in KINDS:
        assert getattr(total, kind) == sum(getattr(usage, kind) for usage in several)
    assert total.input_total + total.output_total == sum(getattr(total, kind) for kind in KINDS)


@given(st.integers(-(10**24), 10**24))
def test_dollars_as_text_are_exact_and_read_back(nusd: int) -> None:
    text = usd_text(nusd)
    assert Decimal(text).scaleb(9) == nusd
    assert len(text.partition(".")[2]) == 9


@pytest.mark.parametrize(
    ("nusd", "text"),
    [(0, "0.000000000"), (1, "0.000000001"), (-1, "-0.000000001"), (1_500_000_000, "1.500000000")],
)
def test_dollars_as_text(nusd: int, text: str) -> None:
    assert usd_text(nusd) == text


@pytest.mark.parametrize(
    ("usd", "nusd"),
    [
        (0.15, 150_000_000),
        ("0.15", 150_000_000),
        (Decimal("0.15"), 150_000_000),
        (3, 3_000_000_000),
        (0.1 + 0.2, 300_000_000),
        (0.0000000005, 1),
        (1e-12, 0),
        (0, 0),
    ],
)
def test_prices_are_read_as_people_write_them(usd: float | str | Decimal, nusd: int) -> None:
    assert nusd_per_million(usd) == nusd


@given(st.integers(0, 10**15))
def test_a_price_that_was_written_comes_back(nusd: int) -> None:
    assert nusd_per_million(usd_text(nusd)) == nusd


@given(st.integers(0, 10**9))
def test_an_estimate_is_four_bytes_to_a_token_and_never_less_than_there_is(size: int) -> None:
    assert 4 * (estimated_tokens(size) - 1) < size <= 4 * estimated_tokens(size) or size == estimated_tokens(size) == 0


@pytest.mark.parametrize(
    ("usage", "saved_nusd"),
    [
        (Usage(input=10, cached_read=1_000), 900_000),
        (Usage(input=10, cached_write=1_000), -250_000),
        (Usage(input=10, cached_read=1_000, cached_write=1_000, output=5), 650_000),
        (Usage(input=1_000, output=5), 0),
    ],
)
def test_what_a_provider_kept_saves_what_it_would_have_cost_anew(usage: Usage, saved_nusd: int) -> None:
    rates = {"input": 10**9, "output": 10**10, "cached_read": 10**8, "cached_write": 125 * 10**7}
    assert Price(rates, "here").saved_nusd(usage) == saved_nusd


def test_where_no_price_is_known_nothing_is_known_to_be_saved() -> None:
    assert Price({"input": 10**9}, "here").saved_nusd(Usage(cached_read=5, output=5)) == 0
