"""What a dashboard that was made for LiteLLM finds here."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tidegate.core.limits import Budget
from tidegate.core.ports import Team
from tidegate.telemetry.aliases import MAX_SERIES, OTHER, Counts, Times
from tidegate.telemetry.metrics import MAX_LABELS

NAMED = """
metrics: {litellm_names: true}
limits: {loops: {policy: "off"}}
budgets: {default_day: 0}
providers:
  main: {type: scripted, price: {input: 1000, output: 2000}}
  gone: {type: openai, base_url: "http://127.0.0.1:9/v1", price: {input: 1, output: 2}}
routes:
  fast: {targets: [{provider: main, model: m}]}
  dead: {targets: [{provider: gone, model: g}]}
"""


async def page(house) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families((await house.get("/metrics")).body.decode())
    samples = [sample for family in families for sample in family.samples if sample.name.startswith("litellm_")]
    return {
        (one.name, *(f"{name}={value}" for name, value in sorted(one.labels.items()))): one.value for one in samples
    }


async def test_requests_tokens_and_dollars_have_their_names_there(build_house):
    house = await build_house(NAMED)
    await house.app.world.store.add(Team("red", "Red team", 0, budgets=(Budget(10**12, "day"),)))
    red, _ = await house.app.gateway.auth.create("ci", "test", admin=False, team_id="red")
    house.provider("main").always("hello", usage={"prompt_tokens": 30, "completion_tokens": 5})
    assert (await house.ask("hi", key=red, max_tokens=10)).status == 200
    assert (await house.ask("hi", key=red, model="dead")).status == 502
    found = await page(house)
    who = ("team=red", "team_alias=Red team")
    both = ("requested_model=fast", *who)
    assert found["litellm_proxy_total_requests_metric_total", "requested_model=fast", "status_code=200", *who] == 1
    assert found["litellm_proxy_total_requests_metric_total", "requested_model=dead", "status_code=502", *who] == 1
    failed = ("exception_class=upstream_failed", "exception_status=502", "requested_model=dead", *who)
    assert found["litellm_proxy_failed_requests_metric_total", *failed] == 1
    assert found["litellm_input_tokens_metric_total", "model=m", *both] == 30
    assert found["litellm_output_tokens_metric_total", "model=m", *both] == 5
    assert found["litellm_total_tokens_metric_total", "model=m", *both] == 35
    assert found["litellm_spend_metric_total", "model=m", *who] == 0.04
    assert found["litellm_request_total_latency_metric_count", "model=m", *both] == 1
    assert found["litellm_llm_api_latency_metric_count", "model=m", *both] == 1
    assert found["litellm_deployment_state", "api_provider=main", "litellm_model_name=m"] == 0
    assert found["litellm_team_max_budget_metric", *who] == 1000
    assert 999 < found["litellm_remaining_team_budget_metric", *who] < 1000
    assert 0 < found["litellm_team_budget_remaining_hours_metric", *who] <= 24
    assert found["litellm_in_flight_requests",] == 0


async def test_without_being_asked_for_there_are_none_of_them(build_house):
    house = await build_house(NAMED.replace("true", "false"))
    await house.ask("hi")
    assert await page(house) == {}


def test_labels_that_occur_together_are_bounded() -> None:
    counts, times = Counts("some", "Some", ("model",)), Times("slow", "Slow", ("model",))
    for at in range(10_000):
        counts.add((f"m{at}",))
        times.observe((f"m{at}",), 0.1)
    found = {sample.labels["model"]: sample.value for sample in counts.metric().samples}
    assert len(found) == MAX_SERIES + 1 and found[OTHER] == 10_000 - MAX_SERIES
    assert len({sample.labels["model"] for sample in times.metric().samples}) == MAX_LABELS + 1
