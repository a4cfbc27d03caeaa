"""A version of a prompt is evaluated: one for the whole run, however its label moves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.house import House
from tests.jobs.evals.conftest import door
from tidegate.core.errors import ConfigError
from tidegate.core.prompts import Wording
from tidegate.core.scores import Case
from tidegate.jobs.evals.door import Halt
from tidegate.jobs.evals.subject import Prompted
from tidegate.jobs.evals.suite import prompt_of


async def keep(house: House, template: str, label: str) -> None:
    await house.app.gateway.prompts.desk.make("support", Wording(template=template), by="k", labels=[label])


def heard(house: House) -> list[dict[str, Any]]:
    return [json.loads(one.body)["messages"] for one in house.provider("main").requests]


ASKED = [{"role": "user", "content": "How long?"}]
CASE = Case(id="one", input="How long?", variables={"tone": "kind", "notes": "not for the prompt"})


async def test_a_case_s_variables_fill_it_and_its_version_stays(house: House) -> None:
    await keep(house, "Be {{tone}}.", "staging")
    async with door(house) as at:
        subject = Prompted(at, "support@staging:fast", {"temperature": 0}, fresh=False)
        first = await subject.answer(CASE, 0, ASKED, "a")
        await keep(house, "Be very {{tone}}.", "staging")
        second = await subject.answer(CASE, 1, ASKED, "b")
    assert not first.error and not second.error
    assert heard(house) == [[{"role": "system", "content": "Be kind."}, *ASKED]] * 2


async def test_what_has_the_input_in_it_is_all_that_is_asked(house: House) -> None:
    await keep(house, "Answer: {{input}}", "production")
    async with door(house) as at:
        await Prompted(at, "support:fast", {}, fresh=False).answer(CASE, 0, ASKED, "a")
    assert heard(house) == [[{"role": "user", "content": "Answer: How long?"}]]


async def test_one_that_is_not_there_ends_the_run(house: House) -> None:
    await keep(house, "x", "production")
    async with door(house) as at:
        with pytest.raises(Halt, match="no label 'staging'"):
            await Prompted(at, "support@staging:fast", {}, fresh=False).answer(CASE, 0, ASKED, "a")


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("support@staging:fast", ("support", "staging", "fast")),
        ("support@3:main/m", ("support", "3", "main/m")),
        ("support:fast", ("support", "production", "fast")),
    ],
)
def test_it_says_which_prompt_and_who_answers(said: str, means: tuple[str, str, str]) -> None:
    assert prompt_of(said) == means


@pytest.mark.parametrize("said", ["support", "support@staging", "", ":fast"])
def test_one_of_both_is_not_enough(said: str) -> None:
    with pytest.raises(ConfigError, match="say which prompt, and who answers"):
        prompt_of(said)
