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

pytestmark = pytest.mark.timeout(120)


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
