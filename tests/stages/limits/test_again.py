"""Who asks the same once more in other words was not content: that is seen, and a question that follows is none."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

from tests.house import TWO_PROVIDERS
from tidegate.stages.limits.loops import says_again, turn_of

QUESTIONS = (
    "How do I reset my password?",
    "Where is my order 12345?",
    "Can I get a refund for my last invoice?",
    "What does the premium plan cost per month?",
    "My app crashes when I open the settings page",
    "Please cancel my subscription at the end of the month",
    "Write a python function that reverses a linked list",
    "Explain the difference between TCP and UDP in simple words",
    "Which browsers do you support on older machines?",
    "Is there a phone number that I can call on Sundays?",
    "Why was my card declined when I paid yesterday?",
    "How long does delivery to Norway usually take?",
)
# Said by hand, of the questions above.
AGAIN = (
    (0, "how can I reset my password"),
    (0, "I want to reset my password, how?"),
    (0, "No, I asked how do I reset my password"),
    (1, "where's my order 12345"),
    (1, "I said: where is my order 12345?"),
    (2, "can you refund my last invoice"),
    (2, "That is not what I asked. Can I get a refund for my last invoice?"),
    (3, "how much does the premium plan cost per month"),
    (3, "What is the monthly cost of the premium plan?"),
    (4, "the app crashes when I open settings"),
    (5, "cancel my subscription at the end of this month"),
    (6, "python function to reverse a linked list, that reverses in place"),
    (7, "explain difference between TCP and UDP simply"),
    (8, "which browsers do you support, on old machines"),
    (9, "a phone number I can call on Sundays?"),
    (10, "why was my card declined yesterday"),
    (11, "delivery to Norway usually takes how long"),
)
BEFORE = ("", "", "please, ", "no. ", "again: ", "sorry, ")
BEHIND = ("", "", "?", " please", " thanks", " now")


def seen(before: str, after: str) -> bool:
    call: Any = SimpleNamespace(at_ms=0, id="x", session="s")
    return says_again(turn_of(before, call, sketched=False), turn_of(after, call, sketched=False))


def reworded(rng: random.Random, question: str) -> str:
    """As people do: a word more before or behind, a word left out, a typing mistake."""
    words = question.rstrip("?").split()
    if rng.random() < 0.5:
        del words[rng.randrange(len(words))]
    if rng.random() < 0.5:
        at = rng.randrange(len(words))
        words[at] = words[at][:-1] or words[at]
    return f"{rng.choice(BEFORE)}{' '.join(words)}{rng.choice(BEHIND)}"


def test_of_what_is_asked_again_nearly_all_is_seen_and_of_what_follows_nearly_nothing() -> None:
    rng = random.Random(7)
    again = [(QUESTIONS[at], said) for at, said in AGAIN]
    again += [(question, reworded(rng, question)) for question in QUESTIONS for _ in range(20)]
    follows = [(one, other) for one in QUESTIONS for other in QUESTIONS if one != other]
    found, wrong = sum(seen(*pair) for pair in again), sum(seen(*pair) for pair in follows)
    assert found / len(again) >= 0.95, [pair for pair in again if not seen(*pair)]
    assert found / (found + wrong) >= 0.95, [pair for pair in follows if seen(*pair)]


async def test_a_question_that_is_asked_again_in_its_session_stands_in_its_row(build_house) -> None:
    house = await build_house(f"limits: {{chat: []}}\n{TWO_PROVIDERS}")
    session, reworded = {"x-tidegate-session": "s1"}, "how can I reset my password"
    first = await house.ask(QUESTIONS[0], headers=session)
    again = await house.ask(reworded, headers=session)
    elsewhere = await house.ask(reworded, headers={"x-tidegate-session": "s2"})
    nowhere = [await house.ask(QUESTIONS[0]) for _ in range(2)]
    rows = [reply.row for reply in (first, again, elsewhere, *nowhere)]
    assert [row.asked_again for row in rows] == [False, True, False, False, False]
