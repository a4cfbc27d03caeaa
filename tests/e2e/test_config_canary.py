"""Another configuration for a share of the users, in two real processes on one PostgreSQL, by the command line."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clock import now_s
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

pytestmark = pytest.mark.timeout(300)


@asynccontextmanager
async def two(folder: Path, database: str) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """With folders of their own, as on two machines; both have the candidate's file."""
    before = CONFIG.format(database=database, provider="main", other=GOOD)
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
    began = now_s()
    while not await there():
        assert now_s() - began < 15, "it never came"
        await asyncio.sleep(0.05)
    return now_s() - began


async def test_a_canary_is_one_in_two_processes_be_it_promoted_or_taken_back_and_a_crash_changes_nothing(
    tmp_path: Path, postgres: str
) -> None:
    async with two(tmp_path, postgres) as (one, other):
        begun = await canary(one, "start", "--share", "40%", "--unit", "user")
        assert "running 40.0% of the units (user) have it" in begun

        async def here() -> bool:
            return bool((await shown(other))["here"])

        went_along = await seconds_until(here)
        first, second = await arms(one), await arms(other)
        assert first == second and {*first.values()} == {"main/m", "other/m"}
        await other.kill()  # kill -9, and up again on the same folder
        before = (tmp_path / "other" / "tidegate.yaml").read_text()
        async with gateway(tmp_path / "other", before, PEPPER=PEPPER) as again:
            other = again
            await seconds_until(here)
            assert await arms(other) == first
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
            assert went_along <= 5 and followed <= 5
            print(f"\nthe other process went along after {went_along:.1f} s, and promoted it after {followed:.1f} s")
            await taken_back(tmp_path, one, other)


async def taken_back(folder: Path, one: Gateway, other: Gateway) -> None:
    """A second one, with a provider where nobody answers: whichever process sees it, both are rid of it."""
    for name in ("one", "other"):
        text = (folder / name / "tidegate.yaml").read_text()
        (folder / name / "tidegate.canary.yaml").write_text(text.replace(f"other: {GOOD}", f"other: {DEAD}"))
    asked = json.dumps({"share": "40%", "unit": "user"}).encode()
    assert (await one.begin("/admin/config/canary", "POST", body=asked).answer()).status == 200

    async def here() -> bool:
        return bool((await shown(other))["here"])

    await seconds_until(here)
    unlucky = {user for user, target in (await arms(other)).items() if target == "nobody"}
    assert unlucky
    began = now_s()

    async def well() -> bool:
        return all([(await ask(each, user)).status == 200 for each in (one, other) for user in [*unlucky][:2]])

    everywhere = await seconds_until(well)
    now = await shown(one)
    assert (now["state"], now["by"]) == ("rolled_back", "house") and "failed" in now["why"]
    assert now_s() - began <= 4
    print(f"taken back: {now['why']}; nobody has it in either process {everywhere:.1f} s after it was seen")
