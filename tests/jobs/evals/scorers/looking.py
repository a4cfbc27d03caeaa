"""One look of one scorer at one answer."""

from __future__ import annotations

from typing import Any

from tidegate.core.scores import Case, Said, Score


def case(**fields: Any) -> Case:
    return Case(**{"id": "a", "input": "hi", **fields})


async def look(scorer: Any, text: str = "", *, of: Case | None = None, bench: Any = None, **said: Any) -> Score:
    (score,) = await scorer.score(of or case(), Said(text=text, **said), bench)
    assert isinstance(score, Score)
    return score
