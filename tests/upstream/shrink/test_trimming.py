"""What was said long ago in a long chat?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.house import Build, House
from tidegate.config import parse
from tidegate.core.errors import ConfigError

HOUSE = """
logs: {calls: false}
providers: {main: {type: scripted, price: {input: 1, output: 2}}, small: {type: scripted}}
routes:
  fast:
    targets: [{provider: main, model: m}]
    shrink: {trim: {route: cheap, above: 500, keep: 1}}
  cheap: {targets: [{provider: small, model: s}]}
"""
LONG = "The gate opens at six, says its keeper. " * 30


def turn(number: int) -> list[Any]:
    return [{"role": "user", "content": f"{number} {LONG}"}, {"role": "assistant", "content": f"so {number}"}]


def asks(turns: int) -> list[Any]:
    return [
        {"role": "system", "content": "be kind"},
        *(one for at in range(turns) for one in turn(at)),
        *turn(turns)[:1],
    ]


def sent(house: House) -> list[Any]:
    messages: list[Any] = json.loads(house.provider("main").requests[-1].body)["messages"]
    return messages


async def test_the_oldest_turns_go_out_as_a_summary(build_house: Build) -> None:
    house = await build_house(HOUSE)
    house.provider("small").says("It opens at six.")
    reply = await house.ask(asks(3))
    assert [one["content"] for one in sent(house)[:3]] == [
        "be kind",
        "Before this, in short: It opens at six.",
        "I remember.",
    ]
    assert sent(house)[3:] == turn(3)[:1]
    assert reply.row and reply.row.shrunk and reply.row.shrunk.trimmed
    assert reply.row.shrunk.after < reply.row.shrunk.before / 3
    assert reply.headers["x-tidegate-shrunk"].startswith("trimmed; before=")


async def test_the_summary_is_a_call_of_our_own(build_house: Build) -> None:
    house = await build_house(HOUSE)
    house.provider("small").says("It opens at six.")
    reply = await house.ask(asks(3))
    own = next(row for row in await house.rows() if row.purpose == "trim")
    assert (own.parent, own.key_id, own.route) == (reply.id, "house", "cheap")


async def test_later_turns_have_the_same_summary_at_once(build_house: Build) -> None:
    house = await build_house(HOUSE.replace("above: 500", "above: 900"))
    house.provider("small").says("It opens at six.")
    await house.ask(asks(3))
    first = sent(house)
    await house.ask([*asks(3), {"role": "assistant", "content": "ok"}, {"role": "user", "content": "and then?"}])
    assert sent(house)[: len(first)] == first
    assert len(house.provider("small").requests) == 1


async def test_a_summary_that_is_too_old_is_told_with_what_came_after(build_house: Build) -> None:
    house = await build_house(HOUSE)
    house.provider("small").says("It opens at six.")
    house.provider("small").says("It opens at six, and so on.")
    await house.ask(asks(3))
    await house.ask(asks(6))
    told = json.loads(json.loads(house.provider("small").requests[-1].body)["messages"][1]["content"])
    assert told[0] == {"before": "It opens at six."} and told[1]["user"].startswith("3 ")
    assert sent(house)[1]["content"] == "Before this, in short: It opens at six, and so on."


@pytest.mark.parametrize("answer", [{"status": 400}, {"text": " "}])
async def test_without_a_summary_the_conversation_goes_out_whole(build_house: Build, answer: dict[str, Any]) -> None:
    house = await build_house(HOUSE)
    house.provider("small").always(**answer)
    reply = await house.ask(asks(3))
    assert (reply.status, sent(house)) == (200, asks(3))
    assert b'tidegate_notices_total{name="trim_failed"} 1.0' in house.app.metrics.page()


async def test_nobody_is_given_what_was_said_to_others(build_house: Build) -> None:
    house = await build_house(HOUSE)
    house.provider("small").always("It opens at six.")
    await house.ask(asks(3), user="ann")
    await house.ask(asks(3), user="bob")
    assert len(house.provider("small").requests) == 2


async def test_when_somebody_is_forgotten_so_are_summaries(build_house: Build) -> None:
    house = await build_house(HOUSE)
    house.provider("small").always("It opens at six.")
    await house.ask(asks(3))
    await house.app.gateway.archive._purge("subject:x")
    await house.ask(asks(3))
    assert len(house.provider("small").requests) == 2


async def test_a_short_conversation_stays_as_it_is(build_house: Build) -> None:
    house = await build_house(HOUSE)
    reply = await house.ask("hi")
    assert reply.row and reply.row.shrunk is None and not house.provider("small").requests


async def test_trimmed_and_shorter_at_once(build_house: Build) -> None:
    house = await build_house(HOUSE.replace("shrink: {", "shrink: {level: lossless, "))
    house.provider("small").says("It opens at six.")
    rows = json.dumps([{"id": at, "name": "Ann Moor", "town": "Moorgate"} for at in range(40)], indent=2)
    reply = await house.ask([*asks(3)[:-1], {"role": "user", "content": rows}])
    assert sent(house)[-1]["content"].startswith("40 rows")
    assert reply.headers["x-tidegate-shrunk"].startswith("lossless; trimmed; before=")


@pytest.mark.parametrize(
    ("trim", "said"), [("{route: nobody}", "no route 'nobody'"), ("{route: r}", "itself"), ("{above: 3}", "above")]
)
def test_a_wrong_setting_is_named(trim: str, said: str) -> None:
    route = f"{{targets: [{{provider: a, model: m}}], shrink: {{trim: {trim}}}}}"
    with pytest.raises(ConfigError, match=r"routes\.r\.shrink\.trim") as wrong:
        parse(f"providers: {{a: {{type: scripted}}}}\nroutes: {{r: {route}}}", {})
    assert said in wrong.value.message
