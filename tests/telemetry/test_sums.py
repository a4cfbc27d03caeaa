"""One truth: the provider's own count, rows, sums, analytics and metrics say the same to the token and nano-dollar."""

from __future__ import annotations

import random

from prometheus_client.parser import text_string_to_metric_families

from tidegate.core.usage import Period, UsageAsked

HOUSE = """
limits: {loops: {policy: "off"}}
budgets: {default_day: 0}
providers: {main: {type: scripted, price: {input: 3, output: 7}}}
routes:
  fast: {targets: [{provider: main, model: m}]}
  kept: {targets: [{provider: main, model: m}], cache: {exact: true}}
"""
CALLS = 120


async def traffic(house) -> tuple[int, int]:
    """Tokens that the provider has counted: in and out. Some calls fail first, some hit the cache."""
    rng, main = random.Random(3), house.provider("main")
    heard = said = 0
    for n in range(CALLS):
        again = n % 4 == 3  # what was asked just before
        model = "kept" if n % 4 > 1 else "fast"
        if not again:
            usage = {"prompt_tokens": rng.randrange(1, 10_000), "completion_tokens": rng.randrange(1, 3_000)}
            if n % 7 == 0:
                main.says(status=503)
            main.says(["some ", "words"], usage=usage)
            heard, said = heard + usage["prompt_tokens"], said + usage["completion_tokens"]
        reply = await house.ask(f"question {n - again}", model=model, stream=rng.random() < 0.5)
        assert reply.status == 200
    return heard, said


async def counted(house) -> dict[str, float]:
    """Of the page of metrics, all routes together."""
    page = (await house.get("/metrics")).body.decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for one in family.samples:
            name = f"{one.name} {one.labels['kind']}" if "kind" in one.labels else one.name
            found[name] = found.get(name, 0.0) + one.value
    return found


async def test_all_who_count_have_counted_the_same(build_house):
    house = await build_house(HOUSE)
    heard, said = await traffic(house)
    cost_nusd = heard * 3_000 + said * 7_000
    rows = await house.rows()
    assert len(rows) == CALLS
    assert sum(row.usage.get("input", 0) for row in rows) == heard
    assert sum(row.usage.get("output", 0) for row in rows) == said
    assert sum(row.cost_nusd for row in rows) == cost_nusd
    assert sum(row.cache == "hit" for row in rows) == CALLS // 4

    (line,) = await house.app.world.ledger.usage(UsageAsked((Period(0, 2**45),)))
    assert (line.sums["calls"], line.sums["input"], line.sums["output"]) == (CALLS, heard, said)
    assert line.sums["cost_nusd"] == cost_nusd

    (told,) = (await house.get("/admin/analytics?per=total")).events[0]["lines"]
    assert (told["calls"], told["input_tokens"], told["output_tokens"]) == (CALLS, heard, said)
    assert round(told["cost_usd"] * 1e9) == cost_nusd

    page = await counted(house)
    assert page["tidegate_requests_total"] == page["tidegate_request_duration_seconds_count"] == CALLS
    assert (page["tidegate_tokens_total input"], page["tidegate_tokens_total output"]) == (heard, said)
    assert round(page["tidegate_cost_usd_total"] * 1e9) == cost_nusd
    assert page["tidegate_attempts_total"] == sum(len(row.attempts) for row in rows)
