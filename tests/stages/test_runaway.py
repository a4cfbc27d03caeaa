"""The guide's day: "One company burned $12,000 in a single day due to a recursive prompt loop." Here, with defaults."""

from __future__ import annotations

import random

import pytest

from tests.stages.limits.test_loops import PROMPT, says

DEFAULTS = """
limits: {}
budgets: {}
logs: {calls: false}
providers: {main: {type: scripted, price: {input: 30, output: 60}}}
routes: {fast: {targets: [{provider: main, model: m}]}}
"""
EACH = {"prompt_tokens": 1_500, "completion_tokens": 1_570, "total_tokens": 3_070}  # $0.139: 86,400 of them are $12,000


@pytest.mark.parametrize("repeats", [True, False], ids=["it repeats itself", "no two calls look alike"])
async def test_a_runaway_loop_costs_less_than_five_dollars_a_day(build_house, repeats):
    """One call a second. What was refused for a minute stays refused while it goes on like that: a loop for ever, a
    spent budget until midnight, so that only every hour is looked at."""
    house = await build_house(DEFAULTS)
    key, _ = await house.app.gateway.auth.create("an agent", "test", admin=False)
    house.provider("main").always("and again", usage=EACH)
    rng = random.Random(6)
    refused = answered = 0
    began_ns = house.clock.wall_ns()
    while (now_s := (house.clock.wall_ns() - began_ns) / 1e9) < 86_390:
        turn = PROMPT if repeats else says(rng, 40)
        reply = await house.ask(turn, key=key, max_tokens=2_000)
        answered += reply.status == 200
        refused = 0 if reply.status == 200 else refused + 1
        if repeats and refused >= 60:
            break
        await house.clock.sleep(min(3_600, 86_395 - now_s) if refused >= 60 else 1)
    cost = sum(row.cost_nusd for row in await house.rows())
    print(f"\na runaway day: {answered} calls were answered and cost ${cost / 1e9:.2f}")
    assert cost < 5_000_000_000
