"""What can be seen of a route that learns: on the page of metrics, by its path, in the terminal and as an alert."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from typing import Any

import pytest
from click.testing import CliRunner

from tests.house import Build, House
from tests.upstream.tiers.test_pupil import LEARNS, learn
from tests.upstream.tiers.test_shared import asked, opine, pupil
from tidegate.cli import main
from tidegate.upstream.tiers.known import WINDOW


@pytest.fixture
async def house(build_house: Build) -> House:
    return await build_house(LEARNS + "  plain: {targets: [{provider: main, model: m}]}\n")


class Heard:
    """Whoever listens."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, Any]]] = []

    def call_began(self, call: Any) -> None: ...

    def call_ended(self, call: Any, row: Any) -> None: ...

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        self.told.append((name, fields))


def judged(house: House, id: str | None, score: float) -> None:
    assert pupil(house).told(str(id), score, "judge", share=0.05)


async def test_quality_saving_and_labels_are_metrics(house: House) -> None:
    for at, good in enumerate((1.0, 1.0, 0.0)):
        id = await asked(house, by=at)
        judged(house, id, good)
        await opine(house, id)
    await pupil(house).share()
    page = (await house.get("/metrics")).body.decode()
    whose = 'organisation="default",route="auto"'
    assert f'tidegate_tiers_quality{{bound="value",{whose},source="judge"}} 0.66' in page
    assert f'tidegate_tiers_quality{{bound="value",{whose},source="said"}} 1.0' in page
    assert f"tidegate_tiers_labels{{{whose}}} 6.0" in page
    assert f"tidegate_tiers_saving_ratio{{{whose}}} 0." in page


async def test_its_path_tells_the_same_and_of_others_nothing(house: House) -> None:
    judged(house, await asked(house), 1.0)
    await pupil(house).share()
    (one,) = (await house.get("/admin/routes/auto/tiers")).events[0]["data"]
    assert (one["route"], one["organisation"], one["labels"], one["learned"]) == ("auto", "default", 1, False)
    assert one["found"]["quality"]["judge"]["of"] == 1 and one["found"]["regret"] is None
    for name in ("plain", "nobody"):
        assert (await house.get(f"/admin/routes/{name}/tiers")).status == 404


async def test_the_terminal_says_it_in_words(house: House) -> None:
    async with house.serve() as url:
        empty = await run(house, url, "auto")
        judged(house, await asked(house), 1.0)
        await pupil(house).share()
        told, whole = await run(house, url, "auto"), await run(house, url, "auto", "--json")
        wrong = await run(house, url, "plain")
    assert "nothing is known of auto yet" in empty
    first, quality, *_ = told.splitlines()
    assert first == "auto, default: 1 labels; chosen by the prior"
    assert quality.startswith("  quality 1.000 (0.") and quality.endswith(", of 1), as judges say")
    assert json.loads(whole)["data"][0]["labels"] == 1
    assert "no route 'plain' with tiers" in wrong


async def run(house: House, url: str, *words: str) -> str:
    told = ["route", "report", *words, "--url", url, "--key", house.key]
    return (await asyncio.to_thread(CliRunner().invoke, main, told)).output


async def test_questions_that_have_become_others_are_told_once_until_it_has_learned_anew(house: House) -> None:
    heard = Heard()
    house.app.world.events.add(heard)  # type: ignore[attr-defined]
    await learn(house)
    chance = random.Random(8)
    for _ in range(60):
        await asked(house, topic="physics", by=chance.randrange(10**6))
    assert "tiers_drifted" not in [name for name, _ in heard.told]
    for at in range(140):
        await house.ask(f"zebra{at} quartz{at} oboe{at} fjord{at}", route="auto", stream=False)
    ((_, fields),) = [one for one in heard.told if one[0] == "tiers_drifted"]
    assert fields["route"] == "auto" and fields["organisation"] == "default" and fields["strange"] > 0.2
    (known,) = pupil(house).figures
    assert known.strange is not None and known.strange > 0.5 and WINDOW > 200
