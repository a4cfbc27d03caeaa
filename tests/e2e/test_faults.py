"""The real small model behind what breaks: Envoy, which fails, delays and slows, and a wire that is cut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.matrix.places import BARE_KEY, bare_model
from tests.envoy import before
from tests.faultproxy import Fault, Kind, breaking
from tests.house import Build, House
from tests.parts import local_model, needs_envoy
from tidegate.providers import local

pytestmark = [local_model(), pytest.mark.timeout(300)]

FEW = {"max_tokens": 8, "temperature": 0}

ALWAYS, HALF = "percentage: {numerator: 100}", "percentage: {numerator: 50}"
# By the first part of the path: a provider's address says what is to go wrong with it.
PATHS = {
    "well": "",
    "fails": f"abort: {{http_status: 503, {ALWAYS}}}",
    "half": f"abort: {{http_status: 503, {HALF}}}",
    "late": f"delay: {{fixed_delay: 60s, {ALWAYS}}}",
    "slow": f"response_rate_limit: {{fixed_limit: {{limit_kbps: 2}}, {ALWAYS}}}",
}

HOUSE = """
logs: {{calls: false}}
limits: {{loops: {{policy: "off"}}}}
budgets: {{default_day: 0}}
upstream: {{first_token: {first_token}, idle: 5, retry: {{tries: 2}}}}
providers:
  main: {{type: openai, base_url: "{main}/v1", keys: [{key}], price: {{input: 1, output: 2}}}}
  spare: {{type: openai, base_url: "{spare}/v1", keys: [{key}], price: {{input: 3, output: 6}}}}
routes:
  fast: {{targets: [{{provider: main, model: {model}}}, {{provider: spare, model: {model}, order: 2}}]}}
  alone: {{targets: [{{provider: main, model: {model}}}]}}
"""


@pytest.fixture(scope="module")
def model() -> Iterator[str]:
    with bare_model() as address:
        yield address


@pytest.fixture(scope="module")
def envoy(model: str) -> Iterator[str]:
    """Its address; below it are the PATHS."""
    with before(int(model.rpartition(":")[2]), PATHS) as address:
        yield address


async def a_house(build_house: Build, main: str, spare: str, first_token: float = 20) -> House:
    return await build_house(
        HOUSE.format(main=main, spare=spare, first_token=first_token, key=BARE_KEY, model=local.MODEL)
    )


# --- Envoy -----------------------------------------------------------------------------------------------------------


@needs_envoy()
@pytest.mark.parametrize("stream", [True, False])
async def test_a_provider_that_envoy_fails_is_passed_over(build_house: Build, envoy: str, stream: bool) -> None:
    house = await a_house(build_house, f"{envoy}/fails", f"{envoy}/well")
    reply = await house.ask("Say hello.", stream=stream, **FEW)
    assert reply.status == 200 and reply.text and reply.error is None
    assert reply.attempts == ["main: failed", "main: failed", "spare: ok"]
    assert reply.row.usage["output"] <= 8 and not reply.row.usage_estimated


@needs_envoy()
async def test_where_envoy_fails_all_the_client_hears_what_it_said(build_house: Build, envoy: str) -> None:
    house = await a_house(build_house, f"{envoy}/fails", f"{envoy}/fails")
    reply = await house.ask("Say hello.", **FEW)
    assert (reply.status, reply.error.code) == (502, "upstream_failed")
    assert "HTTP 503" in reply.error.message and reply.row.cost_nusd == 0


@needs_envoy()
async def test_a_provider_that_envoy_delays_is_not_waited_for(build_house: Build, envoy: str) -> None:
    house = await a_house(build_house, f"{envoy}/late", f"{envoy}/well", first_token=3)
    reply = await house.ask("Say hello.", **FEW)
    assert reply.status == 200 and reply.text and reply.attempts == ["main: timeout", "spare: ok"]


@needs_envoy()
async def test_an_answer_that_envoy_slows_is_whole_in_the_end(build_house: Build, envoy: str) -> None:
    house = await a_house(build_house, f"{envoy}/slow", f"{envoy}/well")
    reply = await house.ask("Say hello.", **FEW)
    assert reply.status == 200 and reply.text and reply.events[-1] == "[DONE]" and reply.attempts == ["main: ok"]


@needs_envoy()
async def test_every_call_is_answered_where_every_second_one_fails(build_house: Build, envoy: str) -> None:
    house = await a_house(build_house, f"{envoy}/half", f"{envoy}/well")
    for _ in range(8):
        reply = await house.ask("Say hello.", max_tokens=2)
        assert reply.status == 200 and reply.error is None and reply.row.outcome == "ok"


# --- a wire that breaks ----------------------------------------------------------------------------------------------

BEFORE = {"after": b"\r\n\r\n", "times": 1}  # the head has come
AFTER = {"after": b"\n\n", "times": 4, "more": 20}  # three events with words, and a piece of the next


@pytest.mark.parametrize("kind", ["cut", "reset", "half_close", "stall"])
async def test_a_wire_that_breaks_before_the_first_word_is_not_noticed(
    build_house: Build, model: str, kind: Kind
) -> None:
    async with breaking(model) as wire:
        wire.fault = Fault(kind, **BEFORE)
        house = await a_house(build_house, wire.url, model)
        reply = await house.ask("Say hello.", **FEW)
    assert reply.status == 200 and reply.text and reply.error is None
    assert reply.attempts[-1] == "spare: ok" and wire.broke == len(reply.attempts) - 1


@pytest.mark.parametrize("kind", ["cut", "reset", "half_close", "stall"])
async def test_one_that_breaks_in_the_middle_of_an_event_leaves_what_came(
    build_house: Build, model: str, kind: Kind
) -> None:
    async with breaking(model) as wire:
        wire.fault = Fault(kind, **AFTER)
        house = await a_house(build_house, wire.url, model)
        reply = await house.ask("Say hello.", **FEW)
    assert reply.status == 200 and reply.text and reply.error.code == "upstream_cut_off"
    assert reply.attempts == ["main: cut_off"] and wire.broke == 1
    assert reply.row.usage["output"] > 0 and reply.row.usage_estimated and reply.row.cost_nusd > 0


async def test_one_that_lets_through_a_byte_at_a_time_loses_none(build_house: Build, model: str) -> None:
    async with breaking(model) as wire:
        wire.fault = Fault("trickle")
        house = await a_house(build_house, wire.url, model)
        reply = await house.ask("Say hello.", **FEW)
    assert reply.status == 200 and reply.text and reply.events[-1] == "[DONE]" and reply.attempts == ["main: ok"]
