"""Yesterday's calls asked once more, by a command that is killed in the middle; and answers that nobody sees."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import KEY, Gateway, child, gateway
from tests.e2e.test_two_processes import seconds_until, two
from tests.valkey import Valkey

CONFIG = """
logs: {calls: false}
budgets: {default_day: 0}
limits: {loops: {policy: "off"}}
providers:
  main: {type: scripted, price: {input: 1, output: 2}}
  other: {type: scripted, price: {input: 10, output: 20}}
routes:
  fast:
    targets: [{provider: main, model: m}]
    store: {prompts: true, replies: true}
  dear: {targets: [{provider: other, model: m}], max_tokens: 50}
"""
CALLS, AT_ONCE = 10, 2
SLOW = {"metadata": {"script": json.dumps({"before": 0.15})}}  # is stored, and so it is slow again

pytestmark = pytest.mark.timeout(300)


def command(of: Gateway, out: Path, max_usd: str = "1") -> tuple[str, ...]:
    asked = ("--route", "fast", "--to", "dear", "--max-usd", max_usd, "--concurrency", str(AT_ONCE), "--out", str(out))
    return ("-m", "tidegate.cli", "experiments", "replay", *asked, "--url", of.url, "--key", KEY)


async def rows(of: Gateway) -> list[Any]:
    found: list[Any] = (await of.get("/admin/requests?kind=replay&limit=500")).json["requests"]
    return found


async def test_a_replay_that_is_killed_is_gone_on_with_and_pays_nearly_nothing_twice(tmp_path: Path) -> None:
    async with gateway(tmp_path, CONFIG) as tidegate:
        answers = await asyncio.gather(*(tidegate.ask(f"question {at}", **SLOW) for at in range(CALLS)))
        assert all(answer.status == 200 for answer in answers)
        out = tmp_path / "replay.jsonl"
        async with child(*command(tidegate, out), program=sys.executable) as first:
            while not out.exists() or out.read_bytes().count(b"\n") < 4:
                await asyncio.sleep(0.02)
            first.send(signal.SIGKILL)
            await first.ends()
        written = out.read_bytes().count(b"\n") - 1
        assert 3 <= written < CALLS
        async with child(*command(tidegate, out), program=sys.executable) as second:
            assert await second.ends() == 0, second.said
            assert f"is gone on with: {written} are there" in second.said
            assert f"candidate: {CALLS} calls" in second.said and "costs      10.00 times as much" in second.said
        asked = [row["id"] for row in await rows(tidegate)]
        assert CALLS <= len(asked) <= CALLS + AT_ONCE
        keys = [one for one in (await tidegate.get("/admin/keys")).json if one["name"].startswith("replay ")]
        assert len(keys) == 1 and keys[0]["revoked_ms"] is not None
        print(f"\nkilled after {written} of {CALLS} answers; {len(asked)} were paid for in all")


async def test_shadows_in_two_processes_have_one_purse_and_stop_before_it_is_empty(
    tmp_path: Path, valkey: Valkey, postgres: str
) -> None:
    """A call can cost some 0.0045 dollars here and costs a tenth of it."""
    async with two(tmp_path, valkey, postgres) as (one, other):
        spec = {"name": "cheaper", "route": "fast", "mode": "shadow", "ramp": [0.999], "max_usd": 0.06}
        arms = [{"name": "b", "target": "main/n", "parameters": {"max_tokens": 4}}]
        await act(one, "", **spec, arms=arms)
        await act(one, "/cheaper/start", why="a test")

        async def both(outcome: str) -> bool:
            pages = [(await each.get("/metrics")).body.decode() for each in (one, other)]
            return all(f'tidegate_shadows_total{{experiment="cheaper",outcome="{outcome}"}}' in page for page in pages)

        async def ask(number: int) -> None:
            for each in (one, other):
                assert (await each.ask("hi", headers={"x-tidegate-user": f"u{number}"})).status == 200

        async def known() -> bool:  # a probe that has none costs nothing
            answer = await other.ask("hi", headers={"x-tidegate-user": "u0"})
            return "x-tidegate-experiment" in answer.headers

        await seconds_until(known)
        await ask(1)
        await seconds_until(lambda: both("answered"))
        for number in range(20):
            await ask(number)
        await seconds_until(lambda: both("over_budget"))
        rows = await shadows(other)
        answered = [row for row in rows if row["outcome"] == "ok"]
        spent = sum(row["cost_nusd"] for row in answered)
        assert answered and spent <= 60_000_000
        found = (await other.get("/v1/experiments/cheaper/shadow")).json
        assert found["spent_nusd"] == spent and found["arms"][0]["pairs"] == len(answered)
        print(f"\n{len(answered)} shadows for ${spent / 1e9:.4f} of $0.06")


async def act(of: Gateway, path: str, **fields: Any) -> None:
    answer = await of.begin(f"/v1/experiments{path}", "POST", body=json.dumps(fields).encode()).answer()
    assert answer.status in (200, 201), answer.body


async def shadows(of: Gateway) -> list[Any]:
    found: list[Any] = (await of.get("/admin/requests?key=shadow:cheaper.1&kind=shadow&limit=500")).json["requests"]
    return found
