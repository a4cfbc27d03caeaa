"""A run asks everything once, writes every answer down, and ends in good order."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from tests.house import TWO_PROVIDERS
from tests.jobs.evals.conftest import prepared, run
from tidegate.core.errors import ConfigError
from tidegate.core.limits import Budget
from tidegate.core.scores import Case, Said
from tidegate.jobs.evals.subject import Function

CACHED = TWO_PROVIDERS.replace("order: 2}]", "order: 2}]\n    cache: {exact: true, single_flight: true}")


async def test_answers_have_scores_costs_and_rows_of_their_kind(house, out: Path):
    found = await run(house, prepared("hello", "world", repeats=2), out)
    assert found.halt == "" and found.results.missing == []
    passed = {(one.case, one.repeat): one.passed for one in found.results.answers}
    assert passed == {("hello", 0): True, ("hello", 1): True, ("world", 0): True, ("world", 1): True}
    rows = await house.rows()
    assert {row.kind for row in rows} == {"eval"} and {row.tags for row in rows} == {("eval:" + "r" * 32,)}
    assert sum(row.cost_nusd for row in rows) == sum(one.cost_nusd for one in found.results.answers) > 0
    assert {row.id for row in rows} == {one.request_id for one in found.results.answers}


async def test_what_is_there_is_not_asked_again(house, out: Path):
    suite = prepared("a", "b", "c")
    whole = await run(house, suite, out)
    lines = out.read_bytes().splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:2]) + lines[2][:20])  # a crash in the middle of a line
    again = await run(house, suite, out)
    assert again.results.missing == [] and len(out.read_bytes().splitlines()) == 4
    assert {one.case: one.text for one in again.results.answers} == {
        one.case: one.text for one in whole.results.answers
    }
    # The two that were asked again were answered with what had been paid for: nothing was bought twice.
    rows = await house.rows()
    assert len(house.provider("main").requests) == 3 and len(rows) == 5
    assert sum(row.cost_nusd for row in rows) == sum(one.cost_nusd for one in again.results.answers)


async def test_a_suite_that_was_changed_meanwhile_is_not_gone_on_with(house, out: Path):
    await run(house, prepared("a", "b"), out)
    kept = out.read_bytes()
    with pytest.raises(ConfigError, match=r"the suite .* has changed since this run began"):
        await run(house, prepared("a", "c"), out)
    with pytest.raises(ConfigError, match="the number of repeats has changed"):
        await run(house, prepared("a", "b", repeats=2), out)
    assert out.read_bytes() == kept


async def test_repeats_are_asked_anew_whatever_is_kept_or_in_the_air(build_house, out: Path, tmp_path: Path):
    house = await build_house(CACHED)
    await house.ask("a", stream=False)
    house.provider("main").always("a", before=0.05)  # they are in the air together
    await run(house, prepared("a", repeats=4), out)
    assert len(house.provider("main").requests) == 5
    house.provider("main").always("a")
    await run(house, prepared("a"), tmp_path / "once.jsonl")
    assert len(house.provider("main").requests) == 5  # once, an answer that is kept will do


async def test_what_may_be_spent_is_not_exceeded_and_what_is_missing_is_told(house, out: Path):
    suite = prepared(*(f"{n}" for n in range(40)), max_cost_usd=0.0002)  # each costs 14 µ$
    found = await run(house, suite, out)
    spent = sum(row.cost_nusd for row in await house.rows())
    assert spent <= 200_000 and "of at most $0.000200000 is spent" in found.halt
    assert len(found.results.answers) == 14 and len(found.results.missing) == 26


async def test_a_budget_that_runs_out_ends_it_in_good_order(build_house, out: Path):
    house = await build_house(TWO_PROVIDERS + "budgets: {}\n")
    key, _ = await house.app.gateway.auth.create(
        "poor", "test", admin=False, scopes=("eval",), budgets=(Budget(20_000_000, "day"),)
    )
    house.provider("main").always("x", usage={"prompt_tokens": 1000, "completion_tokens": 1000})  # $0.003
    found = await run(house, prepared(*(f"{n}" for n in range(40)), parameters={"max_tokens": 1000}), out, key=key)
    assert "budget_spent" in found.halt
    # Several at once set more aside than they cost: those wait for the others, and none gives up too early.
    assert len(found.results.answers) == 4 and len(found.results.missing) == 40 - len(found.results.answers)
    assert all(not one.error for one in found.results.answers)


async def test_a_key_that_may_not_call_its_calls_an_evaluations_is_told(house, out: Path):
    key, _ = await house.app.gateway.auth.create("plain", "test", admin=False)
    found = await run(house, prepared("a"), out, key=key)
    assert "tidegate keys change ID --scope eval" in found.halt and found.results.answers == ()


async def test_an_answer_that_there_is_none_of_has_failed(house, out: Path):
    house.provider("main").always(status=400, body="no")
    house.provider("spare").always(status=400, body="no")
    found = await run(house, prepared("a"), out)
    (answer,) = found.results.answers
    assert answer.error and answer.passed is False and answer.scores == ()


async def test_a_function_answers_too_and_what_it_raises_is_no_answer(house, out: Path):
    async def answer(case: Case) -> str:
        return {"a": "a", "b": None}[case.id]  # type: ignore[return-value]

    found = await run(house, prepared("a", "b", "c"), out, subject=lambda door: Function(answer))
    by_case = {one.case: one for one in found.results.answers}
    assert by_case["a"].passed and by_case["b"].error == by_case["c"].error == "function_failed"


class Slow:
    """Counts how many it answers at the same time."""

    def __init__(self) -> None:
        self.busy = self.most = 0

    async def answer(self, case: Case, repeat: int, messages: object, once: str) -> Said:
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(0)
        self.busy -= 1
        return Said(text=case.id)


async def test_so_many_are_asked_at_the_same_time_and_no_more(house, out: Path):
    slow = Slow()
    await run(house, prepared(*(f"{n}" for n in range(20)), concurrency=3), out, subject=lambda door: slow)
    assert slow.most == 3


async def test_a_scorer_that_cannot_look_gives_no_score(house, out: Path):
    suite = await asyncio.to_thread(prepared, "a", scorers=({"type": "tests.jobs.evals.test_run:Broken"},))
    found = await run(house, suite, out)
    (score,) = found.results.answers[0].scores
    assert (score.outcome, score.value, score.why) == ("failed", None, "ZeroDivisionError: division by zero")
    assert found.results.answers[0].passed is None


class Config(msgspec.Struct, frozen=True):
    """Nothing."""


class Broken:
    def __init__(self, config: Config) -> None: ...

    def lacks(self, case: Case) -> None:
        return None

    async def score(self, case: Case, said: Said, bench: object) -> list[object]:
        return [1 / 0]
