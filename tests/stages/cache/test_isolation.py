"""Nobody ever gets another's answer: by key, team, system prompt, tools, parameters, prompt version or masked value.

Each is shown twice: what differs is bought, and what does not is given. TIDEGATE_CANARY=10000 makes so many calls under
load, in place of 600.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.house import Build, House, until
from tests.stages.cache.test_cache import CACHED, GUARDS, SHARED, bought, cache_of, keys, said
from tests.stages.cache.test_inflight import asking
from tests.stages.cache.test_meaning import ALIKE, LONG, settled
from tidegate.gateway import Gateway

NEAR = LONG.lower() + "?"  # means the same

LOOK = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
DIFFERENT: dict[str, dict[str, Any]] = {
    "system prompt": {"before": [{"role": "system", "content": "be kind"}]},
    "what was said before": {"before": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    "tools": {"tools": LOOK},
    "tool choice": {"tools": LOOK, "tool_choice": "none"},
    "temperature": {"temperature": 0.1},
    "top_p": {"top_p": 0.1},
    "max_tokens": {"max_tokens": 100},
    "stop": {"stop": ["x"]},
    "route": {"route": "other"},
}


async def ask(house: House, text: str, before: Any = (), **fields: Any) -> Any:
    reply = await house.ask([*before, {"role": "user", "content": text}], **fields)
    await settled(house)
    return reply


@pytest.mark.parametrize("what", DIFFERENT)
async def test_what_means_the_same_is_given_only_where_all_else_is_the_same(build_house: Build, what: str):
    house = await build_house(ALIKE)
    for text in ("one", "two"):
        house.provider("main").says(text)
    options = DIFFERENT[what]
    assert (await ask(house, LONG)).text == "one"
    assert cache_of(await ask(house, LONG, **options))[0] == "miss", what
    for asked, answer in ((options, "two"), ({}, "one")):
        hit = await ask(house, NEAR, **asked)
        assert (hit.text, cache_of(hit)) == (answer, ("hit", "semantic")), what
    assert bought(house) == 2


@pytest.mark.parametrize("scope", SHARED)
async def test_what_means_the_same_is_given_within_its_scope_and_nowhere_else(build_house: Build, scope: str):
    house = await build_house(ALIKE.replace("scope: global", f"scope: {scope}"))
    known = await keys(house)
    hits = set()
    for name, key in known.items():
        own = f" {name} {name}"  # a question of its own for each, so that nobody finds what the one before has bought
        await ask(house, LONG + own, key=known["ann"])
        if cache_of(await ask(house, NEAR + own, key=key))[0] == "hit":
            hits.add(name)
    assert hits == SHARED[scope] | {"ann"}


@pytest.mark.parametrize("scope", SHARED)
async def test_who_asks_at_the_same_time_reads_along_within_the_scope_and_nowhere_else(build_house: Build, scope: str):
    house = await build_house(CACHED.replace("exact: true, single", f"exact: true, scope: {scope}, single"))
    known = await keys(house)
    house.clock.hold()
    house.provider("main").always(before=1)
    payer = house.begin(key=known["ann"])
    await until(lambda: house.provider("main").requests)
    others = {name: house.begin(key=key) for name, key in known.items()}
    table = house.app.gateway.cache.shelf.table
    await until(lambda: sum(len(flight._readers) for flight in table.values()) == 1 + len(others))
    advancing = asyncio.create_task(house.clock.advance(30))
    assert cache_of(await payer.reply())[0] == "miss"
    shared = {name for name, asked in others.items() if cache_of(await asked.reply())[0] == "shared"}
    await advancing
    # Of those who may not read along with ann, some may with each other.
    assert shared & (SHARED[scope] | {"ann"}) == SHARED[scope] | {"ann"}
    payers = {"key": 6, "team": 5, "organisation": 2, "global": 1}[scope]
    assert bought(house) == payers


@pytest.mark.parametrize("text", [CACHED, ALIKE], ids=["exact", "semantic"])
async def test_another_version_of_a_prompt_has_other_answers(
    build_house: Build, monkeypatch: pytest.MonkeyPatch, text: str
):
    """The seam: whoever renders prompts writes their name and version on the call before it comes here."""
    understand = Gateway.understand

    def rendered(self: Gateway, call: Any, body: bytes) -> None:
        understand(self, call, body)
        call.prompt = call.named.get(b"x-prompt", b"").decode() or None

    monkeypatch.setattr(Gateway, "understand", rendered)
    house = await build_house(text)
    for version in ("greet@1", "greet@2"):
        house.provider("main").says(version)
        assert cache_of(await ask(house, LONG, headers={"x-prompt": version}))[0] == "miss"
    for version in ("greet@1", "greet@2"):
        hit = await ask(house, LONG, headers={"x-prompt": version})
        assert (hit.text, cache_of(hit)[0]) == (version, "hit")
    assert cache_of(await ask(house, LONG))[0] == "miss"


async def test_what_means_the_same_is_kept_masked_and_each_caller_gets_its_own_values_back(
    build_house: Build, tmp_path: Path
):
    house = await build_house(ALIKE + GUARDS)
    house.provider("main").says("mail to [[EMAIL_1]]")
    for name, result in (("ann", "miss"), ("bob", "hit")):
        reply = await ask(house, f"{LONG} write to {name}@example.org")
        assert (reply.text, cache_of(reply)[0]) == (f"mail to {name}@example.org", result)
    other = await ask(house, f"{LONG} write to ann@example.org and bob@example.org")
    assert cache_of(other)[0] == "miss"
    files = sorted((tmp_path / "data").glob("semantic.sqlite*"))
    assert files and not any(b"example.org" in file.read_bytes() for file in files), "nothing unmasked is at rest"


CANARY = f"{CACHED.replace('exact: true, single_flight: true', 'exact: true, single_flight: true, scope: team')}"
CALLS = int(os.environ.get("TIDEGATE_CANARY", "600"))
QUESTIONS, AT_ONCE = CALLS // 10, 500


async def test_under_load_each_call_has_its_own_answer(build_house: Build):
    """Four keys of three teams, streamed and not, two dialects, some of them leaving: and every answer is its own."""
    house = await build_house(CANARY)
    known = list((await keys(house)).values())[:4]
    dice = random.Random(3)
    house.provider("main").always(before=0.05, between=0.01)
    asked = [(dice.randrange(QUESTIONS), dice.choice(known), at) for at in range(CALLS)]
    under_way: list[tuple[int, Any]] = []
    whole = left = 0

    async def heard(question: int, one: Any) -> None:
        nonlocal whole
        reply = await one.reply()
        assert reply.status == 200 and said(reply) == f"You said 1 words: q{question}", (question, reply.body)
        whole += 1

    for question, key, at in asked:
        one = asking(house, f"q{question}", at, key=key)
        if dice.random() < 0.05:
            await asyncio.sleep(0)
            one.leave()
            await one.task
            left += 1
            continue
        under_way.append((question, one))
        if len(under_way) >= AT_ONCE:
            for started in under_way[: AT_ONCE // 2]:
                await heard(*started)
            del under_way[: AT_ONCE // 2]
    for started in under_way:
        await heard(*started)
    assert whole + left == CALLS and left > CALLS / 40
    assert bought(house) <= QUESTIONS * 3 + left, "of three teams each buys a question once, but for those that left"
