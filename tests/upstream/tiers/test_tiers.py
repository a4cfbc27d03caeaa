"""A route with tiers, from outside: who answers which question, what is told of that, and what is never chosen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.house import Build, House, Reply, until
from tidegate.config import parse
from tidegate.core.errors import ConfigError
from tidegate.core.tiers import Chosen
from tidegate.upstream.tiers import ANEW, Config, trouble

EASY = "What is the capital of France?"
HARD = (
    "If each of the three teams, which had more members than they needed, lost half of them, and the second then won "
    "back twice as many as the first, how many were left in total, unless some of them never came?"
)
TWO = """
logs: {calls: false}
upstream: {retry: {tries: 1}}
providers:
  main: {type: scripted, price: {input: 0.1, output: 0.2}}
  spare: {type: scripted, price: {input: 3, output: 6}}
routes:
  auto: {tiers: {simple: small, complex: spare/large}%s}
  small: {targets: [{provider: main, model: small}]%s}
"""


@pytest.fixture
async def house(build_house: Build) -> House:
    return await build_house(TWO % ("", ""))


def tier(reply: Reply) -> str:
    """As the header says; the row says the same."""
    assert reply.row is not None and reply.row.chosen is not None
    assert reply.headers["x-tidegate-tier"] == reply.row.chosen.tier
    return reply.row.chosen.tier


async def ask(house: House, said: Any = EASY, **options: Any) -> Reply:
    return await house.ask(said, route="auto", **options)


async def test_an_easy_question_is_for_the_cheap_tier_and_a_hard_one_for_the_dear(house: House) -> None:
    easy, hard = await ask(house, EASY), await ask(house, HARD)
    assert (tier(easy), easy.headers["x-tidegate-target"]) == ("simple", "main/small")
    assert (tier(hard), hard.headers["x-tidegate-target"]) == ("complex", "spare/large")
    assert easy.headers["x-tidegate-route"] == "auto" == easy.row.route


async def test_the_row_says_why(house: House) -> None:
    chosen = (await ask(house, HARD)).row.chosen
    assert isinstance(chosen, Chosen) and chosen.why == "quality 0.95" and chosen.hard > 0.3
    assert len(chosen.chances) == 2 and 0.5 < chosen.chances[0] < chosen.chances[1] < 1


async def test_a_route_without_tiers_says_nothing_of_them(house: House) -> None:
    reply = await house.ask(EASY, route="small")
    assert "x-tidegate-tier" not in reply.headers and reply.row.chosen is None


async def test_where_a_tier_does_not_answer_the_next_dearer_one_does(house: House) -> None:
    house.provider("main").always(status=503)
    reply = await ask(house)
    assert tier(reply) == "simple" and reply.attempts == ["main: failed", "spare: ok"]
    assert [one.why for one in reply.row.attempts] == ["first", "fallback"]


async def test_what_is_refused_is_not_asked_again_of_a_dearer_tier(house: House) -> None:
    house.provider("main").always(status=400)
    reply = await ask(house)
    assert reply.status == 400 and reply.attempts == ["main: refused"]


async def test_a_dear_tier_never_falls_back_to_a_cheap_one(house: House) -> None:
    house.provider("spare").always(status=503)
    reply = await ask(house, HARD)
    assert reply.error is not None and reply.attempts == ["spare: failed"]


@pytest.mark.parametrize(
    ("router", "easy", "hard"),
    [
        ("strong_share: 0", "simple", "simple"),
        ("strong_share: 1", "complex", "complex"),
        ("max_cost: 0.05", "simple", "simple"),
        ("quality: 1", "complex", "complex"),
        ("quality: 0.5", "simple", "simple"),
    ],
)
async def test_one_knob_moves_it(build_house: Build, router: str, easy: str, hard: str) -> None:
    house = await build_house(TWO % (f", router: {{{router}}}", ""))
    assert [tier(await ask(house, said)) for said in (EASY, HARD)] == [easy, hard]


async def test_a_session_keeps_its_tier_or_goes_up(house: House) -> None:
    talk = {"headers": {"x-tidegate-session": "s1"}}
    assert [tier(await ask(house, said, **talk)) for said in (EASY, HARD, EASY)] == ["simple", "complex", "complex"]
    reply = await ask(house, EASY, **talk)
    assert reply.row.chosen.why == "as before in this session"
    assert tier(await ask(house, EASY, headers={"x-tidegate-session": "s2"})) == "simple"
    await house.clock.advance(31 * 60)
    assert tier(await ask(house, EASY, **talk)) == "simple", "half an hour later it is another talk"


async def test_what_a_call_needs_decides_before_how_hard_it_is(build_house: Build) -> None:
    house = await build_house(TWO % (", router: {tools: complex, images: complex, json: complex}", ""))
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    picture = [{"type": "text", "text": EASY}, {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    assert tier(reply := await ask(house, tools=tools)) == "complex" and reply.row.chosen.why.endswith("; it has tools")
    assert tier(await ask(house, [{"role": "user", "content": picture}])) == "complex"
    assert tier(await ask(house, response_format={"type": "json_object"})) == "complex"
    assert tier(await ask(house)) == "simple"


async def test_a_long_call_goes_where_there_is_room(build_house: Build) -> None:
    house = await build_house(TWO % (", router: {strong_share: 0, context: {simple: 100}}", ""))
    long = [{"role": "system", "content": "mind this " * 60}, {"role": "user", "content": EASY}]
    reply = await ask(house, long)
    assert tier(reply) == "complex" and "tokens" in reply.row.chosen.why
    assert tier(await ask(house)) == "simple"


async def test_a_tier_of_another_team_is_never_chosen(build_house: Build) -> None:
    house = await build_house(TWO % ("", ", owner: somebody"))
    text, _ = await house.app.gateway.auth.create("ours", "live", admin=False)
    reply = await ask(house, EASY, key=text)
    assert (tier(reply), reply.headers["x-tidegate-target"]) == ("complex", "spare/large")
    assert (await house.ask(EASY, route="main/small", key=text)).status == 403, "nor is it open to who asks for it"


async def test_a_key_that_names_some_tiers_gets_only_those(build_house: Build) -> None:
    house = await build_house(TWO % (", router: {quality: 1}", ""))
    only, _ = await house.app.gateway.auth.create("cheap", "live", admin=False, routes=("auto", "small"))
    every, _ = await house.app.gateway.auth.create("all", "live", admin=False, routes=("auto",))
    assert tier(await ask(house, HARD, key=only)) == "simple"
    assert tier(await ask(house, HARD, key=every)) == "complex"


async def test_the_price_follows_the_questions_that_come(build_house: Build) -> None:
    house = await build_house(TWO % (", router: {strong_share: 0.5}", ""))
    assert tier(await ask(house, HARD)) == "complex"
    for _ in range(ANEW):
        await ask(house, HARD, stream=False)
    await until(lambda: not house.left())
    later = [tier(await ask(house, HARD, stream=False)) for _ in range(3)]
    assert set(later) == {"simple"}, "all are as hard, and at most half may go to the last tier"


# --- how it is configured


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as wrong:
        parse(text, {})
    return wrong.value.message


@pytest.mark.parametrize(
    ("tiers", "router", "wrong"),
    [
        ("{simple: small}", "", "needs at least two"),
        ("{simple: small, complex: nobody}", "", "tiers.complex: no route 'nobody'"),
        ("{simple: small, complex: auto}", "", "has tiers itself"),
        ("{simple: small, complex: spare/x}", "quality: 0.9, max_cost: 0.5", "router.max_cost: only one promise"),
        (
            "{simple: small, complex: spare/x}",
            "tools: complx",
            "router.tools: no tier 'complx'; there are: simple, complex",
        ),
        ("{simple: small, complex: spare/x}", "context: {big: 10}", "router.context.big: no tier 'big'"),
        ("{simple: small, complex: spare/x}", "weights: none.json", "router.weights: none.json: holds no weights"),
        ("{simple: small, complex: spare/x}", "quality: 1.5", "router.quality"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_key(tiers: str, router: str, wrong: str) -> None:
    text = TWO.replace("{simple: small, complex: spare/large}", tiers) % (
        f", router: {{{router}}}" if router else "",
        "",
    )
    assert wrong in refused(text)


def test_a_route_has_targets_or_tiers() -> None:
    assert "leave one of them out" in refused(TWO % (", targets: [{provider: main, model: m}]", ""))
    assert "needs at least one; or give the route tiers" in refused("routes: {a: {timeout: 5s}}")


def test_a_router_needs_tiers() -> None:
    assert trouble(Config(), ()) is None
    assert "give the route tiers" in refused(TWO % ("", ", router: {quality: 0.9}"))
