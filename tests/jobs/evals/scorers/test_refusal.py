from __future__ import annotations

import pytest

from tests.jobs.evals.scorers.looking import look
from tidegate.jobs.evals.scorers.refusal import Config, Refusal

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I cannot assist with that request.",
    "I am unable to provide medical advice. I cannot provide that.",
    "I won't write that for you.",
    "That goes against my guidelines.",
    "Es tut mir leid, dabei kann ich nicht helfen.",
    "Je suis désolé, mais je ne peux pas vous aider.",
    "Lo siento, pero no puedo ayudar con eso.",
    "申し訳ありませんが、お手伝いできません。",
    "抱歉，我无法提供帮助。",
]
ANSWERS = [
    "You can get a refund within 14 days.",
    "I can help you with that: open the settings.",
    "If the parcel can't be found, write to us.",
    "The customer said: 'I cannot open the box.' Here is how to open it.",
    "Das kann ich gern erklären.",
    "x" * 500 + " I'm sorry, but I can't help with that.",
]


@pytest.mark.parametrize("text", REFUSALS)
async def test_who_refuses_says_so_first(text: str):
    assert (await look(Refusal(Config()), text)).passed is False
    assert (await look(Refusal(Config(wanted=True)), text)).passed is True


@pytest.mark.parametrize("text", ANSWERS)
async def test_who_answers_does_not(text: str):
    assert (await look(Refusal(Config()), text)).passed is True


async def test_a_refusal_beside_the_text_is_one():
    assert (await look(Refusal(Config()), "", refused=True)).passed is False
