"""A share of live answers is judged afterwards: nobody waits for it, everybody can see it, and it has its price."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.house import House, until
from tests.jobs.evals.judging import JudgeServer, Prompt, said
from tests.telemetry.receiver import receiving
from tidegate import config
from tidegate.app import check
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Closed
from tidegate.core.stats.drift import LEARNT
from tidegate.core.trace import GATEWAY, step_of, trace_of
from tidegate.jobs.evals.online import WAITING

CONFIG = """
logs: {{calls: false}}
{more}
providers:
  main: {{type: scripted, price: {{input: 1, output: 2}}}}
  grader: {{type: openai, base_url: "{address}", price: {{input: 1, output: 2}}}}
routes:
  fast:
    targets: [{{provider: main, model: m}}]
    guardrails: {{input: [{{type: pii, action: placeholder}}]}}
    judge: {{suite: "{suite}", share: 1, {judge}}}
  judge: {{targets: [{{provider: grader, model: j}}]}}
"""
SUITE = """\
subject: route:fast
scorers:
  - {type: rubric, name: quality, model: [judge], criteria: [{name: kind, anchors: {1: rude, 10: kind}}]}
  - {type: contains}
cases: [{id: offline, input: x, expected_elements: [y]}]
"""


def kind(prompt: Prompt) -> str:
    answer = prompt.texts["ANSWER"]
    return said(prompt.code, evidence=answer, scores={"kind": 10 if "welcome" in answer else 1})


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE, encoding="utf-8")
    return path


class Judged:
    def __init__(self, house: House, prompts: list[Prompt]) -> None:
        self.house = house
        self.prompts = prompts
        self.told: list[dict[str, Any]] = []
        house.app.world.events.add(self)  # type: ignore[attr-defined]

    def call_began(self, call: object) -> None: ...

    def call_ended(self, call: object, row: object) -> None: ...

    def notice(self, name: str, fields: Any) -> None:
        self.told.append({"event": name, **fields})

    async def all_judged(self) -> None:
        await until(lambda: not self.house.app.world.nursery.tasks)

    async def judgments(self) -> list[Closed]:
        return [row for row in await self.house.rows() if row.purpose == "judge"]


@pytest.fixture
def judged(build_house, suite: Path):
    @asynccontextmanager
    async def begin(
        verdict: Callable[[Prompt], str] = kind, judge: str = "max_usd_per_day: 1", more: str = ""
    ) -> AsyncIterator[Judged]:
        prompts: list[Prompt] = []

        def heard(prompt: Prompt) -> str:
            prompts.append(prompt)
            return verdict(prompt)

        server = JudgeServer(heard)
        await server.start()
        try:
            text = CONFIG.format(address=server.address, suite=suite, judge=judge, more=more)
            yield Judged(await build_house(text), prompts)
        finally:
            await server.aclose()

    return begin


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_is_judged_after_its_client_has_it(judged, stream: bool):
    async with judged() as found:
        found.house.provider("main").says("you are welcome")
        reply = await found.house.ask("thanks", stream=stream)
        assert reply.text == "you are welcome"
        await found.all_judged()
        (judgment,) = await found.judgments()
        (opinion,) = await found.house.app.world.ledger.opinions(reply.id)
    assert (judgment.parent, judgment.kind, judgment.route, judgment.key_id) == (reply.id, "eval", "judge", "house")
    assert (opinion.source, opinion.score, opinion.label) == ("judge", 1.0, "quality")
    told = {one["criterion"]: one for one in found.told if one["event"] == "evaluation"}
    assert set(told) == {"quality", "quality.kind"} and told["quality"]["value"] == 10
    assert told["quality"]["advisory"] is True and "why" not in told["quality"]


async def test_a_judge_sees_what_went_out_and_no_more(judged):
    async with judged() as found:
        found.house.provider("main").says("mail [[EMAIL_1]], you are welcome")
        reply = await found.house.ask("I am ann@example.com")
        assert "ann@example.com" in reply.text
        await found.all_judged()
    (prompt,) = found.prompts
    assert prompt.texts == {"QUESTION": "I am [[EMAIL_1]]", "ANSWER": "mail [[EMAIL_1]], you are welcome"}


async def test_what_was_said_before_is_part_of_the_question(judged):
    async with judged() as found:
        turns = [("system", "be kind"), ("user", "hi"), ("assistant", "hello"), ("user", "thanks")]
        await found.house.ask([{"role": role, "content": content} for role, content in turns])
        await found.all_judged()
    assert found.prompts[0].texts["QUESTION"] == "system: be kind\nuser: hi\nassistant: hello\nuser: thanks"


async def test_calls_that_fail_and_calls_of_our_own_are_not_judged(judged):
    async with judged() as found:
        found.house.provider("main").says("hel", cut_off=1)
        await found.house.ask("hi")
        await found.house.ask("hi", route="judge", headers={"x-tidegate-kind": "eval"})
        await found.house.ask("hi", headers={"x-tidegate-kind": "eval"})
        await found.all_judged()
        assert await found.judgments() == []


async def test_no_more_is_judged_when_its_money_is_spent(judged):
    async with judged(judge="max_usd_per_day: 0.001") as found:
        for _ in range(4):
            await found.house.ask("hi")
            await found.all_judged()
        rows = await found.judgments()
        over = [one for one in found.told if one.get("outcome") == "over_budget"]
        assert 0 < len(rows) < 4 and len(rows) + len(over) == 4
        assert sum(row.cost_nusd for row in rows) <= 1_000_000
        await found.house.clock.advance(86_400)
        await found.house.ask("hi")
        await found.all_judged()
        assert len(await found.judgments()) == len(rows) + 1, "it is another day"


async def test_more_than_can_wait_is_left_out_and_counted(judged):
    async with judged() as found:
        found.house.clock.hold()
        found.house.provider("main").always("you are welcome")
        online = found.house.app._ground.online
        online._waiting = WAITING
        await found.house.ask("hi")
        online._waiting = 0
        assert [one["outcome"] for one in found.told if one["event"] == "evaluation"] == ["dropped"]
        assert await found.judgments() == []


async def test_a_changed_suite_is_taken_up_while_serving(judged, suite: Path):
    async with judged() as found:
        suite.write_text(SUITE.replace("name: quality", "name: manners"))
        await found.house.app.reload(found.house.app.config)
        await found.house.ask("hi")
        await found.all_judged()
        assert {one["criterion"] for one in found.told if one["event"] == "evaluation"} == {"manners", "manners.kind"}
        suite.write_text("cases: []")
        with pytest.raises(ConfigError, match="there is none"):
            await found.house.app.reload(found.house.app.config)
        await found.house.ask("hi")
        await found.all_judged()
        assert len(await found.judgments()) == 2


async def test_a_judge_that_talks_has_not_judged(judged):
    async with judged(lambda prompt: "I like it!") as found:
        reply = await found.house.ask("hi")
        await found.all_judged()
        assert await found.house.app.world.ledger.opinions(reply.id) == []
        page = (await found.house.get("/metrics")).body.decode()
    assert 'tidegate_eval_judgments_total{criterion="quality",outcome="malformed",route="fast"} 1.0' in page
    assert "tidegate_eval_score_bucket" not in page


async def test_scores_are_counted_and_a_fall_is_told(judged):
    async with judged() as found:
        for at in range(LEARNT + 40):
            found.house.provider("main").says("you are welcome" if at < LEARNT else "go away")
            await found.house.ask("hi", stream=False)
            if at % WAITING == 0 or at > LEARNT:
                await found.all_judged()
        await found.all_judged()
        page = (await found.house.get("/metrics")).body.decode()
    fell = [one for one in found.told if one["event"] == "judge_score_fell"]
    assert {one["criterion"] for one in fell} == {"quality", "quality.kind"} and fell[0]["usual"] == 1.0
    assert 'tidegate_eval_score_bucket{criterion="quality",le="1.0",route="fast"}' in page


async def test_a_result_stands_in_the_trace_of_its_call(judged):
    async with receiving() as (receiver, url), judged(more=f'traces: {{to: [{{url: "{url}"}}]}}') as found:
        reply = await found.house.ask("hi")
        await found.all_judged()
        await found.house.app.world.clock.sleep(2)

        def spans() -> list[Any]:
            bodies = [ExportTraceServiceRequest.FromString(gzip.decompress(body)) for _, body in receiver.heard]
            return [
                span
                for body in bodies
                for one in body.resource_spans
                for scope in one.scope_spans
                for span in scope.spans
                if span.name == "evaluation quality"
            ]

        await until(lambda: bool(spans()))
        (span,) = spans()
    assert span.trace_id.hex() == trace_of(reply.id) and span.parent_span_id.hex() == step_of(reply.id, GATEWAY)
    (event,) = span.events
    said = {pair.key: pair.value for pair in event.attributes}
    assert event.name == "gen_ai.evaluation.result" and said["gen_ai.evaluation.name"].string_value == "quality"
    assert said["gen_ai.evaluation.score.value"].double_value == 1 and "explanation" not in " ".join(said)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot be read"),
        (
            "subject: route:fast\nscorers: [{type: contains}]\ncases: [{id: a, input: x, expected_elements: [y]}]",
            "no scorer that can",
        ),
        ("scorers: [{type: contians}]\ncases: [{id: a, input: x}]", "contains"),
    ],
)
def test_a_suite_that_cannot_look_at_live_calls_stops_a_start(suite: Path, text: str | None, why: str):
    suite.unlink() if text is None else suite.write_text(text)
    found = config.parse(
        CONFIG.format(address="http://127.0.0.1:9", suite=suite, judge="max_usd_per_day: 1", more=""), {}
    )
    with pytest.raises(ConfigError, match=why):
        check(found)
