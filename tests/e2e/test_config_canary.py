"""Another configuration for a share of the users, in two real processes on one PostgreSQL, by the command line."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import KEY, Answer, Gateway, child, gateway

PEPPER = "a-pepper-that-all-machines-share-and-only-they"
CONFIG = """
logs: {{calls: false}}
budgets: {{default_day: 0}}
limits: {{chat: [], loops: {{policy: "off"}}}}
storage: {{database: "{database}"}}
auth: {{peppers: ["env:PEPPER"]}}
providers:
  main: {{type: scripted, price: {{input: 1, output: 2}}}}
  other: {other}
routes:
  fast: {{targets: [{{provider: {provider}, model: m}}]}}
"""
GOOD, DEAD = "{type: scripted, price: {input: 1, output: 2}}", '{type: openai, base_url: "http://127.0.0.1:9"}'

pytestmark = pytest.mark.timeout(120)


@asynccontextmanager
async def two(folder: Path, database: str, *, other: str = GOOD) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """With folders of their own, as on two machines; both have the candidate's file."""
    before = CONFIG.format(database=database, provider="main", other=other)
    for name in ("one", "other"):
        (folder / name).mkdir()
        (folder / name / "tidegate.canary.yaml").write_text(before.replace("provider: main", "provider: other"))
    async with (
        gateway(folder / "one", before, PEPPER=PEPPER) as one,
        gateway(folder / "other", before, PEPPER=PEPPER) as another,
    ):
        yield one, another


async def canary(of: Gateway, *args: str) -> str:
    """What the command says."""
    command = ("-m", "tidegate.cli", "canary", *args, "--url", of.url, "--key", KEY)
    async with child(*command, program=sys.executable) as found:
        assert await found.ends() == 0, found.said
        return found.said


async def shown(of: Gateway) -> Any:
    return (await of.get("/admin/config/canary")).json


async def ask(of: Gateway, user: str) -> Answer:
    return await of.ask(headers={"x-tidegate-user": user})


async def arms(of: Gateway) -> dict[str, str]:
    """Who is answered by whom."""
    return {f"u{at}": (await ask(of, f"u{at}")).headers.get("x-tidegate-target", "nobody") for at in range(24)}


async def seconds_until(there: Any) -> float:
    began = time.monotonic()
    while not await there():
        assert time.monotonic() - began < 15, "it never came"
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def test_both_processes_give_the_same_users_the_same_and_a_promotion_is_one_in_both(
    tmp_path: Path, postgres: str
) -> None:
    async with two(tmp_path, postgres) as (one, other):
        assert "running 40.0% of the units (user) have it" in await canary(
            one, "start", "--share", "40%", "--unit", "user"
        )

        async def here() -> bool:
            return bool((await shown(other))["here"])

        went_along = await seconds_until(here)
        first, second = await arms(one), await arms(other)
        assert first == second and {*first.values()} == {"main/m", "other/m"}
        assert "candidate" in await canary(other, "show")
        await canary(other, "promote")

        async def promoted() -> bool:
            return {*(await arms(one)).values()} == {"other/m"}

        followed = await seconds_until(promoted)
        assert {*(await arms(other)).values()} == {"other/m"}
        for name in ("one", "other"):
            assert "provider: other" in (tmp_path / name / "tidegate.yaml").read_text()
            assert "provider: main" in (tmp_path / name / "tidegate.before.yaml").read_text()
            assert not (tmp_path / name / "tidegate.canary.yaml").exists()
        assert went_along <= 8 and followed <= 4
        print(f"\nthe other process went along after {went_along:.1f} s, and promoted it after {followed:.1f} s")


async def test_what_is_dead_is_taken_back_in_both_within_seconds_and_a_crash_in_between_changes_nothing(
    tmp_path: Path, postgres: str
) -> None:
    async with two(tmp_path, postgres, other=DEAD) as (one, other):
        await canary(one, "start", "--share", "40%", "--unit", "user")
        (answer,) = [(await one.get("/admin/config/canary")).json]
        await other.kill()  # kill -9, and up again on the same folder
        async with gateway(
            tmp_path / "other", (tmp_path / "other" / "tidegate.yaml").read_text(), PEPPER=PEPPER
        ) as again:

            async def here() -> bool:
                return bool((await shown(again))["here"])

            await seconds_until(here)
            before = {user for user, target in (await arms(again)).items() if target == "nobody"}
            assert before

            async def back() -> bool:
                return (await shown(one))["state"] == "rolled_back" and not (await shown(one))["here"]

            await seconds_until(back)
            began = time.monotonic()

            async def answered() -> bool:
                return all([(await ask(each, user)).status == 200 for each in (one, again) for user in [*before][:2]])

            everywhere = await seconds_until(answered)
            now = await shown(one)
            assert now["by"] == "house" and now["config"] == answer["config"]
            assert "failed" in now["why"]
            assert time.monotonic() - began <= 4
            print(f"\ntaken back: {now['why']}; nobody has it in either process {everywhere:.1f} s later")
            assert json.loads(await canary(one, "show", "--json"))["state"] == "rolled_back"
