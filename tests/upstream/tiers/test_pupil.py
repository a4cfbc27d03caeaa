"""A route that learns: opinions of its answers change who is asked, in that organisation and nowhere else."""

from __future__ import annotations

import json
import random
from pathlib import Path

import msgspec
import pytest

from tests.house import Build, House, lived_in, until
from tests.upstream.tiers.test_tiers import tier
from tidegate import config
from tidegate.core.errors import ConfigError
from tidegate.upstream.tiers.pupil import LEAST

LEARNS = """
logs: {calls: false}
cache: {embedder: "tests.stages.cache.words:Words"}
providers:
  main: {type: scripted, price: {input: 0.1, output: 0.2}}
  spare: {type: scripted, price: {input: 3, output: 6}}
routes:
  auto: {tiers: {simple: main/small, complex: spare/large}, router: {learn: true, explore: 50%, quality: 0.95}}
"""
FILLER = ("green", "blue", "red", "small", "large", "old", "new", "warm", "cold", "tall", "short", "wide")


def question(topic: str, chance: random.Random) -> str:
    return f"Please tell me about {topic} {topic} {topic} and {' '.join(chance.sample(FILLER, 3))}"


@pytest.fixture
async def house(build_house: Build) -> House:
    built = await build_house(LEARNS)
    built.app.gateway.upstream.tiers._chance = random.Random(3)  # who is explored is the same every time
    return built


async def learn(house: House, count: int = LEAST + 20) -> None:
    """The cheap tier is bad at physics, and the dear one good at everything, nearly."""
    chance = random.Random(5)
    for at in range(count):
        topic = ("physics", "cooking")[at % 2]
        reply = await house.ask(question(topic, chance), route="auto", stream=False)
        good = chance.random() < (0.1 if tier(reply) == "simple" and topic == "physics" else 0.95)
        said = {"request_id": reply.id, "thumbs": "up" if good else "down"}
        assert (await house.ask(path="/v1/feedback", body=json.dumps(said).encode())).status == 201
    await until(lambda: not house.left())


async def chances(house: House, topic: str, **options: str) -> tuple[str, tuple[float, ...]]:
    reply = await house.ask(question(topic, random.Random(9)), route="auto", stream=False, **options)
    assert reply.row.chosen is not None
    return reply.row.chosen.why, reply.row.chosen.chances


async def test_until_enough_was_said_the_prior_speaks(house: House) -> None:
    await learn(house, 20)
    why, (cheap, dear) = await chances(house, "physics")
    assert "learned" not in why and 0.5 < cheap < dear


async def test_what_was_said_of_answers_is_learned_by_topic(house: House) -> None:
    await learn(house)
    _, (bad, good) = await chances(house, "physics")
    _, (fine, as_good) = await chances(house, "cooking")
    assert bad < 0.45 < 0.75 < min(good, as_good) and fine > bad + 0.15
    told = [(await chances(house, "cooking"))[0] for _ in range(8)]
    assert "quality 0.95, as learned" in told and set(told) <= {"quality 0.95, as learned", "explored"}


async def test_a_route_that_learns_needs_an_embedder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wrods"):
        async with lived_in(LEARNS.replace("tests.stages.cache.words:Words", "wrods"), tmp_path):
            pass


async def test_the_first_route_that_learns_cannot_come_while_serving(build_house: Build) -> None:
    house = await build_house(LEARNS.replace("learn: true, ", ""))
    with pytest.raises(ConfigError, match="cannot come while serving; start again"):
        await house.app.reload(msgspec.structs.replace(house.app.config, routes=config.parse(LEARNS, {}).routes))


async def test_who_asks_again_was_not_helped(build_house: Build) -> None:
    house = await build_house(LEARNS + "limits: {loops: {policy: warn}}\n")
    chance = random.Random(2)
    for at in range(LEAST // 2 + 10):  # a judge of theirs says so of every other answer; the rest ask again
        topic = ("physics", "cooking")[at % 2]
        talk = {"x-tidegate-session": f"s{at}"}
        said = question(topic, chance)
        for turn in range(2):
            reply = await house.ask(said + "?" * turn, route="auto", stream=False, headers=talk)
        judged = {"request_id": reply.id, "score": 0.9, "source": "agent"}
        await house.ask(path="/v1/feedback", body=json.dumps(judged).encode())
    await until(lambda: not house.left())
    assert (await chances(house, "cooking"))[0] in ("quality 0.95, as learned", "explored")
