"""An arm is a version of a prompt: for calls that name the prompt, and neither a version nor another label."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.admin.test_experiments import asked
from tests.house import House, Reply
from tests.stages.experiments.conftest import begin
from tidegate.core.prompts import Wording

ARM: dict[str, Any] = {"name": "b", "prompts": {"support": 2}}


@pytest.fixture
async def house(house: House) -> House:
    """Two versions; `production` is the first, `next` the second."""
    desk = house.app.gateway.prompts.desk
    for text, label in (("Be kind to {{who}}.", "production"), ("Be short with {{who}}.", "next")):
        await desk.make("support", Wording(template=text), by="k", labels=[label])
    return house


async def ask(house: House, path: str = "/v1/chat/completions", **prompt: Any) -> Reply:
    named = {"id": "support", "variables": {"who": "ann"}, **prompt}
    more = {"max_tokens": 9} if path == "/v1/messages" else {}
    return await house.ask("hi", path=path, stream=False, headers={"x-tidegate-user": "ann"}, prompt=named, **more)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_who_has_the_arm_is_asked_with_its_version(house, path):
    before = await ask(house, path)
    await begin(house, ARM, prompt="support", route=None)
    after = await ask(house, path)
    assert [before.row.prompt, after.row.prompt] == ["support@1", "support@2"]
    assert [one.arm for one in after.row.arms] == ["b"]
    sent = json.dumps(json.loads(house.provider("main").requests[-1].body))
    assert "Be short with ann." in sent and "Be kind" not in sent


@pytest.mark.parametrize("prompt", [{"version": 1}, {"label": "next"}])
async def test_who_knows_what_it_wants_takes_no_part(house, prompt):
    await begin(house, ARM, prompt="support")
    assert (await ask(house, **prompt)).row.arms == ()


async def test_calls_that_name_another_prompt_or_none_take_no_part(house):
    await begin(house, ARM, prompt="support")
    assert (await house.ask("hi", headers={"x-tidegate-user": "ann"})).row.arms == ()


async def test_the_label_may_be_said(house):
    await begin(house, ARM, prompt="support")
    assert (await ask(house, label="production")).row.prompt == "support@2"


async def test_parameters_of_an_arm_and_the_words_of_a_prompt_go_together(house):
    await begin(house, {**ARM, "parameters": {"temperature": 0.25}}, prompt="support")
    assert (await ask(house)).row.prompt == "support@2"
    sent = json.loads(house.provider("main").requests[-1].body)
    assert sent["temperature"] == 0.25 and "prompt" not in sent


async def test_a_version_that_is_not_there_is_said_when_the_experiment_is_made(house):
    spec = {"name": "t", "prompt": "support", "arms": [{"name": "b", "prompts": {"support": 7}}]}
    reply = await asked(house, "POST", said=spec)
    assert reply.status == 400 and "has no version 7; there are: 1, 2" in reply.error.message
    reply = await asked(house, "POST", said=spec | {"prompt": "suport", "arms": [ARM]})
    assert reply.status == 400 and "did you mean 'support'?" in reply.error.message
    assert (await asked(house, "POST", said=spec | {"arms": [ARM]})).status == 201
