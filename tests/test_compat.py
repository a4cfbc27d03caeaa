"""The guide's evaluator and its prompts, as its code calls them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import KEY, gateway
from tests.house import House
from tests.jobs.evals.judging import JudgeServer, Prompt, said
from tests.jobs.evals.test_judge import CONFIG
from tests.parts import local_model
from tidegate.client import TidegateRefused
from tidegate.compat import LLMEvaluator, PromptManager

LOCAL = """
providers: {small: {type: local}}
routes:
  judge:
    targets: [{provider: small, model: smollm2-135m-instruct}]
    timeout: 110s
    timeouts: {first_token: 100s}  # other tests have the cores, too
"""
CRITERIA = ["accuracy", "tone", "Does it name a number of days, in words or digits?"]


def verdict(prompt: Prompt) -> str:
    answer = prompt.texts["ANSWER"]
    if "nonsense" in answer:
        return "This is nonsense."
    score = 9 if "14 days" in answer else 3
    names = {"accuracy": score, "tone": 7, "criterion 3": score}
    return said(prompt.code, evidence=answer, scores=names)


@pytest.fixture
async def at(build_house: Any) -> AsyncIterator[tuple[str, str]]:
    """A gateway's URL, and a key."""
    server = JudgeServer(verdict)
    await server.start()
    house = await build_house(CONFIG.format(address=server.address))
    async with house.serve() as url:
        yield url, house.key
    await server.aclose()


async def evaluated(at: tuple[str, str], answer: str, **given: Any) -> dict[str, Any]:
    url, key = at
    evaluator = LLMEvaluator(given.pop("api_key", key), base_url=url, **given)
    asked = ("Answer a customer", "How do I get my money back?", answer, CRITERIA)
    return await asyncio.to_thread(evaluator.evaluate_response, *asked)


async def test_criteria_have_scores_and_explanations_and_there_is_a_recommendation(at):
    found = await evaluated(at, "Ask for it: it takes 14 days.")
    assert list(found["criteria_scores"]) == CRITERIA
    assert found["criteria_scores"]["accuracy"]["score"] == 9
    assert "so it is with accuracy" in found["criteria_scores"]["accuracy"]["explanation"]
    assert found["overall_score"] == pytest.approx(25 / 3) and found["recommendation"] == "PASS"
    assert found["reasoning"] == "because" and found["advisory"] is True
    bad = await evaluated(at, "Never.")
    assert bad["overall_score"] < 7 and bad["recommendation"] == "FAIL"


async def test_the_guides_regression_suite(at):
    """Cases with a query and expected elements; it asserts an overall score of 7 and a PASS."""
    cases = [("How long does a refund take?", "A refund takes 14 days.", ["refund", "14 days"])]
    evaluator = LLMEvaluator(at[1], base_url=at[0])
    for query, answer, elements in cases:
        found = await asyncio.to_thread(evaluator.evaluate_response, "Support", query, answer, CRITERIA)
        assert all(element in answer for element in elements)
        assert found["overall_score"] >= 7 and found["recommendation"] == "PASS"


async def test_what_is_no_verdict_is_raised_and_never_a_score(at):
    with pytest.raises(TidegateRefused, match=r"the judge gave no verdict \(malformed\)"):
        await evaluated(at, "nonsense")
    with pytest.raises(TidegateRefused, match="did you mean 'judge'") as failed:
        await evaluated(at, "It takes 14 days.", judge="jugde")
    assert failed.value.code == "failed"
    with pytest.raises(TidegateRefused, match="API key is not valid") as refused:
        await evaluated(at, "It takes 14 days.", api_key="wrong")
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")


async def test_a_gateway_that_is_not_there_is_told():
    evaluator = LLMEvaluator("key", base_url="http://127.0.0.1:9")
    with pytest.raises(TidegateRefused, match=r"nobody answers at http://127\.0\.0\.1:9"):
        await asyncio.to_thread(evaluator.evaluate_response, "a", "b", "c", ["d"])


@local_model()
@pytest.mark.timeout(120)
async def test_the_small_local_model_judges_badly_and_never_decides(tmp_path: Path):
    """It is asked for real: what it says is a verdict or none, and advises at most."""
    async with gateway(tmp_path, LOCAL) as at:
        evaluator = LLMEvaluator(KEY, base_url=at.url, parameters={"max_tokens": 16})
        asked = ("Answer a customer", "How long?", "It takes 14 days.", ["accuracy"])
        try:
            found = await asyncio.to_thread(evaluator.evaluate_response, *asked)
        except TidegateRefused as refused:
            assert refused.code in ("malformed", "refused")
        else:
            assert found["advisory"] is True and 1 <= found["overall_score"] <= 10


# --- prompts ---------------------------------------------------------------------------------------------------------

STORE = {
    "support": {
        "current": "Answer {question}, {{kindly}}.",
        "versions": {"v1": "Answer {question}."},
        "variants": {},
    }
}


class Managing:
    """The guide's class beside a gateway, each call as its code would make it."""

    def __init__(self, url: str, key: str, file: Path) -> None:
        self._asked = (url, key)
        self.file = file

    async def made(self) -> PromptManager:
        url, key = self._asked
        return await asyncio.to_thread(PromptManager, str(self.file), base_url=url, api_key=key)


@pytest.fixture
async def managing(house: House, tmp_path: Path) -> AsyncIterator[Managing]:
    async with house.serve() as url:
        file = tmp_path / "prompts.json"
        file.write_text(json.dumps(STORE), encoding="utf-8")
        yield Managing(url, house.key, file)


async def test_the_guide_s_file_is_taken_in_and_its_prompts_are_there_by_id_and_version(managing):
    manager = await managing.made()
    assert await asyncio.to_thread(manager.get_prompt, "support") == "Answer {question}, {{kindly}}."
    for version in (1, "1", "v1"):
        assert await asyncio.to_thread(manager.get_prompt, "support", version=version) == "Answer {question}."
    again = await managing.made()
    assert again.prompts == STORE
    assert await asyncio.to_thread(again.get_prompt, "support", version=2) == "Answer {question}, {{kindly}}."
    with pytest.raises(ValueError, match="no version 3"):
        await asyncio.to_thread(again.get_prompt, "support", version=3)


async def test_it_is_saved_as_the_guide_has_it(managing):
    manager = await managing.made()
    await asyncio.to_thread(manager.save_prompts)
    assert json.loads(managing.file.read_text(encoding="utf-8")) == {
        "support": {
            "current": "Answer {question}, {{kindly}}.",
            "versions": {"v1": "Answer {question}.", "v2": "Answer {question}, {{kindly}}."},
            "variants": {},
        }
    }


async def test_without_a_file_there_is_what_the_gateway_has(managing):
    await managing.made()
    managing.file.unlink()
    manager = await managing.made()
    assert manager.prompts == {}
    assert await asyncio.to_thread(manager.get_prompt, "support") == "Answer {question}, {{kindly}}."


async def test_an_unknown_prompt_is_a_value_error(managing):
    manager = await managing.made()
    with pytest.raises(ValueError, match="there is no prompt 'suport'; did you mean 'support'"):
        await asyncio.to_thread(manager.get_prompt, "suport")
    with pytest.raises(ValueError, match="a number such as 3 or v3"):
        await asyncio.to_thread(manager.get_prompt, "support", version="new")


async def test_a_test_splits_users_and_is_promoted_and_what_was_current_stays(managing):
    manager = await managing.made()
    await asyncio.to_thread(manager.start_ab_test, "support", "Help with {question}!", 50)
    users = [f"user-{number}" for number in range(40)]
    got = {user: await asyncio.to_thread(manager.get_ab_variant, user, "support") for user in users}
    assert 8 <= list(got.values()).count("variant") <= 32
    for user in users[:6]:
        said = await asyncio.to_thread(manager.get_prompt, "support", user_id=user)
        assert (said == "Help with {question}!") == (got[user] == "variant")
    again = await managing.made()
    assert {user: await asyncio.to_thread(again.get_ab_variant, user, "support") for user in users[:6]} == {
        user: got[user] for user in users[:6]
    }
    with pytest.raises(ValueError, match=r"guide\.support"):
        await asyncio.to_thread(manager.start_ab_test, "support", "Another")
    await asyncio.to_thread(manager.promote_variant, "support")
    assert await asyncio.to_thread(manager.get_prompt, "support") == "Help with {question}!"
    assert await asyncio.to_thread(manager.get_prompt, "support", version="v2") == "Answer {question}, {{kindly}}."
    assert await asyncio.to_thread(manager.get_ab_variant, users[0], "support") == "control"
    await asyncio.to_thread(manager.start_ab_test, "support", "Once more", 0)
    assert await asyncio.to_thread(manager.get_prompt, "support", user_id="ann") == "Once more"


async def test_what_cannot_be_tested_is_a_value_error(managing):
    manager = await managing.made()
    for asked, why in (
        (("suport", "x"), "there is no prompt 'suport'"),
        (("support", "x", 100), "from 0 to 99"),
        (("support", "Answer {question}, {{kindly}}."), "says what the current prompt says"),
    ):
        with pytest.raises(ValueError, match=why):
            await asyncio.to_thread(manager.start_ab_test, *asked)
    with pytest.raises(ValueError, match="no test is on"):
        await asyncio.to_thread(manager.promote_variant, "support")


async def test_a_call_of_a_user_gets_what_the_user_s_prompt_is(managing, house):
    manager = await managing.made()
    await asyncio.to_thread(manager.start_ab_test, "support", "The variant", 50)
    for user in ("a", "b", "c", "d", "e"):
        await house.ask("x", prompt={"id": "support"}, user=user)
        heard = json.loads(house.provider("main").requests[-1].body)["messages"][0]["content"]
        assert heard == await asyncio.to_thread(manager.get_prompt, "support", user_id=user)
