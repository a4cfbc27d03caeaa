"""The small model as a judge: it says words that are verdicts, and its card refuses to let it gate."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from tests import parts
from tests.providers.local.test_local import House, house
from tidegate.jobs.evals.card import Policy, made, why_not
from tidegate.jobs.evals.labels import Item, Labels

__all__ = ["house"]  # the model, started

FACTS = ("The sum of {a} and {b} is {c}.", "{a} plus {b} makes {c}.")


PAIRS = int(os.environ.get("TIDEGATE_SUMS", "4"))  # each takes seconds on a busy machine


def items() -> list[tuple[str, str]]:
    """What is right, and as many that are wrong."""
    found = []
    for at in range(PAIRS):
        a, b = 2 + at, 5 + 3 * at
        said = FACTS[at % 2]
        found.append((said.format(a=a, b=b, c=a + b), "pass"))
        found.append((said.format(a=a, b=b, c=a + b + 4), "fail"))
    return found


@parts.local_model()
@pytest.mark.timeout(120)
async def test_the_small_model_judges_at_chance_and_may_not_gate(house: House):
    judged = []
    for at, (said, gold) in enumerate(items()):
        asked = f'Is this right? Answer with one word, yes or no.\n"{said}"'
        _, reply = await house.ask(asked, max_tokens=1, temperature=0)
        word = reply["choices"][0]["message"]["content"].strip().lower()
        verdict = "pass" if word.startswith("yes") else "fail" if word.startswith("no") else None
        judged.append(Item(str(at), {"arithmetic": gold}, (verdict,)))
    now = datetime.now(UTC)
    card = made("local/1", Labels("sums", "h", "pass", tuple(judged)), now)
    reasons = why_not(card, Policy(), now)
    print(f"\naccuracy {card.accuracy.value:.3f}, kappa {card.kappa.value}, none {card.malformed} of {card.items}")
    assert card.accuracy.value < Policy().accuracy and (card.kappa.value or 0) < Policy().kappa, "however few they are"
    assert any(reason.startswith("accuracy") for reason in reasons)
    assert any(reason.startswith("kappa") for reason in reasons)
