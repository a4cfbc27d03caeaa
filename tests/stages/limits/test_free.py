"""Whoever is answered by the cache is no runaway, however often; whoever buys the same again and again is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import Build, House, lived_in, until
from tests.stages.cache.test_cache import bought
from tests.valkey import Valkey

LOOPS = """
logs: {calls: false}
limits: {chat: [], loops: {wait: 0s}}
budgets: {default_day: 0}
providers:
  main: {type: scripted, price: {input: 1, output: 2}}
routes:
  fast:
    targets: [{provider: main, model: m}]
    cache: {exact: true, single_flight: true}
  alone: {targets: [{provider: main, model: m}]}
"""


@pytest.fixture
async def house(build_house: Build) -> House:
    return await build_house(LOOPS)


async def statuses(house: House, count: int, said: str = "where is my order?", **options: object) -> list[int]:
    return [(await house.ask(said, **options)).status for _ in range(count)]


async def test_the_same_question_may_be_asked_for_ever_where_its_answer_is_kept(house: House):
    assert await statuses(house, 50) == [200] * 50
    assert bought(house) == 1


async def test_where_nothing_is_kept_the_eighth_is_stopped(house: House):
    assert await statuses(house, 10, route="alone") == [200] * 7 + [429] * 3
    assert bought(house) == 7
    (row, *_) = [row for row in await house.rows() if row.status == 429]
    assert (row.outcome, row.error, row.cost_nusd) == ("refused", "loop_suspected", 0)


async def test_what_the_cache_has_answered_does_not_count_when_the_same_is_bought(house: House):
    assert await statuses(house, 10) == [200] * 10
    no_cache = {"cache-control": "no-cache"}
    assert await statuses(house, 10, headers=no_cache) == [200] * 6 + [429] * 4, "one was bought before"
    assert await statuses(house, 5) == [200] * 5, "and what is kept is still given"


async def test_whoever_reads_along_is_no_loop(house: House):
    house.provider("main").says("hello", before=1)
    first = house.begin()
    await until(lambda: house.provider("main").requests)
    others = [house.begin() for _ in range(30)]
    assert [(await asked.reply()).status for asked in (first, *others)] == [200] * 31
    assert bought(house) == 1
    assert await statuses(house, 5) == [200] * 5


async def test_what_another_process_has_answered_from_the_cache_does_not_count_either(valkey: Valkey, tmp_path: Path):
    text = LOOPS.replace("providers:", f"storage: {{valkey: '{valkey.url}', valkey_timeout: 5s}}\nproviders:", 1)
    key = {"TIDEGATE_ADMIN_KEY": "a-key-for-tests-and-nothing-else"}
    async with (
        lived_in(text, tmp_path / "one", key) as one,
        lived_in(text, tmp_path / "other", key, clock=one.clock) as other,
    ):
        one.key = other.key = key["TIDEGATE_ADMIN_KEY"]
        answers = [await statuses(each, 1) for _ in range(6) for each in (one, other)]
        assert answers == [[200]] * 12 and bought(one) + bought(other) == 1
        bought_again = [await statuses(each, 1, route="alone") for _ in range(5) for each in (one, other)]
        assert bought_again == [[200]] * 6 + [[429]] * 4, "one was bought before"
        await until(lambda: not one.left() and not other.left())  # else one counts what the other still does as its own
