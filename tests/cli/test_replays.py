"""tidegate experiments replay and shadow, as one types them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.house import Build, House, until
from tests.jobs.test_shadows import judging
from tests.stages.experiments.conftest import begin
from tidegate.cli import main

CONFIG = """
logs: {{calls: false}}
limits: {{loops: {{policy: "off"}}}}
providers:
  main: {{type: scripted, price: {{input: 1, output: 2}}}}
  spare: {{type: scripted, price: {{input: 10, output: 20}}}}
  grader: {{type: openai, base_url: "{address}", price: {{input: 1, output: 2}}}}
routes:
  fast: {{targets: [{{provider: main, model: m}}], store: {{prompts: true, replies: true}}, max_tokens: 50}}
  judge: {{targets: [{{provider: grader, model: j}}], max_tokens: 50}}
  dear: {{targets: [{{provider: spare, model: n}}], max_tokens: 50}}
  silent: {{targets: [{{provider: main, model: m}}]}}
"""
REPLAY = ("replay", "--route", "fast", "--to", "dear", "--max-usd")
SUITE = """\
subject: route:fast
scorers: [{type: pairwise, name: better, model: [judge]}, {type: contains}]
cases: [{id: offline, input: x, reference: y, expected_elements: [y]}]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judges.yaml").write_text(SUITE)
    return tmp_path


@pytest.fixture
async def house(build_house: Build, here: Path) -> House:
    return await build_house(CONFIG.format(address="http://127.0.0.1:9"))


async def typed(house: House, *words: str) -> Result:
    async with house.serve() as url:
        return await at(url, house, *words)


async def at(url: str, house: House, *words: str) -> Result:
    asked = ["experiments", *words, "--url", url, "--key", house.key]
    return await asyncio.to_thread(CliRunner().invoke, main, asked)


async def replay(house: House, *words: str) -> Result:
    return await typed(house, *REPLAY, "1", *words)


async def asked(house: House, count: int = 4, **options: Any) -> list[str]:
    replies = [await house.ask(f"question {at}", user=f"u{at}", stream=at % 2 == 0, **options) for at in range(count)]
    assert all(reply.status == 200 for reply in replies)
    return [str(reply.id) for reply in replies]


async def again(house: House) -> list[Any]:
    return [row for row in await house.rows() if row.purpose == "replay"]


async def keys(house: House) -> list[dict[str, Any]]:
    return [one for one in (await house.get("/admin/keys")).events[0] if one["name"].startswith("replay ")]


async def test_yesterdays_calls_are_asked_of_another_one_and_compared(house, here):
    ids = await asked(house)
    words = ("--route", "fast", "--target", "spare/n", "--max-usd", "1", "--out", "r.jsonl", "--html", "r.html")
    done = await typed(house, "replay", *words)
    assert done.exit_code == 0, done.output
    rows = await again(house)
    assert sorted(row.parent for row in rows) == sorted(ids) and {row.target for row in rows} == {"spare/n"}
    assert "candidate: 4 calls of 4 users, each beside the one that was answered" in done.output
    assert "costs      10.00 times as much" in done.output and "failed     0.0%" in done.output
    text = await asyncio.to_thread((here / "r.html").read_text, "utf-8")
    assert "Beside what was answered" in text and "10.00 times as much" in text
    (key,) = await keys(house)
    assert key["revoked_ms"] is not None and key["budgets"][0]["usd"] == 1.0


async def test_what_nobody_may_spend_is_never_spent_and_it_is_gone_on_with(house):
    """A call can cost 0.01 dollars or so and costs a fiftieth of it."""
    await asked(house, 5)
    async with house.serve() as url:
        first = await at(url, house, *REPLAY, "0.0125", "--out", "r.jsonl", "--concurrency", "2")
        rows = await again(house)
        spent, answered = sum(row.cost_nusd for row in rows), sum(row.outcome == "ok" for row in rows)
        (key,) = await keys(house)
        second = await at(url, house, *REPLAY, "1", "--out", "r.jsonl")
    assert first.exit_code == 0 and second.exit_code == 0, first.output + second.output
    assert 0 < spent <= 12_500_000 and 0 < answered < 5
    assert "were not asked" in first.output and "go on with --out r.jsonl" in first.output
    assert key["disabled_ms"] is not None and key["revoked_ms"] is None
    assert f"is gone on with: {answered} are there" in second.output and "candidate: 5 calls" in second.output
    well = [row.parent for row in await again(house) if row.outcome == "ok"]
    assert len(well) == len({*well}) == 5  # nobody twice
    assert len(await keys(house)) == 1


async def test_a_gateway_that_leaves_meanwhile_is_no_failure_of_the_candidate(house, monkeypatch):
    monkeypatch.setattr("tidegate.jobs.evals.door.TRIES", 1)
    await asked(house, 2)
    async with house.serve():
        pass
    done = await replay(house, "--out", "r.jsonl")
    assert "2 were not asked: Tidegate is shutting down" in done.output, done.output


async def test_judges_compare_the_two_and_the_purse_pays_them(build_house, here):
    async with judging() as address:
        house = await build_house(CONFIG.format(address=address))
        house.provider("main").always("good")
        house.provider("spare").always("better")
        await asked(house, 3)
        done = await replay(house, "--suite", "judges.yaml")
        assert done.exit_code == 0, done.output
        assert "judged     better 3, as good 0, worse 0" in done.output
        judged = [row for row in await house.rows() if row.route == "judge"]
        (key,) = await keys(house)
        assert len(judged) == 6 and {row.key_id for row in judged} == {key["id"]}


async def test_parameters_take_the_place_of_the_clients(house):
    await asked(house, 1, temperature=1)
    done = await replay(house, "--parameters", '{"temperature": 0, "max_tokens": 7}')
    assert done.exit_code == 0, done.output
    body = json.loads(house.provider("spare").requests[-1].body)
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0, 7, "n")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "say who is asked now"),
        (("--target", "spare/n", "--to", "fast"), "say who is asked now"),
        (("--target", "spare"), "must be like provider/model"),
        (("--to", "x", "--parameters", "{"), "must be JSON"),
        (("--to", "x", "--max-usd", "0"), "0.0 is not in the range"),
        (("--to", "x", "--key", ""), "a key is needed"),
    ],
)
def test_what_makes_no_sense_is_told_before_anybody_is_asked(words, why):
    asked = ["experiments", "replay", "--route", "fast", "--max-usd", "1", "--key", "k", "--url", "http://127.0.0.1:9"]
    done = CliRunner().invoke(main, [*asked, *words])
    assert done.exit_code != 0 and why in done.output, done.output


async def test_what_cannot_be_asked_again_says_why_and_costs_nothing(house):
    await asked(house, 1)
    await house.ask(route="silent")
    async with house.serve() as url:
        for words, why in (
            (("--route", "other", "--to", "x"), "has answered no call since"),
            (("--route", "silent", "--to", "x"), "nothing of these calls is kept; set routes.silent.store"),
            (("--route", "fast", "--to", "x", "--since", "soon"), "since: a date such as"),
            (("--route", "fast", "--to", "nobody"), "no model 'nobody'"),
            (("--route", "fast", "--to", "fast", "--suite", "none.yaml"), "none.yaml: cannot be read"),
        ):
            done = await at(url, house, "replay", "--max-usd", "1", *words)
            assert why in done.output, done.output
    assert not any(row.attempts for row in await again(house))


async def test_a_parameter_that_such_a_call_cannot_have_is_told(house):
    await asked(house, 1)
    body = json.dumps({"route": "fast", "parameters": {"messages": []}}).encode()
    (row,) = await house.rows()
    reply = await house.begin(path=f"/admin/requests/{row.id}/replay", body=body).reply()
    assert reply.status == 400 and "openai chat has no 'messages'" in reply.error.message


async def test_shadows_are_shown(house):
    await begin(house, name="cheaper", mode="shadow")
    await asked(house, 3)
    await until(lambda: not house.app.world.nursery.tasks)
    done = await typed(house, "shadow", "cheaper")
    assert done.exit_code == 0, done.output
    assert "cheaper: 3 pairs; they have cost $0.000" in done.output and "costs      10.00 times as much" in done.output
    whole = json.loads((await typed(house, "shadow", "cheaper", "--json")).output)
    assert whole["arms"][0]["arm"] == "b" and whole["arms"][0]["pairs"] == 3


async def test_of_an_experiment_that_is_none_of_these_it_is_told(house):
    await begin(house)
    assert "is not in shadow mode" in (await typed(house, "shadow", "t")).output
    assert "no experiment 'none'" in (await typed(house, "shadow", "none")).output
