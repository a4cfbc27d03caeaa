"""To say what a call gets takes some hundred steps, and nothing where nothing is tried."""

from __future__ import annotations

from typing import Any

from tests.effort import steps
from tests.house import House
from tests.stages.experiments.conftest import begin
from tidegate.core.call import Call, Principal

CALLS = 400
BODY = b'{"model":"fast","messages":[{"role":"user","content":"hi"}],"stream":true}'


def call(house: House, number: int) -> Call:
    gateway = house.app.gateway
    made = Call(
        id=f"req_{number}", dialect="openai", operation="chat", at_ms=0, arrived_ns=0, intake=lambda: BODY,
        user=f"u{number}", principal=Principal("k", "k"),
    )  # fmt: skip
    gateway.understand(made, BODY)
    made.route = gateway.routes.find("fast")
    return made


def efforts(house: House) -> list[int]:
    """Of each call, sorted."""
    calls, assign = [call(house, number) for number in range(CALLS)], house.app.gateway.experiments.assign
    return sorted([steps(lambda one=one: assign(one)) for one in calls])


async def test_it_takes_hundreds_of_steps_in_three_experiments_and_four_where_there_is_none(house):
    nothing = efforts(house)
    for at in range(3):
        fields: dict[str, Any] = {"name": f"t{at}", "layer": f"l{at}", "ramp": [0.5]}
        await begin(house, {"name": "b", "target": f"spare/{at}"}, {"name": "c", "prompts": {"support": at}}, **fields)
    three = efforts(house)
    print(f"\nsteps: {nothing[-1]} where nothing is tried; {three[CALLS // 2]} in the middle, {three[-1]} at most")
    assert nothing[-1] <= 4 and three[CALLS // 2] < 300 and three[-1] < 1_200
